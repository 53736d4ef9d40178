"""The bytes of a file → its text in UTF-8: compression and encodings come off.

What a file is shows in its first bytes, but for brotli, which has no magic number, so its file is named
``.br``.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator

from rrd.errors import BrokenEncoding
from rrd.wire.inflate import Encoding, inflater
from rrd.wire.limits import Limits

_BOM = codecs.BOM_UTF8
_WINDOW_BYTES = 1 << 20
_OPENINGS = b'[{"'


def encoding_of(head: bytes, name: str) -> Encoding:
    """Return how a file is compressed, by its first bytes, else by its name."""
    if head[:2] == b"\x1f\x8b":  # RFC 1952, 2.3.1
        return "gzip"
    # RFC 8878, 3.1.1 and 3.1.2: a frame, or a skippable one, with which our own segments begin.
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return "zstd"
    return "br" if name.endswith(".br") else "identity"


def text_windows(chunks: Iterator[bytes], name: str, limits: Limits) -> Iterator[bytes]:
    """Yield a file's text as UTF-8, without a byte order mark. Raises ``BrokenEncoding``."""
    windows = _in_utf8(_decompressed(chunks, name, limits))
    first = next(windows, b"")
    while len(first) < len(_BOM) and (more := next(windows, b"")):
        first += more
    yield first.removeprefix(_BOM)
    yield from windows


def _decompressed(chunks: Iterator[bytes], name: str, limits: Limits) -> Iterator[bytes]:
    first = next(chunks, b"")
    while len(first) < 4 and (more := next(chunks, b"")):
        first += more
    if _is_zlib(first):
        yield from _inflated(first, chunks)
        return
    stream = inflater(encoding_of(first, name), zstd_window_bytes_max=limits.zstd_window_bytes_max)
    yield from stream.windows(first)
    for chunk in chunks:
        yield from stream.windows(chunk)
    if not stream.at_boundary:
        raise BrokenEncoding("the file ends before its compressed stream does")


def _is_zlib(head: bytes) -> bool:
    # RFC 1950, 2.2: method 8, a window of 32 KiB, and a check that makes both bytes a multiple of 31.
    return head[:1] == b"\x78" and len(head) > 1 and int.from_bytes(head[:2], "big") % 31 == 0


def _inflated(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    stream = zlib.decompressobj()
    rest = first
    try:
        while True:
            while rest and not stream.eof:
                yield stream.decompress(rest, _WINDOW_BYTES)
                rest = stream.unconsumed_tail
            if stream.eof or not (rest := next(chunks, b"")):
                break
    except zlib.error as error:
        raise BrokenEncoding(f"the file's zlib stream is damaged: {error}") from None
    if not stream.eof:
        raise BrokenEncoding("the file ends before its compressed stream does")


def _in_utf8(windows: Iterator[bytes]) -> Iterator[bytes]:
    first = next(windows, b"")
    while len(first) < 2 and (more := next(windows, b"")):
        first += more
    encoding = _utf16(first)
    if encoding is None:
        yield first
        yield from windows
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    yield decoder.decode(first).encode().removeprefix(_BOM)
    for window in windows:
        yield decoder.decode(window).encode()
    yield decoder.decode(b"", final=True).encode()


def _utf16(head: bytes) -> str | None:
    """Return which UTF-16 it is; None if it is none. Without a mark a zero byte beside a bracket shows it."""
    if len(head) < 2:
        return None
    if head[:2] == codecs.BOM_UTF16_LE or (head[:1] in _OPENINGS and head[1:2] == b"\0"):
        return "utf-16-le"
    if head[:2] == codecs.BOM_UTF16_BE or (head[:1] == b"\0" and head[1:2] in _OPENINGS):
        return "utf-16-be"
    return None
