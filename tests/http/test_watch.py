"""A stream under whatever happens to it: each event once, no sender waits, little is held for a watcher."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.http.outlet import Outlet
from rrd.http.services import Bounds, WatchBounds
from rrd.recordings.followers import RECENT_BYTES_MAX
from tests.harness import DaemonProcess, LocalDaemon, running, until
from tests.http.api import Api, visiting
from tests.http.watchers import Parser, Watcher, watching
from tests.samples import an_event, ndjson, new_id, some_events
from tests.thoroughness import examples

NOW = 1_700_000_000_000


class Viewer:
    """A page that follows a recording, is cut off and comes back, as an ``EventSource`` does."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        """What it has for good, in the order in which it came."""
        self.last_id = ""
        self._watcher: Watcher | None = None
        self._stack = contextlib.AsyncExitStack()

    async def come(self, url: str, recording_id: str, key: str) -> None:
        if self._watcher is None:
            headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
            self._watcher = await self._stack.enter_async_context(
                watching(url, recording_id, key, headers=headers)
            )
            assert self._watcher.status == 200

    async def has(self, greatest: int) -> None:
        """Wait until it has all events up to this one."""
        assert self._watcher is not None
        parser, before = self._watcher.parser, self.last_id
        await until(lambda: int(parser.last_id or before or 0) >= greatest, what=f"event {greatest}")

    async def go(self) -> None:
        if self._watcher is None:
            return
        watcher, self._watcher = self._watcher, None
        await self._stack.aclose()
        came, parser = watcher.numbers, watcher.parser
        if self.last_id:
            assert came == sorted(came), "what is resumed comes in the order of arrival"
        else:
            self.numbers = []
        self.last_id = parser.last_id or self.last_id
        # Beyond its ``id`` it has some events of the history, which it hears again.
        self.numbers += [number for number in came if number <= int(self.last_id or 0)]


def check(viewer: Viewer, count: int) -> None:
    assert sorted(viewer.numbers) == list(range(1, count + 1)), "each event once"


POST = st.tuples(st.just("post"), st.lists(st.integers(0, 50), min_size=1, max_size=6))
STEPS = st.lists(
    POST
    | st.tuples(st.sampled_from(["come", "go", "wait"]), st.integers(0, 2))
    | st.tuples(st.just("move"), st.none()),
    min_size=3,
    max_size=20,
)


async def _move(daemon: LocalDaemon, recording_id: str) -> None:
    """Seal what there is, roll it up and evict it."""
    registry = daemon.services.registry
    for recording in registry.opened():
        recording.used_at = -1e9
    await registry.seal_idle()
    await daemon.parts.rollup.drain()
    await daemon.parts.evictor.evict_now(everything=True)


@given(steps=STEPS)
@settings(max_examples=examples(60), deadline=None)
def test_any_course_of_things_gives_each_watcher_each_event_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any]]
) -> None:
    async def run() -> None:
        directory = tmp_path_factory.mktemp("watch")
        async with running(directory, rollup_delay_s=0, rollup_level=1) as daemon, visiting(daemon) as api:
            recording_id, count = new_id(), 1
            await api.post(recording_id, ndjson([an_event(NOW, n=0)]))
            viewers = [Viewer() for _ in range(3)]
            for kind, what in steps:
                if kind == "post":
                    # Of any time, so that history and arrival differ.
                    lines = [an_event(NOW + at, n=count + n) for n, at in enumerate(what)]
                    assert (await api.post(recording_id, ndjson(lines))).status == 200
                    count += len(lines)
                elif kind == "come":
                    await viewers[what].come(daemon.url, recording_id, api.key)
                elif kind == "go":
                    await viewers[what].go()
                elif kind == "wait" and viewers[what]._watcher is not None:
                    await viewers[what].has(count)
                elif kind == "move":
                    await _move(daemon, recording_id)
            for viewer in viewers:
                await viewer.come(daemon.url, recording_id, api.key)
                await viewer.has(count)
                await viewer.go()
                check(viewer, count)

    asyncio.run(run())


async def test_the_history_is_in_a_replayers_order_and_what_follows_in_that_of_arrival(
    tmp_path: Path,
) -> None:
    rng = random.Random(7)
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        recording_id, stamps = new_id(), list[int]()

        async def post() -> None:
            times = [NOW + rng.randrange(1000) for _ in range(rng.randrange(1, 40))]
            await api.post(
                recording_id, ndjson([an_event(at, n=len(stamps) + n) for n, at in enumerate(times)])
            )
            stamps.extend(times)

        for _ in range(20):
            await post()
        known = len(stamps)
        async with watching(daemon.url, recording_id, api.key) as watcher:
            await watcher.has(known)
            for _ in range(20):
                await post()
            numbers = await watcher.has(len(stamps))
        assert numbers[:known] == sorted(range(1, known + 1), key=lambda number: (stamps[number - 1], number))
        assert numbers[known:] == list(range(known + 1, len(stamps) + 1))


async def test_kill_and_resume_lose_and_double_nothing(tmp_path: Path) -> None:
    """A sender sends what wasn't acked again, and watchers come back with what they had."""
    process = DaemonProcess(tmp_path, flush_age_ms=20)
    recording_id, rng = new_id(), random.Random(3)
    lines = some_events(3000, start=NOW)
    try:
        await asyncio.to_thread(process.start)
        key = process.key("all")
        viewers, sent = [Viewer() for _ in range(3)], 0
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}

        async def send() -> None:
            nonlocal sent
            async with aiohttp.ClientSession() as session:
                while sent < len(lines):
                    body = ndjson(lines[sent : sent + 20])
                    url = f"{process.url}/recordings/{recording_id}/ingest"
                    try:
                        async with session.post(url, data=body, headers=headers) as reply:
                            if reply.status == 200:
                                sent += 20
                            elif reply.status == 401:  # The key is not known yet.
                                await asyncio.sleep(0.05)
                    except aiohttp.ClientError:
                        await asyncio.sleep(0.05)

        sending = asyncio.create_task(send())
        for _ in range(3):
            await until(lambda: sent > 0, what="something to be stored")
            for viewer in viewers:
                await viewer.come(process.url, recording_id, key)
            goal = min(len(lines), sent + rng.randrange(100, 400))
            await until(lambda goal=goal: sent >= goal, what="more")  # type: ignore[misc]
            await asyncio.to_thread(process.kill)
            for viewer in viewers:
                await viewer.go()
            await asyncio.to_thread(process.start)
        for viewer in viewers:
            await viewer.come(process.url, recording_id, key)
        await asyncio.wait_for(sending, 60)
        for viewer in viewers:
            await viewer.has(len(lines))
            await viewer.go()
            assert viewer.numbers == list(range(1, len(lines) + 1))
    finally:
        process.kill()


@contextlib.asynccontextmanager
async def stuck(
    daemon: LocalDaemon, api: Api, recording_id: str
) -> AsyncIterator[tuple[asyncio.StreamReader, Outlet]]:
    """A watcher that has read its first event, and reads nothing from then on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port, limit=1024)
    # HTTP/1.0, so that the body is the stream itself.
    writer.write(
        f"GET /recordings/{recording_id}/events?follow=true HTTP/1.0\r\nHost: x\r\n"
        f"Authorization: Bearer {api.key}\r\n\r\n".encode()
    )
    await reader.readuntil(b"id: 1\n\n")
    outlet = next(
        found
        for found in gc.get_objects()
        if isinstance(found, Outlet) and found._request.transport is not None
    )
    try:
        yield reader, outlet
    finally:
        writer.transport.abort()


async def _flood(api: Api, recording_id: str, *, bodies: int) -> int:
    """Store so many bodies of 1 MB that don't compress; return how many events these were."""
    rng = random.Random(1)
    for number in range(bodies):
        lines = [an_event(NOW + 1 + number * 100 + n, text=rng.randbytes(10_000).hex()) for n in range(50)]
        assert (await api.post(recording_id, ndjson(lines))).status == 200
    return bodies * 50


async def test_nothing_waits_for_a_watcher_and_little_is_held_for_one(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        recording_id = new_id()
        await api.post(recording_id, ndjson([an_event(NOW)]))
        async with (
            stuck(daemon, api, recording_id) as (_, outlet),
            watching(daemon.url, recording_id, api.key) as quick,
        ):
            count = await _flood(api, recording_id, bodies=40)
            assert len(await quick.has(count + 1)) == count + 1
            transport = outlet._request.transport
            assert transport is not None
            await until(lambda: transport.get_write_buffer_size() > 0, what="it to be behind")
            assert transport.get_write_buffer_size() <= 256 << 10
            assert daemon.services.registry.followers.recent_bytes <= RECENT_BYTES_MAX


async def test_one_that_takes_nothing_is_told_so_and_can_come_back(tmp_path: Path) -> None:
    bounds = Bounds(watch=WatchBounds(patience_s=0.3, end_s=20))
    async with running(tmp_path, bounds=bounds) as daemon, visiting(daemon) as api:
        recording_id = new_id()
        await api.post(recording_id, ndjson([an_event(NOW)]))
        async with stuck(daemon, api, recording_id) as (reader, outlet):
            count = await _flood(api, recording_id, bodies=30)
            # It has been given up once the mark is 0, at which the end is waited for.
            await until(lambda: outlet.is_ending, what="its end")
            parser = Parser()
            while data := await reader.read(1 << 20):
                parser.feed(data)
        assert parser.told[-1].kind == "overrun"
        last = int(parser.last_id)
        assert 1 < last < count
        async with watching(daemon.url, recording_id, api.key, headers={"Last-Event-ID": str(last)}) as again:
            assert await again.has(count + 1 - last) == list(range(last + 1, count + 2))
        await until(lambda: len(daemon.services.registry.followers) == 0, what="no watcher")


@pytest.mark.parametrize("how", ["erase", "stop", "revoke"])
async def test_an_end_waits_for_no_slow_watcher(tmp_path: Path, how: str) -> None:
    bounds = Bounds(watch=WatchBounds(patience_s=600, ping_s=0.2), stop_wait_s=600)
    async with running(tmp_path, bounds=bounds) as daemon, visiting(daemon) as api:
        recording_id = new_id()
        await api.post(recording_id, ndjson([an_event(NOW)]))
        async with stuck(daemon, api, recording_id) as (_, outlet):
            await _flood(api, recording_id, bodies=15)
            await until(outlet.is_ahead, what="it to be behind")
            if how == "erase":
                reply = await api.request("DELETE", f"/recordings/{recording_id}", key=daemon.key("erase"))
                assert reply.status == 200
            elif how == "stop":
                daemon.services.registry.followers.stop()
            else:
                daemon.revoke(api.key)
                daemon.services.registry.followers.keys_changed()
            await until(lambda: len(daemon.services.registry.followers) == 0, what="it to be cut off")


async def test_what_is_not_at_hand_any_more_is_read_from_the_files(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        daemon.services.registry.followers._recent_bytes_max = 0
        recording_id = new_id()
        await api.post(recording_id, ndjson([an_event(NOW)]))
        async with watching(daemon.url, recording_id, api.key) as watcher:
            for start in range(1, 200, 10):
                await api.post(recording_id, ndjson(some_events(10, start=NOW + start)))
            assert await watcher.has(201) == list(range(1, 202))


async def test_the_files_may_move_between_two_looks(tmp_path: Path) -> None:
    """Sealed, rolled up and evicted while a watcher is on its way to what it needs."""
    async with running(tmp_path, rollup_delay_s=0, rollup_level=1) as daemon, visiting(daemon) as api:
        daemon.services.registry.followers._recent_bytes_max = 0
        recording_id, count = new_id(), 0
        await api.post(recording_id, ndjson([an_event(NOW)]))
        async with watching(daemon.url, recording_id, api.key) as watcher:
            for turn in range(15):
                posting = api.post(recording_id, ndjson(some_events(20, start=NOW + 1 + 20 * turn)))
                await asyncio.gather(posting, _move(daemon, recording_id))
                count += 20
            assert await watcher.has(count + 1) == list(range(1, count + 2))
