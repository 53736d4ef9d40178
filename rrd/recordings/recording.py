"""One recording that is being written: its state, what waits to be stored, and what the next block will be.

Sources put batches. The committer takes out one block's worth (``next_work``), makes a draft (``prepare``),
stores that (``remember``, ``stored``), and settles it (``settled``) before it takes the next. Nothing here
waits or touches a file, except ``remember``, which reads and runs in a worker thread.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from rrd import metrics
from rrd.errors import Gone, RrdError, ShuttingDown
from rrd.index.rows import Commit, MetadataChange, RecordingRow
from rrd.recordings.history import History, metadata_digest
from rrd.recordings.source import Source, Tally, Waiting, Work, join
from rrd.recordings.states import OPEN, RECORDING, NotInTable, State, Step
from rrd.segment.commit import Stored
from rrd.segment.format import BlockDraft, Identity, MetadataNote, QuarantineNote
from rrd.segment.writer import SegmentWriter
from rrd.wire.limits import Limits
from rrd.wire.metadata import BadPair, Metadata, over_the_limit

BLOCK_BYTES_MAX = 4 << 20
"""A block takes in no further batch beyond this size: it is what a reader holds at once, and what
one damaged byte can cost. A single larger event still gets its block."""

SERVER_KEYS = frozenset({"ingestOrigin", "ipAddress", "userAgent"})
"""Metadata that the server adds by itself. It takes no room from the page's own."""

_NO_REASONS: Counter[str] = Counter()


class Reached(NamedTuple):
    """How far a recording has come."""

    events: int
    """All that were ever stored."""
    segment: int
    """The number of its newest segment, and the durable size of that in bytes."""
    size: int


class Recording:
    """Everything in memory about one recording that is being written."""

    def __init__(
        self,
        tenant: str,
        recording_id: str,
        *,
        created_ms: int,
        used_at: float,
        row: RecordingRow | None,
        limits: Limits,
        waiting: Waiting,
        wake: Callable[[Recording], None],
    ) -> None:
        """Use ``Registry.source``. ``created_ms`` counts if there is no ``row`` yet."""
        self.tenant = tenant
        self.recording_id = recording_id
        self.state: State = "opening"
        """For ``move`` to change."""
        self.limits = limits
        self.created_ms = row.created_ms if row else created_ms
        self.row_id = row.row_id if row else None
        self.metadata_keys = set(row.metadata_keys) if row else set()
        self.writer: SegmentWriter | None = None
        self.history: History | None = None
        self.pending_bytes = 0
        self.sources = 0
        self.used_at = used_at
        """Monotonic time, in seconds, when it was last written to."""
        self.applied = 0
        """Metadata, in events and by itself, of which the latest draft kept something."""
        self.is_over = False
        """The page has said so (``close-permanent``), and nothing came after."""
        self._refusal: RrdError | None = None
        """Why nothing more is taken, once it is expelled; None while the daemon stops."""
        self._next_seq = row.next_seq if row else 1
        self._last_segment = _last_segment(row)
        """Number and durable size of the newest segment, the writer's once it has a block; (0, 0) without."""
        self._quarantined = 0
        """Lines and pairs of the latest draft that are in quarantine: by it, or since earlier."""
        self._reasons = _NO_REASONS
        """Why the lines and pairs are in quarantine that the latest draft puts there."""
        self._duplicates = 0
        """Repeats since the last block, to be told in the next block's header."""
        self._waiting = waiting
        self._wake = wake
        self._pending: list[Work] = []  # A deque takes 760 bytes, and nearly all are empty.
        self._others_ts = row.extent.last_ts if row and row.extent.last_ts is not None else float("-inf")
        self._live_ts: dict[int, float] = {}
        self._has_stored = row is not None

    @property
    def is_idle(self) -> bool:
        """Whether it is silent, and no source has it open."""
        return self.state == "silent" and not self.sources

    def move(self, step: Step) -> None:
        """Take a step of the table. Raises ``NotInTable``."""
        try:
            self.state = RECORDING[self.state][step]
        except KeyError:
            raise NotInTable(f"what is {self.state} can't be {step}") from None

    def expel(self, refusal: RrdError) -> None:
        """Take nothing more, if it is open, and tell ``refusal`` to the sources of what waits."""
        if self.state not in OPEN:
            return
        self.move("removed")
        self._refusal = refusal
        pending, self._pending = self._pending, []
        for work in pending:
            self._count(-work.size)
            work.source.settle(1, Tally(), refusal)

    def stop(self) -> None:
        """Take nothing more, if it is open: the daemon stops."""
        if self.state in OPEN:
            self.move("stopped")

    def put(self, work: Work) -> None:
        """Take something to be stored. Once let go, it raises why it was expelled, or ``ShuttingDown``."""
        if self.state not in OPEN:
            batch = work.batch
            lines = batch.event_count + len(batch.metadata) + len(batch.rejected)
            if isinstance(self._refusal, Gone):
                self._waiting.late_lines[self.tenant, self.recording_id] += max(lines, 1)
            raise self._refusal or ShuttingDown("the daemon is stopping, and takes nothing more")
        self._pending.append(work)
        self._count(work.size)
        if self.state == "silent":
            self.move("put")
            self._wake(self)

    def _count(self, size: int) -> None:
        self.pending_bytes += size
        self._waiting.add(self.tenant, size)

    def reached(self) -> Reached:
        """Return what is stored of it now."""
        return Reached(self._next_seq - 1, *self._last_segment)

    def live_sources(self) -> frozenset[int]:
        """Ids of the senders that have stored events and are still there."""
        return frozenset(self._live_ts)

    def next_work(self) -> Work | None:
        """Take out what the next block is made of: batches of the source that came first."""
        if self.state != "waiting":
            return None
        self.move("taken")
        pending = self._pending
        first = pending[0]
        size, count = first.size, 1
        while count < len(pending) and pending[count].source is first.source and size < BLOCK_BYTES_MAX:
            size += pending[count].size
            count += 1
        taken = pending[:count]
        del pending[:count]
        return join(taken) if count > 1 else first

    def settled(self, work: Work, failure: RrdError | None, *, used_at: float) -> None:
        """Tell the source what became of ``work``. Its bytes are no longer waiting, whatever that is."""
        self._count(-work.size)
        self.move("settled")
        self.used_at = used_at
        tally = Tally(work.batch.event_count + self.applied, work.duplicates, self._quarantined)
        if failure is None and (tally.duplicates or tally.quarantined):
            if tally.duplicates:
                metrics.LINES_REPEATED.add(tally.duplicates)
            if tally.quarantined:
                self._count_quarantined()
        work.source.settle(work.puts, tally, failure)
        if self._pending and self.state == "silent":
            self.move("put")
            self._wake(self)

    def _count_quarantined(self) -> None:
        for reason, count in self._reasons.items():
            metrics.LINES_QUARANTINED.add(reason, count)
        if again := self._quarantined - self._reasons.total():
            metrics.LINES_QUARANTINED.add("again", again)

    def needs_history(self, work: Work) -> bool:
        """Tell whether something in ``work`` may be a repeat, so that it must be looked up."""
        batch = work.batch
        if self._has_stored and (
            batch.metadata or batch.rejected or (work.metadata and self._may_know(work.metadata))
        ):
            return True
        return self.may_repeat_events(work)

    def _may_know(self, metadata: Iterable[Metadata]) -> bool:
        """Tell whether something of metadata that came by itself may be in quarantine already."""
        room = self.limits.metadata_keys_max - len(self.metadata_keys)
        return any(each.bad or len(each.values) > room for each in metadata)

    def may_repeat_events(self, work: Work) -> bool:
        """Tell whether an event in ``work`` may be a repeat: one younger than all of others' is none."""
        if not work.batch.event_count:
            return False
        first_ts, own_id = work.batch.first_ts, work.source.id
        if first_ts <= self._others_ts:
            return True
        # Not ``any``: this is done for each block, and there is one sender as a rule.
        for sender, stamp in self._live_ts.items():  # noqa: SIM110
            if stamp >= first_ts and sender != own_id:
                return True
        return False

    def prepare(self, work: Work, now_ms: int) -> BlockDraft | None:
        """Make the block of ``work``; None if nothing of it is to be stored."""
        batch, source = work.batch, work.source
        self.applied, self._quarantined, self._reasons = 0, work.quarantined_before, _NO_REASONS
        notes: tuple[MetadataNote, ...] = ()
        quarantine: tuple[QuarantineNote, ...] = ()
        if batch.metadata or batch.rejected or work.metadata:
            notes, quarantine = self._notes_of(work, now_ms)
        if not (batch.event_count or notes or quarantine):
            self._duplicates += work.duplicates
            return None
        if source.origin and "ingestOrigin" not in self.metadata_keys and (batch.event_count or notes):
            notes = (*notes, MetadataNote("ingestOrigin", source.origin, now_ms))
        # By their places, since that takes half as long: they are named in the order of the class.
        return BlockDraft(
            self._next_seq, batch.event_count, batch.payload, batch.first_ts, batch.last_ts,
            batch.ordered, batch.own_ids, source.id, now_ms, self._duplicates + work.duplicates,
            notes, quarantine, True, batch.has_snapshot, batch.has_meta,
        )  # fmt: skip

    def _notes_of(
        self, work: Work, now_ms: int
    ) -> tuple[tuple[MetadataNote, ...], tuple[QuarantineNote, ...]]:
        """Return what the block says of metadata and of what is in quarantine, and count both."""
        batch, source = work.batch, work.source
        keys = self.metadata_keys - SERVER_KEYS
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
        if quarantine:
            self._quarantined += len(quarantine)
            self._reasons = Counter(note.reason for note in quarantine)
        return tuple(notes), tuple(quarantine)

    def _fresh(self, over: list[BadPair]) -> list[BadPair]:
        """Return the pairs beyond the limit of keys that quarantine doesn't hold yet; count the others."""
        if self.history is None:
            return over
        fresh = [pair for pair in over if not self.history.has_quarantined(pair.reason, pair.raw)]
        self._quarantined += len(over) - len(fresh)
        return fresh

    def _with_room(self, values: dict[str, str], keys: set[str]) -> tuple[dict[str, str], list[BadPair]]:
        """Return the pairs for which there is room, whose keys are added to ``keys``, and the others.

        A key that the recording has can always be set again.
        """
        kept: dict[str, str] = {}
        over: list[BadPair] = []
        for key, value in values.items():
            if key not in keys and key not in SERVER_KEYS:
                if len(keys) >= self.limits.metadata_keys_max:
                    over.append(over_the_limit(key, value))
                    continue
                keys.add(key)
            kept[key] = value
        return kept, over

    def next_segment(self) -> Identity | None:
        """Return the identity of the segment that the next block begins; None if it begins none."""
        writer = self.writer
        if writer is not None and writer.usable:
            return None
        number, previous_size = self._last_segment
        if writer is not None:
            number, previous_size = max(number, writer.identity.number), writer.size
        return Identity(
            tenant=self.tenant,
            recording_id=self.recording_id,
            number=number + 1,
            salt=secrets.token_hex(16),
            created_ms=self.created_ms,
            first_seq=self._next_seq,
            previous_size=previous_size,
        )

    def remember(self, work: Work, draft: BlockDraft, offset: int) -> None:
        """Add a block that was stored at ``offset`` to the history, if there is one. Blocking."""
        if self.history is not None:
            assert self.writer is not None
            self.history.add_quarantine(draft.quarantine, work.source.id)
            try:
                self.history.add_stored(self.writer.path, offset)
            except OSError:
                # The block is safe all the same. What needs the history next reads it anew.
                self.history = None

    def stored(self, work: Work, draft: BlockDraft, stored: Stored, take_row_id: Callable[[], int]) -> Commit:
        """Go on behind a block that is on disk; return what the index must learn."""
        assert self.writer is not None
        segment = self.writer.identity.number
        offset, size = stored
        block_start = 0 if self._last_segment[0] != segment else offset
        self._last_segment = segment, size
        if self.row_id is None:
            self.row_id = take_row_id()
        self._duplicates = 0
        self._has_stored = True
        if draft.event_count:
            self._next_seq += draft.event_count
            self.is_over = work.batch.closes
            self._others_or_live(work.source, draft.last_ts)
        changes: tuple[MetadataChange, ...] = ()
        if draft.metadata:
            changes = tuple(MetadataChange(note.key, note.value, note.at_ms) for note in draft.metadata)
            self._learn(draft.metadata)
        # By their places, as in ``prepare``.
        return Commit(
            self.row_id, self.tenant, self.recording_id, self.created_ms, segment, size, offset,
            size - block_start, draft.extent, changes,
        )  # fmt: skip

    def _others_or_live(self, source: Source, last_ts: float) -> None:
        """Take in that ``source`` has stored an event of ``last_ts``, which is for others not to repeat."""
        if source.closed:
            self._others_ts = max(self._others_ts, last_ts)
            return
        known = self._live_ts.get(source.id)
        if known is None or last_ts > known:
            self._live_ts[source.id] = last_ts

    def _learn(self, notes: Iterable[MetadataNote]) -> None:
        """Take in metadata that was stored."""
        self.metadata_keys.update([note.key for note in notes])
        if self.history is not None:
            for note in notes:
                self.history.add_digest(note.event)

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
