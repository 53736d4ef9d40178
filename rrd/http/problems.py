"""Errors as JSON bodies, and CORS: the two things that every reply needs, failed ones most of all.

The rrweb client calls ``.json()`` on an error, across origins: without a JSON body *and* CORS headers
its user sees nothing but a failed fetch (https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from rrd.errors import BadRequest, DiskFull, RefusedError, RrdError
from rrd.log import event

logger = logging.getLogger(__name__)

_PREFLIGHT_AGE_S = "86400"
"""A preflight can't finish while a page unloads, so browsers should remember it: each has its own cap."""


def json_response(value: object, *, status: int = 200) -> web.Response:
    """Return ``value`` as a JSON response."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def problem(status: int, code: str, message: str, **more: object) -> web.Response:
    """Return an error as JSON: ``{"error":{"code","message",…}}``."""
    fields = {key: value for key, value in more.items() if value is not None}
    return json_response({"error": {"code": code, "message": message, **fields}}, status=status)


def problem_of(error: RrdError, **more: object) -> web.Response:
    """Return the response that ``error`` is answered with."""
    if isinstance(error, BadRequest):
        more = {"parameter": error.parameter, **more}
    response = problem(error.status, error.code, str(error), **more)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 11.6.1
    return response


def preflight() -> web.Response:
    """Answer a CORS preflight; ``*`` as a header name would not cover ``authorization``."""
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE, OPTIONS",
            "Access-Control-Allow-Headers": (
                "authorization, content-type, content-encoding, accept, if-none-match"
            ),
            "Access-Control-Max-Age": _PREFLIGHT_AGE_S,
        },
    )


async def add_cors_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Let any page read the reply. Keys, not origins, say who may; no cookie is ever used."""
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Expose-Headers"] = "ETag, Rrd-Missing-Events"


@web.middleware
async def shared_manners(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Preflights, and errors told to the caller in JSON and to the log without secrets."""
    if request.method == "OPTIONS":
        return preflight()
    try:
        return await handler(request)
    except RrdError as error:
        level = logging.WARNING if isinstance(error, RefusedError) or error.status >= 500 else logging.INFO
        if isinstance(error, DiskFull):
            level = logging.DEBUG  # The guard has said so once; thousands of senders needn't repeat it.
        _log(level, request, error.status, error.code)
        return problem_of(error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        _log(logging.INFO, request, error.status, "http")
        code = {404: "no_such_path", 405: "method_not_allowed", 413: "too_large"}.get(
            error.status, "http_error"
        )
        response = problem(error.status, code, f"{error.reason}: {request.method} {request.path}")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except ConnectionError:
        raise  # The caller has gone away; there is nobody to answer.
    except Exception:  # noqa: BLE001  # the last line of defence: whatever it is, the caller gets JSON
        event(
            logger, logging.ERROR, "request_failed", exc_info=True, method=request.method, path=request.path
        )
        return problem(500, "internal", "Something went wrong here; the log says what.")


def _log(level: int, request: web.Request, status: int, code: str) -> None:
    # The path without its query, which may hold a key; and never the caller's address.
    event(logger, level, "refused", method=request.method, path=request.path, status=status, code=code)
