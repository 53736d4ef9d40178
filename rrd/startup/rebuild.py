"""The index made again from nothing: from local segments and from the objects in the store.

What counts is decided for one recording at a time (``arrange``), from what its files and objects say about
themselves:

- An object counts unless another one that covers more holds the same segments. The other is an orphan.
- If all segments of an object are still here, whole, and hold just what it holds, the object is *planned*: it
  will be made again from them, under the same key. So a put that a crash interrupted is done again and
  verified.
- Otherwise the object is *published*, and what local copies of its segments remain are *rolled*.
- All other segments count by themselves, as ever.
- Nothing of a recording counts that a tombstone covers.
- What the replaced index knew, or one file proves of another, and is not there any more, keeps its row
  (``care.remembered``): so it is told as missing, and its sequenceIds are not given again.

Recordings get their row ids in the order in which they began, which the table of an object alone tells. So
objects are read once, in the order of their keys, and what they say is kept in a file on the disk until all
have been read. In memory there remain some 600 bytes for each recording.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple

from rrd.errors import CorruptSegment
from rrd.extent import nothing, total
from rrd.index.contract import Index
from rrd.index.rows import Kept, MetadataRow, ObjectCommit, ObjectRow, RecordingRow, SegmentRow
from rrd.inventory.census import Entry, Patience, census
from rrd.inventory.survey import PlacedFile, Survey, Surveyed
from rrd.log import emit
from rrd.objects.store import ObjectStore
from rrd.startup.remembered import Shown, what_is_gone
from rrd.startup.spool import ObjectSpool, life_of, warn_unused
from rrd.summary.row import row_of
from rrd.summary.summary import decode_note
from rrd.summary.totals import Totals, added_up
from rrd.tombstones import Tombstones

APPLY_MAX = 2000
"""Blocks told to the index at a time."""

_PAGE = 500

_Key = tuple[str, str]

logger = logging.getLogger(__name__)


# Deciding


class Arranged(NamedTuple):
    """What counts of one recording."""

    steps: list[Surveyed | Published]
    """Segments and published objects, in the order in which the index must hear of them."""
    planned: list[tuple[int, int]]
    """Runs, first and last number, of segments in ``steps`` that an object is promised for."""
    orphans: list[Entry]
    """Objects that don't count."""


class Published(NamedTuple):
    """An object that counts, and its segments that are still here."""

    entry: Entry
    local: list[Surveyed]


def choose(entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Return the objects of one recording that count, by number, and those that overlap with them."""
    kept: list[Entry] = []
    orphans: list[Entry] = []
    for entry in sorted(entries, key=_least_first, reverse=True):
        overlaps = any(
            entry.first_number <= other.last_number and other.first_number <= entry.last_number
            for other in kept
        )
        (orphans if overlaps else kept).append(entry)
    return sorted(kept, key=lambda entry: entry.first_number), orphans


def _least_first(entry: Entry) -> tuple[int, bool, int, str]:
    covered = entry.last_number - entry.first_number
    return covered, not entry.damage, entry.extent.event_count, entry.key


def arrange(entries: Iterable[Entry], surveyed: Sequence[Surveyed]) -> Arranged:
    """Decide what counts of one life of a recording. ``surveyed``: its local segments by number."""
    kept, orphans = choose(entries)
    steps: list[tuple[int, Surveyed | Published]] = []
    planned: list[tuple[int, int]] = []
    free = [found for found in surveyed if found.blocks]
    for entry in kept:
        run = [found for found in free if entry.first_number <= found.file.name.number <= entry.last_number]
        if _holds_the_same(entry, run):
            planned.append((entry.first_number, entry.last_number))
            continue
        free = [found for found in free if found not in run]
        # Of a damaged object no copies are given up: they may be all that is left of it.
        local = [found for found in run if found.is_whole] if not entry.damage else []
        steps.append((entry.first_number, Published(entry, local)))
    steps += [(found.file.name.number, found) for found in free]
    return Arranged([step for _, step in sorted(steps, key=lambda step: step[0])], planned, orphans)


def _holds_the_same(entry: Entry, run: Sequence[Surveyed]) -> bool:
    """Tell whether local segments hold all that an object holds, or should hold where it is damaged."""
    if not run or not all(found.is_whole for found in run):
        return False
    numbers = [found.file.name.number for found in run]
    if (numbers[0], numbers[-1]) != (entry.first_number, entry.last_number):
        return False
    seq = entry.extent.first_seq
    for found in run:
        if found.identity is None or found.identity.first_seq != seq:
            return False
        seq = found.blocks[-1].header.limit_seq
    if seq != entry.extent.limit_seq:
        return False
    if entry.damage:
        return True
    blocks = [block for found in run for block in found.blocks]
    here = total((block.header.extent for block in blocks), nothing(entry.extent.first_seq))
    metadata = [change for block in blocks for change in block.metadata]
    return here.counts == entry.extent.counts and metadata == list(entry.metadata)


# Doing


async def rebuild(
    survey: Survey,
    index: Index,
    store: ObjectStore | None,
    tombstones: Tombstones | None,
    *,
    patience: Patience,
    old: Index | None = None,
) -> None:
    """Tell an empty index of everything that there is. ``survey.result`` counts what that was.

    ``store`` None: there are no objects. ``old``: the index that is replaced; what it knows and the files no
    longer show is kept. Raises ``StoreAway`` unless ``patience`` waits, ``OSError`` if files can't be read.
    If it raises, discard the index.
    """
    local = await asyncio.to_thread(survey.list_all)
    began = await asyncio.to_thread(_began, survey, local)
    with ObjectSpool(survey.shelf.data_dir) as spool:
        if store is not None:
            await _read_objects(store, patience, spool)
        for key, (created_ms, _) in spool.places.items():
            began[key] = max(created_ms, began.get(key, created_ms))
        await _add_known(began, old)
        telling = _Telling(index, survey, old)
        order = sorted((created_ms, key) for key, created_ms in began.items())
        for start in range(0, len(order), _PAGE):
            page = order[start : start + _PAGE]
            rows = await _known(old, page)
            for (created_ms, key), row in zip(page, rows, strict=True):
                if tombstones is not None and tombstones.covers(*key, created_ms):
                    survey.result.buried += 1
                    continue
                surveyed: list[Surveyed] = []
                if key in local:
                    surveyed = await asyncio.to_thread(survey.look, local[key], _segments(row))
                found = arrange(spool.read(key, created_ms), surveyed)
                warn_unused(found.orphans)
                await telling.tell(key, created_ms, found, surveyed=surveyed, known=row)
        await telling.flush()
    for tenant, recording_id in survey.result.lacking:
        emit(
            logger, logging.ERROR, "recording_incomplete", tenant=tenant, recording=recording_id,
            next_step=f"rrd doctor {recording_id}",
        )  # fmt: skip


async def _known(old: Index | None, page: Sequence[tuple[int, _Key]]) -> list[RecordingRow | None]:
    """Return what the replaced index says of each life of a recording."""
    if old is None:
        return [None] * len(page)
    rows = await old.recordings([key for _, key in page])
    return [
        row if row is not None and row.created_ms == created_ms else None
        for (created_ms, _), row in zip(page, rows, strict=True)
    ]


async def _add_known(began: dict[_Key, int], old: Index | None) -> None:
    """Add when recordings began of which the replaced index alone knows, or knows that."""
    after = 0
    while old is not None and (page := await old.oldest(tenant=None, after_row_id=after, limit=_PAGE)):
        after = page[-1].row_id
        for row in page:
            key = (row.tenant, row.recording_id)
            began[key] = began.get(key) or row.created_ms


def _segments(row: RecordingRow | None) -> dict[int, SegmentRow]:
    return {segment.number: segment for segment in row.segments} if row is not None else {}


def _began(survey: Survey, local: dict[_Key, list[PlacedFile]]) -> dict[_Key, int]:
    """When each recording with local segments began.

    One time for all its segments, whatever became of some of them: they stay together.
    """
    began: dict[_Key, int] = {}
    for key, files in local.items():
        identities = filter(None, map(survey.own_identity, reversed(files)))
        newest = next(identities, None)
        began[key] = newest.created_ms if newest is not None else 0
    return began


async def _read_objects(store: ObjectStore, patience: Patience, spool: ObjectSpool) -> None:
    await patience.ask(store.check)
    async with contextlib.aclosing(census(store, patience)) as entries:
        async for group in _of_one_recording(entries):
            spool.write(group)


async def _of_one_recording(entries: AsyncIterator[Entry | str]) -> AsyncIterator[list[Entry]]:
    """Gather the objects of one recording, which keys put together."""
    group: list[Entry] = []
    async for entry in entries:
        if isinstance(entry, str):
            continue
        if group and life_of(group[0]) != life_of(entry):
            yield group
            group = []
        group.append(entry)
    if group:
        yield group


class _Telling:
    """Tells the index: many blocks in one transaction, and each recording's parts in order."""

    def __init__(self, index: Index, survey: Survey, old: Index | None) -> None:
        self._index = index
        self._old = old
        self._survey = survey
        self._blocks: list[tuple[int, int, Surveyed, bool]] = []
        """Row id, when it began, a segment, and whether an object is promised for it."""
        self._count = 0
        self._plans: list[tuple[int, int, int]] = []
        self._kept: list[Kept] = []
        self._lacking: set[int] = set()
        """Row ids of recordings of which something is gone."""

    async def tell(
        self,
        key: _Key,
        created_ms: int,
        found: Arranged,
        *,
        surveyed: Sequence[Surveyed],
        known: RecordingRow | None,
    ) -> None:
        """Tell of one recording. ``surveyed``: all its local files; ``known``: what the old index says."""
        row_id = self._index.next_row_id
        entries = [step.entry for step in found.steps if isinstance(step, Published)]
        kept = what_is_gone(row_id, key, created_ms, Shown(surveyed, entries), known)
        if not found.steps and kept is None:
            return
        row_id = self._index.take_row_id()
        self._survey.result.recordings += 1
        if kept is not None:
            self._lacking.add(row_id)
        if kept is not None or not all(step.is_whole for step in surveyed) or any(e.damage for e in entries):
            self._survey.result.lacking.append(key)
        totals: Totals | None = None
        for step in found.steps:
            if isinstance(step, Surveyed):
                number = step.file.name.number
                is_promised = any(first <= number <= last for first, last in found.planned)
                self._blocks.append((row_id, created_ms, step, is_promised))
                self._count += len(step.blocks)
            else:
                await self.flush()
                totals = _added_up(totals, step.entry)
                # As of this object alone: what is added up goes on changing.
                told = row_of(totals) if totals is not None else None
                await self._index.add_object(_object_commit(row_id, step)._replace(summary=told))
                self._survey.result.objects += 1
                await self._move(step.local)
        self._plans += [(row_id, first, last) for first, last in found.planned]
        if kept is not None:
            metadata: Sequence[MetadataRow] = ()
            if self._old is not None and known is not None:
                metadata = await self._old.metadata(*key)
            # After all that is there: blocks would lower the next number again.
            self._kept.append(kept._replace(metadata=tuple(metadata)))
        if self._count >= APPLY_MAX:
            await self.flush()

    async def flush(self) -> None:
        """Tell what has gathered."""
        blocks, self._blocks, self._count = self._blocks, [], 0
        plans, self._plans = self._plans, []
        await self._index.apply(
            [
                commit
                for row_id, created_ms, found, _ in blocks
                for commit in found.commits(row_id=row_id, created_ms=created_ms)
            ]
        )
        # What is damaged is never appended to, and neither is what an object holds already. Where events are
        # gone, the next one's number may not follow the last one of the file.
        sealed = [
            (row_id, found)
            for row_id, _, found, is_promised in blocks
            if found.file.place == "sealed" or not found.is_whole or is_promised or row_id in self._lacking
        ]
        await self._index.seal([(row_id, found.file.name.number) for row_id, found in sealed])
        await self._move(found for _, found in sealed)
        for row_id, first, last in plans:
            await self._index.plan_object(row_id, first, last)
        kept, self._kept = self._kept, []
        for each in kept:
            await self._index.keep(each)

    async def _move(self, surveyed: Iterable[Surveyed]) -> None:
        names = [found.file.name for found in surveyed if found.file.place == "active"]
        if names:
            await asyncio.to_thread(self._survey.shelf.move_to_sealed, names)


def _added_up(before: Totals | None, entry: Entry) -> Totals | None:
    """Return the totals of a recording up to the end of an object; None where a summary lacks."""
    if not entry.extent.event_count:
        return before
    summary = decode_note(entry.summary.encode()) if entry.summary else None
    return added_up(before, summary.totals) if summary is not None else None


def _object_commit(row_id: int, published: Published) -> ObjectCommit:
    entry, local = published
    if entry.damage:
        error = CorruptSegment(f"the object is damaged ({entry.damage})", path=entry.key, offset=0)
        emit(logger, logging.ERROR, "object_corrupt", error=error, next_step="rrd verify --deep")
    last = local[-1] if local else None
    is_last_here = last is not None and last.file.name.number == entry.last_number
    return ObjectCommit(
        row_id=row_id,
        tenant=entry.tenant,
        recording_id=entry.recording_id,
        created_ms=entry.created_ms,
        object=ObjectRow.published(
            entry.first_number,
            entry.last_number,
            entry.extent,
            last_segment_size=_size(last) if last is not None and is_last_here else 0,
            size=entry.size,
            crc32c=0,  # Not known without reading all of it. Each block has its own, and the table too.
            published_ms=entry.modified_ms,
            has_local=bool(local),
        ),
        extent=entry.extent,
        quarantine=entry.quarantine,
        metadata=entry.metadata,
        local=tuple(_rolled(found) for found in local),
    )


def _rolled(found: Surveyed) -> SegmentRow:
    extent = total((block.header.extent for block in found.blocks), nothing(1))
    return SegmentRow(found.file.name.number, "rolled", _size(found), extent.first_ts, extent.last_ts)


def _size(found: Surveyed) -> int:
    return found.blocks[-1].header.limit_offset if found.blocks else 0
