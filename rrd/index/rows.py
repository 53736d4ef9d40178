"""What the index is told and what it answers, as plain values."""

from __future__ import annotations

from typing import Literal, NamedTuple

from rrd.extent import Extent, nothing

SegmentState = Literal["active", "sealed", "rolled"]
"""*Rolled*: an object that holds it is published, so this local copy may go at any time."""

ObjectState = Literal["planned", "published"]
"""*Planned*: a promise to make an object of exactly that run of segments. *Published*: the store has it."""

SUMMARY_URLS_MAX = 50
SUMMARY_LEVELS_MAX = 64

RECORDING_COLUMNS = {
    "last_ts": "last_ts",
    "raw_size": "raw_bytes",
    "stored_ms": "last_stored_ms",
    "duplicate_count": "duplicates",
    "quarantine_count": "quarantined",
}
"""Field of an extent that is kept for the whole recording → what the index calls it."""


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
    recording_id: str
    created_ms: int
    segment: int
    """Number of the segment, from 1."""
    segment_size: int
    """Durable size of the segment after this block, bytes."""
    block_offset: int
    block_size: int
    """The block's bytes in the file (for the first block of a segment, the identity's too)."""
    extent: Extent
    """Of the block: the next event gets its ``limit_seq``."""
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


class ObjectRow(NamedTuple):
    """One object of a recording: an immutable file in the object store, made of a run of its segments.

    While it is planned only the run and ``has_local`` mean something; all the rest is 0 or None.
    """

    first_number: int
    """Number of the first segment in it."""
    last_number: int
    """Number of the last one."""
    last_segment_size: int
    """Durable size of segment ``last_number``, bytes."""
    first_seq: int
    """sequenceId of its first event; of the next one to come if it has none."""
    event_count: int
    size: int
    """Bytes of the object."""
    crc32c: int
    """CRC-32C of the whole object."""
    raw_size: int
    """Events' bytes, decoded."""
    first_ts: float | None
    """Least timestamp, ms; None without events."""
    last_ts: float | None
    state: ObjectState
    published_ms: int
    """When it was published; 0 while it is planned."""
    has_local: bool
    """Local copies of its segments have not been evicted yet."""

    @classmethod
    def published(
        cls,
        first_number: int,
        last_number: int,
        extent: Extent,
        *,
        last_segment_size: int,
        size: int,
        crc32c: int,
        published_ms: int,
        has_local: bool,
    ) -> ObjectRow:
        """Return the row of an object that is, or will be, in the store."""
        return cls(
            first_number, last_number, last_segment_size, extent.first_seq, extent.event_count, size, crc32c,
            extent.raw_size, extent.first_ts, extent.last_ts, "published", published_ms, has_local,
        )  # fmt: skip


class RecordingRow(NamedTuple):
    """One recording, with its segments and objects in order."""

    row_id: int
    tenant: str
    recording_id: str
    created_ms: int
    extent: Extent
    """Of all events that it was given. Its ``first_ts`` is not known here."""
    visible: bool
    """It has events or metadata. A recording of quarantined lines alone is not shown by the API."""
    metadata_keys: frozenset[str]
    segments: tuple[SegmentRow, ...]
    """Those of which there is a local file, by number."""
    objects: tuple[ObjectRow, ...] = ()
    """By ``first_number``."""
    stored_bytes: int = 0
    """Bytes of objects, and of segments that are in none."""

    @property
    def next_seq(self) -> int:
        """sequenceId that the next event will get."""
        return self.extent.limit_seq


class MetadataRow(NamedTuple):
    key: str
    value: str
    version: int
    """Counts the writes of this key, from 1."""
    at_ms: int
    """When it was written last."""


Sort = Literal["newest", "duration", "active", "errors", "bytes"]
"""Order of a list, the greatest first, equal ones the newest first."""


class ListQuery(NamedTuple):
    """What a list is to hold besides what its metadata filters say, and in which order.

    ``duration``, ``active``, ``errors``, ``bytes`` and what is asked of them are as of the last object of
    a recording. One without an object, or whose objects have no summary, comes after those that have what the
    list is sorted by, newest first, and matches nothing that is asked of it.
    """

    sort: Sort = "newest"
    from_ms: float | None = None
    """It began then or later: ``created_ms``."""
    to_ms: float | None = None
    """It began before that."""
    url: str | None = None
    """One of its urls is this. With a ``*`` at its end: begins with what is before that."""
    min_duration_ms: float | None = None
    min_active_ms: float | None = None
    has_errors: bool = False
    among: tuple[int, ...] | None = None
    """Row ids, of which it has one; None stands for any."""


class StandingRow(NamedTuple):
    """What a list tells of one recording, as far as it is known."""

    first_ts: float | None
    last_ts: float | None
    events: int
    raw_bytes: int
    active_ms: int | None
    clicks: int | None
    inputs: int | None
    errors: int | None
    rage_bursts: int | None
    first_url: str | None
    activity: bytes | None


class ListedRecording(NamedTuple):
    recording_id: str
    created_ms: int
    metadata: dict[str, str]
    standing: StandingRow | None = None
    """Only where it was asked for."""


class ListPart(NamedTuple):
    """A part of a list."""

    items: list[bytes]
    """Recordings, each encoded."""
    rest: list[int]
    """Row ids of those after them."""


class Statistics(NamedTuple):
    recordings: int
    recordings_this_month: int
    storage_bytes: int
    """Bytes of objects, and of segments that are in none."""


class SummaryRow(NamedTuple):
    """What happened in the events of a recording that are in published objects."""

    active_ms: int
    clicks: int
    inputs: int
    errors: int
    rage_bursts: int
    first_url: str | None
    """Of the first page; None without any."""
    urls: tuple[str, ...]
    """Each once, without query string and fragment, at most ``SUMMARY_URLS_MAX``."""
    activity: bytes
    """How much happened, one level a slot, for a line in a list: at most ``SUMMARY_LEVELS_MAX`` levels."""
    state: bytes
    """What merging with the summary of a later object takes: opaque to the index."""


class QuarantineRow(NamedTuple):
    """One block that holds quarantined lines."""

    tenant: str
    recording_id: str
    segment: int
    """Number of its segment; of its object's first segment if ``object`` is set."""
    state: SegmentState
    """"rolled" if ``object`` is set."""
    block_offset: int
    """Where it begins: in that object if there is one, else in that segment's local file."""
    stored_ms: int
    line_count: int
    object: ObjectRow | None = None
    """The published object that the block is in; None while it is in a local segment alone."""


class ObjectCommit(NamedTuple):
    """One object found in the store, told while a lost index is rebuilt.

    It stands for the blocks of all its segments, which must not be told as ``Commit`` then.
    """

    row_id: int
    tenant: str
    recording_id: str
    created_ms: int
    object: ObjectRow
    """``state`` and ``has_local`` are not looked at: it is published, and ``local`` tells the other."""
    extent: Extent
    """What its blocks add up to: the next event after it gets the ``limit_seq``."""
    quarantine: tuple[tuple[int, int, int], ...]
    """Blocks in it that hold quarantined lines: (offset in the object, stored_ms, line count)."""
    metadata: tuple[MetadataChange, ...]
    local: tuple[SegmentRow, ...] = ()
    """Its segments of which there still is a local file. They become "rolled", whatever their ``state``."""
    summary: SummaryRow | None = None
    """Of the recording, up to this object; None leaves what is known."""


class Kept(NamedTuple):
    """What was known of a recording, and its files no longer show, for the index that is made anew."""

    row_id: int
    tenant: str
    recording_id: str
    created_ms: int
    segments: tuple[SegmentRow, ...]
    """Those that are gone, or shorter than they were acked: their durable sizes."""
    objects: tuple[ObjectRow, ...] = ()
    """Published ones that are gone."""
    metadata: tuple[MetadataRow, ...] = ()
    """All that was known: of each key the higher version counts."""
    visible: bool = False
    extent: Extent = nothing(1)
    """What the counters of the recording must not be less than."""


class EvictRow(NamedTuple):
    """A published object of which local copies remain."""

    row_id: int
    tenant: str
    recording_id: str
    first_number: int
    last_number: int
    segments: tuple[SegmentRow, ...]
    """The local copies, by number."""


class RemovedRecording(NamedTuple):
    """What there was of a recording that is removed."""

    row_id: int
    created_ms: int
    events: int
    raw_bytes: int
    stored_bytes: int
    objects: int
    """How many published ones."""


class AgeRow(NamedTuple):
    """A recording, visible or not, as whoever decides what to keep sees it."""

    row_id: int
    tenant: str
    recording_id: str
    created_ms: int
    last_stored_ms: int
    stored_bytes: int
    events: int


class TenantRow(NamedTuple):
    name: str
    recordings: int
    """Visible ones."""
    storage_bytes: int


class Backlog(NamedTuple):
    """What is sealed and in no published object yet."""

    segments: int
    bytes: int
    oldest_stored_ms: int | None
    """Least ``last_stored_ms`` of the recordings that they are of; None if there are none."""
