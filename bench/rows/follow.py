"""Row 16: recordings that are watched live. How soon does a change reach a watcher, and who pays for it?

Visitors send small events all the time, as the official client does, and a socket's flush waits for up to a
second (``flush_age_ms``): that is a part of what is measured. Rounds without and with watchers take turns on
the same daemon, under the same load. Beside the sockets one sender POSTs single events, one after the other:
its acks wait for no flush, so that they would show what watchers cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import statistics
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp

from bench import stage
from bench.daemon import cpu_s, daemon
from bench.load import raise_file_limit
from bench.result import Check, Options, Row
from bench.rows import run_alone

REACH_S_MAX = 1.5
ACK_TIMES_MAX = 1.5
"""With watchers an ack may take so many times as long as without: the core that they share is not free."""
EVENT_INTERVAL_S = 0.25
_POST_INTERVAL_S = 0.02
_PADDING = "x" * 300
_AT = re.compile(rb'"at":([0-9.]+)')


class Load(NamedTuple):
    """Who sends and who watches, and for how long a round goes on."""

    recordings: int
    watchers: int
    """Of all recordings together."""
    rounds: int
    round_s: float


class Seen(NamedTuple):
    """Seconds."""

    reach_s: list[float]
    """From when an event was sent to when a watcher had it."""
    acks_s: tuple[list[float], list[float]]
    """Of POSTs, in rounds without watchers and with them."""
    socket_acks_s: tuple[list[float], list[float]]
    cpu_share: tuple[float, float]
    """Of the daemon's core."""
    lacking: int
    """Events that a watcher has not had, or has had twice or in another order."""


def measure(options: Options) -> Row:
    """Watch a hundred recordings with five hundred watchers."""
    load = Load(
        recordings=options.pick(100, 40, 4),
        watchers=options.pick(500, 200, 8),
        rounds=options.pick(3, 2, 1),
        round_s=options.pick(12, 6, 2),
    )
    with daemon(core=stage.server_core()) as target, stage.worker(stage.client_core()) as client:
        assert target.pid is not None
        base = f"http://{target.host}:{target.port}"
        seen: Seen = client.call(watch, base, target.key, target.pid, load)
    is_full = options.scale == "full"
    alone, beside = (_p99(acks) for acks in seen.acks_s)
    checks = [
        Check(
            "a change reaches a watcher, p99",
            _p99(seen.reach_s),
            "s",
            REACH_S_MAX if is_full else None,
            "at most",
        ),
        Check("the same, median", statistics.median(seen.reach_s), "s"),
        Check("events that a watcher lacks", seen.lacking, "", 0, "at most"),
        Check("ack of a POST without watchers, p99", alone * 1000, "ms"),
        Check("with them", beside * 1000, "ms"),
        Check("of that without", beside / alone, "×", ACK_TIMES_MAX if is_full else None, "at most"),
        Check("ack over a socket without watchers, p99", _p99(seen.socket_acks_s[0]), "s"),
        Check("with them, over a socket", _p99(seen.socket_acks_s[1]), "s"),
        Check("the daemon's core without watchers", seen.cpu_share[0], "%"),
        Check("the daemon's core with them", seen.cpu_share[1], "%"),
    ]
    title = f"{load.watchers} watchers of {load.recordings} recordings that are being written"
    return Row(16, title, checks)


def watch(base: str, key: str, pid: int, load: Load) -> Seen:
    """Send, and watch every other round."""
    raise_file_limit()
    return asyncio.run(_watch(base, key, pid, load))


class _Scene:
    """What goes on, and what was measured: of rounds without watchers and of those with."""

    def __init__(self, base: str, key: str) -> None:
        self.base, self.key = base, key
        self.is_watched = False
        self.is_measured = False
        self.reach_s: list[float] = []
        self.acks_s: tuple[list[float], list[float]] = ([], [])
        self.socket_acks_s: tuple[list[float], list[float]] = ([], [])
        self.lacking = 0

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


async def _watch(base: str, key: str, pid: int, load: Load) -> Seen:
    scene = _Scene(base, key)
    recordings = [str(uuid.uuid4()) for _ in range(load.recordings)]
    busy: tuple[list[float], list[float]] = ([], [])
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        senders = [
            group.create_task(_send(scene, session, recording, number / load.recordings))
            for number, recording in enumerate(recordings)
        ]
        senders.append(group.create_task(_post(scene, session)))
        await asyncio.sleep(2)  # Each has begun by now.
        for number in range(2 * load.rounds):
            scene.is_watched = number % 2 == 1
            async with contextlib.AsyncExitStack() as stack:
                if scene.is_watched:
                    for at in range(load.watchers):
                        await stack.enter_async_context(_watcher(scene, recordings[at % load.recordings]))
                    await asyncio.sleep(1)  # What they were told of the past is over.
                scene.is_measured = True
                spent, began = cpu_s(pid), time.monotonic()
                await asyncio.sleep(load.round_s)
                scene.is_measured = False
                busy[scene.is_watched].append((cpu_s(pid) - spent) / (time.monotonic() - began))
        for task in senders:
            task.cancel()
    shares = statistics.mean(busy[0]), statistics.mean(busy[1])
    return Seen(scene.reach_s, scene.acks_s, scene.socket_acks_s, shares, scene.lacking)


def _event() -> str:
    data = {"at": round(time.monotonic(), 6), "padding": _PADDING}
    return json.dumps({"type": 3, "timestamp": int(time.time() * 1000), "data": data}, separators=(",", ":"))


async def _send(scene: _Scene, session: aiohttp.ClientSession, recording: str, phase: float) -> None:
    """Send an event every so often over a socket, and note how long each waits for its ack."""
    await asyncio.sleep(phase)
    url = f"{scene.base}/recordings/{recording}/ingest/ws?ack=true&token={scene.key}"
    sent: deque[float] = deque()
    async with session.ws_connect(url) as socket:

        async def hear() -> None:
            acked = 0
            async for message in socket:
                before, acked = acked, json.loads(message.data).get("successful_rows", acked)
                for _ in range(acked - before):
                    waited_s = time.monotonic() - sent.popleft()
                    if scene.is_measured:
                        scene.socket_acks_s[scene.is_watched].append(waited_s)

        hearing = asyncio.create_task(hear())
        try:
            while True:
                sent.append(time.monotonic())
                await socket.send_str(_event())
                await asyncio.sleep(EVENT_INTERVAL_S)
        finally:
            hearing.cancel()


async def _post(scene: _Scene, session: aiohttp.ClientSession) -> None:
    url = f"{scene.base}/recordings/{uuid.uuid4()}/ingest"
    while True:
        began = time.monotonic()
        async with session.post(url, data=_event(), headers=scene.headers) as reply:
            await reply.read()
            if reply.status != 200:
                raise RuntimeError(f"a POST was answered with {reply.status}")
        if scene.is_measured:
            scene.acks_s[scene.is_watched].append(time.monotonic() - began)
        await asyncio.sleep(_POST_INTERVAL_S)


@contextlib.asynccontextmanager
async def _watcher(scene: _Scene, recording: str) -> AsyncIterator[None]:
    host, port = scene.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=16 << 20)
    # HTTP/1.0: its body is the stream itself.
    target = f"/recordings/{recording}/events?follow=true"
    writer.write(f"GET {target} HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {scene.key}\r\n\r\n".encode())
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"a watcher was answered with {status!r}")
    await reader.readuntil(b"\r\n\r\n")
    reading = asyncio.create_task(_read(scene, reader))
    try:
        yield
        if reading.done():
            raise RuntimeError("a stream has ended")
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        writer.transport.abort()


async def _read(scene: _Scene, reader: asyncio.StreamReader) -> None:
    known = 0
    while frame := await reader.readuntil(b"\n\n"):
        now = time.monotonic()
        events = frame.count(b"data: {")
        if not events or b"event:" in frame:
            continue
        known += events
        if b"id: %d\n" % known not in frame:
            scene.lacking += 1
        if scene.is_measured:
            scene.reach_s += [now - float(at) for at in _AT.findall(frame)]


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)] if values else float("nan")


if __name__ == "__main__":
    run_alone(measure)
