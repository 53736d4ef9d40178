"""Events → the bytes that go over a connection.

A ``Packer`` belongs to one connection, since compression may go on from message to message. What can be made
in advance is made once for a process: text frames are masked at the start, with masks turned such that a
stamp laid into any of them looks the same.
"""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Callable
from typing import Any, Protocol, cast

import brotli
import zstandard

from bench.frames import BINARY, TEXT, Agreed, Deflater, frame, masked
from bench.load.events import STAMP_SIZE, Events, Pieces
from bench.load.plan import Encoding, Plan

# As fast senders choose them: browsers' CompressionStream, what servers use for dynamic answers, zstd's
# default.
GZIP_LEVEL, BROTLI_QUALITY, ZSTD_LEVEL = 6, 5, 3

_GZIP_WBITS = 31
_STREAM_WINDOW_BITS = 18
"""Of a stream over a whole socket: a compressor's memory is held for each."""


class Packer(Protocol):
    """Makes what one recording sends."""

    def pack(self, first: int, limit: int) -> bytes:
        """Return events ``first`` to ``limit`` as messages of ``Plan.batch`` each, or as one body."""
        ...


class Workshop:
    """Makes packers; holds what they share."""

    def __init__(self, plan: Plan, events: Events) -> None:
        self.plan = plan
        self.events = events
        self._texts: Pieces | None = None
        if (
            not (plan.is_post or plan.is_binary or plan.is_compressed)
            and plan.deflate == "off"
            and plan.batch == 1
        ):
            mask = os.urandom(4)
            self._texts = _text_frames(events, mask)
            self._masked_stamp = functools.lru_cache(lambda turn: masked(events.stamp(turn), mask))

    def for_socket(self, number: int, agreed: Agreed | None) -> Packer:
        """Return what packs for a WebSocket. ``agreed``: what was made of permessage-deflate."""
        if self._texts is not None:
            return _TextFrames(self.events, number, self._texts, self._masked_stamp)
        is_text = not (self.plan.is_binary or self.plan.is_compressed)
        if self.plan.stream == "one":
            encode = stream_encoder(self.plan.encoding)
        elif agreed is not None:
            encode = Deflater(agreed)
        else:
            encode = encoder(self.plan.encoding)
        return _Frames(
            self.events, number, encode, batch=self.plan.batch, opcode=TEXT if is_text else BINARY,
            is_deflated=agreed is not None,
        )  # fmt: skip

    def for_posts(self, number: int, head: bytes) -> Packer:
        """Return what packs for POST. ``head``: the request's, up to its ``Content-Length``."""
        return _Bodies(self.events, number, encoder(self.plan.encoding), head)


class _TextFrames:
    """One event a text message, masked in advance."""

    def __init__(self, events: Events, number: int, frames: Pieces, stamp: Callable[[int], bytes]) -> None:
        """``stamp`` returns a round's stamp, masked."""
        self._events = events
        self._offset = events.offset(number)
        self._frames = frames
        self._stamp = stamp

    def pack(self, first: int, limit: int) -> bytes:
        packed = [
            self._frames.run(begin, end, self._stamp(turn))
            for turn, begin, end in self._events.runs(self._offset + first, self._offset + limit)
        ]
        return packed[0] if len(packed) == 1 else b"".join(packed)


class _Frames:
    """Messages of some events each."""

    def __init__(
        self,
        events: Events,
        number: int,
        encode: Callable[[bytes], bytes],
        *,
        batch: int,
        opcode: int,
        is_deflated: bool,
    ) -> None:
        self._events = events
        self._number = number
        self._encode = encode
        self._batch = batch
        self._opcode = opcode
        self._is_deflated = is_deflated

    def pack(self, first: int, limit: int) -> bytes:
        return b"".join(
            [self._message(at, min(at + self._batch, limit)) for at in range(first, limit, self._batch)]
        )

    def _message(self, first: int, limit: int) -> bytes:
        lines = self._events.ndjson(self._number, first, limit)
        if self._opcode == TEXT:
            lines = lines[:-1]  # As the rrweb client does: a message's end is a line's end.
        return frame(self._encode(lines), opcode=self._opcode, is_deflated=self._is_deflated)


class _Bodies:
    """A request for each batch."""

    def __init__(self, events: Events, number: int, encode: Callable[[bytes], bytes], head: bytes) -> None:
        self._events = events
        self._number = number
        self._encode = encode
        self._head = head

    def pack(self, first: int, limit: int) -> bytes:
        body = self._encode(self._events.ndjson(self._number, first, limit))
        return b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body)


def _text_frames(events: Events, mask: bytes) -> Pieces:
    """Return all events as masked text frames in two parts, without their stamps.

    The stamp begins at any of four places of a mask's pattern. So each frame's mask is ``mask``, turned such
    that its first byte meets the stamp's first one.
    """
    heads, tails = [], []
    for head, tail in zip(events.heads, events.tails, strict=True):
        turn = -len(head) % 4
        whole = frame(head + bytes(STAMP_SIZE) + tail, mask=mask[turn:] + mask[:turn])
        heads.append(whole[: len(whole) - len(tail) - STAMP_SIZE])
        tails.append(whole[len(whole) - len(tail) :])
    return Pieces(heads, tails)


def encoder(encoding: Encoding) -> Callable[[bytes], bytes]:
    """Return what makes a whole compressed stream of each message."""
    if encoding == "gzip":
        return lambda data: zlib.compress(data, GZIP_LEVEL, wbits=_GZIP_WBITS)
    if encoding == "br":
        return lambda data: cast(bytes, brotli.compress(data, quality=BROTLI_QUALITY))
    if encoding == "zstd":
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress
    return bytes


def stream_encoder(encoding: Encoding) -> Callable[[bytes], bytes]:
    """Return what makes one long stream of all messages, flushed at the end of each."""
    if encoding == "gzip":
        gzip = zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_WBITS)
        return lambda data: gzip.compress(data) + gzip.flush(zlib.Z_SYNC_FLUSH)
    if encoding == "br":
        br: Any = brotli.Compressor(quality=BROTLI_QUALITY, lgwin=_STREAM_WINDOW_BITS)
        return lambda data: br.process(data) + br.flush()
    if encoding == "zstd":
        settings = zstandard.ZstdCompressionParameters.from_level(ZSTD_LEVEL, window_log=_STREAM_WINDOW_BITS)
        zstd = zstandard.ZstdCompressor(compression_params=settings).compressobj()
        return lambda data: zstd.compress(data) + zstd.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    raise ValueError(f"{encoding} makes no stream")
