"""A start that takes long: who may come in is decided at once, and no request waits without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from rrd.http import caller
from tests.harness import DEADLINE_S, LocalDaemon, running
from tests.http.api import check_cors, ndjson, new_id, some_events, visiting
from tests.http.test_http_access import ENDPOINTS, Endpoint

ORIGIN = "https://shop.example"


@pytest.fixture(params=sorted(ENDPOINTS))
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    return ENDPOINTS[request.param]


async def ask(daemon: LocalDaemon, endpoint: Endpoint, key: str) -> tuple[int, aiohttp.ClientResponse]:
    headers = {"Origin": ORIGIN, "Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    method = endpoint.method
    if method == "WS":
        method = "GET"
        headers |= {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
    async with (
        asyncio.timeout(DEADLINE_S),
        aiohttp.ClientSession() as session,
        session.request(method, daemon.url + endpoint.path, data=endpoint.body, headers=headers) as reply,
    ):
        check_cors(reply.headers, ORIGIN)
        assert (await reply.json())["error"]["message"]
        return reply.status, reply


async def test_while_starting_a_key_decides_first_and_then_the_wait_has_an_end(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller, "READY_WAIT_S", 0.05)

    async def starting(daemon: LocalDaemon) -> None:
        status, _ = await ask(daemon, endpoint, "secret_key_rr_wrong")
        assert status == 401
        status, reply = await ask(daemon, endpoint, daemon.key())
        assert status == 503
        assert int(reply.headers["Retry-After"]) > 0

    async with running(tmp_path, before_recovery=starting):
        pass


@pytest.fixture(params=["refuses", "errs"])
async def bucket(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The endpoint of a bucket that never answers as it should."""

    async def errs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline() not in {b"\r\n", b""}:
            pass
        writer.write(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(errs, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    if request.param == "refuses":
        server.close()
    yield endpoint
    server.close()


async def test_a_first_start_takes_events_whatever_the_bucket_says(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setattr("rrd.assembly.STORE_WAIT_S", 0.2)
    recording, sent = new_id(), some_events(3)
    async with (
        asyncio.timeout(DEADLINE_S),
        running(
            tmp_path / "data",
            object_store="s3",
            s3_endpoint=bucket,
            s3_bucket="recordings",
            s3_credentials_file=str(credentials),
            s3_timeout_s=1,
        ) as daemon,
        visiting(daemon) as api,
    ):
        assert (await api.post(recording, ndjson(sent))).status == 200
        assert await api.events(recording) == sent
        assert (await api.get("/-/ready", key="")).status == 200
