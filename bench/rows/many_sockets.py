"""Rows 7 and 8: ten thousand open sockets, and what permessage-deflate costs."""

from __future__ import annotations

import time
from typing import NamedTuple

from bench import load, stage
from bench.corpus import small_events
from bench.daemon import cpu_s, daemon, rss_bytes
from bench.result import Check, Options, Plot, Row, Series
from bench.rows import run_alone
from bench.rows.durability import cpus, limits_of


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
    """10,000 open sockets, an event a second each."""
    most, for_s = options.pick(10_000, 1000, 20), options.pick(60, 2, 2)
    points: list[tuple[float, float]] = []
    fewer = set() if options.scale == "quick" else {max(1, most // 10), max(1, most // 2)}
    for sockets in sorted(fewer | {most}):
        is_last = sockets == most
        use = put(
            load.Plan(
                recordings=sockets,
                rate=1,
                for_s=for_s if is_last else 2,
                idle_s=2,
                ramp_s=1 if is_last else 0,
                verify=is_last,
                cpus=cpus(),
            )
        )
        points.append((sockets, use.used_bytes / 1024))
    outcome = use.outcome
    findings = outcome.findings
    lost = outcome.due - outcome.acked + (findings.lost + findings.unreadable if findings else 0)
    checks = [
        Check("events lost or not acked", lost, "", 0, "at most"),
        Check("sockets refused or cut", outcome.failed + most - outcome.opened, "", 0, "at most"),
        Check("of a core", use.cpu_s / use.seconds, "%", 1.0, "at most"),
        Check("a socket above the idle process", use.used_bytes / 1024, "KiB", 40 * 1000 / 1024, "at most"),
        Check("a socket that has sent nothing", use.idle_bytes / 1024, "KiB"),
        Check("p99 of an ack", outcome.latencies.ms(99), "ms"),
    ]
    plot = Plot("memory against open sockets", "sockets", "KiB a socket", [Series("rrd", points)])
    title = f"{most:,} open sockets, an event a second each, {for_s} s"
    return Row(7, title, checks, plots=[plot], notes=limits_of(outcome))


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
