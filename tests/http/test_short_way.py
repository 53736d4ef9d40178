"""Sockets are answered without aiohttp's router and middlewares, and as with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rrd.http.app import _SOCKET_PATH
from tests.harness import LocalDaemon, running
from tests.samples import new_id

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = {
    "Host": "rrd.example",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    "Origin": "https://shop.example",
}
LACKING = [name for name in HANDSHAKE if name != "Host"]
CHANGED = {
    "another upgrade": {"Upgrade": "h2c"},
    "another version": {"Sec-WebSocket-Version": "12"},
    "no key": {"Sec-WebSocket-Key": "short"},
    "another connection": {"Connection": "close"},
    "an offer": {"Sec-WebSocket-Extensions": "permessage-deflate"},
    "an origin that is none": {"Origin": "a\xe9b"},
    "an expectation": {"Expect": "100-continue"},
    "another expectation": {"Expect": "rain"},
}


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[LocalDaemon]:
    async with running(tmp_path) as local:
        yield local


def paths(recording_id: str, rest: str) -> list[str]:
    """Return a path that goes the short way, and what means the same and doesn't."""
    return [
        f"/recordings/{recording_id}{rest}",
        f"/recordings/%{ord(recording_id[0]):02x}{recording_id[1:]}{rest}",
    ]


async def _head_and_body(
    daemon: LocalDaemon, target: str, headers: dict[str, str]
) -> tuple[list[str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    size = next((int(line.split(":")[1]) for line in head if line.lower().startswith("content-length")), 0)
    body = await reader.readexactly(size)
    writer.close()
    # The path may be quoted in the body.
    known = sorted(line for line in head if line and not line.startswith(("Date:", "Content-Length:")))
    assert any(line.startswith("Date: ") for line in head) or head[0].endswith("100 Continue")
    return known, body


@pytest.mark.parametrize("end", ["ingest/ws", "events/ws"])
@pytest.mark.parametrize("case", ["as it is", "not a key", "no right", *LACKING, *CHANGED])
async def test_both_ways_answer_the_same(daemon: LocalDaemon, case: str, end: str) -> None:
    headers = {name: value for name, value in HANDSHAKE.items() if name != case} | CHANGED.get(case, {})
    token = {"not a key": "x", "no right": daemon.key("read")}.get(case) or daemon.key("ingest")
    recording_id = new_id()
    assert [bool(_SOCKET_PATH.fullmatch(path)) for path in paths(recording_id, f"/{end}")] == [True, False]
    short, long = [
        await _head_and_body(daemon, f"{path}?token={token}&ack=true", headers)
        for path in paths(recording_id, f"/{end}")
    ]
    assert short[0] == long[0]
    assert short[1] == long[1].replace(f"%{ord(recording_id[0]):02x}".encode(), recording_id[:1].encode())


async def test_what_the_short_way_refuses_is_counted(daemon: LocalDaemon) -> None:
    for path in paths("xxx", "/ingest/ws"):
        head, body = await _head_and_body(daemon, f"{path}?token={daemon.key()}", HANDSHAKE)
        assert "HTTP/1.1 400 Bad Request" in head
        assert b"bad_recording_id" in body
    counts = [
        row.count for row in daemon.services.refusals.account().totals if row.code == "bad_recording_id"
    ]
    assert counts == [2]
