"""What hurts, by table: which facts bring which trouble, how bad it is, and that each says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from rrd.access.notices import Notice
from rrd.config.changes import ReloadState
from rrd.http.health import Readiness
from rrd.http.troubles import DAMAGE, Facts, Filled, RefusalCount, StoreState, troubles, worst

NOW_MS = 1_700_000_000_000
GOOD_NOW = {
    "disk_free_bytes": 10_000, "disk_reserve_bytes": 1_000, "store_away": 0, "backlog_age_s": 60,
    "set_aside_recordings": 0,
}  # fmt: skip
PLACES = {name: Filled(5, 10) for name in ("sockets", "requests", "connections", "watchers", "recordings")}
BUDGETS = {name: Filled(5, 10) for name in ("held", "buffer", "read", "memory")} | {
    "object_cache": Filled(9, 9)
}
GOOD_HOUR = {"errors": 0, "quarantined": 0}
GOOD = Facts(
    Readiness("ready"), NOW_MS, GOOD_NOW, PLACES, BUDGETS, GOOD_HOUR, StoreState("local:/objects"),
    late_s=600,
)  # fmt: skip


def now(**figures: float) -> dict[str, Any]:
    return {"now": {**GOOD_NOW, **figures}}


def refused(code: str, status: int, ago_s: float) -> dict[str, Any]:
    return {"refusals": [RefusalCount(code, status, 3, int(NOW_MS - ago_s * 1000))]}


def ending(days: int) -> Notice:
    return Notice("ab12cd34", "acme", "shop", NOW_MS, days, is_signing_key=False)


CASES: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "all is well": ({}, []),
    "it starts": ({"readiness": Readiness("starting", "it reads")}, [("starting", "bad")]),
    "it stops": ({"readiness": Readiness("stopping", "stopping")}, [("stopping", "bad")]),
    "writes fail": ({"readiness": Readiness("not_ready", "the disk is full")}, [("not_ready", "bad")]),
    "the reserve": (now(disk_free_bytes=999), [("disk_full", "bad")]),
    "nearly the reserve": (now(disk_free_bytes=1_999), [("disk_low", "warning")]),
    "no reserve": (now(disk_free_bytes=0, disk_reserve_bytes=0), []),
    "memory": ({"budgets": {"memory": Filled(11, 10)}}, [("memory_high", "warning")]),
    "memory, all of it": ({"budgets": {"memory": Filled(10, 10)}}, []),
    "a cache": ({"budgets": {"object_cache": Filled(10, 10)}}, []),
    "segments": ({"places": {"open_segments": Filled(10, 10)}}, []),
    **{
        name: ({kind: {name: Filled(9, 10)}}, [(f"{name}_nearly_full", "warning")])
        for kind, parts in (("places", PLACES), ("budgets", BUDGETS))
        for name in parts
        if name not in {"memory", "object_cache"}
    },
    "refused by us just now": (refused("storage_failed", 500, 299), [("refusing", "bad")]),
    "refused by us a while ago": (refused("storage_failed", 500, 301), []),
    "refused by a restart": (refused("shutting_down", 503, 1), []),
    "refused by a start": (refused("not_ready", 503, 1), []),
    "over a quota": (refused("over_quota", 429, 3_599), [("over_quota", "warning")]),
    "over a quota long ago": (refused("over_quota", 429, 3_601), []),
    "a stranger": (refused("unauthenticated", 401, 10), [("refused", "note")]),
    "the store, asked": ({"store": StoreState("s3://b", "no route")}, [("store_away", "warning")]),
    "the store, by the roll-up": (now(store_away=1), [("store_away", "warning")]),
    "what waits": (now(backlog_age_s=601), [("backlog_late", "warning")]),
    "what is set aside": (now(set_aside_recordings=1), [("not_rolled_up", "warning")]),
    "what is held": ({"held": ["a", "b"]}, [("retention_held", "warning")] * 2),
    "a key that ends": ({"expiring": [ending(2)]}, [("key_expires_soon", "warning")]),
    "a key that ends later": ({"expiring": [ending(3)]}, [("key_expires_soon", "note")]),
    "many keys": ({"expiring": [ending(2)] * 1_000}, [("key_expires_soon", "warning")] * 11),
    "a bad file": ({"reload": ReloadState(NOW_MS, "no such key")}, [("reload_refused", "warning")]),
    "a file that waits": (
        {"reload": ReloadState(NOW_MS, None, ("port",))}, [("restart_needed", "note")]
    ),
    "the index": ({"logged": {"index_damaged": 1, "sealed": 5}}, [("index_rebuilt", "warning")]),
    "errors": ({"hour": {**GOOD_HOUR, "errors": 2}}, [("errors_logged", "warning")]),
    "quarantine": ({"hour": {**GOOD_HOUR, "quarantined": 2}}, [("quarantined", "note")]),
    **{name: ({"logged": {name: 1}}, [("damage_found", "bad")]) for name in sorted(DAMAGE)},
    "many": (
        {
            "hour": {"errors": 1, "quarantined": 1}, "reload": ReloadState(1, None, ("port",)),
            "readiness": Readiness("not_ready", "full"), "held": ["a"],
        },
        [
            ("not_ready", "bad"), ("retention_held", "warning"), ("errors_logged", "warning"),
            ("restart_needed", "note"), ("quarantined", "note"),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_facts_bring_their_troubles_the_worst_first(case: str) -> None:
    changed, expected = CASES[case]
    found = troubles(GOOD._replace(**changed))
    assert [(trouble.code, trouble.level) for trouble in found] == expected
    assert all(trouble.text and trouble.next_step for trouble in found)
    assert worst(found) == (expected[0][1] if expected else "well")
