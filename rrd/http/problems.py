"""Errors as JSON bodies, with CORS headers, told to the log and to the account of refusals.

The rrweb client calls ``.json()`` on an error, across origins: without a JSON body *and* CORS headers
its user sees nothing but a failed fetch (https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import hdrs, web

from rrd import metrics
from rrd.console.policy import DATA_HEADERS
from rrd.errors import BadRequest, RrdError, without_frames
from rrd.http import cors
from rrd.http.paths import is_console
from rrd.http.services import SERVICES, Services
from rrd.log import emit

logger = logging.getLogger(__name__)

_CODE = web.ResponseKey("code", str)
"""The code of a reply that is an error."""

IS_PUBLIC = web.ResponseKey("is_public", bool)
"""A reply that is the same for all, and says itself what caches and pages may do with it."""

SENDER = web.RequestKey("sender", tuple[str, str | None])
"""Tenant and recording of a request whose sender has the right to write."""

_PATH_CHARS_LOGGED = 200
_SENDING = {"POST", "PUT", "PATCH", "UNKNOWN"}
"""Methods of those who send events; the last is aiohttp's name for what is no request."""


def json_response(value: object, *, status: int = 200) -> web.Response:
    """Return ``value`` as a JSON response."""
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def problem(status: int, code: str, message: str, **more: object) -> web.Response:
    """Return an error as JSON: ``{"error":{"code","message",…}}``."""
    fields = {key: value for key, value in more.items() if value is not None}
    response = json_response({"error": {"code": code, "message": message, **fields}}, status=status)
    response[_CODE] = code
    return response


def problem_of(error: RrdError, **more: object) -> web.Response:
    """Return the response that ``error`` is answered with."""
    if isinstance(error, BadRequest):
        more = {"parameter": error.parameter, **more}
    response = problem(error.status, error.code, str(error), **more)
    if (retry_after_s := getattr(error, "retry_after_s", None)) is not None:
        response.headers[hdrs.RETRY_AFTER] = str(retry_after_s)  # RFC 9110, 10.2.3
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 11.6.1
    if error.status == 426:
        response.headers["Sec-WebSocket-Version"] = "13"  # RFC 6455, 4.4
        response.headers["Upgrade"], response.headers["Connection"] = "websocket", "Upgrade"  # RFC 9110, 7.8
    return response


def http_problem(request: web.BaseRequest, error: web.HTTPException) -> web.Response:
    """Return the JSON that an error of aiohttp's own is answered with."""
    code = {404: "no_such_path", 405: "method_not_allowed", 413: "too_large", 417: "unmet_expectation"}.get(
        error.status, "http_error"
    )
    # As it was sent: an encoded slash is no slash.
    path = request.rel_url.raw_path[:_PATH_CHARS_LOGGED]
    response = problem(error.status, code, f"{error.reason}: {request.method} {path}")
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


SERVER_NAME = "rrd"
"""The ``Server`` header (RFC 9110, 10.2.4). aiohttp's names the versions of Python and of itself."""


def add_shared_headers(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Let the page that asked read the reply: keys, not origins, say who may.

    Except below ``/console``, where a cookie says who may, and no page but the console's own reads anything.
    """
    if is_console(request.path):
        add_console_headers(response)
    else:
        add_owed_headers(response, request.headers.get(hdrs.ORIGIN))


def add_console_headers(response: web.StreamResponse) -> None:
    """Add what each reply below ``/console`` owes; what it says itself stays."""
    response.headers[hdrs.SERVER] = SERVER_NAME
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    for name, value in DATA_HEADERS.items():
        response.headers.setdefault(name, value)


def add_owed_headers(response: web.StreamResponse, origin: str | None) -> None:
    """Add what each reply owes, whatever made it; what the reply says itself of caching stays.

    Replies depend on the key and hold what visitors did: no cache may keep them (RFC 9111, 5.2.2.5), and no
    browser may take them for anything but what they are (https://fetch.spec.whatwg.org/#x-content-type-options-header).
    A reply that has them already stays as it is.
    """
    headers = response.headers
    if headers.get(hdrs.SERVER) == SERVER_NAME:
        return
    headers[hdrs.SERVER] = SERVER_NAME
    headers["X-Content-Type-Options"] = "nosniff"
    if response.get(IS_PUBLIC):
        return
    headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    cors.add_headers(headers, origin)
    headers[hdrs.VARY] = _vary(headers.get(hdrs.VARY, ""))


@functools.lru_cache(64)  # rrd's replies say a handful of things here.
def _vary(said: str) -> str:
    """Return the value of ``Vary`` with what each reply depends on: the page's origin, and the key."""
    varied = {name.strip().lower() for name in said.split(",")}
    owed = [name for name in (hdrs.ORIGIN, hdrs.AUTHORIZATION) if name.lower() not in varied]
    return ", ".join([said, *owed] if said else owed)


@web.middleware
async def shared_manners(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Preflights, and errors told to the caller in JSON, to the log without secrets, and to the account."""
    if request.method == "OPTIONS" and not is_console(request.path):
        return web.Response(status=204, headers=cors.preflight_headers(request.headers))
    response = await _answer(request, handler)
    if response.status >= 400:
        note_refusal(request, response)
    return response


async def _answer(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Exception as error:  # the last line of defence: whatever it is, the caller gets JSON
        if (answer := answer_of(request, error)) is None:
            raise
        return answer


def answer_of(request: web.Request, error: Exception) -> web.Response | None:
    """Return how what a handler raises is answered; None for what is to be raised on.

    Call it while ``error`` is handled: the log tells where it comes from.
    """
    match error:
        case RrdError():
            # Its connection may keep it, and with its frames all that the request had in memory.
            without_frames(error)
            return problem_of(error)
        case web.HTTPException():
            return None if error.status < 400 else http_problem(request, error)
        case ConnectionError():
            return None  # The caller has gone away; there is nobody to answer.
    emit(logger, logging.ERROR, "request_failed", exc_info=True, method=request.method, path=request.path)
    return problem(500, "internal", "Something went wrong here; the log says what.")


def note_refusal(
    request: web.BaseRequest, response: web.StreamResponse, *, services: Services | None = None
) -> None:
    """Log a reply that is an error, and count it if it is events that were refused.

    ``services`` is owed for a request that never reached the application.
    """
    if services is None and isinstance(request, web.Request):
        services = request.app[SERVICES]
    if services is None:
        return  # The connection is gone, and the daemon stops.
    code = response.get(_CODE, "http_error")
    # The path without its query, which may hold a key; and never the caller's address.
    services.refusals.tell(
        "refused", method=request.method, path=request.path[:_PATH_CHARS_LOGGED], status=response.status,
        code=code,
    )  # fmt: skip
    if is_console(request.path):
        return
    if request.method in _SENDING or request.path.endswith("/ws"):
        tenant, recording = request.get(SENDER, ("", None))
        services.refusals.count(
            code=code, status=response.status, tenant=tenant, recording_id=recording or ""
        )
    else:
        metrics.READS_REFUSED.add(code)
