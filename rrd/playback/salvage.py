"""What can still be read of a damaged or incomplete recording, and exactly what is missing.

Every file that may hold events of the recording is read once: local segments, known to the index or not, and
published objects. Each intact block is taken for the sequenceIds that no earlier file gave; where two files
hold some of the same events, a block is cut. So a ``PlaybackTable`` comes out that ``read_in_order``,
``read_stored`` and an export read like any other, and what is missing of 1 to ``next_seq`` is known by
number before the first byte of an answer.

Reading a recording in this way takes about twice as long: everything is checked first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rrd.clock import time_text
from rrd.disk.disk import Disk, Readable
from rrd.errors import CorruptSegment, ObjectMissing
from rrd.index.rows import RecordingRow
from rrd.layout import SegmentName
from rrd.playback.bodies import take_apart
from rrd.playback.sources import BlockFile, Cut, IntactFile
from rrd.playback.table import ALWAYS, Between, PlaybackTable
from rrd.segment.format import BlockHeader, Identity
from rrd.segment.salvage import identity_of, salvage
from rrd.shelf.holdings import Holdings
from rrd.shelf.shelf import Shelf

_RUNS_TOLD_MAX = 5


class Missing(NamedTuple):
    """A run of events that were acked, and that no file gives back."""

    first_seq: int
    limit_seq: int
    after_ts: float | None
    """Greatest timestamp of the intact block before, ms; None if there is none."""
    before_ts: float | None
    """Least timestamp of the intact block after, ms; None if there is none."""

    @property
    def event_count(self) -> int:
        return self.limit_seq - self.first_seq

    def __str__(self) -> str:
        """Say which they are, how many, and when they happened, by the page's clock: no full stop."""
        which = f"events {self.first_seq} to {self.limit_seq - 1}"
        if self.event_count == 1:
            which = f"event {self.first_seq}"
        when = ""
        if self.after_ts is not None and self.before_ts is not None:
            when = f", between {time_text(self.after_ts)} and {time_text(self.before_ts)}"
        elif self.after_ts is not None:
            when = f", after {time_text(self.after_ts)}"
        elif self.before_ts is not None:
            when = f", before {time_text(self.before_ts)}"
        plural = "" if self.event_count == 1 else "s"
        return f"{which} ({self.event_count:,} event{plural}{when})"


class Salvaged(NamedTuple):
    """A recording as far as it can be read."""

    table: PlaybackTable
    event_count: int
    """Events that were acked, intact or not."""
    missing: list[Missing]
    damage: list[tuple[str, str]]
    """Files and objects that are not as they should be, and what is wrong with each."""

    @property
    def missing_events(self) -> int:
        return sum(run.event_count for run in self.missing)

    @property
    def summary(self) -> str:
        """What is missing, in a sentence without a full stop."""
        intact = self.event_count - self.missing_events
        if not self.missing:
            return f"all {self.event_count:,} events are intact"
        runs = "; ".join(map(str, self.missing[:_RUNS_TOLD_MAX]))
        if len(self.missing) > _RUNS_TOLD_MAX:
            runs += f"; and {len(self.missing) - _RUNS_TOLD_MAX:,} more runs"
        return (
            f"{self.missing_events:,} of {self.event_count:,} events are missing, {intact:,} are intact. "
            f"Missing: {runs}"
        )


def plan_salvage(
    disk: Disk, objects: Readable, data_dir: str, row: RecordingRow, *, between: Between = ALWAYS
) -> Salvaged:
    """Find every intact block of a recording. Blocking: reads all of it. Changes nothing.

    ``objects`` reads objects without a cache. ``missing`` is told of the whole recording, whatever
    ``between``. Raises ``StoreAway`` if an object is needed and the store is away. What can't be read for
    another reason counts as damage.
    """
    gathering = _Gathering(row)
    shelf, holdings = Shelf(disk, data_dir), Holdings.of(row)
    for places in (_segments(shelf, holdings), _objects(objects, holdings), _unknown(shelf, holdings)):
        for place in places:
            gathering.add(place)
    return gathering.result(between)


def check(table: PlaybackTable) -> None:
    """Read all blocks of a table and hold them against their checksums. Blocking.

    Raises ``CorruptSegment``, ``OSError``, ``StoreAway``.
    """
    for number in range(len(table)):
        source, header = table.block(number)
        source.data([header])


class _Place(NamedTuple):
    """A file that may hold events of the recording."""

    files: Readable
    path: str
    size: int | None
    """Durable size, bytes; None if the index has none."""
    number: int
    """Of its segment, or the first one in it."""
    is_object: bool
    is_known: bool
    """The index counts on it, so whatever is wrong with it is damage."""


class _Block(NamedTuple):
    first_seq: int
    limit_seq: int
    file: int
    """Which of the files that were looked at, from 0."""
    header: BlockHeader
    source: BlockFile


def _segments(shelf: Shelf, holdings: Holdings) -> Iterator[_Place]:
    for segment in holdings.segments:
        if segment.size > 0:
            name = holdings.name(segment.number)
            files = shelf.reader(name, first=segment.state)
            path, is_known = shelf.path(name, segment.state), segment.state != "rolled"
            yield _Place(files, path, segment.size, segment.number, False, is_known)


def _objects(objects: Readable, holdings: Holdings) -> Iterator[_Place]:
    for entry in holdings.published:
        yield _Place(objects, holdings.key(entry), entry.size, entry.first_number, True, True)


def _unknown(shelf: Shelf, holdings: Holdings) -> Iterator[_Place]:
    """Yield local files with the recording's name that the index doesn't know."""
    known = {segment.number for segment in holdings.segments}
    found = shelf.of(holdings.tenant, holdings.recording_id)
    for number in sorted((found.active.keys() | found.sealed.keys()) - known):
        name = holdings.name(number)
        yield _Place(shelf.reader(name, first="sealed"), shelf.sealed(name), None, number, False, False)


class _Gathering:
    """Intact blocks, gathered file by file: the first that gives an event counts."""

    def __init__(self, row: RecordingRow) -> None:
        self._row = row
        self._blocks: list[_Block] = []
        """By sequenceId; none overlaps another."""
        self._damage: list[tuple[str, str]] = []
        self._count = 0
        self._sizes = {segment.number: segment.size for segment in row.segments}

    def add(self, place: _Place) -> None:
        """Take what is intact in a file. Raises ``StoreAway``."""
        file = self._count
        self._count += 1
        try:
            blocks = self._look(place)
            source = IntactFile(place.files, place.path, is_object=place.is_object)
            for header in blocks:
                if header.event_count and header.first_seq < self._row.next_seq:
                    self._take(file, header, source)
        except FileNotFoundError:
            self._tell(place, "there is no such file")
        except ObjectMissing as error:
            self._tell(place, str(error))
        except (OSError, CorruptSegment) as error:
            what = error.strerror if isinstance(error, OSError) else str(error)
            self._tell(place, f"it can't be read ({what})")

    def _look(self, place: _Place) -> list[BlockHeader]:
        """Return the intact blocks of a file that are this recording's."""
        size = place.size
        identity = identity_of(place.files, place.path)
        is_own = identity is None or self._is_own(identity, place)
        if not is_own:
            assert identity is not None
            self._tell(
                place, f"it holds segment {identity.number} of {identity.tenant} {identity.recording_id}"
            )
            if identity.name[:2] != (self._row.tenant, self._row.recording_id):
                return []
            size = None if identity.is_object else self._sizes.get(identity.number)
        found = salvage(place.files, place.path, durable_size=size)
        if size is not None and found.file_size < size:
            self._tell(place, f"it ends at byte {found.file_size}, and was acked up to byte {size}")
        elif found.damaged_at and is_own:
            self._tell(place, f"it is damaged at byte {', '.join(map(str, found.damaged_at[:5]))}")
        return found.blocks

    def _is_own(self, identity: Identity, place: _Place) -> bool:
        row = self._row
        name = SegmentName(row.tenant, row.recording_id, place.number)
        return (identity.name, identity.is_object, identity.created_ms) == (
            name, place.is_object, row.created_ms,
        )  # fmt: skip

    def _tell(self, place: _Place, what: str) -> None:
        if place.is_known:
            self._damage.append((place.path, what))

    def _take(self, file: int, header: BlockHeader, source: IntactFile) -> None:
        """Take a block, or what of it no other gives."""
        for first_seq, limit_seq in self._free(header.first_seq, header.limit_seq):
            block = header
            made: BlockFile = source
            if limit_seq - first_seq < header.event_count:
                cut = Cut(source, header, first_seq, limit_seq)
                block, made = cut.header, cut
            if _can_be_taken_apart(made, block):
                entry = _Block(first_seq, limit_seq, file, block, made)
                self._blocks.insert(bisect_left(self._blocks, first_seq, key=_first_seq), entry)

    def _free(self, first_seq: int, limit_seq: int) -> list[tuple[int, int]]:
        """Return the runs between these numbers that no block gives yet."""
        at = bisect_left(self._blocks, first_seq, key=_first_seq)
        if at and self._blocks[at - 1].limit_seq > first_seq:
            at -= 1
        free: list[tuple[int, int]] = []
        while first_seq < limit_seq:
            following = self._blocks[at] if at < len(self._blocks) else None
            until = limit_seq if following is None else min(limit_seq, following.first_seq)
            if until > first_seq:
                free.append((first_seq, until))
            if following is None:
                break
            first_seq, at = max(first_seq, following.limit_seq), at + 1
        return free

    def result(self, between: Between) -> Salvaged:
        table = PlaybackTable(self._row.recording_id, between)
        before: _Block | None = None
        for block in self._blocks:
            # A file of its own for what is read together: nothing lies between its blocks but blocks.
            follows = (
                before is not None
                and before.source is block.source
                and before.header.limit_offset == block.header.offset
            )
            if not follows:
                table.files.append(
                    block.source.apart() if isinstance(block.source, IntactFile) else block.source
                )
            table.add(block.header)
            before = block
        return Salvaged(table, self._row.next_seq - 1, list(self._missing()), self._damage)

    def _missing(self) -> Iterator[Missing]:
        next_seq, after_ts = 1, None
        for block in self._blocks:
            if block.first_seq > next_seq:
                yield Missing(next_seq, block.first_seq, after_ts, block.header.first_ts)
            next_seq, after_ts = block.limit_seq, block.header.last_ts
        if next_seq < self._row.next_seq:
            if not self._blocks:
                yield Missing(next_seq, self._row.next_seq, *_bounds(self._row))
            else:
                yield Missing(next_seq, self._row.next_seq, after_ts, None)


def _first_seq(block: _Block) -> int:
    return block.first_seq


def _bounds(row: RecordingRow) -> tuple[float | None, float | None]:
    """Return the least and the greatest timestamp that the index has of a recording."""
    parts: Iterable[tuple[float | None, float | None]] = [
        *((segment.first_ts, segment.last_ts) for segment in row.segments),
        *((entry.first_ts, entry.last_ts) for entry in row.objects),
    ]
    times = [time for part in parts for time in part if time is not None]
    return min(times, default=None), max(times, default=row.extent.last_ts)


def _can_be_taken_apart(source: BlockFile, header: BlockHeader) -> bool:
    try:
        take_apart(source.events(header), header, timed=True)
    except (ValueError, CorruptSegment):
        return False
    return True
