"""Which metadata keys and values there are, for a person who types a filter."""

from __future__ import annotations

from collections.abc import Collection

import orjson
from aiohttp import web

from rrd.access.gate import Grant
from rrd.errors import BadRequest, Forbidden
from rrd.http.caller import authorize
from rrd.http.filters import KEY_PARAMETERS
from rrd.http.pieces import ANSWER_BYTES, send_json
from rrd.http.reading import reader_of, reading
from rrd.http.services import SERVICES, Services

LIMIT_DEFAULT, LIMIT_MAX = 20, 100


async def get_metadata_keys(request: web.Request) -> web.StreamResponse:
    """``GET /metaKeys``: metadata keys of the tenant's recordings, by name.

    ``prefix`` (default none): what they begin with. ``limit``: 1 to 100, default 20. Answers
    ``{"keys":["…"]}``. Of a tenant with more than 10,000 keys those count that were seen first. Needs a
    private key. 400 with the name of a parameter that is unknown, given twice or out of bounds, 401, 403.
    """
    services = request.app[SERVICES]
    grant = await _may_ask(request, services)
    prefix, limit = _parameters(request, {"prefix", "limit"})

    async with reading(services, reader_of(grant), least=ANSWER_BYTES, most=ANSWER_BYTES):
        keys = await services.index.metadata_keys(grant.tenant, prefix=prefix, limit=limit)
        return await send_json(request, orjson.dumps({"keys": keys}))


async def get_metadata_values(request: web.Request) -> web.StreamResponse:
    """``GET /metaValues``: values that the tenant's recordings have for one metadata key, by name.

    ``key``: which one, as it is written. ``prefix`` (default none): what the values begin with. ``limit``:
    1 to 100, default 20. Answers ``{"key":"…","values":["…"]}``, without values for a key that no recording
    has. Needs a private key. 400 with the name of a parameter that is unknown, missing, given twice or out of
    bounds, 401, 403.
    """
    services = request.app[SERVICES]
    grant = await _may_ask(request, services)
    prefix, limit = _parameters(request, {"key", "prefix", "limit"})
    key = request.query.get("key")
    if key is None:
        raise BadRequest("key is missing: /metaValues?key=userId", parameter="key")

    async with reading(services, reader_of(grant), least=ANSWER_BYTES, most=ANSWER_BYTES):
        values = await services.index.metadata_values(grant.tenant, key, prefix=prefix, limit=limit)
        return await send_json(request, orjson.dumps({"key": key, "values": values}))


async def _may_ask(request: web.Request, services: Services) -> Grant:
    grant = await authorize(request, services, right="read", scope_path=request.path)
    if grant.kind == "signing_key":
        raise Forbidden(
            "a presigned URL shows recordings, and not what their metadata are: use a private key"
        )
    return grant


def _parameters(request: web.Request, known: Collection[str]) -> tuple[str, int]:
    """Return ``prefix`` and ``limit`` of a query that has ``known`` parameters alone, each once."""
    query = request.query
    for name in query:
        if name not in known and name not in KEY_PARAMETERS:
            raise BadRequest(
                f"{name!r} is unknown here: known are {', '.join(sorted(known))}", parameter=name
            )
        if name in known and len(query.getall(name)) > 1:
            raise BadRequest(f"{name} may be given once", parameter=name)
    text = query.get("limit", str(LIMIT_DEFAULT))
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= LIMIT_MAX):
        raise BadRequest(f"limit must be a number from 1 to {LIMIT_MAX}", parameter="limit")
    return query.get("prefix", ""), int(text)
