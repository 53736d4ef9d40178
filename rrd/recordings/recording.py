"""One open recording: what waits to be stored, and what the next block will be.

Sources put batches; the committer takes them out again, one block's
worth at a time and never two at once, so that a segment never has two blocks that are not synced.
Nothing here waits or touches a file, except ``filter_repeats``, which reads and runs in a worker thread.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

from rrd.errors import Gone, RrdError, ShuttingDown
from rrd.index.rows import RecordingRow
from rrd.recordings.history import History, line_keys, metadata_digest
from rrd.recordings.repeats import find_new
from rrd.recordings.source import Pending, Source, Tally, Work, join, size_of
from rrd.segment.commit import Stored
from rrd.segment.format import BlockDraft, MetadataNote, QuarantineNote
from rrd.segment.writer import SegmentWriter
from rrd.wire.events import check_lines
from rrd.wire.limits import Limits
from rrd.wire.metadata import BadPair, over_the_limit

BLOCK_BYTES_MAX = 4 << 20
"""A block takes in no further batch beyond this size: it is what a reader holds at once, and what
one damaged byte can cost. A single larger event still gets its block."""


SERVER_KEYS = frozenset({"ingestOrigin", "ipAddress", "userAgent"})
"""Metadata that the server adds by itself. It takes no room from the page's own."""


class Waiting:
    """What is counted over all recordings."""

    def __init__(self) -> None:
        self.bytes = 0
        """Bytes of batches that are in memory and not safe yet."""
        self.bytes_of: Counter[str] = Counter()
        """The same, by tenant."""
        self.late_lines: Counter[tuple[str, str]] = Counter()
        """Lines that came for each (tenant, recording) that is erased, since somebody took this."""

    def add(self, tenant: str, size: int) -> None:
        """So many bytes more, or less, wait."""
        self.bytes += size
        self.bytes_of[tenant] += size
        if not self.bytes_of[tenant]:
            del self.bytes_of[tenant]


class Recording:
    """Everything in memory about one recording that is being written."""

    def __init__(
        self,
        *,
        tenant: str,
        recording: str,
        created_ms: int,
        used_at: float,
        row: RecordingRow | None,
        limits: Limits,
        waiting: Waiting,
        wake: Callable[[Recording], None],
    ) -> None:
        """Use ``Registry.source``. ``created_ms`` counts if there is no ``row`` yet."""
        self.tenant = tenant
        self.recording = recording
        self.created_ms = row.created_ms if row else created_ms
        self.row_id = row.row_id if row else None
        self.next_seq = row.next_seq if row else 1
        self.metadata_keys = set(row.metadata_keys) if row else set()
        self.writer: SegmentWriter | None = None
        self.last_segment = _last_segment(row)
        """Number and durable size of the newest segment, the writer's once it has a block; (0, 0) without."""
        self.history: History | None = None
        self.busy = False
        """A block of it is on its way."""
        self.pending_bytes = 0
        self.sources = 0
        self.used_at = used_at
        """Monotonic time, in seconds, when it was last written to."""
        self.applied = 0
        """Metadata, in events and by itself, of which the latest draft kept something."""
        self.quarantined = 0
        """Lines and pairs of the latest draft that are in quarantine: by it, or since earlier."""
        self.duplicates = 0
        """Repeats since the last block, to be told in the next block's header."""
        self._limits = limits
        self._waiting = waiting
        self._wake = wake
        self._pending: deque[Pending] = deque()
        self._others_ts = row.extent.last_ts if row and row.extent.last_ts is not None else float("-inf")
        self._live_ts: dict[int, float] = {}
        self._has_stored = row is not None
        self.is_over = False
        """The page has said so (``close-permanent``), and nothing came after."""
        self.closed = False
        self.refusal: RrdError | None = None
        """Why nothing more is taken, once ``closed``; None while the daemon stops."""

    def put(self, pending: Pending) -> None:
        """Take something to be stored. Once let go, it raises ``refusal``, or ``ShuttingDown``."""
        if self.closed:
            batch = pending.batch
            lines = batch.event_count + len(batch.metadata) + len(batch.rejected)
            if isinstance(self.refusal, Gone):
                self._waiting.late_lines[self.tenant, self.recording] += max(lines, 1)
            raise self.refusal or ShuttingDown("the daemon is stopping, and takes nothing more")
        self._pending.append(pending)
        size = size_of(pending.batch)
        self.pending_bytes += size
        self._waiting.add(self.tenant, size)
        if not self.busy:
            self._wake(self)

    def is_idle(self) -> bool:
        return not (self.sources or self.busy or self._pending)

    def is_silent(self) -> bool:
        """Tell whether nothing is waiting or on its way, though senders may still be there."""
        return not (self.busy or self._pending)

    def refuse_pending(self, failure: RrdError) -> None:
        """Give up what waits; its sources are told ``failure``."""
        while self._pending:
            pending = self._pending.popleft()
            size = size_of(pending.batch)
            self.pending_bytes -= size
            self._waiting.add(self.tenant, -size)
            pending.source.settle(1, Tally(), failure)

    def live_sources(self) -> frozenset[int]:
        """Ids of the senders that have stored events and are still there."""
        return frozenset(self._live_ts)

    def has_pending(self) -> bool:
        return bool(self._pending)

    def take(self) -> Work | None:
        """Take out what the next block is made of: batches of the source that came first."""
        if not self._pending:
            return None
        first = self._pending.popleft()
        taken, size = [first], size_of(first.batch)
        while self._pending and self._pending[0].source is first.source and size < BLOCK_BYTES_MAX:
            following = self._pending.popleft()
            size += size_of(following.batch)
            taken.append(following)
        self.busy = True
        metadata = tuple(pending.metadata for pending in taken if pending.metadata is not None)
        return Work(first.source, len(taken), size, join([pending.batch for pending in taken]), metadata)

    def taken_out(self, work: Work) -> None:
        """The bytes of ``work`` are no longer waiting, whatever became of them."""
        self.pending_bytes -= work.size
        self._waiting.add(self.tenant, -work.size)
        self.busy = False

    def needs_history(self, work: Work) -> bool:
        """Tell whether something in ``work`` may be a repeat, so that ``filter_repeats`` must look."""
        return (self._has_stored and self._may_be_known(work)) or self.may_repeat_events(work)

    def _may_be_known(self, work: Work) -> bool:
        """Tell whether metadata or something for quarantine may be a repeat."""
        if work.batch.metadata or work.batch.rejected:
            return True
        room = self._limits.metadata_keys_max - len(self.metadata_keys)
        return any(metadata.bad or len(metadata.values) > room for metadata in work.metadata)

    def may_repeat_events(self, work: Work) -> bool:
        """Tell whether an event in ``work`` may be a repeat."""
        return bool(work.batch.event_count) and work.batch.first_ts <= self._ceiling(work.source)

    def _ceiling(self, source: Source) -> float:
        """The greatest timestamp that anybody else has stored. A younger event can't be a repeat."""
        others = [stamp for sender, stamp in self._live_ts.items() if sender != source.id]
        return max(self._others_ts, *others) if others else self._others_ts

    def filter_repeats(self, work: Work) -> Work:
        """Return ``work`` without the lines that others have stored, and what quarantine holds already.

        Blocking: reads segments.
        """
        assert self.history is not None
        batch = work.batch
        applied = self.history.metadata_digests
        metadata = tuple(event for event in batch.metadata if metadata_digest(event.raw) not in applied)
        duplicates = len(batch.metadata) - len(metadata)
        batch = batch._replace(metadata=metadata)
        if batch.event_count:
            lines = batch.payload[:-1].split(b"\n")
            blocks = self.history.blocks_between(batch.first_ts, batch.last_ts)
            verdicts = find_new(
                line_keys(lines), blocks, source=work.source.id, recognised=work.source.recognised
            )
            if not all(verdicts):
                kept = [line for line, is_new in zip(lines, verdicts, strict=True) if is_new]
                duplicates += len(lines) - len(kept)
                # Checked before, and split from a good payload: only the sums are made anew.
                again = check_lines(kept, self._limits, first_line=1)
                batch = again._replace(metadata=batch.metadata, rejected=batch.rejected)
        return self._filter_bad(work._replace(batch=batch, duplicates=duplicates))

    def _filter_bad(self, work: Work) -> Work:
        """Return ``work`` without the lines and pairs of it that quarantine holds already."""
        history, batch = self.history, work.batch
        assert history is not None
        # As for events: equal lines of one sender are no repeats of each other. Metadata said again is.
        rejected = tuple(
            bad
            for bad in batch.rejected
            if not history.has_quarantined(bad.reason, bad.raw, besides=work.source.id)
        )
        known = len(batch.rejected) - len(rejected)

        def fresh(bad: tuple[BadPair, ...]) -> tuple[BadPair, ...]:
            nonlocal known
            kept = tuple(pair for pair in bad if not history.has_quarantined(pair.reason, pair.raw))
            known += len(bad) - len(kept)
            return kept

        # Metadata without a good pair leaves no digest, so it is known by its bad pairs.
        events = [(event, fresh(event.bad)) for event in batch.metadata]
        others = [(metadata, fresh(metadata.bad)) for metadata in work.metadata]
        return work._replace(
            batch=batch._replace(
                rejected=rejected,
                metadata=tuple(
                    event._replace(bad=bad) for event, bad in events if event.values or bad or not event.bad
                ),
            ),
            metadata=tuple(
                metadata._replace(bad=bad)
                for metadata, bad in others
                if metadata.values or bad or not metadata.bad
            ),
            quarantined_before=known,
        )

    def draft(self, work: Work, now_ms: int) -> BlockDraft | None:
        """Make the block of ``work``; None if nothing of it is to be stored."""
        batch, source = work.batch, work.source
        keys = self.metadata_keys - SERVER_KEYS
        self.applied, self.quarantined = 0, work.quarantined_before
        notes: list[MetadataNote] = []
        quarantine = [QuarantineNote(bad.line, bad.reason, now_ms, bad.raw) for bad in batch.rejected]
        for event in batch.metadata:
            values, over = self._with_room(event.values, keys)
            notes += _notes(values, source, now_ms, metadata_digest(event.raw))
            quarantine += _set_aside(event.line, (*event.bad, *self._fresh(over)), now_ms)
            self.applied += bool(values) or not (event.bad or over)
        for metadata in work.metadata:
            values, over = self._with_room(metadata.values, keys)
            source.refused_pairs += over
            notes += _notes(values, source, now_ms, "")
            quarantine += _set_aside(1, (*metadata.bad, *self._fresh(over)), now_ms)
            self.applied += bool(values) or not (metadata.bad or over)
        self.quarantined += len(quarantine)
        if not (batch.event_count or notes or quarantine):
            return None
        if source.origin and "ingestOrigin" not in self.metadata_keys and (batch.event_count or notes):
            notes.append(MetadataNote("ingestOrigin", source.origin, now_ms))
        return BlockDraft(
            first_seq=self.next_seq,
            event_count=batch.event_count,
            payload=batch.payload,
            first_ts=batch.first_ts,
            last_ts=batch.last_ts,
            ordered=batch.ordered,
            own_ids=batch.own_ids,
            source=source.id,
            stored_ms=now_ms,
            duplicate_count=self.duplicates + work.duplicates,
            metadata=tuple(notes),
            quarantine=tuple(quarantine),
        )

    def _fresh(self, over: list[BadPair]) -> list[BadPair]:
        """Return the pairs beyond the limit of keys that quarantine doesn't hold yet; count the others."""
        if self.history is None:
            return over
        fresh = [pair for pair in over if not self.history.has_quarantined(pair.reason, pair.raw)]
        self.quarantined += len(over) - len(fresh)
        return fresh

    def _with_room(self, values: dict[str, str], keys: set[str]) -> tuple[dict[str, str], list[BadPair]]:
        """Return the pairs for which there is room, whose keys are added to ``keys``, and the others.

        A key that the recording has can always be set again.
        """
        kept: dict[str, str] = {}
        over: list[BadPair] = []
        for key, value in values.items():
            if key not in keys and key not in SERVER_KEYS:
                if len(keys) >= self._limits.metadata_keys_max:
                    over.append(over_the_limit(key, value))
                    continue
                keys.add(key)
            kept[key] = value
        return kept, over

    def stored(self, work: Work, draft: BlockDraft, stored: Stored) -> None:
        """The block is on disk: go on behind it."""
        assert self.writer is not None
        self.last_segment = (self.writer.identity.number, stored.size)
        self.next_seq += draft.event_count
        self.duplicates = 0
        self._has_stored = True
        self.metadata_keys.update(note.key for note in draft.metadata)
        if self.history is not None:
            for note in draft.metadata:
                self.history.add_digest(note.event)
        if draft.event_count:
            self.is_over = work.batch.closes
        if draft.event_count and work.source.closed:
            self._others_ts = max(self._others_ts, draft.last_ts)
        elif draft.event_count:
            sender = work.source.id
            self._live_ts[sender] = max(draft.last_ts, self._live_ts.get(sender, draft.last_ts))

    def source_closed(self, source: Source) -> None:
        """A body or socket is done with: its events are others' events now."""
        source.closed = True
        self.sources -= 1
        stamp = self._live_ts.pop(source.id, None)
        if stamp is not None:
            self._others_ts = max(self._others_ts, stamp)


def _last_segment(row: RecordingRow | None) -> tuple[int, int]:
    if row is None:
        return 0, 0
    local = [(segment.number, segment.size) for segment in row.segments]
    return max([(0, 0), *local, *((rolled.last_number, rolled.last_segment_size) for rolled in row.objects)])


def _set_aside(line: int, bad: Iterable[BadPair], now_ms: int) -> list[QuarantineNote]:
    return [QuarantineNote(line, pair.reason, now_ms, pair.raw) for pair in bad]


def _notes(values: dict[str, str], source: Source, now_ms: int, digest: str) -> list[MetadataNote]:
    if values.get("includePii") == "true":
        values = values | source.visitor
    return [MetadataNote(key, value, now_ms, digest) for key, value in values.items()]
