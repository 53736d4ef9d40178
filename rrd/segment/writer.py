"""One segment that is appended to: knows its file, its salt and its durable size.

A segment never has two blocks that are not synced: ``write`` may be called again only after
``synced`` or ``undo``.
"""

from __future__ import annotations

import contextlib
import os

import zstandard

from rrd.disk.disk import Disk
from rrd.segment.format import BlockDraft, FrameMaker, Identity, encode_block, encode_identity

_QUICK_LEVEL = -1
_QUICK_BYTES_MAX = 512
"""A negative level leaves out the entropy coding of literals, which is most of the work where there is little
to code. Blocks of one rrweb event of 270 bytes: 1.7 us instead of 3.9, and 10 % more in the file, header
included, until the roll-up compresses them anew. At 2 KiB it would be 6 us instead of 8, and 25 % more."""


class BlockCompressor:
    """Compresses what blocks hold at a level of zstd, 1 to 19; small ones at a cheap one. Not thread-safe."""

    __slots__ = ("_quick", "_usual")

    def __init__(self, level: int) -> None:
        self._usual = zstandard.ZstdCompressor(level=level)
        self._quick = zstandard.ZstdCompressor(level=_QUICK_LEVEL)

    def compress(self, data: bytes, /) -> bytes:
        return (self._usual if len(data) > _QUICK_BYTES_MAX else self._quick).compress(data)


class SegmentWriter:
    """An active segment. Not thread-safe; one thread at a time may use it."""

    __slots__ = (
        "_compressor",
        "_disk",
        "_handle",
        "_salt",
        "_written",
        "identity",
        "is_new",
        "path",
        "size",
        "usable",
    )

    def __init__(
        self, disk: Disk, path: str, identity: Identity, *, size: int, compressor: FrameMaker
    ) -> None:
        """Take up a segment of ``size`` durable bytes; 0 means that its file is still to be made."""
        self._disk = disk
        self._compressor = compressor
        self._handle: int | None = None
        self._salt = bytes.fromhex(identity.salt)
        self._written = size
        self.path = path
        self.identity = identity
        self.size = size
        """Durable size, bytes: everything below is synced."""
        self.is_new = size == 0
        """Its directory entry is not synced yet."""
        self.usable = True
        """False after a failure that leaves the end of the file unknown: never append again."""

    @property
    def is_open(self) -> bool:
        return self._handle is not None

    def write(self, draft: BlockDraft) -> int:
        """Append one block (and the identity before the first) and return its offset.

        Given to the OS, not safe: ``sync`` and ``synced`` follow, or ``undo``.
        Raises ``OSError``; what was written in part is for ``undo``.
        """
        size = self.size
        assert self.usable
        assert self._written == size, "the block before is not synced"
        head = b"" if size else encode_identity(self.identity)
        offset = size + len(head)
        block = encode_block(draft, salt=self._salt, offset=offset, compressor=self._compressor)
        if self._handle is None:
            try:
                self._handle = self._disk.open_append(self.path, create=self.size == 0)
            except (FileExistsError, FileNotFoundError):
                # Not the file that we know: it must neither be appended to nor removed.
                self.usable = False
                raise
        self._disk.write(self._handle, head + block if head else block)
        self._written = offset + len(block)
        return offset

    def sync(self) -> None:
        """Sync the file itself (not its directory)."""
        assert self._handle is not None
        self._disk.sync(self._handle)

    def synced(self) -> None:
        """The written block, and the directory entry of a new file, are on disk."""
        self.size = self._written
        self.is_new = False

    def undo(self, *, after_sync: bool) -> None:
        """Go back to the durable size after a failed write or sync.

        A failed sync is not repaired: the kernel may have dropped the pages and
        would report success the next time, so the segment is not used again.
        """
        touched = self._handle is not None or self._written != self.size
        self._written = self.size
        if after_sync:
            self.usable = False
        with contextlib.suppress(OSError):
            # What closing could report is about bytes that are thrown away.
            self.close()
        if not touched:
            return
        try:
            if self.size > 0:
                self._disk.truncate(self.path, self.size)
            else:
                self._disk.unlink(self.path)
        except OSError:
            self.usable = False

    def is_there(self) -> bool:
        """Tell whether the file is still at its path, with its durable size. Raises ``OSError``."""
        try:
            return self._disk.size(self.path) == self.size
        except (FileNotFoundError, NotADirectoryError):
            return False

    def abandon(self, size: int) -> None:
        """Never append again, and leave what is at the path alone: it is not this file.

        The file goes back to ``size``, since it may have been moved, and may come back. Nothing depends on
        that: what is cut off was not acked.
        """
        self.usable = False
        self.size = self._written = size
        with contextlib.suppress(OSError):
            if self._handle is not None:
                self._disk.cut(self._handle, size)
                self._disk.sync(self._handle)
        with contextlib.suppress(OSError):
            self.close()

    def close(self) -> None:
        """Let go of the file handle; the next ``write`` opens it again."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            self._disk.close(handle)

    @property
    def directory(self) -> str:
        return os.path.dirname(self.path)
