"""A load process's part of a turn: everybody comes, sends at the pace, waits for the last acks, and goes."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.daemon import cpu_s, rss_bytes
from bench.load import raise_file_limit
from bench.paced.frames import Stream, events
from bench.paced.order import Order, Seen
from bench.paced.pace import mark, pace
from bench.paced.visitors import Visitors

_DRAIN_TIMEOUT_S = 60.0
_POLL_S = 0.01
_BEHIND_S = 0.3
"""What takes this much longer than it may wait has fallen behind."""


def visit(order: Order, cores: frozenset[int]) -> Seen:
    """Carry out an order. Processor time, memory and lateness are those of the measured time alone.

    A bare receiver is measured until it has read everything, or one that falls behind would seem cheap. A
    server that stores is measured while events are sent, unless it falls behind: what waits for its commit in
    the end is made up for by what waited at the begin.
    """
    raise_file_limit()
    lines = events(order.events, rate=order.rate, start_ms=int(time.time() * 1000))
    stream = Stream(lines, deflate=order.deflate)
    visitors = Visitors(order, stream)
    idle_bytes, opening = rss_bytes(order.pid), mark(order.pid, cores)
    visitors.count_latencies(0.0, 0.0, float("inf") if order.first_events and not order.rate else 0.0)
    opening_s = visitors.open()
    if order.first_events and order.ack_every:
        _wait(lambda: visitors.heard >= len(visitors.asking) - visitors.failed, visitors)
    opened, open_bytes = visitors.opened, rss_bytes(order.pid)
    first_s = cpu_s(order.pid) - opening.server_s
    begin = opening
    end = mark(order.pid, cores, order.first_events * opened, visitors.late_s, visitors.late)
    if order.paced_events and stream.frames:
        begin, end = pace(visitors, stream.frames[order.first_events :], order, cores)
    drained_s = _drain(visitors, order)
    used_bytes = rss_bytes(order.pid)
    if not order.is_counted or drained_s > order.flush_age_s + _BEHIND_S:
        end = end._replace(server_s=cpu_s(order.pid))
    visitors.close()
    lost = sum(order.events - acked for acked in visitors.acked) if order.is_counted else 0
    latencies = visitors.latencies
    return Seen(
        window=begin.until(end, len(cores)),
        opened=opened,
        refused=visitors.failed,
        lost=lost,
        doubled=sum(visitors.bad.values()),
        acks=latencies.count,
        p50_ms=latencies.ms(50),
        p99_ms=latencies.ms(99),
        max_ms=latencies.max_ms,
        drained_s=drained_s,
        opening_s=opening_s,
        idle_bytes=idle_bytes,
        open_bytes=open_bytes,
        used_bytes=used_bytes,
        opening_server_s=first_s,
        stuck=visitors.stuck,
        problems=visitors.problems,
    )


def _drain(visitors: Visitors, order: Order) -> float:
    """Wait until the server has read, and where it says so stored, what those sent that ask for acks."""
    before = time.monotonic()
    asking = visitors.asking
    if order.is_counted and order.ack_every:
        _wait(
            lambda: all(visitors.settled(n) >= order.events or visitors.fds[n] < 0 for n in asking), visitors
        )
    elif not order.is_counted:
        visitors.ping()
        _wait(lambda: visitors.pongs >= len(asking) - visitors.failed, visitors)
    return time.monotonic() - before


def _wait(until: Callable[[], bool], visitors: Visitors) -> None:
    give_up_at = time.monotonic() + _DRAIN_TIMEOUT_S
    while not until() and time.monotonic() < give_up_at:
        visitors.push()
        visitors.poll(_POLL_S)
