"""What the index is told and what it answers, as plain values."""

from __future__ import annotations

from typing import Literal, NamedTuple

SegmentState = Literal["active", "sealed"]


class MetadataChange(NamedTuple):
    """One key of a recording's metadata set to a value. The index counts its version."""

    key: str
    value: str
    at_ms: int


class Commit(NamedTuple):
    """One block that is synced: what the index must learn before the block is acked.

    ``row_id`` numbers recordings in the order in which they were created; whoever opens a
    new recording chooses it (``Index.next_row_id``). Everything here can be read from the
    segment again, which is how a lost index is rebuilt.
    """

    row_id: int
    tenant: str
    recording: str
    created_ms: int
    segment: int
    """Number of the segment, from 1."""
    segment_size: int
    """Durable size of the segment after this block, bytes."""
    block_offset: int
    stored_ms: int
    next_seq: int
    """sequenceId that the next event will get."""
    event_count: int
    first_ts: float
    """Least timestamp in the block, ms; meaningless without events."""
    last_ts: float
    raw_size: int
    """Events' bytes, decoded."""
    block_size: int
    """The block's bytes in the file (for the first block of a segment, the identity's too)."""
    duplicate_count: int
    quarantine_count: int
    metadata: tuple[MetadataChange, ...]


class SegmentRow(NamedTuple):
    """One segment of a recording, as the index knows it."""

    number: int
    state: SegmentState
    size: int
    """Durable size, bytes: readers go no further."""
    first_ts: float | None
    """Least timestamp, ms; None without events."""
    last_ts: float | None


class RecordingRow(NamedTuple):
    """One recording, with its segments in order."""

    row_id: int
    tenant: str
    recording: str
    created_ms: int
    next_seq: int
    last_ts: float | None
    """Greatest timestamp of any event, ms; None without events."""
    visible: bool
    """It has events or metadata. A recording of quarantined lines alone is not shown by the API."""
    metadata_keys: frozenset[str]
    segments: tuple[SegmentRow, ...]


class MetadataRow(NamedTuple):
    key: str
    value: str
    version: int
    """Counts the writes of this key, from 1."""
    at_ms: int
    """When it was written last."""


class ListedRecording(NamedTuple):
    recording: str
    created_ms: int
    metadata: dict[str, str]


class Statistics(NamedTuple):
    recordings: int
    recordings_this_month: int
    storage_bytes: int
    """Bytes of segment files."""


class QuarantineRow(NamedTuple):
    """One block that holds quarantined lines."""

    tenant: str
    recording: str
    segment: int
    state: SegmentState
    block_offset: int
    stored_ms: int
    line_count: int
