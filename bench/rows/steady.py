"""Row 13: ten minutes of steady mixed load, sockets and POST. Are processor and memory flat?"""

from __future__ import annotations

import itertools
import statistics
import threading
import time

from bench import load, stage
from bench.daemon import cpu_s, daemon, rss_bytes
from bench.result import Check, Options, Plot, Row, Series
from bench.rows import run_alone
from bench.rows.durability import cpus, limits_of

PERIODS = 10
"""What is compared is the last tenth with the second: minutes, in a full run."""


def measure(options: Options) -> Row:
    """Sample the daemon every hundredth of the run."""
    for_s = options.pick(600, 5, 5)
    sockets = load.Plan(
        recordings=options.pick(300, 200, 10), rate=5, for_s=for_s, thinks=True, verify=False, cpus=cpus()
    )
    posts = load.Plan(
        recordings=20, rate=10, for_s=for_s, batch=10, is_post=True, encoding="gzip", events="all", seed=1,
        verify=False, cpus=cpus(),
    )  # fmt: skip
    samples: list[tuple[float, float, float]] = []
    outcomes: list[load.Outcome] = []
    with daemon(core=stage.server_core()) as target:
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
            samples.append((now, cpu_s(pid), rss_bytes(pid) / 2**20))
            time.sleep(for_s / 100)
        for each in loads:
            each.join()
    shares = [
        (after[0], (after[1] - before[1]) / (after[0] - before[0]))
        for before, after in itertools.pairwise(samples)
    ]
    memory = [(at, mib) for at, _, mib in samples]
    checks = [
        Check(f"{what}, last tenth against the second", _change(points, for_s), "%", 1.05, "at most")
        for what, points in (("processor", shares), ("memory", memory))
    ]
    plots = [
        Plot("processor over time", "s", "of a core", [Series("rrd", shares)]),
        Plot("memory over time", "s", "MiB", [Series("rrd", memory)]),
    ]
    notes = [note for outcome in outcomes for note in limits_of(outcome)]
    if len(outcomes) < len(loads):
        notes.append("a load failed")
    return Row(
        13, f"processor and memory over {for_s} s of steady mixed load", checks, plots=plots, notes=notes
    )


def _change(points: list[tuple[float, float]], for_s: float) -> float:
    period = for_s / PERIODS
    second = [value for at, value in points if period <= at < 2 * period]
    last = [value for at, value in points if at >= for_s - period]
    return statistics.mean(last) / statistics.mean(second) if second and last else float("nan")


if __name__ == "__main__":
    run_alone(measure)
