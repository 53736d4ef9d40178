"""Small streams that decode to a lot, built without decoding it; and a lab to set them off in.

Method: what repeats is compressed once. gzip members and zstd frames may be concatenated as they are;
inside one deflate stream, a part between two full flushes refers to nothing outside it (zlib's manual), so
that it may stand there a thousand times. zstd's RLE blocks (RFC 8878, 3.1.1.2.2) are written by hand.

``python -m tests.wire.bombs NAME`` decodes one of ``CASES`` in a process of its own and prints what came out
and how much memory it took: the libraries allocate outside of Python's sight, so that only the process's
peak (``VmHWM``, proc(5)) tells.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import brotli
import zstandard

from rrd.errors import WireError
from rrd.wire.codings import Encoding
from rrd.wire.decoder import ContentKind, Decoder
from rrd.wire.events import check_messages
from rrd.wire.limits import Limits
from tests.wire.packer import as_line
from tests.wire.wire_lab import LIMITS

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

ZSTD_BLOCK_BYTES_MAX = 128 * KIB


def gzip_member(part: bytes, count: int) -> bytes:
    """One member of ``part``, ``count`` times. Its checksum is wrong: nobody should get that far."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    compressed = deflate.compress(part) + deflate.flush(zlib.Z_FULL_FLUSH)
    header = bytes.fromhex("1f8b0800000000000003")
    return header + compressed * count + bytes.fromhex("0300") + bytes(8)


def gzip_members(part: bytes, count: int) -> bytes:
    """``count`` good members of ``part``."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    return (compressor.compress(part) + compressor.flush()) * count


def brotli_stream(part: bytes, count: int) -> bytes:
    stream = brotli.Compressor(quality=1, lgwin=24)
    return b"".join([*(stream.process(part) for _ in range(count)), stream.finish()])


def zstd_stream(part: bytes, count: int) -> bytes:
    """One frame, as the library makes it."""
    frame = zstandard.ZstdCompressor(level=1).compressobj()
    return b"".join([*(frame.compress(part) for _ in range(count)), frame.flush()])


def zstd_frame(blocks: Iterable[bytes], *, window_log: int = 17, mantissa: int = 0) -> bytes:
    """A frame by hand. Its window is 2**window_log * (1 + mantissa / 8) bytes."""
    magic, descriptor = bytes.fromhex("28b52ffd"), b"\x00"
    window = bytes([(window_log - 10) << 3 | mantissa])
    return magic + descriptor + window + b"".join(blocks)


def zstd_block(data: bytes, *, is_last: bool = False) -> bytes:
    """A raw block."""
    return (is_last | len(data) << 3).to_bytes(3, "little") + data


def zstd_rle_block(byte: bytes, size: int = ZSTD_BLOCK_BYTES_MAX, *, is_last: bool = False) -> bytes:
    """A block of one byte, ``size`` times: four bytes."""
    return (is_last | 1 << 1 | size << 3).to_bytes(3, "little") + byte


def zstd_skippable(data: bytes, *, magic: int = 0x184D2A50) -> bytes:
    return magic.to_bytes(4, "little") + len(data).to_bytes(4, "little") + data


def zstd_rle_bomb(byte: bytes, size: int) -> bytes:
    """The densest there is: 128 KiB in four bytes."""
    blocks = zstd_rle_block(byte) * (size // ZSTD_BLOCK_BYTES_MAX)
    return zstd_frame([blocks, zstd_block(b"", is_last=True)])


# What is set off

PART = 16 * MIB
ZEROS = bytes(PART)
LINE = b'{"type":3,"timestamp":1,"data":"%s"}\n' % (b"x" * (MIB - 36))
LINES = LINE * 16
"""16 MiB of lines of 1 MiB."""
SMALL_LINES = (b'{"type":3,"timestamp":1,"data":"%s"}\n' % (b"x" * 220)) * (64 * KIB)
"""16 MiB of lines of 256 bytes."""
TWO_GIB = 2 * GIB // PART
"""Parts of 16 MiB in 2 GiB."""


class Case(NamedTuple):
    make: Callable[[], bytes]
    encoding: Encoding
    kind: ContentKind = "ndjson"
    error: str | None = "TooLarge"
    events: int = 0
    growth_bytes_max: int = 64 * MIB
    """Without anything held at its limit: windows, a batch, what the libraries need."""
    limits: Limits = LIMITS
    is_message: bool = False
    """It is checked as a text message."""


EVENT_HELD = 2 * LIMITS.event_bytes_max + 64 * MIB
"""A line up to its limit in a buffer that grew, and its copy."""
DOCUMENT_HELD = 2 * LIMITS.document_bytes_max + 64 * MIB
BATCHES_HELD = 6 * LIMITS.event_bytes_max + 64 * MIB
"""A batch of one event up to its limit: being made, joined, and the one before, which the caller holds."""


def packed(parts: int, *, repeats: int = 1) -> bytes:
    """A packed event with ``parts * repeats`` MiB of text. With ``repeats`` its checksum is wrong."""
    deflate = zlib.compressobj(9)
    head = deflate.compress(b'{"type":3,"timestamp":1,"data":"') + deflate.flush(zlib.Z_FULL_FLUSH)
    text = b"".join(deflate.compress(b"x" * MIB) for _ in range(parts)) + deflate.flush(zlib.Z_FULL_FLUSH)
    tail = deflate.compress(b'","v":"v1"}') + deflate.flush()
    return as_line(head + text * repeats + tail) + b"\n"


def document_of_elements(count: int) -> bytes:
    """Two bytes an element: what costs most to hold."""
    block = zstd_block(b"0," * KIB)
    return zstd_frame([zstd_block(b"["), block * (count // KIB), zstd_block(b"0]", is_last=True)])


CASES: dict[str, Case] = {
    # 2 GiB without a line break, against an event's 64 MiB.
    "line-gzip": Case(lambda: gzip_member(ZEROS, TWO_GIB), "gzip", growth_bytes_max=EVENT_HELD),
    "line-gzip-members": Case(lambda: gzip_members(ZEROS, TWO_GIB), "gzip", growth_bytes_max=EVENT_HELD),
    "line-br": Case(lambda: brotli_stream(ZEROS, TWO_GIB), "br", growth_bytes_max=EVENT_HELD),
    "line-zstd": Case(lambda: zstd_stream(ZEROS, TWO_GIB), "zstd", growth_bytes_max=EVENT_HELD),
    "line-zstd-rle": Case(lambda: zstd_rle_bomb(b"x", 2 * GIB), "zstd", growth_bytes_max=EVENT_HELD),
    "line-zstd-rle-frames": Case(
        lambda: zstd_rle_bomb(b"x", 128 * KIB) * (16 * KIB), "zstd", growth_bytes_max=EVENT_HELD
    ),
    # 2 GiB of good events, against a body's 1 GiB.
    "lines-gzip": Case(lambda: gzip_member(LINES, TWO_GIB), "gzip", events=1024),
    "lines-br": Case(lambda: brotli_stream(LINES, TWO_GIB), "br", events=1024),
    "lines-zstd": Case(lambda: zstd_stream(LINES, TWO_GIB), "zstd", events=1024),
    # 2 GiB of one document, against 64 MiB.
    "document-gzip": Case(
        lambda: gzip_member(b"[" * PART, TWO_GIB), "gzip", "json", growth_bytes_max=DOCUMENT_HELD
    ),
    "document-br": Case(lambda: brotli_stream(ZEROS, TWO_GIB), "br", "json", growth_bytes_max=DOCUMENT_HELD),
    "document-zstd": Case(
        lambda: zstd_rle_bomb(b"[", 2 * GIB), "zstd", "json", growth_bytes_max=DOCUMENT_HELD
    ),
    # A document well within its limit, of a million elements.
    "elements": Case(
        lambda: document_of_elements(1_100_000), "zstd", "json", error=None, growth_bytes_max=40 * MIB
    ),
    # The shortest lines there are.
    "blank-lines": Case(
        lambda: zstd_rle_bomb(b"\n", 2 * GIB), "zstd", limits=LIMITS._replace(body_bytes_max=32 * MIB)
    ),
    # Bombs inside: a packed event of 2 GiB, and twelve of 60 MiB.
    "packed": Case(lambda: packed(16, repeats=128), "identity", error=None, growth_bytes_max=EVENT_HELD),
    "packed-many": Case(
        lambda: packed(60) * 12, "identity", error=None, events=12, growth_bytes_max=BATCHES_HELD
    ),
    "packed-message": Case(
        lambda: packed(60) * 12,
        "identity",
        error=None,
        events=2,
        growth_bytes_max=BATCHES_HELD,
        is_message=True,
    ),
}


def memory(field: str) -> int:
    """Bytes of ``VmRSS`` (now) or ``VmHWM`` (at most, ever)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * KIB for line in status if line.startswith(field + ":"))


def set_off(case: Case) -> dict[str, object]:
    body = case.make()
    before = memory("VmRSS")
    events = rejected = 0
    error = None
    if case.is_message:
        batch = check_messages([body], case.limits, first_line=1)
        events, rejected = batch.event_count, len(batch.rejected)
    else:
        decoder = Decoder(kind=case.kind, encoding=case.encoding, limits=case.limits)
        decoder.feed(body)
        decoder.finish()
        try:
            while (next_batch := decoder.next_batch()) is not None:
                events += next_batch.event_count
                rejected += len(next_batch.rejected)
        except WireError as caught:
            error = type(caught).__name__
    growth = memory("VmHWM") - before
    return {"error": error, "events": events, "rejected": rejected, "growth": growth, "size": len(body)}


if __name__ == "__main__":
    print(json.dumps(set_off(CASES[sys.argv[1]])))
