"""What aiohttp logs below the handlers, without the caller's address and the caller's bytes.

Neither may be kept of a visitor, and a key may stand in what was sent. Requests that are no HTTP don't come
here: ``connection`` answers them and counts them.
"""

from __future__ import annotations

import logging

_LOGGER = "rrd.http.protocol"


class _Unnamed(logging.Filter):
    """Rewrites a record in place: who it is about stands in its arguments."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.args:
            record.msg, record.args = "request_failed", None
        return True


def protocol_logger() -> logging.Logger:
    """Return the logger to give to ``web.AppRunner``."""
    logger = logging.getLogger(_LOGGER)
    if not any(isinstance(known, _Unnamed) for known in logger.filters):
        logger.addFilter(_Unnamed())
    return logger
