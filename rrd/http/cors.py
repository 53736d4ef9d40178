"""CORS: every reply may be read by the page that asked (https://fetch.spec.whatwg.org/#http-cors-protocol).

Keys say who may do what, origins don't, and no cookie is ever looked at. So any origin is allowed, with
credentials: ``sendBeacon`` always sends them, and pages wrap ``fetch`` so that it does. ``*`` would cover
neither that nor ``authorization``; hence origin and header names are echoed. Below ``/console`` a cookie
counts, and none of this holds: no page but the console's own may read anything there.
"""

from __future__ import annotations

import re

from multidict import CIMultiDict, CIMultiDictProxy

_PREFLIGHT_AGE_S = "86400"
"""A preflight can't finish while a page unloads, so browsers should remember it: each has its own cap."""

_METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
_NAMED = ("authorization", "content-type", "content-encoding", "accept", "if-none-match")
_EXPOSED = "ETag, Link, Location, Retry-After, Rrd-Missing-Events"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, 5.6.2."""
_SERIALIZED_ORIGIN = re.compile(r"[!-~]+")

_ASKED_CHARS_MAX = 4096
ORIGIN_CHARS_MAX = 4096
"""A longer origin is answered as none."""

_Headers = CIMultiDict[str] | CIMultiDictProxy[str]


def preflight_headers(asked: _Headers) -> dict[str, str]:
    """Return what a preflight is answered with: the headers it asks for are allowed beside the named ones.

    Tracers add ``traceparent``, ``baggage`` and others to any request of a page; to refuse one would refuse
    all that the page sends. Only header names are echoed, at most 4,096 characters of them.
    """
    names = dict.fromkeys(_NAMED)
    wanted = ",".join(asked.getall("Access-Control-Request-Headers", ()))
    for name in wanted[:_ASKED_CHARS_MAX].split(","):
        if _TOKEN.fullmatch(name.strip()):
            names[name.strip().lower()] = None
    headers = {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": ", ".join(names),
        "Access-Control-Max-Age": _PREFLIGHT_AGE_S,
        "Vary": "Access-Control-Request-Headers, Access-Control-Request-Private-Network",
    }
    if asked.get("Access-Control-Request-Private-Network", "").strip().lower() == "true":
        headers["Access-Control-Allow-Private-Network"] = (
            "true"  # https://wicg.github.io/private-network-access
        )
    return headers


def add_headers(headers: CIMultiDict[str], origin: str | None) -> None:
    """Let the page of ``origin`` read a reply with these ``headers``; any page, if no origin is known.

    Such a reply owes ``Vary: Origin`` as well.
    """
    if origin and len(origin) <= ORIGIN_CHARS_MAX and _SERIALIZED_ORIGIN.fullmatch(origin):
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Allow-Credentials"] = "true"
    else:
        headers["Access-Control-Allow-Origin"] = "*"
    headers["Access-Control-Expose-Headers"] = _EXPOSED
