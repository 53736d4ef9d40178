"""What the index must answer, said the slow and simple way, and commits to ask it about."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from rrd.index.index import Index
from rrd.index.rows import (
    Commit,
    ListedRecording,
    MetadataChange,
    MetadataRow,
    QuarantineRow,
    RecordingRow,
    SegmentRow,
    Statistics,
)

TENANTS = ("alpha", "beta")
# Both tenants use the same ids, so whatever mixes tenants up shows.
RECORDINGS = tuple(f"00000000-0000-4000-8000-00000000000{i}" for i in range(4))
# Lone surrogates, NUL and "" are legal JSON; pairs are made to meet again and again.
KEYS = ("userId", "plan", "", "\ud83d")
VALUES = ("1", "1 ", "", "a\0b", "a\0c", "é", "\udc00x", "v" * 4096, "v" * 4095 + "w")
NOW_MS = 1_732_342_000_000  # 23 November 2024
MONTH_MS = 1_730_419_200_000  # 1 November 2024
DAY_MS = 86_400_000


@dataclass
class Step:
    """One block to come: enough to make a ``Commit`` of, once it is known what came before."""

    tenant: str
    recording: str
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
    recording=st.sampled_from(RECORDINGS),
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
class _Recording:
    row_id: int
    tenant: str
    name: str
    created_ms: int
    next_seq: int = 1
    last_ts: float | None = None
    visible: bool = False
    stored_bytes: int = 0
    metadata: dict[str, MetadataRow] = field(default_factory=dict)
    segments: dict[int, SegmentRow] = field(default_factory=dict)
    quarantine: list[tuple[int, int, int, int]] = field(default_factory=list)


class Model:
    """A naive index. ``commits`` turns steps into commits that fit; ``apply`` takes them in."""

    def __init__(self) -> None:
        self.recordings: dict[tuple[str, str], _Recording] = {}
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
        known = self.recordings.get((step.tenant, step.recording))
        if known is None:
            row_id, self._next_row_id = self._next_row_id, self._next_row_id + step.row_id_gap
            number, size, next_seq, created_ms = 1, 0, 1, step.created_ms
        else:
            row_id, next_seq, created_ms = known.row_id, known.next_seq, known.created_ms
            number = max(known.segments)
            size = known.segments[number].size
            if step.new_segment or known.segments[number].state == "sealed":
                number, size = number + 1, 0
        self._clock_ms += 1
        block_size = 200 + 10 * len(step.timestamps)
        return Commit(
            row_id=row_id,
            tenant=step.tenant,
            recording=step.recording,
            created_ms=created_ms,
            segment=number,
            segment_size=size + block_size,
            block_offset=size,
            stored_ms=self._clock_ms,
            next_seq=next_seq + len(step.timestamps),
            event_count=len(step.timestamps),
            # Without events both are meaningless: 0 here must not become a timestamp there.
            first_ts=min(step.timestamps, default=0),
            last_ts=max(step.timestamps, default=0),
            raw_size=50 * len(step.timestamps),
            block_size=block_size,
            duplicate_count=step.duplicates,
            quarantine_count=step.quarantined,
            metadata=tuple(
                MetadataChange(key, value, self._clock_ms + i) for i, (key, value) in enumerate(step.metadata)
            ),
        )

    def apply(self, commit: Commit) -> None:
        entry = self.recordings.setdefault(
            (commit.tenant, commit.recording),
            _Recording(commit.row_id, commit.tenant, commit.recording, commit.created_ms),
        )
        entry.next_seq = commit.next_seq
        entry.stored_bytes += commit.block_size
        entry.visible |= commit.event_count > 0 or commit.metadata != ()
        segment = entry.segments.get(commit.segment, SegmentRow(commit.segment, "active", 0, None, None))
        segment = segment._replace(size=commit.segment_size)
        if commit.event_count:
            first = [ts for ts in (segment.first_ts, commit.first_ts) if ts is not None]
            last = [ts for ts in (segment.last_ts, commit.last_ts) if ts is not None]
            segment = segment._replace(first_ts=min(first), last_ts=max(last))
            entry.last_ts = max(ts for ts in (entry.last_ts, commit.last_ts) if ts is not None)
        entry.segments[commit.segment] = segment
        if commit.quarantine_count:
            place = (commit.segment, commit.block_offset, commit.stored_ms, commit.quarantine_count)
            entry.quarantine.append(place)
        for change in commit.metadata:
            old = entry.metadata.get(change.key)
            version = old.version + 1 if old else 1
            entry.metadata[change.key] = MetadataRow(change.key, change.value, version, change.at_ms)

    def seal(self, row_id: int, number: int) -> None:
        (entry,) = [entry for entry in self.recordings.values() if entry.row_id == row_id]
        entry.segments[number] = entry.segments[number]._replace(state="sealed")

    def active(self) -> list[tuple[int, int]]:
        return [(row_id, segment.number) for _, _, row_id, segment in self.active_segments()]

    # The questions

    def recording(self, tenant: str, recording: str) -> RecordingRow | None:
        entry = self.recordings.get((tenant, recording))
        if entry is None:
            return None
        return RecordingRow(
            entry.row_id,
            tenant,
            recording,
            entry.created_ms,
            entry.next_seq,
            entry.last_ts,
            entry.visible,
            frozenset(entry.metadata),
            tuple(entry.segments[number] for number in sorted(entry.segments)),
        )

    def metadata(self, tenant: str, recording: str) -> list[MetadataRow]:
        entry = self.recordings.get((tenant, recording))
        return [entry.metadata[key] for key in sorted(entry.metadata)] if entry else []

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
        return [
            ListedRecording(
                entry.name, entry.created_ms, {key: row.value for key, row in entry.metadata.items()}
            )
            for entry in found[offset : offset + limit]
        ]

    def statistics(self, tenant: str, month_start_ms: int) -> Statistics:
        mine = [entry for entry in self.recordings.values() if entry.tenant == tenant]
        visible = [entry for entry in mine if entry.visible]
        this_month = [entry for entry in visible if _month(entry.created_ms) == _month(month_start_ms)]
        return Statistics(len(visible), len(this_month), sum(entry.stored_bytes for entry in mine))

    def active_segments(self) -> list[tuple[str, str, int, SegmentRow]]:
        return [
            (entry.tenant, entry.name, entry.row_id, segment)
            for entry in sorted(self.recordings.values(), key=lambda entry: entry.row_id)
            for _, segment in sorted(entry.segments.items())
            if segment.state == "active"
        ]

    def quarantine(self, tenant: str | None, recording: str | None) -> list[QuarantineRow]:
        return [
            QuarantineRow(
                entry.tenant, entry.name, number, entry.segments[number].state, offset, stored_ms, count
            )
            for entry in self.recordings.values()
            if tenant in (None, entry.tenant) and recording in (None, entry.name)
            for number, offset, stored_ms, count in entry.quarantine
        ]


def _month(at_ms: int) -> tuple[int, int]:
    at = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC)
    return at.year, at.month


async def assert_same(index: Index, model: Model) -> None:
    """Ask both everything but filtered lists."""
    assert await index.is_empty() == (not model.recordings)
    assert await index.active_segments() == model.active_segments()
    for tenant in (*TENANTS, "nobody"):
        for month_start_ms in (MONTH_MS, MONTH_MS - DAY_MS, 0):
            assert await index.statistics(tenant, month_start_ms=month_start_ms) == model.statistics(
                tenant, month_start_ms
            )
        listed = await index.list_recordings(tenant, filters=(), limit=100, offset=0)
        assert listed == model.list_recordings(tenant, (), 100, 0)
        for recording in RECORDINGS:
            assert await index.recording(tenant, recording) == model.recording(tenant, recording)
            assert await index.metadata(tenant, recording) == model.metadata(tenant, recording)
    for some_tenant in (None, *TENANTS, "nobody"):
        for some_recording in (None, RECORDINGS[0]):
            found = await index.quarantine(tenant=some_tenant, recording=some_recording)
            assert sorted(found) == sorted(model.quarantine(some_tenant, some_recording))
