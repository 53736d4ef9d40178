"""The daemon's work on the bytes in a bare loop: inflate, check, compress. No network, no disk, no index.

The fastest competent use of the same libraries: each message inflated in one call to a whole, its UTF-8
looked at, its lines parsed for ``type`` and ``timestamp`` alone, and about as much as a block of the daemon's
compressed at its level. It knows of no limits, no metadata, no repeats, and would crash at the first bad
byte. Like the daemon it parses a line a call: parsing a whole text in one is faster by a tenth, and takes two
events on one line and one event on two for good lines.
"""

from __future__ import annotations

import codecs
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

import brotli
import msgspec
import zstandard
from isal import igzip_lib, isal_zlib

from bench.payloads import Bodies, Compressed, Encoding, bodies, messages
from bench.stage import Turn
from rrd.config import Config
from rrd.wire.events import split_lines

_config = Config()
_T = TypeVar("_T")


class _Event(msgspec.Struct, gc=False):
    type: int
    timestamp: int | float


_decode = msgspec.json.Decoder(_Event).decode
_PART_BYTES = 16 << 10


def work(payload: Compressed | Bodies, times: int = 1) -> Turn:
    """Take in a payload's pieces ``times`` times, and return how long that took."""
    made = messages(payload) if isinstance(payload, Compressed) else bodies(payload)
    is_one = isinstance(payload, Compressed) and payload.stream == "one"
    started = time.perf_counter()
    events = 0
    for _ in range(times):
        inflate = _streaming(payload.encoding) if is_one else _ONE_SHOT[payload.encoding]
        events += _take(map(inflate, made.pieces))
    took = time.perf_counter() - started
    if events != times * sum(made.events):
        raise RuntimeError(f"the loop found {events} events")
    return Turn(took)


def parts(payload: Compressed | Bodies) -> dict[str, Turn]:
    """Return how long each part of the work takes by itself, for one pass of a payload."""
    made = messages(payload) if isinstance(payload, Compressed) else bodies(payload)
    inflate = _ONE_SHOT[payload.encoding]
    texts = [inflate(piece) for piece in made.pieces]
    return {
        "inflate": _timed(inflate, made.pieces),
        "check UTF-8": _timed(_check_utf8, texts),
        "parse": _timed(_parse, texts),
        "compress": _timed(_compress, [texts]),
    }


def _timed(function: Callable[[_T], object], arguments: list[_T]) -> Turn:
    took = 0.0
    for _ in range(2):  # Only the second time counts, when memory has been asked for before.
        started = time.perf_counter()
        for argument in arguments:
            function(argument)
        took = time.perf_counter() - started
    return Turn(took)


def _take(texts: Iterator[bytes]) -> int:
    """Check and compress; return how many events there were."""
    events = 0

    def checked() -> Iterator[bytes]:
        nonlocal events
        for text in texts:
            _check_utf8(text)
            events += len(_parse(text))
            yield text

    _compress(checked())
    return events


def _check_utf8(text: bytes) -> None:
    if text.isascii():
        return
    # In parts, since what they decode to stays in the nearest cache then: three times as fast as all at once.
    view, at = memoryview(text), 0
    while at < len(text):
        at += codecs.utf_8_decode(view[at : at + _PART_BYTES], "strict", at + _PART_BYTES >= len(text))[1]


def _parse(text: bytes) -> list[int | float]:
    return [event.timestamp for event in map(_decode, split_lines(text) or ())]


def _compress(texts: Iterable[bytes]) -> None:
    compress = zstandard.ZstdCompressor(level=_config.compression_level).compress
    block: list[bytes] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size >= _config.flush_bytes:
            compress(b"".join(block))
            block.clear()
            size = 0
    compress(b"".join(block))


def _gunzip(data: bytes) -> bytes:
    return igzip_lib.decompress(data, igzip_lib.DECOMP_GZIP)


def _unbrotli(data: bytes) -> bytes:
    return cast(bytes, brotli.decompress(data))


def _as_it_is(data: bytes) -> bytes:
    return data


_ONE_SHOT: dict[Encoding, Callable[[bytes], bytes]] = {
    "identity": _as_it_is,
    "gzip": _gunzip,
    "br": _unbrotli,
    "zstd": zstandard.ZstdDecompressor().decompress,
}


def _streaming(encoding: Encoding) -> Callable[[bytes], bytes]:
    """Return what inflates a stream piece by piece; each piece was flushed, so that it comes out whole."""
    if encoding == "gzip":
        return cast(Callable[[bytes], bytes], isal_zlib.decompressobj(16 + zlib.MAX_WBITS).decompress)
    if encoding == "br":
        return _brotli_stream()
    return zstandard.ZstdDecompressor().decompressobj().decompress


def _brotli_stream() -> Callable[[bytes], bytes]:
    process = cast(Callable[[bytes], bytes], brotli.Decompressor().process)

    def inflate(data: bytes) -> bytes:
        # It hands out what it has in parts, and only an empty one says that there is no more.
        parts = [process(data)]
        while parts[-1]:
            parts.append(process(b""))
        return b"".join(parts)

    return inflate
