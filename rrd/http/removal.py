"""Erasing, for those whose key has the scope ``erase``: one recording, or all that match a filter.

The answer is a receipt: how many recordings, events, bytes and objects went. It is 200 when all of that is
gone, and 202 while the object store is away: ``pending`` then tells of how many recordings objects are still
to go, which happens by itself. Nothing of them is served any more, and nothing more is taken (410).
"""

from __future__ import annotations

import re

from aiohttp import web

from rrd.access.signing import RECORDINGS_PATH, recording_path
from rrd.errors import BadRequest
from rrd.http.caller import authorize, recording_of
from rrd.http.problems import json_response
from rrd.http.services import SERVICES
from rrd.lifecycle.removal import Receipt

_FILTER = re.compile(r"meta\[(.*)\]", re.DOTALL)
_OTHERS = frozenset({"token"})
"""Parameters that are no filters and welcome all the same."""


async def delete_recording(request: web.Request) -> web.Response:
    """``DELETE /recordings/{id}``: erase it. 404 if there is none, or none any more."""
    services = request.app[SERVICES]
    recording = recording_of(request, services.config)
    assert recording is not None, "the route has the id in its path"
    grant = authorize(request, services, right="erase", scope_path=recording_path(recording))
    return _answer(await services.remover.erase(grant.tenant, recording))


async def delete_recordings(request: web.Request) -> web.Response:
    """``DELETE /recordings?meta[key]=value``: erase all that have every key and value named."""
    services = request.app[SERVICES]
    grant = authorize(request, services, right="erase", scope_path=RECORDINGS_PATH)
    return _answer(await services.remover.erase_matching(grant.tenant, _filters(request)))


def _filters(request: web.Request) -> list[tuple[str, str]]:
    """Return the filters in the query. Stricter than for a list: a misspelt one must not widen an erasure."""
    filters: list[tuple[str, str]] = []
    for name, value in request.query.items():
        found = _FILTER.fullmatch(name)
        if found is not None:
            filters.append((found[1], value))
        elif name not in _OTHERS:
            raise BadRequest(f"{name!r} is no filter: write it like meta[userId]=u-123", parameter=name)
    if not filters:
        raise BadRequest(
            "say which recordings: at least one filter, like meta[userId]=u-123, is needed",
            code="no_filter",
            parameter="meta",
        )
    return filters


def _answer(receipt: Receipt) -> web.Response:
    body = {
        "recordings": receipt.recordings,
        "events": receipt.events,
        "bytes": receipt.bytes,
        "objects": receipt.objects,
    }
    if not receipt.pending:
        return json_response(body)
    return json_response(body | {"pending": receipt.pending}, status=202)
