"""What do the figures of ``/metrics`` cost?

Two daemons take turns with the same work: rrd as it ships, and the same without any counting
(``bench.uncounted``), or with ``--before`` an earlier checkout. Compared is the processor time that each used
for it, all threads, round by round; they begin by turns. That holds on a busy machine, too. Beside it stands
what one scrape costs.

    python -m bench.counting [--rounds 21] [--before DIR] [--smoke]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import urllib.request
from collections.abc import Callable
from typing import NamedTuple

from bench import load, stage
from bench.daemon import Daemon, cpu_s, daemon
from bench.lanes import rrd_socket, rrd_uploads, socket_work, uploads
from bench.payloads import Bodies, Texts
from tests.ports import free_port

SCRAPE_INTERVAL_S = 15.0
"""That of most Prometheus."""

_SETTINGS = {"RRD_FLUSH_AGE_MS": "20", "RRD_DISK_RESERVE_BYTES": "0"}


class Case(NamedTuple):
    """Some work, the same for both. ``go`` returns how many events it was."""

    name: str
    go: Callable[[Daemon], float]


def cases(client: stage.Worker, *, smoke: bool) -> list[Case]:
    """Return work in which counting shows: many reads, many blocks, many bytes."""
    texts = socket_work(client, Texts("small"), "events", events_min=1 if smoke else 60_000)
    posts = uploads(client, Bodies("identity"), connections=2, passes=1)

    def socket(target: Daemon) -> float:
        lane = rrd_socket("", client, target, texts)
        lane.go()
        return texts.events

    def bodies(target: Daemon) -> float:
        rrd_uploads("", client, target, posts).go()
        return posts.events

    def small_batches(target: Daemon) -> float:
        return _loaded(target, load.Plan(
            recordings=20 if smoke else 300, for_s=1, is_closed=True, window=2, batch=5, verify=False,
        ))  # fmt: skip

    def single_events(target: Daemon) -> float:
        return _loaded(target, load.Plan(
            recordings=20 if smoke else 500, for_s=2, rate=4, ramp_s=0.5, verify=False,
        ))  # fmt: skip

    return [
        Case("one socket, small events", socket),
        Case("POST of 1 MB bodies", bodies),
        Case("300 recordings, batches of 5, a block each", small_batches),
        Case("500 sockets, 4 single events a second each", single_events),
    ]


def _loaded(target: Daemon, plan: load.Plan) -> float:
    outcome = load.run(load.Target.of(target), plan)
    if outcome.failed or outcome.refused or not outcome.latencies.count:
        raise RuntimeError(f"the load went wrong: {outcome.problems[:3]}")
    return outcome.latencies.count


def compare(case: Case, ours: Daemon, theirs: Daemon, rounds: int) -> list[float]:
    """Return ours against theirs, processor time an event, for each round but a first one to warm up."""
    ratios = []
    for number in range(rounds + 1):
        used: dict[int, float] = {}
        for target in (ours, theirs) if number % 2 else (theirs, ours):
            assert target.pid is not None
            before = cpu_s(target.pid)
            events = case.go(target)
            used[target.pid] = (cpu_s(target.pid) - before) / events
        if number and ours.pid is not None and theirs.pid is not None:
            ratios.append(used[ours.pid] / used[theirs.pid])
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
    rounds, port = 1 if args.smoke else args.rounds, free_port()
    other = _SETTINGS | ({"PYTHONSAFEPATH": "1", "PYTHONPATH": args.before} if args.before else {})
    program = ("-m", "rrd") if args.before else ("-m", "bench.uncounted")
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(stage.worker(stage.client_core()))
        core = stage.server_core()
        ours = stack.enter_context(daemon(_SETTINGS | {"RRD_METRICS_LISTEN": f"127.0.0.1:{port}"}, core=core))
        theirs = stack.enter_context(daemon(other, core=core, program=program))
        print(f"{'processor time with the figures, against without':52}{'median':>9}{'middle half':>20}")
        for case in cases(client, smoke=args.smoke):
            ratios = compare(case, ours, theirs, rounds)
            low, median, high = _quartiles(ratios)
            print(f"{case.name:52}{median - 1:+9.2%}{low - 1:+12.2%} {high - 1:+.2%}", flush=True)
        took_s = scrape_s(ours, port, 3 if args.smoke else 50)
        print(f"a scrape: {took_s * 1000:.1f} ms, {took_s / SCRAPE_INTERVAL_S:.3%} of a core each 15 s")


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4)
    return low, median, high


if __name__ == "__main__":
    main()
