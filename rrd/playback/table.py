"""The blocks of one recording, as a compact table read from their headers.

A recording that trickles for a day has a hundred thousand blocks, so a row is 124 bytes in a buffer
rather than objects (0.6 kB a block), and headers are read in hops: nothing of a payload is read here.

A table is a snapshot. Segments may grow meanwhile (the table ends at their durable sizes) and may be
sealed, which moves their files: ``SegmentFile`` looks in both places.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from rrd.errors import CorruptSegment
from rrd.index.rows import SegmentRow, SegmentState
from rrd.layout import SegmentName, active_path, sealed_path
from rrd.segment.disk import Disk
from rrd.segment.format import (
    BLOCK_OVERHEAD,
    IDENTITY_READ_SIZE,
    BlockHeader,
    Identity,
    decode_header,
    decode_identity,
)

_T = TypeVar("_T")

_ROW = struct.Struct("<IQIIQddQqQQIIIII")
"""Number of the file in the table, then the fields of a ``BlockHeader`` in order."""

_WINDOW_BYTES = 16 << 10
"""What one read of headers takes in. Headers of a trickle stand close together: this is some fifty."""
assert _WINDOW_BYTES >= IDENTITY_READ_SIZE


class Snapshot(NamedTuple):
    """What to read: a recording's segments in order, each up to its durable size."""

    tenant: str
    recording: str
    segments: tuple[SegmentRow, ...]


class SegmentFile:
    """The file of one segment, wherever it lies at the moment."""

    __slots__ = ("_paths", "name")

    def __init__(self, data_dir: str, name: SegmentName, state: SegmentState) -> None:
        paths = active_path(data_dir, name), sealed_path(data_dir, name)
        self._paths = paths if state == "active" else paths[::-1]
        self.name = name

    @property
    def path(self) -> str:
        """Where it was found last."""
        return self._paths[0]

    def read(self, read: Callable[[str], _T]) -> _T:
        """Return ``read(path)`` for the path at which the file is found.

        Raises ``FileNotFoundError`` if it is at neither, and whatever else ``read`` raises.
        """
        here, there = self._paths
        # The first is tried again, for a file that was moved from there to here meanwhile.
        for path in (here, there):
            try:
                found = read(path)
            except FileNotFoundError:
                continue
            self._paths = (here, there) if path == here else (there, here)
            return found
        return read(here)


class Table:
    """Blocks with events, numbered from 0 in the order of their arrival."""

    __slots__ = ("_rows", "event_count", "files", "first_ts", "last_ts", "recording")

    def __init__(self, recording: str) -> None:
        self._rows = bytearray()
        self.recording = recording
        self.files: list[SegmentFile] = []
        self.event_count = 0
        """Events of all blocks together."""
        self.first_ts = array("d")
        """Least timestamp of each block, ms."""
        self.last_ts = array("d")

    def __len__(self) -> int:
        return len(self.first_ts)

    def add(self, header: BlockHeader) -> None:
        """Append a block of the file that ``files`` ends with. A block without events is left out."""
        if header.event_count == 0:
            return
        self._rows += _ROW.pack(len(self.files) - 1, *header)
        self.event_count += header.event_count
        self.first_ts.append(header.first_ts)
        self.last_ts.append(header.last_ts)

    def block(self, number: int) -> tuple[SegmentFile, BlockHeader]:
        file, *fields = _ROW.unpack_from(self._rows, number * _ROW.size)
        return self.files[file], BlockHeader(*fields)


def plan(disk: Disk, data_dir: str, snapshot: Snapshot) -> Table:
    """Read the headers of all blocks of a recording. Blocking: some 5 µs a block.

    Raises ``CorruptSegment`` if anything is not as it was when it was acked: a header that doesn't
    check out, a file that is too short, events missing before or between segments. Raises ``OSError`` if a
    file can't be read.
    """
    table = Table(snapshot.recording)
    next_seq = 1
    for row in snapshot.segments:
        if row.size == 0:
            continue
        name = SegmentName(snapshot.tenant, snapshot.recording, row.number)
        table.files.append(SegmentFile(data_dir, name, row.state))
        next_seq = _read_headers(disk, table, row.size, next_seq)
    return table


def _read_headers(disk: Disk, table: Table, size: int, next_seq: int) -> int:
    """Add one segment's blocks and return the sequenceId after its last event."""
    windows = _Windows(disk, table.files[-1], size)
    identity, offset = windows.identity()
    if identity.first_seq != next_seq:
        raise windows.corrupt(f"begins with sequenceId {identity.first_seq} where {next_seq} should stand", 0)
    for header in windows.headers(bytes.fromhex(identity.salt), offset):
        if header.first_seq != next_seq:
            raise windows.corrupt(
                f"sequenceId {header.first_seq} where {next_seq} should stand", header.offset
            )
        table.add(header)
        next_seq = header.limit_seq
    return next_seq


class _Windows:
    """A segment's headers through a read-ahead that never goes beyond the durable size."""

    def __init__(self, disk: Disk, file: SegmentFile, size: int) -> None:
        self._disk = disk
        self._file = file
        self._size = size

    def identity(self) -> tuple[Identity, int]:
        """Return the file's identity and the offset of its first block."""
        file_size = self._file.read(self._disk.size)
        if file_size < self._size:
            raise self.corrupt(f"acked up to byte {self._size}, but the file ends", file_size)
        found = decode_identity(self._read(0))
        if found is None or found[0].name != self._file.name:
            raise self.corrupt("identity is damaged or another segment's", 0)
        return found

    def headers(self, salt: bytes, offset: int) -> Iterator[BlockHeader]:
        """Yield the headers of all blocks from ``offset`` on."""
        window, start = b"", offset
        while offset < self._size:
            if offset - start + BLOCK_OVERHEAD > len(window):
                window, start = self._read(offset), offset
            header = decode_header(window, salt=salt, offset=offset, at=offset - start)
            if header is None or header.limit_offset > self._size:
                raise self.corrupt("no valid block", offset)
            yield header
            offset = header.limit_offset

    def corrupt(self, message: str, offset: int) -> CorruptSegment:
        return CorruptSegment(message, path=self._file.path, offset=offset)

    def _read(self, offset: int) -> bytes:
        size = min(_WINDOW_BYTES, self._size - offset)
        return self._file.read(lambda path: self._disk.read(path, offset, size))
