"""What a recording's files hold already, as far as finding repeats needs to know.

A ``History`` is loaded when the first event comes that could be a repeat, by hopping over block
headers, and kept up to date until the recording is let go. Blocking: used in worker threads.
"""

from __future__ import annotations

import contextlib
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from rrd.errors import CorruptSegment
from rrd.segment.disk import Disk
from rrd.segment.format import (
    BLOCK_OVERHEAD,
    IDENTITY_READ_SIZE,
    BlockHeader,
    decode_header,
    decode_identity,
)
from rrd.segment.reader import read_events, read_notes
from rrd.segment.scan import scan

LINE_KEYS_BYTES_MAX = 64 << 20
"""Memory for the keys of lines in blocks that were looked up lately, over all recordings."""

_METADATA_DIGESTS_MAX = 10_000


def line_keys(lines: Sequence[bytes]) -> list[int]:
    """Return a 64-bit key for each line, the same for equal lines for as long as the process lives."""
    return list(map(hash, lines))


def metadata_digest(line: bytes) -> str:
    """Return the digest of a ``recording-meta`` line that its notes carry (FORMAT.md)."""
    return blake2b(line, digest_size=8).hexdigest()


class LineKeys:
    """Least-recently-used cache of blocks' line keys, bounded in bytes. Threads may share it."""

    def __init__(self, *, bytes_max: int = LINE_KEYS_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._blocks: OrderedDict[tuple[str, int], array[int]] = OrderedDict()
        self._lock = threading.Lock()
        self.held_bytes = 0

    def get(self, disk: Disk, path: str, header: BlockHeader) -> Sequence[int]:
        """Return the keys of a block's lines, from memory or from its file."""
        place = (path, header.offset)
        with self._lock:
            keys = self._blocks.get(place)
            if keys is not None:
                self._blocks.move_to_end(place)
                return keys
        keys = array("q", line_keys(read_events(disk, path, header)[:-1].split(b"\n")))
        size = keys.itemsize * len(keys)
        with self._lock:
            if size <= self._bytes_max and place not in self._blocks:
                self._blocks[place] = keys
                self.held_bytes += size
            while self.held_bytes > self._bytes_max:
                _, dropped = self._blocks.popitem(last=False)
                self.held_bytes -= dropped.itemsize * len(dropped)
        return keys


class History:
    """The blocks of one recording: 32 bytes of memory each."""

    def __init__(self, disk: Disk, cache: LineKeys) -> None:
        self._disk = disk
        self._cache = cache
        self._first_ts = array("d")
        self._last_ts = array("d")
        self._offsets = array("Q")
        self._segments = array("Q")
        self._files: list[tuple[str, bytes]] = []
        self.metadata_digests: OrderedDict[str, None] = OrderedDict()
        """Digests of the ``recording-meta`` lines that were applied, the latest 10,000."""

    def load(self, path: str, size: int) -> None:
        """Take up all blocks of a segment up to its durable size. Raises ``OSError``."""
        found = scan(self._disk, path, limit=size)
        if found.identity is None:
            return
        for header in found.blocks:
            if header.event_count:
                self.add(path, bytes.fromhex(found.identity.salt), header)
            if header.notes_size:
                # As for lines: what can't be read can't be compared.
                with contextlib.suppress(CorruptSegment):
                    for note in read_notes(self._disk, path, header)[0]:
                        self.add_digest(note.event)

    def add(self, path: str, salt: bytes, header: BlockHeader) -> None:
        """Take up a block that has events."""
        if not self._files or self._files[-1][0] != path:
            self._files.append((path, salt))
        self._first_ts.append(header.first_ts)
        self._last_ts.append(header.last_ts)
        self._offsets.append(header.offset)
        self._segments.append(len(self._files) - 1)

    def add_stored(self, path: str, offset: int) -> None:
        """Take up a block that was just written at ``offset``, by reading its header."""
        head = self._disk.read(path, 0, IDENTITY_READ_SIZE)
        found = decode_identity(head)
        assert found is not None
        salt = bytes.fromhex(found[0].salt)
        header = decode_header(self._disk.read(path, offset, BLOCK_OVERHEAD), salt=salt, offset=offset)
        assert header is not None
        if header.event_count:
            self.add(path, salt, header)

    def add_digest(self, digest: str) -> None:
        """Remember a ``recording-meta`` line that was applied."""
        if digest:
            self.metadata_digests[digest] = None
            if len(self.metadata_digests) > _METADATA_DIGESTS_MAX:
                self.metadata_digests.popitem(last=False)

    def blocks_between(self, first_ts: float, last_ts: float) -> Iterator[tuple[int, Sequence[int]]]:
        """Yield sender and line keys of each block whose time range meets ``[first_ts, last_ts]``."""
        for index in range(len(self._offsets)):
            if self._first_ts[index] <= last_ts and self._last_ts[index] >= first_ts:
                path, salt = self._files[self._segments[index]]
                offset = self._offsets[index]
                header = decode_header(
                    self._disk.read(path, offset, BLOCK_OVERHEAD), salt=salt, offset=offset
                )
                if header is None:
                    continue
                try:
                    keys = self._cache.get(self._disk, path, header)
                except CorruptSegment:
                    # What can't be read can't be compared. Readers of the recording are told.
                    continue
                yield header.source, keys
