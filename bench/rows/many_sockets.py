"""Rows 7 and 8: ten thousand open sockets, and what permessage-deflate costs."""

from __future__ import annotations

import dataclasses
import time
from typing import NamedTuple

from bench import load, stage
from bench.corpus import small_events
from bench.daemon import cpu_s, daemon, rss_bytes
from bench.paced import scenes
from bench.paced.order import Seen
from bench.paced.scenes import Scene
from bench.result import Check, Options, Plot, Row, Series
from bench.rows import run_alone
from bench.rows.durability import cpus, limits_of

_WINDOW_EVENTS = 130
"""Small events that fill a window of 32 KiB before they are compressed."""


class Use(NamedTuple):
    """What a load cost the daemon."""

    outcome: load.Outcome
    cpu_s: float
    """Processor time while events were sent."""
    seconds: float
    idle_bytes: int
    """Memory above the idle process, a socket: everything open, nothing sent yet."""
    used_bytes: int
    """The same when everything was sent."""


def put(plan: load.Plan) -> Use:
    """Put a load on a fresh daemon."""
    seen: dict[str, tuple[float, int, float]] = {}
    with daemon(core=stage.server_core()) as target:
        pid = target.pid
        assert pid is not None

        def look(phase: str) -> None:
            seen[phase] = (cpu_s(pid), rss_bytes(pid), time.monotonic())

        look("before")
        outcome = load.run(load.Target.of(target), plan, on_phase=look)
    before = seen["before"][1]
    each = [(seen[phase][1] - before) // plan.recordings for phase in ("sending", "sent")]
    (start_cpu, _, start), (end_cpu, _, end) = seen["sending"], seen["sent"]
    return Use(outcome, end_cpu - start_cpu, end - start, *each)


def measure(options: Options) -> Row:
    """10,000 open sockets, an event a second each, quiet as the client is: one in fifty asks for acks."""
    most, for_s = options.pick(10_000, 1000, 20), options.pick(60, 2, 2)
    points: list[tuple[float, float]] = []
    for sockets in () if options.scale == "quick" else (max(1, most // 10), max(1, most // 2)):
        use = put(load.Plan(recordings=sockets, rate=1, for_s=2, verify=False, cpus=cpus()))
        points.append((sockets, use.used_bytes / 1024))
    scene = Scene(visitors=most, rate=1, for_s=for_s, rounds=1, ramp_s=options.pick(10, 2, 1))
    plain, deflated, full = (
        scenes.stay(dataclasses.replace(scene, deflate=deflate, first_events=first), print)[0]
        for deflate, first in ((False, 0), (True, 0), (True, _WINDOW_EVENTS))
    )
    points.append((most, _kib(plain)))
    every = (plain, deflated, full)
    bars = (36, 50) if options.scale == "full" else (None, None)
    checks = [
        Check("events lost or doubled", sum(each.lost + each.doubled for each in every), "", 0, "at most"),
        Check("sockets refused or cut", sum(each.refused for each in every), "", 0, "at most"),
        Check("of a core", plain.core_share, "%", 0.35, "at most"),
        Check("of a core, permessage-deflate", deflated.core_share, "%"),
        Check("a socket above the idle process", _kib(plain), "KiB", bars[0], "at most"),
        Check("the same, permessage-deflate", _kib(deflated), "KiB", bars[1], "at most"),
        Check("the same, windows full from the begin", _kib(full), "KiB"),
        Check("a socket that has sent nothing", (plain.open_bytes - plain.idle_bytes) / most / 1024, "KiB"),
        Check("p99 of an ack, of those that ask", plain.p99_ms, "ms"),
    ]
    plot = Plot("memory against open sockets", "sockets", "KiB a socket", [Series("rrd", points)])
    title = f"{most:,} open sockets, an event a second each, {for_s} s"
    notes = [text for each in every for text in [*each.limits, *each.problems[:3]]]
    return Row(7, title, checks, plots=[plot], notes=notes)


def _kib(seen: Seen) -> float:
    """Return the memory above the idle process, a socket, when everything was sent."""
    return (seen.used_bytes - seen.idle_bytes) / max(1, seen.opened) / 1024


def measure_deflate(options: Options) -> Row:
    """permessage-deflate, with and without windows that go on, beside identity."""
    sockets, for_s = options.pick(1000, 100, 10), options.pick(20, 1, 1)
    mean_mb = sum(map(len, small_events())) / len(small_events()) / 1e6
    checks: list[Check] = []
    notes: list[str] = []
    plain = 0.0
    kinds: dict[str, load.Plan] = {
        "identity": load.Plan(deflate="off"),
        "with context takeover": load.Plan(deflate="takeover"),
        "without context takeover": load.Plan(deflate="no-takeover"),
    }
    for name, kind in kinds.items():
        use = put(
            load.Plan(
                recordings=sockets,
                rate=10,
                for_s=for_s,
                idle_s=options.pick(1, 0, 0),
                deflate=kind.deflate,
                verify=False,
                cpus=cpus(),
            )
        )
        a_mb = 1000 * use.cpu_s / max(use.outcome.acked * mean_mb, 1e-9)
        plain = plain or a_mb
        checks.append(Check(f"of processor time an MB of events, {name}", a_mb, "ms"))
        if name != "identity":
            checks.append(Check(f"of identity's processor time, {name}", a_mb / plain, "×"))
        checks.append(Check(f"of memory a socket in use, {name}", use.used_bytes / 1024, "KiB"))
        notes += [f"{name}: {note}" for note in limits_of(use.outcome)]
    return Row(8, "permessage-deflate from a browser-like client", checks, notes=notes)


if __name__ == "__main__":
    run_alone(measure, measure_deflate)
