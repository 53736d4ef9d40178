"""What a player needs before any event: the page views of a recording, and how much happened over time."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

import orjson
from aiohttp import hdrs, web

from rrd.errors import BadRequest, RrdError
from rrd.http.damage import MISSING_HEADER, wants_salvage, whole_or_intact
from rrd.http.filters import KEY_PARAMETERS
from rrd.http.lookup import may_read, planned, visible
from rrd.http.negotiate import is_known
from rrd.http.pieces import ANSWER_BYTES
from rrd.http.reading import lane, reader_of, reading
from rrd.http.services import SERVICES, Services
from rrd.index.rows import RecordingRow
from rrd.log import emit
from rrd.playback.recount import KeptSummary, bytes_needed, count, count_all, decode, encode
from rrd.playback.salvage import Salvaged
from rrd.playback.sources import ObjectFile
from rrd.playback.table import ALWAYS
from rrd.shares.queue import Who
from rrd.shelf.holdings import Holdings
from rrd.summary.activity import active_ms
from rrd.summary.summary import Summary
from rrd.summary.views import View, views_of

LIVE_MS = 60_000
"""A recording is live for so long after something of it was stored."""

_EXACT_MAX = 2.0**53
"""Beyond, a page may send numbers that no integer of JSON's writer holds."""

_T = TypeVar("_T")

logger = logging.getLogger(__name__)

_PARAMETERS = KEY_PARAMETERS | {"salvage", "recordingId"}


async def get_pages(request: web.Request) -> web.StreamResponse:
    """``GET /recordings/{id}/pages``: page views and checkpoints, counts, and activity over time, as JSON.

    Needs a key that may read, or a presigned URL of the recording. Parameters: ``salvage=true`` counts what
    is intact of a damaged recording, ``salvage=false`` doesn't (default: ``reads_of_damage``); any other is
    refused. HEAD, and ``If-None-Match`` with the ETag of an earlier answer (304), work.

    The answer has ``recordingId``; ``asOf``, the sequenceId of the last event that counts; ``first`` and
    ``last``, least and greatest timestamp in ms (null without events); ``events``; ``bytes`` of them as
    NDJSON; ``live``: it may still grow; ``closed``: the page said that it is over; ``activeMs``, ``clicks``,
    ``inputs``, ``errors``, ``rageBursts``; ``beforeFirstSnapshot``: events before the first page, which can't
    be shown (all of them where there is no snapshot); ``pages``, up to 1,000 in order of time; ``pagesCut``:
    pages beyond, which count for the last one; ``activeIsCut``: seconds with user input beyond a limit are
    not counted; ``activity``: ``from``, ``to``, ``slotMs`` and ``levels``, base64 of a byte for each slot, up
    to 1,000.

    Each page has ``from`` and ``to`` (ms), ``snapshot`` (ms, of its full snapshot), ``kind`` (``page``, or
    ``checkpoint`` for a snapshot in the midst of one), ``sequenceId`` of its first event, ``url``, ``width``
    and ``height`` of its Meta event, ``events``, ``bytes``, ``clicks``, ``inputs``, ``errors``, ``activeMs``.

    Errors: 400 for a parameter, 401, 403, 404, 429; 500 ``recording_damaged`` where events that are needed
    are damaged; 503 where the object store is away, or too many answers are under way. Where counting takes
    long, the answer begins before all is counted, and an error breaks it off.
    """
    services = request.app[SERVICES]
    recording_id, grant = await may_read(request, services)
    for name in request.query:
        if name not in _PARAMETERS:
            raise BadRequest(f"{name!r} is no parameter of this path", parameter=name)
    may_salvage = wants_salvage(request, services)
    # From before the files are looked up in the index: what is being read is not evicted.
    with services.claims.reading(grant.tenant, recording_id):
        row = await visible(services, grant, recording_id)
        who = reader_of(grant)
        is_open = _may_grow(services, row)
        headers = _headers(row, is_open=is_open)
        tag = headers[hdrs.ETAG].strip('"')
        if is_known(request, tag):
            return web.Response(status=304, headers=headers)

        async def whole() -> web.StreamResponse:
            making = asyncio.ensure_future(_make(services, who, row, is_open=is_open))
            try:
                await asyncio.wait({making}, timeout=services.bounds.pages_wait_s)
                if not making.done():
                    return await _answer_in_time(request, row, making, headers)
                return web.Response(body=making.result(), content_type="application/json", headers=headers)
            finally:
                making.cancel()

        async def intact(row: RecordingRow, found: Salvaged) -> web.StreamResponse:
            return await _tell_intact(services, who, row, found, is_open=is_open)

        return await whole_or_intact(services, who, row, ALWAYS, whole, intact if may_salvage else None)


async def _answer_in_time(
    request: web.Request, row: RecordingRow, making: asyncio.Future[bytes], headers: dict[str, str]
) -> web.StreamResponse:
    """Begin the answer while events are still being counted. What goes wrong now breaks the connection."""
    response = web.StreamResponse(headers=headers)
    response.content_type = "application/json"
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    start = orjson.dumps({"recordingId": row.recording_id})[:-1]
    await response.write(start)
    try:
        body = await making
    except (RrdError, OSError) as error:
        emit(logger, logging.WARNING, "answer_broken_off", recording=row.recording_id, error=error)
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write(body[len(start) :])
    await response.write_eof()
    return response


async def _tell_intact(
    services: Services, who: Who, row: RecordingRow, found: Salvaged, *, is_open: bool
) -> web.Response:
    """Answer with what is intact of a damaged recording."""

    def work() -> bytes:
        counted = count_all(found.table, error_tags=services.config.error_tags)
        return told(row.recording_id, counted, is_open=is_open)

    threads = lane(services, who, is_local=found.table.is_local)
    body = await _in_thread(services, who, threads, work, bytes_needed(found.table))
    # Another answer than the whole one has: it must not be taken for that later.
    headers = {str(hdrs.CACHE_CONTROL): "no-store", str(MISSING_HEADER): str(found.missing_events)}
    return web.Response(body=body, content_type="application/json", headers=headers)


def _may_grow(services: Services, row: RecordingRow) -> bool:
    """Tell whether something was stored a moment ago, or a source holds the recording open to send more."""
    if services.registry.live_sources(row.tenant, row.recording_id):
        return True
    return row.extent.stored_ms > services.clock.now_ms() - LIVE_MS


def _headers(row: RecordingRow, *, is_open: bool) -> dict[str, str]:
    # What is stored is only ever added to, so the last number names what is counted.
    tag = f"{row.created_ms:x}-{row.next_seq - 1}-pages{'-live' if is_open else ''}"
    return {
        hdrs.ETAG: f'"{tag}"',
        hdrs.VARY: "Accept, Accept-Encoding",
        hdrs.CACHE_CONTROL: "private, no-cache",
    }


async def _make(services: Services, who: Who, row: RecordingRow, *, is_open: bool) -> bytes:
    """Return the answer for a recording, as of ``row`` or later. Raises as ``recount.count``."""
    kept = services.summaries.get(row.row_id, row.created_ms)
    if kept is not None and kept.limit_seq == row.next_seq:
        encoded, threads = kept.encoded, lane(services, who, is_local=True)
        return await _in_thread(
            services, who, threads, lambda: told(row.recording_id, decode(encoded), is_open=is_open), 0
        )
    table = await planned(services, who, row, ALWAYS)
    holdings = Holdings.of(row)
    objects = [ObjectFile(services.files, holdings, entry) for entry in holdings.published]

    def work() -> tuple[bytes, KeptSummary]:
        known = decode(kept.encoded) if kept is not None else None
        counted = count(table, objects, known, error_tags=services.config.error_tags)
        body = told(row.recording_id, counted, is_open=is_open)
        return body, KeptSummary(counted.totals.limit_seq, encode(counted))

    threads = lane(services, who, is_local=table.is_local and not objects)
    body, counted = await _in_thread(services, who, threads, work, bytes_needed(table))
    services.summaries.put(row.row_id, row.created_ms, counted)
    return body


async def _in_thread(
    services: Services, who: Who, threads: Executor, work: Callable[[], _T], bytes_max: int
) -> _T:
    """Do what takes ``bytes_max`` bytes beside an answer."""
    async with reading(services, who, least=ANSWER_BYTES + bytes_max, most=ANSWER_BYTES + bytes_max):
        return await asyncio.get_running_loop().run_in_executor(threads, work)


def told(recording_id: str, summary: Summary, *, is_open: bool) -> bytes:
    """Return the answer's JSON, ``recordingId`` first.

    ``is_open``: the recording may grow, as far as storing goes.
    """
    totals, views = summary.totals, views_of(summary.pieces)
    firsts = [piece.first[0] for piece in summary.pieces if piece.first is not None]
    lasts = [piece.last[0] for piece in summary.pieces if piece.last is not None]
    line = totals.line
    levels = line.levels()
    answer = {
        "recordingId": recording_id,
        "asOf": totals.limit_seq - 1,
        "first": _number(min(firsts)) if firsts else None,
        "last": _number(max(lasts)) if lasts else None,
        "events": sum(piece.events for piece in summary.pieces),
        "bytes": sum(piece.bytes for piece in summary.pieces),
        "live": is_open and not views.closed,
        "closed": views.closed,
        "activeMs": active_ms(totals.seconds),
        "clicks": totals.clicks,
        "inputs": totals.inputs,
        "errors": totals.errors,
        "rageBursts": totals.chained_clicks.bursts,
        "beforeFirstSnapshot": views.before,
        "pages": [_page(view) for view in views.all],
        "pagesCut": views.joined,
        "activeIsCut": totals.is_short,
        "activity": {
            "from": line.first_ms,
            "to": line.first_ms + line.slot_ms * len(levels),
            "slotMs": line.slot_ms,
            "levels": base64.b64encode(levels).decode(),
        },
    }
    return orjson.dumps(answer)


def _page(view: View) -> dict[str, object]:
    counted = view.counted
    return {
        "from": _number(view.start[0]),
        "to": _number(view.until),
        "snapshot": _number(view.snapshot),
        "kind": "page" if view.is_page else "checkpoint",
        "sequenceId": view.start[1],
        "url": counted.url or None,
        "width": _number(counted.width),
        "height": _number(counted.height),
        "events": counted.events,
        "bytes": counted.bytes,
        "clicks": counted.clicks,
        "inputs": counted.inputs,
        "errors": counted.errors,
        "activeMs": view.active_ms,
    }


def _number(value: float) -> float:
    """Return a number as JSON shows it: without a fraction that is 0."""
    return int(value) if value.is_integer() and abs(value) <= _EXACT_MAX else value
