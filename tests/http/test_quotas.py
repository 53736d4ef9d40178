"""Quotas and shares as senders meet them: refused whole, in JSON, and what is there goes on."""

from __future__ import annotations

import asyncio
import socket as sockets
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict

from tests.harness import DaemonProcess, Launch, running, until
from tests.http.api import Api, check_cors, visiting
from tests.http.raw_client import Connection, RawReply, Refused, Socket
from tests.samples import ndjson, new_id, some_events

_EVENTS = some_events(3)


async def _new(api: Api, way: str, recording_id: str, **more: Any) -> tuple[int, str, str | None]:
    """Begin a recording, or go on with one; return the status, the code and when to try again."""
    if way == "socket":
        try:
            socket = await api.socket(recording_id, **more)
        except Refused as refused:
            reply = refused.reply
            check_cors(CIMultiDict(reply.headers), None)
            code = reply.json()["error"]["code"]
            return reply.status, code, reply.headers.get("retry-after")
        await socket.send_text(*_EVENTS)
        assert (await socket.finish()).last["ok"]
        return 200, "", None
    if way == "meta":
        answer = await api.request("POST", f"/recordings/{recording_id}/meta", body=b'{"a":"b"}', **more)
    else:
        answer = await api.post(recording_id, ndjson(_EVENTS), **more)
    code = "" if answer.status == 200 else answer.error["code"]
    return answer.status, code, answer.headers.get("Retry-After")


@pytest.mark.parametrize("scope", ["key", "tenant", "address"])
@pytest.mark.parametrize("way", ["body", "socket", "meta"])
async def test_a_new_recording_beyond_the_quota_is_refused_whole_and_others_go_on(
    tmp_path: Path, way: str, scope: str, logged: list[str]
) -> None:
    settings: dict[str, Any] = {f"recordings_per_min_{scope}_max": 2}
    async with running(tmp_path, **settings) as daemon, visiting(daemon) as api:
        known, refused = [new_id(), new_id()], new_id()
        for recording_id in known:
            assert (await _new(api, way, recording_id))[0] == 200
        status, code, retry_after = await _new(api, way, refused)
        assert (status, code) == (429, f"over_recordings_per_min_{scope}_max")
        assert retry_after is not None
        assert 1 <= int(retry_after) <= 31
        assert (await api.get(f"/recordings/{refused}")).status == 404
        # What is there goes on, by any way.
        for go_on in ("body", "socket", "meta"):
            assert (await _new(api, go_on, known[0]))[0] == 200
        # Others have quotas of their own.
        other: dict[str, Any] = {"key": daemon.key("all", tenant="other")}
        other["headers"] = {"X-Forwarded-For": "198.51.100.9"}
        assert (await _new(api, way, new_id(), **other))[0] == 200
    assert "203.0.113.77" not in "\n".join(logged)


async def test_addresses_of_one_site_share_its_quota(tmp_path: Path) -> None:
    async with running(tmp_path, recordings_per_min_address_max=2) as daemon, visiting(daemon) as api:
        seen = [
            (await _new(api, "body", new_id(), headers={"X-Forwarded-For": address}))[0]
            for address in ("2001:db8::1", "2001:db8::2", "[2001:db8::3]:443", "2001:db8:0:1::1")
        ]
        assert seen == [200, 200, 429, 200]


async def test_a_proxy_that_says_no_address_is_no_visitor(tmp_path: Path) -> None:
    async with running(tmp_path, recordings_per_min_address_max=1) as daemon, visiting(daemon) as api:
        for address in ("127.0.0.1", "unknown", "127.0.0.1", "unknown"):
            assert (await _new(api, "body", new_id(), headers={"X-Forwarded-For": address}))[0] == 200


async def _open_all(api: Api, opened: list[Socket]) -> RawReply:
    """Open sockets until one is refused; return how."""
    try:
        while len(opened) < 50:
            opened.append(await api.socket(new_id()))  # Those opened are wanted in any case.
    except Refused as refused:
        return refused.reply
    raise AssertionError("none was refused")


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"sockets_key_max": 2}, (429, "over_sockets_key_max")),
        ({"sockets_tenant_max": 2}, (429, "over_sockets_tenant_max")),
        ({"sockets_address_max": 2}, (429, "over_sockets_address_max")),
        ({"sockets_max": 40}, (503, "too_many_sockets")),
    ],
)
async def test_one_that_opens_all_sockets_it_can_leaves_some_to_others(
    tmp_path: Path, settings: dict[str, Any], code: tuple[int, str]
) -> None:
    async with running(tmp_path, **settings) as daemon, visiting(daemon) as api:
        opened: list[Socket] = []
        reply = await _open_all(api, opened)
        assert (reply.status, reply.json()["error"]["code"]) == code
        assert int(reply.headers["retry-after"]) >= 1
        other = daemon.key("all", tenant="other")
        assert (await _new(api, "socket", new_id(), key=other, headers={"X-Forwarded-For": "198.51.100.9"}))[
            0
        ] == 200
        await opened.pop().finish()
        await until(lambda: len(daemon.services.sockets) == len(opened), what="the sockets to end")
        opened.append(await api.socket(new_id()))


async def test_a_flood_is_slowed_and_loses_nothing(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"events_per_s_key_max": 200, "flush_bytes": 4096}
    async with running(tmp_path, **settings) as daemon, visiting(daemon) as api:
        events = some_events(4000)
        recording_id, posted = new_id(), new_id()
        socket = await api.socket(recording_id)
        await socket.send_text(*events)
        told = await socket.finish()
        assert told.last["successful_rows"] == len(events)
        assert (await api.post(posted, ndjson(events))).json()["successful_rows"] == len(events)


async def test_what_was_spent_of_a_day_counts_after_a_restart(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"bytes_per_day_tenant_max": 1000}
    async with running(tmp_path, **settings) as daemon, visiting(daemon) as api:
        assert (await _new(api, "body", new_id()))[0] == 200
        assert (await api.post(new_id(), ndjson(some_events(30)))).status == 200
        assert (await _new(api, "body", new_id()))[1] == "over_bytes_per_day_tenant_max"
    async with running(tmp_path, **settings) as daemon, visiting(daemon) as api:
        assert (await _new(api, "body", new_id()))[1] == "over_bytes_per_day_tenant_max"


async def test_places_of_requests_and_sockets_are_given_back(tmp_path: Path) -> None:
    async with running(tmp_path, requests_key_max=1, sockets_key_max=1) as daemon, visiting(daemon) as api:
        for _ in range(5):
            recording_id = new_id()
            for way in ("body", "socket", "meta"):
                assert (await _new(api, way, recording_id))[0] == 200
                await until(lambda: not len(daemon.services.sockets), what="the socket to end")
            assert (await api.get("/recordings?limit=wrong")).status == 400
            assert (await api.get(f"/recordings/{recording_id}/events")).status == 200


async def test_one_address_never_has_all_connections(tmp_path: Path) -> None:
    """That of a peer which is no trusted proxy, before it has shown any key."""
    rrd = DaemonProcess(tmp_path, Launch(handles_max=256), trusted_proxies="127.0.0.1/32")
    headers = {"Authorization": f"Bearer {rrd.key()}"}
    opened: list[Connection] = []
    with rrd:
        for _ in range(200):
            plain = sockets.socket()
            plain.bind(("127.0.0.9", 0))
            plain.setblocking(False)
            await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", rrd.port))
            opened.append(Connection(*await asyncio.open_connection(sock=plain)))
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.get(f"{rrd.url}/recordings") as answer:
                assert answer.status == 200
            for connection in opened:
                connection.writer.transport.abort()
