"""One segment or object in order: small reads out of large ones, and from each block's header to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rrd.segment.format import BLOCK_OVERHEAD, BlockHeader, decode_header

HEADERS_BYTES = 16 << 10
"""What one read of headers takes in. Those of a trickle stand close together: this is some fifty."""


_WIDE_BYTES = 256 << 10
"""What one read takes in where headers stand close together: opening a file costs as much as a few."""


class ReadAhead:
    """A file through its last read, which serves again what lies within it; a ``Readable`` of it alone.

    A file of a few kB is opened once, which after a power cut is most of what looking at it takes.
    """

    def __init__(self, read: Callable[[int, int], bytes], limit: int, *, ahead: int = 0) -> None:
        """``read(offset, size)`` reads the file: ``ahead`` bytes at least, and nothing beyond ``limit``."""
        self._read = read
        self._limit = limit
        self._ahead = ahead
        self._start = 0
        self._data = b""
        self._wide = ahead
        """What the next read of headers takes in."""
        self._found = 0
        """Headers in the last read."""

    def size(self, _: str) -> int:
        return self._limit

    def read(self, _: str, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset``; fewer only at the limit."""
        size = max(0, min(size, self._limit - offset))
        at = offset - self._start
        if not 0 <= at <= len(self._data) - size:
            self._move(offset, size)
            at = 0
        return self._data[at : at + size]

    def take(self, offset: int, size: int) -> bytes:
        """Return what ``read`` does."""
        return self.read("", offset, size)

    def header(self, offset: int, salt: bytes) -> BlockHeader | None:
        """Return the header of the block at ``offset``; None if there is no valid one."""
        at = offset - self._start
        if not 0 <= at <= len(self._data) - BLOCK_OVERHEAD:
            is_dense = self._found * self._ahead > self._wide
            self._wide = min(2 * self._wide, _WIDE_BYTES) if is_dense else self._ahead
            self._found = 0
            self._move(offset, max(BLOCK_OVERHEAD, self._wide))
            at = 0
        self._found += 1
        return decode_header(self._data, salt=salt, offset=offset, at=at)

    def headers(self, offset: int, salt: bytes) -> Iterator[BlockHeader | None]:
        """Yield the headers of all blocks from ``offset`` on; None, and no more, where no whole one is."""
        while offset < self._limit:
            header = self.header(offset, salt)
            if header is None or header.limit_offset > self._limit:
                yield None
                return
            yield header
            offset = header.limit_offset

    def _move(self, offset: int, size: int) -> None:
        self._data = b""  # Not to be kept beside what follows: it may be a large block.
        size = min(max(size, self._ahead), self._limit - offset)
        self._data = self._read(offset, size) if size > 0 else b""
        self._start = offset
