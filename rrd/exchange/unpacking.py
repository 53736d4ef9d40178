"""A file's bytes → JSON text in UTF-8, in windows of bounded size.

Compression and encoding show in the first bytes. Names count only for a compression without a magic number
(brotli), and even there a file that reads as text is text. Sentry keeps a recording's segments as a line of
JSON and behind it a zlib stream; such a line passes as it is.
"""

from __future__ import annotations

import codecs
import itertools
import zlib
from collections.abc import Iterable, Iterator

import brotli

from rrd.errors import BrokenEncoding, WireError
from rrd.wire.codings import CODINGS, Encoding, by_magic, inflater
from rrd.wire.inflate import WINDOW_BYTES

_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32-le",  # Before UTF-16's, which it begins with.
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_WITHOUT_MAGIC = tuple(coding for coding in CODINGS if not coding.magics)
_TEXT_STARTS = (b'{"', b"[{", b"[[", b'["', b"{\n", b"[\n")
_JSON_STARTS = (b"{", b"[", b'"', b"\n", b"\r")
_PROBE_BYTES = 64
_SEGMENT_START = b'{"segment_id":'
_HEAD_BYTES = 256
"""What is looked at before it is read: magic numbers, or a header line and the magic number behind it."""
ZSTD_WINDOW_BYTES_MAX = 128 << 20
"""What ``zstd --long`` asks for, and one reader can have."""

_LEVELS_MAX = 3
"""Compression inside compression."""


def text_windows(chunks: Iterable[bytes], name: str, *, zstd_window_bytes_max: int) -> Iterator[bytes]:
    """Yield a file's text, without its byte order mark. Raises ``BrokenEncoding`` where it ends too early."""
    return _as_utf8(_plain(iter(chunks), name, zstd_window_bytes_max, _LEVELS_MAX))


def decompressed(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Yield a file's bytes, whatever compresses them. Raises ``BrokenEncoding`` where it ends too early."""
    return _plain(iter(chunks), name, ZSTD_WINDOW_BYTES_MAX, _LEVELS_MAX)


def encoding_of(head: bytes, name: str) -> Encoding | None:
    """Return how a file is compressed; None for zlib, which is no content coding of HTTP."""
    if coding := by_magic(head):
        return coding.name
    # RFC 1950, 2.2: a 32 KiB window, and a check value; no text that we read begins so.
    if head[:1] == b"\x78" and len(head) > 1 and (head[0] << 8 | head[1]) % 31 == 0:
        return None
    if not head.startswith(_TEXT_STARTS):
        for named in _WITHOUT_MAGIC:
            if name.endswith(named.suffix):
                return named.name
    return "br" if _is_brotli(head) else "identity"


def _is_brotli(head: bytes) -> bool:
    """Tell whether what is no text, going by its first byte, is JSON in brotli."""
    if not head or not (head[0] < 0x09 or 0x0D < head[0] < 0x20 or 0x80 <= head[0] < 0xEF):
        return False
    try:
        text: bytes = brotli.Decompressor().process(head, output_buffer_limit=_PROBE_BYTES)
    except brotli.error:
        return False
    return text.startswith(_TEXT_STARTS)


def _plain(chunks: Iterator[bytes], name: str, zstd_window_bytes_max: int, levels: int) -> Iterator[bytes]:
    first, chunks = peeked(_HEAD_BYTES, chunks)
    if first.startswith(_SEGMENT_START):
        yield from _segment(first, chunks)
        return
    encoding = encoding_of(first, name)
    if encoding == "identity" or levels == 0:
        yield from _sliced(first)
        yield from chunks
        return
    if encoding is None:
        inside = _inflated(first, chunks)
    else:
        inside = _windows(encoding, first, chunks, zstd_window_bytes_max)
    for named in _WITHOUT_MAGIC:
        name = name.removesuffix(named.suffix)
    yield from _plain(inside, name, zstd_window_bytes_max, levels - 1)


def peeked(size: int, chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return so many bytes or more, if there are so many, and the chunks behind them.

    Where it is damaged before that, what came before the damage is returned, and the next chunk raises.
    """
    found = b""
    try:
        while len(found) < size and (chunk := next(chunks, b"")):
            found += chunk
    except WireError as error:
        return found, _raising(error)
    return found, chunks


def _raising(error: WireError) -> Iterator[bytes]:
    raise error
    yield b""  # An iterator, so that it raises when it is asked.


def _sliced(text: bytes) -> Iterator[bytes]:
    for start in range(0, len(text), WINDOW_BYTES):
        yield text[start : start + WINDOW_BYTES]


def _windows(
    encoding: Encoding, first: bytes, chunks: Iterator[bytes], zstd_window_bytes_max: int
) -> Iterator[bytes]:
    stream = inflater(encoding, zstd_window_bytes_max=zstd_window_bytes_max)
    yield from filter(None, stream.windows(first))
    for chunk in chunks:
        yield from filter(None, stream.windows(chunk))
    if not stream.at_boundary:
        raise BrokenEncoding("the file ends before its compressed stream does")


def _segment(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a recording segment of Sentry: its header line, and its events, which zlib may have packed."""
    header, line_feed, rest = first.partition(b"\n")
    if not line_feed or encoding_of(rest, "") is not None:
        yield first
        yield from chunks
        return
    yield header + line_feed
    yield from _inflated(rest, chunks)


def _inflated(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what zlib streams hold. A next one may follow behind a header line of its own."""
    rest: bytes | None = first
    while rest:
        stream = zlib.decompressobj()
        while rest:
            try:
                window = stream.decompress(rest, WINDOW_BYTES)
                rest = stream.unconsumed_tail
            except zlib.error as error:
                raise BrokenEncoding(f"the zlib stream is damaged: {error}") from None
            if window:
                yield window
            if stream.eof:
                break
            rest = rest or next(chunks, b"")
        if not stream.eof:
            raise BrokenEncoding("the file ends before its zlib stream does")
        rest = stream.unused_data or next(chunks, b"")
        if rest and rest.startswith(_SEGMENT_START[: len(rest)]):
            more, chunks = peeked(_HEAD_BYTES, chunks)
            rest += more
            header, line_feed, rest = rest.partition(b"\n")
            yield b"\n" + header + line_feed


def _as_utf8(windows: Iterator[bytes]) -> Iterator[bytes]:
    first, windows = peeked(4, windows)
    bom = next((bom for bom in _BOMS if first.startswith(bom)), b"")
    encoding = _BOMS[bom] if bom else _by_zero_bytes(first)
    first = first[len(bom) :]
    if encoding == "utf-8":
        yield from _sliced(first)
        yield from windows
        return
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    try:
        for window in itertools.chain((first,), windows):
            # A half of a pair becomes the escape that JSON has for it.
            yield decoder.decode(window).encode("utf-8", "backslashreplace")
        yield decoder.decode(b"", final=True).encode("utf-8", "backslashreplace")
    except UnicodeDecodeError as error:
        raise BrokenEncoding(f"the {encoding.upper()} text is damaged or cut off: {error.reason}") from None


def _by_zero_bytes(head: bytes) -> str:
    """Return the encoding of JSON text without a byte order mark: its first two characters are ASCII."""
    zeros = "".join("0" if byte == 0 else "x" if byte < 0x80 else "-" for byte in head[:4])
    if not head or head.replace(b"\0", b"")[:1] not in _JSON_STARTS:
        return "utf-8"
    return {
        "x000": "utf-32-le",
        "000x": "utf-32-be",
        "x0x0": "utf-16-le",
        "0x0x": "utf-16-be",
    }.get(zeros, "utf-8")
