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


class KeptWindow:
    """The window of one socket. It takes its size and an eighth at most, and less packed."""

    __slots__ = ("_at", "_packed", "_ring", "bytes_max")

    def __init__(self, bytes_max: int = WINDOW_BYTES) -> None:
        """``bytes_max`` is how far back the client may refer, and positive."""
        self.bytes_max = bytes_max
        self._ring = bytearray()
        """What came last: it grows to ``bytes_max``, and from then on the oldest is written over."""
        self._at = 0
        """Where the oldest byte is, once it is full; 0 before."""
        self._packed = b""

    def add(self, plain: bytes) -> None:
        """``plain`` was inflated, behind all that was before. The window is not packed."""
        ring, bytes_max = self._ring, self.bytes_max
        size = len(plain)
        if size >= bytes_max:
            ring[:] = plain[size - bytes_max :]
            self._at = 0
            return
        room = bytes_max - len(ring)
        if room:
            ring += plain[:room]
            plain = plain[room:]
            size = len(plain)
        at = self._at
        limit = at + size
        if limit < bytes_max:
            ring[at:limit] = plain
            self._at = limit
        else:
            cut = bytes_max - at
            ring[at:] = plain[:cut]
            self._at = size - cut
            ring[: self._at] = plain[cut:]

    def clear(self) -> None:
        self._ring, self._at, self._packed = bytearray(), 0, b""

    def content(self) -> bytes:
        """Return what later blocks may refer to, and unpack it."""
        if self._packed:
            content = _unpacker.decompress(self._packed)
            self._ring[:], self._packed = content, b""
            return content
        ring, at = self._ring, self._at
        return bytes(ring[at:] + ring[:at]) if at else bytes(ring)

    def pack(self) -> None:
        """Take less room, if it is text; ``content`` unpacks it."""
        if self._ring:
            # A copy: the library leaves as much room behind it as the worst case takes.
            self._packed = bytes(memoryview(_packer.compress(self.content())))
            self._ring, self._at = bytearray(), 0


_packer = zstandard.ZstdCompressor(level=1, write_checksum=False)
_unpacker = zstandard.ZstdDecompressor()
