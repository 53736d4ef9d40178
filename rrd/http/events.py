"""The events of a recording: a replayer's order, all or a range of time, or as they are stored."""

from __future__ import annotations

from aiohttp import hdrs, web

from rrd.errors import BadRequest, CorruptSegment, StoreAway
from rrd.http.answer import EventsAnswer
from rrd.http.damage import (
    MISSING_HEADER,
    check_all,
    is_damage,
    log_damage,
    refusal,
    salvaged,
    wants_salvage,
)
from rrd.http.lookup import check_that_it_is_there, may_read, planned, store_away, visible
from rrd.http.ranges import between_of, is_stored_form
from rrd.http.reading import reader_of
from rrd.http.services import SERVICES


async def get_events(request: web.Request) -> web.StreamResponse:
    """``GET /recordings/{id}/events``: a replayer's order, all or a range of time, or as stored."""
    if request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        raise BadRequest(
            "events are sent over /events/ws or by POST, not over this path", code="not_a_socket_path"
        )
    services = request.app[SERVICES]
    recording_id, grant = await may_read(request, services)
    between, is_stored = between_of(request), is_stored_form(request)
    # From before the files are looked up in the index: what is being read is not evicted.
    with services.claims.reading(grant.tenant, recording_id):
        row = await visible(services, grant, recording_id)
        who = reader_of(grant)
        answer = EventsAnswer(request, who, row, between, is_stored=is_stored)
        may_salvage = wants_salvage(request, services)
        if any(known.value in {answer.tag, "*"} for known in request.if_none_match or ()):
            return web.Response(status=304, headers=answer.headers)
        try:
            table = await planned(services, who, row, between)
            if may_salvage:
                await check_all(services, who, table)
                answer.headers[MISSING_HEADER] = "0"
            return await answer.send(table)
        except StoreAway as error:
            return store_away(recording_id, error)
        except (CorruptSegment, OSError) as error:
            row = await check_that_it_is_there(services, row)
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
            return store_away(recording_id, error)
