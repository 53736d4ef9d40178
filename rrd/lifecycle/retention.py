"""Which recordings are too old, or too many, and removing them: the oldest first.

A recording is as old as its last event, and goes as a whole. Where bytes are limited, those that began first
go first, as few as are needed; one into which something was stored lately is live, and is left alone.

The limit on all bytes is kept by max-min fair shares, so that a flood in one tenant takes nothing from
another: the tenant that holds most gives its oldest recording, again and again, until the rest fits. A
tenant that holds no more than its fair share loses nothing to this limit, even if what is above the shares
is live and can't go yet.

Deciding is a conversation without I/O: ``plan`` asks for rows (``Ask``), is sent them, and returns what goes.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from rrd.config import Config
from rrd.config.entries import age_ms, ages_of_tenants, bytes_of_tenants
from rrd.index.contract import Index
from rrd.index.rows import AgeRow, TenantRow

LIVE_MS = 120_000
"""A recording that something was stored to so lately is not over yet. As a rule ``seal_idle_s`` says it."""

_PAGE = 500

_CLEAN_SLACK_MS = 3_600_000
"""Clocks are put right by a little now and then."""

Why = Literal["age", "bytes of its tenant", "bytes of all"]


class RetentionLimits(NamedTuple):
    """How long recordings may stay and how much they may take. None and 0: without limit."""

    age_ms: int | None
    age_ms_of_tenant: Mapping[str, int | None]
    bytes_max: int
    bytes_max_of_tenant: Mapping[str, int]
    live_ms: int = LIVE_MS
    """A recording that was stored to within this time stays, however many bytes there are."""

    def age_of(self, tenant: str) -> int | None:
        return self.age_ms_of_tenant.get(tenant, self.age_ms)

    def ages(self) -> list[int]:
        """Return all ages that are set, ms."""
        return [age for age in (self.age_ms, *self.age_ms_of_tenant.values()) if age is not None]


class Expiry(NamedTuple):
    """A recording that goes, and why."""

    row: AgeRow
    why: Why


class Ask(NamedTuple):
    """What the planner wants to see next: recordings after a row id, of a tenant or (None) of all."""

    tenant: str | None
    after_row_id: int


@dataclass(slots=True)
class Aged:
    """How far age has been dealt with, and what is older than it can be.

    A recording that is due by age was not due when ``clean_ms`` was now: it would have gone then. One that
    seems to have been due for longer was stored while the clock was wrong. It is counted here, and stays.
    """

    clean_ms: int
    """When the last round ended that left nothing too old."""
    withheld: int = 0
    withheld_bytes: int = 0

    def withholds(self, row: AgeRow, age_ms: int) -> bool:
        """Tell whether ``row`` is older than it can be, and count it if so."""
        if row.last_stored_ms >= self.clean_ms - age_ms - _CLEAN_SLACK_MS:
            return False
        self.withheld += 1
        self.withheld_bytes += row.stored_bytes
        return True


Plan: TypeAlias = Generator[Ask, Sequence[AgeRow], list[Expiry]]


def limits_of(config: Config) -> RetentionLimits:
    """Return retention's share of the settings. Raises ``ConfigError`` with the setting's name."""
    return RetentionLimits(
        live_ms=config.seal_idle_s * 1000,
        age_ms=age_ms("retention_age", config.retention_age),
        age_ms_of_tenant=ages_of_tenants(config),
        bytes_max=config.retention_bytes_max,
        bytes_max_of_tenant=bytes_of_tenants(config),
    )


def plan(
    limits: RetentionLimits,
    tenants: Sequence[TenantRow],
    *,
    now_ms: int,
    count_max: int,
    is_quick: bool = False,
    aged: Aged | None = None,
) -> Plan:
    """Decide what goes, at most ``count_max`` recordings.

    First what is too old, then what is over a tenant's bytes, then what is over all bytes: what one rule
    removes leaves less to the next. An answer to an ``Ask`` holds rows by ascending row id, as many as are at
    hand; an empty one says that there are no more. ``is_quick``: don't look for what is too old behind what
    began too late to be; where the clock once went back, there may be some all the same. ``aged``: what it
    withholds stays, whatever its age; None: nothing is known about that.
    """
    gone: dict[int, Expiry] = {}
    left = {tenant.name: tenant.storage_bytes for tenant in tenants}
    for tenant in left:
        age_ms = limits.age_of(tenant)
        if age_ms is not None:
            yield from _too_old(tenant, age_ms, now_ms, gone, count_max, is_quick=is_quick, aged=aged)
    for expiry in gone.values():
        left[expiry.row.tenant] -= expiry.row.stored_bytes
    settled_ms = now_ms - limits.live_ms
    for tenant, bytes_max in limits.bytes_max_of_tenant.items():
        if bytes_max and tenant in left:
            mine = {tenant: left[tenant]}
            yield from _too_many(mine, bytes_max, "bytes of its tenant", settled_ms, gone, count_max)
            left |= mine
    if limits.bytes_max:
        yield from _too_many(left, limits.bytes_max, "bytes of all", settled_ms, gone, count_max)
    return list(gone.values())


def _too_old(
    tenant: str,
    age_ms: int,
    now_ms: int,
    gone: dict[int, Expiry],
    count_max: int,
    *,
    is_quick: bool,
    aged: Aged | None,
) -> Generator[Ask, Sequence[AgeRow], None]:
    after, before_ms = 0, now_ms - age_ms
    while rows := (yield Ask(tenant, after)):
        for row in rows:
            if len(gone) >= count_max:
                return
            if row.last_stored_ms < before_ms and not (aged and aged.withholds(row, age_ms)):
                gone[row.row_id] = Expiry(row, "age")
        after = rows[-1].row_id
        # What began later was stored to later still.
        if is_quick and rows[-1].created_ms >= before_ms:
            return


def _too_many(  # noqa: PLR0917 - as above
    left: dict[str, int],
    bytes_max: int,
    why: Why,
    settled_ms: int,
    gone: dict[int, Expiry],
    count_max: int,
) -> Generator[Ask, Sequence[AgeRow], None]:
    """Let the oldest of the largest tenant go until all fits, or nothing above a fair share is settled.

    ``left``: bytes of each tenant, less what goes already; brought up to date.
    """
    oldest = {tenant: _Oldest(tenant, settled_ms) for tenant in left}
    largest = [(-size, tenant) for tenant, size in left.items()]
    heapq.heapify(largest)
    excess = sum(left.values()) - bytes_max
    while excess > 0 and largest and len(gone) < count_max:
        _, tenant = heapq.heappop(largest)
        # The largest of all is always above. Once those above have nothing settled left, others may not be.
        if left[tenant] <= fair_share(left.values(), bytes_max):
            return
        row = yield from oldest[tenant].next(gone)
        if row is None:
            continue
        gone[row.row_id] = Expiry(row, why)
        left[tenant] -= row.stored_bytes
        excess -= row.stored_bytes
        heapq.heappush(largest, (-left[tenant], tenant))


def fair_share(sizes: Iterable[int], bytes_max: int) -> int:
    """Return the max-min fair share, bytes: how much each may hold so that all together hold ``bytes_max``.

    Where a tenant holds less than its share, the others share the rest. 0 for no sizes; the greatest of them,
    or more, if all fit.
    """
    ascending = sorted(sizes)
    share, rest = 0, bytes_max
    for at, size in enumerate(ascending):
        share = rest // (len(ascending) - at)
        if size > share:
            return share
        rest -= size
    return max(share, ascending[-1]) if ascending else 0


class _Oldest:
    """A tenant's settled recordings, in the order in which they began."""

    def __init__(self, tenant: str, settled_ms: int) -> None:
        self._tenant = tenant
        self._settled_ms = settled_ms
        self._rows: Sequence[AgeRow] = ()
        self._at = 0
        self._after = 0

    def next(self, gone: Mapping[int, Expiry]) -> Generator[Ask, Sequence[AgeRow], AgeRow | None]:
        """Return the next one that is not in ``gone``; None if there is none."""
        while True:
            while self._at < len(self._rows):
                row = self._rows[self._at]
                self._at += 1
                if row.row_id not in gone and row.last_stored_ms <= self._settled_ms:
                    return row
            self._rows, self._at = (yield Ask(self._tenant, self._after)), 0
            if not self._rows:
                return None
            self._after = self._rows[-1].row_id


async def look(
    index: Index,
    limits: RetentionLimits,
    *,
    now_ms: int,
    count_max: int,
    is_quick: bool = False,
    aged: Aged | None = None,
) -> list[Expiry]:
    """Return what goes by ``limits`` now, by what ``index`` knows. Changes nothing."""
    planner = plan(
        limits, await index.tenants(), now_ms=now_ms, count_max=count_max, is_quick=is_quick, aged=aged
    )
    try:
        ask = next(planner)
        while True:
            rows = await index.oldest(tenant=ask.tenant, after_row_id=ask.after_row_id, limit=_PAGE)
            ask = planner.send(rows)
    except StopIteration as end:
        result: list[Expiry] = end.value
        return result


class Share(NamedTuple):
    """How much of all goes."""

    recordings: int
    recordings_of: int
    bytes: int
    bytes_of: int

    def percent(self) -> float:
        """Return the larger of the two shares, 0 to 100."""
        pairs = ((self.recordings, self.recordings_of), (self.bytes, self.bytes_of))
        return max((100 * part / whole for part, whole in pairs if whole > 0), default=0.0)


async def share_by_age(index: Index, limits: RetentionLimits, *, now_ms: int) -> Share:
    """Return how much is too old, of all tenants' recordings. Walks all of them, a page at a time."""
    recordings = recordings_of = size = size_of = after = 0
    while rows := await index.oldest(tenant=None, after_row_id=after, limit=_PAGE):
        for row in rows:
            age_ms = limits.age_of(row.tenant)
            recordings_of += 1
            size_of += row.stored_bytes
            if age_ms is not None and row.last_stored_ms < now_ms - age_ms:
                recordings += 1
                size += row.stored_bytes
        after = rows[-1].row_id
    return Share(recordings, recordings_of, size, size_of)


def share_by_bytes(tenants: Sequence[TenantRow], limits: RetentionLimits) -> Share:
    """Return how many bytes are over the limits, of all. Recordings are not counted."""
    left = {tenant.name: tenant.storage_bytes for tenant in tenants}
    size_of = sum(left.values())
    for tenant, bytes_max in limits.bytes_max_of_tenant.items():
        if bytes_max and tenant in left:
            left[tenant] = min(left[tenant], bytes_max)
    kept = min(sum(left.values()), limits.bytes_max or size_of)
    return Share(0, 0, size_of - kept, size_of)
