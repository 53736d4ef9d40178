"""Row 4: NDJSON bodies of 1 MB by POST, over 16 keep-alive connections.

A connection sends its next body when the last is answered; rrd answers when all of it is on disk. Beside it,
for plain bodies, nginx, which stores them in files without syncing, and for gzip the same work in a bare
loop. A recording gets each body once: another would be found out as a repeat.
"""

from __future__ import annotations

import contextlib
import tempfile

from bench import stage
from bench.daemon import daemon
from bench.floors import nginx as nginx_floor
from bench.floors import receivers
from bench.lanes import bare_append, bare_loop, bare_uploads, nginx_uploads, rrd_uploads, uploads
from bench.payloads import Bodies
from bench.result import Check, Options, Row

_APPEND = "append and fdatasync, blocks as rrd writes them"


def measure(options: Options) -> Row:
    """Measure plain bodies, then those in gzip."""
    checks: list[Check] = []
    connections = options.pick(16, 4, 2)
    events_max = options.pick(0, 0, 300) or None
    rounds, warm_up = options.pick(7, 1, 1), options.scale != "smoke"
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(stage.worker(stage.client_core()))
        looper = stack.enter_context(stage.worker(stage.server_core()))
        bare = stack.enter_context(receivers.receiver())
        rrd = stack.enter_context(daemon(core=stage.server_core()))
        nginx = stack.enter_context(nginx_floor.nginx()) if nginx_floor.find() else None

        plain = uploads(
            client, Bodies("identity", events_max), connections=connections, passes=options.pick(2, 1, 1)
        )
        lanes = [
            rrd_uploads("rrd, plain", client, rrd, plain),
            bare_uploads("aiohttp that discards, plain", client, bare, receivers.POST, plain),
            bare_loop(
                "bare loop, plain", looper, plain.payload, plain.raw_mb, times=plain.passes * connections
            ),
            bare_append(_APPEND, looper, times=plain.passes * connections, events_max=events_max),
        ]
        if nginx is not None:
            lanes.insert(1, nginx_uploads("nginx that stores, plain", client, nginx, plain))
        laps = stage.in_turn(lanes, rounds=rounds, warm_up=warm_up)

        packed = uploads(
            client, Bodies("gzip", events_max), connections=connections, passes=options.pick(2, 1, 1)
        )
        lanes = [
            rrd_uploads("rrd, gzip", client, rrd, packed),
            bare_loop(
                "bare loop, gzip", looper, packed.payload, packed.raw_mb, times=packed.passes * connections
            ),
            bare_uploads("aiohttp that discards, gzip", client, bare, receivers.POST, packed),
        ]
        laps |= stage.in_turn(lanes, rounds=rounds, warm_up=warm_up)
    if nginx is not None:
        what = "of nginx, which stores plain bodies in files, unsynced"
        checks += stage.compare(laps, "rrd, plain", "nginx that stores, plain", what, bar=0.4)
    checks += stage.compare(laps, "rrd, gzip", "bare loop, gzip", "of the bare loop: gzip", bar=0.75)
    checks += stage.compare(laps, "rrd, plain", "bare loop, plain", "of the bare loop: plain")
    return Row(
        number=4,
        title=f"POST of 1 MB bodies, {connections} connections, stored and synced",
        checks=checks,
        rates=stage.rates(laps, "MB"),
        notes=[
            f"{plain.bodies} bodies, {plain.raw_mb:.1f} MB of events a round.",
            *([] if nginx else ["nginx isn't installed (Debian: nginx), so it was left out."]),
            *stage.disk_note(tempfile.gettempdir()),
            *stage.notes(laps),
        ],
    )


if __name__ == "__main__":
    from bench.rows import run_alone

    run_alone(measure)
