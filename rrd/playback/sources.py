"""Where the blocks of a table are read from: a segment's local file, or an object.

A local file whose object is published may go at any time, in the middle of reading too. Then the same
events are taken from the object. Its blocks are others: what was several blocks is one there, or the
reverse. But events keep their numbers, so the lines of any block are found again by those, byte for byte,
and whoever reads block by block goes on where it was and sees no difference. Damage to a local copy is got
round in the same way.
"""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import zstandard

from rrd.disk.disk import Readable
from rrd.errors import CorruptSegment, ObjectMissing
from rrd.index.rows import ObjectRow, SegmentState
from rrd.layout import SegmentName
from rrd.log import emit
from rrd.objects.files import ObjectFiles
from rrd.segment.format import BlockHeader
from rrd.segment.lines import look_at_lines
from rrd.segment.reader import (
    DecodeBuffer,
    read_data,
    read_data_now,
    read_events,
    read_events_into,
    read_last_notes,
)
from rrd.segment.table import read_table
from rrd.shelf.holdings import Holdings
from rrd.shelf.shelf import Shelf

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_LEVEL = 1
"""Of zstd, for frames that are made anew. Nobody waits for them often enough to want them smaller."""

_HELD_BLOCKS = 2
"""Blocks of an object held decoded while its segments' blocks are taken from it: neighbours, at a border."""


class BlockFile(Protocol):
    """A file with blocks."""

    @property
    def path(self) -> str:
        """Where it is, for people: a path, or an object's key."""
        ...

    @property
    def has_stand_in(self) -> bool:
        """Where it can't be read, its events are taken from another file, whose frames are others."""
        ...

    def events(self, header: BlockHeader) -> bytes:
        """Return the events of a block of it, as ``segment.reader.read_events`` does."""
        ...

    def events_into(self, header: BlockHeader, room: DecodeBuffer) -> None:
        """Put the events of a block at the start of ``room``, as ``segment.reader.read_events_into`` does."""
        ...

    def data(self, headers: Sequence[BlockHeader]) -> list[bytes]:
        """Return the zstd frames of blocks of it, as ``segment.reader.read_data`` does."""
        ...

    def data_now(self, headers: Sequence[BlockHeader]) -> list[bytes] | None:
        """Return what ``data`` would, or None if that would take longer. Only on the event loop."""
        ...


class ObjectFile:
    """A published object. What it does not hold is an error: ``CorruptSegment``, whose path is the key."""

    has_stand_in = False

    def __init__(self, files: ObjectFiles, holdings: Holdings, row: ObjectRow) -> None:
        """``holdings``: of the recording that it is of."""
        self.path = holdings.key(row)
        self.row = row
        self._files = files
        self._name = holdings.name(row.first_number)
        self._with_events: list[BlockHeader] | None = None
        self._held: OrderedDict[int, _BlockLines] = OrderedDict()
        files.expect(self.path, row.size)

    def headers(self) -> list[BlockHeader]:
        """Read the headers of all blocks, some 600 bytes of memory each.

        Blocking, like all here. Raises ``CorruptSegment`` if the object is missing, damaged or another than
        the index means, ``StoreAway`` if there is no telling.
        """
        identity, headers = self._read(lambda: read_table(self._files, self.path, self.row.size))
        row = self.row
        if (identity.name, identity.last_number) != (self._name, row.last_number):
            raise self._corrupt("identity is another object's", 0)
        limit_seq = headers[-1].limit_seq if headers else identity.first_seq
        if (identity.first_seq, limit_seq) != (row.first_seq, row.first_seq + row.event_count):
            raise self._corrupt(f"events {identity.first_seq} to {limit_seq - 1} are not those expected,", 0)
        return headers

    def last_notes(self) -> bytes:
        """Return the notes of its last block, where a summary stands; nothing if it has none."""
        headers = self.headers()
        return self._read(lambda: read_last_notes(self._files, self.path, headers))

    def events(self, header: BlockHeader) -> bytes:
        """Return the events of one of its own blocks."""
        return self._read(lambda: read_events(self._files, self.path, header))

    def events_into(self, header: BlockHeader, room: DecodeBuffer) -> None:
        """Put the events of one of its own blocks at the start of ``room``."""
        self._read(lambda: read_events_into(self._files, self.path, header, room))

    def data(self, headers: Sequence[BlockHeader]) -> list[bytes]:
        """Return the zstd frames of some of its own blocks."""
        return self._read(lambda: read_data(self._files, self.path, headers))

    def data_now(self, headers: Sequence[BlockHeader]) -> list[bytes] | None:
        """Return the zstd frames of some of its own blocks, if they are at hand and sound."""
        return read_data_now(self._files, self.path, headers)

    def lines(self, first_seq: int, limit_seq: int) -> bytes:
        """Return the events of these numbers, as they would stand in a block."""
        if self._with_events is None:
            self._with_events = [header for header in self.headers() if header.event_count]
        parts = []
        while first_seq < limit_seq:
            at = bisect_right(self._with_events, first_seq, key=lambda header: header.first_seq) - 1
            if at < 0 or self._with_events[at].limit_seq <= first_seq:
                raise self._corrupt(f"event {first_seq} is not in the object,", 0)
            header = self._with_events[at]
            limit = min(limit_seq, header.limit_seq)
            parts.append(self._lines_of(header).slice(first_seq - header.first_seq, limit - header.first_seq))
            first_seq = limit
        return b"".join(parts)

    def _lines_of(self, header: BlockHeader) -> _BlockLines:
        found = self._held.get(header.offset)
        if found is None:
            while len(self._held) >= _HELD_BLOCKS:
                self._held.popitem(last=False)
            found = self._held[header.offset] = _BlockLines(self.events(header))
            if found.count != header.event_count:
                raise self._corrupt(
                    f"{found.count} lines, not as many as counted, in the block", header.offset
                )
        self._held.move_to_end(header.offset)
        return found

    def _read(self, read: Callable[[], _T]) -> _T:
        try:
            try:
                return read()
            except CorruptSegment:
                # It may have been damaged on its way: what was fetched is dropped, and fetched once more.
                self._files.forget(self.path)
                self._files.expect(self.path, self.row.size)
                return read()
        except ObjectMissing:
            raise self._corrupt("the object is missing, which should begin", 0) from None

    def _corrupt(self, message: str, offset: int) -> CorruptSegment:
        return CorruptSegment(message, path=self.path, offset=offset)


class SegmentFile:
    """The file of one segment, wherever it lies at the moment.

    ``rolled``: the published object that holds the segment, for when the file can't be read.
    """

    __slots__ = ("_disk", "_place", "_rolled", "_shelf", "name", "path")

    def __init__(
        self, shelf: Shelf, name: SegmentName, place: SegmentState, *, rolled: ObjectFile | None = None
    ) -> None:
        self._shelf = shelf
        self._disk = shelf.disk
        self._place: SegmentState = place
        self._rolled = rolled
        self.name = name
        self.path = shelf.path(name, place)
        """Where it was found last."""

    @property
    def has_stand_in(self) -> bool:
        return self._rolled is not None

    def read(self, read: Callable[[str], _T]) -> _T:
        """Return ``read(path)`` for the path at which the file is found.

        Raises ``FileNotFoundError`` if it is at neither, and whatever else ``read`` raises.
        """
        found_at, found = self._shelf.at(self.name, lambda path: (path, read(path)), first=self._place)
        if found_at != self.path:
            self.path, self._place = found_at, "sealed" if self._place == "active" else "active"
        return found

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes of the file. Raises ``OSError``."""
        return self.read(lambda path: self._disk.read(path, offset, size))

    def events(self, header: BlockHeader) -> bytes:
        """Return the events of one of its blocks, from the object if need be."""
        try:
            return self.read(lambda path: read_events(self._disk, path, header))
        except (OSError, CorruptSegment) as error:
            if self._rolled is None:
                raise
            tell_of_local_copy(error, self._rolled)
        return _events_of(self._rolled, header)

    def events_into(self, header: BlockHeader, room: DecodeBuffer) -> None:
        """Put the events of one of its blocks at the start of ``room``, from the object if need be."""
        try:
            self.read(lambda path: read_events_into(self._disk, path, header, room))
        except (OSError, CorruptSegment) as error:
            if self._rolled is None:
                raise
            tell_of_local_copy(error, self._rolled)
            room.make(header.raw_size)[: header.raw_size] = _events_of(self._rolled, header)

    def data(self, headers: Sequence[BlockHeader]) -> list[bytes]:
        """Return the zstd frames of some of its blocks: others, of the same events, if need be."""
        try:
            return self.read(lambda path: read_data(self._disk, path, headers))
        except (OSError, CorruptSegment) as error:
            if self._rolled is None:
                raise
            tell_of_local_copy(error, self._rolled)
        # The object has frames of its own, which begin and end elsewhere.
        compressor = zstandard.ZstdCompressor(level=_LEVEL)
        return [compressor.compress(_events_of(self._rolled, header)) for header in headers]

    def data_now(self, headers: Sequence[BlockHeader]) -> list[bytes] | None:
        """Return the zstd frames of some of its blocks, if they are at hand and sound."""
        return read_data_now(self._disk, self.path, headers)


class IntactFile:
    """A damaged file of which only blocks are read that were found intact (``salvage``)."""

    has_stand_in = False

    def __init__(self, files: Readable, path: str, *, is_object: bool) -> None:
        self.path = path
        self.is_object = is_object
        self._files = files

    def apart(self) -> IntactFile:
        """Return the same file as another source, so that no read goes over what lies between."""
        return IntactFile(self._files, self.path, is_object=self.is_object)

    def events(self, header: BlockHeader) -> bytes:
        return read_events(self._files, self.path, header)

    def events_into(self, header: BlockHeader, room: DecodeBuffer) -> None:
        read_events_into(self._files, self.path, header, room)

    def data(self, headers: Sequence[BlockHeader]) -> list[bytes]:
        return read_data(self._files, self.path, headers)

    def data_now(self, headers: Sequence[BlockHeader]) -> list[bytes] | None:
        return None


class Cut:
    """Some events of an intact block, as a block of their own: the others come from elsewhere."""

    has_stand_in = True
    """Its frames are made anew, so their size is not known before."""

    def __init__(self, source: IntactFile, header: BlockHeader, first_seq: int, limit_seq: int) -> None:
        """Blocking: reads the block. Raises ``CorruptSegment`` if its lines are not what the header says."""
        self.path = source.path
        self.is_object = source.is_object
        self._source = source
        self._whole = header
        self._start, self._limit = first_seq - header.first_seq, limit_seq - header.first_seq
        raw = self.events(header)
        try:
            times = [event.timestamp for event in look_at_lines(raw)]
        except ValueError as error:
            raise CorruptSegment(f"{error}, in the block", path=self.path, offset=header.offset) from error
        if len(times) != limit_seq - first_seq:
            raise CorruptSegment(
                "other lines than counted in the block", path=self.path, offset=header.offset
            )
        self.header = header._replace(
            event_count=len(times), first_seq=first_seq, first_ts=min(times), last_ts=max(times),
            raw_size=len(raw),
        )  # fmt: skip
        """Of the events that it gives."""

    def events(self, _: BlockHeader) -> bytes:
        return _BlockLines(self._source.events(self._whole)).slice(self._start, self._limit)

    def events_into(self, header: BlockHeader, room: DecodeBuffer) -> None:
        room.make(header.raw_size)[: header.raw_size] = self.events(header)

    def data(self, headers: Sequence[BlockHeader]) -> list[bytes]:
        compressor = zstandard.ZstdCompressor(level=_LEVEL)
        return [compressor.compress(self.events(header)) for header in headers]

    def data_now(self, headers: Sequence[BlockHeader]) -> list[bytes] | None:
        return None


def _events_of(rolled: ObjectFile, header: BlockHeader) -> bytes:
    """Return the events of a segment's block from the object that holds the segment."""
    raw = rolled.lines(header.first_seq, header.limit_seq)
    if len(raw) != header.raw_size:
        raise CorruptSegment(
            f"events {header.first_seq} to {header.limit_seq - 1} are not what was rolled up,",
            path=rolled.path,
            offset=0,
        )
    return raw


def tell_of_local_copy(error: Exception, rolled: ObjectFile) -> None:
    """Log what is wrong with the local copy of an object. That it has gone is no news."""
    if not isinstance(error, FileNotFoundError):
        emit(logger, logging.WARNING, "local_copy_unreadable", key=rolled.path, error=error)


class _BlockLines:
    """The decoded events of a block, to be cut by their number."""

    __slots__ = ("_limits", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._limits = array("Q", [0])
        limit = 0
        while (limit := raw.find(b"\n", limit) + 1) > 0:
            self._limits.append(limit)

    @property
    def count(self) -> int:
        return len(self._limits) - 1

    def slice(self, start: int, limit: int) -> bytes:
        return self._raw[self._limits[start] : self._limits[limit]]
