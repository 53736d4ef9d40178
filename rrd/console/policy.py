"""The headers that keep the console's page and what was recorded apart. Pure.

The page that replays a recording inherits the policy of the stage. So that policy alone says what a recording
may load: nothing, or images, styles, fonts and media of hosts that the watcher has named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

HOSTS_MAX = 20

_HOST = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A host whose last label is one is an IPv4 address in some spelling (https://url.spec.whatwg.org/#ends-in-a-number-checker)."""
_NOT_PUBLIC = {
    "localhost",
    "local",
    "localdomain",
    "internal",
    "intranet",
    "private",
    "lan",
    "home",
    "corp",
    "arpa",
}
"""Last labels of names in a network of the watcher's own, which a recording must not have his browser ask."""

_SHARED: Mapping[str, str] = {
    "Origin-Agent-Cluster": "?1",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), display-capture=()",
}
_APART: Mapping[str, str] = {
    **_SHARED,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
DATA_HEADERS: Mapping[str, str] = {
    **_APART,
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Of each answer below ``/console`` that is no document: it is to be no document, whatever it holds."""


def page_headers(stage: str) -> Mapping[str, str]:
    """Return the headers of the console's page. ``stage``: the origin of its stage, or ``'self'``."""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        f"frame-src {stage}; base-uri 'none'; form-action 'none'; object-src 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return {**_APART, "Content-Security-Policy": policy}


def reading_headers(style: str) -> Mapping[str, str]:
    """Return the headers of a page to read, without a script. ``style``: a source of styles of its own."""
    policy = (
        f"default-src 'none'; style-src 'self' {style}; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return {**_APART, "Content-Security-Policy": policy}


def stage_headers(console: str, assets: Sequence[str]) -> Mapping[str, str]:
    """Return the headers of the stage.

    ``console``: the origin that may frame it, or ``'self'``. ``assets``: as ``sources`` says.
    """
    more = "".join(f" {source}" for source in assets)
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'{more}; "
        f"img-src data: blob:{more}; font-src data:{more}; media-src data: blob:{more}; connect-src 'none'; "
        "frame-src 'none'; object-src 'none'; worker-src 'none'; manifest-src 'none'; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors {console}; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return {
        **_SHARED,
        "Content-Security-Policy": policy,
        "Cross-Origin-Embedder-Policy": "credentialless",
        "X-DNS-Prefetch-Control": "off",
    }


def sources(asked: str, setting: str) -> list[str]:
    """Return from where a recording may load images, styles, fonts and media, as sources of a policy.

    ``asked`` is the stage's parameter ``assets``: host names with commas. ``setting``: ``console_assets``.
    Names that may not be loaded from are left out: addresses, names of a local network, and what is no name.
    """
    if setting == "all-https":
        return ["https:"]
    if setting == "none":
        return []
    hosts = dict.fromkeys(filter(_is_public, asked.lower().split(",")))
    return [f"https://{host}" for host in list(hosts)[:HOSTS_MAX]]


def _is_public(host: str) -> bool:
    last = host.rpartition(".")[2]
    is_name = len(host) <= 253 and _HOST.fullmatch(host) is not None
    return is_name and _NUMBER.fullmatch(last) is None and last not in _NOT_PUBLIC
