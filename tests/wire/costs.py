"""Hostile texts of any size, and a lab that tells what decoding one costs.

Method: ``python -m tests.wire.costs`` reads rows, each a line like ``["text", "blank", [1000, 2000]]``, and
decodes the text of each size in a process of its own, since the libraries allocate outside of Python's sight,
by the calls that the daemon makes. It answers each row with a line: for each size the processor time of all
of it, the longest that one quick call took, and how much memory it took at most. The processes are forked
from one that has loaded and used all there is, so that nothing but the work is measured.
"""

from __future__ import annotations

import contextlib
import gc
import gzip
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import brotli
import zstandard

from rrd.errors import WireError
from rrd.wire.codings import Encoding
from rrd.wire.decoder import ContentKind, Decoder
from rrd.wire.events import Batch, check_messages
from rrd.wire.metadata import read_metadata
from rrd.wire.turns import TakesLong
from tests.wire.bombs import memory
from tests.wire.packer import pack
from tests.wire.wire_lab import LIMITS

EVENT = b'{"type":3,"timestamp":1}'
CHUNK_BYTES = 64 << 10
TEXT_AT_ONCE_BYTES_MAX = 1 << 20
"""Longer messages of a socket go to a decoder at once."""


def repeated(part: bytes, *, head: bytes = b"", tail: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: head + part * (size // len(part)) + tail


def nested(size: int) -> bytes:
    return b'{"type":3,"timestamp":1,"data":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}"


SHAPES: dict[str, Callable[[int], bytes]] = {
    "blank": repeated(b"\n"),
    "blank-crlf": repeated(b" \r\n"),
    "blank-between-events": repeated(EVENT + b"\n" * 100),
    "brackets": repeated(b"["),
    "brackets-of-objects": repeated(b'{"a":[\n'),
    "brackets-of-wrappers": repeated(b'{"events":[\n'),
    "closing-brackets": repeated(b"]}\n"),
    "endless-quotes": repeated(b'{"a":"\n'),
    "endless-quotes-on-a-line": repeated(b'["', head=EVENT),
    "run-together": repeated(b"{}", head=EVENT),
    "run-together-events": repeated(EVENT),
    "elements": repeated(b"0,", head=b"[", tail=b"0]"),
    "empty-objects": repeated(b"{}\n"),
    "equal-keys": repeated(b'"type":3,', head=b"{", tail=b'"timestamp":1}'),
    "escapes": repeated(rb"\\", head=EVENT[:-1] + b',"data":"', tail=b'"}'),
    "escaped-names": repeated(rb'"\u0061":1,', head=b"{", tail=EVENT[1:]),
    "surrogates": repeated(rb"\ud83d", head=EVENT[:-1] + b',"data":"', tail=b'"}'),
    "nested": nested,
    "packed": repeated(pack(EVENT[:-1] + b',"data":"%s"}' % (b"x" * 1000)) + b"\n"),
    "metadata-pairs": repeated(
        b'"a":1,',
        head=b'{"type":5,"timestamp":1,"data":{"tag":"recording-meta","payload":{',
        tail=b'"b":1}}}',
    ),
}


def frames(compress: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """A stream or member for each 64 bytes: what many tiny ones cost."""
    return lambda text: b"".join(compress(text[at : at + 64]) for at in range(0, len(text), 64))


_zstd = zstandard.ZstdCompressor(level=1)
COMPRESSIONS: dict[str, tuple[Encoding, Callable[[bytes], bytes]]] = {
    "plain": ("identity", bytes),
    "gzip": ("gzip", lambda text: gzip.compress(text, 1)),
    "br": ("br", lambda text: bytes(brotli.compress(text, quality=3))),
    "zstd": ("zstd", _zstd.compress),
    "gzip-members": ("gzip", frames(lambda text: gzip.compress(text, 1))),
    "zstd-frames": ("zstd", frames(_zstd.compress)),
}
KINDS: dict[str, ContentKind] = {"ndjson": "ndjson", "json": "json", "unstated": "unstated"}
WAYS = (
    *(f"{way}:{kind}:{name}" for way in ("post", "socket") for kind in KINDS for name in COMPRESSIONS),
    "text",
    "meta",
)
"""Ways in. ``text``: text messages of a socket. ``meta``: metadata by itself."""


class Cost(NamedTuple):
    """What one text costs."""

    cpu_s: float
    """Processor time of all of it."""
    quick_s: float
    """The longest quick call: what an event loop would stand still for."""
    growth_bytes: int
    """The most memory, above what the process had before."""


# The rule. Processor time is compared with itself at other sizes, from a floor on, and never with a clock.

CPU_FLOOR_S = 0.1
"""Below it a machine's noise decides."""
CPU_MARGIN = 2.0
QUICK_FLOOR_S = 0.05
MEMORY_FLOOR_BYTES = 48 << 20
"""Batches, windows, and what the allocator keeps."""
MEMORY_FACTOR = 40
"""Bytes held for a decoded one, at most: views, small objects of the interpreter, copies."""
CPU_LIMIT_S = 20
"""A child that takes longer is killed: what costs more than its input might go on for hours."""


def faults(sizes: Sequence[int], costs: Sequence[Cost]) -> list[str]:
    """Say what grows faster than the input, whose sizes grow; nothing if all is well."""
    found = []
    first = costs[0]
    for size, cost in zip(sizes, costs, strict=True):
        factor = size / sizes[0]
        cpu_max_s = CPU_MARGIN * max(factor * first.cpu_s, CPU_FLOOR_S)
        quick_max_s = CPU_MARGIN * max(first.quick_s, QUICK_FLOOR_S)  # On the loop it doesn't grow at all.
        growth_max = MEMORY_FLOOR_BYTES + MEMORY_FACTOR * size
        if cost.cpu_s > cpu_max_s:
            found.append(f"{size} bytes: {cost.cpu_s:.3f} s of processor time, above {cpu_max_s:.3f}")
        if cost.quick_s > quick_max_s:
            found.append(f"{size} bytes: {cost.quick_s:.3f} s in a quick call, above {quick_max_s:.3f}")
        if cost.growth_bytes > growth_max:
            found.append(f"{size} bytes: {cost.growth_bytes >> 20} MiB of memory, above {growth_max >> 20}")
    return found


def least(one: Cost, other: Cost) -> Cost:
    """Return the better of two measurements of one work: a busy machine only ever adds to it."""
    return Cost(
        min(one.cpu_s, other.cpu_s),
        min(one.quick_s, other.quick_s),
        min(one.growth_bytes, other.growth_bytes),
    )


def in_child(work: Callable[[], Cost]) -> Cost | None:
    """Return what ``work`` costs in a process of its own; None if it takes more than ``CPU_LIMIT_S``."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
            os.write(writing, json.dumps(work()).encode())
            status = 0
        finally:
            os._exit(status)  # Nothing of what the parent has open is flushed or closed twice.
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None
    if status:
        raise RuntimeError(f"a child ended with status {status}")
    return Cost(*json.loads(told))


class Lab:
    """Takes texts in as the daemon does, and keeps account."""

    def __init__(self) -> None:
        self.cpu_s = self.quick_s = 0.0
        self.growth_bytes = 0
        self.counts = [0, 0]
        """Events and rejected lines."""

    @property
    def cost(self) -> Cost:
        return Cost(self.cpu_s, self.quick_s, self.growth_bytes)

    def take(self, way: str, text: bytes) -> None:
        """Decode ``text``. What the sender does, to compress it, is no cost of ours."""
        if way == "meta":
            self._timed(lambda: read_metadata_of(text))
        elif way == "text":
            self._timed(lambda: self._take_text(text))
        else:
            route, kind, name = way.split(":")
            encoding, compress = COMPRESSIONS[name]
            self.take_chunks(
                KINDS[kind], encoding, list(_chunks(compress(text), route)), ends=route == "socket"
            )

    def take_chunks(self, kind: ContentKind, encoding: Encoding, chunks: list[bytes], *, ends: bool) -> None:
        """Decode a body that comes in ``chunks``. ``ends``: each of them is a message of a socket."""
        decoder = Decoder(kind=kind, encoding=encoding, limits=LIMITS)
        self._timed(lambda: self._drain(decoder, chunks, ends=ends))

    def _timed(self, work: Callable[[], None]) -> None:
        before, began = memory("VmRSS"), time.process_time()
        work()
        self.cpu_s = time.process_time() - began
        self.growth_bytes = memory("VmHWM") - before

    def _take_text(self, text: bytes) -> None:
        began = time.process_time()
        try:
            if len(text) > TEXT_AT_ONCE_BYTES_MAX:
                raise TakesLong
            self._count(check_messages([text], LIMITS, first_line=1, is_quick=True))
        except TakesLong:
            self.quick_s = max(self.quick_s, time.process_time() - began)
            self._drain(Decoder(kind="unstated", encoding="identity", limits=LIMITS), [text], ends=True)

    def _drain(self, decoder: Decoder, chunks: list[bytes], *, ends: bool) -> None:
        with contextlib.suppress(WireError):  # As good an end as any: only its cost is of interest.
            for chunk in chunks:
                decoder.feed(chunk, ends_message=ends)
                self._pull(decoder)
            decoder.finish(cut_off=ends)
            self._pull(decoder)

    def _pull(self, decoder: Decoder) -> None:
        while True:
            began = time.process_time()
            try:
                batch = decoder.next_batch(pace="quick")
            finally:
                self.quick_s = max(self.quick_s, time.process_time() - began)
            while batch is None and decoder.is_behind:
                batch = decoder.next_batch(pace="step")
            if batch is None:
                return
            self._count(batch)

    def _count(self, batch: Batch) -> None:
        self.counts[0] += batch.event_count
        self.counts[1] += len(batch.rejected)


def read_metadata_of(text: bytes) -> None:
    with contextlib.suppress(ValueError):
        read_metadata(text, LIMITS, flat=True)


def _chunks(body: bytes, route: str) -> Iterator[bytes]:
    if route == "socket":
        yield body
        return
    for at in range(0, len(body), CHUNK_BYTES):
        yield body[at : at + CHUNK_BYTES]


def cost_of(way: str, shape: str, size: int) -> Cost:
    lab = Lab()
    lab.take(way, SHAPES[shape](size))
    return lab.cost


def warm_up() -> None:
    """Use all there is once, and take it out of the collector's sight."""
    for way in WAYS:
        for shape in SHAPES:
            cost_of(way, shape, 200)
    gc.collect()
    gc.freeze()


def main() -> None:
    warm_up()
    for line in sys.stdin:
        way, shape, sizes = json.loads(line)
        found: list[Cost | None] = []
        for size in sizes:
            found.append(in_child(partial(cost_of, way, shape, size)))
            if found[-1] is None:  # Larger ones take longer still.
                break
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
