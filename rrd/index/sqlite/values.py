"""Values on their way into SQLite and out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

from rrd.extent import nothing
from rrd.index.rows import (
    RECORDING_COLUMNS,
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
from rrd.index.sqlite.queries import BLOCK_FIELDS, FOUND_FIELDS, PUBLISHED

Row = tuple[Any, ...]

STATES: tuple[SegmentState, ...] = ("active", "sealed", "rolled")
"""``segment.state`` is the place in here."""

OBJECT_STATES: tuple[ObjectState, ...] = ("planned", "published")
"""``object.state`` is the place in here."""


def block_values(commit: Commit) -> Row:
    """Return the values for ``queries.PUT_BLOCK``."""
    extent = commit.extent
    is_visible = extent.event_count > 0 or bool(commit.metadata)
    return (*commit[:8], extent.limit_seq, is_visible, *extent[-len(BLOCK_FIELDS) :])


def metadata_values(commit: Commit | ObjectCommit) -> Iterator[Row]:
    """Yield the values for ``queries.PUT_METADATA``, one row for each change, in order."""
    for change in commit.metadata:
        key, value = to_blob(change.key), to_blob(change.value)
        yield commit.row_id, key, value, digest(commit.tenant, key, value), change.at_ms


def published_values(row: ObjectRow) -> Row:
    """Return the values for the end of ``queries.PUBLISH_OBJECT`` and ``queries.ADD_OBJECT``."""
    return tuple(getattr(row, field) for field in PUBLISHED)


def found_values(commit: ObjectCommit) -> Row:
    """Return the values for ``queries.ADD_OBJECT``."""
    is_visible = commit.object.event_count > 0 or bool(commit.metadata)
    rest = (getattr(commit.extent, field) for field in FOUND_FIELDS)
    own = (*commit[:4], commit.extent.limit_seq, is_visible, bool(commit.local))
    return (*own, *rest, *published_values(commit.object))


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
    return row._replace(state=OBJECT_STATES[int(row.state)], has_local=bool(row.has_local))


def recording_rows(names: Sequence[tuple[str, str]], rows: Iterable[Row]) -> list[RecordingRow | None]:
    """Put together what the rows of ``queries.RECORDING`` or ``queries.RECORDINGS`` say of ``names``."""
    found: list[tuple[list[list[Any]], ...]] = [([], [], [], []) for _ in names]
    for kind, which, *values in rows:
        found[which][kind].append(values)
    return [
        _recording_row(name, parts) if parts[0] else None for name, parts in zip(names, found, strict=True)
    ]


def _recording_row(name: tuple[str, str], parts: Sequence[list[list[Any]]]) -> RecordingRow:
    """``parts``: what was found of the recording, by kind."""
    (own,), segments, keys, objects = parts
    row_id, created_ms, visible, stored_bytes, next_seq, *counters = own
    known = dict(zip(RECORDING_COLUMNS, counters, strict=False))
    return RecordingRow(
        row_id,
        *name,
        created_ms,
        extent=nothing(1)._replace(event_count=next_seq - 1, **known),
        visible=bool(visible),
        metadata_keys=frozenset(to_text(key) for key, *_ in keys),
        segments=tuple(sorted(segment_row(values[: len(SegmentRow._fields)]) for values in segments)),
        objects=tuple(sorted(object_row(values[: len(ObjectRow._fields)]) for values in objects)),
        stored_bytes=stored_bytes,
    )


def evict_rows(rows: Iterable[Row]) -> list[EvictRow]:
    """Put together what the rows of ``queries.TO_EVICT`` say, oldest published first."""
    found: dict[tuple[int, int, int], tuple[EvictRow, list[SegmentRow]]] = {}
    for published_ms, row_id, first_number, last_number, tenant, name, *segment in rows:
        entry = EvictRow(row_id, tenant, name, first_number, last_number, ())
        _, copies = found.setdefault((published_ms, row_id, first_number), (entry, []))
        if segment[0] is not None:
            copies.append(segment_row(segment))
    return [entry._replace(segments=tuple(sorted(copies))) for _, (entry, copies) in sorted(found.items())]


def quarantine_row(values: Row) -> QuarantineRow:
    """Read a row of ``queries.QUARANTINE``."""
    tenant, recording, segment, block_offset, stored_ms, line_count, number, *columns = values
    packed = object_row(columns) if columns[0] is not None else None
    state = "rolled" if packed else STATES[number]
    return QuarantineRow(tenant, recording, segment, state, block_offset, stored_ms, line_count, packed)


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
