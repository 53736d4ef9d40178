"""How the machine's rrd is, and was over the last day: what the console shows of it.

All figures are those of ``metrics``. A row of them is kept every ten seconds, in a megabyte of memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from rrd import metrics
from rrd.clock import Clock
from rrd.config import Config
from rrd.console.series import Series
from rrd.measures import Measures

SAMPLE_INTERVAL_S = 10.0
POINTS_MAX = 360
_DAY_S = 86_400

_RATE_S = 30.0
"""Over how long what is told as a rate of now is measured."""

_LATE_S = 900
"""How much longer than ``rollup_delay_s`` a segment may wait before that is a trouble."""

_HOUR_S = 3600.0

_COUNTERS: dict[str, metrics.Counter | metrics.LabelledCounter] = {
    "events": metrics.EVENTS_STORED,
    "receivedBytes": metrics.BYTES_DECODED,
    "duplicates": metrics.LINES_REPEATED,
    "quarantined": metrics.LINES_QUARANTINED,
    "refused": metrics.REFUSALS,
}
_GAUGES = {
    "openRecordings": metrics.RECORDINGS_OPEN,
    "storedBytes": metrics.BYTES_KEPT,
    "backlogSegments": metrics.BACKLOG_SEGMENTS,
    "backlogBytes": metrics.BACKLOG_BYTES,
    "backlogAgeS": metrics.BACKLOG_AGE,
    "sockets": metrics.SOCKETS_OPEN,
    "watchers": metrics.WATCHERS_OPEN,
    "memoryBytes": metrics.MEMORY,
}
_FLOORS = {"diskFreeBytes": metrics.DISK_FREE}


class Trouble(NamedTuple):
    """What a person should see to, the worst first. ``code`` is a constant word; the figures say the rest."""

    code: str
    is_bad: bool
    """Events are lost or refused, or will be; else it is good to know."""


class Box:
    """Keeps rows of figures, and tells of them."""

    def __init__(self, config: Config, clock: Clock, measures: Measures) -> None:
        self._config = config
        self._clock = clock
        self._measures = measures
        self._series = Series(
            counters=[*_COUNTERS], gauges=[*_GAUGES], floors=[*_FLOORS],
            rows_max=int(_DAY_S / SAMPLE_INTERVAL_S),
        )  # fmt: skip
        self._points: dict[str, list[float]] | None = None
        """What was made of the rows for those who asked; None: nobody has since the last one."""
        self._started_at = clock.monotonic()

    async def run(self) -> None:
        """Keep a row again and again, until cancelled."""
        while True:
            await self.sample()
            await asyncio.sleep(SAMPLE_INTERVAL_S)

    def reconfigure(self, config: Config) -> None:
        """Take new settings: the bounds that are shown beside the figures."""
        self._config = config

    async def sample(self) -> None:
        """Measure what no stage counts, and keep a row."""
        await self._measures.take(wait_s=SAMPLE_INTERVAL_S, fresh_s=0.0)
        self._series.add(self._clock.monotonic(), _figures())
        self._points = None

    def told(self) -> dict[str, object]:
        """Return what is now, what troubles, and what was, as the console takes it.

        Rates are per second. Times are of the wall clock as it goes now, ms.
        """
        at, figures = self._clock.monotonic(), _figures()
        grown = self._series.added_since(at - _RATE_S, {**figures, "at": at})
        rates = {f"{name}PerS": grown[name] / max(grown["seconds"], 1.0) for name in _COUNTERS}
        hour = self._series.added_since(at - _HOUR_S, {**figures, "at": at})
        config = self._config
        bounds = {
            "diskReserveBytes": config.disk_reserve_bytes, "memoryMaxBytes": config.memory_max,
            "socketsMax": config.sockets_max, "watchersMax": config.watchers_max,
            "recordingsMax": config.recordings_max,
        }  # fmt: skip
        now = {**figures, **rates, **bounds, "refusedInHour": hour["refused"]}
        if self._points is None:
            # It takes some milliseconds, and is the same for all until the next row.
            points = self._series.points(POINTS_MAX)
            self._points = {
                name: values if name == "at" else [*map(_short, values)] for name, values in points.items()
            }
        points = dict(self._points)
        offset_ms = self._clock.now_ms() - at * 1000
        points["at"] = [round(moment * 1000 + offset_ms) for moment in points["at"]]
        return {
            "at": self._clock.now_ms(),
            "startedAt": round(self._started_at * 1000 + offset_ms),
            "now": {name: _short(value) for name, value in now.items()},
            "troubles": [
                trouble._asdict() for trouble in troubles(now, late_s=config.rollup_delay_s + _LATE_S)
            ],
            "series": {_series_name(name): values for name, values in points.items()},
        }


def troubles(now: Mapping[str, float], *, late_s: float) -> list[Trouble]:
    """Return what is wrong with these figures. ``late_s``: from when on what waits has waited too long."""
    free, reserve = now["diskFreeBytes"], now["diskReserveBytes"]
    found = [
        (Trouble("disk_full", is_bad=True), free < reserve),
        (Trouble("disk_low", is_bad=True), reserve <= free < 2 * reserve),
        (Trouble("backlog_late", is_bad=True), now["backlogAgeS"] > late_s),
        (Trouble("memory_high", is_bad=True), now["memoryBytes"] > now["memoryMaxBytes"] > 0),
        (Trouble("refusals", is_bad=False), now["refusedInHour"] > 0),
    ]
    return [trouble for trouble, is_so in found if is_so]


def _figures() -> dict[str, float]:
    counted: dict[str, float] = {name: figure.value for name, figure in _COUNTERS.items()}
    return counted | {name: figure.value for name, figure in {**_GAUGES, **_FLOORS}.items()}


def _series_name(name: str) -> str:
    return f"{name}PerS" if name in _COUNTERS else name


def _short(value: float) -> float:
    """Return a figure with as many digits as anybody sees."""
    return round(value) if value >= 1000 else round(value, 3)
