"""A sender of few events keeps getting its acks while others send the daemon what is hardest to decode.

Method: ``rrd serve`` as a process, and one socket that sends an event each quarter of a second. An ack is
timed by the processor time of the daemon's main thread (``/proc/PID/task/PID/stat``, proc(5)), which runs its
event loop: a loaded machine can make an ack late, but can't make the loop work for it.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import aiohttp
import brotli
import pytest

from tests.harness import DaemonProcess
from tests.wire.bombs import GIB, MIB, zstd_rle_bomb

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processor time is read from /proc"),
]

EVENT = b'{"type":3,"timestamp":1}'
ACKS_MIN = 8

ATTACKS: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "zstd-64-mib-blank": (lambda: zstd_rle_bomb(b"\n", 64 * MIB), "zstd", "application/x-ndjson"),
    "zstd-gib-blank": (lambda: zstd_rle_bomb(b"\n", GIB), "zstd", "application/x-ndjson"),
    "gzip-blank": (lambda: gzip.compress(b"\n" * 64 * MIB), "gzip", "application/x-ndjson"),
    "br-blank": (lambda: brotli.compress(b"\n" * 64 * MIB, quality=3), "br", "application/x-ndjson"),
    "brackets": (lambda: b'{"a":[\n' * 8000, "", "application/json"),
    "run-together": (lambda: gzip.compress(EVENT + b"{}" * 10 * MIB), "gzip", "application/x-ndjson"),
    "run-together-plain": (lambda: EVENT + b"{}" * MIB, "", "application/x-ndjson"),
    "elements": (lambda: b"[" + b"0," * MIB + b"0]", "", "application/json"),
    "members": (lambda: gzip.compress(b"") * 200_000, "gzip", "application/x-ndjson"),
}


@pytest.mark.parametrize("way", ["post", "socket"])
@pytest.mark.parametrize("name", ATTACKS)
async def test_a_neighbour_gets_its_acks(name: str, way: str, tmp_path: Path) -> None:
    make, encoding, kind = ATTACKS[name]
    body = make()
    daemon = DaemonProcess(tmp_path)
    key = daemon.key()
    with daemon:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
            attacking = asyncio.create_task(attack(session, daemon.url, way, body, encoding, kind))
            try:
                acks = await neighbour(session, daemon, until=attacking)
            finally:
                attacking.cancel()
                await asyncio.gather(attacking, return_exceptions=True)
        print(f"{name} by {way}: {len(body)} bytes, an ack took {max(acks):.2f} s of the loop at most")
        assert max(acks) <= 1.0
        assert daemon.stop(number=signal.SIGTERM) == 0


async def attack(
    session: aiohttp.ClientSession, url: str, way: str, body: bytes, encoding: str, kind: str
) -> None:
    """Send ``body`` three times over, each to a recording of its own. What is answered doesn't matter."""
    for _ in range(3):
        path = f"{url}/recordings/{uuid.uuid4()}/ingest"
        if way == "post":
            headers = {"Content-Type": kind} | ({"Content-Encoding": encoding} if encoding else {})
            async with session.post(path, data=body, headers=headers) as reply:
                await reply.read()
            continue
        params = {"contentType": kind} | ({"contentEncoding": encoding} if encoding else {})
        async with session.ws_connect(f"{path}/ws", params=params) as socket:
            if encoding:
                await socket.send_bytes(body)
            else:
                await socket.send_str(body.decode())
            await socket.close()


async def neighbour(
    session: aiohttp.ClientSession, daemon: DaemonProcess, *, until: asyncio.Task[None]
) -> list[float]:
    """Send events until ``until`` is done, and a few more. Return what each ack took of the loop, seconds."""
    acks: list[float] = []
    url = f"{daemon.url}/recordings/{uuid.uuid4()}/ingest/ws"
    async with session.ws_connect(url, params={"ack": "true"}, max_msg_size=MIB) as socket:
        while not until.done() or len(acks) < ACKS_MIN:
            before = loop_s(daemon.pid)
            await socket.send_str(json.dumps({"type": 3, "timestamp": len(acks)}))
            answer = await socket.receive_json()
            acks.append(loop_s(daemon.pid) - before)
            assert answer["ok"], answer
            assert answer["successful_rows"] == len(acks)
            await asyncio.sleep(0.25)  # The pace of a page that is used, not a wait for anything.
    return acks


def loop_s(pid: int) -> float:
    """Processor time that the main thread of ``pid`` has taken, in seconds."""
    fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
