"""A machine whose power can be cut at any disk operation, and what must be true of it afterwards.

Method
------
A *life* is the real Registry, Committer, Recording and Index over a ``SimDisk``, from start-up (recovery)
to an end: a power cut, or a kill. ``Life.run`` plays a list of steps: sources open and close, put lines and
metadata, flush, fall silent until their recordings are sealed. A life keeps account of what each of its
sources sent and of how much of that was acked: the tally counts lines in the order in which they were put.

The index is a real SQLite file. SQLite does not sync what ``Index.apply`` commits, so a power cut may take
the newest transactions away; ``Index.seal`` syncs. ``LaggingIndex`` keeps a copy of every state that a
cut may thus go back to, as bytes. A next life begins with one of them, or with no index at all.

``check`` compares the survivors with the account. It reads segments by itself, block by block, so
that neither the index nor playback vouches for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from rrd import layout
from rrd.config import Config
from rrd.errors import RefusedError
from rrd.index.rows import Commit, RecordingRow
from rrd.index.sqlite.index import SqliteIndex
from rrd.objects.files import ObjectFiles
from rrd.playback.splice import NDJSON
from rrd.playback.stream import read_in_order
from rrd.playback.table import plan
from rrd.recordings.recording import Source
from rrd.recordings.registry import Registry
from rrd.segment.format import BlockHeader
from rrd.segment.reader import read_events, read_notes
from rrd.segment.scan import scan
from rrd.shelf.holdings import Holdings
from rrd.startup.recovery import Recovered, recover
from rrd.wire.events import check_lines
from rrd.wire.metadata import Metadata
from tests.objects.memory_store import MemoryStore
from tests.samples import LIMITS
from tests.simdisk import PowerCut, SimDisk

DATA = "/data"
TENANT = "t"

_T = TypeVar("_T")


def recording_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def config(*, segment_bytes_max: int = 1500, recordings_max: int = 100, sync: str = "auto") -> Config:
    """Settings so small that a handful of events meets every limit."""
    return Config(
        data_dir=DATA,
        segment_bytes_max=segment_bytes_max,
        recordings_max=recordings_max,
        open_segments_max=2,
        seal_idle_s=10,
        sync=sync,  # type: ignore[arg-type]  # one of the literals
    )


class ManualClock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0
        self.skew_s = 0.0
        """How far the wall clock is ahead of what it should be."""

    def now_ms(self) -> int:
        return int((self.seconds + self.skew_s) * 1000)

    def monotonic(self) -> float:
        return self.seconds


class LaggingIndex(SqliteIndex):
    """An index that remembers every state a power cut may throw it back to, the newest last."""

    states: list[bytes]

    async def apply(self, commits: Sequence[Commit]) -> None:
        await super().apply(commits)
        self.states.append(self._bytes())

    async def seal(self, sealed: Sequence[tuple[int, int]]) -> None:
        await super().seal(sealed)
        if sealed:
            self.states = [self._bytes()]

    def begin(self) -> None:
        self.states = [self._bytes()]

    def _bytes(self) -> bytes:
        with contextlib.closing(sqlite3.connect(self.path)) as copy:
            return copy.serialize()


class Sent(NamedTuple):
    """Something put: a line, or metadata that came by itself."""

    line: bytes | None
    values: tuple[tuple[str, str], ...] = ()


@dataclass
class Account:
    """What one source sent, and how much of it was acked."""

    recording: str
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


class Life:
    """One run of the daemon's core, from start-up to its end."""

    def __init__(self, disk: SimDisk, index: LaggingIndex, settings: Config) -> None:
        """Use ``lived``."""
        self.disk = disk
        self.index = index
        self.clock = ManualClock()
        self.registry = Registry(settings, disk, index, self.clock, LIMITS)
        self.accounts: list[Account] = []
        self.recovered = Recovered()
        self._open: dict[int, tuple[Source, Account]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, settings: Config, *, rebuild: bool) -> None:
        self.recovered = await recover(
            settings, self.disk, self.index, rebuild=rebuild, spool_dir=os.path.dirname(self.index.path)
        )
        self._tasks = await self.registry.start()

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
                await self._open_source(slot, recording_id(recording))
            case Put(slot, lines, repeat_all):
                source, account = await self._source(slot)
                before = [
                    line
                    for other in self.accounts
                    if other.recording == account.recording
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
                self._close(slot)
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
            await self._open_source(slot, recording_id(slot % 2))
        return self._open[slot]

    async def _open_source(self, slot: int, recording: str) -> None:
        self._close(slot)
        source = await self.registry.open_source(TENANT, recording)
        account = Account(recording, source.id)
        self.accounts.append(account)
        self._open[slot] = source, account

    def _close(self, slot: int) -> None:
        if slot in self._open:
            source, account = self._open.pop(slot)
            self._note(source, account)
            # What it put is on its way, though nobody waits for it any more.
            self.registry.close_source(source)

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
        await asyncio.wait([task, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, PowerCut):
            await task
        for other in self._tasks:
            if other.done():
                other.result()
        raise AssertionError("a task ended by itself")

    async def end(self) -> None:
        """Nothing of this life goes on afterwards."""
        for task in self._tasks:
            task.cancel()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)
        await self.index.close()


@contextlib.asynccontextmanager
async def lived(
    disk: SimDisk, settings: Config, folder: Path, state: bytes | None, *, first: bool = False
) -> AsyncIterator[Life]:
    """A life on ``disk`` with the index in ``state``; None is no index, which is rebuilt."""
    path = folder / f"index-{random.getrandbits(64):x}.sqlite"
    if state is not None:
        path.write_bytes(state)
    index = await LaggingIndex.open(str(path))
    index.begin()
    life = Life(disk, index, settings)
    try:
        await life.start(settings, rebuild=state is None and not first)
        yield life
    finally:
        await life.end()
        path.unlink()


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
        by_recording[account.recording].append(account)
    for recording, senders in by_recording.items():
        row = await life.index.recording(TENANT, recording)
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
    found = await life.index.metadata(TENANT, row.recording)
    assert {key: (value, version, at_ms) for key, value, version, at_ms in found} == folded
    # Nothing is rolled up here, so the store stays empty.
    files = ObjectFiles(MemoryStore(), asyncio.get_running_loop(), cache_bytes_max=0, deadline_s=5)
    with contextlib.closing(files):
        table = plan(life.disk, files, DATA, Holdings.of(row))
        answer = b"".join(read_in_order(table, form=NDJSON, bytes_max=1 << 20))
    assert answer == _expected_answer(stored.lines, row.recording)


def _expected_answer(lines: list[bytes], recording: str) -> bytes:
    numbered = [
        (check_lines([line], LIMITS, first_line=1).first_ts, seq, line) for seq, line in enumerate(lines, 1)
    ]
    spliced = b',"sequenceId":%d,"recordingId":"%s"}'
    return b"".join(
        line[:-1] + spliced % (seq, recording.encode()) + b"\n" for _, seq, line in sorted(numbered)
    )


def _read(disk: SimDisk, row: RecordingRow) -> Stored:
    stored = Stored([], [], Counter())
    for segment in row.segments:
        name = layout.SegmentName(row.tenant, row.recording, segment.number)
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
