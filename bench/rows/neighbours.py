"""Row 14: an honest sender beside each attack of another tenant. How long do its acks take, is it refused?

A fresh daemon for each attack, so that none meets what another left. The time that the daemon's loop or the
neighbour had no core is not counted: attackers have machines of their own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterable

from bench import stage
from bench.attacks import ATTACKS, Victim
from bench.attacks.neighbour import ACK_MAX_S, SNAPSHOT_MAX_S, Account, Ack, beside, slowest_s
from bench.daemon import daemon, peak_rss_bytes
from bench.result import Check, Options, Row, rate
from bench.rows import run_alone

FLUSH_AGE_MS = 200
"""An ack waits for its flush, which is the operator's choice and no attacker's doing."""
ATTACKER = "127.0.0.66"
"""Where attacks come from, for limits of an address to count: no trusted proxy, not the neighbour."""
SOCKETS_MAX = 2000
"""Fewer than ``socket-all`` opens."""
_QUICK = ("post-zstd-blank", "socket-deflate-at-once", "slow-readers")
_SMOKE = ("post-brackets", "socket-empty-texts")


def measure(options: Options) -> Row:
    """Let each attack go on for some seconds."""
    names = {"full": tuple(ATTACKS), "quick": _QUICK, "smoke": _SMOKE}[options.scale]
    accounts: dict[str, Account] = {}
    peaks: dict[str, float] = {}
    for name in names:
        accounts[name], peaks[name] = _beside(name, for_s=options.pick(8, 4, 2))
    slowest = {name: slowest_s(account.acks) for name, account in accounts.items()}
    refused = {name: len(account.refused) for name, account in accounts.items() if account.refused}
    worst = max(slowest, key=lambda name: slowest[name])
    hungriest = max(peaks, key=lambda name: peaks[name])
    checks = [
        Check("slowest ack of the neighbour", slowest[worst], "s", ACK_MAX_S, "at most"),
        Check("times that the neighbour was refused", sum(refused.values()), "", 0, "at most"),
        Check(
            "slowest snapshot of 2 MB",
            _most(account.snapshots for account in accounts.values()),
            "s",
            SNAPSHOT_MAX_S,
            "at most",
        ),
        Check(
            "slowest read of it",
            _most(account.reads for account in accounts.values()),
            "s",
            SNAPSHOT_MAX_S,
            "at most",
        ),
        Check("memory at most", peaks[hungriest] / (1 << 20), "MiB"),
    ]
    notes = [f"The slowest ack came beside {worst}, the most memory was taken by {hungriest}."]
    notes += [
        f"Beside {name}, refused {count} times: {accounts[name].refused[0]}"
        for name, count in refused.items()
    ]
    rates = [
        rate(f"beside {name}", "s an ack", [ack.own_s for ack in account.acks])
        for name, account in accounts.items()
        if account.acks
    ]
    return Row(14, f"an honest sender beside {len(names)} attacks", checks, rates, notes=notes)


def _beside(name: str, *, for_s: float) -> tuple[Account, float]:
    """Carry out one attack on a fresh daemon; return the neighbour's account and the daemon's peak memory."""
    with tempfile.TemporaryDirectory(prefix="rrd-bench-") as directory:
        data_dir = f"{directory}/data"
        make_key = [sys.executable, "-m", "rrd", "keys", "create", "--data-dir", data_dir]
        key = subprocess.check_output([*make_key, "--tenant", "neighbour", "--scope", "all"], text=True)
        settings = {
            "RRD_FLUSH_AGE_MS": str(FLUSH_AGE_MS),
            "RRD_TRUSTED_PROXIES": "",
            "RRD_SOCKETS_MAX": str(SOCKETS_MAX),
        }
        with daemon(settings, core=stage.server_core(), data_dir=data_dir) as target:
            assert target.pid is not None
            attacker = Victim(target.host, target.port, target.key, ATTACKER)
            honest = Victim(target.host, target.port, key.strip())
            account = asyncio.run(
                beside([name], attacker, honest, pid=target.pid, for_s=for_s, cpu=stage.client_core())
            )
            return account, peak_rss_bytes(target.pid)


def _most(times: Iterable[list[Ack]]) -> float:
    return slowest_s(ack for each in times for ack in each)


if __name__ == "__main__":
    run_alone(measure)
