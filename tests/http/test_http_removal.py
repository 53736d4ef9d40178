"""Erasing over HTTP, and what becomes of those who go on sending."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import zstandard

from rrd.access.keys import Scope
from rrd.access.signing import sign
from tests.harness import LocalDaemon, eventually, running, until
from tests.http.api import JSON, Api, Reply, visiting
from tests.http.raw_client import Refused
from tests.samples import dump, meta_event, ndjson, new_id, some_events

SCOPES: tuple[Scope, ...] = ("ingest", "read", "all")
MARKER = "visitor-4711@example.net"


def traces(data_dir: str) -> list[str]:
    """Return the files below ``data_dir`` that hold ``MARKER``, plain or compressed."""
    found = []
    for path in Path(data_dir).rglob("*"):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            data = path.read_bytes()
            if path.name.endswith(".ndjson.zst"):
                with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
                    data += reader.read()
            if MARKER.encode() in data:
                found.append(str(path.relative_to(data_dir)))
    return sorted(found)


async def without_a_trace(daemon: LocalDaemon) -> None:
    """Return when nothing of the visitor is left. The index's log is cut off a moment after a removal."""
    try:
        await until(lambda: not traces(daemon.data_dir), what="the last trace to go")
    except TimeoutError:
        assert traces(daemon.data_dir) == []


async def roll_up(daemon: LocalDaemon) -> None:
    """Have everything sealed and rolled up now."""
    await until(lambda: not daemon.segments("active"), what="everything to be sealed")
    await daemon.parts.rollup.drain()


async def fill(api: Api, recording_id: str, *, count: int = 5, **metadata: str) -> None:
    events = some_events(count, said=MARKER)
    lines = [meta_event(1, **metadata), *events] if metadata else events
    reply = await api.post(recording_id, ndjson([*lines, b"no json: " + MARKER.encode()]))
    assert reply.status == 200, reply.body


async def erase(api: Api, recording_id: str) -> Reply:
    return await api.request("DELETE", f"/recordings/{recording_id}", key=api.daemon.key("erase"))


async def erase_where(api: Api, **filters: str) -> Reply:
    query = urlencode({f"meta[{key}]": value for key, value in filters.items()})
    return await api.request("DELETE", f"/recordings?{query}", key=api.daemon.key("erase"))


async def check_refused(api: Api, recording_id: str) -> None:
    """Whatever is sent to an erased recording is refused, and every other recording is served."""
    reply = await api.post(recording_id, ndjson(some_events(3, said=MARKER)))
    assert (reply.status, reply.error["code"]) == (410, "recording_erased")
    reply = await api.request(
        "POST",
        f"/recordings/{recording_id}/meta",
        body=dump({"mail": MARKER}),
        headers={"Content-Type": JSON},
    )
    assert (reply.status, reply.error["code"]) == (410, "recording_erased")
    socket = await api.socket(recording_id)
    end = await socket.farewell()
    assert (end.code, end.reason) == (1011, "recording_erased")
    assert (end.last["type"], end.last["status"], end.last["code"]) == ("error", 410, "recording_erased")
    for path in ("", "/events"):
        assert (await api.get(f"/recordings/{recording_id}{path}")).status == 404


async def late_lines(daemon: LocalDaemon, recording_id: str) -> int:
    for key, lines in daemon.services.registry.take_late_lines().items():
        daemon.parts.tombstones.count_late(*key, lines)
    stone = daemon.parts.tombstones.erased("acme", recording_id)
    assert stone is not None
    return stone.late_lines


async def test_an_erased_recording_is_gone_wherever_it_was_and_stays_gone(tmp_path: Path) -> None:
    recording_id, other = new_id(), new_id()
    async with running(tmp_path, seal_idle_s=1) as daemon, visiting(daemon) as api:
        await fill(api, recording_id, mail=MARKER)
        await roll_up(daemon)
        await fill(api, recording_id, count=9, more=MARKER)
        await api.post(other, ndjson(some_events(2)))
        kinds = {path.partition("/")[0] for path in traces(daemon.data_dir)}
        assert {"active", "objects"} <= kinds, "not where it should be looked for"
        size = (await api.get("/statistics")).json()["totalStorageBytes"]
        reply = await erase(api, recording_id)
        receipt = reply.json()
        assert reply.status == 200
        left = (await api.get("/statistics")).json()["totalStorageBytes"]
        # Five of the nine that came later were repeats.
        assert receipt == {"recordings": 1, "events": 9, "bytes": size - left, "objects": 1}
        await check_refused(api, recording_id)
        assert await late_lines(daemon, recording_id) >= 4
        listed = (await api.get("/recordings")).json()["recordings"]
        assert [entry["recordingId"] for entry in listed] == [other]
        assert len(await api.events(other)) == 2
        await without_a_trace(daemon)
        assert (await erase(api, recording_id)).status == 404
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        await check_refused(api, recording_id)
        assert len(await api.events(other)) == 2
        await without_a_trace(daemon)


async def test_erasing_while_events_stream_in(api: Api) -> None:
    recording_id = new_id()
    socket = await api.socket(recording_id)
    statuses: list[list[int]] = [[], [], []]
    is_over = False

    async def post_on(number: int) -> None:
        start = 10**12 * (number + 1)
        while not is_over:
            start += 1000
            body = ndjson(some_events(20, start=start, said=MARKER))
            statuses[number].append((await api.post(recording_id, body)).status)

    def count(status: int) -> int:
        return min(answers.count(status) for answers in statuses)

    async def send_on() -> None:
        with contextlib.suppress(ConnectionError):
            for number in itertools.count(1_600_000_000_000):
                await socket.send_text(*some_events(1, start=number, said=MARKER))
                await asyncio.sleep(0.001)  # As fast as a page: the others are to have their turns.

    async def all_gone() -> bool:
        return (await api.get(f"/recordings/{recording_id}")).status == 404

    posting = [asyncio.create_task(post_on(number)) for number in range(3)]
    sending = asyncio.create_task(send_on())
    # Read as it comes: a server that is gone resets the connection of whoever goes on sending.
    ending = asyncio.create_task(socket.farewell())
    await until(lambda: count(200) > 2, what="events to be stored")
    receipt = (await erase(api, recording_id)).json()
    assert (receipt["recordings"], receipt["events"] >= 100) == (1, True)
    await until(lambda: count(410) > 2, what="senders to be told")
    is_over = True
    await asyncio.gather(*posting)
    end = await ending
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert (end.code, end.last["status"], end.last["code"]) == (1011, 410, "recording_erased")
    for answers in statuses:
        assert answers == [200] * answers.count(200) + [410] * answers.count(410)
    await eventually(all_gone, what="the recording to be gone")
    await without_a_trace(api.daemon)
    assert await late_lines(api.daemon, recording_id) >= 100


async def test_all_that_match_every_filter_are_erased(api: Api) -> None:
    recordings = {name: new_id() for name in ("one", "two", "three", "odd")}
    odd = 'm=1&x#[2] "ü"'
    for name, user, shop in (("one", "u1", "a"), ("two", "u1", "b"), ("three", "u2", "a"), ("odd", odd, "a")):
        await fill(api, recordings[name], userId=user, shop=shop)
    theirs = api.daemon.key("all", tenant="other")
    await api.post(recordings["one"], ndjson([meta_event(1, userId="u1"), *some_events(2)]), key=theirs)
    assert (await erase_where(api, userId="u1", shop="c")).json()["recordings"] == 0
    reply = await erase_where(api, userId="u1", shop="a")
    assert (reply.status, reply.json()["recordings"], reply.json()["events"]) == (200, 1, 5)
    assert (await erase_where(api, userId="u1")).json()["recordings"] == 1
    assert (await erase_where(api, userId=odd)).json()["recordings"] == 1
    listed = (await api.get("/recordings")).json()["recordings"]
    assert [entry["recordingId"] for entry in listed] == [recordings["three"]]
    assert len(await api.events(recordings["one"], key=theirs)) == 2


@pytest.mark.parametrize(
    ("query", "code", "parameter"),
    [
        ("", "no_filter", "meta"),
        ("?meta=u1", "bad_request", "meta"),
        ("?met[userId]=u1", "bad_request", "met[userId]"),
        ("?meta[userId]=u1&metal[shop]=a", "bad_request", "metal[shop]"),
        ("?meta[userId]=u1&limit=1", "bad_request", "limit"),
        ("?" + "&".join(f"meta[k{number}]=v" for number in range(100)), "too_many_filters", "meta"),
    ],
)
async def test_a_misspelt_filter_erases_nothing(api: Api, query: str, code: str, parameter: str) -> None:
    await fill(api, new_id(), userId="u1")
    reply = await api.request("DELETE", f"/recordings{quote(query, safe='?&=')}", key=api.daemon.key("erase"))
    assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, code, parameter)
    assert len((await api.get("/recordings")).json()["recordings"]) == 1


async def test_only_a_key_made_for_it_erases_and_it_does_nothing_else(api: Api) -> None:
    recording_id = new_id()
    await fill(api, recording_id, userId="u1")
    daemon = api.daemon
    row = daemon.signing_key()
    presigned = [
        sign(
            secret=row.secret, key_id=row.key_id, tenant="acme", method=method, scope_path=path,
            expires_s=2_000_000_000,
        )
        for method in ("GET", "POST")
        for path in (f"/recordings/{recording_id}", "/recordings")
    ]  # fmt: skip
    for path in (f"/recordings/{recording_id}", "/recordings?meta[userId]=u1"):
        for scope in SCOPES:
            reply = await api.request("DELETE", path, key=daemon.key(scope))
            assert (reply.status, reply.error["code"]) == (403, "forbidden")
        assert (await api.request("DELETE", path, key="")).status == 401
        assert (await api.request("DELETE", path, key="erase_key_rr_made_up")).status == 401
        for query in presigned:
            reply = await api.request("DELETE", f"{path}{'&' if '?' in path else '?'}{query}", key="")
            assert reply.status == 403
    key = daemon.key("erase")
    assert (await api.get(f"/recordings/{recording_id}", key=key)).status == 403
    assert (await api.post(recording_id, ndjson(some_events(1)), key=key)).status == 403
    stranger = daemon.key("erase", tenant="other")
    assert (await api.request("DELETE", f"/recordings/{recording_id}", key=stranger)).status == 404
    assert len(await api.events(recording_id)) == 5
    assert (await api.request("DELETE", f"/recordings/{recording_id}?token={key}", key="")).status == 200


async def test_what_is_no_recording_cannot_be_erased(api: Api) -> None:
    assert (await erase(api, new_id())).status == 404
    assert (await erase(api, "no-uuid")).error["code"] == "bad_recording_id"


async def test_a_preflight_allows_to_erase(api: Api) -> None:
    reply = await api.request("OPTIONS", f"/recordings/{new_id()}", key="")
    assert "DELETE" in reply.headers["Access-Control-Allow-Methods"]


async def test_while_the_bucket_is_away_an_erasure_is_accepted_and_told_to_be_pending(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text("[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n")
    bucket: dict[str, Any] = {
        "object_store": "s3",
        "s3_endpoint": "http://127.0.0.1:9",  # The port to throw things away: nobody answers there.
        "s3_bucket": "rrd",
        "s3_credentials_file": str(credentials),
        "s3_timeout_s": 1,
    }
    recording_id = new_id()
    async with running(tmp_path / "data") as daemon, visiting(daemon) as api:
        await fill(api, recording_id, mail=MARKER)
    async with running(tmp_path / "data", **bucket) as daemon, visiting(daemon) as api:
        reply = await erase(api, recording_id)
        assert reply.status == 202
        assert {**reply.json(), "bytes": 0} == {
            "recordings": 1, "events": 5, "bytes": 0, "objects": 0, "pending": 1,
        }  # fmt: skip
        await check_refused(api, recording_id)
        await without_a_trace(daemon)
        reply = await erase(api, recording_id)
        assert (reply.status, reply.json()["recordings"], reply.json()["pending"]) == (202, 0, 1)
        assert [stone.state for stone in daemon.parts.tombstones.pending()] == ["gone_here"]


async def test_near_the_disks_reserve_new_events_are_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    kept, goes = new_id(), new_id()
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        await fill(api, kept)
        await fill(api, goes)
    async with running(tmp_path, disk_reserve_bytes=1 << 60) as daemon, visiting(daemon) as api:
        for recording_id in (kept, new_id()):
            reply = await api.post(recording_id, ndjson(some_events(1)))
            assert (reply.status, reply.error["code"]) == (507, "disk_full")
            reply = await api.request(
                "POST", f"/recordings/{recording_id}/meta", body=b'{"a":1}', headers={"Content-Type": JSON}
            )
            assert (reply.status, reply.error["code"]) == (507, "disk_full")
            with pytest.raises(Refused) as refused:
                await api.socket(recording_id)
            assert refused.value.reply.status == 507
            assert refused.value.reply.json()["error"]["code"] == "disk_full"
        assert len(await api.events(kept)) == 5
        assert (await erase(api, goes)).status == 200
        assert (await api.get("/-/ready")).status == 200
