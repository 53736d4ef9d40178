"""Reads: order, forms, compression, ETags; the list with its filters; statistics."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from tests.harness import running, until
from tests.http.api import JSON, NDJSON, Api, decompress, visiting
from tests.samples import an_event, by_time, dump, meta_event, ndjson, new_id, some_events

pytestmark = pytest.mark.table

# Events


async def test_events_are_ordered_by_time_and_ties_by_arrival(api: Api) -> None:
    recording_id, chance = new_id(), random.Random(7)
    arrived = [an_event(chance.choice([1, 2, 2.5, 3, 1e12, -5]), n=n) for n in range(400)]
    for start in range(0, 400, 50):
        await api.post(recording_id, ndjson(arrived[start : start + 50]))
    found = await api.numbered(recording_id)
    assert [line for _, line in found] == by_time(arrived)
    assert [line for _, line in sorted(found)] == arrived


async def test_meta_stays_before_the_snapshot_of_the_same_millisecond(api: Api) -> None:
    recording_id = new_id()
    pairs = [
        [
            b'{"type":4,"timestamp":%d,"data":{"href":"x"}}' % at,
            b'{"type":2,"timestamp":%d,"data":{"node":{}}}' % at,
        ]
        for at in (3000, 1000, 2000)
    ]
    for pair in pairs:
        await api.post(recording_id, ndjson(pair))
    assert await api.events(recording_id) == [*pairs[1], *pairs[2], *pairs[0]]


async def test_an_open_socket_can_be_read_while_it_goes_on(api: Api) -> None:
    recording_id, sent = new_id(), some_events(30)
    socket = await api.socket(recording_id, ack="true")
    for start in (0, 10, 20):
        await socket.send_text(*sent[start : start + 10])
        while (await socket.next_json())["successful_rows"] < start + 10:
            pass
        assert await api.events(recording_id) == sent[: start + 10]
    await socket.finish()


async def test_a_recording_that_nobody_wrote_to_is_not_found(api: Api) -> None:
    recording_id = new_id()
    for path in (f"/recordings/{recording_id}", f"/recordings/{recording_id}/events"):
        reply = await api.get(path)
        assert (reply.status, reply.error["code"]) == (404, "not_found")
    await (await api.socket(recording_id)).finish()
    assert (await api.get(f"/recordings/{recording_id}/events")).status == 404


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/json, text/plain, */*", JSON),
        (NDJSON, NDJSON),
        ("application/ndjson", "application/ndjson"),
        (f"{JSON};q=0.5, {NDJSON}", NDJSON),
        ("text/html", JSON),
    ],
)
async def test_accept_chooses_between_an_array_and_lines(api: Api, accept: str, media_type: str) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(5)))
    headers = {"Accept": accept} if accept else {}
    reply = await api.get(f"/recordings/{recording_id}/events", headers=headers)
    assert reply.headers["Content-Type"].partition(";")[0] == media_type
    events = json.loads(reply.body) if media_type == JSON else list(map(json.loads, reply.body.splitlines()))
    assert [event["data"]["n"] for event in events] == list(range(5))
    assert [event["sequenceId"] for event in events] == list(range(1, 6))
    assert {event["recordingId"] for event in events} == {recording_id}
    assert {frozenset(event) for event in events} == {
        frozenset({"type", "timestamp", "data", "sequenceId", "recordingId"})
    }


@pytest.mark.parametrize("form", [JSON, NDJSON])
@pytest.mark.parametrize("count", [0, 1, 20_000])
async def test_answers_are_compressed_as_asked(api: Api, form: str, count: int) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson([meta_event(1, a=1), *some_events(count)]))
    path, accept = f"/recordings/{recording_id}/events", {"Accept": form}
    plain = await api.get(path, headers=accept)
    assert "Content-Encoding" not in plain.headers
    assert plain.body.count(b'"sequenceId"') == count
    for encoding in ("gzip", "br", "zstd"):
        packed = await api.get(path, headers=accept | {"Accept-Encoding": encoding})
        assert packed.headers["Content-Encoding"] == encoding
        assert "Accept-Encoding" in packed.headers["Vary"]
        assert decompress(encoding, packed.body) == plain.body


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("gzip, deflate, br, zstd", {"gzip", "br", "zstd"}),
        ("gzip;q=1.0, br;q=0.5", {"gzip"}),
        ("gzip;q=0, identity", {None}),
        ("deflate", {None}),
        ("*", {None, "gzip", "br", "zstd"}),
        ("GZIP", {"gzip"}),
    ],
)
async def test_accept_encoding_is_weighed(api: Api, accepted: str, chosen: set[str | None]) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    reply = await api.get(f"/recordings/{recording_id}/events", headers={"Accept-Encoding": accepted})
    assert reply.headers.get("Content-Encoding") in chosen


async def test_an_etag_saves_reading_what_is_known(api: Api) -> None:
    recording_id = new_id()
    path = f"/recordings/{recording_id}/events"
    await api.post(recording_id, ndjson(some_events(3)))
    first = await api.get(path)
    tag = first.headers["ETag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = await api.get(path, headers={"If-None-Match": known})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert (await api.get(path, headers={"If-None-Match": '"other"'})).status == 200
    # Each form and encoding is another answer.
    forms = [{}, {"Accept": NDJSON}, {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "br"}]
    tags = [(await api.get(path, headers=form)).headers["ETag"] for form in forms]
    assert len(set(tags)) == len(forms)
    await api.post(recording_id, ndjson(some_events(1, later=True)))
    changed = await api.get(path, headers={"If-None-Match": tag})
    assert changed.status == 200
    assert changed.headers["ETag"] != tag


async def test_head_tells_what_get_would_without_the_body(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    path = f"/recordings/{recording_id}/events"
    told = await api.get(path)
    head = await api.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    for name in ("ETag", "Content-Type", "Vary"):
        assert head.headers[name] == told.headers[name]
    assert (await api.request("HEAD", f"/recordings/{new_id()}/events")).status == 404


async def test_a_range_of_time_is_half_open(api: Api) -> None:
    recording_id = new_id()
    stamps = [-5, 0, 1, 1.5, 2, 2, 10, 1e12]
    await api.post(recording_id, ndjson([an_event(stamp, n=n) for n, stamp in enumerate(stamps)]))
    await api.post(recording_id, ndjson([an_event(1.75)]))
    path = f"/recordings/{recording_id}/events"
    everything = (await api.get(path)).json()
    for query, least, limit in [
        ("from=1&to=2", 1, 2),
        ("from=1.5&to=2.0", 1.5, 2),
        ("from=2", 2, 1e99),
        ("to=2", -1e99, 2),
        ("from=-5&to=0", -5, 0),
        ("from=2&to=2", 2, 2),
        ("to=1000000000001&from=10", 10, 1e12 + 1),
        ("from=20&to=30", 20, 30),
    ]:
        wanted = [event for event in everything if least <= event["timestamp"] < limit]
        assert (query, (await api.get(f"{path}?{query}")).json()) == (query, wanted)
        lines = await api.get(f"{path}?{query}", headers={"Accept": NDJSON})
        assert [json.loads(line) for line in lines.body.splitlines()] == wanted


@pytest.mark.parametrize("name", ["from", "to"])
async def test_a_bound_that_is_no_time_is_named(api: Api, name: str) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    bad = ["", "x", "1e3", "nan", "inf", "%2B1", "0x1", "1.", ".5", "--1", "1_0", "٣", "9" * 17, "2024-01-01"]
    for value in bad:
        reply = await api.get(f"/recordings/{recording_id}/events?{name}={quote(value, safe='%')}")
        assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, "bad_request", name)


async def test_a_range_that_ends_before_it_begins_is_an_error(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    reply = await api.get(f"/recordings/{recording_id}/events?from=2&to=1")
    assert (reply.status, reply.error["parameter"]) == (400, "from")


async def test_each_range_has_its_own_etag(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    path = f"/recordings/{recording_id}/events"
    queries = ["", "?from=1", "?to=1", "?from=1&to=2", "?from=1&to=2.5"]
    tags = [(await api.get(path + query)).headers["ETag"] for query in queries]
    assert len(set(tags)) == len(tags)
    for query, tag in zip(queries, tags, strict=True):
        assert (await api.get(path + query, headers={"If-None-Match": tag})).status == 304
    assert (await api.get(f"{path}?to=2.0&from=1.0", headers={"If-None-Match": tags[3]})).status == 304


async def test_a_signed_url_reads_any_range(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson([an_event(stamp) for stamp in (1, 2, 3)]))
    api.daemon.signing_key()
    (row,) = (await api.get("/recordings?includeSignedUrls=true")).json()["recordings"]
    signed = row["links"]["eventsSigned"]
    reply = await api.get(f"{signed}&from=2&to=3", key="")
    assert [event["timestamp"] for event in reply.json()] == [2]


async def test_who_does_not_take_the_answer_is_cut_off(tmp_path: Path, logged: list[str]) -> None:
    async with running(tmp_path, body_idle_timeout_s=1) as daemon, visiting(daemon) as api:
        recording_id, noise = new_id(), random.Random(3)
        # More than the buffers of both sides hold.
        lines = [an_event(number, text=noise.randbytes(500_000).hex()) for number in range(30)]
        await api.post(recording_id, ndjson(lines))
        headers = {"Authorization": f"Bearer {api.key}"}
        url = f"{daemon.url}/recordings/{recording_id}/events"
        async with api.session.get(url, headers=headers) as answer:
            assert answer.status == 200
            await until(
                lambda: any("read_broken_off" in line and "TimeoutError" in line for line in logged),
                what="the read to be broken off",
            )
            with pytest.raises(aiohttp.ClientError):
                await answer.content.read()
        assert await api.events(recording_id) == lines


def small_socket() -> socket.socket:
    taker = socket.socket()
    taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    taker.setblocking(False)
    return taker


async def kernel_holds() -> int:
    """Return how many bytes the kernel takes for ``small_socket`` when nobody reads from it."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server, small_socket() as taker:
        await loop.sock_connect(taker, server.getsockname())
        sender, _ = server.accept()
        with sender:
            sender.setblocking(False)
            held = 0
            for _ in range(20):
                with contextlib.suppress(BlockingIOError):
                    while True:
                        held += sender.send(bytes(10_000))
                await asyncio.sleep(0.01)
            return held


@pytest.mark.parametrize("form", ["", "?form=stored"])
async def test_nor_is_the_end_kept_for_who_does_not_take_it(
    tmp_path: Path, logged: list[str], form: str
) -> None:
    async with running(tmp_path, body_idle_timeout_s=1) as daemon, visiting(daemon) as api:
        recording_id, noise = new_id(), random.Random(3)
        # Less than is written ahead is left when the kernel takes no more. Stored, hex takes half the bytes.
        size = await kernel_holds() + 600_000
        lines = [
            an_event(number, text=noise.randbytes(25_000 if not form else 50_000).hex())
            for number in range(size // 50_000)
        ]
        await api.post(recording_id, ndjson(lines))
        with small_socket() as taker:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(taker, (daemon.config.host, daemon.port))
            request = [
                f"GET /recordings/{recording_id}/events{form} HTTP/1.1",
                "Host: localhost",
                f"Authorization: Bearer {api.key}",
                f"Accept-Encoding: {'zstd' if form else 'identity'}",
            ]
            await loop.sock_sendall(taker, "\r\n".join([*request, "", ""]).encode())
            await until(
                lambda: any("read_broken_off" in line and "TimeoutError" in line for line in logged),
                what="the read to be broken off",
            )


# The list


async def fill(api: Api, count: int) -> list[str]:
    """Make recordings with metadata; return their ids, newest first."""
    recordings = []
    for number in range(count):
        recordings.append(new_id())
        values: dict[str, object] = {"n": number, "even": number % 2 == 0, "päge/[x]&y=": "a+b c%&ü"}
        await api.request("POST", f"/recordings/{recordings[-1]}/meta", body=dump(values))
    return recordings[::-1]


def listed(reply: Any) -> list[str]:
    assert reply.status == 200, reply.body
    return [row["recordingId"] for row in reply.json()["recordings"]]


async def test_the_list_tells_what_there_is_newest_first(api: Api) -> None:
    recording_id = new_id()
    before_ms = time.time() * 1000
    await api.post(recording_id, ndjson([meta_event(1, user="a"), *some_events(2)]))
    (row,) = (await api.get("/recordings")).json()["recordings"]
    link = f"/recordings/{recording_id}"
    assert before_ms - 5 <= row.pop("timestamp") <= time.time() * 1000 + 5
    assert row == {
        "recordingId": recording_id,
        "links": {"self": link, "events": f"{link}/events"},
        "metadata": {"user": "a"},
    }
    newer = await fill(api, 3)
    await api.post(recording_id, ndjson(some_events(9)))
    assert listed(await api.get("/recordings")) == [*newer, recording_id]
    times = [row["timestamp"] for row in (await api.get("/recordings")).json()["recordings"]]
    assert times == sorted(times, reverse=True)


async def test_limit_and_offset_cut_the_list(api: Api) -> None:
    recordings = await fill(api, 7)
    for query, wanted in {
        "limit=3": recordings[:3],
        "limit=100": recordings,
        "limit=3&offset=5": recordings[5:],
        "offset=6": recordings[6:],
        "offset=7": [],
        "offset=0&limit=1": recordings[:1],
    }.items():
        assert listed(await api.get(f"/recordings?{query}")) == wanted


@pytest.mark.parametrize("name", ["limit", "offset"])
async def test_a_limit_or_offset_that_is_no_number_or_out_of_range_is_named(api: Api, name: str) -> None:
    bad = ["-1", "x", "", "1.5", "1e2", "%201", "٣", "9" * 30, "+1", "0x1"]
    for value in [*bad, "0", "101"] if name == "limit" else bad:
        reply = await api.get(f"/recordings?{name}={quote(value, safe='%')}")
        assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, "bad_request", name)


async def test_the_list_is_50_long_when_nothing_is_said(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        recordings = await fill(api, 52)
        assert listed(await api.get("/recordings")) == recordings[:50]


async def test_filters_are_anded_however_they_are_encoded(api: Api) -> None:
    recordings = await fill(api, 6)
    even, odd = recordings[1::2], recordings[::2]
    key = quote("päge/[x]&y=", safe="")
    value = quote("a+b c%&ü", safe="")
    for query, wanted in {
        "meta[even]=true": even,
        "meta%5Beven%5D=true": even,
        "meta%5beven%5d=tru%65": even,
        "meta[even]=false&limit=2": odd[:2],
        "meta[even]=true&meta[n]=4": [recordings[1]],
        "meta[even]=true&meta[n]=3": [],
        "meta[even]=true&meta[even]=false": [],
        "meta[even]=true&meta[even]=true": even,
        f"meta[{key}]={value}": recordings,
        f"meta%5B{key}%5D={value}&meta[n]=0": [recordings[5]],
        "meta[nothing]=x": [],
        "meta[even]=TRUE": [],
        "meta[even]=": [],
        "meta[n]=1&unknown=2": [recordings[4]],
    }.items():
        assert (query, listed(await api.get(f"/recordings?{query}"))) == (query, wanted)


async def test_a_filter_finds_the_latest_value_alone(api: Api) -> None:
    (recording_id,) = await fill(api, 1)
    await api.request("POST", f"/recordings/{recording_id}/meta", body=b'{"n":"later"}')
    assert listed(await api.get("/recordings?meta[n]=later")) == [recording_id]
    assert listed(await api.get("/recordings?meta[n]=0")) == []


async def test_signed_urls_in_the_list_work_without_a_key(api: Api) -> None:
    recording_id, sent = new_id(), some_events(3)
    await api.post(recording_id, ndjson(sent))
    reply = await api.get("/recordings?includeSignedUrls=true")
    assert (reply.status, reply.error["code"]) == (400, "no_signing_key")
    api.daemon.signing_key()
    api.daemon.signing_key(tenant="other")
    (row,) = (await api.get("/recordings?includeSignedUrls=true")).json()["recordings"]
    signed = row["links"]["eventsSigned"]
    assert signed.startswith(f"/recordings/{recording_id}/events?")
    reply = await api.get(signed, key="")
    assert reply.status == 200
    assert len(reply.json()) == 3
    query = signed.partition("?")[2]
    # It reads this recording, its metadata too; nothing else, and it never writes.
    assert (await api.get(f"/recordings/{recording_id}?{query}", key="")).status == 200
    assert (await api.get(f"/recordings/{new_id()}/events?{query}", key="")).status == 401
    assert (await api.get(f"/recordings?{query}", key="")).status == 401
    body = ndjson(some_events(1))
    reply = await api.request("POST", f"/recordings/{recording_id}/ingest?{query}", body=body, key="")
    assert reply.status == 401
    (row,) = (await api.get("/recordings?includeSignedUrls=false")).json()["recordings"]
    assert "eventsSigned" not in row["links"]
    reply = await api.get("/recordings?includeSignedUrls=maybe")
    assert (reply.status, reply.error["parameter"]) == (400, "includeSignedUrls")


async def test_links_begin_with_the_public_url_if_there_is_one(tmp_path: Path) -> None:
    public = "https://replay.example/api/"
    async with running(tmp_path, public_url=public) as daemon, visiting(daemon) as api:
        (recording_id,) = await fill(api, 1)
        (row,) = (await api.get("/recordings")).json()["recordings"]
        assert row["links"] == {
            "self": f"{public}recordings/{recording_id}",
            "events": f"{public}recordings/{recording_id}/events",
        }


async def test_links_do_not_follow_what_a_request_says_of_its_host(api: Api) -> None:
    (recording_id,) = await fill(api, 1)
    api.daemon.signing_key()
    for headers in ({}, {"Host": "192.0.2.9"}, {"Host": "localhost:1", "X-Forwarded-Host": "evil.example"}):
        reply = await api.get("/recordings?includeSignedUrls=true", headers=headers)
        (row,) = reply.json()["recordings"]
        assert all(link.startswith(f"/recordings/{recording_id}") for link in row["links"].values())


# Statistics


async def test_statistics_count_what_the_tenant_stored(api: Api) -> None:
    empty = {"totalRecordings": 0, "recordingsThisMonth": 0, "totalStorageBytes": 0}
    assert (await api.get("/statistics")).json() == empty
    await api.post(new_id(), ndjson(some_events(100)))
    first = (await api.get("/statistics")).json()
    assert (first["totalRecordings"], first["recordingsThisMonth"]) == (1, 1)
    on_disk = sum(path.stat().st_size for path in api.daemon.segments("active"))
    assert first["totalStorageBytes"] == on_disk
    await api.post(new_id(), b"nothing good")
    await fill(api, 2)
    second = (await api.get("/statistics")).json()
    assert (second["totalRecordings"], second["recordingsThisMonth"]) == (3, 3)
    assert second["totalStorageBytes"] > first["totalStorageBytes"]
