"""The compressions that a sender may use: one table. A new row here is all that one more needs.

A body, a message, a file and an answer are compressed by the same *content codings* (RFC 9110, 8.4.1). Every
part of rrd that names one asks this table: the check of ``Content-Encoding``, the guess from a stream's first
bytes, the decoder, the names of the files that an import reads, and the compression of answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

import brotli
import zstandard
from isal import isal_zlib

from rrd.wire.inflate import Brotli, Gzip, Inflater, Uncompressed, Zstd

Encoding = Literal["identity", "gzip", "br", "zstd"]
"""The names of the table below, for the type checker."""


class Compressor(Protocol):
    """Compresses one answer. Blocking."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Compressor(quality=4)

    def compress(self, data: bytes, /) -> bytes:
        part: bytes = self._stream.process(data)
        return part

    def flush(self) -> bytes:
        part: bytes = self._stream.finish()
        return part


class Coding(NamedTuple):
    """One way to compress, or none."""

    name: Encoding
    """As ``Content-Encoding`` names it, and as rrd's own answers do."""
    spellings: tuple[str, ...]
    """What senders write for it, in lower case; ``name`` among them."""
    suffix: str
    """How the name of a file ends that is compressed so."""
    magics: tuple[bytes, ...]
    """The numbers that one of its streams begins with. None: it must be declared, or be in a file's name."""
    inflater: Callable[[int], Inflater]
    """Makes one for a fresh stream. The argument is ``zstd_window_bytes_max``."""
    compressor: Callable[[], Compressor] | None
    """Makes one for an answer; None: no answer comes so."""
    media_types: tuple[str, ...] = ()
    """Content types that name the compression where ``Content-Encoding`` should."""


IDENTITY = Coding(
    "identity",
    # The last three are no codings, but senders write them.
    spellings=("identity", "", "none", "utf-8", "utf8"),
    suffix="",
    magics=(),
    inflater=lambda _: Uncompressed(),
    compressor=None,
)

CODINGS = (
    Coding(
        "gzip",
        spellings=("gzip", "x-gzip"),
        suffix=".gz",
        magics=(b"\x1f\x8b",),  # RFC 1952, 2.3.1
        inflater=lambda _: Gzip(),
        compressor=lambda: isal_zlib.compressobj(2, isal_zlib.DEFLATED, 31),
        media_types=("application/gzip", "application/x-gzip"),
    ),
    Coding(
        "br",
        spellings=("br",),
        suffix=".br",
        magics=(),  # RFC 7932 has none, and a stream may begin with that of gzip.
        inflater=lambda _: Brotli(),
        compressor=_Brotli,
    ),
    Coding(
        "zstd",
        spellings=("zstd",),
        suffix=".zst",
        # RFC 8878, 3.1.1 and 3.1.2: a frame, or one of sixteen kinds of skippable frames.
        magics=(b"\x28\xb5\x2f\xfd", *(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))),
        inflater=Zstd,
        compressor=lambda: zstandard.ZstdCompressor(level=3).compressobj(),
        media_types=("application/zstd",),
    ),
)
"""Each compression. Where a reader has no preference between several, its answer takes the last of them."""

BY_NAME: dict[str, Coding] = {coding.name: coding for coding in (IDENTITY, *CODINGS)}
BY_SPELLING: dict[str, Coding] = {
    spelling: coding for coding in (IDENTITY, *CODINGS) for spelling in coding.spellings
}

NAMES = ", ".join(coding.name for coding in CODINGS[:-1]) + f" or {CODINGS[-1].name}"
"""For messages: "gzip, br or zstd"."""

_BY_FIRST = {magic[:1]: coding for coding in CODINGS for magic in coding.magics}
"""By the first byte of a magic number, of which no two begin with the same."""

MAGIC_FIRST = frozenset(_BY_FIRST)
"""Most text is told from all magic numbers by its first byte."""

MAGIC_BYTES_MAX = max(len(magic) for coding in CODINGS for magic in coding.magics)


def by_magic(head: bytes) -> Coding | None:
    """Return the compression of a stream that begins with ``head``, if it begins with a magic number."""
    coding = _BY_FIRST.get(head[:1])
    return coding if coding is not None and head.startswith(coding.magics) else None


def inflater(encoding: Encoding, *, zstd_window_bytes_max: int) -> Inflater:
    """Return a fresh inflater. ``zstd_window_bytes_max`` bounds the memory a zstd frame may ask for."""
    return BY_NAME[encoding].inflater(zstd_window_bytes_max)
