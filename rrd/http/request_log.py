"""One line a request in the log, at debug: what was asked for, by which key, and how it went.

Never from which address, and never a path or query as it was sent: recordings, metadata and tokens stand
there. At any other ``log_level`` a connection learns once that nothing is to be told: that is all it costs.
"""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from rrd.http.caller import GRANT
from rrd.log import emit

logger = logging.getLogger(__name__)

_METHOD_CHARS = 20
"""Clients may send any word; those of rrd are shorter."""


class RequestLog(AbstractAccessLogger):
    """Tells each request of one connection, once its answer is sent or has failed; a socket at its end."""

    @property
    def enabled(self) -> bool:
        """Whether a connection that begins now is told of."""
        return logger.isEnabledFor(logging.DEBUG)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log one request. ``time``: how long it took, in seconds."""
        grant = request.get(GRANT)
        emit(
            logger, logging.DEBUG, "request", method=request.method[:_METHOD_CHARS],
            path=template_of(request), status=response.status, bytes=response.body_length,
            took_ms=round(time * 1000, 1), tenant=grant.tenant if grant else None,
            key=grant.key_id if grant else None,
        )  # fmt: skip


def template_of(request: web.BaseRequest) -> str:
    """Return the path of the route that answers: ``/recordings/{recording}/events``; "-" if there is none."""
    # What is no HTTP never came as far as the router, and ``match_info`` would raise.
    match = getattr(request, "_match_info", None)
    resource = match.route.resource if match is not None else None
    return resource.canonical if resource is not None else "-"
