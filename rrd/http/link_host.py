"""Under which host names presigned links are handed out.

A link is a path, and leads to the name under which it was asked for. Anyone can make a name of theirs point
at this machine (DNS rebinding), or send any ``Host`` through a cache, so links are for known names alone.
"""

from __future__ import annotations

import ipaddress

from yarl import URL

from rrd.config import Config
from rrd.errors import BadRequest

_LOCAL = "localhost"
"""It and the names below it are this machine (RFC 6761, 6.3)."""


def check_link_host(host: str, config: Config) -> None:
    """Check that links may be had under a ``Host`` header (RFC 9110, 7.2). Raises ``BadRequest``.

    Addresses are always good: no name server has a say in where they lead.
    """
    if is_admitted(host, config):
        return
    raise BadRequest(
        "presigned links are handed out under this server's own name alone; name it in public_url or "
        "link_hosts",
        code="host_not_admitted",
        parameter="includeSignedUrls",
    )


def is_admitted(host: str, config: Config) -> bool:
    """Tell whether a ``Host`` header names this server: by a setting, or as no name server decides."""
    name = _name_of(host)
    admitted = {known.lower().rstrip(".") for known in config.link_hosts}
    admitted |= {(URL(url).host or "").lower() for url in (config.public_url, config.console_stage_origin)}
    is_local = name == _LOCAL or name.endswith("." + _LOCAL) or _is_address(name)
    return bool(name) and (name in admitted or is_local)


def _name_of(host: str) -> str:
    """Return the name or address without its port, in lower case; empty if that is none."""
    try:
        return (URL(f"http://{host}").host or "").lower().rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
