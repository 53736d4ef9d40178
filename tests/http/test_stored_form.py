"""``form=stored``: a recording as it lies on the disk, and nothing of it that is nobody's event."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.harness import LocalDaemon, running, until
from tests.http.api import NDJSON, Api, Reply, visiting
from tests.http.test_reads_from_objects import closing, elsewhere, large_events, roll_up
from tests.playback.frames import frames_of
from tests.samples import an_event, meta_event, ndjson, new_id, some_events

pytestmark = pytest.mark.table

ZSTD = {"Accept-Encoding": "zstd"}
SECRET = "nobody-elses-business"


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[LocalDaemon]:
    """A daemon that begins a new segment at 1 MiB, and otherwise seals and rolls up when it is told to."""
    async with running(
        tmp_path, segment_bytes_max=1 << 20, seal_closed_s=0, rollup_delay_s=86_400, rollup_level=1
    ) as local:
        yield local


@pytest.fixture
async def api(daemon: LocalDaemon) -> AsyncIterator[Api]:
    async with visiting(daemon) as visitor:
        yield visitor


def path_of(recording_id: str) -> str:
    return f"/recordings/{recording_id}/events?form=stored"


async def stored(api: Api, recording_id: str) -> bytes:
    """Read a recording, look at the frames of the body, and return what they hold."""
    reply = await api.get(path_of(recording_id), headers=ZSTD)
    assert reply.status == 200, reply.body
    assert reply.headers["Content-Type"] == NDJSON
    assert reply.headers["Content-Encoding"] == "zstd"
    lines = b"".join(frames_of(reply.body))
    if zstd := shutil.which("zstd"):
        printed = await asyncio.to_thread(
            subprocess.run, [zstd, "-dc"], input=reply.body, capture_output=True, check=True
        )
        assert printed.stdout == lines
    else:
        assert os.environ.get("TESTS_REQUIRE_TOOLS") != "1"
    return lines


def batches(count: int) -> list[list[bytes]]:
    """Bodies that are a block each, too large for all of them to be in one segment."""
    chance = random.Random(11)
    return [
        [
            # Not in order, so that the order of arrival is another one.
            an_event(chance.randrange(10**9), n=number, text=chance.randbytes(10_000).hex())
            for number in range(start, start + 20)
        ]
        for start in range(0, 20 * count, 20)
    ]


def segments_of(api: Api) -> list[Path]:
    """Return the files of the only recording there is, in order."""
    files = [*api.daemon.segments("active"), *api.daemon.segments("sealed")]
    return sorted(files, key=lambda path: path.name.split(".")[-3])  # …NUMBER.ndjson.zst


async def post_with_secrets(api: Api, recording_id: str) -> list[bytes]:
    """Store events in some segments, among them what must not get out; return the events."""
    sent: list[bytes] = []
    for number, lines in enumerate(batches(15)):
        bad = b'{"type":3,"%s":' % SECRET.encode()
        reply = await api.post(
            recording_id,
            ndjson([meta_event(number, user=f"{SECRET}-{number}"), *lines[:10], bad, *lines[10:]]),
        )
        assert reply.json() == {
            "successful_rows": 21,
            "quarantined_rows": 1,
            "duplicate_rows": 0,
        }
        sent += lines
    return sent


async def test_lines_come_as_they_were_sent_wherever_they_lie(api: Api) -> None:
    recording_id = new_id()
    sent = await post_with_secrets(api, recording_id)
    # Segments, then an object alone, then a segment behind it.
    assert len(segments_of(api)) > 2
    assert await stored(api, recording_id) == ndjson(sent)
    await api.post(recording_id, ndjson([closing()]))
    await roll_up(api.daemon, recording_id)
    assert not segments_of(api)
    assert await stored(api, recording_id) == ndjson([*sent, closing()])
    odd = b' {"timestamp" : 5 ,"type":3, "data":"\\ud83d"}\t'
    await api.post(recording_id, ndjson([odd]))
    assert await stored(api, recording_id) == ndjson([*sent, closing(), odd])


async def test_nothing_but_events_is_in_it(api: Api) -> None:
    recording_id = new_id()
    await post_with_secrets(api, recording_id)
    on_disk = b"".join(path.read_bytes() for path in segments_of(api))
    assert b"rrdb" in on_disk
    assert recording_id.encode() in on_disk
    body = (await api.get(path_of(recording_id), headers=ZSTD)).body
    for word in (b"rrd1", b"rrdb", recording_id.encode(), SECRET.encode()):
        assert word not in body
    assert SECRET.encode() not in await stored(api, recording_id)


async def test_a_recording_without_events_is_a_frame_without_any(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson([meta_event(1, a=1)]))
    assert await stored(api, recording_id) == b""


@pytest.mark.parametrize(
    ("accepted", "status"),
    [
        ("zstd", 200),
        ("gzip, br;q=1.0, zstd;q=0.1", 200),
        ("ZSTD", 200),
        ("*", 200),
        ("gzip;q=0, *;q=0.5", 200),
        (None, 406),
        ("", 406),
        ("gzip, deflate, br", 406),
        ("identity", 406),
        ("zstd;q=0", 406),
        ("zstd;q=0, *", 406),
        ("*;q=0", 406),
        ("gzip, *;q=0", 406),
    ],
)
async def test_who_does_not_accept_zstd_is_told_so(api: Api, accepted: str | None, status: int) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    headers = {} if accepted is None else {"Accept-Encoding": accepted}
    reply = await api.get(path_of(recording_id), headers=headers)
    assert reply.status == status
    if status == 406:
        assert reply.error["code"] == "not_acceptable"
        assert "zstd" in reply.error["message"]


async def test_accept_does_not_matter(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    reply = await api.get(path_of(recording_id), headers=ZSTD | {"Accept": "application/json"})
    assert (reply.status, reply.headers["Content-Type"]) == (200, NDJSON)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("form=", "form"),
        ("form=xml", "form"),
        ("form=Stored", "form"),
        ("form=stored&from=1", "from"),
        ("to=1&form=stored", "to"),
    ],
)
async def test_what_makes_no_sense_is_named(api: Api, query: str, parameter: str) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    reply = await api.get(f"/recordings/{recording_id}/events?{query}", headers=ZSTD)
    assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, "bad_request", parameter)


async def test_its_etag_is_its_own_and_outlives_rolling_up(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson([*some_events(3), closing()]))
    first = await api.get(path_of(recording_id), headers=ZSTD)
    tag = first.headers["ETag"]
    assert "Accept-Encoding" in first.headers["Vary"]
    plain = await api.get(f"/recordings/{recording_id}/events", headers=ZSTD | {"Accept": NDJSON})
    assert plain.headers["ETag"].removeprefix("W/") != tag.removeprefix("W/")
    # Other frames hold the same lines after the roll-up: only a weak tag may stay the same.
    assert tag.startswith("W/")
    await roll_up(api.daemon, recording_id)
    async with elsewhere(api.daemon) as (store, clock):
        store.fail()
        for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            again = await api.get(path_of(recording_id), headers=ZSTD | {"If-None-Match": known})
            assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
        store.heal()
        clock.now += 4
        await api.post(recording_id, ndjson(some_events(1, later=True)))
        changed = await api.get(path_of(recording_id), headers=ZSTD | {"If-None-Match": tag})
        assert changed.status == 200
        assert changed.headers["ETag"] != tag


async def test_head_tells_what_get_would_without_the_body(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    told = await api.get(path_of(recording_id), headers=ZSTD)
    head = await api.request("HEAD", path_of(recording_id), headers=ZSTD)
    assert (head.status, head.body) == (200, b"")
    for name in ("ETag", "Content-Type", "Content-Encoding", "Content-Length", "Vary"):
        assert head.headers[name] == told.headers[name]
    assert int(told.headers["Content-Length"]) == len(told.body)


async def test_who_may_not_read_may_not_read_what_is_stored(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    for key, status in (
        (api.daemon.key("ingest"), 403),
        (api.daemon.key("all", tenant="other"), 404),
        ("", 401),
    ):
        assert (await api.get(path_of(recording_id), key=key, headers=ZSTD)).status == status


@pytest.mark.parametrize("where", ["first block", "last block"])
async def test_a_flipped_byte_is_noticed(api: Api, where: str, logged: list[str]) -> None:
    recording_id = new_id()
    for number, lines in enumerate(batches(15)):
        await api.post(recording_id, ndjson([*lines, an_event(number)]))
    # What was read before must not be taken from anywhere else.
    before: Reply = await api.get(path_of(recording_id), headers=ZSTD)
    assert before.status == 200
    await api.daemon.services.registry.seal_idle()  # None moves while it is damaged.
    damaged = segments_of(api)[0 if where == "first block" else -1]
    data = bytearray(damaged.read_bytes())
    data[len(data) - 20 if where == "last block" else 1000] ^= 1
    damaged.write_bytes(data)
    if where == "first block":
        reply = await api.get(path_of(recording_id), headers=ZSTD)
        assert (reply.status, reply.error["code"]) == (500, "recording_damaged")
    else:
        with pytest.raises(aiohttp.ClientError):
            await api.get(path_of(recording_id), headers=ZSTD)
    said = "recording_damaged" if where == "first block" else "read_broken_off"
    await until(lambda: any(said in line for line in logged), what="the damage to be logged")


async def test_a_store_that_goes_away_in_the_middle_breaks_the_connection(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson([*large_events(200), closing()]))
    await roll_up(api.daemon, recording_id)
    async with elsewhere(api.daemon) as (store, _):
        headers = ZSTD | {"Authorization": f"Bearer {api.key}"}
        async with api.session.get(api.daemon.url + path_of(recording_id), headers=headers) as answer:
            assert answer.status == 200
            await answer.content.readexactly(100_000)
            store.fail()
            with pytest.raises(aiohttp.ClientError):
                await answer.content.read()


async def test_a_signed_url_reads_it_too(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    api.daemon.signing_key()
    (row,) = (await api.get("/recordings?includeSignedUrls=true")).json()["recordings"]
    signed = row["links"]["eventsSigned"]
    reply = await api.get(f"{signed}&form=stored", key="", headers=ZSTD)
    assert [json.loads(line)["data"]["n"] for line in frames_of(reply.body)[0].splitlines()] == [0, 1, 2]
