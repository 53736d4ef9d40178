"""What nobody sends by accident: each of these once hurt more than its sender."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from rrd.recordings.source import BAD_LINES_MAX
from tests.harness import LocalDaemon, eventually, running
from tests.http.api import Api, visiting
from tests.http.raw_client import Connection
from tests.samples import an_event, meta_event, ndjson, new_id, some_events


async def _raw_post(daemon: LocalDaemon, path: str, key: str, headers: bytes, body: bytes) -> int:
    connection = await Connection.open(daemon.url)
    connection.writer.write(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n".encode()
        + headers
        + f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    reply = await connection.reply(method="POST")
    await connection.drop()
    return reply.status


async def test_headers_that_are_no_utf8_are_stored_without_harm(api: Api) -> None:
    recording_id = new_id()
    status = await _raw_post(
        api.daemon,
        f"/recordings/{recording_id}/ingest",
        api.key,
        b"Origin: http://\xff\xfe\r\nUser-Agent: \xff\xfe\r\n",
        ndjson([meta_event(1, includePii=True), an_event(2)]),
    )
    assert status == 200
    assert await api.events(recording_id) == [an_event(2)]
    metadata = await api.metadata(recording_id)
    assert metadata["ingestOrigin"].startswith("http://")
    assert "userAgent" in metadata


async def test_metadata_from_headers_keeps_the_limits_of_metadata(api: Api) -> None:
    recording_id = new_id()
    long = "http://" + "a" * 7000
    await api.post(recording_id, an_event(1), headers={"Origin": long})
    assert len((await api.metadata(recording_id))["ingestOrigin"]) == 4096


async def test_a_body_of_junk_lines_is_given_up(api: Api) -> None:
    recording_id = new_id()
    body = an_event(1) + b"\n" + b"a\n" * 2_000_000
    reply = await api.post(recording_id, gzip.compress(body), encoding="gzip")
    assert reply.status == 400
    assert reply.error["code"] == "too_many_bad_lines"
    assert reply.error["successful_rows"] == 1
    # One batch may be over the limit, the next one is never read.
    assert BAD_LINES_MAX < reply.error["quarantined_rows"] < 200_000
    assert await api.events(recording_id) == [an_event(1)]


async def test_a_socket_of_junk_is_told_and_closed(api: Api) -> None:
    socket = await api.socket(new_id())
    await socket.send_text(*[b"junk"] * (BAD_LINES_MAX + 1))
    goodbye = await socket.farewell()
    assert goodbye.code == 1011
    assert goodbye.last["code"] == "too_many_bad_lines"


async def test_slow_senders_of_large_events_keep_nobody_else_out(api: Api) -> None:
    connections = []
    for _ in range(20):
        connection = await Connection.open(api.daemon.url)
        connection.writer.write(
            f"POST /recordings/{new_id()}/ingest HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.key}\r\n"
            "Content-Length: 9000000\r\n\r\n".encode()
            + b'{"type":3,"timestamp":1,"data":"'
            + b"x" * 1_200_000
        )
        connections.append(connection)

    async def all_hold() -> bool:
        return api.daemon.services.unfinished.held_bytes >= 20 * 1_200_000

    await eventually(all_hold, what="all slow senders to hold their unfinished event")
    recording_id = new_id()
    large = an_event(1, text="y" * 2_000_000)
    assert (await api.post(recording_id, large)).status == 200
    for connection in connections:
        await connection.drop()

    async def all_given_back() -> bool:
        return api.daemon.services.unfinished.held_bytes == 0

    await eventually(all_given_back, what="the memory of those who left to be given back")


async def test_unfinished_events_on_sockets_count_too(api: Api) -> None:
    socket = await api.socket(new_id(), contentEncoding="gzip")
    await socket.send_binary(gzip.compress(b'{"type":3,"timestamp":1,"data":"' + b"x" * 5_000_000)[:-9])

    async def holds() -> bool:
        return api.daemon.services.unfinished.held_bytes >= 4_000_000

    await eventually(holds, what="the socket to hold its unfinished event")
    await socket.drop()

    async def given_back() -> bool:
        return api.daemon.services.unfinished.held_bytes == 0

    await eventually(given_back, what="the socket's memory to be given back")


async def test_a_client_that_does_not_read_its_echo_costs_no_memory(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        recording_id = new_id()
        socket = await api.socket(recording_id, debug="true")
        lines = some_events(400, text="x" * 100_000)
        for line in lines:
            await socket.send_text(line)
        assert len(await api.stored(recording_id, len(lines))) == len(lines)
        (ingest,) = daemon.services.sockets._open
        assert len(ingest._replies._tasks) <= 18  # type: ignore[attr-defined]  # what waits to be sent
        await socket.drop()


async def test_a_presigned_list_gives_no_longer_access_than_it_has(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, an_event(1))
    key = api.daemon.signing_key()
    from rrd.access.signing import sign

    expires_s = api.daemon.services.clock.now_ms() // 1000 + 30
    query = sign(
        secret=key.secret, key_id=key.key_id, tenant="acme", method="GET", scope_path="/recordings",
        expires_s=expires_s,
    )  # fmt: skip
    reply = await api.get(f"/recordings?{query}&includeSignedUrls=true", key="")
    (listed,) = reply.json()["recordings"]
    assert f"expires={expires_s}&" in listed["links"]["eventsSigned"]


@pytest.mark.parametrize(
    "recording_id", ["{recordingId}", "%7BrecordingId%7D", "%7B0b1c7a52-3d44-4c8e-9a51-6d1f5a1f9e11%7D"]
)
async def test_an_id_that_was_never_filled_in_is_a_bad_id(api: Api, recording_id: str) -> None:
    reply = await api.get(f"/recordings/{recording_id}/events")
    assert reply.status == 400
    assert reply.error["code"] == "bad_recording_id"
