"""Rows 5 and 6: what syncing costs, and how long an ack takes at half load.

Row 5 has two daemons take turns, one of them under ``libeatmydata``, which makes every sync of a process a
word without a deed. Batches are small and come of age in 20 ms, so that each waits for a group's sync and
hardly for anything else.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import glob

from bench import load, stage
from bench.daemon import Daemon, daemon
from bench.result import Check, Options, Plot, Row, Series, rate, ratio
from bench.rows import run_alone

FLUSH_AGE_MS = 1000


def cpus() -> frozenset[int] | None:
    core = stage.client_core()
    return None if core is None else frozenset({core})


def limits_of(outcome: load.Outcome) -> list[str]:
    """Say what was wrong with a load, for the notes; nothing if it was as it should be."""
    said = [f"the load used {max(outcome.cpu_shares):.0%} of its core", *outcome.limits]
    if outcome.failed or outcome.refused or outcome.problems:
        said.append(f"{outcome.failed} connections failed, {outcome.refused} events refused")
        said += outcome.problems[:3]
    return said


def _eatmydata() -> str | None:
    found = ctypes.util.find_library("eatmydata")
    return found or next(iter(glob.glob("/usr/lib/*/libeatmydata.so")), None)


def measure_sync(options: Options) -> Row:
    """Acked events a second of 1,000 recordings, with sync against without."""
    title = "1,000 recordings at once, small batches: with sync against without"
    library = _eatmydata()
    if library is None:
        check = Check("of the same without sync", float("nan"), "%", 0.8, is_measured=False)
        return Row(5, title, [check], notes=["libeatmydata is missing: apt-get install libeatmydata1"])
    plan = load.Plan(
        recordings=options.pick(1000, 300, 20),
        for_s=options.pick(6, 1, 1),
        is_closed=True,
        window=2,
        batch=5,
        verify=False,
        cpus=cpus(),
    )
    settings = {"RRD_FLUSH_AGE_MS": "20"}
    rates: dict[str, list[float]] = {"rrd, synced": [], "rrd, not synced": []}
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        core = stage.server_core()
        synced = stack.enter_context(daemon(settings, core=core))
        unsynced = stack.enter_context(daemon(settings | {"LD_PRELOAD": library}, core=core))
        for _ in range(options.pick(5, 1, 1)):
            for name, target in (("rrd, synced", synced), ("rrd, not synced", unsynced)):
                outcome = load.run(load.Target.of(target), plan)
                rates[name].append(outcome.events_s)
                notes = limits_of(outcome)
    return Row(
        5, title,
        [ratio("of the same without sync", rates["rrd, synced"], rates["rrd, not synced"], bar=0.8)],
        [rate(name, "events/s", values) for name, values in rates.items()],
        notes=notes,
    )  # fmt: skip


def closed_maximum(target: Daemon, *, recordings: int, for_s: float) -> load.Outcome:
    """Return what a closed loop of the corpus's events reaches, one a message."""
    plan = load.Plan(
        recordings=recordings, for_s=for_s, is_closed=True, events="all", verify=False, cpus=cpus()
    )
    return load.run(load.Target.of(target), plan)


def measure_latency(options: Options) -> Row:
    """Ack latency in an open loop, at a quarter, half and three quarters of the closed-loop maximum.

    Recordings begin spread over ``flush_age_ms``, as visitors come: those that begin at once come of age at
    once, too, and the last of them waits until all are stored.
    """
    recordings, for_s = options.pick(200, 50, 10), options.pick(20, 2, 2)
    percentiles: dict[float, list[tuple[float, float]]] = {50: [], 99: []}
    checks: list[Check] = []
    notes: list[str] = []
    with daemon(core=stage.server_core()) as target:
        most = closed_maximum(target, recordings=recordings, for_s=options.pick(8, 1, 1))
        notes += [f"closed loop: {most.events_s:,.0f} events/s", *limits_of(most)]
        for share in (0.5,) if options.scale == "quick" else (0.25, 0.5, 0.75):
            plan = load.Plan(
                recordings=recordings, for_s=for_s, rate=share * most.events_s / recordings, events="all",
                ramp_s=FLUSH_AGE_MS / 1000, verify=False, cpus=cpus(),
            )  # fmt: skip
            outcome = load.run(load.Target.of(target), plan)
            for percentile, points in percentiles.items():
                points.append((share * most.events_s, outcome.latencies.ms(percentile)))
            if share == 0.5:
                for percentile, more_ms in ((50, 5), (99, 50)):
                    took = outcome.latencies.ms(percentile)
                    checks.append(
                        Check(f"p{percentile} of an ack", took, "ms", FLUSH_AGE_MS + more_ms, "at most")
                    )
                notes += [f"at half: {note}" for note in limits_of(outcome)]
    series = [Series(f"p{percentile:.0f}", points) for percentile, points in percentiles.items()]
    plot = Plot("ack latency against load", "events a second", "ms", series)
    return Row(6, "ack latency, open loop at half the closed-loop maximum", checks, plots=[plot], notes=notes)


if __name__ == "__main__":
    run_alone(measure_sync, measure_latency)
