"""An honest sender and reader of another tenant, while others attack: what happens to its acks?

It sends an event each quarter of a second over one socket with ``ack=true``, and now and then a snapshot of
2 MB by POST, reads it, and opens a new socket. An event counts from when it was sent until a summary counts
it. What the machine made of that is known: the kernel says how long the daemon's loop, and this process, were
ready to run and had no core (``/proc/PID/task/TID/schedstat``). What is left is the daemon's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.attacks.link import Link, Victim, get_head, link, new_id, open_socket, post_head, raw_frame
from bench.attacks.texts import event_of
from bench.frames import CLOSE, PING, PONG, TEXT, FrameReader

PACE_S = 0.25
ACK_MAX_S = 1.0
"""The bar: no ack takes longer, of what is not the machine's."""
SNAPSHOT_MAX_S = 3.0
"""The bar of a snapshot of 2 MB, and of reading it: more than an ack's, since both are work."""
SNAPSHOT_BYTES = 2_000_000
SNAPSHOT_PACE_S = 2.0

_PATIENCE_S = 180.0
"""How long a last answer is waited for: a daemon that stands still for minutes is to be measured, too."""


class Ack(NamedTuple):
    """How long one took."""

    took_s: float
    machine_s: float
    """How long the daemon's loop and the neighbour waited for a core meanwhile."""

    @property
    def own_s(self) -> float:
        """What is the daemon's own."""
        return max(0.0, self.took_s - self.machine_s)


class Account(msgspec.Struct):
    """What a neighbour has seen."""

    acks: list[Ack] = []
    snapshots: list[Ack] = []
    """How long each POST took."""
    reads: list[Ack] = []
    refused: list[str] = []
    """Everything that was not served: what, and how it was answered."""
    recording_id: str = ""
    acked: int = 0
    """Events of ``recording`` whose ack has come."""


def slowest_s(acks: Iterable[Ack]) -> float:
    """Return the slowest, without the machine's part; no number if there is none."""
    return max((ack.own_s for ack in acks), default=float("nan"))


class _Sent(NamedTuple):
    at: float
    waited_s: float


class Neighbour:
    """Sends and reads until told to stop."""

    def __init__(self, victim: Victim, pid: int) -> None:
        self._victim = victim
        self._pid = pid
        self._under_way: deque[_Sent] = deque()
        self._stopped = asyncio.Event()
        self.account = Account(recording_id=new_id())

    def stop(self) -> None:
        """Send nothing more; ``run`` ends when the last ack is there."""
        self._stopped.set()

    async def run(self) -> Account:
        """Return the account. What isn't answered in three minutes counts as refused."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_events())
            group.create_task(self._send_and_read_snapshots())
        return self.account

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    async def _send_events(self) -> None:
        try:
            async with open_socket(
                self._victim, query="ack=true", recording_id=self.account.recording_id
            ) as connection:
                reading = asyncio.create_task(self._take_acks(connection))
                number = 0
                while not self._stopped.is_set() and not reading.done():
                    number += 1
                    text = json.dumps({"type": 3, "timestamp": number}).encode()
                    self._under_way.append(_Sent(time.monotonic(), self._waited_s()))
                    await connection.send(raw_frame(text, first=0x80 | TEXT))
                    await self._pause(PACE_S)
                # A summary that is final comes when we close.
                await connection.send(raw_frame((1000).to_bytes(2, "big"), first=0x80 | CLOSE))
                async with asyncio.timeout(_PATIENCE_S):
                    await reading
        except OSError as error:  # TimeoutError, too.
            self.account.refused.append(f"the socket: {error!r}")
        if self._under_way:
            self.account.refused.append(f"{len(self._under_way)} events without an ack")

    async def _take_acks(self, connection: Link) -> None:
        reader = FrameReader()
        while data := await connection.reader.read(64 << 10):
            for opcode, payload in reader.feed(data):
                if opcode == PING:
                    await connection.send(raw_frame(payload, first=0x80 | PONG))
                elif opcode == TEXT:
                    self._take_summary(json.loads(payload))
                elif opcode == CLOSE:
                    return

    def _take_summary(self, summary: dict[str, object]) -> None:
        count = summary.get("successful_rows")
        if not summary.get("ok") or not isinstance(count, int):
            self.account.refused.append(f"the socket was told: {summary}")
            return
        now, waited_s = time.monotonic(), self._waited_s()
        while self.account.acked < count and self._under_way:
            sent = self._under_way.popleft()
            self.account.acks.append(Ack(now - sent.at, waited_s - sent.waited_s))
            self.account.acked += 1

    async def _send_and_read_snapshots(self) -> None:
        body = event_of(SNAPSHOT_BYTES)
        while not self._stopped.is_set():
            recording_id = new_id()
            head = post_head(self._victim, len(body), recording_id=recording_id)
            await self._ask("a snapshot", head + body, self.account.snapshots)
            path = f"/recordings/{recording_id}/events"
            await self._ask("a read", get_head(self._victim, path, "Connection: close"), self.account.reads)
            await self._visit()
            await self._pause(SNAPSHOT_PACE_S)

    async def _visit(self) -> None:
        """Open a socket as a new visitor does, and leave again."""
        try:
            async with asyncio.timeout(_PATIENCE_S), open_socket(self._victim):
                pass
        except OSError as error:
            self.account.refused.append(f"a new socket: {error!r}")

    async def _ask(self, what: str, request: bytes, times: list[Ack]) -> None:
        sent = _Sent(time.monotonic(), self._waited_s())
        status, body = 0, b""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_PATIENCE_S), link(self._victim) as connection:
                await connection.send(request)
                status = await connection.status()
                body = await connection.reader.read(500)
                if times is self.account.reads:
                    await connection.gone()
        if status == 200:
            times.append(Ack(time.monotonic() - sent.at, self._waited_s() - sent.waited_s))
        else:
            self.account.refused.append(f"{what}: {status} {body[:200].decode(errors='replace')}")

    def _waited_s(self) -> float:
        """How long the daemon's main thread and this one have waited for a core."""
        return waited_s(self._pid) + waited_s(os.getpid())


def waited_s(pid: int) -> float:
    """Return how long a process's main thread was ready to run and had no core; 0 if that is not known."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_bytes().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


@contextlib.asynccontextmanager
async def under_attack(
    names: Sequence[str], victim: Victim, *, for_s: float, cpu: int | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Attack from a process of its own, ``for_s`` seconds or until left."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.attacks", *names),
        *("--url", f"http://{victim.host}:{victim.port}", "--for", str(for_s)),
        *("--from", victim.source),
        env=os.environ | {"KEY": victim.key},
        stdout=subprocess.DEVNULL,
    )
    if cpu is not None:
        os.sched_setaffinity(process.pid, {cpu})
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def beside(
    names: Sequence[str], attacker: Victim, honest: Victim, *, pid: int, for_s: float, cpu: int | None = None
) -> Account:
    """Let ``honest`` send while ``attacker`` attacks for so many seconds; return its account.

    Raises ``RuntimeError`` if the attack broke off.
    """
    neighbour = Neighbour(honest, pid)
    running = asyncio.create_task(neighbour.run())
    try:
        async with under_attack(names, attacker, for_s=for_s, cpu=cpu) as process:
            status = await process.wait()
        if status != 0:
            raise RuntimeError(f"the attack {' '.join(names)} broke off with status {status}")
    finally:
        neighbour.stop()
        account = await running
    return account
