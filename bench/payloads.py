"""What the load carries: the corpus as messages and bodies, made before any clock starts.

A payload is named by a small value that both sides understand, the client that sends it and the loop that is
a floor for it, and each builds it for itself, the same bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Literal, NamedTuple, Protocol, cast

import brotli
import zstandard

from bench.corpus import recordings, small_events
from bench.frames import frame

Encoding = Literal["identity", "gzip", "br", "zstd"]
Which = Literal["small", "all"]

MESSAGE_BYTES = 64 << 10
BODY_BYTES = 1_000_000
_CHUNK_BYTES = 1 << 20
_TEXTS_BYTES_MIN = 4 << 20
_BINARY = 0x2  # RFC 6455, 5.2

# As fast senders choose them: browsers' CompressionStream, servers' dynamic answers, zstd's default.
_GZIP_LEVEL, _BROTLI_QUALITY, _ZSTD_LEVEL = 6, 5, 3


class Texts(NamedTuple):
    """Events as they are, one a text message."""

    which: Which
    events_max: int | None = None


class Compressed(NamedTuple):
    """Messages of about ``MESSAGE_BYTES`` decoded, compressed."""

    encoding: Encoding
    stream: Literal["each", "one"] = "each"
    """``each``: a stream a message. ``one``: a single stream over all, flushed where a message ends."""
    times: int = 1
    """How often the corpus is repeated; a single stream can't be sent twice."""
    events_max: int | None = None


class Bodies(NamedTuple):
    """NDJSON bodies of about ``BODY_BYTES`` decoded."""

    encoding: Encoding
    events_max: int | None = None


class Pass(NamedTuple):
    """A payload, ready to be sent once."""

    pieces: list[bytes]
    """What is handed to the kernel at a time: frames one after the other, or one body."""
    events: list[int]
    """How many events are in each piece."""
    raw_bytes: int
    """Of all pieces, decoded, line feeds included."""


class Size(NamedTuple):
    """How much one pass carries."""

    events: int
    pieces: int
    raw_mb: float
    wire_mb: float


def lines(which: Which, events_max: int | None = None) -> list[bytes]:
    """Return the corpus's events in order, all recordings one after the other."""
    chosen = small_events() if which == "small" else [line for part in recordings().values() for line in part]
    return chosen[:events_max]


def grouped(events: Iterable[bytes], target_bytes: int) -> list[list[bytes]]:
    """Put events together until ``target_bytes`` are reached; a larger event stays alone."""
    groups: list[list[bytes]] = []
    group: list[bytes] = []
    size = 0
    for event in events:
        if len(event) >= target_bytes:
            groups += [group, [event]]
            group, size = [], 0
            continue
        group.append(event)
        size += len(event) + 1
        if size >= target_bytes:
            groups.append(group)
            group, size = [], 0
    return [group for group in (*groups, group) if group]


def joined(events: Sequence[bytes]) -> bytes:
    """Return events as NDJSON."""
    return b"\n".join(events) + b"\n"


def compress(text: bytes, encoding: Encoding) -> bytes:
    """Return ``text`` as one whole stream."""
    if encoding == "gzip":
        return zlib.compress(text, _GZIP_LEVEL, wbits=31)
    if encoding == "br":
        return cast(bytes, brotli.compress(text, quality=_BROTLI_QUALITY))
    if encoding == "zstd":
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(text)
    return text


class _Stream(Protocol):
    def add(self, text: bytes) -> bytes: ...


class _GzipStream:
    def __init__(self) -> None:
        self._stream = zlib.compressobj(_GZIP_LEVEL, wbits=31)

    def add(self, text: bytes) -> bytes:
        return self._stream.compress(text) + self._stream.flush(zlib.Z_SYNC_FLUSH)


class _BrotliStream:
    def __init__(self) -> None:
        self._stream = brotli.Compressor(quality=_BROTLI_QUALITY)

    def add(self, text: bytes) -> bytes:
        return cast(bytes, self._stream.process(text) + self._stream.flush())


class _ZstdStream:
    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()

    def add(self, text: bytes) -> bytes:
        return self._stream.compress(text) + self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


_STREAMS: dict[Encoding, type[_Stream]] = {"gzip": _GzipStream, "br": _BrotliStream, "zstd": _ZstdStream}


@cache
def messages(payload: Compressed) -> Pass:
    """Return compressed messages, not framed."""
    groups = grouped(lines("all", payload.events_max), MESSAGE_BYTES) * payload.times
    texts = map(joined, groups)
    if payload.stream == "one":
        stream = _STREAMS[payload.encoding]()
        pieces = [stream.add(text) for text in texts]
    else:
        pieces = [compress(text, payload.encoding) for text in texts]
    return Pass(pieces, [len(group) for group in groups], sum(map(_ndjson_bytes, groups)))


@cache
def bodies(payload: Bodies) -> Pass:
    """Return bodies, as they are sent."""
    groups = grouped(lines("all", payload.events_max), BODY_BYTES)
    pieces = [compress(joined(group), payload.encoding) for group in groups]
    return Pass(pieces, [len(group) for group in groups], sum(map(_ndjson_bytes, groups)))


@cache
def frames(payload: Texts | Compressed) -> Pass:
    """Return a payload as WebSocket frames, each with a random mask, in pieces of a megabyte or so."""
    if isinstance(payload, Compressed):
        made = messages(payload)
        framed = [frame(message, opcode=_BINARY) for message in made.pieces]
        return Pass(_chunks(framed), [sum(made.events)], made.raw_bytes)
    events = lines(payload.which, payload.events_max)
    size = _ndjson_bytes(events)
    if payload.events_max is None:
        # So that a pass isn't over in a moment, and its masks are many.
        repeats = -(-_TEXTS_BYTES_MIN // size)
        events, size = events * repeats, size * repeats
    return Pass(_chunks(map(frame, events)), [len(events)], size)


def size_of(payload: Texts | Compressed | Bodies) -> Size:
    """Return how much one pass of a payload carries. Builds it."""
    made = bodies(payload) if isinstance(payload, Bodies) else frames(payload)
    return Size(sum(made.events), len(made.pieces), made.raw_bytes / 1e6, sum(map(len, made.pieces)) / 1e6)


def _ndjson_bytes(events: Sequence[bytes]) -> int:
    return sum(map(len, events)) + len(events)


def _chunks(framed: Iterable[bytes]) -> list[bytes]:
    chunks: list[bytes] = []
    chunk = bytearray()
    for piece in framed:
        chunk += piece
        if len(chunk) >= _CHUNK_BYTES:
            chunks.append(bytes(chunk))
            chunk.clear()
    return [*chunks, bytes(chunk)] if chunk else chunks
