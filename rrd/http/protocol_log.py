"""What aiohttp logs below the handlers, without the caller's address and the caller's bytes.

Neither may be kept of a visitor, and a key may stand in what was sent. Requests that are no HTTP don't come
here: ``connection`` answers them and counts them.
"""

from __future__ import annotations

import logging

_LOGGER = "rrd.http.protocol"

_SOCKETS = "aiohttp.websocket"
"""The one logger of aiohttp's server side that can't be replaced: those for requests and access can, and no
code that rrd runs uses the others."""


class _Unnamed(logging.Filter):
    """Rewrites a record in place: who it is about stands in its arguments."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.args:
            record.msg, record.args = "request_failed", None
        return True


class _Unsaid(logging.Filter):
    """Drops records with arguments.

    The logger of sockets has one: a client offers subprotocols, and none is spoken here. The client sees that
    for itself in the reply (RFC 6455, 4.2.2).
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.args


def protocol_logger() -> logging.Logger:
    """Return the logger to give to ``web.AppRunner``; make the one for sockets as discreet."""
    _add(logging.getLogger(_SOCKETS), _Unsaid())
    logger = logging.getLogger(_LOGGER)
    _add(logger, _Unnamed())
    return logger


def _add(logger: logging.Logger, wanted: logging.Filter) -> None:
    if not any(type(known) is type(wanted) for known in logger.filters):
        logger.addFilter(wanted)
