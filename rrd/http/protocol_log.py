"""What aiohttp logs about requests that are no HTTP, without the caller's address and the caller's bytes.

It would name both at level ERROR, and anybody who scans a network sends such requests. Neither may be kept
of a visitor, and a key may stand in what was sent.
"""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError

_LOGGER = "rrd.http.protocol"


class _Unnamed(logging.Filter):
    """Rewrites a record in place: who it was about is in its arguments, what was sent in its exception."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.msg, record.exc_info = f"no_http status={error.code} error={type(error).__name__}", None
        elif record.args:
            record.msg = "request_failed"
        record.args = None
        return True


def protocol_logger() -> logging.Logger:
    """Return the logger to give to ``web.AppRunner``."""
    logger = logging.getLogger(_LOGGER)
    if not any(isinstance(known, _Unnamed) for known in logger.filters):
        logger.addFilter(_Unnamed())
    return logger
