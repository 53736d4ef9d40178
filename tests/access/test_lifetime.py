"""When a key is good: what is typed, and what the gate makes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.access.lifetime import (
    DAY_MS,
    NOTICE_MS,
    expiring_soon,
    is_good,
    live_at,
    overlap_end,
    parse_expiry,
    parse_overlap,
    show_ms,
    successor_expiry,
)
from rrd.access.rows import KeyRow
from rrd.errors import BadRequest

NOW_MS = int(datetime(2026, 11, 23, 6, 0, tzinfo=UTC).timestamp() * 1000)
ROW = KeyRow("ab12cd34", "acme", "read", (), "", NOW_MS - 30 * DAY_MS, None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("90d", "2027-02-21T06:00:00Z"),
        ("36h", "2026-11-24T18:00:00Z"),
        (" 1 d ", "2026-11-24T06:00:00Z"),
        ("2027-01-31", "2027-01-31T00:00:00Z"),
        ("2027-01-31T12:30:00Z", "2027-01-31T12:30:00Z"),
        ("2027-01-31T12:30", "2027-01-31T12:30:00Z"),
        ("2027-01-31T12:30:00+02:00", "2027-01-31T10:30:00Z"),
    ],
)
def test_a_time_is_an_age_or_a_date(text: str, shown: str) -> None:
    # Whole seconds, as requests are judged.
    expires_ms = parse_expiry(text, NOW_MS + 999)
    assert expires_ms is not None
    assert show_ms(expires_ms) == shown
    assert parse_expiry(shown, NOW_MS) == expires_ms


def test_never_is_no_time() -> None:
    assert parse_expiry("never", NOW_MS) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0d",
        "0h",
        "-1d",
        "90",
        "90m",
        "soon",
        "2026-11-23",
        "2026-11-22",
        "2027-13-01",
        "9999-12-31",
        "999999d",
    ],
)
def test_what_is_no_time_to_come_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_expiry(text, NOW_MS)


@given(st.text(max_size=40))
def test_any_other_text_is_refused_and_nothing_else_happens(text: str) -> None:
    try:
        expires_ms = parse_expiry(text, NOW_MS)
    except BadRequest:
        return
    assert expires_ms is None or expires_ms > NOW_MS


@pytest.mark.parametrize(("text", "ms"), [("0", 0), ("7d", 7 * DAY_MS), ("36h", 36 * 3_600_000), ("0d", 0)])
def test_an_overlap_is_a_span(text: str, ms: int) -> None:
    assert parse_overlap(text) == ms


@pytest.mark.parametrize("text", ["", "7", "-7d", "a week"])
def test_another_overlap_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="7d"):
        parse_overlap(text)


_TIMES = st.one_of(st.none(), st.integers(0, 40))


@given(st.lists(st.tuples(_TIMES, _TIMES), max_size=6), st.integers(0, 40), st.integers(0, 40))
def test_the_live_keys_are_those_that_are_good_for_as_long_as_is_said(
    keys: list[tuple[int | None, int | None]], now_ms: int, later_ms: int
) -> None:
    rows = [
        (str(number), replace(ROW, id=str(number), expires_ms=expires_ms, revoked_ms=revoked_ms))
        for number, (expires_ms, revoked_ms) in enumerate(keys)
    ]
    live = live_at(rows, now_ms)
    good = {row_id for row_id, row in rows if is_good(row, now_ms)}
    assert live.ids == good
    assert live.from_ms <= now_ms < live.until_ms
    if live.from_ms <= later_ms < live.until_ms:
        assert {row_id for row_id, row in rows if is_good(row, later_ms)} == good


def test_keys_are_told_of_two_weeks_before_they_expire_unless_they_were_rotated() -> None:
    rows = {
        "later": replace(ROW, expires_ms=NOW_MS + NOTICE_MS + 1),
        "soon": replace(ROW, expires_ms=NOW_MS + NOTICE_MS),
        "next": replace(ROW, expires_ms=NOW_MS + 1),
        "over": replace(ROW, expires_ms=NOW_MS),
        "never": ROW,
        "revoked": replace(ROW, expires_ms=NOW_MS + 1, revoked_ms=NOW_MS),
        "rotated": replace(ROW, expires_ms=NOW_MS + 1, successor="ffffffff"),
    }
    assert expiring_soon(rows.values(), NOW_MS) == [rows["next"], rows["soon"]]


def test_a_key_that_takes_anothers_place_lives_as_long_as_that_was_given() -> None:
    assert successor_expiry(ROW, NOW_MS) is None
    year = replace(ROW, created_ms=NOW_MS - 300 * DAY_MS, expires_ms=NOW_MS + 65 * DAY_MS)
    assert successor_expiry(year, NOW_MS) == NOW_MS + 365 * DAY_MS
    cut = replace(ROW, expires_ms=ROW.created_ms - 1)
    assert successor_expiry(cut, NOW_MS) == NOW_MS + DAY_MS


def test_an_overlap_never_makes_a_key_live_longer() -> None:
    assert overlap_end(ROW, NOW_MS, 7 * DAY_MS) == NOW_MS + 7 * DAY_MS
    soon = replace(ROW, expires_ms=NOW_MS + DAY_MS)
    assert overlap_end(soon, NOW_MS, 7 * DAY_MS) == NOW_MS + DAY_MS
