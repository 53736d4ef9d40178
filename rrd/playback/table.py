"""The blocks of one recording, as a compact table read from their headers.

A recording that trickles for a day has a hundred thousand blocks, so a row is 124 bytes in a buffer
rather than objects (0.6 kB a block), and headers are read in hops: nothing of a payload is read here. Of
an object its own table is read, which is one request.

A table is a snapshot. Segments may grow meanwhile (the table ends at their durable sizes), may be sealed,
which moves their files, and once they are rolled up, their files may go: ``sources`` finds their events all
the same.

Where an object is published and its segments are still here, the local files are read, which is faster and
needs no bucket; anything wrong with them, and the object is read instead.
"""

from __future__ import annotations

import struct
from array import array
from math import inf
from typing import NamedTuple

from rrd.disk.disk import Disk
from rrd.errors import CorruptSegment
from rrd.objects.files import ObjectFiles
from rrd.playback.sources import BlockFile, ObjectFile, SegmentFile, tell_of_local_copy
from rrd.segment.format import HEADER_FIELDS, IDENTITY_READ_SIZE, BlockHeader, decode_identity
from rrd.segment.walk import HEADERS_BYTES, ReadAhead
from rrd.shelf.holdings import Holding, Holdings
from rrd.shelf.shelf import Shelf

_ROW = struct.Struct(f"<IQ{HEADER_FIELDS}")
"""Number of the file in the table, then the fields of a ``BlockHeader`` in order."""


class Between(NamedTuple):
    """A range of timestamps, in ms: from ``start`` on, and before ``limit``."""

    start: float
    limit: float

    def meets(self, first_ts: float, last_ts: float) -> bool:
        """Tell whether there may be an event in it where the least and greatest timestamps are these."""
        return first_ts < self.limit and last_ts >= self.start

    def holds(self, first_ts: float, last_ts: float) -> bool:
        """Tell whether all such events are in it."""
        return first_ts >= self.start and last_ts < self.limit


ALWAYS = Between(-inf, inf)


class PlaybackTable:
    """Blocks with events in a range of time, numbered from 0 in the order of their arrival."""

    __slots__ = (
        "_rows",
        "between",
        "data_size",
        "data_size_max",
        "event_count",
        "files",
        "first_ts",
        "last_ts",
        "recording_id",
    )

    def __init__(self, recording_id: str, between: Between = ALWAYS) -> None:
        self._rows = bytearray()
        self.recording_id = recording_id
        self.between = between
        self.files: list[BlockFile] = []
        self.event_count = 0
        """Events of all these blocks together, those outside the range included."""
        self.data_size = 0
        """Bytes of all these blocks' data, as it is stored."""
        self.data_size_max = 0
        """No block's data has more bytes."""
        self.first_ts = array("d")
        """Least timestamp of each block, ms, or where the range begins if that is more."""
        self.last_ts = array("d")
        """Greatest timestamp of each block, or where the range ends if that is less."""

    def __len__(self) -> int:
        return len(self.first_ts)

    def add(self, header: BlockHeader) -> None:
        """Append a block of the file that ``files`` ends with. One without events in range is left out."""
        if header.event_count == 0 or not self.between.meets(header.first_ts, header.last_ts):
            return
        self._rows += _ROW.pack(len(self.files) - 1, *header)
        self.event_count += header.event_count
        self.data_size += header.data_size
        self.data_size_max = max(self.data_size_max, header.data_size)
        self.first_ts.append(max(header.first_ts, self.between.start))
        self.last_ts.append(min(header.last_ts, self.between.limit))

    def block(self, number: int) -> tuple[BlockFile, BlockHeader]:
        file, *fields = _ROW.unpack_from(self._rows, number * _ROW.size)
        return self.files[file], BlockHeader(*fields)

    @property
    def is_local(self) -> bool:
        """No block is read from an object, unless local files go away meanwhile."""
        return not any(
            isinstance(file, ObjectFile) or getattr(file, "is_object", False) for file in self.files
        )

    def cut(self, blocks: int, files: int) -> None:
        """Take away all but the first so many blocks and files."""
        for number in range(blocks, len(self)):
            header = self.block(number)[1]
            self.event_count -= header.event_count
            self.data_size -= header.data_size
        del self._rows[blocks * _ROW.size :]
        del self.first_ts[blocks:]
        del self.last_ts[blocks:]
        del self.files[files:]


def plan(
    disk: Disk, files: ObjectFiles, data_dir: str, holdings: Holdings, *, between: Between = ALWAYS
) -> PlaybackTable:
    """Read the headers of all blocks of a recording. Blocking: some 5 µs a local block, a request an object.

    With ``between``, only blocks that may have such events are listed, and of objects without any not
    even the table is read. Raises ``CorruptSegment`` if anything is not as it was when it was acked: a header
    that doesn't check out, a file that is too short or an object that is missing, events missing before or
    between them. Raises ``StoreAway`` if an object is needed and the store is away, ``OSError`` if a file
    can't be read and no object stands for it: ``FileNotFoundError`` may mean that ``holdings`` are too old.
    """
    planner = _Planner(disk, data_dir, holdings, PlaybackTable(holdings.recording_id, between))
    for holding in holdings.in_order():
        if holding.object is None:
            planner.add_segments(holding, None)
        else:
            rolled = ObjectFile(files, holdings, holding.object)
            if not (holding.is_local and planner.try_segments(holding, rolled)):
                planner.add_object(rolled)
    return planner.table


class _Planner:
    """A table that is being filled, run by run."""

    def __init__(self, disk: Disk, data_dir: str, holdings: Holdings, table: PlaybackTable) -> None:
        self.table = table
        self._disk = disk
        self._shelf = Shelf(disk, data_dir)
        self._holdings = holdings
        self._next_seq = 1

    def add_object(self, rolled: ObjectFile) -> None:
        """Add the blocks of an object."""
        row, between = rolled.row, self.table.between
        if row.first_seq != self._next_seq:
            raise _out_of_order(rolled.path, row.first_seq, self._next_seq)
        if row.first_ts is not None and row.last_ts is not None and between.meets(row.first_ts, row.last_ts):
            self.table.files.append(rolled)
            for header in rolled.headers():
                self.table.add(header)
        self._next_seq += row.event_count

    def try_segments(self, holding: Holding, rolled: ObjectFile) -> bool:
        """Add the blocks of an object's segments, or return False and add nothing."""
        blocks, files, next_seq = len(self.table), len(self.table.files), self._next_seq
        try:
            self.add_segments(holding, rolled)
            if self._next_seq == rolled.row.first_seq + rolled.row.event_count:
                return True
        except (OSError, CorruptSegment) as error:
            # Evicted just now, or damaged; the object has it all.
            tell_of_local_copy(error, rolled)
        self.table.cut(blocks, files)
        self._next_seq = next_seq
        return False

    def add_segments(self, holding: Holding, rolled: ObjectFile | None) -> None:
        """Add the blocks of local files."""
        for row in holding.segments:
            if row.size > 0:
                name = self._holdings.name(row.number)
                file = SegmentFile(self._shelf, name, row.state, rolled=rolled)
                self.table.files.append(file)
                self._add_segment(file, row.size)

    def _add_segment(self, file: SegmentFile, size: int) -> None:
        def corrupt(message: str, offset: int) -> CorruptSegment:
            return CorruptSegment(message, path=file.path, offset=offset)

        file_size = file.read(self._disk.size)
        if file_size < size:
            raise corrupt(f"acked up to byte {size}, but the file ends", file_size)
        window = ReadAhead(file.bytes_at, size, ahead=HEADERS_BYTES)
        found = decode_identity(window.take(0, IDENTITY_READ_SIZE))
        if found is None or found[0].name != file.name or found[0].is_object:
            raise corrupt("identity is damaged or another segment's", 0)
        identity, offset = found
        if identity.first_seq != self._next_seq:
            raise _out_of_order(file.path, identity.first_seq, self._next_seq)
        for header in window.headers(offset, bytes.fromhex(identity.salt)):
            if header is None:
                raise corrupt("no valid block", offset)
            if header.first_seq != self._next_seq:
                raise corrupt(f"sequenceId {header.first_seq} where {self._next_seq} should stand", offset)
            self.table.add(header)
            offset, self._next_seq = header.limit_offset, header.limit_seq


def _out_of_order(path: str, first_seq: int, next_seq: int) -> CorruptSegment:
    message = f"begins with sequenceId {first_seq} where {next_seq} should stand"
    return CorruptSegment(message, path=path, offset=0)
