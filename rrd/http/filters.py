"""The metadata filters in a query: ``meta[KEY]=VALUE``, the brackets raw or percent-encoded.

A filter that is passed over widens what it should narrow: the whole list is shown, or erased, in place
of one user's recordings. So a parameter that is meant as a filter, but isn't written as one, is an error.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from multidict import MultiMapping

from rrd.errors import BadRequest

KEY_PARAMETERS = frozenset({"token", "signature", "expires", "keyId"})
"""What says in a query who asks, on every path."""

_FILTER = re.compile(r"meta\[(.+)\]", re.DOTALL)
_PUNCTUATION = re.compile(r"[][(){}<>.:=\"']|%5[bd]", re.IGNORECASE)
"""What sets a key off from a word before it, or what brackets become when they are encoded twice: no
parameter but a filter has any."""


def filters_of(
    query: MultiMapping[str], *, known: Collection[str], others_pass: bool
) -> list[tuple[str, str]]:
    """Return the (key, value) pairs of the filters in a query, in its order.

    ``known`` names the path's other parameters. With ``others_pass`` a parameter that is neither is passed
    over, because tools add their own (``_``, ``utm_source``), unless it looks like a misspelt one.
    Raises ``BadRequest`` with the parameter's name.
    """
    filters: list[tuple[str, str]] = []
    for name, value in query.items():
        found = _FILTER.fullmatch(name)
        # Metadata is flat: meta[a][b] is what other servers take for nested objects.
        if found is not None and "][" not in name:
            filters.append((found[1], value))
        elif name not in known and (not others_pass or _looks_like_filter(name)):
            raise BadRequest(f"{name!r} is no filter: write it like meta[userId]=u-123", parameter=name)
        else:
            _check_spelling(name, known)
    return filters


def refuse_filters(query: MultiMapping[str], *, known: Collection[str]) -> None:
    """Check the query of a path that takes no filters. Raises ``BadRequest`` for one, misspelt or not."""
    for name in query:
        if name not in known and _looks_like_filter(name):
            raise BadRequest(f"this path takes no filter: leave {name!r} out", parameter=name)
        _check_spelling(name, known)


def _looks_like_filter(name: str) -> bool:
    return "meta" in name.lower() or "filter" in name.lower() or _PUNCTUATION.search(name) is not None


def _check_spelling(name: str, known: Collection[str]) -> None:
    """Raise ``BadRequest`` for a parameter that differs from a ``known`` one by case or spaces only."""
    if name in known:
        return
    for right in known:
        if name.strip().lower() == right.lower():
            raise BadRequest(f"{name!r} is unknown: write it {right}", parameter=name)
