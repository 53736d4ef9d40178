"""The account of refusals: bounded, kept over restarts, and logged with a limit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from rrd import layout, metrics
from rrd.care.refusals import ROWS_MAX, Refusals, load


class SetClock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def now_ms(self) -> int:
        return int(self.now * 1000)

    def monotonic(self) -> float:
        return self.now


def _lines(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    return [text for _, _, text in caplog.record_tuples if text.startswith(f"{name} ")]


def test_senders_can_not_make_it_grow(tmp_path: Path) -> None:
    clock = SetClock()
    refusals = Refusals(str(tmp_path), clock)
    for number in range(ROWS_MAX + 7):
        clock.now += 1
        refusals.count(code="too_large", status=413, tenant="t", recording_id=f"r{number}")
        refusals.count(code="too_large", status=413, tenant="t", recording_id="often")
        refusals.count(code="unauthenticated", status=401)
    account = refusals.account()
    assert {(row.code, row.count) for row in account.totals} == {
        ("too_large", 2 * (ROWS_MAX + 7)),
        ("unauthenticated", ROWS_MAX + 7),
    }
    assert len(account.recordings) == ROWS_MAX
    assert account.forgotten == 8
    (often,) = [row for row in account.recordings if row.recording_id == "often"]
    assert (often.count, often.last_ms - often.first_ms) == (ROWS_MAX + 7, (ROWS_MAX + 6) * 1000)
    assert account.recordings[0].recording_id == "r8"


@pytest.fixture
def known_codes() -> Iterator[None]:
    """Labels are bounded in a process: those of a test would take the place of the tests' behind it."""
    before = dict(metrics.REFUSALS._values)
    yield
    metrics.REFUSALS._values = before


@pytest.mark.usefixtures("known_codes")
def test_codes_are_bounded_whatever_they_are(tmp_path: Path) -> None:
    refusals = Refusals(str(tmp_path), SetClock())
    for number in range(1000):
        refusals.count(code=f"code{number}", status=400)
    assert len(refusals.account().totals) == 200


def test_lines_of_a_code_are_limited_and_the_others_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="rrd")
    clock = SetClock()
    refusals = Refusals(str(tmp_path), clock)
    for _ in range(100):
        refusals.tell("refused", code="unauthenticated", status=401, path="/x")
    refusals.tell("refused", code="too_large", status=413, path="/x")
    assert len(_lines(caplog, "refused")) == 3 + 1
    clock.now += 2
    refusals.tell("refused", code="unauthenticated", status=401, path="/x")
    assert _lines(caplog, "refused_more") == ["refused_more code=unauthenticated count=97"]
    assert len(_lines(caplog, "refused")) == 5


def test_a_flood_is_told_less_and_less(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="rrd")
    clock = SetClock()
    refusals = Refusals(str(tmp_path), clock)
    for _ in range(36_000):
        clock.now += 0.1
        refusals.tell("refused", code="disk_full", status=507)
    assert len(_lines(caplog, "refused")) < 300
    told = sum(int(line.rpartition("=")[2]) for line in _lines(caplog, "refused_more"))
    assert told + len(_lines(caplog, "refused")) > 35_000
    assert {level for _, level, text in caplog.record_tuples if text.startswith("refused ")} == {
        logging.WARNING
    }


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"totals":7}', b"\xff"])
def test_an_account_that_can_not_be_read_begins_anew(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        Path(layout.refusals_path(str(tmp_path))).write_bytes(content)
    assert load(str(tmp_path)).totals == []
    Refusals(str(tmp_path), SetClock()).count(code="too_large", status=413)
