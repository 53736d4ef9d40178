"""Compression that isn't what was declared: the first bytes of a stream say what it is.

Senders forget the header, proxies unpack a body and leave the header, or pack what was packed before. Most
compressions begin with magic numbers that no JSON begins with (``codings``). brotli has none, so it must be
declared; text under its name shows by how JSON begins. The output of decompression is checked once more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rrd.errors import TooLarge
from rrd.wire.codings import BY_NAME, MAGIC_BYTES_MAX, MAGIC_FIRST, Encoding, by_magic, inflater
from rrd.wire.inflate import Inflater

_FIRST_UNSURE = MAGIC_FIRST | {b""}
RATIO_FREE_BYTES = 8 << 20
"""So much may be decoded whatever was received: short streams of one text may be dense, and cost little."""

_HEAD_BYTES = 64
"""So many bytes decide whether something is text. A brotli stream may begin with ``[`` or a quote, but not go
on like JSON for so long."""

_SPACE = rb"[ \t\r\n]*+"
_TEXT = re.compile(
    rb"(?:\xef\xbb\xbf|\xef\xbb?\Z)?" + _SPACE
    + rb"(?:\Z|\[" + _SPACE + rb'(?:[{"\[\]]|\Z)|\{' + _SPACE + rb'(?:["}]|\Z)|"(?:[^\x00-\x1f]|\Z))'
)  # fmt: skip
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class Layers:
    """An ``Inflater`` where the declared encoding may be wrong, missing, or not the only one."""

    def __init__(
        self,
        encoding: Encoding,
        *,
        zstd_window_bytes_max: int,
        bytes_max: int | None = None,
        ratio_max: int | None = None,
    ) -> None:
        """Bound what comes out. ``TooLarge`` is raised beyond the bounds.

        ``bytes_max``: bytes that are decoded only to be decoded again. ``ratio_max``: bytes that either layer
        decodes for each that was received, from ``RATIO_FREE_BYTES`` on, over all chunks so far.
        """
        self._encoding: Encoding = encoding
        self._zstd_window_bytes_max = zstd_window_bytes_max
        self._is_plain = False
        """Nothing was declared, and this body or message is not compressed: then neither layer is used."""
        self._outer = self._inner = _NOTHING
        self._bytes_max = bytes_max
        self._between_bytes = 0
        self._ratio_max = ratio_max
        self._received_bytes = 0
        self._outer_bytes = self._inner_bytes = 0
        """What the layers have decoded."""

    @property
    def at_boundary(self) -> bool:
        """No stream is open: the last one ended, or none has begun."""
        return self._is_plain or (self._outer.at_boundary and self._inner.at_boundary)

    @property
    def memory_bytes(self) -> int:
        """What open streams hold: their state and windows."""
        return 0 if self._is_plain else self._outer.memory_bytes + self._inner.memory_bytes

    @property
    def is_dear(self) -> bool:
        """What comes next may take long, however short it is."""
        outer, inner = self._outer, self._inner
        # Asked for each window, and nearly always in vain.
        if not (outer.has_window or inner.has_window):
            return False
        return not self._is_plain and (outer.is_dear or inner.is_dear)

    @property
    def unfilled_bytes(self) -> int:
        """What the windows of open streams may still take."""
        return 0 if self._is_plain else self._outer.unfilled_bytes + self._inner.unfilled_bytes

    @property
    def has_head(self) -> bool:
        """Some bytes don't tell yet what they are, and ``flush`` would take them."""
        return not self._is_plain and bool(self._outer.head or self._inner.head)

    def windows(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what ``chunk`` adds, in windows that may be empty.

        Raises ``BrokenEncoding`` and ``TooLarge``; then what was yielded is still good.
        """
        self._received_bytes += len(chunk)
        if self._is_plain:
            return iter(_PLAIN.windows(chunk))
        if self._outer is _NOTHING:
            self._is_plain = self._encoding == "identity" and chunk[:1] not in _FIRST_UNSURE
            if self._is_plain:
                return iter(_PLAIN.windows(chunk))
            self._outer = _Layer(self._encoding, self._zstd_window_bytes_max)
        return self._through(self._outer.windows(chunk))

    def flush(self) -> Iterator[bytes]:
        """The message or body ends: yield what had waited for more bytes to tell what it is."""
        if not self.has_head:
            return  # So it is with nearly all messages.
        yield from self._through(self._outer.flush())
        for window in self._inner.flush():
            self._count_inner(window)
            yield window

    def end_message(self) -> None:
        """The next chunk begins a new message. Call after ``flush``."""
        self._between_bytes = 0
        self._is_plain = False
        self._inner.end_message()
        self._outer.end_message()
        if self._encoding == "identity" and self._outer.is_new:
            self._outer = _NOTHING  # The next message may be plain.

    def _through(self, windows: Iterator[bytes]) -> Iterator[bytes]:
        for window in windows:
            if self._outer.is_identity or not window:
                yield window
                continue
            self._outer_bytes += len(window)
            if self._outer_bytes > RATIO_FREE_BYTES:
                self._check_ratio(self._outer_bytes)
            if self._inner is _NOTHING:
                self._inner = _Layer("identity", self._zstd_window_bytes_max)
            for plain in self._inner.windows(window):
                if self._inner.is_compressed:
                    self._count_inner(plain)
                yield plain
            if self._inner.is_compressed and self._bytes_max is not None:
                self._between_bytes += len(window)
                if self._between_bytes > self._bytes_max:
                    raise TooLarge(f"the body is larger than {self._bytes_max} bytes when decoded once")

    def _count_inner(self, window: bytes) -> None:
        if self._inner.is_compressed:
            self._inner_bytes += len(window)
            self._check_ratio(self._inner_bytes)

    def _check_ratio(self, decoded_bytes: int) -> None:
        ratio_max = self._ratio_max
        if ratio_max is None or decoded_bytes <= RATIO_FREE_BYTES:
            return
        if decoded_bytes > ratio_max * self._received_bytes:
            raise TooLarge(
                f"it decodes to more than {ratio_max} times what was sent (inflate_ratio_max); "
                "send it less compressed"
            )

    def rest(self) -> bytes:
        """After an error: return what was decoded, and had waited for more bytes to tell what it is."""
        return self._inner.take_head()


class _Layer:
    """One layer: declared as something, and taken for what its first bytes say."""

    def __init__(self, declared: Encoding, zstd_window_bytes_max: int) -> None:
        self._declared: Encoding = declared
        self._window_bytes_max = zstd_window_bytes_max
        self.head = b""
        """First bytes that don't tell yet."""
        self._inflater: Inflater | None = None
        self.is_identity = self.is_compressed = False
        """What the first bytes said; both are False before."""
        self.has_window = False
        """Its compression uses windows that may be large."""

    @property
    def is_new(self) -> bool:
        """Nothing of a stream has come."""
        return self._inflater is None and not self.head

    @property
    def at_boundary(self) -> bool:
        return not self.head and (self._inflater is None or self._inflater.at_boundary)

    @property
    def memory_bytes(self) -> int:
        return len(self.head) + (0 if self._inflater is None else self._inflater.memory_bytes)

    @property
    def is_dear(self) -> bool:
        return self._inflater is not None and self._inflater.is_dear

    @property
    def unfilled_bytes(self) -> int:
        return 0 if self._inflater is None else self._inflater.unfilled_bytes

    def windows(self, chunk: bytes) -> Iterator[bytes]:
        if self._inflater is None:
            chunk = self.take_head() + chunk
            encoding = encoding_in(chunk, self._declared, is_whole=False)
            if encoding is None:
                self.head = chunk
                return
            self._begin(encoding)
        assert self._inflater is not None
        yield from self._inflater.windows(chunk)

    def take_head(self) -> bytes:
        head, self.head = self.head, b""
        return head

    def flush(self) -> Iterator[bytes]:
        if head := self.take_head():
            inflating = self._begin(encoding_in(head, self._declared, is_whole=True) or self._declared)
            yield from inflating.windows(head)

    def _begin(self, encoding: Encoding) -> Inflater:
        self.is_identity = encoding == "identity"
        self.is_compressed = not self.is_identity
        self._inflater = (
            _PLAIN if self.is_identity else inflater(encoding, zstd_window_bytes_max=self._window_bytes_max)
        )
        self.has_window = self._inflater.has_window
        return self._inflater

    def end_message(self) -> None:
        if self._inflater is not None:
            self._inflater.end_message()
            if self._inflater.at_boundary:
                self._inflater = None


_PLAIN = inflater("identity", zstd_window_bytes_max=0)
_NOTHING = _Layer("identity", 0)
"""Stands for a layer as long as there was no need for it; never given anything."""


def encoding_in(head: bytes, declared: Encoding, *, is_whole: bool) -> Encoding | None:
    """Return what a stream is that begins with ``head``; None if more of it is needed to tell."""
    found: Encoding | None = declared
    # A compression without a magic number may begin with that of another.
    may_have_magic = head[:1] in MAGIC_FIRST and (declared == "identity" or bool(BY_NAME[declared].magics))
    if may_have_magic and (coding := by_magic(head)):
        found = coding.name
    elif not is_whole and (not head or (may_have_magic and len(head) < MAGIC_BYTES_MAX)):
        found = None
    elif declared != "identity" and _TEXT.match(head):
        is_enough = is_whole or len(head) >= _HEAD_BYTES
        if not _CONTROL.search(head[:_HEAD_BYTES]):
            found = "identity" if is_enough else None
    return found
