"""What each reply owes to caches and browsers: routes × outcomes, and what is answered below them.

``Api.request`` checks it for whatever any test asks; here are the outcomes that others don't show.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from multidict import CIMultiDict

from tests.harness import running
from tests.http.api import Api, check_cors, visiting
from tests.http.raw_client import Connection
from tests.samples import ndjson, new_id, some_events

ORIGIN = "https://shop.example"
PATHS = ("", "/events", "/events?form=stored", "/ingest", "/ingest/ws", "/meta", "/nowhere")


@pytest.mark.table
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE"])
@pytest.mark.parametrize("has_key", [True, False])
async def test_a_recordings_routes(api: Api, method: str, path: str, has_key: bool) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    headers = {"Origin": ORIGIN, "Accept-Encoding": "zstd"}
    key = None if has_key else ""
    reply = await api.request(method, f"/recordings/{recording_id}{path}", key=key, headers=headers)
    if tag := reply.headers.get("ETag"):
        headers["If-None-Match"] = tag
        again = await api.request(method, f"/recordings/{recording_id}{path}", key=key, headers=headers)
        assert (again.status, again.headers["ETag"]) == (304, tag)


NOT_POSTED = {"/recordings", "/statistics", "/-/healthy", "/-/ready"}


@pytest.mark.parametrize("path", ["/", "/recordings", "/statistics", "/-/healthy", "/-/ready", "/ws"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
async def test_other_routes(api: Api, method: str, path: str) -> None:
    reply = await api.request(method, path, headers={"Origin": ORIGIN})
    assert reply.headers["Server"] == "rrd"
    if method == "OPTIONS":
        assert reply.status == 204
    elif path in ({"/", "/recordings"} if method == "POST" else NOT_POSTED):
        assert reply.status == 200
    else:
        assert 400 <= reply.status < 500


@pytest.mark.parametrize(
    "head",
    [
        b"GET /recordings\r\n\r\n",
        b"GET /recordings HTTP/3.0\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: https://shop.example\r\nbad header: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["no version", "HTTP/3", "nonsense", "CONNECT", "bad header", "large head", "Expect"],
)
async def test_below_the_routes(api: Api, head: bytes) -> None:
    connection = await Connection.open(api.daemon.url)
    connection.writer.write(head)
    reply = await connection.reply()
    assert reply.status >= 400
    await connection.hang_up()
    check_cors(CIMultiDict(reply.headers), ORIGIN if ORIGIN.encode() in head else None)


async def test_a_connection_too_many(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        daemon.services.connections_max = 0
        connection = await Connection.open(api.daemon.url)
        connection.send_head("GET", "/recordings", {})
        reply = await connection.reply()
        assert reply.status == 503
        await connection.hang_up()
        check_cors(CIMultiDict(reply.headers), None)
