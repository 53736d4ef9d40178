"""What do objects cost to make, how large are they, and how fast are they read?

Three tables, from the recordings in ``bench/corpus``:

- *At rest*: bytes of segments and of objects, beside ``zstd -19`` of the same NDJSON in one frame (which can
  be read from its beginning only).
- *Roll-up*: MB/s of events, by the clock and by processor time, from sealed segments until objects are
  published and the segments gone, with one task. Beside it the floor: the same events compressed at the same
  level in pieces of the same size, in one thread, and nothing else.
- *Reads* of one long object: time until the first byte and until the last, for ``rrd`` (table, range reads,
  checks, order, ids put into each event: NDJSON as the API answers it) and for the store's own client, which
  fetches the whole object: once as it is, once decoded as ``zstd -dc`` does.

Everything is measured in turn, for several rounds, and ratios are of the same round.

    python -m bench.rollup [--rounds 7] [--copies 8] [--s3] [--smoke]

``--s3`` puts objects into a bucket of moto's server, a process of its own on 127.0.0.1; without it they are
files.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import zstandard

from bench.corpus import recordings
from rrd import layout
from rrd.access.keys import KeyStore
from rrd.clock import SystemClock
from rrd.config import Config
from rrd.daemon.assembly import Parts, Seams, bring_up_to_date, make_parts
from rrd.disk.disk import OsDisk
from rrd.index.rows import RecordingRow
from rrd.layout import SegmentName
from rrd.objects.choose import open_bare_store
from rrd.objects.files import ObjectFiles
from rrd.objects.store import ObjectStore
from rrd.playback.hops import in_thread
from rrd.playback.splice import NDJSON
from rrd.playback.stream import read_in_order
from rrd.playback.table import plan
from rrd.shelf.holdings import Holdings
from rrd.wire.events import check_lines
from tests.s3_servers import S3Server, moto

TENANT = "bench"
BUCKET = "bench"
MB = 1e6
_FIRST_BYTES = 1024
"""What counts as the first byte: the client's own buffers give no less."""

_TIMESTAMP = re.compile(rb'"timestamp":(\d+)')

Fetch = Callable[[str], contextlib.AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""The store's own client: key → pieces of the object."""


class Times(NamedTuple):
    """One reading."""

    first_s: float
    whole_s: float
    size: int
    """Bytes of events that came out, or of the object."""


# What is measured with


def corpus(smoke: bool) -> dict[str, list[bytes]]:
    """Recording id → lines."""
    names = ["docs_browse"] if smoke else list(recordings())
    return {str(uuid.uuid5(uuid.NAMESPACE_DNS, name)): recordings()[name] for name in names}


def long_recording(copies: int, smoke: bool) -> list[bytes]:
    """All recordings one after the other, ``copies`` times, as one visitor who stays that long."""
    lines: list[bytes] = []
    for number, part in enumerate([*corpus(smoke).values()] * copies):
        start = 1_700_000_000_000 + number * 600_000
        found = [_TIMESTAMP.search(line) for line in part]
        base = min(int(match[1]) for match in found if match)
        for line, match in zip(part, found, strict=True):
            assert match is not None
            stamp = b'"timestamp":%d' % (int(match[1]) - base + start)
            lines.append(line[: match.start()] + stamp + line[match.end() :])
    return lines


class SkippingClock(SystemClock):
    """Time that can be let pass."""

    skipped_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped_s


@contextlib.asynccontextmanager
async def started(config: Config, seams: Seams | None = None) -> AsyncIterator[Parts]:
    """A daemon's parts, which serve nothing and do nothing by themselves."""
    async with contextlib.AsyncExitStack() as stack:
        keys = stack.enter_context(KeyStore(layout.keys_path(config.data_dir)))
        parts = await make_parts(config, keys, stack, seams)
        await bring_up_to_date(parts)
        yield parts


async def fill(config: Config, bodies: dict[str, list[bytes]]) -> None:
    """Store recordings as a daemon does, and seal them."""
    clock = SkippingClock()
    async with started(config, Seams(clock)) as parts:
        registry = parts.services.registry
        await registry.start()
        for recording_id, lines in bodies.items():
            async with registry.source(TENANT, recording_id) as source:
                for batch in _batches(lines, config.flush_bytes):
                    source.put(check_lines(batch, parts.services.limits, first_line=1))
                    await source.flush()
        clock.skipped_s = config.seal_idle_s + 1
        await registry.seal_idle()


def _batches(lines: list[bytes], size: int) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    held = 0
    for line in lines:
        batch.append(line)
        held += len(line)
        if held >= size:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


class RolledUp(NamedTuple):
    """What a roll-up took, and what it made."""

    wall_s: float
    busy_s: float
    rows: list[RecordingRow]


async def roll_up(config: Config, names: list[str]) -> RolledUp:
    """Roll up all of a data directory."""
    async with started(config) as parts:
        wall, busy = time.perf_counter(), time.process_time()
        await parts.rollup.drain()
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        rows = [await parts.services.index.recording(TENANT, name) for name in names]
    assert all(row is not None and not row.segments for row in rows), "something is still local"
    return RolledUp(wall, busy, [row for row in rows if row is not None])


def compress(bodies: dict[str, list[bytes]], config: Config) -> tuple[float, float]:
    """The floor of a roll-up: seconds by the clock and by processor time."""
    joined = [b"".join(line + b"\n" for line in lines) for lines in bodies.values()]
    size = config.rollup_block_bytes
    compressor = zstandard.ZstdCompressor(level=config.rollup_level)
    wall, busy = time.perf_counter(), time.process_time()
    for body in joined:
        for start in range(0, len(body), size):
            compressor.compress(body[start : start + size])
    return time.perf_counter() - wall, time.process_time() - busy


# Reading


async def read_with_rrd(config: Config, store: ObjectStore, row: RecordingRow) -> Times:
    """As ``GET /recordings/{id}/events`` does, with nothing cached."""
    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(8)
    files = ObjectFiles(
        store, loop, cache_bytes_max=config.object_cache_bytes_max, deadline_s=config.s3_timeout_s
    )
    try:
        began = time.perf_counter()
        table = await loop.run_in_executor(threads, plan, OsDisk(), files, config.data_dir, Holdings.of(row))
        made = read_in_order(table, form=NDJSON, bytes_max=config.read_bytes_max // 4)
        answer = in_thread(made, threads=threads)
        async with contextlib.aclosing(answer) as chunks:
            return await _drink(chunks, began)
    finally:
        files.close()
        threads.shutdown()


async def read_plainly(fetch: Fetch, key: str) -> Times:
    """The whole object, by the store's own client."""
    began = time.perf_counter()
    async with fetch(key) as pieces:
        return await _drink(pieces, began)


async def read_decoded(fetch: Fetch, key: str) -> Times:
    """The same, decoded on the way."""

    async def decoded() -> AsyncIterator[bytes]:
        # A frame at a time: what is skipped and what is data, as ``zstd -dc`` goes through it.
        decoder = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
        async with fetch(key) as pieces:
            async for piece in pieces:
                if raw := decoder.decompress(piece):
                    yield raw

    began = time.perf_counter()
    return await _drink(decoded(), began)


async def _drink(chunks: AsyncIterator[bytes], began: float) -> Times:
    first, size = 0.0, 0
    async for chunk in chunks:
        if size < _FIRST_BYTES <= size + len(chunk):
            first = time.perf_counter() - began
        size += len(chunk)
    return Times(first, time.perf_counter() - began, size)


def fetch_file(root: str) -> Fetch:
    """Files: read from beginning to end."""

    @contextlib.asynccontextmanager
    async def fetch(key: str) -> AsyncIterator[AsyncIterator[bytes]]:
        with await asyncio.to_thread(Path(root, key).open, "rb", buffering=0) as file:

            async def pieces() -> AsyncIterator[bytes]:
                while piece := await asyncio.to_thread(file.read, 1 << 20):
                    yield piece

            yield pieces()

    return fetch


def fetch_s3(client: Any) -> Fetch:
    """S3: one GET."""

    @contextlib.asynccontextmanager
    async def fetch(key: str) -> AsyncIterator[AsyncIterator[bytes]]:
        answer = await client.get_object(Bucket=BUCKET, Key=key)
        async with answer["Body"] as body:
            yield body.iter_chunks(1 << 20)

    return fetch


# The tables


def print_sizes(bodies: dict[str, list[bytes]], segments: int, rows: list[RecordingRow]) -> None:
    raw = sum(len(line) + 1 for lines in bodies.values() for line in lines)
    objects = sum(row.stored_bytes for row in rows)
    best = 0
    for lines in bodies.values():
        body = b"".join(line + b"\n" for line in lines)
        best += len(zstandard.ZstdCompressor(level=19).compress(body))
    print(f"\nat rest: {raw:,} bytes of events in {len(bodies)} recordings\n")
    print(f"{'':24}{'bytes':>12}{'of events':>11}{'of zstd -19':>13}")
    for name, size in (("segments", segments), ("objects", objects), ("zstd -19, one frame", best)):
        print(f"{name:24}{size:12,}{size / raw:11.2%}{size / best:13.1%}")


def print_rates(what: str, unit: str, rates: dict[str, list[float]], of: str) -> None:
    """Print medians, least and most, and the median of ``of``'s ratios to each, round by round."""
    print(f"\n{what}, {unit}:\n{'':32}{'median':>11}{'least':>11}{'most':>11}{of + ' is of it':>16}")
    for name, values in rates.items():
        ratio = statistics.median(ours / value for ours, value in zip(rates[of], values, strict=True))
        spread = f"{statistics.median(values):11,.2f}{min(values):11,.2f}{max(values):11,.2f}"
        print(f"{name:32}{spread}{ratio:16.1%}")


def _sealed_bytes(config: Config) -> int:
    return sum(path.stat().st_size for path in Path(layout.sealed_root(config.data_dir)).rglob("*.zst"))


async def measure_rollup(
    directory: str, config: Config, store: ObjectStore, bodies: dict[str, list[bytes]], rounds: int
) -> None:
    raw = sum(len(line) + 1 for lines in bodies.values() for line in lines) / MB
    await fill(config, bodies)
    segments = _sealed_bytes(config)
    wall: dict[str, list[float]] = {"rrd": [], "zstd alone": []}
    busy: dict[str, list[float]] = {"rrd": [], "zstd alone": []}
    for number in range(rounds + 1):
        copy = f"{directory}/copy"
        shutil.copytree(config.data_dir, copy)
        there = msgspec.structs.replace(config, data_dir=copy)
        done = await roll_up(there, list(bodies))
        floor = await asyncio.to_thread(compress, bodies, config)
        shutil.rmtree(copy)
        # A roll-up writes over no object that its index does not know.
        await store.delete_prefix(f"{TENANT}/")
        if number == 0:  # The first round warms up.
            print_sizes(bodies, segments, done.rows)
            continue
        wall["rrd"].append(raw / done.wall_s)
        busy["rrd"].append(raw / done.busy_s)
        wall["zstd alone"].append(raw / floor[0])
        busy["zstd alone"].append(raw / floor[1])
    print_rates("roll-up", "MB of events a second", wall, "rrd")
    print_rates("roll-up", "MB of events a second of processor time", busy, "rrd")


async def measure_reads(
    config: Config, store: ObjectStore, fetch: Fetch, lines: list[bytes], rounds: int
) -> None:
    name = str(uuid.uuid4())
    await fill(config, {name: lines})
    (row,) = (await roll_up(config, [name])).rows
    raw = sum(len(line) + 1 for line in lines)
    (each,) = row.objects
    first_segment = SegmentName(TENANT, name, each.first_number)
    key = layout.object_key(
        first_segment, created_ms=row.created_ms, first_seq=each.first_seq, event_count=each.event_count
    )
    ways: dict[str, Callable[[], Awaitable[Times]]] = {
        "rrd": lambda: read_with_rrd(config, store, row),
        "the client": lambda: read_plainly(fetch, key),
        "the client, decoded": lambda: read_decoded(fetch, key),
    }
    first: dict[str, list[float]] = {way: [] for way in ways}
    rate: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, read in ways.items():
            times = await read()
            expected = {"the client": each.size, "the client, decoded": raw}.get(way, 0)
            assert times.size == expected or (way == "rrd" and times.size > raw), f"{way}: {times.size} bytes"
            if number:
                first[way].append(1e3 * times.first_s)
                # Of the object, whatever comes out: all of them are to be compared.
                rate[way].append(each.size / MB / times.whole_s)
    print(f"\nreads: {each.event_count:,} events, {raw:,} bytes, in one object of {each.size:,} bytes")
    print_rates("until the first byte", "ms", first, "rrd")
    print_rates("throughput", "MB of the object a second", rate, "rrd")
    factor = raw / each.size
    events_rate = factor * statistics.median(rate["rrd"])
    print(
        f"\n1 MB of the object is {factor:.1f} MB of events: rrd reads {events_rate:,.0f} MB of them a second"
    )


async def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    rounds, copies = (1, 1) if args.smoke else (args.rounds, args.copies)
    bodies, lines = corpus(args.smoke), long_recording(copies, args.smoke)
    async with contextlib.AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="rrd-bench-"))
        settings: dict[str, Any] = {
            "data_dir": f"{directory}/data",
            "disk_reserve_bytes": 0,
            "rollup_tasks": 1,
            "keep_local_s": 0,
            "segment_bytes_max": 1 << 30,
        }
        if args.s3:
            server: S3Server = await stack.enter_async_context(moto())
            await server.make_bucket(BUCKET)
            settings |= server.settings(BUCKET)
            fetch = fetch_s3(await stack.enter_async_context(server.client()))
        else:
            settings["objects_dir"] = f"{directory}/objects"
            fetch = fetch_file(settings["objects_dir"])
        config = msgspec.convert(settings, Config)
        store = await stack.enter_async_context(open_bare_store(config, OsDisk()))
        print(f"objects in {store.name.partition(':')[0]}, {rounds} rounds in turn")
        await measure_rollup(directory, config, store, bodies, rounds)
        # In the same data directory: the store is marked as its own.
        await measure_reads(config, store, fetch, lines, rounds)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--copies", type=int, default=8, help="how often the recordings make the long one")
    parser.add_argument("--s3", action="store_true", help="a bucket of moto's server, not files")
    parser.add_argument("--smoke", action="store_true", help="one recording, one round: does it work?")
    asyncio.run(run(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
