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
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from rrd.disk.disk import Disk
from rrd.errors import CorruptSegment
from rrd.objects.files import ObjectFiles
from rrd.playback.order import EVENT_OVERHEAD
from rrd.playback.sources import BlockFile, ObjectFile, SegmentFile, tell_of_local_copy
from rrd.segment.format import HEADER_FIELDS, IDENTITY_READ_SIZE, BlockHeader, decode_identity
from rrd.segment.walk import HEADERS_BYTES, ReadAhead
from rrd.shelf.holdings import Holding, Holdings
from rrd.shelf.shelf import Shelf

_ROW = struct.Struct(f"<IQ{HEADER_FIELDS}")
"""Number of the file in the table, then the fields of a ``BlockHeader`` in order."""
_SIZES = struct.Struct("<16xI40xQQ20x")
"""Of a row: ``event_count``, ``data_size``, ``raw_size``."""


SEQ_LIMIT = 2**64
"""No event has this number, or a greater one: FORMAT.md has 64 bits for it."""


class Between(NamedTuple):
    """A range of events: timestamps from ``start`` on and before ``limit``, ms, and numbers.

    At ``start`` itself the range begins with the event ``start_seq``, so that it may begin behind any event
    in playback order. Only events from number ``first_seq`` on and before ``limit_seq`` are in it.
    """

    start: float
    limit: float
    start_seq: int = 0
    first_seq: int = 0
    limit_seq: int = SEQ_LIMIT

    def meets(self, first_ts: float, last_ts: float) -> bool:
        """Tell whether there may be an event in it where the least and greatest timestamps are these."""
        return first_ts < self.limit and last_ts >= self.start

    def has_some_of(self, header: BlockHeader) -> bool:
        """Tell whether an event of a block may be in it."""
        return (
            header.first_ts < self.limit
            and header.last_ts >= self.start
            and header.first_seq < self.limit_seq
            and header.limit_seq > self.first_seq
        )

    def has_all_of(self, header: BlockHeader) -> bool:
        """Tell whether each event of a block is in it."""
        return (
            (header.first_ts, header.first_seq) >= (self.start, self.start_seq)
            and header.last_ts < self.limit
            and header.first_seq >= self.first_seq
            and header.limit_seq <= self.limit_seq
        )


ALWAYS = Between(-inf, inf)


def cost_of(header: BlockHeader) -> int:
    """Return the bytes of memory that the events of a block take."""
    return header.raw_size + EVENT_OVERHEAD * header.event_count


class PlaybackTable:
    """Blocks with events in a range of time, numbered from 0 in the order of their arrival."""

    __slots__ = (
        "_is_whole",
        "_rows",
        "between",
        "data_size",
        "data_size_max",
        "event_count",
        "files",
        "first_ts",
        "flags",
        "largest",
        "last_ts",
        "recording_id",
    )

    def __init__(self, recording_id: str, between: Between = ALWAYS) -> None:
        self._rows = bytearray()
        self.recording_id = recording_id
        self.between = between
        self._is_whole = between == ALWAYS
        self.files: list[BlockFile] = []
        self.event_count = 0
        """Events of all these blocks together, those outside the range included."""
        self.data_size = 0
        """Bytes of all these blocks' data, as it is stored."""
        self.largest = 0
        """What the block takes in memory that takes most (``cost_of``), bytes."""
        self.flags = array("I")
        """Of each block, as its header has them."""
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
        if header.event_count == 0 or not (self._is_whole or self.between.has_some_of(header)):
            return
        self._rows += _ROW.pack(len(self.files) - 1, *header)
        self.flags.append(header.flags)
        self.largest = max(self.largest, header.raw_size + EVENT_OVERHEAD * header.event_count)
        self.event_count += header.event_count
        self.data_size += header.data_size
        self.data_size_max = max(self.data_size_max, header.data_size)
        self.first_ts.append(max(header.first_ts, self.between.start))
        self.last_ts.append(min(header.last_ts, self.between.limit))

    def block(self, number: int) -> tuple[BlockFile, BlockHeader]:
        file, *fields = _ROW.unpack_from(self._rows, number * _ROW.size)
        return self.files[file], BlockHeader(*fields)

    def costs(self) -> list[int]:
        """Return what each block takes in memory: ``cost_of``."""
        sizes = _SIZES.iter_unpack(self._rows)
        return [raw_size + EVENT_OVERHEAD * event_count for event_count, _, raw_size in sizes]

    def narrowed(self, between: Between) -> PlaybackTable:
        """Return the blocks of this table with events in a narrower range of time. Some 1 µs a block."""
        assert between[3:] == self.between[3:], "the numbers are the same"
        start, limit = between.start, between.limit
        times = zip(self.first_ts, self.last_ts, strict=True)
        kept = [number for number, (first, last) in enumerate(times) if first < limit and last >= start]
        return self.select(kept, between)

    def select(self, kept: Sequence[int], between: Between) -> PlaybackTable:
        """Return some blocks of this table, given in order, each of which meets a narrower range of time."""
        start, limit = between.start, between.limit
        table = PlaybackTable(self.recording_id, between)
        table.files = self.files
        if len(kept) == len(self):
            table._rows = self._rows[:]
        else:
            size, rows = _ROW.size, memoryview(self._rows)
            table._rows = bytearray().join([rows[number * size : (number + 1) * size] for number in kept])
        table.flags = array("I", [self.flags[number] for number in kept])
        table.first_ts = array("d", [max(self.first_ts[number], start) for number in kept])
        table.last_ts = array("d", [min(self.last_ts[number], limit) for number in kept])
        table.largest = max(table.costs(), default=0)
        for event_count, data_size, _ in _SIZES.iter_unpack(table._rows):
            table.event_count += event_count
            table.data_size += data_size
        return table

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
        del self.flags[blocks:]
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
        is_wanted = row.first_seq < between.limit_seq and row.first_seq + row.event_count > between.first_seq
        if row.first_ts is None or row.last_ts is None or not between.meets(row.first_ts, row.last_ts):
            is_wanted = False
        if is_wanted:
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
