"""Quotas: what buckets give, what is refused, and who is slowed down, on a clock that the test moves."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.config import Config
from rrd.errors import ConfigError
from rrd.shares.bucket import Bucket
from rrd.shares.limits import quota_limits_of
from rrd.shares.queue import Who
from rrd.shares.quotas import OverQuota, Quotas
from rrd.wire.events import Batch


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


_A, _B = Who("a", "ka", "192.0.2.1"), Who("b", "kb", "192.0.2.2")


def _quotas(clock: _Clock, **settings: object) -> Quotas:
    return Quotas(quota_limits_of(msgspec.convert(settings, Config)), clock)


def _batch(events: int, size: int) -> Batch:
    return Batch(bytes(size), events, 0.0, 0.0, True, False, (), (), events + 1)


@given(
    rate=st.floats(0.01, 1e6),
    depth=st.floats(1, 1e9),
    steps=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 3600)), max_size=50),
)
def test_a_bucket_never_gives_more_than_its_depth_and_what_has_come_since(
    rate: float, depth: float, steps: list[tuple[float, float]]
) -> None:
    bucket, start, now, given_out = Bucket(rate, depth), 50.0, 50.0, 0.0
    for wanted, later_s in steps:
        now += later_s
        amount = min(wanted, depth)
        if bucket.wait_s(amount, now) == 0:
            bucket.take(amount, now)
            given_out += amount
        assert given_out <= (depth + rate * (now - start)) * (1 + 1e-6) + 1e-6
        wait_s = bucket.wait_s(amount, now)
        assert bucket.wait_s(amount, now + wait_s + 1e-3) <= 1e-3
    assert bucket.spent(now + depth / rate + given_out / rate + 1) == 0


@pytest.mark.parametrize("scope", ["key", "tenant", "address"])
def test_new_recordings_are_refused_beyond_each_quota_and_others_are_not(scope: str) -> None:
    clock = _Clock()
    quotas = _quotas(clock, **{f"recordings_per_min_{scope}_max": 30})
    for _ in range(30):
        quotas.begin_recording(_A)
    with pytest.raises(OverQuota) as refused:
        quotas.begin_recording(_A)
    assert refused.value.status == 429
    assert refused.value.code == f"over_recordings_per_min_{scope}_max"
    retry_after_s = refused.value.retry_after_s
    assert retry_after_s is not None
    assert 1 <= retry_after_s <= 4
    quotas.begin_recording(_B)
    clock.now += retry_after_s
    quotas.begin_recording(_A)


@pytest.mark.parametrize("scope", ["key", "tenant", "address"])
@pytest.mark.parametrize("kind", ["sockets", "requests"])
def test_what_is_open_at_once_is_refused_beyond_each_quota(scope: str, kind: str) -> None:
    quotas = _quotas(_Clock(), **{f"{kind}_{scope}_max": 3})
    for _ in range(3):
        entered = quotas.enter(_A, kind)  # type: ignore[arg-type]
    with pytest.raises(OverQuota, match=f"{kind}_{scope}_max"):
        quotas.enter(_A, kind)  # type: ignore[arg-type]
    quotas.enter(_B, kind)  # type: ignore[arg-type]
    quotas.leave(entered, kind)  # type: ignore[arg-type]
    quotas.enter(_A, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("quantity", ["events_per_s", "bytes_per_s"])
@pytest.mark.parametrize("scope", ["key", "tenant", "address"])
def test_the_one_that_sends_more_than_its_part_waits_and_the_others_do_not(scope: str, quantity: str) -> None:
    clock = _Clock()
    quotas = _quotas(clock, **{f"{quantity}_{scope}_max": 100_000})
    greedy, modest, other = quotas.pacer(_A), quotas.pacer(_A), quotas.pacer(_B)
    waited = 0.0
    for _ in range(2000):
        greedy.count(_batch(100_000, 100_000) if quantity == "events_per_s" else _batch(1, 1_000_000))
        modest.count(_batch(4, 4_000))
        other.count(_batch(4, 4_000))
        assert modest.wait_s() == 0
        assert other.wait_s() == 0
        assert greedy.wait_s() <= 2
        waited += greedy.wait_s()
        clock.now += max(greedy.wait_s(), 0.01)
    assert waited > 1000


def test_a_days_bytes_refuse_what_is_new_and_slow_what_is_under_way_a_tenth_later() -> None:
    clock = _Clock()
    quotas = _quotas(clock, bytes_per_day_key_max=86_400_000)
    pacer = quotas.pacer(_A)
    pacer.count(_batch(1, 87_000_000))
    assert pacer.wait_s() == 0
    refusal = quotas.refusal_of_new(_A)
    assert refusal is not None
    assert refusal.code == "over_bytes_per_day_key_max"
    assert refusal.retry_after_s is not None
    assert 590 <= refusal.retry_after_s <= 610
    pacer.count(_batch(1, 9_000_000))
    assert pacer.wait_s() == 2
    assert quotas.refusal_of_new(_B) is None


@pytest.mark.parametrize(("ago_s", "left"), [(0, 50_000_000), (25_000, 25_000_000), (90_000, 0)])
def test_what_was_spent_of_a_day_outlives_a_restart(ago_s: int, left: int) -> None:
    clock = _Clock()
    settings = {"bytes_per_day_key_max": 86_400_000}
    before, after = _quotas(clock, **settings), _quotas(clock, **settings)
    before.pacer(_A).count(_batch(1, 50_000_000))
    days = before.days()
    assert "192.0.2.1" not in repr(days)
    after.take_up(days, ago_s=ago_s)
    assert after.days()["key"].get("ka", 0) == pytest.approx(left)


def test_zero_is_off_everywhere() -> None:
    settings = {
        name: 0
        for name in Config.__struct_fields__
        if name.endswith(("_key_max", "_tenant_max", "_address_max"))
    }
    assert len(settings) == 18
    quotas = _quotas(_Clock(), **settings)
    pacer = quotas.pacer(_A)
    for _ in range(1000):
        quotas.begin_recording(_A)
        quotas.enter(_A, "sockets")
        pacer.count(_batch(10**6, 10**7))
    assert pacer.wait_s() == 0


def test_a_single_key_or_tenant_has_quotas_of_its_own() -> None:
    quotas = _quotas(
        _Clock(),
        sockets_key_max=1,
        sockets_tenant_max=0,
        quotas_of_key=["kb.sockets=2", "kb.requests=1_000"],
        quotas_of_tenant=["a.recordings_per_min=1"],
    )
    quotas.enter(_A, "sockets")
    with pytest.raises(OverQuota):
        quotas.enter(_A, "sockets")
    quotas.enter(_B, "sockets")
    quotas.enter(_B, "sockets")
    quotas.begin_recording(_A)
    with pytest.raises(OverQuota, match="tenant"):
        quotas.begin_recording(_A)


@pytest.mark.parametrize(
    "entry", ["", "shop", "shop=5", "shop.sockets", "shop.socks=5", ".sockets=5", "a.sockets=-1"]
)
def test_a_bad_entry_names_its_setting(entry: str) -> None:
    with pytest.raises(ConfigError, match="quotas_of_tenant"):
        quota_limits_of(Config(quotas_of_tenant=(entry,)))


def test_addresses_are_forgotten_once_there_is_nothing_to_remember() -> None:
    clock = _Clock()
    quotas = _quotas(clock)
    for number in range(5000):
        quotas.begin_recording(Who("", "", f"192.0.2.{number}"))
        clock.now += 1
    assert len(quotas) < 200


def test_a_flood_of_addresses_takes_bounded_memory_and_keeps_those_that_are_there() -> None:
    quotas = _quotas(_Clock())
    entered = quotas.enter(Who("", "", "here"), "sockets")
    for number in range(60_000):
        quotas.begin_recording(Who("", "", str(number)))
    assert len(quotas) <= 50_001
    quotas.leave(entered, "sockets")


# Other quotas while parties use theirs


@given(
    quotas=st.lists(st.tuples(st.floats(0, 1e6), st.floats(1, 1e9)), min_size=2, max_size=6),
    amounts=st.lists(st.floats(0, 1e6), min_size=6, max_size=6),
)
def test_a_bucket_that_is_resized_keeps_what_was_spent_and_forgets_it_without_a_limit(
    quotas: list[tuple[float, float]], amounts: list[float]
) -> None:
    bucket, now = Bucket(*quotas[0]), 10.0
    for (rate, depth), amount in zip(quotas[1:], amounts, strict=False):
        bucket.take(amount, now)
        spent = bucket.spent(now)
        bucket.resize(rate, depth, now)
        assert bucket.spent(now) == (spent if rate else 0.0)
        assert (bucket.rate, bucket.depth) == (rate, depth)
        assert bucket.wait_s(depth, now) >= 0
        assert bucket.debt_s(now) >= 0


async def test_other_quotas_count_for_those_who_are_there_and_for_those_who_come() -> None:
    clock = _Clock()
    quotas = _quotas(clock, recordings_per_min_tenant_max=2, sockets_tenant_max=0)
    places = [quotas.enter(_A, "sockets") for _ in range(3)]
    quotas.begin_recording(_A)
    quotas.begin_recording(_A)
    assert quotas.refusal_of_new(_A) is not None
    await quotas.change(
        quota_limits_of(Config(recordings_per_min_tenant_max=3, sockets_tenant_max=2, quotas_of_tenant=()))
    )
    # What was used counts on: one more, and three of one who comes anew. Nothing under way is taken away.
    quotas.begin_recording(_A)
    assert quotas.refusal_of_new(_A) is not None
    for _ in range(3):
        quotas.begin_recording(_B)
    assert quotas.refusal_of_new(_B) is not None
    for left in range(3, -1, -1):
        if left >= 2:
            with pytest.raises(OverQuota, match="sockets_tenant_max"):
                quotas.enter(_A, "sockets")
        else:
            quotas.leave(quotas.enter(_A, "sockets"), "sockets")
        if left:
            quotas.leave(places.pop(), "sockets")
    await quotas.change(quota_limits_of(Config(quotas_of_tenant=("b.recordings_per_min=0",))))
    assert quotas.refusal_of_new(_B) is None
    clock.now += 3600
    # Nothing is left to be remembered of the one without a limit.
    assert all(account.is_idle(clock.now) for _, account in quotas._of(_B))


async def test_a_change_of_quotas_of_many_parties_lets_others_have_their_turn() -> None:
    clock = _Clock()
    quotas = _quotas(clock, requests_tenant_max=0, requests_key_max=0)
    for number in range(5_000):
        quotas.enter(Who("a", "k", f"192.0.2.{number}"), "requests")
    changing = asyncio.create_task(quotas.change(quota_limits_of(Config(events_per_s_address_max=1))))
    turns = 0
    while not changing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 5
    newest = quotas._of(Who("a", "k", "192.0.2.4999"))[-1][1]
    assert newest.events.rate == 1
