"""Decompression a bounded window at a time, for streams that arrive in chunks.

``windows(chunk)`` yields what a chunk decodes to, piece by piece; nothing is decoded before it is
asked for, so a bomb costs one window. A window may be empty: input that adds nothing is
work too, and the caller may stop there. gzip members (RFC 1952, 2.2) and zstd frames (RFC 8878, 3)
may be concatenated; a stream that ended is followed by a new one. brotli (RFC 7932) knows no such thing:
there only the next message begins a new stream.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, cast

import brotli
import zstandard
from isal import isal_zlib
from isal.igzip_lib import IsalError

from rrd.errors import BrokenEncoding

# IsalError is not derived from zlib.error, and isal's stubs don't declare it as a class.
ISAL_ERRORS = (zlib.error, cast("type[Exception]", IsalError))

WINDOW_BYTES = 256 << 10
"""Decoded bytes asked for at a time. brotli may give half as much again."""

_GZIP_STATE_BYTES = 96 << 10
_BROTLI_STATE_BYTES = 64 << 10
_ZSTD_STATE_BYTES = 256 << 10
"""What an open stream holds beside its window, gzip's included: about."""

_EMPTY_MAX = 16
"""Members and slices of input in a row that add nothing, before an empty window says so."""

_SLICE_BYTES_MIN = 1 << 10
"""A stream that ends copies what was given to it and comes after its end. Slices that grow from here, once a
member has ended, keep many short ones from costing a long slice each."""

_SLICE_BYTES = 64 << 10
"""What is not decoded yet is copied with each window, by all these libraries, so that
a chunk is given to them in slices: else a large chunk would cost its size squared."""

_GZIP_MAGIC = bytes.fromhex("1f8b08")
_GZIP_FIXED_BYTES = 10
_GZIP_HEADER_BYTES_MAX = 4 << 10
"""A header has 10 bytes, or a file's name more. One beyond this is given to ISA-L as it comes."""

_ZSTD_SLICE_BYTES = 256
_ZSTD_AT_ONCE_BYTES_MAX = 8 << 20
"""zstandard's incremental interface has no output limit, so its input is sliced: the densest valid
input is a 4-byte RLE block for 128 KiB (RFC 8878, 3.1.1.2), hence at most 8 MiB a slice. No more is decoded
at once where the size is known before."""


class Inflater(Protocol):
    """One direction of one body or socket."""

    @property
    def has_window(self) -> bool:
        """Its streams declare a window, which may be large; the same for all streams of one compression."""
        ...

    @property
    def is_dear(self) -> bool:
        """What the open stream decodes next may take long, however short the input is."""
        ...

    @property
    def unfilled_bytes(self) -> int:
        """How much the window of the open stream may still take; 0 without a window."""
        ...

    @property
    def at_boundary(self) -> bool:
        """No stream is open: the last one ended, or none has begun."""
        ...

    @property
    def memory_bytes(self) -> int:
        """What the open stream holds: its state, and as much of its window as was written to."""
        ...

    def windows(self, chunk: bytes) -> Iterable[bytes]:
        """Yield what ``chunk`` adds, in windows that may be empty.

        Raises ``BrokenEncoding``; then what was yielded is still good.
        """
        ...

    def end_message(self) -> None:
        """The next chunk begins a new message."""
        ...


def _slices(data: bytes, size: int) -> Iterable[bytes]:
    if len(data) <= size:
        return (data,) if data else ()
    return (data[start : start + size] for start in range(0, len(data), size))


class Uncompressed:
    """No compression."""

    has_window = False
    at_boundary = True
    memory_bytes = 0
    is_dear = False
    unfilled_bytes = 0

    def windows(self, chunk: bytes) -> Iterable[bytes]:
        return _slices(chunk, WINDOW_BYTES)

    def end_message(self) -> None:
        pass


class Gzip:
    """RFC 1952, with ISA-L: three times as fast as zlib."""

    has_window = False
    is_dear = False
    unfilled_bytes = 0

    def __init__(self) -> None:
        self._stream: isal_zlib.Decompress | None = None
        self._header = b""
        """A member's header, as far as it has come."""

    @property
    def at_boundary(self) -> bool:
        return self._stream is None and not self._header

    @property
    def memory_bytes(self) -> int:
        return len(self._header) + (0 if self._stream is None else _GZIP_STATE_BYTES)

    def windows(self, chunk: bytes) -> Iterator[bytes]:
        at, slice_bytes, empty_count = 0, _SLICE_BYTES, 0
        while at < len(chunk):
            # A message is a bytearray: a slice of all of it would be a copy.
            rest = chunk[at : at + slice_bytes] if at or len(chunk) > slice_bytes else chunk
            at += len(rest)
            slice_bytes = min(4 * slice_bytes, _SLICE_BYTES)
            while rest:
                if self._stream is None:
                    rest = self._begin(rest)
                    if self._stream is None:
                        break
                try:
                    window = self._stream.decompress(rest, WINDOW_BYTES)
                    rest = self._stream.unconsumed_tail
                    # All input can be taken while output is still waiting inside.
                    while len(window) == WINDOW_BYTES and not rest and not self._stream.eof:
                        yield window
                        window = self._stream.decompress(b"", WINDOW_BYTES)
                except ISAL_ERRORS as error:
                    raise BrokenEncoding(f"the gzip stream is damaged: {error}") from None
                if self._stream.eof:
                    # A header is never whole before this slice, so what is behind the member is of it.
                    at -= len(self._stream.unused_data)
                    rest = b""
                    self._stream = None
                    slice_bytes = _SLICE_BYTES_MIN
                empty_count = 0 if window else empty_count + 1
                if window or empty_count % _EMPTY_MAX == 0:
                    yield window

    def _begin(self, rest: bytes) -> bytes:
        """Begin a member, once its header is whole: ISA-L misreads some that come in pieces."""
        if self._header:
            rest = self._header + rest
        if _has_gzip_header(rest) or len(rest) > _GZIP_HEADER_BYTES_MAX:
            self._header = b""
            self._stream = isal_zlib.decompressobj(31)  # 31: header and trailer, checksum verified
        else:
            self._header = rest
        return rest

    def end_message(self) -> None:
        pass


def _has_gzip_header(data: bytes) -> bool:
    """Tell whether the header that ``data`` begins with is all there (RFC 1952, 2.3)."""
    if not data.startswith(_GZIP_MAGIC[: len(data)]):
        return True  # No header will come; ISA-L says so.
    if len(data) < _GZIP_FIXED_BYTES:
        return False
    flags, limit = data[3], _GZIP_FIXED_BYTES
    if not flags:
        return True
    if flags & 4:  # FEXTRA
        limit += 2 + int.from_bytes(data[limit : limit + 2], "little")
    for flag in (8, 16):  # FNAME, FCOMMENT
        if flags & flag:
            limit = data.find(b"\0", limit) + 1
            if not limit:
                return False
    if flags & 2:  # FHCRC
        limit += 2
    return len(data) >= limit


_QUICK_WINDOW_BYTES = 4 << 20
"""A few bytes may fill a window, and however little is asked for, brotli fills it before it gives anything
out: with the largest ones that takes 20 ms. This one is the default of brotli's encoders; that of zstd's is
2 MiB.
"""


class Brotli:
    """RFC 7932."""

    has_window = True

    def __init__(self) -> None:
        self._stream: Any = None
        self._ended = False
        """The stream of this message has ended."""
        self._window_bytes = self._decoded_bytes = 0
        """Of the open stream: the window that its first byte declares, and what came out."""

    @property
    def at_boundary(self) -> bool:
        return self._stream is None

    @property
    def memory_bytes(self) -> int:
        if self._stream is None:
            return 0
        return _BROTLI_STATE_BYTES + min(self._window_bytes, self._decoded_bytes)

    @property
    def is_dear(self) -> bool:
        return self._stream is not None and self._window_bytes > _QUICK_WINDOW_BYTES

    @property
    def unfilled_bytes(self) -> int:
        return max(0, self._window_bytes - self._decoded_bytes) if self._stream is not None else 0

    def windows(self, chunk: bytes) -> Iterator[bytes]:
        for part in _slices(chunk, _SLICE_BYTES):
            if self._ended:
                raise BrokenEncoding("the body goes on after the end of its brotli stream")
            if self._stream is None:
                self._stream = brotli.Decompressor()
                self._window_bytes, self._decoded_bytes = _brotli_window_bytes(part[0]), 0
                if self.is_dear:
                    yield b""  # For the caller to hear of it first.
            yield from self._decode(part)

    def _decode(self, part: bytes) -> Iterator[bytes]:
        rest = part
        while True:
            try:
                window: bytes = self._stream.process(rest, output_buffer_limit=WINDOW_BYTES)
            except brotli.error:
                raise BrokenEncoding("the brotli stream is damaged, or goes on after its end") from None
            rest = b""
            self._decoded_bytes += len(window)
            if self._stream.is_finished():
                self._stream = None
                self._ended = True
            yield window
            # It says that it accepts more while output still waits inside: only an empty window tells.
            if self._ended or not window:
                return

    def end_message(self) -> None:
        self._ended = False


def _brotli_window_bytes(first: int) -> int:
    """Return the window that a stream asks for which begins with the byte ``first`` (RFC 7932, 9.1)."""
    bits = 16
    if first & 1:
        high, low = first >> 1 & 7, first >> 4 & 7
        bits = 17 + high if high or not low else 8 + low
    return 1 << bits


def _zstd_window_bytes(begin: bytes) -> int:
    """Return the window that a frame asks for (RFC 8878, 3.1.1.1.2); the most where its header is cut off."""
    try:
        return zstandard.get_frame_parameters(begin).window_size
    except zstandard.ZstdError:
        return 1 << 62


class _AtOnce(threading.local):
    """What decodes whole frames: one a thread, since it keeps nothing from one to the next."""

    def __init__(self) -> None:
        self.context = zstandard.ZstdDecompressor()


_AT_ONCE = _AtOnce()


class Zstd:
    """RFC 8878. Frames that ask for a larger window than allowed are refused, since it is memory."""

    has_window = True

    def __init__(self, window_bytes_max: int) -> None:
        self._window_bytes_max = window_bytes_max
        self._context: zstandard.ZstdDecompressor | None = None
        """For frames that aren't decoded at once. Making one takes longer than decoding a small frame."""
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._window_bytes = self._decoded_bytes = 0
        """Of the open frame: the window that its header declares, and what came out."""

    @property
    def at_boundary(self) -> bool:
        return self._frame is None

    @property
    def is_dear(self) -> bool:
        return self._frame is not None and self._window_bytes > _QUICK_WINDOW_BYTES

    @property
    def unfilled_bytes(self) -> int:
        if self._frame is None:
            return 0
        return max(0, min(self._window_bytes, self._window_bytes_max) - self._decoded_bytes)

    @property
    def memory_bytes(self) -> int:
        if self._frame is None:
            return 0
        return _ZSTD_STATE_BYTES + min(self._window_bytes_max, self._decoded_bytes)

    def windows(self, chunk: bytes) -> Iterator[bytes]:
        whole = self._at_once(chunk) if self._frame is None else None
        if whole is not None:
            yield from _slices(whole, WINDOW_BYTES)
            return
        empty_count = 0
        for part in _slices(chunk, _ZSTD_SLICE_BYTES):
            rest = part
            while rest:
                if self._frame is None:
                    if self._context is None:
                        self._context = zstandard.ZstdDecompressor(max_window_size=self._window_bytes_max)
                    self._frame = self._context.decompressobj()
                    self._decoded_bytes = 0
                    self._window_bytes = _zstd_window_bytes(rest)
                    if self.is_dear:
                        yield b""  # For the caller to hear of it first.
                try:
                    decoded = self._frame.decompress(rest)
                except zstandard.ZstdError as error:
                    raise BrokenEncoding(
                        f"the zstd stream is damaged or needs too large a window: {error}"
                    ) from None
                rest = b""
                self._decoded_bytes += len(decoded)
                if self._frame.eof:
                    rest = self._frame.unused_data
                    self._frame = None
                if len(decoded) > WINDOW_BYTES:
                    yield from _slices(decoded, WINDOW_BYTES)
                    empty_count = 0
                else:
                    empty_count = 0 if decoded else empty_count + 1
                    if decoded or empty_count % _EMPTY_MAX == 0:
                        yield decoded

    def _at_once(self, chunk: bytes) -> bytes | None:
        """Return what a chunk decodes to that is one good frame of moderate size; None leaves all to do.

        Slice by slice such a chunk takes twice as long.
        """
        try:
            header = zstandard.get_frame_parameters(chunk)
            # Where a header says 0, the library looks no further.
            is_moderate = 0 < header.content_size <= _ZSTD_AT_ONCE_BYTES_MAX
            if not is_moderate or header.window_size > self._window_bytes_max:
                return None
            return _AT_ONCE.context.decompress(chunk, allow_extra_data=False)
        except zstandard.ZstdError:
            return None

    def end_message(self) -> None:
        pass
