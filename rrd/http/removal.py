"""Erasing, for those whose key has the scope ``erase``: one recording, or all that match a filter.

The answer is a receipt: how many recordings, events, bytes and objects went. It is 200 when all of that is
gone, and 202 while the object store is away: ``pending`` then tells of how many recordings objects are still
to go, which happens by itself. Nothing of them is served any more, and nothing more is taken (410).
"""

from __future__ import annotations

from aiohttp import web

from rrd.access.gate import Grant
from rrd.access.signing import RECORDINGS_PATH, recording_path
from rrd.errors import BadRequest
from rrd.http.auditing import note_done
from rrd.http.caller import authorize, recording_of
from rrd.http.filters import filters_of, refuse_filters
from rrd.http.problems import json_response
from rrd.http.services import SERVICES, Services
from rrd.lifecycle.removal import Receipt

_KNOWN = frozenset({"token"})
"""Parameters that are no filters and welcome all the same."""


async def delete_recording(request: web.Request) -> web.Response:
    """``DELETE /recordings/{id}``: erase it. 404 if there is none, or none any more."""
    services = request.app[SERVICES]
    recording_id = recording_of(request, services.config)
    assert recording_id is not None, "the route has the id in its path"
    grant = await authorize(request, services, right="erase", scope_path=recording_path(recording_id))
    # A filter would read like a condition, and this path has none.
    refuse_filters(request.query, known=_KNOWN)
    receipt = await services.remover.erase(grant.tenant, recording_id)
    return await _answer(services, grant, receipt, recording_id)


async def delete_recordings(request: web.Request) -> web.Response:
    """``DELETE /recordings?meta[key]=value``: erase all that have every key and value named."""
    services = request.app[SERVICES]
    grant = await authorize(request, services, right="erase", scope_path=RECORDINGS_PATH)
    receipt = await services.remover.erase_matching(grant.tenant, _filters(request))
    return await _answer(services, grant, receipt)


def _filters(request: web.Request) -> list[tuple[str, str]]:
    """Return the filters in the query. Stricter than for a list: nothing unknown may widen an erasure."""
    filters = filters_of(request.query, known=_KNOWN, others_pass=False)
    if not filters:
        raise BadRequest(
            "say which recordings: at least one filter, like meta[userId]=u-123, is needed",
            code="no_filter",
            parameter="meta",
        )
    return filters


async def _answer(
    services: Services, grant: Grant, receipt: Receipt, recording_id: str | None = None
) -> web.Response:
    # Not what was looked for: a filter's value may name a person, who is to be forgotten.
    await note_done(
        services, "erased", grant, tenant=grant.tenant, recording=recording_id,
        recordings=receipt.recordings, events=receipt.events,
    )  # fmt: skip
    body = receipt._asdict()
    if receipt.pending:
        return json_response(body, status=202)
    del body["pending"]
    return json_response(body)
