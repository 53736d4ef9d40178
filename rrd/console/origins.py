"""Which origin shows what was recorded, for each name under which the console is asked for. Pure.

A recording is a stranger's page. The stage, which shows it, is a document of another origin than the console
where there is one: then a recording that gets out of all else reaches neither the session nor the console's
page, and one that never ends hangs the stage alone.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from rrd.access.origins import parse_origin
from rrd.errors import BadRequest

_PAIR = {"localhost": "127.0.0.1", "127.0.0.1": "localhost"}
"""Two names of this machine that need no configuration."""


class Placement(NamedTuple):
    """Where console and stage are, for a request. Both are origins as browsers write them."""

    console: str
    stage: str
    """Where this console finds its stage."""
    framed_by: str
    """Where the console is that shows the stage of this name: the one origin that the stage listens to."""
    is_stage_only: bool = False
    """It was asked for under the stage's own name: there is no console there."""


def placement(
    host: str, *, is_https: bool, public_url: str, stage_origin: str, has_ipv4: bool = True
) -> Placement:
    """Return where console and stage are for a ``Host`` header (RFC 9110, 7.2). Raises ``BadRequest``.

    ``public_url`` and ``stage_origin`` are the settings, or empty. The stage's own origin goes with the
    public name; under other names, such as an address, the console is its own stage. ``has_ipv4``: 127.0.0.1
    may lead here, too.
    """
    public = public_origin(public_url)
    if stage_origin and _is_at(stage_origin, host):
        return Placement(public, parse_origin(stage_origin), public, is_stage_only=True)
    if public and _is_at(public, host):
        return Placement(public, parse_origin(stage_origin) if stage_origin else public, public)
    own = parse_origin(f"{'https' if is_https else 'http'}://{host}")
    url = urlsplit(own)
    if has_ipv4 and (other := _PAIR.get(url.hostname or "")):
        port = "" if url.port is None else f":{url.port}"
        beside = f"{url.scheme}://{other}{port}"
        return Placement(own, beside, beside)
    return Placement(own, own, own)


def public_origin(public_url: str) -> str:
    """Return the origin of the setting ``public_url``; empty if there is none."""
    try:
        url = urlsplit(public_url)
        return parse_origin(f"{url.scheme}://{url.netloc}")
    except (BadRequest, ValueError):
        return ""


def _is_at(origin: str, host: str) -> bool:
    scheme = origin.partition("://")[0]
    return parse_origin(f"{scheme}://{host}") == parse_origin(origin)
