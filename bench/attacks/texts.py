"""Small streams that decode to a lot, lines that are dear to read, and windows that take memory.

What repeats is compressed once: gzip members and zstd frames may follow each other as they are, and between
two full flushes a deflate stream refers to nothing outside (zlib's manual). zstd's blocks of one byte
(RFC 8878, 3.1.1.2.2) are written by hand. Everything is made once and kept.
"""

from __future__ import annotations

import gzip
import random
import zlib
from functools import cache

import brotli
import zstandard

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
EVENT = b'{"type":3,"timestamp":1}'

_ZSTD_BLOCK_BYTES_MAX = 128 * KIB
_PART_BYTES = 16 * MIB


def _zstd_head(window_log: int) -> bytes:
    """A frame's magic number, a descriptor that promises nothing, and its window (RFC 8878, 3.1.1.1)."""
    return bytes.fromhex("28b52ffd") + b"\x00" + bytes([(window_log - 10) << 3])


def _zstd_block(data: bytes, *, is_last: bool = False) -> bytes:
    return (is_last | len(data) << 3).to_bytes(3, "little") + data


@cache
def zstd_of(byte: bytes, size: int) -> bytes:
    """One byte, ``size`` times: four bytes for each 128 KiB."""
    block = (1 << 1 | _ZSTD_BLOCK_BYTES_MAX << 3).to_bytes(3, "little") + byte
    return _zstd_head(17) + block * (size // _ZSTD_BLOCK_BYTES_MAX) + _zstd_block(b"", is_last=True)


@cache
def gzip_of(byte: bytes, size: int) -> bytes:
    """One byte, ``size`` times, in members of 16 MiB."""
    return gzip.compress(byte * min(size, _PART_BYTES)) * max(1, size // _PART_BYTES)


@cache
def brotli_of(byte: bytes, size: int) -> bytes:
    """One byte, ``size`` times, in one stream."""
    part = byte * min(size, _PART_BYTES)
    stream = brotli.Compressor(quality=3)
    return b"".join([*(stream.process(part) for _ in range(max(1, size // len(part)))), stream.finish()])


def brackets(count: int) -> bytes:
    """Objects that open within each other, a line each, and never close."""
    return b'{"a":[\n' * count


@cache
def run_together(size: int) -> bytes:
    """An event with values right behind it on its line."""
    return EVENT + b"{}" * (size // 2)


@cache
def gzip_run_together(size: int) -> bytes:
    return gzip.compress(run_together(size))


@cache
def gzip_unfinished(size: int) -> bytes:
    """An event that doesn't end: a thousandth of its size. The stream is flushed, and doesn't end either."""
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    begin = EVENT[:-1] + b',"data":"'
    return stream.compress(begin + b"x" * (size - len(begin))) + stream.flush(zlib.Z_SYNC_FLUSH)


@cache
def deflated_event(size: int) -> bytes:
    """A whole event as the payload of a permessage-deflate message (RFC 7692, 7.2.1)."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    begin, end = EVENT[:-1] + b',"data":"', b'"}'
    text = stream.compress(begin + b"x" * (size - len(begin) - len(end)) + end)
    return (text + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


@cache
def event_of(size: int) -> bytes:
    """An event of text that doesn't compress to nothing."""
    begin, end = EVENT[:-1] + b',"data":"', b'"}'
    return begin + random.Random(size).randbytes((size - len(begin) - len(end)) // 2).hex().encode() + end


@cache
def brotli_window() -> bytes:
    """The begin of a stream with the largest window of RFC 7932, 16 MiB, that has filled it."""
    stream = brotli.Compressor(quality=5, lgwin=24)
    begin: bytes = stream.process(_large_events(16 * MIB)) + stream.flush()
    return begin


@cache
def zstd_window() -> bytes:
    """The begin of a frame with a window of 8 MiB, and as much in it."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=23)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(_large_events(8 * MIB)) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


def _large_events(size: int) -> bytes:
    """Events just below 1 MiB each, so that windows are what costs most."""
    begin, end = EVENT[:-1] + b',"data":"', b'"}\n'
    return (begin + b"x" * (MIB - 4096 - len(begin) - len(end)) + end) * (size // MIB)
