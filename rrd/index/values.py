"""Values on their way into SQLite and out of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

from rrd.index.rows import Commit, SegmentRow, SegmentState

Row = tuple[Any, ...]

STATES: tuple[SegmentState, SegmentState] = ("active", "sealed")
"""``segment.state`` is the place in here."""


def block_values(commit: Commit) -> Row:
    """Return the values for ``queries.PUT_BLOCK``."""
    has_events = commit.event_count > 0
    return (
        commit.row_id,
        commit.tenant,
        commit.recording,
        commit.created_ms,
        commit.segment,
        commit.segment_size,
        commit.block_offset,
        commit.stored_ms,
        commit.next_seq,
        commit.first_ts if has_events else None,
        commit.last_ts if has_events else None,
        commit.raw_size,
        commit.block_size,
        commit.duplicate_count,
        commit.quarantine_count,
        has_events or bool(commit.metadata),
    )


def metadata_values(commit: Commit) -> Iterator[Row]:
    """Yield the values for ``queries.PUT_METADATA``, one row for each change, in order."""
    for change in commit.metadata:
        key, value = to_blob(change.key), to_blob(change.value)
        yield commit.row_id, key, value, digest(commit.tenant, key, value), change.at_ms


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
