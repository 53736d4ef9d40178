"""A machine whose power can be cut at any disk operation, and what must be true of it afterwards.

Method
------
A *life* is a daemon's parts over a ``SimDisk`` (``tests.wired``), from start-up (recovery) to an end: a
power cut, or a kill. ``Life.run`` plays a list of steps: sources open and close, put lines and metadata,
flush, fall silent until their recordings are sealed. A life keeps account of what each of its sources sent
and of how much of that was acked: the tally counts lines in the order in which they were put. The object
store is away all the time, so nothing is rolled up here.

A next life begins with one of the states that the cut may have left of the index, or with no index at all.

``check`` compares the survivors with the account. It reads segments by itself, block by block, so
that neither the index nor playback vouches for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from rrd import layout
from rrd.config import Config
from rrd.daemon.assembly import Parts, Seams
from rrd.errors import RefusedError
from rrd.index.rows import RecordingRow
from rrd.playback.splice import NDJSON
from rrd.playback.stream import read_in_order
from rrd.playback.table import plan
from rrd.recordings.source import Source
from rrd.segment.format import BlockHeader
from rrd.segment.reader import read_events, read_notes
from rrd.segment.scan import scan
from rrd.shelf.holdings import Holdings
from rrd.wire.events import check_lines
from rrd.wire.metadata import Metadata
from tests.objects.memory_store import MemoryStore
from tests.samples import LIMITS
from tests.simdisk import PowerCut, SimDisk
from tests.sources import close_source, open_source
from tests.wired import DATA, TENANT, Core, LaggingIndex, ManualClock, numbered_id, simulated

_T = TypeVar("_T")


def config(*, segment_bytes_max: int = 1500, recordings_max: int = 100, sync: str = "auto") -> Config:
    """Settings so small that a handful of events meets every limit."""
    return Config(
        data_dir=DATA,
        disk_reserve_bytes=0,
        segment_bytes_max=segment_bytes_max,
        recordings_max=recordings_max,
        open_segments_max=2,
        seal_idle_s=10,
        sync=sync,  # type: ignore[arg-type]  # one of the literals
    )


class Sent(NamedTuple):
    """Something put: a line, or metadata that came by itself."""

    line: bytes | None
    values: tuple[tuple[str, str], ...] = ()


@dataclass
class Account:
    """What one source sent, and how much of it was acked."""

    recording_id: str
    source_id: int
    sent: list[Sent] = field(default_factory=list)
    acked: int = 0
    """So many of ``sent``, from the first."""

    def lines(self, count: int | None = None) -> list[bytes]:
        return [sent.line for sent in self.sent[:count] if sent.line is not None]


# Steps


class Open(NamedTuple):
    slot: int
    recording: int


class Put(NamedTuple):
    slot: int
    lines: tuple[bytes, ...]
    repeat_all: bool = False
    """Put everything that any source has sent to this recording before, and ``lines`` after it."""


class Note(NamedTuple):
    slot: int
    key: str
    value: str


class Flush(NamedTuple):
    pass


class Close(NamedTuple):
    slot: int


class Rest(NamedTuple):
    """Silence, until idle recordings are sealed."""


Step = Open | Put | Note | Flush | Close | Rest


class Life(Core):
    """One run of the daemon's parts, from start-up to its end. Use ``lived``."""

    index: LaggingIndex
    disk: SimDisk

    def __init__(self, parts: Parts, seams: Seams) -> None:
        super().__init__(parts, seams)
        self.accounts: list[Account] = []
        self._open: dict[int, tuple[Source, Account]] = {}

    async def run(self, steps: Sequence[Step]) -> None:
        """Play steps. Raises ``PowerCut`` when the power is cut."""
        try:
            for step in steps:
                # What is refused was not taken: a disk that is full, one recording too many.
                with contextlib.suppress(RefusedError):
                    await self._until_cut(self._play(step))
        finally:
            self._note_acks()

    async def _play(self, step: Step) -> None:
        match step:
            case Open(slot, recording):
                await self._open_source(slot, numbered_id(recording))
            case Put(slot, lines, repeat_all):
                source, account = await self._source(slot)
                before = [
                    line
                    for other in self.accounts
                    if other.recording_id == account.recording_id
                    for line in other.lines()
                ]
                self._put(source, account, [*(before if repeat_all else ()), *lines])
            case Note(slot, key, value):
                source, account = await self._source(slot)
                account.sent.append(Sent(None, ((key, value),)))
                source.put_metadata(Metadata({key: value}))
            case Flush():
                for source, account in list(self._open.values()):
                    await self._flush(source, account)
            case Close(slot):
                await self._close(slot)
            case Rest():
                self.clock.seconds += 11
                await self.registry.seal_idle()

    def _put(self, source: Source, account: Account, lines: list[bytes]) -> None:
        # One batch or two, as the sender's cuts would have it.
        middle = len(lines) // 2
        for part in (lines[:middle], lines[middle:]):
            account.sent += [Sent(line) for line in part]
            source.put(check_lines(part, LIMITS, first_line=1))

    async def _source(self, slot: int) -> tuple[Source, Account]:
        if slot not in self._open:
            await self._open_source(slot, numbered_id(slot % 2))
        return self._open[slot]

    async def _open_source(self, slot: int, recording_id: str) -> None:
        await self._close(slot)
        source = await open_source(self.registry, TENANT, recording_id)
        account = Account(recording_id, source.id)
        self.accounts.append(account)
        self._open[slot] = source, account

    async def _close(self, slot: int) -> None:
        if slot in self._open:
            source, account = self._open.pop(slot)
            self._note(source, account)
            # What it put is on its way, though nobody waits for it any more.
            await close_source(source)

    async def _flush(self, source: Source, account: Account) -> None:
        count = len(account.sent)
        with contextlib.suppress(RefusedError):
            await source.flush()
            account.acked = max(account.acked, count)

    def _note_acks(self) -> None:
        for source, account in self._open.values():
            self._note(source, account)

    def _note(self, source: Source, account: Account) -> None:
        account.acked = max(account.acked, sum(source.tally))

    async def _until_cut(self, doing: Awaitable[_T]) -> _T:
        """Await something that a dead committer would never finish."""
        task = asyncio.ensure_future(doing)
        await asyncio.wait([task, *self.tasks], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, PowerCut):
            await task
        for other in self.tasks:
            if other.done():
                other.result()
        raise AssertionError("a task ended by itself")


def lived(
    disk: SimDisk,
    settings: Config,
    folder: Path,
    state: bytes | None,
    *,
    index: type[LaggingIndex] = LaggingIndex,
) -> contextlib.AbstractAsyncContextManager[Life]:
    """A life on ``disk`` with the index in ``state``; None is no index, which is rebuilt."""
    away = MemoryStore()
    away.fail()
    seams = Seams(ManualClock(), disk, away, index.open)
    return simulated(Life, folder, settings, seams, state=state)


def survivors(disk: SimDisk) -> dict[str, bytes]:
    disk.power_cut()
    return disk.files()


def disk_of(files: dict[str, bytes]) -> SimDisk:
    """A disk that holds these files, and nothing that isn't durable."""
    disk = SimDisk(random.Random(0))
    for path, data in files.items():
        disk.make_dirs(path.rpartition("/")[0])
        disk.put(path, data)
    return disk


# Afterwards


class Block(NamedTuple):
    header: BlockHeader
    lines: list[bytes]


class Stored(NamedTuple):
    """What the files hold of one recording, read without index and playback."""

    blocks: list[Block]
    notes: list[tuple[str, str, int]]
    quarantined: Counter[bytes]

    @property
    def lines(self) -> list[bytes]:
        return [line for block in self.blocks for line in block.lines]


async def check(life: Life, accounts: Sequence[Account], *, complete: bool = False) -> None:
    """Hold what is there against what was sent and acked.

    ``complete``: everything that was ever sent was sent again and acked, so nothing may be missing.
    """
    by_recording: defaultdict[str, list[Account]] = defaultdict(list)
    for account in accounts:
        by_recording[account.recording_id].append(account)
    for recording_id, senders in by_recording.items():
        row = await life.index.recording(TENANT, recording_id)
        stored = _read(life.disk, row) if row is not None else Stored([], [], Counter())
        _check_events(stored, senders, complete=complete)
        _check_notes(stored, senders)
        if row is not None:
            await _check_answers(life, row, stored)


def _check_events(stored: Stored, senders: list[Account], *, complete: bool) -> None:
    held = Counter(stored.lines)
    sent = _most(senders, acked_only=False)
    acked = _most(senders, acked_only=True)
    assert not acked - held, "acked and lost"
    assert not held - sent, "never sent, or stored twice"
    if complete:
        assert held == sent
    next_seq = 1
    for block in stored.blocks:
        assert block.header.first_seq == next_seq, "sequence numbers have a gap or a double"
        assert block.header.event_count == len(block.lines)
        next_seq += len(block.lines)
    for sender in senders:
        from_it = [
            line for block in stored.blocks if block.header.source == sender.source_id for line in block.lines
        ]
        assert _is_subsequence(from_it, sender.lines()), "out of order"
    known = {sender.source_id for sender in senders}
    assert {block.header.source for block in stored.blocks if block.lines} <= known


def _most(senders: list[Account], *, acked_only: bool) -> Counter[bytes]:
    """Each event as often as the one sender that sent it most often."""
    most: Counter[bytes] = Counter()
    for sender in senders:
        lines = sender.lines(sender.acked if acked_only else None)
        events = [line for line in lines if check_lines([line], LIMITS, first_line=1).event_count]
        most |= Counter(events)
    return most


def _is_subsequence(part: list[bytes], whole: list[bytes]) -> bool:
    rest = iter(whole)
    return all(line in rest for line in part)


def _check_notes(stored: Stored, senders: list[Account]) -> None:
    noted = {(key, value) for key, value, _ in stored.notes}
    may_be: set[tuple[str, str]] = set()
    quarantined: Counter[bytes] = Counter()
    may_be_quarantined: Counter[bytes] = Counter()
    for sender in senders:
        for position, sent in enumerate(sender.sent, 1):
            batch = check_lines([sent.line], LIMITS, first_line=1) if sent.line is not None else None
            values = set(sent.values)
            if batch is not None:
                values |= {pair for event in batch.metadata for pair in event.values.items()}
                may_be_quarantined.update(bad.raw for bad in batch.rejected)
            may_be |= values
            if position <= sender.acked:
                assert values <= noted, "metadata acked and lost"
                if batch is not None:
                    quarantined.update(bad.raw for bad in batch.rejected)
    assert noted <= may_be, "metadata that nobody sent"
    # What another sender has put there already is not kept once more.
    assert set(quarantined) <= set(stored.quarantined), "a quarantined line was lost"
    assert not stored.quarantined - may_be_quarantined


async def _check_answers(life: Life, row: RecordingRow, stored: Stored) -> None:
    """The API's answers are what the files say."""
    assert row.next_seq == len(stored.lines) + 1
    folded: dict[str, tuple[str, int, int]] = {}
    for key, value, at_ms in stored.notes:
        folded[key] = value, folded.get(key, ("", 0, 0))[1] + 1, at_ms
    found = await life.index.metadata(TENANT, row.recording_id)
    assert {key: (value, version, at_ms) for key, value, version, at_ms in found} == folded
    table = plan(life.disk, life.files, DATA, Holdings.of(row))
    answer = b"".join(read_in_order(table, form=NDJSON, bytes_max=1 << 20))
    assert answer == _expected_answer(stored.lines, row.recording_id)


def _expected_answer(lines: list[bytes], recording_id: str) -> bytes:
    numbered = [
        (check_lines([line], LIMITS, first_line=1).first_ts, seq, line) for seq, line in enumerate(lines, 1)
    ]
    spliced = b',"sequenceId":%d,"recordingId":"%s"}'
    return b"".join(
        line[:-1] + spliced % (seq, recording_id.encode()) + b"\n" for _, seq, line in sorted(numbered)
    )


def _read(disk: SimDisk, row: RecordingRow) -> Stored:
    stored = Stored([], [], Counter())
    for segment in row.segments:
        name = layout.SegmentName(row.tenant, row.recording_id, segment.number)
        places = {layout.active_path(DATA, name), layout.sealed_path(DATA, name)} & disk.files().keys()
        assert len(places) == 1, "a segment is in one place"
        (path,) = places
        found = scan(disk, path, limit=segment.size, deep=True)
        assert found.verdict == "clean"
        assert found.good_size == segment.size
        for header in found.blocks:
            lines = read_events(disk, path, header).splitlines()
            stored.blocks.append(Block(header, lines))
            metadata, quarantine = read_notes(disk, path, header)
            stored.notes.extend((note.key, note.value, note.at_ms) for note in metadata)
            stored.quarantined.update(note.raw for note in quarantine)
    return stored
