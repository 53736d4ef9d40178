"""Sends what is due when it is due, one visitor after the other, and notes who used the cores meanwhile.

Round ``k`` is event ``k`` of every visitor; visitor ``i`` of ``n`` sends it ``i / n`` of the way to the next
round. So what is due at any moment is one number, and no timer or queue is needed for each visitor.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import NamedTuple

from bench.daemon import cpu_s
from bench.load.outcome import LATE_S
from bench.load.worker import waited_s
from bench.paced.order import Order, Window
from bench.paced.visitors import Visitors

_TICK_S = 0.0001
"""How long to sleep while nothing is due: a server is woken by each event, not by bundles of them."""
_HEAR_S = 0.002
"""How often acks are read: latencies are late by this at most."""
_PUSH_S = 0.005
_SLICE = 256
_START_DELAY_S = 0.05
_PR_SET_TIMERSLACK = 29
"""prctl(2). By default the kernel lets a sleep last 50 µs longer, to bundle wake-ups."""
_TIMER_SLACK_NS = 1000


class Mark(NamedTuple):
    """Counters at one moment."""

    at: float
    events: int
    server_s: float
    load_s: float
    waited_s: float
    busy_s: float
    """Of all our cores."""
    late_s: float
    late_events: int

    def until(self, end: Mark, cores: int) -> Window:
        """Return what went on from this mark to another."""
        seconds, events = end.at - self.at, end.events - self.events
        server_s, load_s = end.server_s - self.server_s, end.load_s - self.load_s
        others_s = end.busy_s - self.busy_s - server_s - load_s
        return Window(
            seconds=seconds,
            events=events,
            server_s=server_s,
            load_s=load_s,
            others_share=max(0.0, others_s / max(seconds * cores, 1e-9)),
            waited_share=(end.waited_s - self.waited_s) / max(seconds, 1e-9),
            late_s=end.late_s,
            late_share=(end.late_events - self.late_events) / max(1, events),
        )


def mark(pid: int, cores: frozenset[int], events: int = 0, late_s: float = 0.0, late_events: int = 0) -> Mark:
    """Look at all counters."""
    return Mark(
        time.monotonic(), events, cpu_s(pid), time.process_time(), waited_s(), _busy_s(cores), late_s,
        late_events,
    )  # fmt: skip


def pace(visitors: Visitors, frames: list[bytes], order: Order, cores: frozenset[int]) -> tuple[Mark, Mark]:
    """Send ``frames``, each to all visitors; return the marks after the warm-up and at the end."""
    _sleep_exactly()
    count, clock, write, fds = order.visitors, time.monotonic, os.write, visitors.fds
    per_s, total = order.rate * count, len(frames) * count
    start = clock() + _START_DELAY_S
    visitors.count_latencies(start, start + order.warm_up_s, start + order.warm_up_s + order.for_s)
    done, late_s, late_events = 0, 0.0, 0
    hear_at = push_at = start
    begin: Mark | None = None
    while done < total:
        now = clock()
        if begin is None and now >= start + order.warm_up_s:
            begin, late_s = mark(order.pid, cores, done, 0.0, late_events), 0.0
        due = min(total, int((now - start) * per_s) + 1) if now >= start else 0
        if due > done:
            turn, first = divmod(done, count)
            limit = min(due - turn * count, count, first + _SLICE)
            late = now - start - done / per_s
            late_s = max(late_s, late)
            late_events += limit - first if late > LATE_S else 0
            data = frames[turn]
            size = len(data)
            for number in range(first, limit):
                try:
                    written = write(fds[number], data)
                    if written != size:
                        visitors.keep(number, data[written:])
                except OSError:
                    # No room, or it waits already, or it was cut.
                    visitors.write(number, data)
            done += limit - first
        if now >= hear_at:
            visitors.poll(0)
            hear_at = now + _HEAR_S
            if now >= push_at:
                visitors.push()
                push_at = now + _PUSH_S
        elif due <= done:
            time.sleep(_TICK_S)
    end = mark(order.pid, cores, done, late_s, late_events)
    return begin or end, end


def _sleep_exactly() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, _TIMER_SLACK_NS, 0, 0, 0)


def _busy_s(cores: frozenset[int]) -> float:
    """Return how long these cores were not idle, in all (``/proc/stat``, proc(5)), other guests' time too."""
    names, busy = {f"cpu{core}" for core in cores}, 0
    with open("/proc/stat") as file:
        for line in file:
            name, *fields = line.split()
            if name in names:
                user, nice, system, _idle, _iowait, *rest = map(int, fields[:8])
                busy += user + nice + system + sum(rest)
    return busy / os.sysconf("SC_CLK_TCK")
