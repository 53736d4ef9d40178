"""How full each part of the daemon is, and whether it takes events: put into ``metrics`` when they are shown.

These figures are known to their parts at any moment, so nothing counts them on the way of an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rrd import metrics
from rrd.http.services import Services
from rrd.index.rows import TenantRow
from rrd.shares.room import Room

TENANTS_MAX = 100
"""Tenants with figures of their own, those that keep most: each is two series in what stores the figures."""

OTHER_TENANTS = "(others)"
"""What all beyond these are called together. No tenant can be: a name has no brackets."""


async def bring_up_to_date(services: Services, *, wait_s: float) -> None:
    """Have ``metrics`` tell of ``services`` as they are now.

    What has to be measured first is waited for no longer than ``wait_s`` seconds. A disk whose last write
    failed is tried, which takes two seconds at most.
    """
    await services.measures.take(wait_s=wait_s)
    metrics.READY.set(await is_ready(services))
    config, registry = services.config, services.registry
    metrics.COMMIT_RUNNING.set(registry.committer.stalled_s())
    metrics.DISK_RESERVE.set(config.disk_reserve_bytes)
    metrics.CONNECTIONS_PAUSED.set(services.unfinished.waiting_count)
    metrics.BEAT_LENGTH.set(services.sockets.beat.seconds)
    metrics.BEAT_SOCKETS.set(len(services.sockets.beat))
    metrics.READERS_WAITING.set(len(services.read_room))
    _tell(
        metrics.BUDGET_USED,
        metrics.BUDGET_LIMIT,
        {
            "held": (services.unfinished.held_bytes, config.held_bytes_max),
            "buffer": (registry.waiting.bytes, config.buffer_bytes_max),
            "read": _taken(services.read_room),
            "object_cache": (services.files.held_bytes, config.object_cache_bytes_max),
            "memory": (metrics.MEMORY.value, config.memory_max),
        },
    )
    _tell(
        metrics.PLACES_USED,
        metrics.PLACES_LIMIT,
        {
            **{kind: _taken(room) for kind, room in services.admission.places.items()},
            "connections": (metrics.CONNECTIONS_OPEN.value, services.connections_max),
            "watchers": (len(registry.followers), config.watchers_max),
            "recordings": (len(registry.opened()), config.recordings_max),
            "open_segments": (len(registry.committer.open_writers), config.open_segments_max),
        },
    )
    rows = of_tenants(services.measures.tenants) if config.metrics_tenants else []
    metrics.TENANT_RECORDINGS.set_all({row.name: row.recordings for row in rows})
    metrics.TENANT_BYTES.set_all({row.name: row.storage_bytes for row in rows})


async def is_ready(services: Services) -> bool:
    """Tell whether events are taken, as ``/-/ready`` does; but a disk that is idle is not written to."""
    if services.is_stopping or not services.ready.is_set():
        return False
    return await services.registry.why_not_stored(tries=False) is None


def of_tenants(rows: Iterable[TenantRow]) -> list[TenantRow]:
    """Return the ``TENANTS_MAX`` tenants that keep most, and one row of all others if there are any."""
    by_size = sorted(rows, key=lambda row: (-row.storage_bytes, row.name))
    told, others = by_size[:TENANTS_MAX], by_size[TENANTS_MAX:]
    if others:
        recordings = sum(row.recordings for row in others)
        told.append(TenantRow(OTHER_TENANTS, recordings, sum(row.storage_bytes for row in others)))
    return told


def _taken(room: Room) -> tuple[int, int]:
    return room.size - room.free, room.size


def _tell(
    used: metrics.LabelledGauge, limit: metrics.LabelledGauge, parts: Mapping[str, tuple[float, int]]
) -> None:
    """Tell each part that has a limit, with that."""
    used.set_all({name: taken for name, (taken, most) in parts.items() if most})
    limit.set_all({name: most for name, (_, most) in parts.items() if most})
