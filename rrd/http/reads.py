"""Reading: a recording's events and metadata, the list of recordings, statistics."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from math import inf

import orjson
from aiohttp import hdrs, web

from rrd.access.gate import Grant
from rrd.access.signing import RECORDINGS_PATH, STATISTICS_PATH, recording_path, sign
from rrd.errors import BadRequest, CorruptSegment, NotAcceptable, NotFound, StoreAway
from rrd.http.answer import STORED_ENCODING, EventsAnswer
from rrd.http.caller import authorize, recording_of
from rrd.http.damage import (
    MISSING_HEADER,
    check_all,
    is_damage,
    log_damage,
    refusal,
    salvaged,
    wants_salvage,
)
from rrd.http.filters import KEY_PARAMETERS, filters_of, refuse_filters
from rrd.http.link_host import check_link_host
from rrd.http.negotiate import accepts
from rrd.http.pieces import ANSWER_BYTES, PIECE_BYTES, send_json
from rrd.http.problems import json_response, problem
from rrd.http.reading import lane, reader_of, reading
from rrd.http.services import SERVICES, Services
from rrd.index.rows import ListedRecording, RecordingRow
from rrd.log import emit
from rrd.playback.table import Between, PlaybackTable, plan
from rrd.shares.queue import Who
from rrd.shelf.holdings import Holdings

logger = logging.getLogger(__name__)

LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX = 50, 100
_OFFSET_MAX = 2**31
_SIGNED_URL_LIFETIME_S = 3600
_LIST_PARAMETERS = KEY_PARAMETERS | {"limit", "offset", "includeSignedUrls"}
_TIME = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,9})?")
_RETRY_AFTER_S = "10"
_LIST_END = b"]}"


async def get_events(request: web.Request) -> web.StreamResponse:
    """``GET /recordings/{id}/events``: a replayer's order, all or a range of time, or as stored."""
    if request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        raise BadRequest(
            "events are sent over /events/ws or by POST, not over this path", code="not_a_socket_path"
        )
    services = request.app[SERVICES]
    recording_id, grant = await _may_read(request, services)
    between, is_stored = _between(request), _is_stored(request)
    # From before the files are looked up in the index: what is being read is not evicted.
    with services.claims.reading(grant.tenant, recording_id):
        row = await _visible(services, grant, recording_id)
        who = reader_of(grant)
        answer = EventsAnswer(request, who, row, between, is_stored=is_stored)
        may_salvage = wants_salvage(request, services)
        if any(known.value in {answer.tag, "*"} for known in request.if_none_match or ()):
            return web.Response(status=304, headers=answer.headers)
        try:
            table = await _plan(services, who, row, between)
            if may_salvage:
                await check_all(services, who, table)
                answer.headers[MISSING_HEADER] = "0"
            return await answer.send(table)
        except StoreAway as error:
            return _store_away(recording_id, error)
        except (CorruptSegment, OSError) as error:
            row = await _check_that_it_is_there(services, row)
            if not is_damage(error):
                raise
            damage = error
        try:
            found = await salvaged(services, who, row, between)
            if not may_salvage:
                return refusal(row, found, damage)
            log_damage(row, found, damage)
            answer = EventsAnswer(
                request, who, row, between, is_stored=is_stored, missing_events=found.missing_events
            )
            return await answer.send(found.table)
        except StoreAway as error:
            return _store_away(recording_id, error)


def _store_away(recording_id: str, error: StoreAway) -> web.Response:
    emit(logger, logging.WARNING, "object_store_away", recording=recording_id, error=error)
    response = problem(error.status, error.code, "the object store that has these events is away")
    response.headers[hdrs.RETRY_AFTER] = _RETRY_AFTER_S
    return response


async def _check_that_it_is_there(services: Services, row: RecordingRow) -> RecordingRow:
    """Return what the index says of a recording now. Raises ``NotFound`` if it was erased meanwhile."""
    fresh = await services.index.recording(row.tenant, row.recording_id)
    if fresh is None or fresh.row_id != row.row_id:
        raise NotFound(f"there is no recording {row.recording_id}")
    return fresh


async def _plan(services: Services, who: Who, row: RecordingRow, between: Between) -> PlaybackTable:
    """Return the table of a recording's blocks, as of ``row`` or later."""
    while True:
        holdings = Holdings.of(row)
        threads = lane(services, who, is_local=holdings.is_local)
        try:
            return await asyncio.get_running_loop().run_in_executor(
                threads,
                partial(
                    plan, services.disk, services.files, services.config.data_dir, holdings, between=between
                ),
            )
        except (CorruptSegment, OSError):
            # Its files may have moved since they were looked up.
            fresh = await _check_that_it_is_there(services, row)
            if _places(fresh) == _places(row):
                raise
            row = fresh


def _places(row: RecordingRow) -> list[tuple[int, str]]:
    """Return what tells where a recording's files are: it changes a few times in its life."""
    return [(found.number, found.state) for found in row.segments] + [
        (found.first_number, found.state) for found in row.objects
    ]


def _between(request: web.Request) -> Between:
    bounds = []
    for name, default in (("from", -inf), ("to", inf)):
        text = request.query.get(name)
        if text is not None and _TIME.fullmatch(text) is None:
            raise BadRequest(f"{name} must be a time in ms since the epoch", parameter=name)
        bounds.append(default if text is None else float(text))
    if bounds[0] > bounds[1]:
        raise BadRequest("from must not be later than to", parameter="from")
    return Between(*bounds)


def _is_stored(request: web.Request) -> bool:
    form = request.query.get("form")
    if form is None:
        return False
    if form != "stored":
        raise BadRequest("form must be stored, or left out", parameter="form")
    for name in ("from", "to"):
        if name in request.query:
            raise BadRequest(f"form=stored is the whole recording: leave {name} out", parameter=name)
    if not accepts(request.headers.get(hdrs.ACCEPT_ENCODING), STORED_ENCODING):
        raise NotAcceptable("form=stored comes as zstd, so Accept-Encoding must name zstd")
    return True


async def get_recording(request: web.Request) -> web.StreamResponse:
    """``GET /recordings/{id}``: its metadata."""
    services = request.app[SERVICES]
    recording_id, grant = await _may_read(request, services)
    row = await _visible(services, grant, recording_id)
    shape = request.query.get("shape", services.config.metadata_shape)
    if shape not in {"list", "object"}:
        raise BadRequest("shape must be list or object", parameter="shape")

    async with reading(services, reader_of(grant), least=ANSWER_BYTES, most=ANSWER_BYTES):
        rows = await services.index.metadata(row.tenant, row.recording_id)
        told: object
        if shape == "object":
            told = {"metadata": {found.key: found.value for found in rows}}
        else:
            told = [
                {"key": found.key, "value": found.value, "timestamp": found.at_ms, "version": found.version}
                for found in rows
            ]
        return await send_json(request, orjson.dumps(told))


async def _may_read(request: web.Request, services: Services) -> tuple[str, Grant]:
    recording_id = recording_of(request, services.config)
    assert recording_id is not None, "the route has the id in its path"
    return recording_id, await authorize(
        request, services, right="read", scope_path=recording_path(recording_id)
    )


async def _visible(services: Services, grant: Grant, recording_id: str) -> RecordingRow:
    row = await services.index.recording(grant.tenant, recording_id)
    is_leaving = services.remover.is_leaving(grant.tenant, recording_id)
    if row is None or not row.visible or is_leaving:
        raise NotFound(f"there is no recording {recording_id}")
    return row


async def list_recordings(request: web.Request) -> web.StreamResponse:
    """``GET /recordings``: newest first, filtered by metadata."""
    services = request.app[SERVICES]
    grant = await authorize(request, services, right="read", scope_path=RECORDINGS_PATH)
    filters = filters_of(request.query, known=_LIST_PARAMETERS, others_pass=True)
    limit = _number(request, "limit", LIST_LIMIT_DEFAULT, 1, LIST_LIMIT_MAX)
    offset = _number(request, "offset", 0, 0, _OFFSET_MAX)
    # Paths, unless a setting says what the world calls this server: a proxy or a client may say otherwise.
    base = services.config.public_url.rstrip("/")
    signer = _signer(request, services, grant)

    def encode(found: ListedRecording) -> bytes:
        return orjson.dumps(_listed(found, base, signer))

    async def others(row_ids: Sequence[int]) -> AsyncGenerator[bytes, None]:
        while row_ids:
            piece = await services.index.continue_list(row_ids, encode=encode, bytes_max=PIECE_BYTES)
            row_ids = piece.rest
            yield b"".join(b"," + item for item in piece.items) + (b"" if row_ids else _LIST_END)

    async with reading(services, reader_of(grant), least=ANSWER_BYTES, most=ANSWER_BYTES):
        piece = await services.index.begin_list(
            grant.tenant, filters=filters, limit=limit, offset=offset, encode=encode, bytes_max=PIECE_BYTES
        )
        text = b'{"recordings":[' + b",".join(piece.items)
        if not piece.rest:
            return await send_json(request, text + _LIST_END)
        return await send_json(request, text, others(piece.rest))


def _listed(found: ListedRecording, base: str, signer: Callable[[str], str] | None) -> dict[str, object]:
    # No id has a character that a URL would have to escape (``rrd.ids``).
    self_link = f"{base}{RECORDINGS_PATH}/{found.recording_id}"
    links = {"self": self_link, "events": f"{self_link}/events"}
    if signer is not None:
        links["eventsSigned"] = f"{self_link}/events?{signer(found.recording_id)}"
    return {
        "recordingId": found.recording_id,
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
    check_link_host(request.headers.get(hdrs.HOST, ""), services.config)
    expires_s = services.clock.now_ms() // 1000 + _SIGNED_URL_LIFETIME_S
    if grant.kind == "signing_key":
        # Who was let in for a while must not let himself in for longer.
        expires_s = min(expires_s, int(request.query["expires"]))

    def signed(recording_id: str) -> str:
        return sign(
            secret=key.secret, key_id=key.key_id, tenant=grant.tenant, method="GET",
            scope_path=recording_path(recording_id), expires_s=expires_s,
        )  # fmt: skip

    return signed


def _number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or not least <= int(text[:12]) <= most or len(text) > 12:
        raise BadRequest(f"{name} must be a number from {least} to {most}", parameter=name)
    return int(text)


async def get_statistics(request: web.Request) -> web.Response:
    """``GET /statistics``: of the key's tenant."""
    services = request.app[SERVICES]
    grant = await authorize(request, services, right="read", scope_path=STATISTICS_PATH)
    refuse_filters(request.query, known=KEY_PARAMETERS)
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
