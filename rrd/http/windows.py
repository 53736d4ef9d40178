"""The window of what was inflated last: all that a later message of a socket may refer to (RFC 7692, 7.2.2).

It is kept here, and not in a library's stream alone: so a stream may close and another begin after any
message, or after a last block, of whichever library. It is as large as was agreed on with the client
(7.1.2.2), 32 KiB at most; text can be packed to a third of that or less.
"""

from __future__ import annotations

import zstandard

BITS_MAX = 15
WINDOW_BYTES = 1 << BITS_MAX
"""How far back deflate refers, at most (RFC 1951, 2)."""

_PARTS_MAX = 64
"""Messages that are kept as they came, before they become one: 8 KiB are copied then, or 32."""


class KeptWindow:
    """The window of one socket. It holds twice its size at most, its size after ``content``, less packed."""

    __slots__ = ("_bytes", "_is_packed", "_kept", "_parts", "bytes_max")

    def __init__(self, bytes_max: int = WINDOW_BYTES) -> None:
        """``bytes_max`` is how far back the client may refer, and positive."""
        self.bytes_max = bytes_max
        self._parts: list[bytes] = []
        """What came last, in order; nothing while the window is packed."""
        self._bytes = 0
        """Of ``_parts``."""
        self._kept = b""
        self._is_packed = False

    def add(self, plain: bytes) -> None:
        """``plain`` was inflated, behind all that was before. The window is not packed."""
        size = len(plain)
        if size >= self.bytes_max:
            self._parts, self._bytes = [plain[size - self.bytes_max :]], self.bytes_max
            return
        self._parts.append(plain)
        self._bytes += size
        if self._bytes >= 2 * self.bytes_max or len(self._parts) >= _PARTS_MAX:
            self.content()

    def clear(self) -> None:
        self._kept, self._is_packed = b"", False
        self._parts, self._bytes = [], 0

    def content(self) -> bytes:
        """Return what later blocks may refer to, and unpack it."""
        if self._is_packed:
            content = _unpacker.decompress(self._kept)
            self._kept, self._is_packed = b"", False
        elif len(self._parts) == 1:
            return self._parts[0]
        else:
            content = b"".join(self._parts)
            if len(content) > self.bytes_max:
                content = content[-self.bytes_max :]
        self._parts, self._bytes = [content], len(content)
        return content

    def pack(self) -> None:
        """Take less room, if it is text; ``content`` unpacks it."""
        if self._is_packed or not self._bytes:
            return
        # A copy: the library leaves as much room behind it as the worst case takes.
        self._kept = bytes(memoryview(_packer.compress(self.content())))
        self._is_packed = True
        self._parts, self._bytes = [], 0


_packer = zstandard.ZstdCompressor(level=1, write_checksum=False)
_unpacker = zstandard.ZstdDecompressor()
