"""Reading: a recording's events and metadata, the list of recordings, statistics."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

import brotli
import zstandard
from aiohttp import hdrs, web
from isal import isal_zlib

from rrd.access.gate import Grant
from rrd.access.signing import RECORDINGS_PATH, STATISTICS_PATH, recording_path, sign
from rrd.errors import BadRequest, CorruptSegment, NotFound, RrdError
from rrd.http.caller import authorize, forwarded_scheme, recording_of
from rrd.http.negotiate import best_of
from rrd.http.problems import json_response
from rrd.http.services import SERVICES, Services
from rrd.index.rows import ListedRecording, RecordingRow
from rrd.log import event
from rrd.playback.splice import JSON_ARRAY, NDJSON, Form
from rrd.playback.stream import stream
from rrd.playback.table import Snapshot, Table, plan

logger = logging.getLogger(__name__)

LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX = 50, 100
_OFFSET_MAX = 2**31
_SIGNED_URL_LIFETIME_S = 3600
_FORMS = {"application/json": JSON_ARRAY, "application/x-ndjson": NDJSON, "application/ndjson": NDJSON}
_FILTER = re.compile(r"meta\[(.*)\]", re.DOTALL)


async def get_events(request: web.Request) -> web.StreamResponse:
    """``GET /recordings/{id}/events``: all events, in a replayer's order."""
    if request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        raise BadRequest(
            "events are sent over /events/ws or by POST, not over this path", code="not_a_socket_path"
        )
    services = request.app[SERVICES]
    row = await _visible_recording(request, services)
    media_type = best_of(request.headers.get(hdrs.ACCEPT), list(_FORMS))
    encoding = best_of(request.headers.get(hdrs.ACCEPT_ENCODING), ("identity", *_COMPRESSORS))
    # What is stored is only ever added to, so the last number names the whole answer.
    tag = f"{row.created_ms:x}-{row.next_seq - 1}-{media_type.rpartition('/')[2]}-{encoding}"
    headers = {
        hdrs.ETAG: f'"{tag}"',
        hdrs.VARY: "Accept, Accept-Encoding",
        hdrs.CACHE_CONTROL: "private, no-cache",
    }
    if any(known.value in {tag, "*"} for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    data_dir = services.config.data_dir
    snapshot = Snapshot(row.tenant, row.recording, row.segments)
    try:
        table = await asyncio.to_thread(plan, services.disk, data_dir, snapshot)
    except CorruptSegment as error:
        event(logger, logging.ERROR, "recording_damaged", recording=row.recording, error=error)
        raise _Damaged("a part of this recording is damaged on disk; the log says where") from None
    response = web.StreamResponse(headers=headers)
    response.content_type = media_type
    if encoding != "identity":
        response.headers[hdrs.CONTENT_ENCODING] = encoding
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    async with services.readers:
        return await _send(request, response, table, _FORMS[media_type], encoding)


async def _send(
    request: web.Request, response: web.StreamResponse, table: Table, form: Form, encoding: str
) -> web.StreamResponse:
    services = request.app[SERVICES]
    chunks = stream(services.disk, table, form=form, bytes_max=services.config.read_bytes_max)
    try:
        async with contextlib.aclosing(_compressed(chunks, encoding)) as parts:
            async for part in parts:
                # Whoever doesn't take the answer must not keep others from theirs.
                async with asyncio.timeout(services.config.body_idle_timeout_s):
                    await response.write(part)
    except (CorruptSegment, OSError, TimeoutError) as error:
        # Too late for a status. A broken connection is the one sign left that this is not the whole.
        level = logging.ERROR if isinstance(error, CorruptSegment) else logging.WARNING
        event(logger, level, "read_broken_off", recording=table.recording, error=repr(error))
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


class _Damaged(RrdError):
    code = "recording_damaged"
    status = 500


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Compressor(quality=4)

    def compress(self, data: bytes) -> bytes:
        part: bytes = self._stream.process(data)
        return part

    def flush(self) -> bytes:
        part: bytes = self._stream.finish()
        return part


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


_COMPRESSORS: dict[str, Callable[[], _Compressor]] = {
    "zstd": lambda: zstandard.ZstdCompressor(level=3).compressobj(),
    "br": _Brotli,
    "gzip": lambda: isal_zlib.compressobj(2, isal_zlib.DEFLATED, 31),
}


async def _compressed(chunks: AsyncIterator[bytes], encoding: str) -> AsyncGenerator[bytes, None]:
    if encoding == "identity":
        async for chunk in chunks:
            yield chunk
        return
    compressor = _COMPRESSORS[encoding]()
    async for chunk in chunks:
        part = await asyncio.to_thread(compressor.compress, chunk)
        if part:
            yield part
    yield compressor.flush()


async def get_recording(request: web.Request) -> web.Response:
    """``GET /recordings/{id}``: its metadata."""
    services = request.app[SERVICES]
    row = await _visible_recording(request, services)
    rows = await services.index.metadata(row.tenant, row.recording)
    shape = request.query.get("shape", services.config.metadata_shape)
    if shape == "object":
        return json_response({"metadata": {found.key: found.value for found in rows}})
    if shape != "list":
        raise BadRequest("shape must be list or object", parameter="shape")
    return json_response(
        [
            {"key": found.key, "value": found.value, "timestamp": found.at_ms, "version": found.version}
            for found in rows
        ]
    )


async def _visible_recording(request: web.Request, services: Services) -> RecordingRow:
    recording = recording_of(request, services.config)
    assert recording is not None, "the route has the id in its path"
    grant = authorize(request, services, right="read", scope_path=recording_path(recording))
    row = await services.index.recording(grant.tenant, recording)
    if row is None or not row.visible:
        raise NotFound(f"there is no recording {recording}")
    return row


async def list_recordings(request: web.Request) -> web.Response:
    """``GET /recordings``: newest first, filtered by metadata."""
    services = request.app[SERVICES]
    grant = authorize(request, services, right="read", scope_path=RECORDINGS_PATH)
    filters = [
        (match[1], value)
        for name, value in request.query.items()
        if (match := _FILTER.fullmatch(name)) is not None
    ]
    limit = _number(request, "limit", LIST_LIMIT_DEFAULT, 1, LIST_LIMIT_MAX)
    offset = _number(request, "offset", 0, 0, _OFFSET_MAX)
    found = await services.index.list_recordings(grant.tenant, filters=filters, limit=limit, offset=offset)
    base = _base_url(request, services)
    signer = _signer(request, services, grant)
    return json_response({"recordings": [_listed(recording, base, signer) for recording in found]})


def _listed(found: ListedRecording, base: str, signer: Callable[[str], str] | None) -> dict[str, object]:
    self_link = base + recording_path(quote(found.recording))
    links = {"self": self_link, "events": f"{self_link}/events"}
    if signer is not None:
        links["eventsSigned"] = f"{self_link}/events?{signer(found.recording)}"
    return {
        "recordingId": found.recording,
        "timestamp": found.created_ms,
        "links": links,
        "metadata": found.metadata,
    }


def _signer(request: web.Request, services: Services, grant: Grant) -> Callable[[str], str] | None:
    wanted = request.query.get("includeSignedUrls", "false")
    if wanted not in {"true", "false"}:
        raise BadRequest("includeSignedUrls must be true or false", parameter="includeSignedUrls")
    if wanted == "false":
        return None
    key = services.gate.signing_key(grant.tenant)
    if key is None:
        raise BadRequest(
            "signed URLs need a signing key: rrd signing-keys create", code="no_signing_key",
            parameter="includeSignedUrls",
        )  # fmt: skip
    expires_s = services.clock.now_ms() // 1000 + _SIGNED_URL_LIFETIME_S
    if grant.kind == "signing_key":
        # Who was let in for a while must not let himself in for longer.
        expires_s = min(expires_s, int(request.query["expires"]))

    def signed(recording: str) -> str:
        return sign(
            secret=key.secret, key_id=key.key_id, tenant=grant.tenant, method="GET",
            scope_path=recording_path(recording), expires_s=expires_s,
        )  # fmt: skip

    return signed


def _number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or not least <= int(text[:12]) <= most or len(text) > 12:
        raise BadRequest(f"{name} must be a number from {least} to {most}", parameter=name)
    return int(text)


def _base_url(request: web.Request, services: Services) -> str:
    if services.config.public_url:
        return services.config.public_url.rstrip("/")
    scheme = forwarded_scheme(request, services.config) or request.scheme
    return f"{scheme}://{request.host}"


async def get_statistics(request: web.Request) -> web.Response:
    """``GET /statistics``: of the key's tenant."""
    services = request.app[SERVICES]
    grant = authorize(request, services, right="read", scope_path=STATISTICS_PATH)
    now = datetime.fromtimestamp(services.clock.now_ms() / 1000, UTC)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found = await services.index.statistics(grant.tenant, month_start_ms=int(month.timestamp() * 1000))
    return json_response(
        {
            "totalRecordings": found.recordings,
            "recordingsThisMonth": found.recordings_this_month,
            "totalStorageBytes": found.storage_bytes,
        }
    )
