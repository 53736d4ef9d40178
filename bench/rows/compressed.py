"""Row 3: compressed messages of about 64 KB (decoded) over one socket, beside the same work in a bare loop.

A stream a message, which has a bar, and a single stream over all messages, as a streaming compressor makes
it. MB are of decoded events, line feeds included.
"""

from __future__ import annotations

import contextlib
from typing import Literal

from bench import stage
from bench.daemon import daemon
from bench.lanes import bare_loop, rrd_socket, socket_work
from bench.payloads import Compressed, Encoding
from bench.result import Check, Options, Row
from bench.stage import Lap

_ENCODINGS: tuple[Encoding, ...] = ("gzip", "br", "zstd")
_BAR = 0.8


def measure(options: Options) -> Row:
    """Measure each encoding by itself, rrd and loop in turn."""
    checks: list[Check] = []
    laps: dict[str, Lap] = {}
    stated: list[Check] = []
    streams: tuple[Literal["each", "one"], ...] = ("each", "one")
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(stage.worker(stage.client_core()))
        looper = stack.enter_context(stage.worker(stage.server_core()))
        rrd = stack.enter_context(daemon(core=stage.server_core()))
        events_max = options.pick(0, 0, 300) or None
        for stream in streams:
            for encoding in _ENCODINGS:
                repeats = options.pick(4, 1, 1)
                # A single stream can't be sent twice, so it is made longer instead.
                payload = Compressed(encoding, stream, repeats if stream == "one" else 1, events_max)
                times = 1 if stream == "one" else options.pick(10, 1, 1)
                work = socket_work(client, payload, "MB", times=times)
                what = f"{encoding}, {'a stream a message' if stream == 'each' else 'one stream'}"
                rrd_name, loop_name = f"rrd, {what}", f"bare loop, {what}"
                lanes = [
                    bare_loop(loop_name, looper, payload, work.raw_mb, times=work.times),
                    rrd_socket(rrd_name, client, rrd, work),
                ]
                pair = stage.in_turn(lanes, rounds=options.pick(7, 2, 1), warm_up=options.scale != "smoke")
                bar = _BAR if stream == "each" else None
                compared = stage.compare(pair, rrd_name, loop_name, f"of the bare loop: {what}", bar=bar)
                (checks if stream == "each" else stated).extend(compared)
                laps |= pair
    return Row(
        number=3,
        title="One socket, compressed messages of 64 KB, stored and synced",
        checks=checks + stated,
        rates=stage.rates(laps, "MB"),
        notes=["The loop has no network, disk or index.", *stage.notes(laps)],
    )


if __name__ == "__main__":
    from bench.rows import run_alone

    run_alone(measure)
