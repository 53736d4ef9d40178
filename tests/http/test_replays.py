"""Composed replays over HTTP: what is in them, who may ask, and what goes wrong.

Method. Recordings lie in a segment that is written to, in sealed ones, and in objects alone; the model of
``tests.playback.replays`` says what their replay is.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rrd.access.signing import sign
from tests.harness import LocalDaemon, running, until
from tests.http.api import JSON, NDJSON, Api, decompress, visiting
from tests.http.test_reads_from_objects import elsewhere, large_events, post_and_roll_up, roll_up
from tests.playback.recordings import Line
from tests.playback.replays import expected, parsed
from tests.samples import dump, meta_event, ndjson, new_id

pytestmark = pytest.mark.table


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[LocalDaemon]:
    """A daemon that seals at once what is closed, and otherwise rolls up when it is told to."""
    async with running(
        tmp_path, seal_closed_s=0, rollup_delay_s=86_400, rollup_level=1, replay_recordings_max=5
    ) as local:
        yield local


@pytest.fixture
async def api(daemon: LocalDaemon) -> AsyncIterator[Api]:
    async with visiting(daemon) as visitor:
        yield visitor


def line(event_type: int, timestamp: float, data: object = None, **members: object) -> bytes:
    return dump({"type": event_type, "data": data or {}, "timestamp": timestamp, **members})


def a_page(start: float, **data: object) -> list[bytes]:
    """A page view of a tenth of a second."""
    return [
        line(1, start - 1), line(4, start, {"href": "https://shop.example"}), line(2, start, data),
        line(3, start + 99.5),
    ]  # fmt: skip


async def recorded(api: Api, lines: list[bytes], **metadata: str) -> str:
    """Store a recording; return its id."""
    recording_id = new_id()
    reply = await api.post(recording_id, ndjson([meta_event(1, **metadata), *lines]))
    assert reply.status == 200
    return recording_id


async def replay(api: Api, query: str, path: str = "/replay", **more: Any) -> list[dict[str, Any]]:
    reply = await api.get(f"{path}?{query}", **more)
    assert reply.status == 200, reply.body
    events: list[dict[str, Any]] = json.loads(reply.body)
    return events


async def test_two_tabs_of_one_visitor_play_page_after_page(api: Api) -> None:
    first = [line(4, 1000), line(2, 1000), line(3, 1100), line(5, 1150, {"tag": "close-permanent"})]
    second = [line(1, 1049), line(4, 1050), line(2, 1051), line(3, 1400)]
    one = await recorded(api, first, user="u-1")
    other = await recorded(api, second, user="u-1")
    await recorded(api, second, user="u-2")
    found = await replay(api, "meta[user]=u-1")
    told = [(event["timestamp"], event["recordingId"], event["type"]) for event in found]
    assert told == [
        (0, one, 4), (0, one, 2), (100, one, 3), (150, one, 5),
        (151, other, 1), (152, other, 4), (153, other, 2), (502, other, 3),
    ]  # fmt: skip
    assert [event["originalTimestamp"] for event in found[4:]] == [1049, 1050, 1051, 1400]


async def test_open_sealed_and_rolled_up_recordings_take_part(api: Api) -> None:
    closing = line(5, 1, {"tag": "close-permanent"})
    pages = {
        # Disorder, a page without a snapshot, and a number of its own.
        new_id(): [*a_page(5000), *a_page(1000), line(4, 9000), line(3, 9001, sequenceId=77)],
        new_id(): [*a_page(1040), closing, line(6, 2000.25, timestamp2=1)],
        new_id(): [*a_page(7000), line(3, 7001, "\ud83d"[:0], originalTimestamp=4)],
    }
    rolled, sealed, still_open = pages
    for recording_id, lines in pages.items():
        body = ndjson([meta_event(1, sessionId="s"), *lines])
        if recording_id == still_open:
            socket = await api.socket(recording_id)
            await socket.send_text(body)
            await api.stored(recording_id, len(lines))
        else:
            assert (await api.post(recording_id, body)).status == 200
        if recording_id == rolled:
            await api.post(rolled, ndjson([closing]))
            pages[rolled] = [*lines, closing]
            await roll_up(api.daemon, rolled)
    await api.daemon.services.registry.seal_idle()
    states = {
        recording_id: await api.daemon.services.index.recording("acme", recording_id)
        for recording_id in pages
    }
    assert [bool(row and row.objects) for row in states.values()] == [True, False, False]
    model = {
        recording_id: [[[Line(raw, json.loads(raw)["timestamp"]) for raw in lines]]]
        for recording_id, lines in pages.items()
    }
    reply = await api.get("/replay?meta[sessionId]=s", headers={"Accept": NDJSON})
    assert reply.headers["Content-Type"].startswith(NDJSON)
    assert [parsed(each) for each in reply.body.splitlines()] == expected(model)
    assert sealed in reply.body.decode()
    array = await api.get("/replay?meta[sessionId]=s&gapMax=50", headers={"Accept": JSON})
    assert [event["timestamp"] for event in json.loads(array.body)] == [
        float(event["timestamp"]) for event in expected(model, gap_max=50)
    ]


async def test_compression_head_and_tags_are_those_of_events(api: Api) -> None:
    recording_id = await recorded(api, a_page(1000), user="u")
    url = "/replay?meta%5Buser%5D=u"
    plain = await api.get(url)
    for encoding in ("gzip", "zstd", "br"):
        packed = await api.get(url, headers={"Accept-Encoding": encoding})
        assert packed.headers["Content-Encoding"] == encoding
        assert decompress(encoding, packed.body) == plain.body
        assert packed.headers["ETag"] != plain.headers["ETag"]
    head = await api.request("HEAD", url)
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", plain.headers["ETag"])
    known = {"If-None-Match": plain.headers["ETag"]}
    assert (await api.get(url, headers=known)).status == 304
    assert (await api.get(f"{url}&gapMax=7", headers=known)).status == 200
    await api.post(recording_id, ndjson([line(3, 2000)]))
    assert (await api.get(url, headers=known)).status == 200
    await recorded(api, a_page(5000), user="u")
    assert len(await replay(api, "meta[user]=u")) == 9


async def test_a_property_and_its_value_may_stand_in_the_path(api: Api) -> None:
    recording_id = await recorded(api, a_page(1000), **{"a/b": "50%25 ü", "plan": "x"})
    await recorded(api, a_page(1000), **{"a/b": "50%25 ü", "plan": "y"})
    path = "/replays/a%2Fb/50%2525%20%C3%BC"
    assert len(await replay(api, "", path)) == 8
    found = await replay(api, "meta[plan]=x", path)
    assert {event["recordingId"] for event in found} == {recording_id}
    assert await replay(api, "", "/replays/a%2Fb/other") == []
    assert (await api.get(f"{path}?limit=1")).error["parameter"] == "limit"


async def test_a_recording_is_found_by_its_id_where_no_metadata_has_that_name(api: Api) -> None:
    plain = await recorded(api, a_page(1000), plan="x")
    named = await recorded(api, a_page(1000), recordingId="something")
    path = "/replays/recordingId"
    assert {event["recordingId"] for event in await replay(api, "", f"{path}/{plain.upper()}")} == {plain}
    assert await replay(api, "meta[plan]=y", f"{path}/{plain}") == []
    assert {event["recordingId"] for event in await replay(api, "", f"{path}/something")} == {named}
    assert await replay(api, "", f"{path}/{named}") == []
    assert await replay(api, "", f"{path}/{new_id()}") == []
    foreign = api.daemon.key("all", tenant="other")
    assert await replay(api, "", f"{path}/{plain}", key=foreign) == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "meta"),
        ("gapMax=5", "meta"),
        ("meta[user]=u&limit=5", "limit"),
        ("meta[user]=u&meta[a][b]=c", "meta[a][b]"),
        ("meta[user]=u&gapmax=5", "gapmax"),
        *((f"meta[user]=u&gapMax={text}", "gapMax") for text in ("0", "-1", "x", "1.5", "", "86400001")),
        ("meta[user]=u&salvage=yes", "salvage"),
        ("meta[user]=u&recordingId=1", "recordingId"),
    ],
)
async def test_parameters_that_make_no_sense_are_named(api: Api, query: str, parameter: str) -> None:
    reply = await api.get(f"/replay?{query}")
    assert (reply.status, reply.error["parameter"]) == (400, parameter)


async def test_no_match_is_an_empty_replay(api: Api) -> None:
    await recorded(api, [line(3, 1), line(4, 2)], user="without a snapshot")
    assert await replay(api, "meta[user]=none") == []
    assert await replay(api, "meta[user]=without a snapshot".replace(" ", "%20")) == []
    lines = await api.get("/replay?meta[user]=none", headers={"Accept": NDJSON})
    assert (lines.status, lines.body) == (200, b"")


async def test_more_recordings_than_the_limit_are_refused_with_their_number(api: Api) -> None:
    for number in range(6):
        await recorded(api, a_page(1000 * number), user="u", n=str(number))
    reply = await api.get("/replay?meta[user]=u")
    assert (reply.status, reply.error["code"], reply.error["parameter"]) == (
        400,
        "too_many_recordings",
        "meta",
    )
    assert "6 recordings" in reply.error["message"]
    assert "5 at most" in reply.error["message"]
    assert len(await replay(api, "meta[user]=u&meta[n]=3")) == 4


async def test_only_a_private_key_opens_a_replay(api: Api, daemon: LocalDaemon) -> None:
    await recorded(api, a_page(1000), user="u")
    url = "/replay?meta[user]=u"
    assert (await api.get(url, key="")).status == 401
    assert (await api.get(url, key=daemon.key("ingest"))).status == 403
    assert (await api.get(url, key=daemon.key("read"))).status == 200
    assert (await api.get(f"{url}&token={daemon.key('read')}", key="")).status == 200
    assert await replay(api, "meta[user]=u", key=daemon.key("read", tenant="other")) == []
    key = daemon.signing_key()
    for scope in ("/replay", "/recordings"):
        signed = sign(
            secret=key.secret, key_id=key.key_id, tenant="acme", method="GET", scope_path=scope,
            expires_s=4_000_000_000,
        )  # fmt: skip
        assert (await api.get(f"{url}&{signed}", key="")).status in {401, 403}


async def test_a_damaged_recording_is_refused_or_salvaged(api: Api, daemon: LocalDaemon) -> None:
    whole = await recorded(api, a_page(1000), user="u")
    damaged = await recorded(api, a_page(2000), user="u")
    await api.post(damaged, ndjson(a_page(3000)))
    (path,) = [path for path in daemon.segments("active") if damaged in str(path)]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    reply = await api.get("/replay?meta[user]=u")
    assert (reply.status, reply.error["code"], reply.error["missingEvents"]) == (500, "recording_damaged", 4)
    salvaged = await api.get("/replay?meta[user]=u&salvage=true")
    assert (salvaged.headers["Rrd-Missing-Events"], "ETag" in salvaged.headers) == ("4", False)
    ids = [event["recordingId"] for event in salvaged.json()]
    assert ids == [whole] * 4 + [damaged] * 4


async def far_away(api: Api, count: int) -> str:
    """A recording of events that don't compress, in an object alone."""
    recording_id = await post_and_roll_up(api, [*a_page(500), *large_events(count)])
    body, kind = b'{"user":"u"}', {"Content-Type": JSON}
    reply = await api.request("POST", f"/recordings/{recording_id}/meta", body=body, headers=kind)
    assert reply.status < 300
    return recording_id


async def test_a_store_that_is_away_is_told_before_the_answer_begins(api: Api) -> None:
    await far_away(api, 1)
    await recorded(api, a_page(1000), user="u")
    async with elsewhere(api.daemon) as (store, clock):
        store.fail()
        for method in ("GET", "HEAD"):
            reply = await api.request(method, "/replay?meta[user]=u")
            assert reply.status == 503
            assert int(reply.headers["Retry-After"]) > 0
        store.heal()
        clock.now += 4
        assert len(await replay(api, "meta[user]=u")) == 10


async def test_a_recording_erased_while_it_is_looked_through_is_left_out(api: Api) -> None:
    erased = await far_away(api, 1)
    kept = await recorded(api, a_page(1000), user="u")
    async with elsewhere(api.daemon) as (store, _):
        store.hang()
        reading = asyncio.create_task(replay(api, "meta[user]=u"))
        await until(lambda: store.waiting, what="a read to wait for the store")
        claims = api.daemon.services.claims
        assert claims.has_readers("acme", erased)
        await api.daemon.services.index.remove("acme", erased)
        store.objects.clear()
        store.heal()
        assert {event["recordingId"] for event in await reading} == {kept}
        await until(lambda: not claims.has_readers("acme", kept), what="the reader to leave")


async def test_a_replay_whose_recording_is_erased_breaks_off(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    recording_id = await far_away(api, 200)
    caplog.set_level(logging.INFO, logger="rrd")
    async with elsewhere(api.daemon) as (store, _):
        url, key = f"{api.daemon.url}/replay?meta[user]=u", {"Authorization": f"Bearer {api.key}"}
        async with api.session.get(url, headers=key) as answer:
            assert answer.status == 200
            await answer.content.readexactly(100_000)
            await api.daemon.services.index.remove("acme", recording_id)
            store.objects.clear()
            with pytest.raises(aiohttp.ClientError):
                await answer.content.read()

        def told() -> list[str]:
            return [entry.levelname for entry in caplog.records if "replay_broken_off" in entry.getMessage()]

        assert await until(told, what="the break to be logged") == ["INFO"]


async def test_an_erased_recording_is_no_part_of_a_replay(api: Api) -> None:
    kept = await recorded(api, a_page(1000), user="u")
    erased = await recorded(api, a_page(2000), user="u")
    reply = await api.request("DELETE", f"/recordings/{erased}", key=api.daemon.key("erase"))
    assert reply.status < 300
    assert {event["recordingId"] for event in await replay(api, "meta[user]=u")} == {kept}


async def test_a_replay_ends_when_its_key_is_revoked(api: Api, daemon: LocalDaemon) -> None:
    for number in range(4):
        await recorded(api, [*a_page(10_000_000 * number), *large_events(60)], user="u")
    key = daemon.key("read")
    url = f"{daemon.url}/replay?meta[user]=u&token={key}"
    async with api.session.get(url) as answer:
        assert answer.status == 200
        await answer.content.readexactly(1000)
        daemon.revoke(key)
        with pytest.raises(aiohttp.ClientError):
            await answer.content.read()


async def test_more_page_views_than_a_replay_is_made_of_are_refused(api: Api) -> None:
    page = b'{"type":4,"timestamp":%d}\n{"type":2,"timestamp":%d}\n'
    recording_id = await recorded(api, [], user="u")
    body = b"".join(page % (number, number) for number in range(50_001))
    assert (await api.post(recording_id, body)).status == 200
    reply = await api.get("/replay?meta[user]=u")
    assert (reply.status, reply.error["code"], reply.error["parameter"]) == (
        400,
        "too_many_page_views",
        "meta",
    )


async def test_deep_and_odd_events_come_through_byte_by_byte(api: Api) -> None:
    deep = b'{"a":[' * 2500 + b"]}" * 2500
    odd = [
        b'{"type":4,"timestamp":1000,"data":{}}',
        b'{"type":2,"data":%b,"timestamp":1000}' % deep,
        b'{"type":3,"data":{"timestamp":1,"text":"cut \\ud83d"},"timestamp":1e3}',
        b'{ "data":{"tag":"close-permanent","payload":"\\ud83d"}, "type":5, "timestamp":1000.25 }',
    ]
    recording_id = await recorded(api, odd, user="u")
    reply = await api.get("/replay?meta[user]=u", headers={"Accept": NDJSON})
    tail = b',"sequenceId":%d,"recordingId":"' + recording_id.encode() + b'"}'
    assert reply.body.splitlines() == [
        b'{"type":4,"timestamp":0,"data":{},"originalTimestamp":1000' + tail % 1,
        b'{"type":2,"data":%b,"timestamp":0,"originalTimestamp":1000' % deep + tail % 2,
        b'{"type":3,"data":{"timestamp":1,"text":"cut \\ud83d"},"timestamp":0,"originalTimestamp":1e3'
        + tail % 3,
        b'{"data":{"tag":"close-permanent","payload":"\\ud83d"},"type":5,"timestamp":0.25'
        b',"originalTimestamp":1000.25' + tail % 4,
    ]
