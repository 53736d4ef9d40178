"""How much of one kind of event is logged. A sender that causes lines must not fill the disk with them.

Each kind of event has a bucket of bytes of its own, so that a flood of one hides no other. Records that find
their bucket empty are counted, and the counts are told a while later.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

BURST_BYTES = 64 << 10
"""What a kind may log at once: some 400 lines, so that a start tells each of many damaged files."""

BYTES_PER_S = 512
"""What it may log for ever: three lines a second, 44 MB a day."""

TELL_INTERVAL_S = 10.0
"""How often a count of what was left out is told, a kind."""

KINDS_MAX = 1_000
"""Kinds are constant words of the code; a bound in case that some are not. Further ones share a bucket."""


class Kind(NamedTuple):
    """What shares a bucket: the event of a logger, of a code where it has one."""

    logger: str
    event: str
    code: str = ""


_OTHERS = Kind("", "others")


class _Bucket:
    __slots__ = ("filled_at", "left_bytes", "left_out", "told_at")

    def __init__(self, now: float) -> None:
        self.left_bytes: float = BURST_BYTES
        self.filled_at = now
        self.left_out = 0
        self.told_at = now


class LineLimit:
    """Tells which records are logged. Not for several threads at once: the handler's lock guards it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[Kind, _Bucket] = {}
        self._counting: set[Kind] = set()

    def admits(self, kind: Kind) -> bool:
        """Tell whether a record of ``kind`` may be logged; it is counted otherwise."""
        now = self._clock()
        kind, bucket = self._bucket(kind, now)
        gained = (now - bucket.filled_at) * BYTES_PER_S
        bucket.left_bytes = min(BURST_BYTES, bucket.left_bytes + gained)
        bucket.filled_at = now
        if bucket.left_bytes > 0:
            return True
        if not bucket.left_out:
            bucket.told_at = now
        bucket.left_out += 1
        self._counting.add(kind)
        return False

    def charge(self, kind: Kind, size: int) -> None:
        """Take what a record of ``size`` bytes has used. The last one may use more than there is."""
        _, bucket = self._bucket(kind, self._clock())
        bucket.left_bytes -= size

    def counts(self, *, due_only: bool = True) -> list[tuple[Kind, int]]:
        """Return and forget how many of each kind were left out: of those that are due, or of all."""
        if not self._counting:
            return []
        now, found = self._clock(), []
        for kind in list(self._counting):
            bucket = self._buckets[kind]
            if due_only and now - bucket.told_at < TELL_INTERVAL_S:
                continue
            found.append((kind, bucket.left_out))
            bucket.left_out, bucket.told_at = 0, now
            self._counting.discard(kind)
        return found

    def _bucket(self, kind: Kind, now: float) -> tuple[Kind, _Bucket]:
        bucket = self._buckets.get(kind)
        if bucket is None:
            if len(self._buckets) >= KINDS_MAX:
                kind = _OTHERS
            bucket = self._buckets.setdefault(kind, _Bucket(now))
        return kind, bucket
