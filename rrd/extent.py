"""How much there is of a recording's events: in a block, a segment, an object, or all of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Extent(NamedTuple):
    """Counts and bounds of events that follow one another. ``a + b`` is that of both, ``b`` after ``a``."""

    first_seq: int
    """sequenceId of the first event; of the next one to come if there is none."""
    event_count: int
    first_ts: float | None
    """Least timestamp, ms; None without events, or where it is not known."""
    last_ts: float | None
    """Greatest timestamp, ms; None without events."""
    raw_size: int
    """Events' bytes, decoded."""
    stored_ms: int
    """When the newest block was stored (wall clock)."""
    duplicate_count: int
    """Lines that were repeats."""
    quarantine_count: int
    """Quarantined lines."""

    @property
    def limit_seq(self) -> int:
        """sequenceId after the last event."""
        return self.first_seq + self.event_count

    @property
    def counts(self) -> dict[str, int]:
        """What adds up, by name."""
        return {
            "raw_size": self.raw_size,
            "duplicate_count": self.duplicate_count,
            "quarantine_count": self.quarantine_count,
        }

    def __add__(self, other: Extent) -> Extent:  # type: ignore[override]  # not that of tuples
        return Extent(
            first_seq=self.first_seq,
            event_count=self.event_count + other.event_count,
            first_ts=min(_known(self.first_ts, other.first_ts), default=None),
            last_ts=max(_known(self.last_ts, other.last_ts), default=None),
            raw_size=self.raw_size + other.raw_size,
            stored_ms=max(self.stored_ms, other.stored_ms),
            duplicate_count=self.duplicate_count + other.duplicate_count,
            quarantine_count=self.quarantine_count + other.quarantine_count,
        )


def nothing(first_seq: int, *, stored_ms: int = 0) -> Extent:
    """Return an extent without events."""
    return Extent(first_seq, 0, None, None, 0, stored_ms, 0, 0)


def total(extents: Iterable[Extent], start: Extent) -> Extent:
    """Return the sum of what follows ``start``, in order."""
    for each in extents:
        start += each
    return start


def _known(*times: float | None) -> list[float]:
    return [time for time in times if time is not None]
