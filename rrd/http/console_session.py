"""Signing in to the console and out of it: ``/console/session``."""

from __future__ import annotations

import asyncio

from aiohttp import web

from rrd import __version__
from rrd.access.keys import RIGHTS
from rrd.console.desk import RIGHTS_MAX
from rrd.console.sessions import Session
from rrd.errors import BadRequest, Forbidden, Unauthenticated
from rrd.http.auditing import note_done
from rrd.http.caller import address_of
from rrd.http.console_guard import COOKIE, SESSION, check_caller, desk_of, object_of, session_of
from rrd.http.problems import json_response
from rrd.http.services import SERVICES, Services
from rrd.http.sharing import party_of

_PATH = "/console/"
"""The cookie goes along below this path alone."""


async def get_session(request: web.Request) -> web.Response:
    """``GET /console/session``: what the person who is signed in may do; 401 if none is."""
    return await _told(request.app[SERVICES], request[SESSION])


async def post_session(request: web.Request) -> web.Response:
    """``POST /console/session`` with ``{"key"}`` or ``{"signIn"}``: sign in, or let the session do more.

    401: no such key, or a one-time token that was used or is too old. 403: a key that may neither read nor
    erase. 429 with ``Retry-After``: too many wrong ones.
    """
    services, place = request.app[SERVICES], check_caller(request)
    desk, now = desk_of(services), services.clock.monotonic()
    asked = await object_of(request, {"key", "signIn"})
    (name, secret), *others = asked.items() or [("", "")]
    if others or not isinstance(secret, str) or not secret:
        raise BadRequest('send {"key": "…"} or {"signIn": "…"}, a text')
    address = party_of(address_of(request, services.config), services.config.trusted_proxies)
    desk.tries.take(address, now)
    key_ids: tuple[str, ...] = ()
    if name == "key":
        key_ids = (_key_id(services, secret.strip(), place.console),)
    elif not await asyncio.to_thread(desk.sessions.use_sign_in, secret):
        raise Unauthenticated("this address was used already, or is too old. `rrd console` prints a new one")
    desk.tries.give_back(address, now)
    before, is_operator = session_of(request), name == "signIn"
    if before is not None:
        token, session = await asyncio.to_thread(
            desk.sessions.extend, before, key_ids=key_ids, is_operator=is_operator
        )
    else:
        age_ms = 1000 * services.config.console_session_s
        token, session = await asyncio.to_thread(
            desk.sessions.begin, key_ids=key_ids, is_operator=is_operator, age_ms=age_ms
        )
    await note_done(
        services, "console_signed_in", session, key=" ".join(key_ids) or None, is_operator=is_operator or None
    )
    response = await _told(services, session)
    response.set_cookie(
        COOKIE, token, path=_PATH, httponly=True, samesite="Strict",
        secure=place.console.startswith("https:"),
        max_age=max(1, (session.expires_ms - services.clock.now_ms()) // 1000),
    )  # fmt: skip
    return response


async def delete_session(request: web.Request) -> web.Response:
    """``DELETE /console/session``: sign out, and end what is still being sent. 204, were nobody signed in."""
    services, place = request.app[SERVICES], check_caller(request)
    if (session := session_of(request)) is not None:
        await asyncio.to_thread(desk_of(services).sessions.end, session)
        services.registry.followers.keys_changed()
        await note_done(services, "console_signed_out", session)
    response = web.Response(status=204)
    is_secure = place.console.startswith("https:")
    response.del_cookie(COOKIE, path=_PATH, httponly=True, samesite="Strict", secure=is_secure)
    return response


def _key_id(services: Services, key: str, console: str) -> str:
    row = services.gate.known_key(key, origin=console)
    if not RIGHTS[row.scope] & RIGHTS_MAX:
        raise Forbidden(
            f"this key has scope '{row.scope}', which may neither read nor erase. Sign in with a private key"
            " (scope 'read' or 'all'), or with one of scope 'erase'"
        )
    return row.id


async def _told(services: Services, session: Session) -> web.Response:
    rights = dict(desk_of(services).rights(session))
    if session.is_operator:
        # A store may hold recordings of tenants that never had a key here.
        stored = [tenant.name for tenant in await services.index.tenants()]
        rights = dict.fromkeys(sorted({*rights, *stored}), RIGHTS_MAX)
    tenants = [{"name": name, "rights": sorted(allowed, reverse=True)} for name, allowed in rights.items()]
    return json_response(
        {
            "tenants": tenants,
            "expires": session.expires_ms,
            "operator": session.is_operator,
            "version": __version__,
        }
    )
