"""Who may ask below ``/console``: under which name, from which page, and as which person.

A browser sends a cookie along with each request, from whichever page it comes. ``SameSite=Strict`` keeps it
from pages of other sites; a page on another port of the same machine is of the same site. So each request
that counts on the cookie must come from the console's own page (``Sec-Fetch-Site``, ``Origin``), and one that
changes something carries a header that no form, link or image can send.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import orjson
from aiohttp import hdrs, web

from rrd.console.desk import Desk
from rrd.console.origins import Placement, placement
from rrd.console.sessions import Session
from rrd.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    RequestError,
    TooLarge,
    Unauthenticated,
    UnsupportedType,
    WireError,
)
from rrd.http.caller import SESSION_GRANT, is_https
from rrd.http.connection import connection_of
from rrd.http.ingest_post import CutOff, body_chunks
from rrd.http.link_host import is_admitted
from rrd.http.services import SERVICES, Services
from rrd.ids import is_tenant

COOKIE = "rrd_console"
HEADER = "Rrd-Console"

SESSION = web.RequestKey("session", Session)
"""Whose session it is, on routes that ``signed_in`` guards."""

_BODY_BYTES_MAX = 16 << 10
_SAFE = {hdrs.METH_GET, hdrs.METH_HEAD}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Misdirected(RequestError):
    """The console was asked for under a name that may not be this server's (RFC 9110, 15.5.20)."""

    code = "host_not_admitted"
    status = 421


def desk_of(services: Services) -> Desk:
    """Return who signs people in; the console's routes are there only where it is on."""
    assert services.desk is not None, "the console is on"
    return services.desk


def place_of(request: web.Request) -> Placement:
    """Return where console and stage are for a request. Raises ``Misdirected``.

    Anyone can make a name of theirs point at this machine (DNS rebinding). A page of that name would be of
    the console's own origin, as far as a browser can tell.
    """
    config, host = request.app[SERVICES].config, request.headers.get(hdrs.HOST, "")
    if not is_admitted(host, config):
        raise Misdirected(
            "the console answers under this server's own name alone: name it in public_url or link_hosts"
        )
    return placement(
        host, is_https=is_https(request, config), public_url=config.public_url,
        stage_origin=config.console_stage_origin, has_ipv4=config.host != "::1",
    )  # fmt: skip


def check_caller(request: web.Request) -> Placement:
    """Check that the console's own page asks. Raises ``Misdirected``, ``NotFound``, ``Forbidden``."""
    place = place_of(request)
    if place.is_stage_only:
        raise NotFound("this is the stage's own name: the console is at public_url")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise Forbidden("a page of another origin asked: the console's own page alone may")
    origin = request.headers.get(hdrs.ORIGIN, place.console)
    if origin != place.console:
        raise Forbidden(
            f"a page of another origin than {place.console} asked. If that is the console's own page, have"
            " the proxy in front pass on Host and X-Forwarded-Proto, or set public_url"
        )
    if request.method not in _SAFE and request.headers.get(HEADER) != "1":
        raise Forbidden(
            f"what changes something needs the header {HEADER}: 1, which a page can't send unasked"
        )
    return place


def session_of(request: web.Request) -> Session | None:
    """Return the session that a request's cookie stands for, if it may still do anything."""
    desk = desk_of(request.app[SERVICES])
    session = desk.sessions.find(request.cookies.get(COOKIE, ""))
    return session if session is not None and desk.may_anything(session) else None


def signed_in(handler: Handler) -> Handler:
    """Have a handler called for people who are signed in, with their ``SESSION``.

    Where the path has a tenant, with what the session may do there as well, for ``authorize`` to find.
    """

    async def guarded(request: web.Request) -> web.StreamResponse:
        check_caller(request)
        session = session_of(request)
        if session is None:
            raise Unauthenticated("no session, or one that has ended: sign in to the console")
        request[SESSION] = session
        if (tenant := request.match_info.get("tenant")) is not None:
            grant = desk_of(request.app[SERVICES]).grant(session, tenant) if is_tenant(tenant) else None
            if grant is None:
                raise Forbidden("this session may see nothing of this tenant: sign in with a key of it, too")
            request[SESSION_GRANT] = grant
        return await handler(request)

    return guarded


async def object_of(request: web.Request, known: Collection[str]) -> dict[str, object]:
    """Return the JSON object in a body, which has ``known`` members alone.

    Raises ``RequestError``, ``WireError``.
    """
    services = request.app[SERVICES]
    if request.content_type != "application/json":
        raise UnsupportedType("send application/json")
    body = bytearray()
    try:
        async for chunk in body_chunks(request, services.config, connection_of(request).hold):
            body += chunk
            if len(body) > _BODY_BYTES_MAX:
                raise TooLarge(f"the body is larger than {_BODY_BYTES_MAX} bytes")
        value = orjson.loads(body)
    except CutOff:
        raise WireError("the body was cut off") from None
    except ValueError:
        raise BadRequest("the body must be JSON") from None
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    for name in value:
        if name not in known:
            raise BadRequest(f"{name!r} is unknown here", parameter=name)
    return value
