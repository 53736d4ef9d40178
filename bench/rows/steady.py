"""Row 13: ten minutes of steady mixed load, sockets and POST. Are processor and memory flat?

On a shared machine no processor is: the same work takes a quarter more time in one minute than in the next.
So with each sample a bare loop does a little of such work on the daemon's core, and the daemon's time is
counted in that loop's.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from typing import NamedTuple

from bench import load, stage
from bench.daemon import cpu_s, daemon, rss_bytes
from bench.floors import loop
from bench.payloads import Bodies
from bench.result import Check, Options, Plot, Row, Series
from bench.rows import run_alone
from bench.rows.durability import cpus, limits_of

_LOOP_EVENTS = 3000

PERIODS = 10
"""What is compared is the last tenth with the second: minutes, in a full run."""


class Sample(NamedTuple):
    """What was seen at one moment."""

    at_s: float
    daemon_s: float
    """Processor time that the daemon has used so far."""
    loop_s: float
    """Processor time of the bare loop's piece of work, done just before."""
    rss_mib: float


def measure(options: Options) -> Row:
    """Sample the daemon every hundredth of the run."""
    for_s = options.pick(600, 3, 3)
    sockets = load.Plan(
        recordings=options.pick(300, 200, 10), rate=5, for_s=for_s, thinks=True, verify=False, cpus=cpus()
    )
    posts = load.Plan(
        recordings=20, rate=10, for_s=for_s, batch=10, is_post=True, encoding="gzip", events="all", seed=1,
        verify=False, cpus=cpus(),
    )  # fmt: skip
    samples: list[Sample] = []
    outcomes: list[load.Outcome] = []
    with daemon(core=stage.server_core()) as target, stage.worker(stage.server_core()) as looper:
        looper.call(_loop_s)  # Warms up.
        pid = target.pid
        assert pid is not None
        loads = [
            threading.Thread(target=lambda plan=plan: outcomes.append(load.run(load.Target.of(target), plan)))
            for plan in (sockets, posts)
        ]
        for each in loads:
            each.start()
        start = time.monotonic()
        while (now := time.monotonic() - start) < for_s:
            samples.append(Sample(now, cpu_s(pid), looper.call(_loop_s), rss_bytes(pid) / 2**20))
            time.sleep(max(0.0, start + for_s / 100 * len(samples) - time.monotonic()))
        for each in loads:
            each.join()
    pairs = list(itertools.pairwise(samples))
    shares = [
        (after.at_s, (after.daemon_s - before.daemon_s) / (after.at_s - before.at_s))
        for before, after in pairs
    ]
    loops = [(after.at_s, (before.loop_s + after.loop_s) / 2) for before, after in pairs]
    memory = [(sample.at_s, sample.rss_mib) for sample in samples]
    processor, machine = _change(shares, for_s), _change(loops, for_s)
    what = "last tenth against the second"
    checks = [
        Check(f"processor, as the bare loop counts it, {what}", processor / machine, "%", 1.05, "at most"),
        Check(f"processor by the clock, {what}", processor, "%"),
        Check(f"the bare loop by the clock, {what}", machine, "%"),
        Check(f"memory, {what}", _change(memory, for_s), "%", 1.05, "at most"),
    ]
    typical_s = statistics.mean(loop_s for _, loop_s in loops)
    counted = [
        (at, share * typical_s / loop_s) for (at, share), (_, loop_s) in zip(shares, loops, strict=True)
    ]
    plots = [
        Plot(
            "processor over time",
            "s",
            "of a core",
            [Series("rrd", shares), Series("rrd, as the bare loop counts it", counted)],
        ),
        Plot("memory over time", "s", "MiB", [Series("rrd", memory)]),
    ]
    notes = [note for outcome in outcomes for note in limits_of(outcome)]
    if len(outcomes) < len(loads):
        notes.append("a load failed")
    return Row(
        13, f"processor and memory over {for_s} s of steady mixed load", checks, plots=plots, notes=notes
    )


def _loop_s() -> float:
    """Let the bare loop take in some bodies; return the processor time that it needed."""
    used = time.process_time()
    loop.work(Bodies("gzip", _LOOP_EVENTS))
    return time.process_time() - used


def _change(points: list[tuple[float, float]], for_s: float) -> float:
    period = for_s / PERIODS
    second = [value for at, value in points if period <= at < 2 * period]
    last = [value for at, value in points if at >= for_s - period]
    return statistics.mean(last) / statistics.mean(second) if second and last else float("nan")


if __name__ == "__main__":
    run_alone(measure)
