"""Which path a request means: extra slashes are dropped here, without a redirect, which loses a body.

A ``serverUrl`` that ends in a slash makes ``//recordings/…``; one with a template makes ``…/ingest/``. A
percent-encoded slash is part of a segment and stays so. The path of a DELETE is taken to the letter:
``/recordings/`` with a missing id must not come to mean all recordings.
"""

from __future__ import annotations

import re

from aiohttp import hdrs
from aiohttp.http_parser import RawRequestMessage
from yarl import URL

_SLASHES = re.compile("/{2,}")
_TIDIED = {hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_POST, hdrs.METH_OPTIONS}


CONSOLE_PATH = "/console"


def is_console(path: str) -> bool:
    """Tell whether a path, percent-decoded, is the console's, which no page of another origin may use."""
    return path == CONSOLE_PATH or path.startswith(f"{CONSOLE_PATH}/")


def tidy_path(raw_path: str) -> str:
    """Return a percent-encoded path with single slashes, and none at its end but for ``/`` itself."""
    return _SLASHES.sub("/", raw_path).rstrip("/") or "/"


def tidy_target(message: RawRequestMessage) -> RawRequestMessage:
    """Return a request whose target is tidied; ``message`` itself, if it is so already."""
    if message.method not in _TIDIED:
        return message
    raw_path = message.url.raw_path
    if not raw_path.startswith("/") or (tidied := tidy_path(raw_path)) == raw_path:
        return message
    url = URL.build(path=tidied, query_string=message.url.raw_query_string, encoded=True)
    return message._replace(path=str(url), url=url)
