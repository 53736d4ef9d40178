"""Row 12: events of 20 MB arriving by POST while a thousand sockets trickle. Do the others' acks wait?

A large event comes every two seconds, so that more than one in a hundred of the others' events meets one.
"""

from __future__ import annotations

import threading
import uuid

from bench import load, stage
from bench.corpus import large_snapshot
from bench.daemon import Daemon, daemon
from bench.fetch_post import post
from bench.result import Check, Options, Row, rate
from bench.rows import run_alone
from bench.rows.durability import cpus, limits_of

INTERVAL_S = 2.0


def _post_until(stop: threading.Event, target: Daemon, event: bytes, statuses: list[int]) -> None:
    while not stop.wait(INTERVAL_S):
        statuses.append(post(target, f"/recordings/{uuid.uuid4()}/ingest", event))


def measure(options: Options) -> Row:
    """Compare the trickle's p99 with large events and without."""
    event = large_snapshot(options.pick(20, 20, 1) * 1_000_000)
    plan = load.Plan(
        recordings=options.pick(1000, 500, 20),
        rate=1,
        for_s=options.pick(12, 2, 2),
        verify=False,
        cpus=cpus(),
    )
    alone: list[float] = []
    beside: list[float] = []
    notes: list[str] = []
    statuses: list[int] = []
    with daemon(core=stage.server_core()) as target:
        for _ in range(options.pick(3, 1, 1)):
            alone.append(load.run(load.Target.of(target), plan).latencies.ms(99))
            stop = threading.Event()
            poster = threading.Thread(target=_post_until, args=(stop, target, event, statuses))
            poster.start()
            try:
                outcome = load.run(load.Target.of(target), plan)
            finally:
                stop.set()
                poster.join()
            beside.append(outcome.latencies.ms(99))
            notes = limits_of(outcome)
    if not statuses or set(statuses) != {200}:
        notes.append(f"large events were answered {sorted(set(statuses))}")
    rises = sorted(there - here for there, here in zip(beside, alone, strict=True))
    rise = rises[len(rises) // 2] if statuses and set(statuses) == {200} else float("nan")
    check = Check("rise of the others' p99 ack", rise, "ms", 50, "at most", rises[0], rises[-1])
    title = f"events of {len(event) / 1e6:.0f} MB while {plan.recordings:,} sockets trickle"
    return Row(
        12, title, [check],
        [rate("rrd, alone", "ms p99", alone), rate("rrd, with large events", "ms p99", beside)], notes=notes,
    )  # fmt: skip


if __name__ == "__main__":
    run_alone(measure)
