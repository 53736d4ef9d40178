"""How much happens now: rates of the last half minute, sums of the last hour, and how long commits take.

A row of counters is kept every five seconds, for an hour: some ten figures in arrays of 60 kB in all. No file
and no index is asked, so this runs whether anything looks at it or not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import accumulate

from rrd import metrics
from rrd.clock import Clock
from rrd.console.series import Series

_INTERVAL_S = 5.0
_HOUR_S = 3600.0
_RATE_S = 30.0

_COUNTERS: dict[str, metrics.Counter | metrics.LabelledCounter] = {
    "events": metrics.EVENTS_STORED,
    "blocks": metrics.BLOCKS_STORED,
    "received_bytes": metrics.BYTES_RECEIVED,
    "decoded_bytes": metrics.BYTES_DECODED,
    "stored_bytes": metrics.BYTES_STORED,
    "repeated": metrics.LINES_REPEATED,
    "quarantined": metrics.LINES_QUARANTINED,
    "refused": metrics.REFUSALS,
}
_ERRORS = ("error", "critical")
"""Levels of the log."""
_HISTOGRAMS = {
    "gathering": metrics.GATHERING,
    "sync": metrics.SYNC,
    "commit": metrics.COMMIT,
    "ack_age": metrics.ACK_AGE,
    "loop_lag": metrics.LOOP_LAG,
}
_SHARES = {"median_ms": 0.5, "p99_ms": 0.99}


class Pulse:
    """Keeps the rows, and tells of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._series = Series(
            counters=[*_COUNTERS, "errors"], gauges=[], floors=[],
            rows_max=int(_HOUR_S / _INTERVAL_S) + 1,
        )  # fmt: skip
        self._durations: deque[dict[str, list[int]]] = deque(maxlen=int(_RATE_S / _INTERVAL_S))
        """How often each histogram had counted each range, the oldest first."""
        self.sample()

    async def run(self) -> None:
        """Keep a row again and again, until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            self.sample()

    def sample(self) -> None:
        """Keep a row."""
        self._series.add(self._clock.monotonic(), _counted())
        self._durations.append(_timed())

    def rates(self) -> dict[str, float]:
        """Return how many a second there were of each, over the last half minute, or since the start."""
        grown = self._grown(_RATE_S)
        over_s = max(grown.pop("seconds"), 1.0)
        return {f"{name}_per_s": round(more / over_s, 3) for name, more in grown.items()}

    def counted(self) -> dict[str, float]:
        """Return the counters as they are now, for those who ask again and compare."""
        return _counted()

    def hour(self) -> dict[str, int]:
        """Return how many there were of each over the last hour, or since the start."""
        grown = self._grown(_HOUR_S)
        del grown["seconds"]
        return {name: round(more) for name, more in grown.items()}

    def latencies(self) -> dict[str, dict[str, float]]:
        """Return how long each stage took over the last half minute; those that did nothing are left out."""
        before, found = self._durations[0], {}
        for name, counts in _timed().items():
            grown = [after - earlier for after, earlier in zip(counts, before[name], strict=True)]
            if any(grown):
                found[name] = {key: round(quantile(grown, share) * 1000, 3) for key, share in _SHARES.items()}
        return found

    def _grown(self, seconds: float) -> dict[str, float]:
        at = self._clock.monotonic()
        return self._series.added_since(at - seconds, {**_counted(), "at": at})


def quantile(counts: Sequence[int], share: float) -> float:
    """Return below which duration, in seconds, a share of what was counted is: at least one must be.

    ``counts``: how many there were up to each of ``BOUNDS_S``, and above the last. Within a range, durations
    are taken to be evenly spread; those above the last bound are told as that bound.
    """
    wanted = share * sum(counts)
    sums = list(accumulate(counts))
    at = next(number for number, up_to in enumerate(sums) if up_to >= wanted and up_to > 0)
    if at == len(metrics.BOUNDS_S):
        return metrics.BOUNDS_S[-1]
    low, high = metrics.BOUNDS_S[at - 1] if at else 0.0, metrics.BOUNDS_S[at]
    return low + (high - low) * min(1.0, max(0.0, wanted - (sums[at] - counts[at])) / counts[at])


def _counted() -> dict[str, float]:
    counted = {name: float(figure.value) for name, figure in _COUNTERS.items()}
    return counted | {"errors": float(sum(map(metrics.PROBLEMS.value_of, _ERRORS)))}


def _timed() -> dict[str, list[int]]:
    return {name: histogram.counts for name, histogram in _HISTOGRAMS.items()}
