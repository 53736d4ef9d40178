"""2,000 hostile sockets and bodies of every kind together: the daemon's memory stays below ``memory_max``.
And when an attack is over, what it took is given back.

Method: ``rrd serve`` as a process, all attacks that make it hold something at once from another process,
and the most resident memory that the daemon ever had (``VmHWM``, proc(5)). An honest sender of another tenant
goes on meanwhile, so that a daemon that just refuses all doesn't pass.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.attacks import Victim
from bench.attacks.neighbour import beside, under_attack
from bench.daemon import peak_rss_bytes, rss_bytes
from tests.harness import DaemonProcess, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("as_installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc"),
]

MIB = 1 << 20
MEMORY_MAX = 1024 * MIB
FOR_S = 25.0
ATTACK_S = 4.0
KEPT_BYTES_MAX = 100 * MIB
"""What malloc keeps at hand (``rrd.daemon.memory``), and caches that have filled."""
GIVEN_BACK_S = 60.0
"""malloc is trimmed each ten seconds, and bodies that were cut off are stored first."""

HOLDING = (
    *("post-left-open", "post-brotli-windows", "post-zstd-windows", "post-fills-the-budget"),
    *("socket-half-sent", "socket-half-sent-fragments", "socket-deflate-at-once", "socket-deflate-idle"),
    *("slow-readers", "lists-never-read", "many-pairs", "post-gzip-run-together", "socket-gzip-run-together"),
)
"""1,500 bodies, 400 streams with windows, 250 sockets with messages, and readers: more than 2,000."""


@pytest.mark.timeout(600)
async def test_hostile_senders_together_stay_below_the_ceiling(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, flush_age_ms=200, memory_max=MEMORY_MAX)
    keys = [daemon.key(tenant=tenant) for tenant in ("attacker", "neighbour")]
    with daemon:
        attacker, honest = (Victim("127.0.0.1", daemon.port, key) for key in keys)
        account = await beside(HOLDING, attacker, honest, pid=daemon.pid, for_s=FOR_S)
        peak = peak_rss_bytes(daemon.pid)
        print(f"peak memory {peak / MIB:.0f} MiB of {MEMORY_MAX / MIB:.0f}, {account.acked} acks")
        assert peak < MEMORY_MAX
        assert account.refused == []


@pytest.mark.parametrize(
    "name",
    [
        *("post-brotli-windows", "post-zstd-blank", "post-run-together"),
        *("socket-half-sent", "socket-deflate-at-once", "lists-never-read"),
    ],
)
async def test_memory_is_given_back_when_an_attack_is_over(name: str, tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, flush_age_ms=200)
    key = daemon.key(tenant="attacker")
    with daemon:
        before = rss_bytes(daemon.pid)
        async with under_attack([name], Victim("127.0.0.1", daemon.port, key), for_s=ATTACK_S) as attack:
            assert await attack.wait() == 0
        after = rss_bytes(daemon.pid)
        print(f"{name}: {before / MIB:.0f} MiB before, {after / MIB:.0f} at the end of the attack")
        await until(
            lambda: rss_bytes(daemon.pid) < before + KEPT_BYTES_MAX,
            what=f"{after / MIB:.0f} MiB to go back to about {before / MIB:.0f}",
            deadline_s=GIVEN_BACK_S,
        )
