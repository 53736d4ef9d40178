from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.config import Config
from rrd.errors import ConfigError
from rrd.extent import Extent
from rrd.index.rows import AgeRow, Commit, TenantRow
from rrd.index.sqlite.index import SqliteIndex
from rrd.lifecycle.retention import (
    LIVE_MS,
    Expiry,
    RetentionLimits,
    fair_share,
    limits_of,
    look,
    plan,
)

HOUR, DAY = 3_600_000, 86_400_000
NOW = 1_795_400_000_000
FOR_EVER = RetentionLimits(None, {}, 0, {})


def settings(**values: Any) -> Config:
    return msgspec.convert(values, Config)


def a_row(
    row_id: int, *, tenant: str = "acme", age_ms: int = DAY, size: int = 100, began_ms: int | None = None
) -> AgeRow:
    """A recording into which something was stored last ``age_ms`` ago."""
    return AgeRow(row_id, tenant, f"r{row_id}", began_ms or NOW - age_ms, NOW - age_ms, size, 1)


def decide(
    rows: Sequence[AgeRow],
    limits: RetentionLimits,
    *,
    count_max: int = 10**9,
    page: int = 2,
    is_quick: bool = False,
) -> list[Expiry]:
    """Answer the planner from ``rows``, as an index would that holds them."""
    names = sorted({row.tenant for row in rows})
    tenants = [
        TenantRow(name, 0, sum(row.stored_bytes for row in rows if row.tenant == name)) for name in names
    ]
    planner = plan(limits, tenants, now_ms=NOW, count_max=count_max, is_quick=is_quick)
    try:
        ask = next(planner)
        while True:
            mine = [row for row in rows if ask.tenant in {None, row.tenant} and row.row_id > ask.after_row_id]
            ask = planner.send(mine[:page])
    except StopIteration as end:
        result: list[Expiry] = end.value
        return result


def ids(expiries: Sequence[Expiry]) -> list[int]:
    return [expiry.row.row_id for expiry in expiries]


# Settings


@pytest.mark.parametrize("text", ["36", "h", "-1d", "1.5d", "0d", "30 days", "1w", "1d2h", "٣d", "9999999d"])
def test_what_is_no_age_is_refused_with_the_settings_name(text: str) -> None:
    with pytest.raises(ConfigError, match="retention_age: "):
        limits_of(settings(retention_age=text))
    with pytest.raises(ConfigError, match="retention_age_of_tenant: "):
        limits_of(settings(retention_age_of_tenant=[f"acme={text}"]))


def test_tenants_may_have_limits_of_their_own_or_none_at_all() -> None:
    limits = limits_of(
        settings(
            retention_age="30d",
            retention_age_of_tenant=["shop=90d", "museum="],
            retention_bytes_max=10,
            retention_bytes_max_of_tenant=["shop=50_000", "museum=0"],
        )
    )
    assert [limits.age_of(name) for name in ("shop", "museum", "acme")] == [90 * DAY, None, 30 * DAY]
    assert limits.bytes_max == 10
    assert limits.bytes_max_of_tenant == {"shop": 50_000, "museum": 0}
    assert limits_of(Config()) == FOR_EVER


@pytest.mark.parametrize(
    "entry", ["shop", "=5", "Shop=5", "../x=5", "shop=", "shop=5GB", "shop=-5", "shop=5.0"]
)
def test_what_is_no_limit_of_a_tenant_is_refused_with_the_settings_name(entry: str) -> None:
    with pytest.raises(ConfigError, match="retention_bytes_max_of_tenant: "):
        limits_of(settings(retention_bytes_max_of_tenant=[entry]))


def test_a_tenant_is_named_once() -> None:
    with pytest.raises(ConfigError, match="once"):
        limits_of(settings(retention_age_of_tenant=["shop=1d", "shop=2d"]))


# Deciding

CASES: dict[str, tuple[RetentionLimits, list[AgeRow], list[int]]] = {
    "nothing is limited": (FOR_EVER, [a_row(1, age_ms=9999 * DAY)], []),
    "too old goes, old enough stays": (
        FOR_EVER._replace(age_ms=2 * DAY),
        [a_row(1, age_ms=3 * DAY), a_row(2, age_ms=2 * DAY), a_row(3, age_ms=DAY)],
        [1],
    ),
    "the last event counts, not the first": (
        FOR_EVER._replace(age_ms=2 * DAY),
        [a_row(1, age_ms=DAY, began_ms=NOW - 9 * DAY), a_row(2, age_ms=3 * DAY)],
        [2],
    ),
    "a live one goes by age": (FOR_EVER._replace(age_ms=1), [a_row(1, age_ms=2)], [1]),
    "a tenant's own age beats the other": (
        FOR_EVER._replace(age_ms=2 * DAY, age_ms_of_tenant={"shop": 9 * DAY, "museum": None}),
        [
            a_row(1, tenant="shop", age_ms=5 * DAY),
            a_row(2, tenant="museum", age_ms=99 * DAY),
            a_row(3, age_ms=5 * DAY),
            a_row(4, tenant="shop", age_ms=10 * DAY),
        ],
        [3, 4],
    ),
    "the oldest go until the rest fits": (
        FOR_EVER._replace(bytes_max=250),
        [a_row(1), a_row(2), a_row(3), a_row(4)],
        [1, 2],
    ),
    "just fitting is fitting": (FOR_EVER._replace(bytes_max=200), [a_row(1), a_row(2)], []),
    "a live one stays, the next one goes": (
        FOR_EVER._replace(bytes_max=150),
        [a_row(1, age_ms=LIVE_MS - 1), a_row(2, age_ms=LIVE_MS)],
        [2],
    ),
    "one large one is enough": (FOR_EVER._replace(bytes_max=100), [a_row(1, size=900), a_row(2)], [1]),
    "a tenant's bytes are its own affair": (
        FOR_EVER._replace(bytes_max_of_tenant={"shop": 100, "museum": 0}),
        [a_row(1), a_row(2, tenant="shop"), a_row(3, tenant="shop"), a_row(4, tenant="museum", size=900)],
        [2],
    ),
    "what goes by age leaves less to go by bytes": (
        FOR_EVER._replace(age_ms=2 * DAY, bytes_max=200),
        [a_row(1), a_row(2), a_row(3, age_ms=3 * DAY)],
        [3],
    ),
    "what goes for its tenant leaves less to go for all": (
        FOR_EVER._replace(bytes_max=200, bytes_max_of_tenant={"shop": 100}),
        [a_row(1), a_row(2, tenant="shop"), a_row(3, tenant="shop")],
        [2],
    ),
    "all rules together": (
        FOR_EVER._replace(age_ms=5 * DAY, bytes_max=150, bytes_max_of_tenant={"shop": 100}),
        [a_row(1), a_row(2, age_ms=6 * DAY), a_row(3, tenant="shop"), a_row(4, tenant="shop"), a_row(5)],
        [1, 2, 3, 5],
    ),
    "a flood takes nothing from another tenant": (
        FOR_EVER._replace(bytes_max=400),
        [
            *(a_row(number, tenant="small") for number in (1, 2)),
            *(a_row(number, tenant="flood") for number in range(3, 30)),
        ],
        list(range(3, 28)),
    ),
    "a flood that is still live takes nothing either": (
        FOR_EVER._replace(bytes_max=400),
        [
            *(a_row(number, tenant="small") for number in (1, 2)),
            *(a_row(number, tenant="flood", age_ms=0) for number in range(3, 30)),
        ],
        [],
    ),
    "what one does not use of its share is the others'": (
        FOR_EVER._replace(bytes_max=600),
        [
            a_row(1, tenant="small"),
            *(a_row(number, tenant="middle") for number in (2, 3)),
            *(a_row(number, tenant="large") for number in range(4, 10)),
        ],
        [4, 5, 6],
    ),
    "the largest goes down to the next, then both": (
        FOR_EVER._replace(bytes_max=400),
        [
            *(a_row(number) for number in range(1, 5)),
            *(a_row(number, tenant="shop") for number in range(5, 8)),
        ],
        [1, 2, 5],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_goes(case: str) -> None:
    limits, rows, goes = CASES[case]
    assert sorted(ids(decide(rows, limits))) == goes


def test_each_is_told_why_it_goes() -> None:
    limits, rows, _ = CASES["all rules together"]
    assert {expiry.row.row_id: expiry.why for expiry in decide(rows, limits)} == {
        2: "age",
        3: "bytes of its tenant",
        1: "bytes of all",
        5: "bytes of all",
    }


TENANTS = ("a", "b", "c")


@st.composite
def _rows(draw: st.DrawFn) -> list[AgeRow]:
    began = sorted(draw(st.lists(st.integers(NOW - 9 * DAY, NOW), max_size=12)))
    return [
        AgeRow(
            row_id=2 * number + 1,
            tenant=draw(st.sampled_from(TENANTS)),
            recording_id=f"r{number}",
            created_ms=at_ms,
            last_stored_ms=draw(st.integers(at_ms, NOW) | st.just(at_ms)),
            stored_bytes=draw(st.integers(1, 50)),
            events=1,
        )
        for number, at_ms in enumerate(began)
    ]


LIMITS = st.builds(
    RetentionLimits,
    age_ms=st.none() | st.integers(HOUR, 9 * DAY),
    age_ms_of_tenant=st.dictionaries(st.sampled_from(TENANTS), st.none() | st.integers(HOUR, 9 * DAY)),
    bytes_max=st.integers(0, 300),
    bytes_max_of_tenant=st.dictionaries(st.sampled_from(TENANTS), st.integers(0, 150)),
    live_ms=st.just(LIVE_MS),
)


@given(_rows(), LIMITS, st.integers(1, 13), st.booleans())
def test_nothing_goes_that_need_not_and_the_oldest_go_first(
    rows: list[AgeRow], limits: RetentionLimits, page: int, is_quick: bool
) -> None:
    goes = decide(rows, limits, page=page, is_quick=is_quick)
    gone = set(ids(goes))
    assert len(gone) == len(goes)
    stays = [row for row in rows if row.row_id not in gone]
    live = {row.row_id for row in rows if row.last_stored_ms > NOW - LIVE_MS}

    def too_old(row: AgeRow) -> bool:
        age_ms = limits.age_of(row.tenant)
        return age_ms is not None and NOW - row.last_stored_ms > age_ms

    assert {expiry.row.row_id for expiry in goes if expiry.why == "age"} == {
        row.row_id for row in rows if too_old(row)
    }
    _check_bytes(goes, stays, live, limits)


def _check_bytes(goes: list[Expiry], stays: list[AgeRow], live: set[int], limits: RetentionLimits) -> None:
    """Each rule by bytes: it is kept as far as possible, by the oldest, and not by one more than needed."""
    for tenant, most in limits.bytes_max_of_tenant.items():
        mine = [row for row in stays if row.tenant == tenant]
        sent = [
            expiry.row
            for expiry in goes
            if (expiry.why, expiry.row.tenant) == ("bytes of its tenant", tenant)
        ]
        # What went by the later rule was still there then.
        later = [e.row for e in goes if (e.why, e.row.tenant) == ("bytes of all", tenant)]
        left = sum(row.stored_bytes for row in (*mine, *later))
        assert not most or left <= most or not [row for row in mine if row.row_id not in live]
        if sent:
            assert left + sent[-1].stored_bytes > most
            _check_oldest(sent, [*mine, *later], live)
    _check_shares(goes, stays, live, limits.bytes_max)
    whys = {"age", *(["bytes of its tenant"] if any(limits.bytes_max_of_tenant.values()) else [])}
    assert {expiry.why for expiry in goes} <= whys | ({"bytes of all"} if limits.bytes_max else set())


def _check_oldest(sent: list[AgeRow], stays: list[AgeRow], live: set[int]) -> None:
    assert not live & {row.row_id for row in sent}
    assert [row.row_id for row in sent] == sorted(row.row_id for row in sent)
    assert all(row.row_id > sent[-1].row_id for row in stays if row.row_id not in live)


def _check_shares(goes: list[Expiry], stays: list[AgeRow], live: set[int], bytes_max: int) -> None:
    """A tenant at or below its fair share loses nothing, and all fits, but for what is live above a share."""
    sent = [expiry.row for expiry in goes if expiry.why == "bytes of all"]
    after = {tenant: _size(stays, tenant) for tenant in TENANTS}
    before = {tenant: after[tenant] + _size(sent, tenant) for tenant in TENANTS}
    share = fair_share(before.values(), bytes_max)
    if bytes_max and sum(before.values()) > bytes_max:
        assert sum(min(size, share) for size in before.values()) <= bytes_max
        assert sum(min(size, share + 1) for size in before.values()) > bytes_max
    for tenant in TENANTS:
        mine = [row for row in sent if row.tenant == tenant]
        if mine:
            assert before[tenant] > share
            assert after[tenant] + mine[-1].stored_bytes > share
            _check_oldest(mine, [row for row in stays if row.tenant == tenant], live)
    if sent:
        assert sum(after.values()) + sent[-1].stored_bytes > bytes_max
    if bytes_max and sum(after.values()) > bytes_max:
        share = fair_share(after.values(), bytes_max)
        assert all(row.row_id in live for row in stays if after[row.tenant] > share)


def _size(rows: Sequence[AgeRow], tenant: str) -> int:
    return sum(row.stored_bytes for row in rows if row.tenant == tenant)


@given(_rows(), LIMITS, st.integers(1, 5))
def test_a_few_at_a_time_comes_to_the_same(
    rows: list[AgeRow], limits: RetentionLimits, count_max: int
) -> None:
    at_once = set(ids(decide(rows, limits)))
    gone: set[int] = set()
    while step := decide([row for row in rows if row.row_id not in gone], limits, count_max=count_max):
        assert len(step) <= count_max
        gone |= set(ids(step))
    assert gone == at_once


def test_a_quick_look_ends_where_recordings_are_too_young() -> None:
    rows = [a_row(number, age_ms=(100 - number) * DAY) for number in range(1, 100)]
    limits = FOR_EVER._replace(age_ms=90 * DAY)
    tenants = [TenantRow("acme", 99, 9900)]
    planner = plan(limits, tenants, now_ms=NOW, count_max=1000, is_quick=True)
    assert next(planner).after_row_id == 0
    assert planner.send(rows[:5]).after_row_id == 5
    with pytest.raises(StopIteration) as end:
        planner.send(rows[5:10])
    assert len(end.value.value) == 9


def test_a_clock_that_was_wrong_once_does_not_hide_what_is_too_old() -> None:
    # It said next year when the first recording began, and stored.
    rows = [a_row(1, age_ms=-365 * DAY), a_row(2, age_ms=3 * DAY), a_row(3)]
    limits = FOR_EVER._replace(age_ms=2 * DAY)
    assert ids(decide(rows, limits, page=1)) == [2]
    assert ids(decide(rows, limits, page=1, is_quick=True)) == []


# Asking the index


async def test_the_index_is_asked_for_what_the_planner_wants_to_know(tmp_path: Path) -> None:
    index = await SqliteIndex.open(str(tmp_path / "index.sqlite"))
    try:
        for row in (
            a_row(1, age_ms=9 * DAY),
            a_row(2, tenant="shop", age_ms=8 * DAY),
            a_row(3, age_ms=3 * DAY, size=70),
            a_row(4, age_ms=2 * DAY, size=30),
            a_row(5, age_ms=0, size=40),
        ):
            await index.apply([_commit(row)])
        limits = RetentionLimits(5 * DAY, {"shop": None}, 0, {"acme": 90})
        goes = await look(index, limits, now_ms=NOW, count_max=10)
        assert [(expiry.row.recording_id, expiry.why) for expiry in goes] == [
            ("r1", "age"),
            ("r3", "bytes of its tenant"),
        ]
        assert goes[0].row == a_row(1, age_ms=9 * DAY)
        assert len(await look(index, limits, now_ms=NOW, count_max=1)) == 1
        assert await look(index, FOR_EVER, now_ms=NOW, count_max=10) == []
    finally:
        await index.close()


def _commit(row: AgeRow) -> Commit:
    return Commit(
        row_id=row.row_id, tenant=row.tenant, recording_id=row.recording_id, created_ms=row.created_ms,
        segment=1, segment_size=row.stored_bytes, block_offset=0, block_size=row.stored_bytes,
        extent=Extent(1, 1, 1.0, 1.0, 10, row.last_stored_ms, 0, 0), metadata=(),
    )  # fmt: skip
