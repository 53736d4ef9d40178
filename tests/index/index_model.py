"""What the index must answer, said the slow and simple way, and commits to ask it about."""

from __future__ import annotations

import asyncio
import datetime
import random
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hypothesis import strategies as st

from rrd.extent import Extent, nothing, total
from rrd.index.contract import Index
from rrd.index.rows import (
    AgeRow,
    Backlog,
    Commit,
    EvictRow,
    ListedRecording,
    ListQuery,
    MetadataChange,
    MetadataRow,
    ObjectCommit,
    ObjectRow,
    QuarantineRow,
    RecordingRow,
    RemovedRecording,
    SegmentRow,
    Sort,
    StandingRow,
    Statistics,
    SummaryRow,
    TenantRow,
)
from rrd.index.sqlite.index import SqliteIndex

TENANTS = ("alpha", "beta")
# Both tenants use the same ids, so whatever mixes tenants up shows.
RECORDINGS = tuple(f"00000000-0000-4000-8000-00000000000{i}" for i in range(4))
# Lone surrogates, NUL and "" are legal JSON; pairs are made to meet again and again.
KEYS = ("userId", "plan", "", "\ud83d")
VALUES = ("1", "1 ", "", "a\0b", "a\0c", "é", "\udc00x", "v" * 4096, "v" * 4095 + "w")
UUID = RECORDINGS[0]
NOW_MS = 1_732_342_000_000  # 23 November 2024
MONTH_MS = 1_730_419_200_000  # 1 November 2024
DAY_MS = 86_400_000


def commit(row_id: int = 1, *, size: int = 1000, tenant: str = "alpha", recording_id: str = UUID) -> Commit:
    """A block of one event; ``_replace`` what matters."""
    return Commit(
        row_id=row_id,
        tenant=tenant,
        recording_id=recording_id,
        created_ms=NOW_MS,
        segment=1,
        segment_size=size,
        block_offset=size - 300,
        block_size=300,
        extent=Extent(1, 1, 5.0, 5.0, 100, NOW_MS, 0, 0),
        metadata=(),
    )


def without_events(block: Commit, *, quarantined: int = 0) -> Commit:
    return block._replace(extent=nothing(1, stored_ms=NOW_MS)._replace(quarantine_count=quarantined))


def with_metadata(block: Commit, **values: str) -> Commit:
    return block._replace(metadata=tuple(MetadataChange(key, value, 7) for key, value in values.items()))


@asynccontextmanager
async def opened(path: str) -> AsyncIterator[SqliteIndex]:
    index = await SqliteIndex.open(path)
    try:
        yield index
    finally:
        await index.close()


def in_new_directory(proof: Callable[[str], Coroutine[None, None, None]]) -> None:
    """Run a coroutine on the path of an index that doesn't exist yet. (Hypothesis forbids ``tmp_path``.)"""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(proof(f"{directory}/index.sqlite"))


@dataclass
class Step:
    """One block to come: enough to make a ``Commit`` of, once it is known what came before."""

    tenant: str
    recording_id: str
    created_ms: int
    row_id_gap: int
    new_segment: bool
    timestamps: list[float]
    duplicates: int
    quarantined: int
    metadata: list[tuple[str, str]]


steps = st.builds(
    Step,
    tenant=st.sampled_from(TENANTS),
    recording_id=st.sampled_from(RECORDINGS),
    created_ms=st.sampled_from([NOW_MS, MONTH_MS, MONTH_MS - 1, MONTH_MS + 40 * DAY_MS, 0]),
    # Postings hold 64 row ids to a row: walk over those edges.
    row_id_gap=st.sampled_from([1, 2, 62, 63, 64, 65, 1000]),
    new_segment=st.booleans(),
    timestamps=st.lists(st.sampled_from([-5.0, 0.0, 1.5, 1e12, 1e12 + 0.25, 1e300]), max_size=3),
    duplicates=st.integers(0, 2),
    quarantined=st.sampled_from([0, 0, 1, 7]),
    metadata=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)), max_size=4),
)
groups = st.lists(st.lists(steps, max_size=8), max_size=6)
filters = st.lists(st.tuples(st.sampled_from((*KEYS, "none")), st.sampled_from(VALUES)), max_size=3)


@dataclass
class Recorded:
    """Remembers what it was told and derives the rest, where the index keeps counts."""

    row_id: int
    tenant: str
    name: str
    created_ms: int
    metadata: dict[str, MetadataRow] = field(default_factory=dict)
    segments: dict[int, SegmentRow] = field(default_factory=dict)
    objects: dict[int, ObjectRow] = field(default_factory=dict)
    in_objects: dict[int, tuple[tuple[int, int, int], ...]] = field(default_factory=dict)
    """Quarantine of each object, by its first number."""
    commits: list[Commit] = field(default_factory=list)
    summary: SummaryRow | None = None
    standing: tuple[float | None, int] | None = None
    """Duration, ms, and bytes of events when an object was published last."""

    @property
    def published(self) -> list[ObjectRow]:
        return [row for _, row in sorted(self.objects.items()) if row.state == "published"]

    @property
    def sealed(self) -> list[SegmentRow]:
        return [row for _, row in sorted(self.segments.items()) if row.state == "sealed"]

    @property
    def extent(self) -> Extent:
        found = total((commit.extent for commit in self.commits), nothing(1))
        return found._replace(first_ts=None)  # Which the index doesn't keep.

    @property
    def next_seq(self) -> int:
        return self.extent.limit_seq

    @property
    def last_stored_ms(self) -> int:
        return self.extent.stored_ms

    @property
    def visible(self) -> bool:
        return any(commit.extent.event_count > 0 or commit.metadata for commit in self.commits)

    @property
    def raw_bytes(self) -> int:
        return self.extent.raw_size

    @property
    def stored_bytes(self) -> int:
        """Of objects, and of segments that are in none: what an object holds isn't counted twice."""
        in_objects = {number for row in self.published for number in numbers_of(row)}
        blocks = [commit.block_size for commit in self.commits if commit.segment not in in_objects]
        return sum(blocks) + sum(row.size for row in self.published)

    @property
    def standing_row(self) -> StandingRow:
        times = [row.first_ts for row in self.segments.values()]
        times += [row.first_ts for row in self.objects.values()]
        first_ts = min((first_ts for first_ts in times if first_ts is not None), default=None)
        last_ts, events = self.extent.last_ts, self.next_seq - 1
        told = self.summary
        if told is None:
            return StandingRow(first_ts, last_ts, events, self.raw_bytes, *[None] * 7)
        return StandingRow(
            first_ts, last_ts, events, self.raw_bytes, told.active_ms, told.clicks, told.inputs, told.errors,
            told.rage_bursts, told.first_url, told.activity,
        )  # fmt: skip

    def sorted_by(self, sort: Sort) -> float | None:
        duration_ms, raw_bytes = self.standing or (None, None)
        told = self.summary
        values: dict[Sort, float | None] = {
            "newest": self.row_id,
            "duration": duration_ms,
            "bytes": raw_bytes,
            "active": told.active_ms if told else None,
            "errors": told.errors if told else None,
        }
        return values[sort]

    def is_wanted(self, wanted: ListQuery) -> bool:
        def at_least(least: float | None, value: float | None) -> bool:
            return least is None or (value is not None and value >= least)

        def has_url(url: str) -> bool:
            urls = self.summary.urls if self.summary else ()
            if url.endswith("*"):
                return any(each.startswith(url[:-1]) for each in urls)
            return url in urls

        return (
            at_least(wanted.from_ms, self.created_ms)
            and (wanted.to_ms is None or self.created_ms < wanted.to_ms)
            and at_least(wanted.min_duration_ms, self.sorted_by("duration"))
            and at_least(wanted.min_active_ms, self.sorted_by("active"))
            and at_least(1 if wanted.has_errors else None, self.sorted_by("errors"))
            and (wanted.url is None or has_url(wanted.url))
            and (wanted.among is None or self.row_id in wanted.among)
        )

    @property
    def listed(self) -> ListedRecording:
        return ListedRecording(
            self.name, self.created_ms, {key: row.value for key, row in self.metadata.items()}
        )

    @property
    def duration_ms(self) -> float | None:
        times = [row.first_ts for row in self.segments.values()]
        times += [row.first_ts for row in self.objects.values()]
        first = [first_ts for first_ts in times if first_ts is not None]
        last_ts = self.extent.last_ts
        return last_ts - min(first) if first and last_ts is not None else None

    def rank(self, summary: SummaryRow | None) -> None:
        """Take in that an object was published."""
        self.summary = summary or self.summary
        self.standing = self.duration_ms, self.raw_bytes

    def note(self, changes: Iterable[MetadataChange]) -> None:
        for change in changes:
            old = self.metadata.get(change.key)
            version = old.version + 1 if old else 1
            self.metadata[change.key] = MetadataRow(change.key, change.value, version, change.at_ms)

    def commits_of(self, row: ObjectRow) -> list[Commit]:
        return [commit for commit in self.commits if row.first_number <= commit.segment <= row.last_number]

    def local_copies(self, row: ObjectRow) -> tuple[SegmentRow, ...]:
        numbers = range(row.first_number, row.last_number + 1)
        return tuple(self.segments[number] for number in numbers if number in self.segments)

    def quarantine(self) -> list[QuarantineRow]:
        in_objects = {number for row in self.published for number in numbers_of(row)}
        found = [
            QuarantineRow(
                self.tenant, self.name, commit.segment, self.segments[commit.segment].state,
                commit.block_offset, commit.extent.stored_ms, commit.extent.quarantine_count,
            )
            for commit in self.commits
            if commit.extent.quarantine_count and commit.segment not in in_objects
        ]  # fmt: skip
        for row in self.published:
            found += [
                QuarantineRow(self.tenant, self.name, row.first_number, "rolled", *block, row)
                for block in self.in_objects[row.first_number]
            ]
        return found


def numbers_of(row: ObjectRow) -> range:
    """Return the numbers of an object's segments."""
    return range(row.first_number, row.last_number + 1)


class Model:
    """A naive index. ``commits`` turns steps into commits that fit; ``apply`` takes them in."""

    def __init__(self) -> None:
        self.recordings: dict[tuple[str, str], Recorded] = {}
        self._next_row_id = 1
        self._clock_ms = NOW_MS

    def apply_steps(self, group: Sequence[Step]) -> list[Commit]:
        """Make commits of a group and apply each at once, since the next depends on it."""
        commits = []
        for step in group:
            commits.append(self._commit(step))
            self.apply(commits[-1])
        return commits

    def _commit(self, step: Step) -> Commit:
        known = self.recordings.get((step.tenant, step.recording_id))
        if known is None:
            row_id, self._next_row_id = self._next_row_id, self._next_row_id + step.row_id_gap
            number, size, next_seq, created_ms = 1, 0, 1, step.created_ms
        else:
            row_id, next_seq, created_ms = known.row_id, known.next_seq, known.created_ms
            number, size = known.commits[-1].segment, known.commits[-1].segment_size
            if step.new_segment or number not in known.segments or known.segments[number].state != "active":
                number, size = number + 1, 0
        self._clock_ms += 1
        block_size = 200 + 10 * len(step.timestamps)
        return Commit(
            row_id=row_id,
            tenant=step.tenant,
            recording_id=step.recording_id,
            created_ms=created_ms,
            segment=number,
            segment_size=size + block_size,
            block_offset=size,
            block_size=block_size,
            extent=Extent(
                first_seq=next_seq,
                event_count=len(step.timestamps),
                first_ts=min(step.timestamps, default=None),
                last_ts=max(step.timestamps, default=None),
                raw_size=50 * len(step.timestamps),
                stored_ms=self._clock_ms,
                duplicate_count=step.duplicates,
                quarantine_count=step.quarantined,
            ),
            metadata=tuple(
                MetadataChange(key, value, self._clock_ms + i) for i, (key, value) in enumerate(step.metadata)
            ),
        )

    def apply(self, commit: Commit) -> None:
        entry = self.recordings.setdefault(
            (commit.tenant, commit.recording_id),
            Recorded(commit.row_id, commit.tenant, commit.recording_id, commit.created_ms),
        )
        entry.commits.append(commit)
        segment = entry.segments.get(commit.segment, SegmentRow(commit.segment, "active", 0, None, None))
        segment = segment._replace(size=commit.segment_size)
        if commit.extent.event_count:
            first = [ts for ts in (segment.first_ts, commit.extent.first_ts) if ts is not None]
            last = [ts for ts in (segment.last_ts, commit.extent.last_ts) if ts is not None]
            segment = segment._replace(first_ts=min(first), last_ts=max(last))
        entry.segments[commit.segment] = segment
        entry.note(commit.metadata)

    def seal(self, row_id: int, number: int) -> None:
        entry = self.by_row_id(row_id)
        entry.segments[number] = entry.segments[number]._replace(state="sealed")

    def plan(self, row_id: int, first_number: int, last_number: int) -> None:
        row = ObjectRow(first_number, last_number, 0, 0, 0, 0, 0, 0, None, None, "planned", 0, True)
        self.by_row_id(row_id).objects[first_number] = row

    def publish(
        self,
        row_id: int,
        row: ObjectRow,
        quarantine: tuple[tuple[int, int, int], ...],
        summary: SummaryRow | None,
    ) -> None:
        entry = self.by_row_id(row_id)
        entry.objects[row.first_number] = row
        entry.in_objects[row.first_number] = quarantine
        for number in numbers_of(row):
            entry.segments[number] = entry.segments[number]._replace(state="rolled")
        entry.rank(summary)

    def evict(self, row_id: int, first_number: int) -> None:
        entry = self.by_row_id(row_id)
        entry.objects[first_number] = entry.objects[first_number]._replace(has_local=False)
        for number in numbers_of(entry.objects[first_number]):
            del entry.segments[number]

    def remove(self, tenant: str, recording_id: str) -> RemovedRecording | None:
        entry = self.recordings.pop((tenant, recording_id), None)
        if entry is None:
            return None
        return RemovedRecording(
            entry.row_id, entry.created_ms, entry.next_seq - 1, entry.raw_bytes, entry.stored_bytes,
            len(entry.published),
        )  # fmt: skip

    def by_row_id(self, row_id: int) -> Recorded:
        (entry,) = [entry for entry in self.recordings.values() if entry.row_id == row_id]
        return entry

    def active(self) -> list[tuple[int, int]]:
        return [(row_id, segment.number) for _, _, row_id, segment in self.active_segments()]

    # The questions

    def summary(self, row_id: int) -> SummaryRow | None:
        found = [entry.summary for entry in self.recordings.values() if entry.row_id == row_id]
        return found[0] if found else None

    def recording(self, tenant: str, recording_id: str) -> RecordingRow | None:
        entry = self.recordings.get((tenant, recording_id))
        if entry is None:
            return None
        return RecordingRow(
            entry.row_id,
            tenant,
            recording_id,
            entry.created_ms,
            entry.extent,
            entry.visible,
            frozenset(entry.metadata),
            tuple(entry.segments[number] for number in sorted(entry.segments)),
            tuple(entry.objects[number] for number in sorted(entry.objects)),
            entry.stored_bytes,
        )

    def metadata(self, tenant: str, recording_id: str) -> list[MetadataRow]:
        entry = self.recordings.get((tenant, recording_id))
        return [entry.metadata[key] for key in sorted(entry.metadata)] if entry else []

    def list_wanted(
        self, tenant: str, filters: Sequence[tuple[str, str]], wanted: ListQuery, limit: int, offset: int
    ) -> list[ListedRecording]:
        """Sort all that are wanted: those without a value last, equal ones newest first."""
        names = [listed.recording_id for listed in self.list_recordings(tenant, filters, 10**9, 0)]
        found = [entry for name in names if (entry := self.recordings[tenant, name]).is_wanted(wanted)]

        def place(entry: Recorded) -> tuple[bool, float]:
            value = entry.sorted_by(wanted.sort)
            return value is None, -(value or 0)

        found.sort(key=place)
        return [
            entry.listed._replace(standing=entry.standing_row) for entry in found[offset : offset + limit]
        ]

    def metadata_values(self, tenant: str, key: str | None, prefix: str, limit: int) -> list[str]:
        """Return values of a key, or keys, by their bytes."""
        rows = [
            row
            for entry in self.recordings.values()
            if entry.tenant == tenant
            for row in entry.metadata.values()
        ]
        found = {row.key for row in rows} if key is None else {row.value for row in rows if row.key == key}
        return sorted(
            (text for text in found if text.startswith(prefix)),
            key=lambda text: text.encode("utf-8", "surrogatepass"),
        )[:limit]

    def list_recordings(
        self, tenant: str, wanted: Sequence[tuple[str, str]], limit: int, offset: int
    ) -> list[ListedRecording]:
        found = [
            entry
            for entry in self.recordings.values()
            if entry.tenant == tenant
            and entry.visible
            and all(key in entry.metadata and entry.metadata[key].value == value for key, value in wanted)
        ]
        found.sort(key=lambda entry: -entry.row_id)
        return [entry.listed for entry in found[offset : offset + limit]]

    def statistics(self, tenant: str, month_start_ms: int) -> Statistics:
        mine = [entry for entry in self.recordings.values() if entry.tenant == tenant]
        visible = [entry for entry in mine if entry.visible]
        this_month = [entry for entry in visible if _month(entry.created_ms) == _month(month_start_ms)]
        return Statistics(len(visible), len(this_month), sum(entry.stored_bytes for entry in mine))

    def active_segments(self) -> list[tuple[str, str, int, SegmentRow]]:
        return [
            (entry.tenant, entry.name, entry.row_id, segment)
            for entry in self.in_order()
            for _, segment in sorted(entry.segments.items())
            if segment.state == "active"
        ]

    def quarantine(self, tenant: str | None, recording_id: str | None) -> list[QuarantineRow]:
        return [
            row
            for entry in self.in_order()
            if tenant in (None, entry.tenant) and recording_id in (None, entry.name)
            for row in entry.quarantine()
        ]

    def in_order(self) -> list[Recorded]:
        return sorted(self.recordings.values(), key=lambda entry: entry.row_id)

    def to_roll_up(self, settled_before_ms: int, full_size: int, limit: int) -> list[tuple[int, str, str]]:
        return [
            (entry.row_id, entry.tenant, entry.name)
            for entry in self.in_order()
            if entry.sealed
            and (
                entry.last_stored_ms <= settled_before_ms
                or any(segment.size >= full_size for segment in entry.sealed)
                or any(row.state == "planned" for row in entry.objects.values())
            )
        ][:limit]

    def to_evict(self, published_before_ms: int, limit: int) -> list[EvictRow]:
        found = [
            (row.published_ms, entry.row_id, row.first_number, entry, row)
            for entry in self.recordings.values()
            for row in entry.published
            if row.has_local and row.published_ms <= published_before_ms
        ]
        return [
            EvictRow(
                entry.row_id, entry.tenant, entry.name, row.first_number, row.last_number,
                entry.local_copies(row),
            )
            for *_, entry, row in sorted(found, key=lambda place: place[:3])
        ][:limit]  # fmt: skip

    def oldest(self, tenant: str | None) -> list[AgeRow]:
        return [
            AgeRow(
                entry.row_id, entry.tenant, entry.name, entry.created_ms, entry.last_stored_ms,
                entry.stored_bytes, entry.next_seq - 1,
            )
            for entry in self.in_order()
            if tenant in (None, entry.tenant)
        ]  # fmt: skip

    def tenants(self) -> list[TenantRow]:
        found = []
        for tenant in sorted({entry.tenant for entry in self.recordings.values()}):
            visible, _, storage_bytes = self.statistics(tenant, NOW_MS)
            found.append(TenantRow(tenant, visible, storage_bytes))
        return found

    def backlog(self) -> Backlog:
        waiting = [entry for entry in self.recordings.values() if entry.sealed]
        sizes = [segment.size for entry in waiting for segment in entry.sealed]
        oldest_ms = min((entry.last_stored_ms for entry in waiting), default=None)
        return Backlog(len(sizes), sum(sizes), oldest_ms)


async def live_on(
    index: Index,
    model: Model,
    rnd: random.Random,
    *,
    removes: bool = True,
    after_each: Callable[[], None] = lambda: None,
) -> None:
    """Let what may happen to recordings between two blocks happen to some of them: to both alike.

    Calls ``after_each`` when both have taken one step.
    """
    sealed = [place for place in model.active() if rnd.random() < 0.5]
    await index.seal(sealed)
    for place in sealed:
        model.seal(*place)
    after_each()
    for entry in model.in_order():
        for first_number, last_number in _runs(entry, rnd):
            for _ in range(rnd.choice([1, 2])):
                await index.plan_object(entry.row_id, first_number, last_number)
            model.plan(entry.row_id, first_number, last_number)
            after_each()
        for row in list(entry.objects.values()):
            if row.state == "planned" and rnd.random() < 0.6:
                published, quarantine = _made(entry, row, rnd)
                summary = _summary(rnd)
                await index.publish_object(entry.row_id, published, quarantine, summary)
                model.publish(entry.row_id, published, quarantine, summary)
            elif row.state == "published" and row.has_local and rnd.random() < 0.4:
                await index.evicted(entry.row_id, row.first_number)
                model.evict(entry.row_id, row.first_number)
            elif rnd.random() < 0.2 and not (row.state == "published" and row.has_local):
                await index.evicted(entry.row_id, row.first_number)  # Changes nothing.
            after_each()
        if removes and rnd.random() < 0.15:
            removed = await index.remove(entry.tenant, entry.name)
            assert removed == model.remove(entry.tenant, entry.name)
            after_each()


def _runs(entry: Recorded, rnd: random.Random) -> list[tuple[int, int]]:
    """Choose runs of sealed segments that are in no object yet, as (first, last) numbers."""
    planned = {number for row in entry.objects.values() for number in numbers_of(row)}
    runs: list[tuple[int, int]] = []
    for number in [segment.number for segment in entry.sealed if segment.number not in planned]:
        if runs and runs[-1][1] == number - 1 and rnd.random() < 0.7:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return [run for run in runs if rnd.random() < 0.5]


def _made(
    entry: Recorded, row: ObjectRow, rnd: random.Random
) -> tuple[ObjectRow, tuple[tuple[int, int, int], ...]]:
    """Make up an object of a planned run: what it says of events is true, its sizes are as good as any."""
    commits = entry.commits_of(row)
    extent = _extent(commits)
    lines = extent.quarantine_count
    published = ObjectRow.published(
        row.first_number, row.last_number, extent,
        last_segment_size=commits[-1].segment_size,
        size=rnd.choice([1, 100, 5000]),
        crc32c=rnd.choice([0, 2**32 - 1]),
        published_ms=NOW_MS + rnd.randrange(5),
        has_local=True,
    )  # fmt: skip
    # Two blocks where there are lines enough, as if the rest had been merged.
    counts = [lines] if lines < 2 else [1, lines - 1]
    blocks = [
        (300 * place, commits[-1].extent.stored_ms, count) for place, count in enumerate(counts, start=1)
    ]
    return published, tuple(blocks) if lines else ()


URLS = (
    "https://a.example/",
    "https://a.example/b",
    "https://a.example/b/c",
    "https://\ud83d.example/%_*",
    "",
)


def _summary(rnd: random.Random) -> SummaryRow | None:
    """Make up a summary, or none."""
    if rnd.random() < 0.2:
        return None
    urls = tuple(rnd.sample(URLS, rnd.randrange(4)))
    active_ms, clicks, inputs, errors, rage_bursts = (rnd.choice([0, 0, 1, 7, 1000, 2**40]) for _ in range(5))
    first_url = urls[0] if urls else None
    activity, state = rnd.randbytes(3), rnd.randbytes(5)
    return SummaryRow(active_ms, clicks, inputs, errors, rage_bursts, first_url, urls, activity, state)


async def rebuild(index: Index, model: Model) -> None:
    """Tell an empty index all that ``model`` knows, as it can be read from segments and objects."""
    for entry in model.in_order():
        published = {row.first_number: row for row in entry.published}
        in_objects = {number for row in entry.published for number in numbers_of(row)}
        for number in sorted({commit.segment for commit in entry.commits}):
            if number in published:
                is_last = number == max(published)
                await index.add_object(_found(entry, published[number], entry.summary if is_last else None))
            elif number not in in_objects:
                await index.apply([commit for commit in entry.commits if commit.segment == number])
                if entry.segments[number].state == "sealed":
                    await index.seal([(entry.row_id, number)])
        for row in entry.objects.values():
            if row.state == "planned":
                await index.plan_object(entry.row_id, row.first_number, row.last_number)


def _found(entry: Recorded, row: ObjectRow, summary: SummaryRow | None) -> ObjectCommit:
    commits = entry.commits_of(row)
    return ObjectCommit(
        row_id=entry.row_id,
        tenant=entry.tenant,
        recording_id=entry.name,
        created_ms=entry.created_ms,
        object=row,
        extent=_extent(commits),
        quarantine=entry.in_objects[row.first_number],
        metadata=tuple(change for commit in commits for change in commit.metadata),
        local=entry.local_copies(row),
        summary=summary,
    )


def _extent(commits: Sequence[Commit]) -> Extent:
    return total((commit.extent for commit in commits), nothing(commits[0].extent.first_seq))


def _month(at_ms: int) -> tuple[int, int]:
    at = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC)
    return at.year, at.month


async def assert_same(index: Index, model: Model) -> None:
    """Ask both everything but filtered lists."""
    assert await index.active_segments() == model.active_segments()
    for tenant in (*TENANTS, "nobody"):
        for month_start_ms in (MONTH_MS, MONTH_MS - DAY_MS, 0):
            assert await index.statistics(tenant, month_start_ms=month_start_ms) == model.statistics(
                tenant, month_start_ms
            )
        listed = await index.list_recordings(tenant, filters=(), limit=100, offset=0)
        assert listed == model.list_recordings(tenant, (), 100, 0)
        for recording_id in RECORDINGS:
            assert await index.recording(tenant, recording_id) == model.recording(tenant, recording_id)
            assert await index.metadata(tenant, recording_id) == model.metadata(tenant, recording_id)
    names = [(tenant, recording_id) for tenant in ("nobody", *TENANTS) for recording_id in RECORDINGS]
    assert await index.recordings(names) == [model.recording(*name) for name in names]
    for row_id in [0, *(entry.row_id for entry in model.recordings.values())]:
        assert await index.summary(row_id) == model.summary(row_id)
    for some_tenant in (None, *TENANTS, "nobody"):
        for some_recording in (None, RECORDINGS[0]):
            found = await index.quarantine(tenant=some_tenant, recording_id=some_recording)
            assert sorted(found) == sorted(model.quarantine(some_tenant, some_recording))
        for limit in (2, 100):
            assert await _pages(index, some_tenant, limit) == model.oldest(some_tenant)
    await _assert_same_work(index, model)


async def _pages(index: Index, tenant: str | None, limit: int) -> list[AgeRow]:
    """Read ``oldest`` page by page, until one is empty."""
    found: list[AgeRow] = []
    while page := await index.oldest(
        tenant=tenant, after_row_id=found[-1].row_id if found else 0, limit=limit
    ):
        assert len(page) <= limit
        found += page
    return found


async def _assert_same_work(index: Index, model: Model) -> None:
    """Ask both what those ask who go from recording to recording."""
    assert await index.tenants() == model.tenants()
    assert await index.backlog() == model.backlog()
    stored_ms = sorted({row.last_stored_ms for row in model.oldest(None)})
    for settled_before_ms in (0, *stored_ms[:2]):
        for full_size, limit in ((220, 1), (220, 100), (10**9, 100)):
            assert await index.to_roll_up(
                settled_before_ms=settled_before_ms, full_size=full_size, limit=limit
            ) == model.to_roll_up(settled_before_ms, full_size, limit)
    for published_before_ms in (NOW_MS - 1, NOW_MS + 2):
        for limit in (1, 100):
            assert await index.to_evict(
                published_before_ms=published_before_ms, limit=limit
            ) == model.to_evict(published_before_ms, limit)


async def list_wanted(
    index: Index, tenant: str, filters: Sequence[tuple[str, str]], wanted: ListQuery, limit: int, offset: int
) -> list[ListedRecording]:
    """Return what ``begin_list`` and what follows encode."""
    found: list[ListedRecording] = []

    def encode(listed: ListedRecording) -> bytes:
        found.append(listed)
        return b"x"

    piece = await index.begin_list(
        tenant, filters=filters, limit=limit, offset=offset, encode=encode, bytes_max=3, wanted=wanted
    )
    while piece.rest:
        piece = await index.continue_list(piece.rest, encode=encode, bytes_max=3, with_standing=True)
    return found


# Places in a set

_PLACES = (1, 2, 62, 63, 64, 127, 128, 447, 448, 511, 512, 513, 575, 576, 1023, 1024, 5000, 40_000, 40_001)


def spread_blocks() -> list[Commit]:
    """Return blocks of recordings whose row ids stand at the edges of words and chunks of a set."""
    return [
        with_metadata(
            commit(row_id, recording_id=f"00000000-0000-4000-8000-{row_id:012d}"),
            all="x",
            odd=str(row_id % 2),
            half=str(2 * place // len(_PLACES)),
        )
        for place, row_id in enumerate(_PLACES)
    ]


async def assert_sets(index: Index, blocks: Sequence[Commit]) -> None:
    """Ask for recordings by their sets, and for what two sets have in common."""
    for wanted in (
        {},
        {"all": "x"},
        {"odd": "1"},
        {"half": "0"},
        {"all": "x", "odd": "0"},
        {"odd": "1", "half": "1"},
    ):
        listed = await index.list_recordings("alpha", filters=list(wanted.items()), limit=1000, offset=0)
        expected = [
            block.recording_id
            for block in reversed(blocks)
            if wanted.items() <= {change.key: change.value for change in block.metadata}.items()
        ]
        assert [entry.recording_id for entry in listed] == expected, wanted
