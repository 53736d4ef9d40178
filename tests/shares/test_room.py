"""Fair shares: whatever one tenant takes or lines up, others find room, and nothing is lost or made up."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.shares.queue import FairQueue, Who
from rrd.shares.room import Ledger, Room, Times
from rrd.shares.threads import FairThreads
from tests.harness import until

_TIMES = Times(tenant=9, key=9, address=1)


@given(
    size=st.integers(1, 2000),
    steps=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans()), max_size=400),
)
def test_a_ledger_never_gives_more_than_there_is_and_forgets_nothing(
    size: int, steps: list[tuple[int, int, bool]]
) -> None:
    ledger, held = Ledger(size, _TIMES), Counter[Who]()
    for tenant, address, takes in steps:
        who = Who(f"t{tenant}", f"k{tenant}", f"a{address}")
        if takes and ledger.may_take(who):
            ledger.take(who)
            held[who] += 1
        elif not takes and held[who]:
            ledger.give_back(who)
            held[who] -= 1
        assert ledger.free == size - held.total() >= 0
    for who, count in held.items():
        for _ in range(count):
            ledger.give_back(who)
    assert ledger.free == size
    assert not ledger._held


@given(size=st.integers(20, 5000), greedy=st.integers(1, 5))
def test_those_who_take_all_they_can_leave_room_for_one_more(size: int, greedy: int) -> None:
    ledger = Ledger(size, _TIMES)
    for tenant in range(greedy):
        who = Who(f"t{tenant}", f"k{tenant}")
        while ledger.may_take(who):
            ledger.take(who)
        if not tenant:
            assert size * 0.85 <= size - ledger.free < size
    if size >= 12**greedy:
        assert ledger.may_take(Who("newcomer", "k"))


@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=8),
    steps=st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans()), max_size=200),
)
def test_a_ledger_that_is_resized_gives_no_more_than_there_is_then_and_takes_nothing_back(
    sizes: list[int], steps: list[tuple[int, bool, bool]]
) -> None:
    ledger, held = Ledger(sizes[0], _TIMES), Counter[Who]()
    for number, (tenant, takes, resizes) in enumerate(steps):
        who = Who(f"t{tenant}", f"k{tenant}")
        if resizes:
            ledger.resize(sizes[number % len(sizes)])
        elif takes and ledger.try_take(who):
            held[who] += 1
            assert held.total() <= ledger.size
        elif not takes and held[who]:
            ledger.give_back(who)
            held[who] -= 1
        assert ledger.free == ledger.size - held.total()
    for who in held.elements():
        ledger.give_back(who)
    assert ledger.free == ledger.size


async def test_those_who_wait_are_served_when_there_is_more_and_when_there_is_less_than_they_wait_for() -> (
    None
):
    room, who = Room(10, Times(tenant=0, key=0, address=0)), Who("t")
    assert room.try_take(who, 10)
    waiting = asyncio.create_task(room.take(Who("u"), least=8, most=20, patience_s=60))
    await until(lambda: len(room), what="it to wait")
    room.resize(30)
    assert await waiting == 10  # All that there was when it came.
    room.give_back(who, 10)
    room.give_back(Who("u"), 10)
    assert room.try_take(who, 25)
    waiting = asyncio.create_task(room.take(Who("u"), least=20, most=20, patience_s=60))
    await until(lambda: len(room), what="it to wait")
    room.resize(5)
    assert room.free == -20
    assert not room.try_take(Who("v"))
    room.give_back(who, 25)
    assert await waiting == 5  # What is more than there is at all is taken for all.


def test_a_few_places_can_all_be_taken_by_one() -> None:
    for size in range(1, 10):
        ledger = Ledger(size, _TIMES)
        for _ in range(size):
            assert ledger.may_take(Who("t", "k"))
            ledger.take(Who("t", "k"))
        assert not ledger.may_take(Who("other", "k"))


def test_an_address_gets_half_and_one_that_is_not_known_is_not_counted() -> None:
    ledger = Ledger(1000, _TIMES)
    known, unknown = Who("t", "k", "192.0.2.1"), Who("t", "k")
    while ledger.may_take(known):
        ledger.take(known)
    assert 490 <= 1000 - ledger.free <= 510
    assert ledger.may_take(unknown)


@pytest.mark.parametrize("seed", range(20))
def test_turns_go_from_tenant_to_tenant_and_from_key_to_key(seed: int) -> None:
    dice = random.Random(seed)
    queue: FairQueue[int] = FairQueue()
    tenants = [f"t{number}" for number in range(dice.randint(2, 6))]
    for number in range(600):  # One of them lines up most of it.
        tenant = tenants[0] if dice.random() < 0.8 else dice.choice(tenants)
        queue.push(Who(tenant, f"{tenant}k{dice.randint(0, 2)}"), number)
    last: dict[str, int] = {}
    waiting = Counter({tenant: len(list(_items(queue, tenant))) for tenant in tenants})
    for turn in range(600):
        found = queue.pop(lambda *_: True)
        assert found is not None
        tenant = found[0].tenant
        waiting[tenant] -= 1
        # Nobody waits for more than one turn of each other tenant.
        assert turn - last.get(tenant, -1) <= len(tenants) or turn < len(tenants)
        last[tenant] = turn
    assert not queue
    assert not +waiting


def _items(queue: FairQueue[int], tenant: str) -> list[int]:
    return [item for items in queue._tenants.get(tenant, {}).values() for _, item in items]


async def test_a_room_serves_others_first_when_one_tenant_has_lined_up() -> None:
    room = Room(100, Times(9, 9, 0))
    order: list[str] = []
    gate = asyncio.Event()

    async def use(tenant: str) -> None:
        async with room.hold(Who(tenant, tenant), least=30, most=60, patience_s=20) as size:
            assert 30 <= size <= 60
            order.append(tenant)
            await gate.wait()

    tasks = [asyncio.create_task(use("a")) for _ in range(20)]
    await until(lambda: order, what="the first")
    tasks.append(asyncio.create_task(use("b")))
    gate.set()
    await asyncio.gather(*tasks)
    assert order.index("b") <= 4
    assert room.free == 100


@pytest.mark.parametrize("seed", range(10))
async def test_a_room_loses_nothing_when_waits_are_given_up(seed: int) -> None:
    dice = random.Random(seed)
    room = Room(50, Times(9, 9, 0))

    async def use(number: int) -> None:
        with contextlib.suppress(TimeoutError):
            who = Who(f"t{number % 3}", f"k{number % 5}")
            async with room.hold(who, least=dice.randint(1, 80), most=40, patience_s=0.001):
                for _ in range(dice.randint(0, 3)):
                    await asyncio.sleep(0)

    tasks = [asyncio.create_task(use(number)) for number in range(200)]
    for task in dice.sample(tasks, 60):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert room.free == 50
    assert not len(room)


async def test_work_of_one_tenant_that_hangs_leaves_threads_to_others() -> None:
    threads, loop, release = FairThreads(8, name="test"), asyncio.get_running_loop(), threading.Event()
    try:
        a, b = threads.lane(Who("a", "ka")), threads.lane(Who("b", "kb"))
        hanging = [loop.run_in_executor(a, release.wait) for _ in range(50)]
        assert await asyncio.wait_for(loop.run_in_executor(b, lambda: 7), 20) == 7
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(b, lambda: 1 // 0)
        release.set()
        assert all(await asyncio.gather(*hanging))
    finally:
        release.set()
        threads.close()


@pytest.mark.parametrize("seed", range(3))
async def test_threads_are_free_again_whatever_became_of_their_work(seed: int) -> None:
    dice, loop = random.Random(seed), asyncio.get_running_loop()
    threads, release = FairThreads(4, name="test"), threading.Event()
    try:
        lanes = [threads.lane(Who(f"t{number}", "k")) for number in range(3)]
        works = [loop.run_in_executor(dice.choice(lanes), release.wait) for _ in range(60)]
        for work in dice.sample(works, 30):
            work.cancel()
        release.set()
        ends = await asyncio.wait_for(asyncio.gather(*works, return_exceptions=True), 20)
        assert all(end is True or isinstance(end, asyncio.CancelledError) for end in ends)
        await until(lambda: threads._ledger.free == 4, what="all threads to be free again")
        assert not threads._ledger._held
    finally:
        release.set()
        threads.close()
    with pytest.raises(RuntimeError):
        await loop.run_in_executor(lanes[0], release.wait)
