"""A recording as it grows: ``GET /recordings/{id}/events?follow=true``, live view.

Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2), or NDJSON for those
who ask for it. ``watch`` has what happens on the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import NamedTuple

from aiohttp import hdrs, web

from rrd.access.gate import Grant
from rrd.errors import BadRequest, CorruptSegment, StoreAway
from rrd.http.damage import is_damage, refusal, salvaged
from rrd.http.filters import KEY_PARAMETERS
from rrd.http.lookup import planned, starting_at, store_away, visible
from rrd.http.negotiate import best_of
from rrd.http.ranges import time_of
from rrd.http.reading import lane, reader_of, reading
from rrd.http.services import SERVICES, Services
from rrd.http.sharing import unclaim
from rrd.http.watch import Joined, Watch
from rrd.index.rows import RecordingRow
from rrd.playback.frames import LINES, SERVER_SENT, closes_in
from rrd.playback.table import ALWAYS
from rrd.shares.queue import Who

_FORMS = {"text/event-stream": SERVER_SENT, "application/x-ndjson": LINES, "application/ndjson": LINES}
_KNOWN = KEY_PARAMETERS | {"follow", "after", "at"}
_NUMBER = re.compile(r"[0-9]{1,15}")

LAST_EVENT_ID = "Last-Event-ID"


class _Start(NamedTuple):
    after: int | None
    """Events with a greater number, in order of arrival. None: history first."""
    at: float | None
    """The time, ms, from which a replay is to be possible. None: from the beginning."""


async def follow(request: web.Request, recording_id: str, grant: Grant) -> web.StreamResponse:
    """``GET /recordings/{id}/events?follow=true``: what there is of a recording, then events as they come.

    ``after``: a sequenceId, 0 or more; only events with a greater one, in order of arrival. The header
    ``Last-Event-ID`` says the same, and wins. ``at``: a time, ms since the epoch; history begins with the
    page that is shown then, as ``/events?at=`` does; not with ``after``. Any other parameter: 400.

    200: a stream of events without an end. 204: a stream that was to be resumed is over. 404: there is no
    such recording. 503 with ``Retry-After``: too many watch (``watchers_max``, ``tenant_watchers_max``,
    ``recording_watchers_max``), or the object store is away.
    """
    services = request.app[SERVICES]
    asked = _asked_of(request)
    with services.registry.followers.follow(grant.tenant, recording_id) as follower:
        # A watcher has a place of its own kind, for as long as it stays.
        unclaim(request, services)
        who = reader_of(grant)
        # From before the files are looked up in the index: what is being read is not evicted.
        with contextlib.ExitStack() as claim:
            claim.enter_context(services.claims.reading(grant.tenant, recording_id))
            row = await visible(services, grant, recording_id)
            media_type = best_of(request.headers.get(hdrs.ACCEPT), list(_FORMS))
            response = _response(media_type)
            if request.method == hdrs.METH_HEAD:
                await response.prepare(request)
                return response
            try:
                joined = await _join(services, who, row, None if asked.after is not None else asked.at)
                watch = Watch(request, response, grant, follower, joined, _FORMS[media_type])
                del joined  # Its table may be large, and is let go once it is sent.
                if asked.after is not None and watch.is_over_after(asked.after):
                    return web.Response(status=204, headers={hdrs.CACHE_CONTROL: "no-store"})
                return await watch.run(asked.after, on_caught_up=claim.close)
            except StoreAway as error:
                if response.prepared:
                    raise
                return store_away(recording_id, error)
            except (CorruptSegment, OSError) as error:
                if response.prepared or not is_damage(error):
                    raise
                damage = error
            return refusal(row, await salvaged(services, who, row, ALWAYS), damage)


def _response(media_type: str) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            hdrs.CACHE_CONTROL: "no-cache, no-transform",
            hdrs.VARY: "Accept",
            "X-Accel-Buffering": "no",  # nginx would gather it otherwise
        }
    )
    response.content_type = media_type
    response.force_close()
    return response


async def _join(services: Services, who: Who, row: RecordingRow, at_ms: float | None) -> Joined:
    """Return what there is now. Raises ``CorruptSegment``, ``StoreAway``, ``OSError``."""
    table = await planned(services, who, row, ALWAYS)
    async with reading(services, who, least=2 * table.largest, most=2 * table.largest):
        last_ts, closes_ts = await asyncio.get_running_loop().run_in_executor(
            lane(services, who, is_local=table.is_local), closes_in, table
        )
    limit_seq = table.block(len(table) - 1)[1].limit_seq if len(table) else row.next_seq
    if at_ms is not None:
        table = await starting_at(services, who, table, at_ms, ALWAYS)
    return Joined(row, table, limit_seq, last_ts, closes_ts)


def _asked_of(request: web.Request) -> _Start:
    for name in request.query:
        if name not in _KNOWN:
            raise BadRequest(f"{name!r} can't be combined with follow=true", parameter=name)
    if request.query["follow"] != "true":
        raise BadRequest("follow must be true or false", parameter="follow")
    after = _number("after", request.query.get("after"))
    last = _number(LAST_EVENT_ID, request.headers.get(LAST_EVENT_ID) or None)
    at = time_of(request, "at")
    if at is not None and after is not None:
        raise BadRequest("after goes by order of arrival: leave at out", parameter="at")
    return _Start(after if last is None else last, at)


def _number(name: str, text: str | None) -> int | None:
    if text is not None and _NUMBER.fullmatch(text) is None:
        raise BadRequest(f"{name} must be a sequenceId: a number, 0 or more", parameter=name)
    return None if text is None else int(text)
