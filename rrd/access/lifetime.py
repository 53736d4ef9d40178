"""How long a key lives: what ``90d`` or a date mean, when a key is good, and what a rotation does to both.

All pure. A key is good from the moment it is made up to, and not at, the moment it expires.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple, Protocol, TypeVar

from rrd.errors import BadRequest

DAY_MS = 86_400_000
NOTICE_MS = 14 * DAY_MS
"""How long before it expires a key is told of: long enough for a change of the pages that carry it."""

OVERLAP_MS = 7 * DAY_MS
"""How long a key that was rotated stays good: pages that browsers and caches hold go on with it meanwhile."""

_AGE = re.compile(r"([0-9]{1,6})\s*([hd])")
_UNITS_MS = {"h": 3_600_000, "d": DAY_MS}
_LIFETIME_MS_MAX = 100 * 365 * DAY_MS
"""Longer than anyone means; a time beyond the year 9999 can't be shown."""


class Expiring(Protocol):
    """An API key's row, or a signing key's."""

    @property
    def tenant(self) -> str: ...
    @property
    def created_ms(self) -> int: ...
    @property
    def revoked_ms(self) -> int | None: ...
    @property
    def expires_ms(self) -> int | None: ...
    @property
    def successor(self) -> str | None: ...


R = TypeVar("R", bound=Expiring)


class Live(NamedTuple):
    """Which keys are good, and for which times that is the answer: ``from_ms`` ≤ now < ``until_ms``."""

    ids: frozenset[str]
    from_ms: float
    until_ms: float


def parse_expiry(text: str, now_ms: int) -> int | None:
    """Return the time that ``90d``, ``36h``, ``2027-01-31`` or a date with a time names; None for ``never``.

    A date alone is its first moment; times without a zone are UTC. Raises ``BadRequest`` for other text, and
    for a time that isn't to come.
    """
    text = text.strip()
    if text == "never":
        return None
    if (found := _AGE.fullmatch(text)) is not None:
        expires_ms = _whole_s(now_ms) + int(found[1]) * _UNITS_MS[found[2]]
    else:
        try:
            when = datetime.fromisoformat(text)
            expires_ms = int(when.replace(tzinfo=when.tzinfo or UTC).timestamp()) * 1000
        except (ValueError, OverflowError):
            raise BadRequest(f"{text!r} is no time. Write it like 90d, 36h, 2027-01-31 or never") from None
    if not now_ms < expires_ms <= now_ms + _LIFETIME_MS_MAX:
        raise BadRequest(f"{text!r} must be a time to come, within 100 years")
    return expires_ms


def parse_overlap(text: str) -> int:
    """Return how many ms ``7d`` or ``36h`` are; ``0``: none. Raises ``BadRequest``."""
    found = _AGE.fullmatch(text.strip())
    if text.strip() != "0" and found is None:
        raise BadRequest(f"{text!r} is no time span. Write it like 7d or 36h, or 0 for none")
    return 0 if found is None else min(int(found[1]) * _UNITS_MS[found[2]], _LIFETIME_MS_MAX)


def show_ms(ms: int) -> str:
    """Return a time as people read it."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_good(row: Expiring, now_ms: float) -> bool:
    """Tell whether a key counts at this time: it is not revoked, and has not expired."""
    return row.revoked_ms is None and (row.expires_ms is None or now_ms < row.expires_ms)


def live_at(rows: Iterable[tuple[str, Expiring]], now_ms: float) -> Live:
    """Return which of the keys are good. ``rows``: pairs of id and row."""
    ids: set[str] = set()
    from_ms, until_ms = float("-inf"), float("inf")
    for row_id, row in rows:
        if row.revoked_ms is not None:
            continue
        if row.expires_ms is not None and row.expires_ms <= now_ms:
            from_ms = max(from_ms, row.expires_ms)
            continue
        if row.expires_ms is not None:
            until_ms = min(until_ms, row.expires_ms)
        ids.add(row_id)
    return Live(frozenset(ids), from_ms, until_ms)


def expiring_soon(rows: Iterable[R], now_ms: int) -> list[R]:
    """Return the good keys that expire within ``NOTICE_MS``, the next one first; without rotated ones."""
    limit_ms = now_ms + NOTICE_MS
    soon = [
        (row.expires_ms, row)
        for row in rows
        if row.expires_ms is not None and row.expires_ms <= limit_ms and row.successor is None
        if is_good(row, now_ms)
    ]
    return [row for _, row in sorted(soon, key=lambda pair: pair[0])]


def successor_expiry(row: Expiring, now_ms: int) -> int | None:
    """Return when a key that takes the place of ``row`` expires: it lives as long as that was given."""
    return None if row.expires_ms is None else _whole_s(now_ms + max(row.expires_ms - row.created_ms, DAY_MS))


def overlap_end(row: Expiring, now_ms: int, overlap_ms: int) -> int:
    """Return when a key that is rotated ends: after the overlap, and not later than it would have."""
    end = _whole_s(now_ms + overlap_ms)
    return end if row.expires_ms is None else min(end, row.expires_ms)


def _whole_s(ms: int) -> int:
    # As requests are judged, by the second.
    return ms - ms % 1000
