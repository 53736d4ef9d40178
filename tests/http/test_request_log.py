"""The line that each request leaves at debug: what it says, and what it never says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness import DaemonProcess, LocalDaemon, until
from tests.http.api import VISITOR_ADDRESS, Api
from tests.http.raw_client import Connection, Socket
from tests.samples import ndjson, new_id, some_events


async def told(logged: list[str], beginning: str) -> str:
    """Return the one line of a request that begins so. It is written when the answer has gone out already."""
    return await until(
        lambda: next((line for line in logged if line.startswith(f"request {beginning}")), None),
        what=f"the line of {beginning}",
    )


async def test_a_request_is_told_by_route_status_size_tenant_and_key(api: Api, logged: list[str]) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    line = await told(logged, "method=POST path=/recordings/{recording}/ingest status=200")
    found = re.fullmatch(r"request .* status=200 bytes=(\d+) took_ms=([\d.]+) tenant=acme key=(\S+)", line)
    assert found is not None, line
    assert int(found[1]) > 0
    assert recording_id not in line
    await api.get("/replays/email/someone@example.com")
    line = await told(logged, "method=GET path=/replays/{property}/{value}")
    assert "example.com" not in line
    await api.get(f"/recordings/{recording_id}", key="")
    assert " tenant=" not in await told(logged, "method=GET path=/recordings/{recording} status=401")
    await api.get("/private-page?name=visitor")
    assert "private" not in await told(logged, "method=GET path=- status=404")


async def test_what_is_no_http_is_told_without_a_path(daemon: LocalDaemon, logged: list[str]) -> None:
    connection = await Connection.open(daemon.url)
    connection.writer.write(b"\x00private\r\n\r\n")
    assert (await connection.reply()).status == 400
    await connection.hang_up()
    assert "private" not in await told(logged, "method=UNKNOWN path=- status=400")


@pytest.mark.parametrize("end", ["ingest/ws", "events/ws"])
async def test_a_socket_is_told_when_it_ends(
    daemon: LocalDaemon, api: Api, logged: list[str], end: str
) -> None:
    url = f"{daemon.url}/recordings/{new_id()}/{end}?token={daemon.key()}"
    socket = await Socket.upgrade(url, headers={"X-Forwarded-For": VISITOR_ADDRESS})
    await socket.send_text(*some_events(2))
    socket.frame(8, b"\x03\xe8")
    await socket.farewell()
    line = await told(logged, f"method=GET path=/recordings/{{recording}}/{end} status=101")
    assert " tenant=acme key=" in line


@pytest.mark.asyncio(loop_factories=["uvloop"])
@pytest.mark.parametrize("level", ["debug", "info"])
async def test_only_at_debug(tmp_path: Path, level: str) -> None:
    with DaemonProcess(tmp_path, log_level=level) as daemon:
        connection = await Connection.open(daemon.url)
        for target in ("/-/healthy", "/-/ready"):
            connection.send_head("GET", target, {})
            assert (await connection.reply()).status == 200
        await connection.hang_up()
        if level == "debug":
            daemon.wait_for_log("path=/-/ready")
        assert daemon.stop() == 0
        assert daemon.log().count(" request method=GET ") == (2 if level == "debug" else 0)
