"""All bytes of one recording, read and held against what the index says of it. Blocking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from rrd.disk.disk import Disk, Readable
from rrd.errors import CorruptSegment, ObjectMissing
from rrd.extent import Extent, nothing, total
from rrd.index.rows import RECORDING_COLUMNS, MetadataRow, ObjectRow, RecordingRow, SegmentRow
from rrd.inventory import differences
from rrd.inventory.differences import REINDEX, Difference
from rrd.layout import SegmentName
from rrd.segment.format import BlockHeader
from rrd.segment.reader import read_notes
from rrd.segment.scan import scan
from rrd.segment.walk import ReadAhead
from rrd.shelf.holdings import Holdings

READ_AHEAD_BYTES = 4 << 20
"""What one request of a whole read of an object brings. It is the memory that takes, beside one block."""


class _Part(NamedTuple):
    """A segment or an object that is whole: sums of its headers, and what its notes say of metadata."""

    number: int
    extent: Extent
    metadata: list[tuple[str, str, int]]


class Contents:
    """The contents of one recording, as its row in the index lists them."""

    def __init__(self, disk: Disk, objects: Readable, row: RecordingRow) -> None:
        self._disk = disk
        self._objects = objects
        self._row = row
        self._holdings = Holdings.of(row)
        self._parts: list[_Part] = []
        self.is_complete = True
        """Everything that counts was there and whole, so that it can be added up."""

    def read(
        self, paths: dict[int, str], published: Sequence[ObjectRow], is_lacking: bool
    ) -> list[Difference]:
        """Read all, and return what is damaged.

        ``paths`` of its segments by number; ``published``: its objects that are in the store;
        ``is_lacking``: something is known to be missing. Raises ``StoreAway``.
        """
        self.is_complete = not is_lacking
        found: list[Difference] = []
        for entry in published:
            found += self._read_object(entry)
        for segment in self._row.segments:
            if segment.number in paths:
                found += self._read_segment(segment, paths[segment.number])
        return found

    def against(self, metadata: Sequence[MetadataRow]) -> Iterator[Difference]:
        """Tell where the sums are not what the index says, once all is read."""
        row, whole = self._row, nothing(1)
        parts = sorted(self._parts)
        for part in parts:
            if part.extent.first_seq > whole.limit_seq:
                yield differences.gap(row, whole.limit_seq, part.extent.first_seq)
            whole = (whole + part.extent)._replace(event_count=part.extent.limit_seq - 1)
        sums = {"next_seq": (row.next_seq, whole.limit_seq)}
        sums |= {
            RECORDING_COLUMNS[name]: (says, whole.counts[name]) for name, says in row.extent.counts.items()
        }
        wrong = [
            f"{name} is {says}, and should be {is_}" for name, (says, is_) in sums.items() if says != is_
        ]
        folded: dict[str, tuple[str, int, int]] = {}
        for key, value, at_ms in (change for part in parts for change in part.metadata):
            folded[key] = (value, folded.get(key, ("", 0, 0))[1] + 1, at_ms)
        if folded != {each.key: (each.value, each.version, each.at_ms) for each in metadata}:
            wrong.append("its metadata is not what was stored")
        for what in wrong:
            yield Difference("counters-off", row.tenant, row.recording_id, "index", what, REINDEX)

    def _read_object(self, entry: ObjectRow) -> Iterator[Difference]:
        row = self._row
        key = self._holdings.key(entry)
        name = self._holdings.name(entry.first_number)
        reader = ReadAhead(partial(self._objects.read, key), entry.size, ahead=READ_AHEAD_BYTES)
        what = self._read(name, reader, key, entry.size, counts=True)
        if not what:
            return
        next_step = f"rrd inspect {key} tells what can still be read; {differences.LOST}"
        if self._holdings.is_all_here(entry):
            what += "; all its segments are still here"
            next_step = f"{REINDEX}; if they are whole, it is then rolled up again"
        yield Difference("object-damaged", row.tenant, row.recording_id, key, what, next_step)

    def _read_segment(self, segment: SegmentRow, path: str) -> Iterator[Difference]:
        name = self._holdings.name(segment.number)
        what = self._read(name, self._disk, path, segment.size, counts=segment.state != "rolled")
        if what:
            yield differences.damaged_file(self._row, path, segment.number, what)

    def _read(self, name: SegmentName, files: Readable, path: str, size: int, *, counts: bool) -> str:
        """Read a whole file up to its size; return what is wrong with it."""
        what = ""
        try:
            looked = scan(files, path, limit=size, durable_size=size, deep=True)
            if looked.verdict != "clean":
                what = f"it is damaged at byte {', '.join(map(str, looked.damaged_at[:5]))}"
            elif looked.identity is None or looked.identity.name != name:
                what = "it is not what belongs here, but another's"
            elif counts:
                self._parts.append(_part(name.number, looked.identity.first_seq, files, path, looked.blocks))
        except (CorruptSegment, ObjectMissing) as error:
            what = f"it is damaged ({error})"
        except FileNotFoundError:
            # Evicted or moved meanwhile: the index has changed, too, and the next look tells.
            self.is_complete = False
        except OSError as error:
            what = f"it can't be read ({error.strerror})"
        if what and counts:
            self.is_complete = False
        return what


def _part(number: int, first_seq: int, files: Readable, path: str, headers: Sequence[BlockHeader]) -> _Part:
    metadata: list[tuple[str, str, int]] = []
    for header in headers:
        metadata += [(note.key, note.value, note.at_ms) for note in read_notes(files, path, header)[0]]
    extent = total((header.extent for header in headers), nothing(first_seq))
    return _Part(number, extent, metadata)
