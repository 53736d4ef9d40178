"""Those who wait, taken by turns: tenant after tenant, and within a tenant key after key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rrd.shares.queue import FairQueue, Who

WHO = st.builds(Who, st.sampled_from("ab"), st.sampled_from("xyz"))


def drained(queue: FairQueue[int]) -> list[int]:
    return list(queue.drain())


def test_tenants_take_turns_however_many_one_lines_up() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(4):
        queue.push(Who("many"), number)
    queue.push(Who("few"), 10)
    assert drained(queue) == [0, 10, 1, 2, 3]


def test_keys_of_a_tenant_take_turns() -> None:
    queue: FairQueue[int] = FairQueue()
    for key, number in (("x", 0), ("x", 1), ("x", 2), ("y", 10), ("y", 11)):
        queue.push(Who("t", key), number)
    assert drained(queue) == [0, 10, 1, 11, 2]


def test_one_that_may_not_be_taken_holds_up_those_of_its_key_alone() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.push(Who("t", "x"), 0)
    queue.push(Who("t", "x"), 1)
    queue.push(Who("t", "y"), 2)
    assert queue.pop(lambda _, item: item != 0) == (Who("t", "y"), 2)
    assert queue.pop(lambda _, item: item != 0) is None
    assert len(queue) == 2


@given(st.lists(WHO), st.data())
def test_all_come_out_once_and_those_of_a_key_in_order(pushed: list[Who], data: st.DataObject) -> None:
    queue: FairQueue[int] = FairQueue()
    for number, who in enumerate(pushed):
        queue.push(who, number)
    gone = data.draw(st.sets(st.sampled_from(range(len(pushed))))) if pushed else set()
    for number in gone:
        queue.remove(pushed[number], number)
    assert len(queue) == len(pushed) - len(gone)
    out = drained(queue)
    assert sorted(out) == sorted(set(range(len(pushed))) - gone)
    for who in set(pushed):
        mine = [number for number in out if pushed[number] == who]
        assert mine == sorted(mine)
    assert len(queue) == 0
