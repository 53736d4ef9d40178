"""What do the figures of ``/metrics`` cost?

Two answers for each kind of work, both in processor time, all threads, so that they hold on a busy machine:

- *Share*: how often the stages count, times what each way to count takes by itself, of all that the daemon
  used. It hardly depends on the moment.
- *In turn*: two daemons do the same work by turns, rrd as it ships and rrd without counting
  (``bench.counted``), or with ``--before`` an earlier checkout; they are compared round by round. On a busy
  machine the spread is many times what is to be seen.

Beside them stands what one scrape costs.

    python -m bench.counting [--rounds 21] [--before DIR] [--smoke]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench import load, stage
from bench.counted import DURATIONS
from bench.daemon import Daemon, cpu_s, daemon
from bench.lanes import rrd_socket, rrd_uploads, socket_work, uploads
from bench.payloads import Bodies, Texts
from rrd import metrics
from tests.ports import free_port

SCRAPE_INTERVAL_S = 15.0
"""That of most Prometheus."""

_SETTINGS = {"RRD_FLUSH_AGE_MS": "20", "RRD_DISK_RESERVE_BYTES": "0"}
_SHARE_ROUNDS = 3


class Case(NamedTuple):
    """Some work, the same for both. ``go`` returns how many events it was."""

    name: str
    go: Callable[[Daemon], float]


def cases(client: stage.Worker, *, smoke: bool) -> list[Case]:
    """Return work in which counting shows: many reads, many blocks, many bytes."""
    events_max = 500 if smoke else None
    texts = socket_work(client, Texts("small", events_max), "events", events_min=1 if smoke else 60_000)
    posts = uploads(client, Bodies("identity", events_max), connections=2, passes=1)
    small_batches = load.Plan(
        recordings=20 if smoke else 300, for_s=1, is_closed=True, window=2, batch=5, verify=False
    )
    single_events = load.Plan(recordings=20 if smoke else 500, for_s=2, rate=4, ramp_s=0.5, verify=False)

    def socket(target: Daemon) -> float:
        rrd_socket("", client, target, texts).go()
        return texts.events

    def bodies(target: Daemon) -> float:
        rrd_uploads("", client, target, posts).go()
        return posts.events

    return [
        Case("one socket, small events", socket),
        Case("POST of 1 MB bodies", bodies),
        Case("300 recordings, batches of 5", lambda target: _loaded(target, small_batches)),
        Case("500 sockets, 4 events a second each", lambda target: _loaded(target, single_events)),
    ]


def _loaded(target: Daemon, plan: load.Plan) -> float:
    outcome = load.run(load.Target.of(target), plan)
    if outcome.failed or outcome.refused or not outcome.latencies.count:
        raise RuntimeError(f"the load went wrong: {outcome.problems[:3]}")
    return outcome.latencies.count


def share_of(case: Case, costs_s: dict[str, float], rounds: int) -> float:
    """Return which part of the daemon's processor time is counting."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "tally")
        settings = _SETTINGS | {"BENCH_TALLY": str(path)}
        program = ("-m", "bench.counted", "tally")
        with daemon(settings, core=stage.server_core(), program=program) as target:
            used_s, _ = used(case, target, rounds)
        calls: dict[str, int] = json.loads(path.read_text())
    return sum(count * costs_s[name] for name, count in calls.items()) / used_s


def used(case: Case, target: Daemon, rounds: int = 1) -> tuple[float, float]:
    """Return the processor time, seconds, that the daemon used for the case, and how many events that was."""
    assert target.pid is not None
    before = cpu_s(target.pid)
    events = sum(case.go(target) for _ in range(rounds))
    return cpu_s(target.pid) - before, events


def costs() -> dict[str, float]:
    """Return what each way to count takes, in seconds."""
    kept = dict(metrics._all)
    counter, loop_counter = metrics.Counter("x_total", "X"), metrics.LoopCounter("x_total", "X")
    labelled, gauge = metrics.LabelledCounter("x_total", "y", "X"), metrics.Gauge("x", "X")
    histogram = metrics.Histogram("x_seconds", "X")
    metrics._all.clear()
    metrics._all.update(kept)
    of_group = _took_s(lambda: histogram.observe_all([]))
    many = [number / 100 for number in range(100)]
    return {
        "Counter.add": _took_s(counter.add),
        "LoopCounter.add": _took_s(loop_counter.add),
        "LabelledCounter.add": _took_s(lambda: labelled.add("y")),
        "Gauge.add": _took_s(lambda: gauge.add(1)),
        "Gauge.set": _took_s(lambda: gauge.set(1)),
        "Histogram.observe": _took_s(lambda: histogram.observe(0.1)),
        "Histogram.observe_all": of_group,
        # Each had its clock read, too.
        DURATIONS: (_took_s(lambda: histogram.observe_all(many)) - of_group) / 100 + _took_s(time.monotonic),
    }


def _took_s(count: Callable[[], object], *, times: int = 20_000) -> float:
    laps = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(times):
            count()
        laps.append((time.process_time() - began) / times)
    return statistics.median(laps)


def compare(case: Case, ours: Daemon, theirs: Daemon, rounds: int) -> list[float]:
    """Return ours against theirs, processor time an event, for each round but a first one to warm up."""
    ratios = []
    for number in range(rounds + 1):
        spent = {}
        for target in (ours, theirs) if number % 2 else (theirs, ours):
            used_s, events = used(case, target)
            spent[target.port] = used_s / events
        if number:
            ratios.append(spent[ours.port] / spent[theirs.port])
    return ratios


def scrape_s(target: Daemon, port: int, count: int) -> float:
    """Return the processor time that a scrape takes, seconds."""
    assert target.pid is not None
    before = cpu_s(target.pid)
    for _ in range(count):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as reply:
            reply.read()
    return (cpu_s(target.pid) - before) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--before", metavar="DIR", help="hold it against this checkout of rrd instead")
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    rounds, port, costs_s = 1 if args.smoke else args.rounds, free_port(), costs()
    other = _SETTINGS | ({"PYTHONSAFEPATH": "1", "PYTHONPATH": args.before} if args.before else {})
    program = ("-m", "rrd") if args.before else ("-m", "bench.counted", "without")
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(stage.worker(stage.client_core()))
        core = stage.server_core()
        ours = stack.enter_context(daemon(_SETTINGS | {"RRD_METRICS_LISTEN": f"127.0.0.1:{port}"}, core=core))
        theirs = stack.enter_context(daemon(other, core=core, program=program))
        print(f"{'processor time of counting':38}{'share':>9}{'in turn':>10}{'middle half':>20}")
        for case in cases(client, smoke=args.smoke):
            share = share_of(case, costs_s, 1 if args.smoke else _SHARE_ROUNDS)
            low, median, high = _quartiles(compare(case, ours, theirs, rounds))
            print(
                f"{case.name:38}{share:9.2%}{median - 1:+10.1%}{low - 1:+12.1%} {high - 1:+.1%}", flush=True
            )
        took_s = scrape_s(ours, port, 3 if args.smoke else 50)
        print(f"a scrape: {took_s * 1000:.1f} ms, {took_s / SCRAPE_INTERVAL_S:.2%} of a core each 15 s")


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4)
    return low, median, high


if __name__ == "__main__":
    main()
