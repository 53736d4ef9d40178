"""The shipped files for nginx and Caddy with an operator's name put in."""

from __future__ import annotations

import re
from typing import Literal

from rrd.setup.settings_file import shipped
from rrd.setup.tools import SetupFailed, find_tool, run_tool

ProxyKind = Literal["nginx", "caddy"]

KINDS: tuple[ProxyKind, ...] = ("nginx", "caddy")

_FILES: dict[ProxyKind, str] = {"nginx": "nginx.conf", "caddy": "Caddyfile"}
_NAME = "rrd.example.com"
_UPSTREAM = "127.0.0.1:8787"
_DELAY = "# stream_close_delay"
_VERSION_TIMEOUT_S = 10.0


def proxy_file(kind: ProxyKind, *, name: str, upstream: str, knows_delay: bool = False) -> str:
    """Return the configuration for ``name`` in front of rrd at ``upstream`` (``HOST:PORT``).

    ``knows_delay``: this Caddy keeps sockets open over a reload if it is told to.
    """
    text = shipped(_FILES[kind]).replace(_NAME, name).replace(_UPSTREAM, upstream)
    return text.replace(_DELAY, _DELAY.removeprefix("# ")) if knows_delay else text


def without_comments(text: str) -> str:
    """Return a configuration without the lines that only explain it."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return re.sub(r"\n(?:[ \t]*\n)+(?=[ \t]*(\}?))", _gap, "\n".join(lines)).strip("\n") + "\n"


def _gap(found: re.Match[str]) -> str:
    return "\n" if found[1] else "\n\n"


def installed_proxies() -> list[ProxyKind]:
    """Return which of the two are installed here."""
    return [kind for kind in KINDS if find_tool(kind) is not None]


def caddy_knows_delay() -> bool:
    """Tell whether the Caddy of this machine knows ``stream_close_delay``: 2.7 and newer do."""
    if find_tool("caddy") is None:
        return False
    try:
        said = run_tool("caddy", "version", timeout_s=_VERSION_TIMEOUT_S).said
    except SetupFailed:
        return False
    found = re.match(r"v?(\d+)\.(\d+)", said)
    return found is not None and (int(found[1]), int(found[2])) >= (2, 7)
