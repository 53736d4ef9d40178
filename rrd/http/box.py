"""How the server is, for the console: figures of the whole machine, so not for each tenant's reader."""

from __future__ import annotations

from aiohttp import web

from rrd.console.sessions import Session
from rrd.errors import Forbidden
from rrd.http.console_guard import SESSION, desk_of
from rrd.http.problems import json_response
from rrd.http.services import SERVICES, Services

REFUSALS_MAX = 50
"""Codes of refusals that are told of; the latest ones."""


async def get_box(request: web.Request) -> web.Response:
    """``GET /console/api/box``: what is now, what troubles, and a curve of each figure over the last day.

    For operators, and for those whose keys read all tenants: 403 for others. ``refusals`` are of
    events, since the data directory was made.
    """
    services = request.app[SERVICES]
    if not await _sees_all(services, request[SESSION]):
        raise Forbidden("these figures are of all tenants: sign in with a key of each, or as the operator")
    box = services.box
    assert box is not None, "the console is on"
    rows = sorted(services.refusals.account().totals, key=lambda row: row.last_ms, reverse=True)
    refusals = [
        {"code": row.code, "status": row.status, "count": row.count, "lastMs": row.last_ms}
        for row in rows[:REFUSALS_MAX]
    ]
    # Not a part of what is held: anyone may read that at /-/ready, and ids and labels are the operator's.
    expiring = [f"{notice.sentence()}. Next: {notice.next_step}" for notice in services.gate.notices()]
    sentences = [*services.held(), *expiring]
    if (reason := await services.registry.why_not_stored()) is not None:
        sentences = [f"Events are not stored: {reason}", *sentences]
    return json_response({**box.told(), "sentences": sentences, "refusals": refusals})


async def _sees_all(services: Services, session: Session) -> bool:
    """Tell whether a session may read all tenants: those with a key, and those with anything stored."""
    if session.is_operator:
        return True
    desk = desk_of(services)
    read = {tenant for tenant, rights in desk.rights(session).items() if "read" in rights}
    live = {row.tenant for row in services.gate.live_key_rows().values()}
    return live | {tenant.name for tenant in await services.index.tenants()} <= read
