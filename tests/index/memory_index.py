"""A second backend: the contract on the naive model, in memory, so that what only SQLite has shows."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence

from rrd.extent import Extent, nothing
from rrd.index import rows
from rrd.index.contract import Contradiction, Encode, Filters, Index
from tests.index.index_model import Model, Recorded, numbers_of


class MemoryIndex(Index):
    """An index that ends with the process. ``kept`` are those of data directories that it was copied to."""

    kept: dict[str, Model] = {}  # noqa: RUF012 - a disk, in a way

    def __init__(self) -> None:
        self.next_row_id = 1
        self._model = Model()

    async def close(self) -> None:
        pass

    def take_row_id(self) -> int:
        self.next_row_id += 1
        return self.next_row_id - 1

    # Writing

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Model]:
        """All that the body does, or nothing."""
        model = copy.deepcopy(self._model)
        yield model
        self._model = model

    async def apply(self, commits: Sequence[rows.Commit]) -> None:
        with self._changing() as model:
            for commit in commits:
                entry = _entry(model, commit)
                segment = entry.segments.get(commit.segment)
                _refuse(segment and segment.size >= commit.segment_size, "the segment would not grow")
                _refuse(segment and segment.state != "active", "the segment is sealed")
                _refuse(commit.segment in _promised(entry), "the segment is in an object")
                model.apply(commit)

    async def try_write(self) -> None:
        pass

    async def seal(self, sealed: Sequence[tuple[int, int]]) -> None:
        with self._changing() as model:
            for row_id, number in sealed:
                segments = _known(model, row_id).segments
                _refuse(number not in segments, "a segment to be sealed is not in the index")
                if segments[number].state == "active":
                    model.seal(row_id, number)

    async def plan_object(self, row_id: int, first_number: int, last_number: int) -> None:
        with self._changing() as model:
            entry, run = _known(model, row_id), range(first_number, last_number + 1)
            known = entry.objects.get(first_number)
            if known is None or (known.last_number, known.state) != (last_number, "planned"):
                sealed = {segment.number for segment in entry.sealed}
                _refuse(not run or not sealed.issuperset(run), "some are not sealed, or not there")
                _refuse(not _promised(entry).isdisjoint(run), "some are in another object")
                model.plan(row_id, first_number, last_number)

    async def publish_object(
        self,
        row_id: int,
        row: rows.ObjectRow,
        quarantine: Sequence[tuple[int, int, int]],
        summary: rows.SummaryRow | None = None,
    ) -> None:
        with self._changing() as model:
            planned = _known(model, row_id).objects.get(row.first_number)
            is_planned = planned and (planned.last_number, planned.state) == (row.last_number, "planned")
            _refuse(not is_planned, "no such object is planned")
            published = row._replace(state="published", has_local=True)
            model.publish(row_id, published, tuple(quarantine), summary)

    async def evicted(self, row_id: int, first_number: int) -> None:
        with contextlib.suppress(Contradiction):
            known = _known(self._model, row_id).objects.get(first_number)
            if known and known.state == "published" and known.has_local:
                self._model.evict(row_id, first_number)

    async def add_object(self, commit: rows.ObjectCommit) -> None:
        with self._changing() as model:
            entry, row = _entry(model, commit), commit.object
            offsets = [offset for offset, *_ in commit.quarantine]
            _refuse(not entry.segments.keys().isdisjoint(numbers_of(row)), "a segment of this object")
            _refuse(not _promised(entry).isdisjoint(numbers_of(row)), "it overlaps with another object")
            _refuse(any(local.number in entry.segments for local in commit.local), "UNIQUE: a local copy")
            _refuse(len(set(offsets)) < len(offsets), "UNIQUE: a block of the quarantine")
            entry.commits.append(_stand_in(commit, row.last_number, commit.extent, commit.metadata))
            entry.note(commit.metadata)
            published = row._replace(state="published", has_local=bool(commit.local))
            entry.objects[row.first_number] = published
            entry.in_objects[row.first_number] = commit.quarantine
            for local in commit.local:
                entry.segments[local.number] = local._replace(state="rolled")
            entry.rank(commit.summary)

    async def keep(self, kept: rows.Kept) -> None:
        with self._changing() as model:
            entry, least = _entry(model, kept), kept.extent
            for segment in kept.segments:
                entry.segments.setdefault(segment.number, segment._replace(state="sealed"))
            for row in kept.objects:
                entry.objects.setdefault(row.first_number, row._replace(state="published", has_local=False))
                entry.in_objects.setdefault(row.first_number, ())
            for known in kept.metadata:
                if known.key not in entry.metadata or entry.metadata[known.key].version < known.version:
                    entry.metadata[known.key] = known
            had = entry.extent
            lacking = nothing(had.limit_seq, stored_ms=least.stored_ms)._replace(
                event_count=max(0, least.limit_seq - had.limit_seq),
                last_ts=least.last_ts,
                **{name: max(0, count - had.counts[name]) for name, count in least.counts.items()},
            )
            entry.commits.append(_stand_in(kept, 0, lacking, ()))
            if kept.objects:
                entry.rank(None)

    async def remove(self, tenant: str, recording_id: str) -> rows.RemovedRecording | None:
        return self._model.remove(tenant, recording_id)

    async def snapshot(self, data_dir: str) -> None:
        if data_dir in self.kept:
            raise FileExistsError(data_dir)
        self.kept[data_dir] = copy.deepcopy(self._model)

    async def vacuum(self) -> tuple[int, int]:
        return 0, 0

    # Reading

    async def to_roll_up(
        self, *, settled_before_ms: int, full_size: int, limit: int
    ) -> list[tuple[int, str, str]]:
        return self._model.to_roll_up(settled_before_ms, full_size, limit)

    async def to_evict(self, *, published_before_ms: int, limit: int) -> list[rows.EvictRow]:
        return self._model.to_evict(published_before_ms, limit)

    async def oldest(self, *, tenant: str | None, after_row_id: int, limit: int) -> list[rows.AgeRow]:
        return [row for row in self._model.oldest(tenant) if row.row_id > after_row_id][:limit]

    async def newest_stored_ms(self) -> int | None:
        return max((row.last_stored_ms for row in self._model.oldest(None)), default=None)

    async def tenants(self) -> list[rows.TenantRow]:
        return [row for row in self._model.tenants() if row.recordings or row.storage_bytes]

    async def backlog(self) -> rows.Backlog:
        return self._model.backlog()

    async def recording(self, tenant: str, recording_id: str) -> rows.RecordingRow | None:
        return self._model.recording(tenant, recording_id)

    async def recordings(self, names: Sequence[tuple[str, str]]) -> list[rows.RecordingRow | None]:
        return [self._model.recording(*name) for name in names]

    async def metadata(self, tenant: str, recording_id: str) -> list[rows.MetadataRow]:
        return self._model.metadata(tenant, recording_id)

    async def summary(self, row_id: int) -> rows.SummaryRow | None:
        return self._model.summary(row_id)

    async def list_recordings(
        self, tenant: str, *, filters: Filters, limit: int, offset: int
    ) -> list[rows.ListedRecording]:
        return self._model.list_recordings(tenant, filters, limit, offset)

    async def begin_list(
        self,
        tenant: str,
        *,
        filters: Filters,
        limit: int,
        offset: int,
        encode: Encode,
        bytes_max: int,
        wanted: rows.ListQuery | None = None,
    ) -> rows.ListPart:
        found = (
            self._model.list_recordings(tenant, filters, limit, offset)
            if wanted is None
            else self._model.list_wanted(tenant, filters, wanted, limit, offset)
        )
        row_ids = [self._model.recordings[tenant, listed.recording_id].row_id for listed in found]
        return await self.continue_list(
            row_ids, encode=encode, bytes_max=bytes_max, with_standing=wanted is not None
        )

    async def continue_list(
        self, row_ids: Sequence[int], *, encode: Encode, bytes_max: int, with_standing: bool = False
    ) -> rows.ListPart:
        there = {entry.row_id: entry for entry in self._model.recordings.values()}
        rest = [row_id for row_id in row_ids if row_id in there]
        items: list[bytes] = []
        while rest and (not items or sum(map(len, items)) < bytes_max):
            entry = there[rest.pop(0)]
            items.append(
                encode(entry.listed._replace(standing=entry.standing_row if with_standing else None))
            )
        return rows.ListPart(items, rest)

    async def metadata_keys(self, tenant: str, *, prefix: str, limit: int) -> list[str]:
        return self._model.metadata_values(tenant, None, prefix, limit)

    async def metadata_values(self, tenant: str, key: str, *, prefix: str, limit: int) -> list[str]:
        return self._model.metadata_values(tenant, key, prefix, limit)

    async def statistics(self, tenant: str, *, month_start_ms: int) -> rows.Statistics:
        return self._model.statistics(tenant, month_start_ms)

    async def active_segments(self) -> list[tuple[str, str, int, rows.SegmentRow]]:
        return self._model.active_segments()

    async def quarantine(self, *, tenant: str | None, recording_id: str | None) -> list[rows.QuarantineRow]:
        return self._model.quarantine(tenant, recording_id)


def _refuse(is_wrong: object, text: str) -> None:
    if is_wrong:
        raise Contradiction(text)


def _known(model: Model, row_id: int) -> Recorded:
    found = [entry for entry in model.recordings.values() if entry.row_id == row_id]
    _refuse(not found, "the row id is not there")
    return found[0]


def _entry(model: Model, told: rows.Commit | rows.ObjectCommit | rows.Kept) -> Recorded:
    """Return the recording that something is told of, made if it is new."""
    name = (told.tenant, told.recording_id)
    _refuse(told.row_id <= 0, "row_id > 0")
    others = [place for place, entry in model.recordings.items() if entry.row_id == told.row_id]
    _refuse(others not in ([], [name]), "this row_id belongs to another recording")
    entry = model.recordings.setdefault(name, Recorded(told.row_id, *name, told.created_ms))
    _refuse(entry.row_id != told.row_id, "UNIQUE: the name has another row_id")
    return entry


def _promised(entry: Recorded) -> set[int]:
    """Return the numbers of segments that are in objects, planned or published."""
    return {number for row in entry.objects.values() for number in numbers_of(row)}


def _stand_in(
    told: rows.ObjectCommit | rows.Kept,
    number: int,
    extent: Extent,
    metadata: tuple[rows.MetadataChange, ...],
) -> rows.Commit:
    """Return a block that has what is told of several."""
    return rows.Commit(*told[:4], number, 0, 0, 0, extent, metadata)
