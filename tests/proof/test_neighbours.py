"""An honest sender keeps getting its acks while another tenant attacks, and a stop then loses nothing.

Method: ``rrd serve`` as a process, each attack from a process of its own (``bench.attacks``), and the
neighbour in this one. An ack is judged by what the daemon made of it: the time that its loop, or the
neighbour, was ready to run and had no core is the machine's (``bench.attacks.neighbour``).
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from bench.attacks import ATTACKS, Victim
from bench.attacks.neighbour import (
    ACK_MAX_S,
    SNAPSHOT_MAX_S,
    Account,
    Neighbour,
    beside,
    slowest_s,
    under_attack,
)
from tests.harness import DaemonProcess, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="who waits for a core is read from /proc"),
]

FOR_S = 4.0
FLUSH_AGE_MS = 200
"""An ack waits for its flush, which is the operator's choice and no attacker's doing."""
ATTACKER = "127.0.0.66"
"""Where attacks come from, for limits of an address to count: no trusted proxy, not the neighbour."""
SOCKETS_MAX = 2000
"""Fewer than ``socket-all`` opens."""
SETTINGS = {"flush_age_ms": FLUSH_AGE_MS, "trusted_proxies": "", "sockets_max": SOCKETS_MAX}
ACKS_MIN = 20
TRIES = 3
"""An attack that stops the loop does so each time. A busy machine may, once: the daemon also waits for the
disk, for other processes' page faults, and for its own threads, which wait for a core.
"""
STOP_MAX_S = 30.0
"""README: a stop waits up to 20 s for requests under way, and then a moment for what came of them."""


def victims(daemon: DaemonProcess) -> tuple[Victim, Victim]:
    """Start the daemon; return it as the attacker sees it, and as the neighbour does."""
    keys = [daemon.key(tenant=tenant) for tenant in ("attacker", "neighbour")]
    daemon.start()
    attacker, honest = keys
    return Victim("127.0.0.1", daemon.port, attacker, ATTACKER), Victim("127.0.0.1", daemon.port, honest)


async def stored(daemon: DaemonProcess, account: Account, honest: Victim) -> int:
    headers = {"Authorization": f"Bearer {honest.key}", "Accept": "application/x-ndjson"}
    path = f"{daemon.url}/recordings/{account.recording_id}/events"
    async with aiohttp.ClientSession(headers=headers) as session, session.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return len({json.loads(line)["timestamp"] for line in (await answer.read()).splitlines()})


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_neighbour_gets_its_acks_and_is_not_refused(name: str, tmp_path: Path) -> None:
    for number in range(TRIES):
        daemon = DaemonProcess(tmp_path / str(number), **SETTINGS)
        (tmp_path / str(number)).mkdir()
        attacker, honest = victims(daemon)
        with daemon:
            account = await beside([name], attacker, honest, pid=daemon.pid, for_s=FOR_S)
            assert account.refused == []
            assert await stored(daemon, account, honest) == account.acked
        ack, snapshot, read = map(slowest_s, (account.acks, account.snapshots, account.reads))
        print(f"{name}: the slowest ack {ack:.2f} s, snapshot {snapshot:.2f} s, read {read:.2f} s")
        if ack <= ACK_MAX_S and max(snapshot, read) <= SNAPSHOT_MAX_S:
            return
    pytest.fail(f"{name}: too slow in each of {TRIES} tries")


@pytest.mark.parametrize(
    "names",
    [
        ["post-zstd-blank-gib", "socket-zstd-blank"],
        ["post-left-open", "post-fills-the-budget"],
        ["socket-deflate-at-once", "socket-half-sent"],
        ["slow-readers", "lists-never-read"],
        ["socket-empty-texts", "new-recordings", "churn"],
    ],
    ids="+".join,
)
async def test_a_stop_during_an_attack_is_a_stop_like_any_other(names: list[str], tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, **SETTINGS)
    attacker, honest = victims(daemon)
    with daemon:
        neighbour = Neighbour(honest, daemon.pid)
        running = asyncio.create_task(neighbour.run())
        async with under_attack(names, attacker, for_s=120):
            await until(lambda: neighbour.account.acked >= ACKS_MIN, what="acks", deadline_s=120)
            status = await asyncio.to_thread(daemon.stop, number=signal.SIGTERM, timeout_s=STOP_MAX_S)
        neighbour.stop()
        await running
        assert status == 0
        assert neighbour.account.acked >= ACKS_MIN
        daemon.start()
        assert await stored(daemon, neighbour.account, honest) >= neighbour.account.acked
