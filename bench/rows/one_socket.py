"""Rows 1 and 2: how fast one socket takes events, one a text message, all of them stored and synced.

Beside it the same socket into a bare aiohttp receiver that discards, in two forms, and (row 2) into what
somebody would write in an hour. The clock runs from the first byte sent to the server's last word. rrd's is
its final summary, which says that everything is on disk and must count every event; the peers' is their
count, when all was given to the operating system.
"""

from __future__ import annotations

import contextlib

from bench import peers, stage
from bench.daemon import daemon
from bench.floors import receivers
from bench.lanes import bare_socket, peer_socket, rrd_socket, socket_work
from bench.payloads import Texts
from bench.result import Options, Row

_ASYNC_FOR, _RECEIVE = "aiohttp, `async for`", "aiohttp, `receive()`"


def measure_small(options: Options) -> Row:
    """Row 1: events of less than 1 kB, which is what most of a visitor's messages are."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(stage.worker(stage.client_core()))
        bare = stack.enter_context(receivers.receiver())
        rrd = stack.enter_context(daemon(core=stage.server_core()))
        payload = Texts("small", events_max=options.pick(0, 0, 500) or None)
        work = socket_work(client, payload, "events", events_min=options.pick(600_000, 50_000, 1))
        lanes = [
            bare_socket(_ASYNC_FOR, client, bare, receivers.ASYNC_FOR, work),
            bare_socket(_RECEIVE, client, bare, receivers.RECEIVE, work),
            rrd_socket("rrd", client, rrd, work),
        ]
        laps = stage.in_turn(lanes, rounds=options.pick(7, 2, 1), warm_up=options.scale != "smoke")
    mean_bytes = work.raw_mb * 1e6 / work.events
    return Row(
        number=1,
        title="One socket, events < 1 kB, one a message, stored and synced",
        checks=[
            *stage.compare(
                laps, "rrd", _RECEIVE, "of the fastest bare aiohttp receiver (`receive()`)", bar=0.7
            ),
            *stage.compare(
                laps, "rrd", _ASYNC_FOR, "of a bare aiohttp receiver as one writes it (`async for`)"
            ),
        ],
        rates=stage.rates(laps, "events"),
        notes=[f"{work.events:,} events a round, {mean_bytes:.0f} bytes in the mean.", *stage.notes(laps)],
    )


def measure_all(options: Options) -> Row:
    """Row 2: the whole corpus in order, snapshots of megabytes and all."""
    left_out = [reason for name in peers.NAMES if (reason := peers.missing(name))]
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(stage.worker(stage.client_core()))
        bare = stack.enter_context(receivers.receiver())
        rrd = stack.enter_context(daemon(core=stage.server_core()))
        rivals = [stack.enter_context(peers.peer(name)) for name in peers.NAMES if not peers.missing(name)]
        payload = Texts("all", events_max=options.pick(0, 0, 300) or None)
        work = socket_work(client, payload, "MB", times=options.pick(10, 1, 1))
        lanes = [
            bare_socket(_ASYNC_FOR, client, bare, receivers.ASYNC_FOR, work),
            bare_socket(_RECEIVE, client, bare, receivers.RECEIVE, work),
            rrd_socket("rrd", client, rrd, work),
            *(peer_socket(client, rival, work) for rival in rivals),
        ]
        laps = stage.in_turn(lanes, rounds=options.pick(7, 2, 1), warm_up=options.scale != "smoke")
    checks = [
        *stage.compare(laps, "rrd", _RECEIVE, "of the fastest bare aiohttp receiver (`receive()`)", bar=0.3),
        *stage.compare(laps, "rrd", _ASYNC_FOR, "of a bare aiohttp receiver as one writes it (`async for`)"),
    ]
    for rival, bar in (("FastAPI", 6.0), ("Node", 3.0)):
        if rival in laps:
            checks += stage.compare(laps, "rrd", rival, f"what {rival} does", bar=bar, unit="×")
    return Row(
        number=2,
        title="One socket, all events, one a message, stored and synced",
        checks=checks,
        rates=stage.rates(laps, "MB"),
        notes=[
            f"{work.events:,} events and {work.raw_mb:.1f} MB a round.",
            "The peers neither sync nor compress, and know no repeats.",
            *left_out,
            *stage.notes(laps),
        ],
    )


if __name__ == "__main__":
    from bench.rows import run_alone

    run_alone(measure_small, measure_all)
