"""How the daemon is, as one document: what runs, since when, how much of what, what hurts and what to do.

``rrd status`` shows it, over the control socket. No question here waits for longer than ``_PATIENCE_S``: a
disk or a store that hangs is what the document has to tell of.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Mapping
from typing import TypeVar

import msgspec

from rrd import __version__, metrics
from rrd.errors import RrdError
from rrd.http.health import Readiness, full_disk, readiness
from rrd.http.services import Services
from rrd.http.standing import bring_up_to_date
from rrd.http.troubles import Facts, Filled, RefusalCount, StoreState, troubles, worst

_PATIENCE_S = 3.0

_LATE_S = 900
"""How much longer than ``rollup_delay_s`` a segment may wait before that is a trouble."""

_STORE_ASKED_AGAIN_S = 10.0

REFUSALS_MAX = 50
"""Codes of refusals that are told of, the latest ones."""

_MEASURING_S = 1.5
"""How long index and disk are waited for; then what they said before is told."""

_UNKNOWN = Readiness("not_ready", "whether events are stored can't be told: the disk gives no answer")

_GAUGES = {
    "readers": metrics.READERS_OPEN,
    "kept_bytes": metrics.BYTES_KEPT,
    "index_bytes": metrics.INDEX_BYTES,
    "backlog_segments": metrics.BACKLOG_SEGMENTS,
    "backlog_bytes": metrics.BACKLOG_BYTES,
    "backlog_age_s": metrics.BACKLOG_AGE,
    "set_aside_recordings": metrics.RECORDINGS_SET_ASIDE,
    "store_away": metrics.STORE_AWAY,
    "disk_free_bytes": metrics.DISK_FREE,
    "disk_reserve_bytes": metrics.DISK_RESERVE,
    "memory_bytes": metrics.MEMORY,
    "measured_age_s": metrics.MEASURED_AGE,
}

T = TypeVar("T")


class Report:
    """Makes the document, anew for each question."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._data_dir = os.path.abspath(services.config.data_dir)
        self._started_at = services.clock.monotonic()
        self._started_ms = services.clock.now_ms()
        self._asking: asyncio.Task[None] | None = None
        self._store_error = ""
        self._store_asked_at = float("-inf")

    async def told(self) -> dict[str, object]:
        """Return all that ``/status`` tells. ``docs/status.md`` explains each name."""
        services, config = self._services, self._services.config
        state, store_error, now = await asyncio.gather(
            _in_time(readiness(services), _UNKNOWN), self._ask_store(), self.figures(wait_s=_MEASURING_S)
        )
        shares, pulse = self.shares(), services.pulse
        hour, rates = pulse.hour(), pulse.rates()
        store = StoreState(services.store.name, store_error)
        refusals = self._refusals()
        held = services.held()
        at_ms = services.clock.now_ms()
        hurting = troubles(
            Facts(
                state, at_ms, now, **shares, hour=hour, store=store, refusals=refusals, held=held,
                expiring=services.gate.notices(), reload=services.reload_state, logged=logged(),
                late_s=config.rollup_delay_s + _LATE_S,
            )
        )  # fmt: skip
        reload = services.reload_state
        return {
            "version": __version__,
            "pid": os.getpid(),
            "at_ms": at_ms,
            "started_ms": self._started_ms,
            "uptime_s": round(services.clock.monotonic() - self._started_at),
            "state": state.state,
            "reason": state.reason or None,
            "worst": worst(hurting),
            "troubles": [trouble._asdict() for trouble in hurting],
            "warning": full_disk(services) or None,
            "listens": list(services.listens),
            "metrics_listen": config.metrics_listen or None,
            "console": services.desk is not None,
            "data_dir": self._data_dir,
            "store": {"name": store.name, "answers": not store.error, "error": store.error or None},
            "now": now,
            **msgspec.to_builtins(shares),
            "rates": rates,
            "latencies": pulse.latencies(),
            "hour": hour,
            "refusals": msgspec.to_builtins(refusals),
            "held": held,
            "reload": {"at_ms": reload.at_ms, "error": reload.error, "waiting": list(reload.waiting)},
        }

    async def figures(self, *, wait_s: float) -> dict[str, float]:
        """Return the figures of now; what has to be measured is waited for no longer than ``wait_s``."""
        await bring_up_to_date(self._services, wait_s=wait_s)
        return {name: gauge.value for name, gauge in _GAUGES.items()}

    @staticmethod
    def shares() -> dict[str, dict[str, Filled]]:
        """Return how much of each place and budget is used, as ``figures`` found it."""
        return {
            "places": _shares(metrics.PLACES_USED, metrics.PLACES_LIMIT),
            "budgets": _shares(metrics.BUDGET_USED, metrics.BUDGET_LIMIT),
        }

    async def close(self) -> None:
        """Ask nothing more. Call it before the store closes."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def _refusals(self) -> list[RefusalCount]:
        rows = sorted(self._services.refusals.account().totals, key=lambda row: row.last_ms, reverse=True)
        return [RefusalCount(row.code, row.status, row.count, row.last_ms) for row in rows[:REFUSALS_MAX]]

    async def _ask_store(self) -> str:
        """Return why the object store gives no answer; empty if it gives one. Asked by one at a time."""
        now = self._services.clock.monotonic()
        if self._asking is None and now - self._store_asked_at < _STORE_ASKED_AGAIN_S:
            return self._store_error
        if self._asking is None:
            self._asking = asyncio.create_task(self._check_store())
        # Not cancelled where it takes too long: the next question would only wait behind it.
        done, _ = await asyncio.wait([self._asking], timeout=_PATIENCE_S)
        return self._store_error if done else f"no answer within {_PATIENCE_S:g} s"

    async def _check_store(self) -> None:
        try:
            await self._services.store.check()
            self._store_error = ""
        except (OSError, RrdError) as error:
            self._store_error = str(error)
        finally:
            self._store_asked_at, self._asking = self._services.clock.monotonic(), None


def _shares(used: metrics.LabelledGauge, limit: metrics.LabelledGauge) -> dict[str, Filled]:
    most = limit.values
    return {name: Filled(taken, most[name]) for name, taken in used.values.items() if name in most}


def logged() -> Mapping[str, int]:
    """Return how often each line was logged since the start, by its name."""
    return {
        sample.label: int(sample.value)
        for family in metrics.families()
        if family.name == metrics.LOGGED.name
        for sample in family.samples
    }


async def _in_time(work: Awaitable[T], otherwise: T) -> T:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await work
    except TimeoutError:
        return otherwise
