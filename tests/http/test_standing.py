"""How full each part is, as the parts know it; tenants by name only where that is wanted."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from rrd import metrics
from rrd.http.reading import HeldMemory
from rrd.http.standing import OTHER_TENANTS, TENANTS_MAX, bring_up_to_date, of_tenants
from rrd.ids import is_tenant
from rrd.index.rows import TenantRow
from rrd.shares.queue import Who
from tests.harness import LocalDaemon, running
from tests.http.api import Api
from tests.samples import ndjson, new_id, some_events


async def figures(daemon: LocalDaemon) -> dict[tuple[str, str], float]:
    await bring_up_to_date(daemon.services, wait_s=20)
    return {(sample.name, sample.label): sample.value for sample in metrics.snapshot()}


async def test_what_is_taken_is_told_beside_its_limit(tmp_path: Path) -> None:
    async with running(tmp_path, memory_max=1 << 30, watchers_max=7, disk_reserve_bytes=5) as daemon:
        before = await figures(daemon)
        names = {label for name, label in before if name == "rrd_budget_limit_bytes"}
        assert names == {"held", "buffer", "read", "object_cache", "memory"}
        assert before["rrd_budget_used_bytes", "read"] == before["rrd_open_readers", ""] == 0
        assert before["rrd_disk_reserve_bytes", ""] == 5
        services = daemon.services
        place = services.admission.enter(Who("acme", "key", "address"), "requests")
        async with HeldMemory(services, Who("acme"), least=1000, most=1000):
            with services.registry.followers.follow("acme", new_id()):
                now = await figures(daemon)
        services.admission.leave(place)
    assert now["rrd_budget_used_bytes", "read"] == 1000
    assert now["rrd_budget_limit_bytes", "read"] == services.config.read_bytes_max
    assert now["rrd_open_readers", ""] == 1
    assert now["rrd_places_used", "requests"] == before["rrd_places_used", "requests"] + 1
    assert now["rrd_places_used", "watchers"] == 1
    assert now["rrd_places_limit", "watchers"] == 7
    assert now["rrd_budget_used_bytes", "memory"] > 10 << 20


async def test_a_budget_without_a_limit_is_not_told(tmp_path: Path) -> None:
    async with running(tmp_path, object_cache_bytes_max=0) as daemon:
        told = await figures(daemon)
    assert ("rrd_budget_limit_bytes", "object_cache") not in told
    assert ("rrd_budget_used_bytes", "object_cache") not in told


@pytest.mark.parametrize("wanted", [False, True])
async def test_tenants_are_named_only_where_that_is_wanted(api: Api, wanted: bool) -> None:
    services = api.daemon.services
    services.config = msgspec.structs.replace(services.config, metrics_tenants=wanted)
    await api.post(new_id(), ndjson(some_events(3)))
    told = await figures(api.daemon)
    assert (("rrd_tenant_recordings", "acme") in told) == wanted
    assert any("acme" in name or "acme" in label for name, label in told) == wanted
    if wanted:
        assert told["rrd_tenant_recordings", "acme"] == 1
        assert told["rrd_tenant_kept_bytes", "acme"] > 0
        assert told["rrd_kept_bytes", ""] == told["rrd_tenant_kept_bytes", "acme"]


@pytest.mark.parametrize("count", [0, 1, TENANTS_MAX, TENANTS_MAX + 1, 3 * TENANTS_MAX])
def test_the_largest_tenants_are_told_and_the_sum_of_all_others(count: int) -> None:
    rows = [TenantRow(f"t{number}", number, number * 10) for number in range(count)]
    told = of_tenants(rows)
    assert len(told) == min(count, TENANTS_MAX + 1)
    assert sum(row.storage_bytes for row in told) == sum(row.storage_bytes for row in rows)
    assert sum(row.recordings for row in told) == sum(row.recordings for row in rows)
    named = [row for row in told if row.name != OTHER_TENANTS]
    assert {row.name for row in named} == {row.name for row in rows[-TENANTS_MAX:]}
    assert not is_tenant(OTHER_TENANTS)


async def test_readiness_is_that_of_the_daemon_and_an_idle_disk_is_left_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        writes = daemon.services.registry.committer.writes
        assert (await figures(daemon))["rrd_ready", ""] == 1
        assert writes._probe is None
        writes.failed(OSError(5, "Input/output error"))
        assert (await figures(daemon))["rrd_ready", ""] == 0
        writes.succeeded()  # From here on a probe decides, and finds nothing wrong.
        assert (await figures(daemon))["rrd_ready", ""] == 1
        assert writes._probe is not None
        daemon.services.is_stopping = True
        assert (await figures(daemon))["rrd_ready", ""] == 0
        daemon.services.is_stopping = False
