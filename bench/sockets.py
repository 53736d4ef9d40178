"""Many open sockets, an event a second on each: is everything taken, stored and acked in time?

A load process opens SOCKETS sockets with ``ack=true``, each into a recording of its own, and sends each an
event of the corpus's small ones every second, spread evenly. The schedule is open-loop: an event counts from
the moment when it was *meant* to be sent to the moment when the ack that covers it (the sum of
``successful_rows`` on its socket) was read, so a stall counts for every event that it delays.

Then the sockets are closed, and every recording is read back through the API and compared event by event:
no timestamp comes twice on a socket, so lost, doubled and invented events all show. Memory is the daemon's
resident set; the kernel's buffers are not in it.

    python -m bench.sockets [--sockets 5000] [--for 30] [--deflate]
    python -m bench.sockets --url http://HOST:PORT --key KEY [--pid PID]

Ends with status 1 if anything was refused, lost or doubled, or if the 99th percentile was above 2 s.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import sys
import time
import uuid
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import uvloop

from bench.corpus import small_events
from bench.daemon import Daemon, cpu_s, daemon, rss_bytes
from bench.load import Outcome, load, make_event, raise_file_limit, recording_id

P99_MAX_S = 2.0

_SETTLE_S = 3.0
_READERS = 8
_SHOWN_MAX = 5


# Reading back


class Found(NamedTuple):
    """How what is stored differs from what was sent, in events."""

    stored: int
    lost: int
    doubled: int
    invented: int


async def read_back(
    target: Daemon, templates: list[bytes], run: str, start_ms: int, sent: list[int]
) -> Found:
    """Read every recording and compare it with what was sent, event by event."""
    totals = [0, 0, 0, 0]
    numbers = iter([number for number, count in enumerate(sent) if count])
    base = f"http://{target.host}:{target.port}"
    headers = {"Authorization": f"Bearer {target.key}", "Accept": "application/x-ndjson"}

    async def read_some(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            recording = recording_id(run, number)
            async with session.get(f"{base}/recordings/{recording}/events") as response:
                body = await response.read() if response.status == 200 else b""
            wanted = {}
            for count in range(sent[number]):
                event = json.loads(make_event(templates, number, count, start_ms))
                wanted[event["timestamp"]] = event
            seen = set()
            for line in body.splitlines():
                event = json.loads(line)
                del event["sequenceId"], event["recordingId"]
                stamp = event["timestamp"]
                totals[2] += stamp in seen
                totals[3] += wanted.get(stamp) != event
                seen.add(stamp)
                totals[0] += 1
            totals[1] += len(wanted.keys() - seen)

    async with aiohttp.ClientSession(headers=headers) as session:
        await asyncio.gather(*(read_some(session) for _ in range(_READERS)))
    return Found(*totals)


# The run


class Memory(NamedTuple):
    """The daemon's resident set, bytes."""

    before: int
    idle: int
    after: int


def measure(target: Daemon, args: argparse.Namespace) -> bool:
    """Load ``target``, print what came of it, and return whether it was all as it should be."""
    spawn = multiprocessing.get_context("spawn")
    run, start_ms = str(uuid.uuid4()), int(time.time() * 1000)
    orders, theirs = spawn.Pipe()
    process = spawn.Process(target=load, args=(target, args, run, start_ms, theirs), daemon=True)
    before = rss_bytes(target.pid) if target.pid else 0
    process.start()
    theirs.close()
    opening_at = time.monotonic()
    opened = orders.recv()
    print(
        f"opened              {opened:,} of {args.sockets:,} sockets in {time.monotonic() - opening_at:.1f} s"
    )
    time.sleep(_SETTLE_S)
    idle = rss_bytes(target.pid) if target.pid else 0
    used_before, started_at = cpu_s(target.pid) if target.pid else 0.0, time.monotonic()
    orders.send("go")
    orders.recv()
    share = (cpu_s(target.pid) - used_before) / (time.monotonic() - started_at) if target.pid else 0.0
    memory = Memory(before, idle, rss_bytes(target.pid) if target.pid else 0)
    orders.send("close")
    outcome: Outcome = orders.recv()
    process.join()
    if target.pid:
        print_usage(memory, share, args.sockets)
    found = uvloop.run(read_back(target, small_events(), run, start_ms, outcome.sent))
    return report(outcome, found, args)


def print_usage(memory: Memory, share: float, sockets: int) -> None:
    before, idle, after = (size / 2**20 for size in memory)
    print(f"daemon's memory     {before:.0f} MiB before, {idle:.0f} with all idle, {after:.0f} at the end")
    each = [(size - memory.before) / sockets / 1024 for size in (memory.idle, memory.after)]
    print(f"memory a socket     {each[0]:.1f} KiB idle, {each[1]:.1f} at the end")
    print(f"daemon's processor  {share:.0%} of a core")


def report(outcome: Outcome, found: Found, args: argparse.Namespace) -> bool:
    latencies = sorted(outcome.latencies_s)
    sent = sum(outcome.sent)
    share = outcome.cpu_s / args.seconds
    print(f"load process        {share:.0%} of a core, at most {outcome.late_s:.3f} s late")
    print(f"events              {sent:,} sent, {sum(outcome.acked):,} acked, {found.stored:,} stored")
    print(f"                    {found.lost} lost, {found.doubled} doubled, {found.invented} not as sent")
    if not latencies:
        print("ack                 none")
        return False
    p50, p99 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.99))
    print(f"ack                 p50 {p50:.3f} s, p99 {p99:.3f} s, greatest {latencies[-1]:.3f} s")
    print(f"sockets             {len(outcome.problems)} refused, cut or failed")
    for problem in outcome.problems[:_SHOWN_MAX]:
        print(f"                    {problem}")
    unacked = sent - sum(outcome.acked)
    return not (outcome.problems or unacked or any(found[1:])) and p99 <= P99_MAX_S


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sockets", type=int, default=5000)
    parser.add_argument("--for", type=int, default=30, dest="seconds", metavar="SECONDS")
    parser.add_argument("--deflate", action="store_true", help="compress each message, as browsers do")
    parser.add_argument("--url", help="a daemon that runs already")
    parser.add_argument("--key", help="its key, which may read and write")
    parser.add_argument("--pid", type=int, help="its process, to measure memory and processor time")
    args = parser.parse_args()
    raise_file_limit()
    with contextlib.ExitStack() as stack:
        if args.url:
            address = urlsplit(args.url)
            target = Daemon(address.hostname or "127.0.0.1", address.port or 80, args.key or "", args.pid)
        else:
            target = stack.enter_context(daemon())
        is_good = measure(target, args)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
