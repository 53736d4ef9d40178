"""Which recordings are too old, or too many, and removing them: the oldest first.

A recording is as old as its last event, and goes as a whole. Where bytes are limited, those that began first
go first, as few as are needed; one into which something was stored lately is live, and is left alone.

Deciding is a conversation without I/O: ``plan`` asks for rows (``Ask``), is sent them, and returns what goes.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Generator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from rrd import ids
from rrd.clock import Clock
from rrd.config import Config
from rrd.errors import ConfigError, NotFound, RrdError
from rrd.index.index import Index
from rrd.index.rows import AgeRow, TenantRow
from rrd.lifecycle.removal import Remover
from rrd.log import event

LIVE_MS = 120_000
"""A recording that something was stored to so lately is not over yet. As a rule ``seal_idle_s`` says it."""

ROUND_INTERVAL_S = 60.0
_ROUND_MAX = 1000
"""Recordings removed before it is all counted anew."""
_THOROUGH_EVERY = 60
"""Rounds. Walking a million recordings takes seconds, and finds something only where the clock went wrong."""
_PAGE = 500

_AGE = re.compile(r"([0-9]{1,6})\s*([hd])")
_HOUR_MS = 3_600_000
_UNITS = {"h": _HOUR_MS, "d": 24 * _HOUR_MS}

Why = Literal["age", "bytes of its tenant", "bytes of all"]

logger = logging.getLogger(__name__)


class Limits(NamedTuple):
    """How long recordings may stay and how much they may take. None and 0: without limit."""

    age_ms: int | None
    age_ms_of_tenant: Mapping[str, int | None]
    bytes_max: int
    bytes_max_of_tenant: Mapping[str, int]
    live_ms: int = LIVE_MS
    """A recording that was stored to within this time stays, however many bytes there are."""

    def age_of(self, tenant: str) -> int | None:
        return self.age_ms_of_tenant.get(tenant, self.age_ms)


class Expiry(NamedTuple):
    """A recording that goes, and why."""

    row: AgeRow
    why: Why


class Ask(NamedTuple):
    """What the planner wants to see next: recordings after a row id, of a tenant or (None) of all."""

    tenant: str | None
    after_row_id: int


Plan: TypeAlias = Generator[Ask, Sequence[AgeRow], list[Expiry]]


def parse_age(text: str) -> int | None:
    """Return how many ms ``36h`` or ``30d`` are; None (for ever) for ``""``. Raises ``ConfigError``."""
    if not text.strip():
        return None
    found = _AGE.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise ConfigError(f"{text!r} is no age. Write it like 36h or 30d, or leave it empty for ever")
    return int(found[1]) * _UNITS[found[2]]


def limits_of(config: Config) -> Limits:
    """Return retention's share of the settings. Raises ``ConfigError`` with the setting's name."""
    with_ages = _by_tenant("retention_age_of_tenant", config.retention_age_of_tenant)
    with_bytes = _by_tenant("retention_bytes_max_of_tenant", config.retention_bytes_max_of_tenant)
    return Limits(
        live_ms=config.seal_idle_s * 1000,
        age_ms=_age("retention_age", config.retention_age),
        age_ms_of_tenant={
            tenant: _age("retention_age_of_tenant", text) for tenant, text in with_ages.items()
        },
        bytes_max=config.retention_bytes_max,
        bytes_max_of_tenant={tenant: _bytes(text) for tenant, text in with_bytes.items()},
    )


def _age(setting: str, text: str) -> int | None:
    try:
        return parse_age(text)
    except ConfigError as error:
        raise ConfigError(f"{setting}: {error}") from None


def _bytes(text: str) -> int:
    digits = text.replace("_", "").strip()
    if not (digits.isascii() and digits.isdecimal()):
        raise ConfigError(f"retention_bytes_max_of_tenant: {text!r} is no number of bytes")
    return int(digits)


def _by_tenant(setting: str, entries: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in entries:
        tenant, equals, value = entry.partition("=")
        tenant = tenant.strip()
        if not equals or not ids.is_tenant(tenant) or tenant in found:
            raise ConfigError(f"{setting}: {entry!r} must be TENANT=VALUE, each tenant once")
        found[tenant] = value
    return found


def plan(
    limits: Limits, tenants: Sequence[TenantRow], *, now_ms: int, count_max: int, is_quick: bool = False
) -> Plan:
    """Decide what goes, at most ``count_max`` recordings.

    First what is too old, then what is over a tenant's bytes, then what is over all bytes: what one rule
    removes leaves less to the next. An answer to an ``Ask`` holds rows by ascending row id, as many as are at
    hand; an empty one says that there are no more. ``is_quick``: don't look for what is too old behind what
    began too late to be; where the clock once went back, there may be some all the same.
    """
    gone: dict[int, Expiry] = {}
    left = {tenant.name: tenant.storage_bytes for tenant in tenants}
    for tenant in left:
        age_ms = limits.age_of(tenant)
        if age_ms is not None:
            yield from _too_old(tenant, now_ms - age_ms, gone, count_max, is_quick=is_quick)
    for expiry in gone.values():
        left[expiry.row.tenant] -= expiry.row.stored_bytes
    for tenant, bytes_max in limits.bytes_max_of_tenant.items():
        if bytes_max and tenant in left:
            excess = left[tenant] - bytes_max
            left[tenant] -= yield from _too_many(
                tenant,
                excess,
                "bytes of its tenant",
                settled_ms=now_ms - limits.live_ms,
                gone=gone,
                count_max=count_max,
            )
    if limits.bytes_max:
        excess = sum(left.values()) - limits.bytes_max
        yield from _too_many(
            None, excess, "bytes of all", settled_ms=now_ms - limits.live_ms, gone=gone, count_max=count_max
        )
    return list(gone.values())


def _too_old(
    tenant: str, before_ms: int, gone: dict[int, Expiry], count_max: int, *, is_quick: bool
) -> Generator[Ask, Sequence[AgeRow], None]:
    after = 0
    while rows := (yield Ask(tenant, after)):
        for row in rows:
            if len(gone) >= count_max:
                return
            if row.last_stored_ms < before_ms:
                gone[row.row_id] = Expiry(row, "age")
        after = rows[-1].row_id
        # What began later was stored to later still.
        if is_quick and rows[-1].created_ms >= before_ms:
            return


def _too_many(
    tenant: str | None, excess: int, why: Why, *, settled_ms: int, gone: dict[int, Expiry], count_max: int
) -> Generator[Ask, Sequence[AgeRow], int]:
    """Let the oldest go until ``excess`` bytes are covered, or none is left. Return how many bytes go."""
    freed = after = 0
    while freed < excess and len(gone) < count_max and (rows := (yield Ask(tenant, after))):
        for row in rows:
            if freed >= excess or len(gone) >= count_max:
                break
            if row.row_id not in gone and row.last_stored_ms <= settled_ms:
                gone[row.row_id] = Expiry(row, why)
                freed += row.stored_bytes
        after = rows[-1].row_id
    return freed


async def look(
    index: Index, limits: Limits, *, now_ms: int, count_max: int, is_quick: bool = False
) -> list[Expiry]:
    """Return what goes by ``limits`` now, by what ``index`` knows. Changes nothing."""
    planner = plan(limits, await index.tenants(), now_ms=now_ms, count_max=count_max, is_quick=is_quick)
    try:
        ask = next(planner)
        while True:
            rows = await index.oldest(tenant=ask.tenant, after_row_id=ask.after_row_id, limit=_PAGE)
            ask = planner.send(rows)
    except StopIteration as end:
        result: list[Expiry] = end.value
        return result


class Retention:
    """Removes what is too old or too much, round after round."""

    def __init__(self, config: Config, index: Index, remover: Remover, clock: Clock) -> None:
        """Raises ``ConfigError`` if a setting of retention can't be read."""
        self._limits = limits_of(config)
        self._index = index
        self._remover = remover
        self._clock = clock
        self._rounds = 0

    async def run(self) -> None:
        """A round every minute, until cancelled."""
        while True:
            try:
                while await self.round() >= _ROUND_MAX:
                    pass
            except (OSError, RrdError) as error:
                event(logger, logging.ERROR, "retention_failed", error=error, next_step="it is tried again")
            await asyncio.sleep(ROUND_INTERVAL_S)

    async def round(self) -> int:
        """Remove what goes now, up to 1,000 recordings. Return how many went."""
        is_quick = self._rounds % _THOROUGH_EVERY != 0
        self._rounds += 1
        goes = await look(
            self._index, self._limits, now_ms=self._clock.now_ms(), count_max=_ROUND_MAX, is_quick=is_quick
        )
        count = size = 0
        for row, _ in goes:
            try:
                receipt = await self._remover.expire(
                    row.tenant, row.recording, last_stored_ms=row.last_stored_ms
                )
            except NotFound:  # Erased, or written to in the meantime.
                continue
            except (OSError, RrdError) as error:
                # One that can't be removed now must not keep all the others.
                event(logger, logging.ERROR, "expiry_failed", recording=row.recording, error=error)
                continue
            count += receipt.recordings
            size += receipt.bytes
        if goes:
            event(logger, logging.INFO, "retention", recordings=count, bytes=size)
        return count
