"""When is each message due? Seconds from the start of sending, for one recording, in order."""

from __future__ import annotations

import random
from collections.abc import Iterator

from bench.load.events import Events
from bench.load.plan import Plan

BURST_EVENTS_MAX = 39
"""A burst has 1 to this many events, 20 in the mean: a move of the pointer with a click, say."""


def start_s(plan: Plan, number: int) -> float:
    """Return when a recording begins to send: on the ramp, and evenly over an interval between messages."""
    share = number / plan.recordings
    phase_s = 0.0 if plan.is_closed else share * plan.batch / plan.rate
    return share * plan.ramp_s + phase_s


def due_times(plan: Plan, events: Events, number: int) -> Iterator[float]:
    """Return when each message of a recording is due in an open loop; the last may hold less than a batch.

    A message is due when the last of its events is, counted from the first message. With ``Plan.thinks``
    a burst begins when its first event would be due at an even rate, or behind the burst before.
    """
    if plan.thinks:
        yield from _thinking(plan, events, number)
        return
    begin_s, interval_s = start_s(plan, number), plan.batch / plan.rate
    for message in range(-(-plan.events_each // plan.batch)):
        yield begin_s + message * interval_s


def _thinking(plan: Plan, events: Events, number: int) -> Iterator[float]:
    chance = random.Random(f"{plan.seed} {number}")
    begin_s = plan.ramp_s * number / plan.recordings
    now_s, n = 0.0, 0
    while n < plan.events_each:
        burst = min(chance.randint(1, BURST_EVENTS_MAX), plan.events_each - n)
        # Somewhere in the time that these events have at an even rate, so that recordings don't act together.
        now_s = max(now_s, (n + chance.random() * burst) / plan.rate)
        for at in range(n, n + burst):
            now_s += events.gap_s(number, at) if at > n else 0.0
            if (at + 1) % plan.batch == 0 or at + 1 == plan.events_each:
                yield begin_s + now_s
        n += burst
