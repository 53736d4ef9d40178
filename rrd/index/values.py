"""Values on their way into SQLite and out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

from rrd.extent import nothing
from rrd.index.queries import BLOCK_FIELDS, FOUND_FIELDS, RECORDING_COLUMNS
from rrd.index.rows import (
    Commit,
    EvictRow,
    ObjectCommit,
    ObjectRow,
    ObjectState,
    QuarantineRow,
    RecordingRow,
    SegmentRow,
    SegmentState,
)

Row = tuple[Any, ...]

STATES: tuple[SegmentState, ...] = ("active", "sealed", "rolled")
"""``segment.state`` is the place in here."""

OBJECT_STATES: tuple[ObjectState, ...] = ("planned", "published")
"""``object.state`` is the place in here."""


def block_values(commit: Commit) -> Row:
    """Return the values for ``queries.PUT_BLOCK``."""
    extent = commit.extent
    return (
        commit.row_id,
        commit.tenant,
        commit.recording,
        commit.created_ms,
        commit.segment,
        commit.segment_size,
        commit.block_offset,
        commit.block_size,
        extent.first_seq + extent.event_count,
        extent.event_count > 0 or bool(commit.metadata),
        *extent[-len(BLOCK_FIELDS) :],
    )


def metadata_values(commit: Commit | ObjectCommit) -> Iterator[Row]:
    """Yield the values for ``queries.PUT_METADATA``, one row for each change, in order."""
    for change in commit.metadata:
        key, value = to_blob(change.key), to_blob(change.value)
        yield commit.row_id, key, value, digest(commit.tenant, key, value), change.at_ms


def published_values(row: ObjectRow) -> Row:
    """Return the values for the end of ``queries.PUBLISH_OBJECT`` and ``queries.ADD_OBJECT``."""
    return (
        row.first_number,
        row.last_number,
        row.last_segment_size,
        row.first_seq,
        row.event_count,
        row.size,
        row.crc32c,
        row.raw_size,
        row.first_ts,
        row.last_ts,
        row.published_ms,
    )


def found_values(commit: ObjectCommit) -> Row:
    """Return the values for ``queries.ADD_OBJECT``."""
    return (
        commit.row_id,
        commit.tenant,
        commit.recording,
        commit.created_ms,
        commit.extent.limit_seq,
        commit.object.event_count > 0 or bool(commit.metadata),
        bool(commit.local),
        *(getattr(commit.extent, field) for field in FOUND_FIELDS),
        *published_values(commit.object),
    )


def rolled_values(commit: ObjectCommit) -> Iterator[Row]:
    """Yield the values for ``queries.ADD_ROLLED_SEGMENT``."""
    for segment in commit.local:
        yield commit.row_id, segment.number, segment.size, segment.first_ts, segment.last_ts


def quarantine_values(
    row_id: int, first_number: int, blocks: Sequence[tuple[int, int, int]]
) -> Iterator[Row]:
    """Yield the values for ``queries.ADD_QUARANTINE``."""
    for block_offset, stored_ms, line_count in blocks:
        yield row_id, first_number, block_offset, stored_ms, line_count


def filter_values(tenant: str, filters: Sequence[tuple[str, str]]) -> list[Any]:
    """Return the values for ``listing.filter_sets_sql(len(filters))``."""
    values: list[Any] = []
    for key_text, value_text in filters:
        key, value = to_blob(key_text), to_blob(value_text)
        values += (digest(tenant, key, value), value, tenant, key)
    return values


def segment_row(values: Sequence[Any]) -> SegmentRow:
    """Read (number, state, size, first_ts, last_ts)."""
    number, state, size, first_ts, last_ts = values
    return SegmentRow(number, STATES[state], size, first_ts, last_ts)


def object_row(values: Sequence[Any]) -> ObjectRow:
    """Read the columns of ``ObjectRow``, in its order."""
    row = ObjectRow(*values)
    return row._replace(state=OBJECT_STATES[values[10]], has_local=bool(row.has_local))


def recording_rows(names: Sequence[tuple[str, str]], rows: Iterable[Row]) -> list[RecordingRow | None]:
    """Put together what the rows of ``queries.RECORDING`` or ``queries.RECORDINGS`` say of ``names``."""
    found = [_Found() for _ in names]
    for kind, which, *values in rows:
        parts = found[which]
        if kind == 0:
            parts.values = tuple(values)
        elif kind == 1:
            parts.segments.append(segment_row(values[:5]))
        elif kind == 2:
            parts.metadata_keys.append(to_text(values[0]))
        else:
            parts.objects.append(object_row(values[: len(ObjectRow._fields)]))
    return [
        _recording_row(tenant, recording, parts.values, parts) if parts.values is not None else None
        for (tenant, recording), parts in zip(names, found, strict=True)
    ]


class _Found:
    """What was found of one recording so far."""

    __slots__ = ("metadata_keys", "objects", "segments", "values")

    def __init__(self) -> None:
        self.values: Row | None = None
        """Those of kind 0."""
        self.segments: list[SegmentRow] = []
        self.metadata_keys: list[str] = []
        self.objects: list[ObjectRow] = []


def _recording_row(tenant: str, recording: str, values: Row, parts: _Found) -> RecordingRow:
    row_id, created_ms, visible, stored_bytes, next_seq, *counters = values
    known = dict(zip(RECORDING_COLUMNS, counters, strict=False))
    return RecordingRow(
        row_id=row_id,
        tenant=tenant,
        recording=recording,
        created_ms=created_ms,
        extent=nothing(1)._replace(event_count=next_seq - 1, **known),
        visible=bool(visible),
        metadata_keys=frozenset(parts.metadata_keys),
        segments=tuple(sorted(parts.segments)),
        objects=tuple(sorted(parts.objects)),
        stored_bytes=stored_bytes,
    )


def evict_rows(rows: Iterable[Row]) -> list[EvictRow]:
    """Put together what the rows of ``queries.TO_EVICT`` say, oldest published first."""
    objects: dict[tuple[int, int, int], EvictRow] = {}
    copies: dict[tuple[int, int, int], list[SegmentRow]] = {}
    for published_ms, row_id, first_number, last_number, tenant, name, *segment in rows:
        place = (published_ms, row_id, first_number)
        objects[place] = EvictRow(row_id, tenant, name, first_number, last_number, ())
        if segment[0] is not None:
            copies.setdefault(place, []).append(segment_row(segment))
    return [
        entry._replace(segments=tuple(sorted(copies.get(place, ()))))
        for place, entry in sorted(objects.items())
    ]


def quarantine_row(values: Row) -> QuarantineRow:
    """Read a row of ``queries.QUARANTINE``."""
    tenant, recording, segment, block_offset, stored_ms, line_count, state, *columns = values
    packed = object_row(columns) if columns[0] is not None else None
    return QuarantineRow(
        tenant,
        recording,
        segment,
        "rolled" if packed else STATES[state],
        block_offset,
        stored_ms,
        line_count,
        packed,
    )


def digest(tenant: str, key: bytes, value: bytes) -> int:
    """Return a facet's 64-bit digest, signed as SQLite's integers are.

    Facets with equal digests are told apart by comparing them, so a collision costs only that,
    and where the parts end in what is hashed doesn't matter.
    """
    state = blake2b(value, digest_size=8)
    state.update(key)
    state.update(tenant.encode())
    return int.from_bytes(state.digest(), "little", signed=True)


def to_blob(text: str) -> bytes:
    """Encode text that may hold lone surrogates."""
    return text.encode("utf-8", "surrogatepass")


def to_text(blob: bytes) -> str:
    return blob.decode("utf-8", "surrogatepass")
