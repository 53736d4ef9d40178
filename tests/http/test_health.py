"""Coming and going: ready when recovered, and a stop that loses nothing and leaves nobody waiting."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from rrd.http.services import Bounds
from tests.harness import DaemonProcess, LocalDaemon, eventually, running, until
from tests.http.api import VISITOR, VISITOR_ADDRESS, VISITOR_AGENT, Api, visiting
from tests.http.raw_client import Connection, Socket
from tests.samples import meta_event, ndjson, new_id, some_events

# The daemon is a process of its own in these; one loop to talk to it is enough.
from_outside = pytest.mark.asyncio(loop_factories=["uvloop"])


async def ask(url: str, method: str, target: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    connection = await Connection.open(url)
    connection.send_head(method, target, headers or {})
    reply = await connection.reply()
    await connection.hang_up()
    return reply.status, reply.json()


# Ready


async def test_healthy_and_ready_need_no_key(api: Api) -> None:
    assert (await api.get("/-/healthy", key="")).json() == {"status": "healthy"}
    assert (await api.get("/-/ready", key="")).json() == {"status": "ready"}


async def test_supervisors_may_ask_without_wanting_the_body(api: Api) -> None:
    for path in ("/-/healthy", "/-/ready"):
        reply = await api.request("HEAD", path, key="")
        assert (reply.status, reply.body) == (200, b"")


async def test_requests_wait_until_recovery_is_done(tmp_path: Path) -> None:
    recording_id, sent = new_id(), some_events(3)
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        await api.post(recording_id, ndjson(sent))
    waiting: list[tuple[Connection, Any]] = []

    async def too_early(daemon: LocalDaemon) -> None:
        assert await ask(daemon.url, "GET", "/-/healthy") == (200, {"status": "healthy"})
        status, body = await ask(daemon.url, "GET", "/-/ready")
        assert (status, body["error"]["code"]) == (503, "not_ready")
        connection = await Connection.open(daemon.url)
        key = {"Authorization": f"Bearer {daemon.key()}"}
        connection.send_head("GET", f"/recordings/{recording_id}/events", key)
        waiting.append((connection, asyncio.create_task(connection.reply())))
        # Answered later on, by the same loop: the other request had its chance.
        assert (await ask(daemon.url, "GET", "/-/healthy"))[0] == 200
        assert not waiting[0][1].done()

    async with running(tmp_path, before_recovery=too_early) as daemon:
        connection, answer = waiting[0]
        reply = await answer
        assert reply.status == 200
        await connection.hang_up()
        assert (await ask(daemon.url, "GET", "/-/ready"))[0] == 200


async def test_not_ready_while_stopping(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        daemon.services.is_stopping = True
        status, body = await ask(daemon.url, "GET", "/-/ready")
        assert (status, body["error"]["code"]) == (503, "not_ready")
        assert (await ask(daemon.url, "GET", "/-/healthy"))[0] == 200


# Stop


async def open_socket(daemon: LocalDaemon | DaemonProcess, recording_id: str, key: str) -> Socket:
    url = f"{daemon.url}/recordings/{recording_id}/ingest/ws?token={key}"
    return await Socket.upgrade(url, headers=VISITOR)


async def is_read(socket: Socket) -> None:
    """Return when the server has read all that was sent: a pong comes after what came before its ping."""
    socket.frame(9, b"")
    assert await socket.reader.readexactly(2) == bytes([0x8A, 0])


async def test_a_stop_flushes_and_says_goodbye_to_sockets(tmp_path: Path) -> None:
    recording_id, sent = new_id(), some_events(20)
    # Nothing is flushed by itself before the stop.
    async with running(tmp_path, flush_age_ms=60_000) as daemon:
        key = daemon.key()
        socket, idle = await open_socket(daemon, recording_id, key), await open_socket(daemon, new_id(), key)
        await socket.send_text(*sent)
        await is_read(socket)
        goodbyes = asyncio.gather(socket.farewell(), idle.farewell())
    end, idle_end = await goodbyes
    assert (end.code, end.reason, end.last["final"]) == (1012, "server restarts", True)
    assert end.last["successful_rows"] == 20
    assert (idle_end.code, idle_end.last["final"]) == (1012, True)
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        assert await api.events(recording_id) == sent


async def test_a_body_that_never_ends_does_not_hold_up_a_stop(
    tmp_path: Path,
) -> None:
    recording_id, sent = new_id(), some_events(20)
    async with running(tmp_path, bounds=Bounds(stop_wait_s=0.05, cut_off_wait_s=0.05)) as daemon:
        connection = await Connection.open(daemon.url)
        fields = {"Authorization": f"Bearer {daemon.key()}", "Content-Length": "1000000"}
        connection.send_head("POST", f"/recordings/{recording_id}/ingest", fields)
        connection.writer.write(ndjson(sent) + b'{"type":3,"times')
        await connection.writer.drain()
        # A later request on another connection is answered: so the body's beginning was read.
        for _ in range(3):
            await ask(daemon.url, "GET", "/-/healthy")
    await connection.hang_up()
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        assert await api.events(recording_id) == sent


@from_outside
async def test_sigterm_flushes_closes_and_exits_with_0(tmp_path: Path) -> None:
    recording_id, sent = new_id(), some_events(10)
    with DaemonProcess(tmp_path, flush_age_ms=60_000) as process:
        key = process.key()
        await authorised(process, key)
        sockets = [await open_socket(process, recording_id, key) for _ in range(3)]
        for socket, part in zip(sockets, (sent[:4], sent[4:8], sent[8:]), strict=True):
            await socket.send_text(*part)
            await is_read(socket)
        stopping = asyncio.create_task(asyncio.to_thread(process.stop))
        ends = await asyncio.gather(*(socket.farewell() for socket in sockets))
        assert await stopping == 0
        assert [end.code for end in ends] == [1012] * 3
        assert sum(end.last["successful_rows"] for end in ends) == 10
        log = process.log()
        process.start()
        headers = {"Authorization": f"Bearer {key}"}
        status, events = await ask(process.url, "GET", f"/recordings/{recording_id}/events", headers)
        assert (status, len(events)) == (200, 10)
        assert await asyncio.to_thread(process.stop) == 0
    assert_no_secrets(process, log + process.log())


async def authorised(process: DaemonProcess, key: str) -> None:
    """Wait until the daemon has heard of a key."""

    async def look() -> bool:
        return (await ask(process.url, "GET", "/statistics", {"Authorization": f"Bearer {key}"}))[0] == 200

    await eventually(look, what="the key to count")


def assert_no_secrets(process: DaemonProcess, log: str) -> None:
    assert [word for word in re.findall(r"info (\w+)", log) if word in {"listening", "stopped"}]
    for secret in (*process.secrets, VISITOR_ADDRESS, VISITOR_AGENT, "Traceback"):
        assert secret not in log


@from_outside
async def test_a_body_under_way_when_the_stop_comes_is_finished(tmp_path: Path) -> None:
    recording_id, sent = new_id(), some_events(100)
    body = ndjson([meta_event(1, page="x"), *sent])
    with DaemonProcess(tmp_path) as process:
        key = process.key()
        await authorised(process, key)
        connection = await Connection.open(process.url)
        fields = {"Authorization": f"Bearer {key}", "Content-Length": str(len(body)), **VISITOR}
        # The connection is an old one: it has had an answer.
        connection.send_head("GET", "/statistics", fields | {"Content-Length": "0"})
        assert (await connection.reply()).status == 200
        connection.send_head(
            "POST", f"/recordings/{recording_id}/ingest", fields | {"Expect": "100-continue"}
        )
        # So the body is being waited for.
        assert (await connection.reply()).status == 100
        connection.writer.write(body[:2000])
        stopping = asyncio.create_task(asyncio.to_thread(process.stop))
        await until(lambda: " stopping" in process.log(), what="the stop to begin")
        connection.writer.write(body[2000:])
        reply = await connection.reply()
        assert (reply.status, reply.json()["successful_rows"]) == (200, 101)
        await connection.hang_up()
        assert await stopping == 0
        process.start()
        headers = {"Authorization": f"Bearer {key}"}
        status, events = await ask(process.url, "GET", f"/recordings/{recording_id}/events", headers)
        assert (status, len(events)) == (200, 100)
        assert_no_secrets(process, process.log())


@from_outside
async def test_nobody_gets_in_while_the_daemon_stops(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as process:
        idle = await Connection.open(process.url)
        idle.send_head("GET", "/-/healthy", {})
        assert (await idle.reply()).status == 200
        # A connection that is kept but idle holds nothing up.
        assert await asyncio.to_thread(process.stop) == 0
        assert await idle.reader.read() == b""
        await idle.hang_up()
        with pytest.raises(ConnectionRefusedError):
            await Connection.open(process.url)
