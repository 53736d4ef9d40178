"""Pings of many sockets, some of whose clients don't read: none waits for another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from rrd.access.gate import Grant
from rrd.clock import SystemClock
from rrd.http.sockets import Sockets
from tests.harness import until

_SOCKETS = 8
_GRANT = Grant(tenant="acme", rights=frozenset({"ingest"}), kind="key", key_id="k", label="")


class _Unread:
    """A socket whose ping waits at a barrier, as for a client that doesn't read."""

    def __init__(self, barrier: asyncio.Barrier) -> None:
        self.grant = _GRANT
        self.flush_due_at = 0.0
        self.pings = 0
        self.waiting = self.waiting_most = 0
        self._barrier = barrier

    def flush(self) -> None: ...

    def cut_off(self) -> None: ...

    async def ping(self) -> None:
        self.waiting += 1
        self.waiting_most = max(self.waiting, self.waiting_most)
        try:
            await self._barrier.wait()
        finally:
            self.waiting -= 1
        self.pings += 1

    async def goodbye(self, *, code: int, reason: str) -> None: ...


@contextlib.asynccontextmanager
async def looked_after(sockets: Sockets) -> AsyncIterator[None]:
    task = asyncio.create_task(sockets.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_ping_waits_for_no_other() -> None:
    """Only where all wait at the same time does any of them come to its end."""
    sockets = Sockets(clock=SystemClock(), flush_age_ms=20, ping_interval_s=1)
    barrier = asyncio.Barrier(_SOCKETS)
    unread = [_Unread(barrier) for _ in range(_SOCKETS)]
    for socket in unread:
        sockets.add(socket)
    async with looked_after(sockets):
        await until(lambda: all(socket.pings for socket in unread), what="a ping of each socket")


async def test_one_ping_at_a_time_and_none_is_left_behind() -> None:
    sockets = Sockets(clock=SystemClock(), flush_age_ms=20, ping_interval_s=0)
    stuck, lively = _Unread(asyncio.Barrier(2)), _Unread(asyncio.Barrier(1))
    sockets.add(stuck)
    sockets.add(lively)
    async with looked_after(sockets):
        await until(lambda: stuck.waiting and lively.pings >= 10, what="ten pings beside one that waits")
    await until(lambda: stuck.waiting == 0, what="the end of the ping that waits")
    assert stuck.waiting_most == 1
