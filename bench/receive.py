"""How fast does one socket take small events, beside an aiohttp server that throws them away?

One client process sends the corpus's events of less than 1 kB, one a text message, as fast as the
socket takes them: frames are made in advance, with random masks. In turn, for several rounds, it sends to

- ``async for``: a bare aiohttp handler, ``async for message in socket: pass``;
- ``receive()``: the same with ``await socket.receive()`` and no UTF-8 check, the least that aiohttp can do;
- ``rrd``: the daemon with everything on.

The clock runs from the first byte sent to the server's last word. The daemon's is its final summary, which
says that everything is on disk and must count every event, so what is measured is what was *stored*.
Each server runs in a process of its own on core 0, with uvloop and the daemon's settings of the garbage
collector (which alone make a floor a sixth faster), the client on core 1; one that is not being
measured is idle. Beside events a second there are events a second of the server's processor time, which say
the same on a machine that is busy with other things.

    python -m bench.receive [--events 1000000] [--rounds 7]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import multiprocessing
import os
import socket
import statistics
import time
import uuid
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import aiohttp
import uvloop
from aiohttp import web
from isal import isal_zlib

from bench.corpus import small_events
from bench.daemon import cpu_s, daemon
from bench.frames import CLOSE, TEXT, FrameReader, frame, handshake
from rrd.daemon import GC_THRESHOLDS

SERVER_CORE, CLIENT_CORE = 0, 1
CHUNK_EVENTS = 20_000

_spawn = multiprocessing.get_context("spawn")


def pin(core: int) -> None:
    """Keep this process, and those it starts, on one core, if there are two."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


# The floors


async def discard_async_for(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for _ in ws:
        pass
    return ws


async def discard_receive(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(decode_text=False)
    await ws.prepare(request)
    text = aiohttp.WSMsgType.TEXT
    while True:
        message = await ws.receive()
        if message.type is not text:
            return ws


FLOORS = {"async for": discard_async_for, "receive()": discard_receive}


async def _serve_floor(name: str, port: Connection) -> None:
    app = web.Application()
    app.router.add_get("/", FLOORS[name])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port.send(runner.addresses[0][1])
    await asyncio.Event().wait()


def serve_floor(name: str, port: Connection) -> None:
    """Serve until killed; ``port`` is told where."""
    # As the daemon sets them, so that what differs is what is done with a message.
    aiohttp.set_zlib_backend(isal_zlib)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    uvloop.run(_serve_floor(name, port))


@contextlib.contextmanager
def floor(name: str) -> Iterator[tuple[int, int]]:
    """Run one of ``FLOORS`` and yield its port and its process's id."""
    ours, theirs = _spawn.Pipe()
    process = _spawn.Process(target=serve_floor, args=(name, theirs), daemon=True)
    process.start()
    try:
        assert process.pid is not None
        yield ours.recv(), process.pid
    finally:
        process.terminate()
        process.join()


# The client


def send_all(
    host: str, port: int, path: str, chunks: list[bytes], times: int
) -> tuple[float, dict[str, Any]]:
    """Send ``chunks`` of frames ``times`` times over a new socket and close it.

    Returns the seconds until the server's last word, and that word if it was a text message.
    """
    with socket.create_connection((host, port)) as connection:
        connection.sendall(handshake(host, path))
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(4096)
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise RuntimeError(answer.decode())
        started = time.perf_counter()
        for _ in range(times):
            for chunk in chunks:
                connection.sendall(chunk)
        connection.sendall(frame((1000).to_bytes(2, "big"), opcode=CLOSE))
        reader = FrameReader()
        last_word: dict[str, Any] = {}
        while data := connection.recv(65536):
            for opcode, payload in reader.feed(data):
                if opcode == TEXT:
                    last_word = json.loads(payload)
                if opcode in {TEXT, CLOSE}:
                    return time.perf_counter() - started, last_word
    raise RuntimeError("the server closed the connection without a word")


def client(orders: Connection) -> None:
    """Make the frames, then carry out orders (host, port, path, chunks to send) until told None."""
    pin(CLIENT_CORE)
    events = small_events()
    frames = [frame(events[index % len(events)]) for index in range(CHUNK_EVENTS)]
    chunk = b"".join(frames)
    orders.send(sum(map(len, events)) / len(events))
    while (order := orders.recv()) is not None:
        host, port, path, times = order
        orders.send(send_all(host, port, path, [chunk], times))


# The comparison


class Rates(NamedTuple):
    """Events a second, in each round."""

    wall: list[float]
    busy: list[float]
    """By the processor time that the server used, all its threads."""


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    pin(SERVER_CORE)
    times = max(1, args.events // CHUNK_EVENTS)
    count = times * CHUNK_EVENTS
    rates = {name: Rates([], []) for name in (*FLOORS, "rrd")}
    with contextlib.ExitStack() as stack:
        floors = {name: stack.enter_context(floor(name)) for name in FLOORS}
        rrd = stack.enter_context(daemon())
        assert rrd.pid is not None
        orders, theirs = _spawn.Pipe()
        process = _spawn.Process(target=client, args=(theirs,), daemon=True)
        process.start()
        stack.callback(process.join)
        stack.callback(orders.send, None)
        mean_bytes = orders.recv()
        print(f"{count:,} events a round of {mean_bytes:.0f} bytes in the mean, {args.rounds} rounds in turn")
        for number in range(args.rounds + 1):
            for name, rate in rates.items():
                port, pid = floors.get(name, (rrd.port, rrd.pid))
                path = f"/recordings/{uuid.uuid4()}/ingest/ws?token={rrd.key}" if name == "rrd" else "/"
                used_before = cpu_s(pid)
                orders.send(("127.0.0.1", port, path, times))
                seconds, last_word = orders.recv()
                used = cpu_s(pid) - used_before
                stored = last_word.get("successful_rows") if last_word.get("final") else None
                if name == "rrd" and stored != count:
                    raise RuntimeError(f"sent {count} events, and the daemon's last word was {last_word}")
                if number:  # The first round warms up.
                    rate.wall.append(count / seconds)
                    rate.busy.append(count / used)
    report(rates)


def report(rates: dict[str, Rates]) -> None:
    """Print a table. Ratios are medians of the rounds' ratios, so that a slow moment hits both sides."""
    for what, column in (("a second", 0), ("a second of the server's processor time", 1)):
        print(f"\nevents {what}:\n{'':12}{'median':>12}{'least':>12}{'most':>12}{'rrd is of it':>14}")
        ours = rates["rrd"][column]
        for name, rate in rates.items():
            values = rate[column]
            ratio = statistics.median(our / value for our, value in zip(ours, values, strict=True))
            median, least, most = statistics.median(values), min(values), max(values)
            print(f"{name:12}{median:12,.0f}{least:12,.0f}{most:12,.0f}{ratio:14.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000, help="events a round")
    parser.add_argument("--rounds", type=int, default=7)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
