"""Reading by turns: how much comes in between two turns of the event loop, and who comes next."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from rrd.http import connection as connection_module
from rrd.http.budget import READ_BYTES
from rrd.http.services import Bounds
from rrd.http.turns import BULK_BYTES, OpeningTurns, ReadingTurns
from rrd.shares.queue import Who
from tests.harness import running
from tests.http.api import visiting

TURN_BYTES = Bounds().turn_bytes


class Loop:
    """Turns when it is told to."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.due.append(callback)

    def turn(self) -> None:
        due, self.due = self.due, []
        for call in due:
            call()


class Connection:
    def __init__(self, turns: ReadingTurns, tenant: str, key: str = "k") -> None:
        self._turns = turns
        self._who = Who(tenant, key)
        self.is_waiting = False
        self.is_held_back = False
        self.read_count = 0

    def who(self) -> Who:
        return self._who

    def await_turn(self, is_waiting: bool) -> None:
        assert is_waiting != self.is_waiting, "told what it knows"
        self.is_waiting = is_waiting

    def is_readable(self) -> bool:
        return not (self.is_waiting or self.is_held_back)

    def read(self, size: int = READ_BYTES) -> int:
        """Read as much as has arrived; nothing where it is not to be read."""
        if not self.is_readable():
            return 0
        self.read_count += 1
        self._turns.came(self, size)
        return size


def test_a_turn_brings_a_bounded_amount_however_many_send() -> None:
    loop = Loop()
    turns = ReadingTurns(loop.call_soon, TURN_BYTES)
    flood = [Connection(turns, "flood") for _ in range(1000)]
    for each in flood:
        each.read()  # Each may come as a surprise once.
    for _ in range(200):
        loop.turn()
        assert sum(each.read() for each in flood) <= TURN_BYTES
    counts = [each.read_count for each in flood]
    assert max(counts) - min(counts) <= 1, "not by turns"
    assert sum(counts) > 200 * TURN_BYTES // READ_BYTES, "less than there is room for"


def test_a_tenant_with_one_connection_waits_for_a_turn_and_not_for_the_flood() -> None:
    loop = Loop()
    turns = ReadingTurns(loop.call_soon, TURN_BYTES)
    flood = [Connection(turns, f"flood {number % 2}") for number in range(1000)]
    single = Connection(turns, "single")
    everyone = [*flood, single]
    for each in everyone:
        each.read()
    for _ in range(50):
        loop.turn()
        for each in everyone:
            each.read()
    assert single.read_count == 51


def test_what_brings_little_in_all_is_never_paused() -> None:
    loop = Loop()
    turns = ReadingTurns(loop.call_soon, TURN_BYTES)
    few = [Connection(turns, "few") for _ in range(TURN_BYTES // READ_BYTES - 1)]
    for _ in range(20):
        assert all(each.read() for each in few)
        loop.turn()
    assert not loop.due


def test_a_connection_that_idles_again_is_not_paused_for_others() -> None:
    loop = Loop()
    turns = ReadingTurns(loop.call_soon, TURN_BYTES)
    idle = Connection(turns, "honest")
    idle.read(BULK_BYTES)
    loop.turn()
    for _ in range(100):
        Connection(turns, "flood").read()
    assert idle.is_readable()


@pytest.mark.parametrize("seed", range(20))
def test_each_that_waits_gets_its_turn_whatever_others_do(seed: int) -> None:
    loop = Loop()
    chance = random.Random(seed)
    turns = ReadingTurns(loop.call_soon, TURN_BYTES)
    everyone = [Connection(turns, f"t{number % 5}", f"k{number % 3}") for number in range(200)]
    for _ in range(300):
        for each in chance.sample(everyone, 60):
            each.is_held_back = chance.random() < 0.3
            each.read(chance.randint(BULK_BYTES, READ_BYTES))
        if chance.random() < 0.1:
            gone = everyone.pop(chance.randrange(len(everyone)))
            turns.forget(gone)
        loop.turn()
    for _ in range(200):
        loop.turn()
    assert not loop.due
    assert not any(each.is_waiting for each in everyone)


async def test_each_body_gets_through_though_its_reader_pauses_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[bool] = []
    await_turn = connection_module.Connection.await_turn

    def noted(connection: connection_module.Connection, is_waiting: bool) -> None:
        pauses.append(is_waiting)
        await_turn(connection, is_waiting)

    monkeypatch.setattr(connection_module.Connection, "await_turn", noted)
    line = b'{"type":3,"timestamp":1,"data":"' + b"x" * (1 << 20) + b'"}\n'
    async with running(tmp_path, bounds=Bounds(turn_bytes=64 << 10)) as daemon:
        async with visiting(daemon) as api:
            recordings = [f"{number:08x}-3d44-4c8e-9a51-6d1f5a1f9e11" for number in range(12)]
            replies = await asyncio.gather(*(api.post(each, line * 2) for each in recordings))
        assert {reply.status for reply in replies} == {200}
        assert pauses
        assert sum(pauses) * 2 == len(pauses), "a connection was paused, and never let go on"


async def test_sockets_open_by_turns_and_another_tenants_among_the_first() -> None:
    loop = Loop()
    turns = OpeningTurns(loop.call_soon)
    opened: list[str] = []

    async def open_one(tenant: str, number: int) -> None:
        await turns.wait(Who(tenant, "k"))
        opened.append(f"{tenant} {number}")

    tasks = [asyncio.create_task(open_one("flood", number)) for number in range(200)]
    await asyncio.sleep(0)
    tasks[100].cancel()
    tasks.append(asyncio.create_task(open_one("other", 0)))
    counts: list[int] = []
    for _ in range(20):
        before = len(opened)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        counts.append(len(opened) - before)
        loop.turn()
        if len(counts) == 2:
            await asyncio.sleep(0)
            assert "other 0" in opened
    await asyncio.gather(*tasks, return_exceptions=True)
    assert max(counts[1:]) <= 32
    assert len(opened) == 200
    assert loop.due == []
