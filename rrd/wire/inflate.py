"""Decompression a bounded window at a time, for streams that arrive in chunks.

``windows(chunk)`` yields what a chunk decodes to, piece by piece; nothing is decoded before it is
asked for, so a bomb costs one window. gzip members (RFC 1952, 2.2) and zstd frames (RFC 8878, 3)
may be concatenated; a stream that ended is followed by a new one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Literal, Protocol

import brotli
import zstandard
from isal import isal_zlib

from rrd.errors import BrokenEncoding

Encoding = Literal["identity", "gzip", "br", "zstd"]

WINDOW_BYTES = 256 << 10
"""Decoded bytes asked for at a time. brotli may give half as much again, zstd see below."""

_ZSTD_SLICE_BYTES = 256
"""zstandard's incremental interface has no output limit, so its input is sliced: the densest valid
input is a 4-byte RLE block for 128 KiB (RFC 8878, 3.1.1.2), hence at most 8 MiB a slice."""


class Inflater(Protocol):
    """One direction of one body or socket."""

    @property
    def at_boundary(self) -> bool:
        """No stream is open: the last one ended, or none has begun."""
        ...

    def windows(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what ``chunk`` adds. Raises ``BrokenEncoding``; then what was yielded is still good."""
        ...


def inflater(encoding: Encoding, *, zstd_window_bytes_max: int) -> Inflater:
    """Return a fresh inflater. ``zstd_window_bytes_max`` bounds the memory a zstd frame may ask for."""
    if encoding == "gzip":
        return _Gzip()
    if encoding == "br":
        return _Brotli()
    if encoding == "zstd":
        return _Zstd(zstd_window_bytes_max)
    return _Identity()


class _Identity:
    at_boundary = True

    def windows(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk


class _Gzip:
    """RFC 1952, with ISA-L: three times as fast as zlib."""

    def __init__(self) -> None:
        self._stream: isal_zlib.Decompress | None = None

    @property
    def at_boundary(self) -> bool:
        return self._stream is None

    def windows(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if self._stream is None:
                self._stream = isal_zlib.decompressobj(31)  # 31: gzip header and trailer, checksum verified
            try:
                window = self._stream.decompress(chunk, WINDOW_BYTES)
                chunk = self._stream.unconsumed_tail
                # All input can be taken while output is still waiting inside.
                while len(window) == WINDOW_BYTES and not chunk and not self._stream.eof:
                    yield window
                    window = self._stream.decompress(b"", WINDOW_BYTES)
            except zlib.error as error:
                raise BrokenEncoding(f"the gzip stream is damaged: {error}") from None
            if self._stream.eof:
                chunk = self._stream.unused_data
                self._stream = None
            if window:
                yield window


class _Brotli:
    """RFC 7932. Brotli has no members: bytes after a stream's end belong to the next message."""

    def __init__(self) -> None:
        self._stream: Any = None

    @property
    def at_boundary(self) -> bool:
        return self._stream is None

    def windows(self, chunk: bytes) -> Iterator[bytes]:
        if not chunk:
            return
        stream = self._stream = self._stream or brotli.Decompressor()
        while True:
            try:
                window: bytes = stream.process(chunk, output_buffer_limit=WINDOW_BYTES)
            except brotli.error:
                raise BrokenEncoding("the brotli stream is damaged, or goes on after its end") from None
            chunk = b""
            # It says that it accepts more while output is still waiting inside: a full window tells.
            done = stream.can_accept_more_data() and len(window) < WINDOW_BYTES
            if stream.is_finished():
                self._stream = None
                done = True
            if window:
                yield window
            if done:
                return


class _Zstd:
    """RFC 8878. Frames that ask for a larger window than allowed are refused, since it is memory."""

    def __init__(self, window_bytes_max: int) -> None:
        self._context = zstandard.ZstdDecompressor(max_window_size=window_bytes_max)
        self._frame: zstandard.ZstdDecompressionObj | None = None

    @property
    def at_boundary(self) -> bool:
        return self._frame is None

    def windows(self, chunk: bytes) -> Iterator[bytes]:
        for start in range(0, len(chunk), _ZSTD_SLICE_BYTES):
            rest = chunk[start : start + _ZSTD_SLICE_BYTES]
            while rest:
                if self._frame is None:
                    self._frame = self._context.decompressobj()
                try:
                    window = self._frame.decompress(rest)
                except zstandard.ZstdError as error:
                    raise BrokenEncoding(
                        f"the zstd stream is damaged or needs too large a window: {error}"
                    ) from None
                rest = b""
                if self._frame.eof:
                    rest = self._frame.unused_data
                    self._frame = None
                if window:
                    yield window
