"""Hostile texts of any size, and a lab that tells what decoding one costs.

Method: ``python -m tests.wire.costs WAY SHAPE BYTES`` decodes one text, in a process of its own since the
libraries allocate outside of Python's sight, by the calls that the daemon makes. It prints the processor time
of all of it, the longest that one quick call took, and how much memory it took at most.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import sys
import time
from collections.abc import Callable, Iterator

import brotli
import zstandard

from rrd.errors import WireError
from rrd.wire.decoder import ContentKind, Decoder
from rrd.wire.events import Batch, check_messages
from rrd.wire.inflate import Encoding
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


COMPRESSIONS: dict[str, tuple[Encoding, Callable[[bytes], bytes]]] = {
    "plain": ("identity", bytes),
    "gzip": ("gzip", gzip.compress),
    "br": ("br", lambda text: bytes(brotli.compress(text, quality=3))),
    "zstd": ("zstd", lambda text: zstandard.ZstdCompressor(level=1).compress(text)),
    "gzip-members": ("gzip", frames(gzip.compress)),
    "zstd-frames": ("zstd", frames(lambda text: zstandard.ZstdCompressor(level=1).compress(text))),
}
KINDS: dict[str, ContentKind] = {"ndjson": "ndjson", "json": "json", "unstated": "unstated"}
WAYS = (
    *(f"{way}:{kind}:{name}" for way in ("post", "socket") for kind in KINDS for name in COMPRESSIONS),
    "text",
    "meta",
)
"""Ways in. ``text``: text messages of a socket. ``meta``: metadata by itself."""


class Lab:
    """Takes texts in as the daemon does, and keeps account."""

    def __init__(self) -> None:
        self.quick_s = 0.0
        self.counts = [0, 0]

    def take(self, way: str, text: bytes) -> None:
        if way == "meta":
            read_metadata_of(text)
        elif way == "text":
            began = time.process_time()
            try:
                if len(text) > TEXT_AT_ONCE_BYTES_MAX:
                    raise TakesLong
                self._count(check_messages([text], LIMITS, first_line=1, is_quick=True))
            except TakesLong:
                self.quick_s = max(self.quick_s, time.process_time() - began)
                self._drain(Decoder(kind="unstated", encoding="identity", limits=LIMITS), [text], ends=True)
        else:
            route, kind, name = way.split(":")
            encoding, compress = COMPRESSIONS[name]
            decoder = Decoder(kind=KINDS[kind], encoding=encoding, limits=LIMITS)
            self._drain(decoder, list(_chunks(compress(text), route)), ends=route == "socket")

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


def main() -> None:
    way, shape, sizes = sys.argv[1], sys.argv[2], sys.argv[3:]
    Lab().take(way, SHAPES[shape](1000))  # What is made once is not counted.
    found = []
    for size in map(int, sizes):  # Growing, so that the peak is the last one's.
        text = SHAPES[shape](size)
        lab, before, began = Lab(), memory("VmRSS"), time.process_time()
        lab.take(way, text)
        found.append(
            {
                "cpu_s": time.process_time() - began,
                "quick_s": lab.quick_s,
                "growth_bytes": memory("VmHWM") - before,
                "counts": lab.counts,
            }
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
