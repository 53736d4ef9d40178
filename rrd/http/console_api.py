"""What the console's page can do beyond the API: share a recording, and make a public key for a site."""

from __future__ import annotations

import asyncio

from aiohttp import web

from rrd.access.keys import SigningKeyRow
from rrd.access.lifetime import show_ms
from rrd.access.signing import recording_path, sign
from rrd.errors import BadRequest, Forbidden
from rrd.http.auditing import note_done
from rrd.http.console_guard import SESSION, desk_of, object_of
from rrd.http.lookup import may_read, visible
from rrd.http.problems import json_response
from rrd.http.services import SERVICES, Services

SHARE_S_MIN, SHARE_S_MAX = 60, 366 * 86_400


async def post_share(request: web.Request) -> web.Response:
    """``POST …/recordings/{id}/share`` with ``{"expiresInS"}``: the query of a presigned URL that reads it.

    Without a signing key that lives as long as the URL the tenant gets one. 400, 403, 404.
    """
    services = request.app[SERVICES]
    recording_id, grant = await may_read(request, services)
    asked = await object_of(request, {"expiresInS"})
    age_s = asked.get("expiresInS")
    if not isinstance(age_s, int) or isinstance(age_s, bool) or not SHARE_S_MIN <= age_s <= SHARE_S_MAX:
        raise BadRequest(
            f"expiresInS must be a number of seconds from {SHARE_S_MIN} to {SHARE_S_MAX}",
            parameter="expiresInS",
        )
    await visible(services, grant, recording_id)
    expires_s = services.clock.now_ms() // 1000 + age_s
    key = services.gate.signing_key(grant.tenant, until_ms=1000 * expires_s)
    if key is None:
        key = await asyncio.to_thread(_new_signing_key, services, grant.tenant)
        await note_done(services, "signing_key_made", grant, key=key.key_id, tenant=grant.tenant)
    query = sign(
        secret=key.secret, key_id=key.key_id, tenant=grant.tenant, method="GET",
        scope_path=recording_path(recording_id), expires_s=expires_s,
    )  # fmt: skip
    await note_done(
        services, "shared", grant, tenant=grant.tenant, recording=recording_id, key=key.key_id,
        expires=show_ms(1000 * expires_s),
    )  # fmt: skip
    return json_response({"query": query})


async def post_key(request: web.Request) -> web.Response:
    """``POST /console/api/{tenant}/keys`` with ``{"origin"}``: a new public key, for a site's snippet.

    For operators alone. ``origin``: the site that the key is bound to, or null for any.
    """
    services = request.app[SERVICES]
    if not request[SESSION].is_operator:
        raise Forbidden("keys are made by the operator: sign in with the address that `rrd console` prints")
    asked = await object_of(request, {"origin"})
    origin = asked.get("origin")
    if origin is not None and not isinstance(origin, str):
        raise BadRequest("origin must be a text like https://www.example.com, or null", parameter="origin")
    origins = [origin] if origin else []
    tenant = request.match_info["tenant"]
    key_id, key = await asyncio.to_thread(_new_key, services, tenant, origins)
    await note_done(
        services, "key_made", request[SESSION], key=key_id, tenant=tenant, scope="ingest",
        origins=origins or None,
    )  # fmt: skip
    return json_response({"key": key}, status=201)


def _new_signing_key(services: Services, tenant: str) -> SigningKeyRow:
    row = desk_of(services).keys.create_signing_key(tenant=tenant)
    services.gate.refresh()
    return row


def _new_key(services: Services, tenant: str, origins: list[str]) -> tuple[str, str]:
    made = desk_of(services).keys.create_key(
        tenant=tenant, scope="ingest", origins=origins, label="made in the console"
    )
    services.gate.refresh()
    return made
