"""The small events of the test suite's recordings: what most of a visitor's messages look like."""

from __future__ import annotations

from tests.corpus import recordings

SMALL_BYTES_MAX = 1000


def small_events() -> list[bytes]:
    """Return every event of fewer than 1,000 bytes, in the order of recordings and lines."""
    return [line for lines in recordings().values() for line in lines if len(line) < SMALL_BYTES_MAX]
