"""What the tests of the API share: events, encodings, and a client that checks what every reply owes."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import brotli
import zstandard
from isal import isal_zlib
from yarl import URL

from tests.harness import LocalDaemon, eventually
from tests.http.raw_client import Socket

VISITOR_ADDRESS = "203.0.113.77"
VISITOR_AGENT = "Visitor-Agent/7.7"
VISITOR = {"X-Forwarded-For": VISITOR_ADDRESS, "User-Agent": VISITOR_AGENT}
NDJSON = "application/x-ndjson"
JSON = "application/json"

_TAIL = re.compile(rb',"sequenceId":(\d+),"recordingId":"([^"]+)"\}')


COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": lambda data: isal_zlib.compress(data, 1, 31),
    "br": lambda data: brotli.compress(data, quality=1),
    "zstd": lambda data: zstandard.ZstdCompressor(level=1).compress(data),
}


def one_stream(encoding: str, messages: list[bytes]) -> list[bytes]:
    """Compress messages as slices of one stream, each flushed, so that it can be decoded when it comes."""
    if encoding == "br":
        brotlier = brotli.Compressor(quality=1)
        slices = [brotlier.process(message) + brotlier.flush() for message in messages]
        return [*slices[:-1], slices[-1] + brotlier.finish()]
    if encoding == "zstd":
        zstd = zstandard.ZstdCompressor(level=1).compressobj()
        slices = [
            zstd.compress(message) + zstd.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for message in messages
        ]
        return [*slices[:-1], slices[-1] + zstd.flush()]
    gzip = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
    slices = [gzip.compress(message) + gzip.flush(isal_zlib.Z_SYNC_FLUSH) for message in messages]
    return [*slices[:-1], slices[-1] + gzip.flush()]


def decompress(encoding: str, data: bytes) -> bytes:
    if encoding == "gzip":
        plain: bytes = isal_zlib.decompress(data, 31)
    elif encoding == "br":
        plain = brotli.decompress(data)
    elif encoding == "zstd":
        plain = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    else:
        plain = data
    return plain


def check_cors(headers: Mapping[str, str], origin: str | None) -> None:
    """Check that a page of ``origin`` may read a reply, with credentials too."""
    if origin is not None and origin.isascii() and len(origin) <= 4096:
        assert headers["Access-Control-Allow-Origin"] == origin
        assert headers["Access-Control-Allow-Credentials"] == "true"
    else:
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in headers
    assert "*" not in headers["Access-Control-Expose-Headers"]  # It means nothing with credentials.
    check_owed(headers)


def check_owed(headers: Mapping[str, str]) -> None:
    """Check that no cache keeps a reply without asking, and that no browser guesses what it is."""
    varied = {name.strip() for name in headers["Vary"].split(",")}
    assert varied >= {"Origin", "Authorization"}
    assert headers["X-Content-Type-Options"] == "nosniff"
    if "ETag" in headers:  # May be kept by the reader alone, and asked for each time.
        assert headers["Cache-Control"] == "private, no-cache"
        assert varied >= {"Accept", "Accept-Encoding"}
    else:
        assert headers["Cache-Control"] == "no-store"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error that the reply tells, in the one shape that errors have."""
        body = json.loads(self.body)
        assert set(body) == {"error"}, body
        error: dict[str, Any] = body["error"]
        assert error["code"]
        assert error["message"]
        assert "Traceback" not in error["message"]
        return error


class Api:
    """A visitor's browser and a player, both at once. ``key`` may do everything in tenant ``acme``."""

    def __init__(self, daemon: LocalDaemon, session: aiohttp.ClientSession) -> None:
        self.daemon = daemon
        self.session = session
        self.key = daemon.key("all")
        self.sockets: list[Socket] = []

    async def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask with the key given, or the one of all rights; an empty ``key`` sends none. Checks CORS."""
        sent = dict(headers or {})
        if key != "":
            sent.setdefault("Authorization", f"Bearer {key or self.key}")
        url = URL(self.daemon.url + target, encoded=True)
        data = io.BytesIO(body) if body is not None else None
        async with self.session.request(method, url, data=data, headers=sent) as answer:
            reply = Reply(answer.status, answer.headers, await answer.read())
        check_cors(reply.headers, sent.get("Origin"))
        if reply.status >= 400 and method != "HEAD":
            assert reply.headers["Content-Type"].startswith(JSON)
            assert reply.error
        return reply

    async def get(self, target: str, **more: Any) -> Reply:
        return await self.request("GET", target, **more)

    async def post(
        self,
        recording_id: str,
        body: bytes,
        *,
        kind: str = NDJSON,
        encoding: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Reply:
        """POST a body to a recording's ``/ingest``."""
        sent = {"Content-Type": kind, **(headers or {})}
        if encoding is not None:
            sent["Content-Encoding"] = encoding
        return await self.request(
            "POST", f"/recordings/{recording_id}/ingest", body=body, headers=sent, **more
        )

    async def socket(
        self,
        recording_id: str | None,
        *,
        path: str = "",
        key: str | None = None,
        deflate: bool = False,
        headers: Mapping[str, str] | None = None,
        **query: str,
    ) -> Socket:
        """Open a socket to a recording's ``/ingest/ws``, or to ``path``. Raises ``Refused``."""
        path = path or f"/recordings/{recording_id}/ingest/ws"
        if key != "":
            query["token"] = key or self.key
        socket = await Socket.upgrade(
            f"{self.daemon.url}{path}?{urlencode(query)}",
            headers={**VISITOR, **(headers or {})},
            deflate=deflate,
        )
        self.sockets.append(socket)
        return socket

    async def numbered(self, recording_id: str, **more: Any) -> list[tuple[int, bytes]]:
        """Read a recording: each event's number, and its bytes less exactly what the server adds."""
        reply = await self.get(f"/recordings/{recording_id}/events", **more)
        assert reply.status == 200, reply.body
        assert reply.body.startswith(b"[")
        assert reply.body.endswith(b"]")
        events = []
        for line in reply.body[1:-1].split(b",\n") if reply.body != b"[]" else ():
            tail = _TAIL.search(line, max(0, len(line) - 100))
            assert tail is not None
            assert tail.end() == len(line)
            assert tail[2].decode() == recording_id
            events.append((int(tail[1]), line[: tail.start()] + b"}"))
        return events

    async def events(self, recording_id: str, **more: Any) -> list[bytes]:
        """Read a recording: its events as they were sent, in a replayer's order."""
        return [line for _, line in await self.numbered(recording_id, **more)]

    async def stored(self, recording_id: str, count: int) -> list[bytes]:
        """Wait until so many events can be read, and return them."""

        async def look() -> bool:
            reply = await self.get(f"/recordings/{recording_id}/events")
            return reply.status == 200 and reply.body.count(b'"sequenceId"') >= count

        await eventually(look, what=f"{count} events to be stored")
        return await self.events(recording_id)

    async def metadata(self, recording_id: str) -> dict[str, str]:
        reply = await self.get(f"/recordings/{recording_id}?shape=object")
        assert reply.status == 200, reply.body
        values: dict[str, str] = reply.json()["metadata"]
        return values


@contextlib.asynccontextmanager
async def visiting(daemon: LocalDaemon) -> AsyncIterator[Api]:
    """An ``Api`` for a daemon, for as long as the block lasts."""
    async with aiohttp.ClientSession(
        headers=VISITOR,
        auto_decompress=False,
        skip_auto_headers=["Accept-Encoding", "Content-Type"],
        timeout=aiohttp.ClientTimeout(total=30),
    ) as session:
        api = Api(daemon, session)
        yield api
        for socket in api.sockets:
            socket.writer.transport.abort()
