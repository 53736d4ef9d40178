"""Signs of life for systemd: its watchdog's pings, and a line that says what rrd is doing.

A ping says that the event loop turns, since a task of the loop sends it, and that commits get on. So pings
stop where rrd hangs in a way that it can't end by itself, and systemd restarts it after ``WatchdogSec=``:

- a turn of the loop that never ends: no task runs;
- a write that never ends: pings stop one interval before ``commit_stall_max_s``, so that systemd's patience
  ends at about the same time. By then rrd ends by itself, unless that hangs, too. With
  ``commit_stall_max_s = 0`` a write may take as long as it likes, and pings go on.

While such a write is under way, ``/-/ready`` says so long before (``Registry.why_not_stored``).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping

from rrd.daemon.notify import notify
from rrd.http.services import Services
from rrd.log import emit

logger = logging.getLogger(__name__)

_STATUS_INTERVAL_S = 10.0
"""How often systemd is told what rrd does, at most."""

_PINGS_AN_INTERVAL = 4
"""systemd advises two (sd_watchdog_enabled(3)). With four, one that is late or lost ends nothing."""


def interval_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """Return how long systemd waits for a ping, in seconds; None if it waits for none from this process."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not is_ours or not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    return int(microseconds) / 1e6


def gets_on(stalled_s: float, stall_max_s: float, watchdog_s: float) -> bool:
    """Tell whether a ping may be sent while a commit has been under way for ``stalled_s``.

    ``stall_max_s``: ``commit_stall_max_s``. At least half an interval is always allowed for: a slow write is
    no stall.
    """
    return not stall_max_s or stalled_s <= max(stall_max_s - watchdog_s, watchdog_s / 2)


def start_life(services: Services) -> list[asyncio.Task[None]]:
    """Start to ping and to tell what rrd does, where systemd started it."""
    if "NOTIFY_SOCKET" not in os.environ:
        return []
    return [asyncio.create_task(show_life(services), name="watchdog")]


async def show_life(services: Services) -> None:
    """Ping, and tell what rrd does, until cancelled. For the event loop that serves."""
    watchdog_s = interval_s()
    pause_s = min(_STATUS_INTERVAL_S, (watchdog_s or _STATUS_INTERVAL_S) / _PINGS_AN_INTERVAL)
    told_at, was_silent = float("-inf"), False
    while True:
        now = services.clock.monotonic()
        if now - told_at >= _STATUS_INTERVAL_S:
            told_at = now
            notify(life_of(services))
        if watchdog_s is not None:
            stalled_s = services.registry.committer.stalled_s()
            is_silent = not gets_on(stalled_s, services.config.commit_stall_max_s, watchdog_s)
            if not is_silent:
                notify("WATCHDOG=1")
            elif not was_silent:
                emit(
                    logger, logging.ERROR, "commit_stalls", stalled_s=round(stalled_s),
                    next_step="systemd restarts rrd unless the write ends; see the disk and its log (dmesg)",
                )  # fmt: skip
            was_silent = is_silent
        await asyncio.sleep(pause_s)


def life_of(services: Services) -> str:
    """Return what systemd is to know now: whether rrd is ready, and what it does."""
    if not services.ready.is_set():
        return f"STATUS=starting: {services.waits_for}"
    sockets, recordings = len(services.sockets), len(services.registry.opened())
    # READY again each time: systemd may have been too busy to take it the first time.
    return f"READY=1\nSTATUS=ready: {sockets} sockets, {recordings} recordings open"
