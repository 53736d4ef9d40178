"""Reads of recordings whose events are in the object store: the same answers, and what a failing store does.

Method. Recordings are rolled up and evicted as a daemon does it, into a directory. Then their objects are
read from a ``MemoryStore``, which fails as told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from rrd.index.rows import RecordingRow
from rrd.objects.files import ObjectFiles
from tests.harness import LocalDaemon, eventually, running, until
from tests.http.api import JSON, NDJSON, Api, decompress, visiting
from tests.objects.memory_store import MemoryStore
from tests.samples import an_event, by_time, meta_event, ndjson, new_id, some_events


def closing(number: int = 0) -> bytes:
    """What a page says when it goes for good. The same again would be a repeat."""
    return b'{"type":5,"timestamp":1,"data":{"tag":"close-permanent","payload":{"n":%d}}}' % number


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[LocalDaemon]:
    """A daemon that seals at once what is closed, and otherwise rolls up when it is told to."""
    async with running(tmp_path, seal_closed_s=0, rollup_delay_s=86_400, rollup_level=1) as local:
        yield local


@pytest.fixture
async def api(daemon: LocalDaemon) -> AsyncIterator[Api]:
    async with visiting(daemon) as visitor:
        yield visitor


async def row_of(daemon: LocalDaemon, recording_id: str) -> RecordingRow:
    row = await daemon.services.index.recording("acme", recording_id)
    assert row is not None
    return row


async def roll_up(daemon: LocalDaemon, recording_id: str) -> None:
    """Have all events of a recording in objects, and nowhere else."""

    async def look() -> bool:
        await daemon.services.registry.seal_idle()
        await daemon.parts.rollup.drain()
        await daemon.parts.evictor.evict_now(everything=True)
        row = await row_of(daemon, recording_id)
        return not row.segments and bool(row.objects)

    await eventually(look, what="a recording to be rolled up and evicted")


async def post_and_roll_up(api: Api, events: list[bytes], *, parts: int = 1) -> str:
    """Store events and have them in so many objects; return the recording."""
    recording_id, step = new_id(), -(-len(events) // parts)
    for start in range(0, len(events), step):
        await api.post(recording_id, ndjson([*events[start : start + step], closing(start)]))
        await roll_up(api.daemon, recording_id)
    return recording_id


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def objects_of(daemon: LocalDaemon) -> dict[str, bytes]:
    folder = Path(daemon.data_dir, "objects")
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.ndjson.zst")}


@contextlib.asynccontextmanager
async def elsewhere(
    daemon: LocalDaemon, *, deadline_s: float = 10.0
) -> AsyncIterator[tuple[MemoryStore, Clock]]:
    """Have the daemon read its objects from a store that fails as told, and whose time the clock tells."""
    clock, store = Clock(), MemoryStore(objects_of(daemon))
    assert store.objects
    files = ObjectFiles(
        store, asyncio.get_running_loop(), cache_bytes_max=8 << 20, deadline_s=deadline_s, monotonic=clock
    )
    daemon.services.files = files
    try:
        yield store, clock
    finally:
        store.heal()
        files.close()


def events_of(recording_id: str, query: str = "") -> str:
    return f"/recordings/{recording_id}/events{query}"


@pytest.mark.parametrize("parts", [1, 3])
async def test_what_was_rolled_up_reads_as_it_did_before(api: Api, parts: int) -> None:
    sent = [*some_events(500, start=10_000, text="x" * 200), *some_events(100, start=10_250)]
    far = await post_and_roll_up(api, [meta_event(1, a=1), *sent], parts=parts)
    near = new_id()
    step = -(-(len(sent) + 1) // parts)
    for start in range(0, len(sent) + 1, step):
        lines = [meta_event(1, a=1), *sent][start : start + step]
        await api.post(near, ndjson([*lines, closing(start)]))
    for form in (JSON, NDJSON):
        for encoding in ("identity", "gzip", "br", "zstd"):
            headers = {"Accept": form, "Accept-Encoding": encoding}
            answers = [
                decompress(encoding, (await api.get(events_of(recording_id), headers=headers)).body)
                for recording_id in (far, near)
            ]
            assert answers[0].count(b'"sequenceId"') == len(sent) + parts
            assert answers[0].replace(far.encode(), near.encode()) == answers[1]
    assert await api.metadata(far) == {"a": "1"}


async def test_an_etag_outlives_rolling_up_and_needs_no_store(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson([*some_events(3), closing()]))
    tag = (await api.get(events_of(recording_id))).headers["ETag"]
    await roll_up(api.daemon, recording_id)
    async with elsewhere(api.daemon) as (store, _):
        store.fail()
        again = await api.get(events_of(recording_id), headers={"If-None-Match": tag})
        assert (again.status, again.body) == (304, b"")


async def test_a_recording_goes_on_after_it_was_rolled_up(api: Api) -> None:
    recording_id = await post_and_roll_up(api, some_events(50))
    later = some_events(50, start=1_800_000_000_000)
    await api.post(recording_id, ndjson(later))
    assert await api.events(recording_id) == [closing(), *some_events(50), *later]


async def test_a_range_is_cut_out_of_objects_and_segments_alike(api: Api) -> None:
    recording_id = await post_and_roll_up(api, some_events(100, start=1000), parts=2)
    await api.post(recording_id, ndjson(some_events(100, start=1050)))
    everything = by_time([*some_events(100, start=1000), *some_events(100, start=1050)])
    for least, limit in ((1000, 1010), (1040, 1060.5), (1100, 1101), (1149, 9999), (5, 6)):
        found = await api.get(events_of(recording_id, f"?from={least}&to={limit}"))
        stamps = [event["timestamp"] for event in json.loads(found.body)]
        wanted = [json.loads(line)["timestamp"] for line in everything]
        assert stamps == [stamp for stamp in wanted if least <= stamp < limit]


# A store that fails


async def test_a_store_that_is_away_is_told_before_the_answer_begins(api: Api, logged: list[str]) -> None:
    far = await post_and_roll_up(api, some_events(50))
    near = new_id()
    await api.post(near, ndjson(some_events(5)))
    async with elsewhere(api.daemon) as (store, clock):
        store.fail()
        for _ in range(3):
            reply = await api.get(events_of(far))
            assert (reply.status, reply.error["code"]) == (503, "object_store_away")
            assert int(reply.headers["Retry-After"]) > 0
            assert "memory:test" not in reply.error["message"]
        assert (await api.request("HEAD", events_of(far))).status == 503
        # The others work as ever.
        assert await api.events(near) == some_events(5)
        assert (await api.get(f"/recordings/{far}")).status == 200
        assert (await api.get("/recordings")).status == 200
        assert (await api.post(far, ndjson(some_events(1, start=1_800_000_000_000)))).status == 200
        store.heal()
        clock.now += 4
        assert len(await api.events(far)) == 52
    assert any("object_store_away" in line for line in logged)


async def test_a_store_that_goes_away_before_the_first_event_is_told_as_well(api: Api) -> None:
    recording_id = await post_and_roll_up(api, large_events(20))
    async with elsewhere(api.daemon) as (store, clock):
        # The table is fetched, and kept; the first block is not.
        assert (await api.request("HEAD", events_of(recording_id))).status == 200
        store.fail()
        reply = await api.get(events_of(recording_id))
        assert (reply.status, reply.error["code"]) == (503, "object_store_away")
        store.heal()
        clock.now += 4
        assert len(await api.events(recording_id)) == 21


async def test_a_store_that_goes_away_in_the_middle_breaks_the_connection(api: Api) -> None:
    recording_id = await post_and_roll_up(api, large_events(200))
    async with elsewhere(api.daemon) as (store, _):
        url, key = api.daemon.url + events_of(recording_id), {"Authorization": f"Bearer {api.key}"}
        async with api.session.get(url, headers=key) as answer:
            assert answer.status == 200
            await answer.content.readexactly(100_000)
            store.fail()
            with pytest.raises(aiohttp.ClientError):
                await answer.content.read()


@pytest.mark.parametrize("moment", ["at the table", "at the first block"])
async def test_nobody_else_waits_for_a_store_that_hangs(api: Api, moment: str) -> None:
    far = await post_and_roll_up(api, large_events(20))
    near = new_id()
    await api.post(near, ndjson(some_events(5)))
    async with elsewhere(api.daemon, deadline_s=60) as (store, _):
        if moment == "at the first block":
            assert (await api.request("HEAD", events_of(far))).status == 200
        store.hang()
        hanging = [asyncio.create_task(api.get(events_of(far))) for _ in range(20)]
        await until(lambda: store.waiting, what="a read to wait for the store")
        for _ in range(10):
            assert await api.events(near) == some_events(5)
            await api.post(near, ndjson(some_events(5)))
        assert not any(task.done() for task in hanging)
        store.heal()
        for reply in await asyncio.gather(*hanging):
            assert len(reply.json()) == 21


async def test_a_store_that_does_not_answer_in_time_is_away(api: Api) -> None:
    recording_id = await post_and_roll_up(api, some_events(50))
    async with elsewhere(api.daemon, deadline_s=0.05) as (store, _):
        store.hang()
        reply = await api.get(events_of(recording_id))
        assert (reply.status, reply.error["code"]) == (503, "object_store_away")


@pytest.mark.parametrize("what", ["missing", "table", "first block"])
async def test_a_damaged_object_is_told_to_the_reader_and_named_in_the_log(
    api: Api, what: str, logged: list[str]
) -> None:
    recording_id = await post_and_roll_up(api, some_events(50))
    async with elsewhere(api.daemon) as (store, _):
        (key,) = store.objects
        if what == "missing":
            store.objects.clear()
        else:
            # The block's frame of events begins with zstd's magic number.
            first = store.objects[key].index(b"\x28\xb5\x2f\xfd") + 8
            store.damage(key, -40 if what == "table" else first)
        for _ in range(2):
            reply = await api.get(events_of(recording_id))
            assert (reply.status, reply.error["code"]) == (500, "recording_damaged")
    assert any("recording_damaged" in line and key in line for line in logged)


async def test_damage_in_the_middle_breaks_the_connection(api: Api) -> None:
    recording_id = await post_and_roll_up(api, large_events(100))
    async with elsewhere(api.daemon) as (store, _):
        (key,) = store.objects
        store.damage(key, len(store.objects[key]) // 2)
        with pytest.raises(aiohttp.ClientError):
            await api.get(events_of(recording_id))


async def test_a_recording_erased_while_it_is_looked_for_is_not_found(api: Api, logged: list[str]) -> None:
    recording_id = await post_and_roll_up(api, some_events(50))
    async with elsewhere(api.daemon) as (store, _):
        store.hang()
        reading = asyncio.create_task(api.get(events_of(recording_id)))
        await until(lambda: store.waiting, what="a read to wait for the store")
        await api.daemon.services.index.remove("acme", recording_id)
        store.objects.clear()
        store.heal()
        reply = await reading
        assert (reply.status, reply.error["code"]) == (404, "not_found")
    assert not any("recording_damaged" in line for line in logged)


async def test_erasing_a_recording_in_the_middle_of_a_read_is_no_damage(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    recording_id = await post_and_roll_up(api, large_events(200))
    caplog.set_level(logging.INFO, logger="rrd")
    async with elsewhere(api.daemon) as (store, _):
        url, key = api.daemon.url + events_of(recording_id), {"Authorization": f"Bearer {api.key}"}
        async with api.session.get(url, headers=key) as answer:
            await answer.content.readexactly(100_000)
            await api.daemon.services.index.remove("acme", recording_id)
            store.objects.clear()
            with pytest.raises(aiohttp.ClientError):
                await answer.content.read()

        def told() -> list[str]:
            return [record.levelname for record in caplog.records if "read_broken_off" in record.getMessage()]

        assert await until(told, what="the break to be logged") == ["INFO"]


async def test_what_is_being_read_is_not_evicted(api: Api) -> None:
    recording_id = await post_and_roll_up(api, some_events(50))
    claims = api.daemon.services.claims
    async with elsewhere(api.daemon) as (store, _):
        store.hang()
        reading = asyncio.create_task(api.get(events_of(recording_id)))
        await until(lambda: store.waiting, what="a read to wait for the store")
        assert claims.has_readers("acme", recording_id)
        store.heal()
        assert (await reading).status == 200
        await until(lambda: not claims.has_readers("acme", recording_id), what="the reader to leave")


def large_events(count: int) -> list[bytes]:
    """Events that don't compress, 100 kB each."""
    chance = random.Random(3)
    return [an_event(1000 + number, text=chance.randbytes(50_000).hex()) for number in range(count)]
