"""``python -m bench.floors``: run all floors shortly, and print a table.

MB are of decoded events. A figure by itself says little, since machines differ and are shared; beside the
others from the same run it tells what a byte costs where.
"""

from __future__ import annotations

import argparse
import contextlib
from statistics import median

from bench import fetch, stage
from bench.floors import loop, receivers
from bench.floors import nginx as nginx_floor
from bench.lanes import (
    Work,
    bare_append,
    bare_loop,
    bare_socket,
    bare_uploads,
    nginx_uploads,
    socket_work,
    uploads,
)
from bench.payloads import Bodies, Compressed, Encoding, Texts
from bench.result import Options, Scale
from bench.rows import add_scale
from bench.stage import Lane, Lap, Server, Turn, Worker

_ENCODINGS: tuple[Encoding, ...] = ("gzip", "br", "zstd")


def run(options: Options) -> None:
    """Measure and print."""
    events_max = options.pick(0, 0, 300) or None
    times, rounds = options.pick(6, 3, 1), options.pick(5, 3, 1)
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(stage.worker(stage.client_core()))
        looper = stack.enter_context(stage.worker(stage.server_core()))
        bare = stack.enter_context(receivers.receiver())

        small = socket_work(client, Texts("small", events_max), "events", times=options.pick(12, 6, 1))
        _print(
            "events < 1 kB, one a message",
            "events/s",
            stage.in_turn(_sockets(client, bare, small), rounds=rounds),
        )

        everything = socket_work(client, Texts("all", events_max), "MB", times=times)
        posts = uploads(client, Bodies("identity", events_max), connections=options.pick(16, 8, 2), passes=1)
        lanes = [
            *_sockets(client, bare, everything),
            bare_uploads("aiohttp, bodies read and dropped", client, bare, receivers.POST, posts),
        ]
        if nginx_floor.find() is not None:
            nginx = stack.enter_context(nginx_floor.nginx())
            lanes.append(nginx_uploads("nginx, bodies stored in files", client, nginx, posts))
            lanes.append(_static(client, nginx, body_bytes=options.pick(64, 64, 1) << 20, times=4))
        lanes.append(
            bare_append("append and fdatasync, encoded blocks", looper, times=times, events_max=events_max)
        )
        _print("all events", "MB/s", stage.in_turn(lanes, rounds=rounds))

        lanes = []
        for encoding in _ENCODINGS:
            payload = Compressed(encoding, events_max=events_max)
            raw_mb = socket_work(client, payload, "MB", times=times).raw_mb
            lanes.append(bare_loop(f"loop, {encoding}", looper, payload, raw_mb, times=times))
            if encoding == "zstd":
                parts = [looper.call(loop.parts, payload) for _ in range(rounds)]
                mb = raw_mb / times
        _print("the same work in a loop, messages of 64 KB", "MB/s", stage.in_turn(lanes, rounds=rounds))
        print("\nits parts, with zstd, MB/s")
        for name in parts[0]:
            print(f"  {name:45}{mb / median(part[name].wall_s for part in parts):12,.0f}")


def _sockets(client: Worker, bare: Server, work: Work) -> list[Lane]:
    return [
        bare_socket("aiohttp, `async for`", client, bare, receivers.ASYNC_FOR, work),
        bare_socket("aiohttp, `receive()`", client, bare, receivers.RECEIVE, work),
    ]


def _static(client: Worker, nginx: nginx_floor.Nginx, *, body_bytes: int, times: int) -> Lane:
    (nginx.files / "zeros").write_bytes(bytes(body_bytes))
    asked = fetch.request(f"{nginx_floor.FILES}/zeros", {})

    def go() -> Turn:
        reading = client.call(fetch.read, nginx.port, asked, body_bytes=body_bytes, times=times)
        return Turn(reading.wall_s, reading.client_s)

    return Lane("nginx, a file sent", nginx.pid, times * body_bytes / 1e6, go)


def _print(title: str, unit: str, laps: dict[str, Lap]) -> None:
    print(f"\n{title}, {unit}\n  {'':45}{'median':>12}{'least':>12}{'most':>12}{'of a core':>12}")
    for name, lap in laps.items():
        figures = (median(lap.wall), min(lap.wall), max(lap.wall), median(lap.busy))
        print(f"  {name:45}" + "".join(f"{figure:12,.0f}" for figure in figures))
    for note in stage.notes(laps):
        print(f"  - {note}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.floors", description="Run all floors shortly.")
    add_scale(parser)
    scale: Scale = parser.parse_args().scale
    run(Options(scale))


if __name__ == "__main__":
    main()
