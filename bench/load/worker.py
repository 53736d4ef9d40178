"""A load process: it has some of the recordings, and carries out orders that come over a pipe.

It opens its connections and says how many were taken; sends when told, waits for the last acks and says so;
closes when told and says what came of it; reads back when told, and says what it found.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import heapq
import os
import resource
import ssl
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import NamedTuple

import uvloop

from bench.load.events import Events, numbered_id
from bench.load.messages import Workshop
from bench.load.outcome import LATE_S, PROBLEMS_MAX, Findings, Part
from bench.load.plan import Plan, Target
from bench.load.posts import PostSender
from bench.load.schedule import due_times, start_s
from bench.load.senders import Journal, Sender
from bench.load.sockets import SocketSender
from bench.load.verify import Claim, read_back

ADDRESS_SOCKETS_MAX = 10_000
"""Connections from one source address: the kernel has some 28,000 ports for each by default."""

_CONNECTING_MAX = 100
_CONNECT_TIMEOUT_S = 30.0
_OVERTIME_S = 30.0
"""How long an open loop goes on trying to send what the server has no room for."""
_LAST_ACKS_TIMEOUT_S = 30.0
_GOODBYE_TIMEOUT_S = 60.0
_TICK_S = 0.001
"""The loop's timers are no finer, and some events together cost less."""
_POLL_S = 0.01
_SLICE_S = 0.005
"""How long sending may go on before acks are read: they are late by this at most."""
_GC_THRESHOLDS = (50_000, 50, 1000)


class Share(NamedTuple):
    """A process's part of a run."""

    target: Target
    plan: Plan
    run: str
    """UUID of the run."""
    start_ms: int
    first: int
    step: int

    @property
    def numbers(self) -> range:
        """The recordings. Neighbours are in different processes, so that all processes are always busy."""
        return range(self.first, self.plan.recordings, self.step)


def work(share: Share, parent: Connection) -> None:
    """Be a load process until ``parent`` says that it's over, or is gone."""
    if share.plan.cpus is not None:
        os.sched_setaffinity(0, share.plan.cpus)
    raise_file_limit()
    try:
        uvloop.run(_Worker(share, parent).run())
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return  # Nobody wants to know any more.


def raise_file_limit() -> None:
    """Use as many file handles as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def waited_s() -> float:
    """Return how long this thread was ready to run and had no core; 0 where the kernel doesn't tell."""
    try:
        with open("/proc/thread-self/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return 0.0


class _Worker:
    def __init__(self, share: Share, parent: Connection) -> None:
        self._share = share
        self._plan = share.plan
        self._parent = parent
        self._events = Events(share.plan.events, seed=share.plan.seed, start_ms=share.start_ms)
        self._workshop = Workshop(share.plan, self._events)
        self._journal = Journal()
        self._part = Part()
        self._senders: list[Sender] = []

    async def run(self) -> None:
        await self._open()
        # What is there now stays: looking through it again and again would stop the load for a moment each
        # time.
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        self._parent.send(Part(opened=self._part.opened, problems=self._problems()))
        started_at = await self._order()
        assert isinstance(started_at, float)
        self._journal.started_at = started_at
        used_before, waited_before, before = time.process_time(), waited_s(), time.monotonic()
        await (self._send_closed() if self._plan.is_closed else self._send_open())
        took_s = time.monotonic() - before
        self._part.cpu_share = (time.process_time() - used_before) / took_s
        self._part.wait_share = (waited_s() - waited_before) / took_s
        await self._last_acks()
        self._parent.send("sent")
        await self._order()
        await self._close()
        self._parent.send(self._report())
        while await self._order():
            self._parent.send(await self._read_back())

    async def _order(self) -> object:
        return await asyncio.to_thread(self._parent.recv)

    # Opening

    async def _open(self) -> None:
        places = asyncio.Semaphore(_CONNECTING_MAX)
        context = ssl.create_default_context() if self._share.target.is_tls else None
        before = time.monotonic()

        async def open_one(number: int) -> Sender:
            wait_s = before + self._plan.ramp_s * number / self._plan.recordings - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            async with places:
                return await self._connect(number, context)

        self._senders = list(await asyncio.gather(*map(open_one, self._share.numbers)))
        self._part.opened = sum(not sender.problem for sender in self._senders)

    async def _connect(self, number: int, context: ssl.SSLContext | None) -> Sender:
        target = self._share.target
        kind = PostSender if self._plan.is_post else SocketSender
        recording_id = numbered_id(self._share.run, number)
        sender = kind(number, target, recording_id, self._workshop, self._journal)
        is_loopback = target.host.startswith("127.")
        source = (f"127.0.0.{2 + number // ADDRESS_SOCKETS_MAX % 250}", 0) if is_loopback else None
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: sender, target.host, target.port, ssl=context, local_addr=source
                )
                await sender.opened
        except (OSError, TimeoutError) as error:
            sender.fail(f"not connected: {error!r}")
        return sender

    # Sending

    async def _send_open(self) -> None:
        """Send what is due when it is due."""
        plan, part, started_at = self._plan, self._part, self._journal.started_at
        batch, each = plan.batch, plan.events_each
        queue: list[tuple[float, int, Sender, Iterator[float]]] = []
        waiting: set[int] = set()

        def enter(due_s: float, sender: Sender, dues: Iterator[float]) -> None:
            """There is room again for a message that was due long ago."""
            sender.on_room = None
            sender.room_at = time.monotonic()
            waiting.discard(sender.number)
            heapq.heappush(queue, (due_s, sender.number, sender, dues))

        for sender in self._senders:
            dues = due_times(plan, self._events, sender.number)
            queue.append((next(dues), sender.number, sender, dues))
        heapq.heapify(queue)
        part.due = each * len(queue)
        give_up_s = plan.for_s + plan.ramp_s + _OVERTIME_S
        yield_s = 0.0
        while queue or waiting:
            now_s = time.monotonic() - started_at
            if now_s > give_up_s:
                break
            if not queue or queue[0][0] > now_s:
                wait_s = queue[0][0] - now_s if queue else _POLL_S
                await asyncio.sleep(min(max(wait_s, _TICK_S), _POLL_S))
                yield_s = time.monotonic() - started_at + _SLICE_S
                continue
            if now_s > yield_s:
                await asyncio.sleep(0)
                yield_s = time.monotonic() - started_at + _SLICE_S
                continue
            due_s, number, sender, dues = queue[0]
            if sender.ended.done():
                heapq.heappop(queue)
                continue
            if not sender.has_room:
                heapq.heappop(queue)
                waiting.add(number)
                sender.on_room = functools.partial(enter, due_s, sender, dues)
                continue
            part.messages += 1
            # What the server had no room for is late by the server's doing.
            late_s = now_s - max(due_s, sender.room_at - started_at)
            part.late_s = max(part.late_s, late_s)
            part.late_messages += late_s > LATE_S
            sender.send(min(sender.sent + batch, each), started_at + due_s)
            next_s = next(dues, None)
            if next_s is None:
                heapq.heappop(queue)
            else:
                heapq.heapreplace(queue, (next_s, number, sender, dues))

    async def _send_closed(self) -> None:
        """Let everybody send as fast as it goes."""
        loop, started_at = asyncio.get_running_loop(), self._journal.started_at
        for sender in self._senders:
            begin_at = started_at + start_s(self._plan, sender.number)
            loop.call_later(begin_at - time.monotonic(), sender.pump, begin_at + self._plan.for_s)
        await asyncio.sleep(started_at + self._plan.ramp_s + self._plan.for_s - time.monotonic())

    async def _last_acks(self) -> None:
        """Wait for the acks of what is under way: closing would bring them early."""
        give_up_at = time.monotonic() + _LAST_ACKS_TIMEOUT_S
        # Looking again and again costs less than an event for each ack would.
        while time.monotonic() < give_up_at and self._is_waiting():  # noqa: ASYNC110
            await asyncio.sleep(2 * _POLL_S)

    def _is_waiting(self) -> bool:
        return any(sender.answered < sender.sent and not sender.ended.done() for sender in self._senders)

    async def _close(self) -> None:
        for sender in self._senders:
            if not sender.ended.done():
                sender.close()
        await asyncio.wait([sender.ended for sender in self._senders], timeout=_GOODBYE_TIMEOUT_S)
        for sender in self._senders:
            if not sender.ended.done():
                sender.fail("no goodbye from the server")

    # Telling

    def _problems(self) -> list[str]:
        target, run = self._share.target, self._share.run
        problems = [
            f"recording {numbered_id(run, sender.number)}: {sender.problem}"
            for sender in self._senders
            if sender.problem
        ]
        return [target.without_keys(problem) for problem in problems[:PROBLEMS_MAX]]

    def _report(self) -> Part:
        part, journal = self._part, self._journal
        part.sent = sum(sender.sent for sender in self._senders)
        part.due = max(part.due, part.sent)
        part.acked = sum(sender.acked for sender in self._senders)
        part.refused = sum(sender.refused for sender in self._senders)
        part.failed = sum(bool(sender.problem) for sender in self._senders)
        part.problems = self._problems()
        part.bytes_sent = journal.bytes_sent
        part.acked_by_second = journal.acked_by_second
        part.last_ack_s = journal.last_ack_s
        part.latencies = journal.latencies.encode()
        return part

    async def _read_back(self) -> Findings:
        claims = [Claim(sender.number, sender.sent, sender.unacked) for sender in self._senders]
        return await read_back(self._share.target, self._share.run, claims, self._events)
