"""What the caller likes best, out of what we have (RFC 9110, section 12.5)."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web


def best_of(header: str | None, offered: Sequence[str]) -> str:
    """Return which of ``offered`` a header like ``gzip;q=0.5, br`` prefers; the earlier one wins a tie.

    The first of ``offered`` where the header is absent, is a wildcard or names none of them.
    """
    weights = _weights(header or "")
    ranked = sorted(offered, key=lambda name: -weights.get(name, 0.0))
    return ranked[0] if weights.get(ranked[0], 0.0) > 0 else offered[0]


def accepts(header: str | None, name: str) -> bool:
    """Tell whether a header like ``gzip;q=0, *`` takes ``name``: by name, or else by its wildcard."""
    weights = _weights(header or "")
    return weights.get(name, weights.get("*", 0.0)) > 0


def _weights(header: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if name:
            weights[name] = quality
    return weights


def is_known(request: web.Request, tag: str) -> bool:
    """Tell whether the caller has the answer with this tag already (RFC 9110, 13.1.2)."""
    return any(known.value in {tag, "*"} for known in request.if_none_match or ())
