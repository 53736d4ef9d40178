"""Origins: the pages that an API key may be bound to, written as browsers write them (RFC 6454)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from rrd.errors import BadRequest

_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_origin(text: str) -> str:
    """Return the origin that ``text`` names, as it stands in an ``Origin`` header (RFC 6454, 6.2).

    Lower case, no default port, no trailing slash, an international host name in its ASCII form. Raises
    ``BadRequest`` for anything with a path, query or user, without scheme or host, or with a wildcard.
    """
    try:
        return _serialise(text.strip())
    except ValueError:  # A port that is no number, a bracket too many, a label that IDNA refuses.
        raise BadRequest(f"{text!r} is not an origin. Write it like https://www.example.com") from None


def changed_origins(
    origins: Sequence[str], *, add: Sequence[str] = (), remove: Sequence[str] = (), clear: bool = False
) -> tuple[str, ...]:
    """Return the origins that a key is bound to after a change, each once. ``clear``: before any is added.

    Raises ``BadRequest`` for one of bad form, for one to remove that isn't there, and where removing leaves
    none: a key that is bound to no origin works from any.
    """
    left = [] if clear else list(origins)
    for origin in map(parse_origin, remove):
        if origin not in left:
            raise BadRequest(f"the key isn't bound to {origin}. `rrd keys list` shows its origins")
        left.remove(origin)
    changed = tuple(dict.fromkeys([*left, *map(parse_origin, add)]))
    if remove and not changed:
        raise BadRequest(
            "that leaves the key without an origin, so it would work from any. If that is meant, use"
            " --any-origin instead; `rrd keys revoke` makes the key useless"
        )
    return changed


def _serialise(text: str) -> str:
    url = urlsplit(text)
    host, port = url.hostname or "", url.port
    more = url.query or url.fragment or url.username is not None or url.path not in {"", "/"}
    if not url.scheme or not host or more or "*" in host or any(c.isspace() for c in text):
        raise ValueError(text)
    host = f"[{host}]" if ":" in host else host.encode("idna").decode()
    suffix = "" if port is None or port == _DEFAULT_PORTS.get(url.scheme) else f":{port}"
    return f"{url.scheme}://{host}{suffix}".lower()
