"""A laboratory for roll-up, eviction and removal: a daemon's parts over a ``SimDisk`` and a ``MemoryStore``.

Method
------
``lab`` is one life (``tests.wired.simulated``), from recovery to its end. ``Lab.send`` puts lines and notes
those that were acked; ``rest`` lets time pass until everything idle is sealed. ``check`` holds what the disk
and the store have against that: it decodes whole files by itself, as ``zstd -dc`` would, so neither playback
nor ``segment.table`` vouches for what was made.

A ``Step`` is a place where the power can go: before or after one call of the store, the index or the
tombstones. Places between operations of the disk are ``SimDisk``'s. ``survivors`` is what a cut leaves: a
disk, the store, the tombstones, and a state of the index (SQLite does not sync everything).
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import google_crc32c
import msgspec
import zstandard

from rrd import layout
from rrd.config import Config
from rrd.daemon.assembly import Parts, Seams
from rrd.errors import StoreAway
from rrd.index.contract import Index
from rrd.index.rows import ObjectRow, RecordingRow, RemovedRecording, SegmentRow, SummaryRow
from rrd.layout import SegmentName
from rrd.objects.identity import MARKER_KEY
from rrd.objects.store import Removed
from rrd.tombstones import Tombstone, Tombstones
from rrd.wire.events import Batch, check_lines
from tests.objects.memory_store import MemoryStore
from tests.samples import LIMITS
from tests.simdisk import PowerCut, SimDisk
from tests.wired import DATA, TENANT, Core, LaggingIndex, ManualClock, content, numbered_id, simulated

__all__ = ["DATA", "TENANT"]

_T = TypeVar("_T")
_L = TypeVar("_L", bound="Lab")

A, B, C, D = (numbered_id(number) for number in range(4))


def event(number: int, *, pad: int = 0, kind: int = 3) -> bytes:
    # Padding that doesn't compress, so that sizes mean something.
    junk = random.Random(number).randbytes(pad // 2).hex()
    return b'{"type":%d,"timestamp":%d,"data":{"n":%d,"pad":"%s"}}' % (
        kind,
        1000 + number,
        number,
        junk.encode(),
    )


def check_batch(*lines: bytes) -> Batch:
    return check_lines(lines, LIMITS, first_line=1)


def settings(**changes: Any) -> Config:
    """A bucket's settings, nothing kept here, one roll-up at a time, everything small."""
    small = Config(
        data_dir=DATA,
        disk_reserve_bytes=0,
        object_store="s3",
        keep_local_s=0,
        rollup_tasks=1,
        rollup_level=3,
        rollup_block_bytes=2048,
        rollup_delay_s=300,
        segment_bytes_max=1500,
        seal_idle_s=10,
        sync="each",
    )
    return msgspec.structs.replace(small, **changes)


class Step(NamedTuple):
    """One call at which the power goes, or the store."""

    call: str
    when: Literal["before", "after"]
    number: int = 1
    """Which of the calls of this name, from 1."""
    is_power: bool = True
    """Otherwise the caller gets ``StoreAway``, and the next call is answered again."""

    def __str__(self) -> str:
        return f"{self.when} {self.call} {self.number}" + ("" if self.is_power else ", store away")


class Switch:
    """Makes a step happen."""

    has_happened = False

    def __init__(self, disk: SimDisk, step: Step | None) -> None:
        self._disk = disk
        self._step = step
        self._calls: defaultdict[str, int] = defaultdict(int)

    async def at(self, call: str, doing: Callable[[], Awaitable[_T]]) -> _T:
        with self._around(call):
            return await doing()

    def at_once(self, call: str, doing: Callable[[], _T]) -> _T:
        """Do as ``at`` for a call that blocks."""
        with self._around(call):
            return doing()

    @contextlib.contextmanager
    def _around(self, call: str) -> Iterator[None]:
        self._calls[call] += 1
        step = self._step
        is_here = step is not None and (step.call, step.number) == (call, self._calls[call])
        if is_here and step is not None and step.when == "before":
            self._happen(step)
        yield
        if is_here and step is not None:
            self._happen(step)

    def _happen(self, step: Step) -> None:
        self.has_happened = True
        if not step.is_power:
            raise StoreAway(f"lost {step}")
        # Nothing else gets through to the disk from here on either.
        self._disk.cut_at(self._disk.operations)
        raise PowerCut(str(step))


class SwitchedStore(MemoryStore):
    def __init__(self, world: World, disk: SimDisk, switch: Switch) -> None:
        super().__init__(world.objects, disk=disk, mark=world.mark)
        self._switch = switch
        self.put_keys: list[str] = []

    async def put(self, key: str, path: str) -> None:
        put = super().put
        if key == MARKER_KEY:
            await put(key, path)
            return
        self.put_keys.append(key)
        await self._switch.at("put", lambda: put(key, path))

    async def delete_prefix(self, prefix: str) -> Removed:
        delete = super().delete_prefix
        return await self._switch.at("delete_prefix", lambda: delete(prefix))


class SwitchedIndex(LaggingIndex):
    switch: Switch

    async def plan_object(self, row_id: int, first_number: int, last_number: int) -> None:
        plan = super().plan_object
        await self.switch.at("plan_object", lambda: plan(row_id, first_number, last_number))
        self.begin()

    async def publish_object(
        self,
        row_id: int,
        row: ObjectRow,
        quarantine: Sequence[tuple[int, int, int]],
        summary: SummaryRow | None = None,
    ) -> None:
        publish = super().publish_object
        await self.switch.at("publish_object", lambda: publish(row_id, row, quarantine, summary))
        self.begin()

    async def evicted(self, row_id: int, first_number: int) -> None:
        evicted = super().evicted
        await self.switch.at("evicted", lambda: evicted(row_id, first_number))
        self.states.append(self._bytes())

    async def remove(self, tenant: str, recording_id: str) -> RemovedRecording | None:
        remove = super().remove
        try:
            return await self.switch.at("remove", lambda: remove(tenant, recording_id))
        finally:
            # Synced: no end of a life takes it back.
            self.begin()


class SwitchedTombstones(Tombstones):
    switch: Switch

    def bury(self, *of: Any, **what: Any) -> Tombstone:
        bury = super().bury
        return self.switch.at_once("bury", lambda: bury(*of, **what))

    def gone_here(self, *of: Any, **what: Any) -> None:
        gone_here = super().gone_here
        self.switch.at_once("gone_here", lambda: gone_here(*of, **what))

    def done(self, *of: Any, **what: Any) -> None:
        done = super().done
        self.switch.at_once("done", lambda: done(*of, **what))


class World(NamedTuple):
    """What outlives a life."""

    files: dict[str, bytes]
    state: bytes | None
    """The index; None is no index, which is rebuilt."""
    objects: dict[str, bytes]
    acked: dict[str, list[bytes]]
    seconds: float
    stones: bytes | None = None
    mark: bytes | None = None
    """The store's."""


EMPTY = World({}, None, {}, {}, 1_700_000_000.0)


class Lab(Core):
    """A life. Use ``lab``."""

    disk: SimDisk
    index: SwitchedIndex
    store: SwitchedStore
    tombstones: SwitchedTombstones

    def __init__(self, parts: Parts, seams: Seams) -> None:
        super().__init__(parts, seams)
        self.acked: defaultdict[str, list[bytes]] = defaultdict(list)

    async def send(self, recording_id: str, lines: Iterable[bytes], *, block: int = 4) -> None:
        """Send lines, ``block`` of them at a time, each time until they are acked."""
        rest = list(lines)
        async with self.registry.source(TENANT, recording_id) as source:
            while rest:
                part, rest = rest[:block], rest[block:]
                source.put(check_batch(*part))
                await source.flush()
                self.acked[recording_id] += [line for line in part if line.startswith(b"{")]

    async def note(self, recording_id: str, line: bytes) -> None:
        """Send a line that is no event of the stream: metadata."""
        async with self.registry.source(TENANT, recording_id) as source:
            source.put(check_batch(line))
            await source.flush()

    async def rest(self, seconds: float = 11) -> None:
        """Let time pass, and seal what has been silent."""
        self.clock.seconds += seconds
        await self.registry.seal_idle()

    async def fill(self, *recordings: str, count: int = 12, pad: int = 400) -> None:
        """Send ``count`` events to each recording, in turn, and have them sealed."""
        for recording_id in recordings:
            start = 100 * len(self.acked[recording_id])
            await self.send(recording_id, [event(start + number, pad=pad) for number in range(count)])
        await self.rest()

    async def row(self, recording_id: str) -> RecordingRow:
        row = await self.index.recording(TENANT, recording_id)
        assert row is not None
        return row

    async def states(self, recording_id: str) -> list[str]:
        return [segment.state for segment in (await self.row(recording_id)).segments]

    async def published(self, recording_id: str) -> list[ObjectRow]:
        return [each for each in (await self.row(recording_id)).objects if each.state == "published"]

    def sealed_files(self) -> set[str]:
        return {path for path in self.disk.files() if path.startswith(f"{DATA}/sealed/")}

    def world(self, state: bytes | None) -> World:
        """What there is, with the index in ``state``."""
        return World(
            self.disk.files(), state, dict(self.store.objects), dict(self.acked), self.clock.seconds,
            # Each of their transactions was synced, so this is what any end leaves.
            stones=content(self.tombstones.path), mark=self.store.mark,
        )  # fmt: skip

    def survivors(self, *, kill: bool) -> list[World]:
        """What a power cut, or a ``kill``, may leave: one world for each state of the index."""
        if kill:
            self.disk.kill()
        else:
            self.disk.power_cut()
        states = self.index.states[-1:] if kill else self.index.states
        return [self.world(state) for state in states]

    async def is_done(self) -> bool:
        """Tell whether nothing is left to roll up, or to evict."""
        waiting = await self.index.to_roll_up(settled_before_ms=1 << 60, full_size=0, limit=1)
        return not waiting and not await self.index.to_evict(published_before_ms=1 << 60, limit=1)

    # What must be true

    async def check(self, *, rolled_up: bool) -> None:
        """Every acked line is there once; ``rolled_up``: in objects alone, and nothing lies about."""
        keys: set[str] = set()
        files: set[str] = set()
        for recording_id, lines in self.acked.items():
            row = await self.row(recording_id)
            assert self._lines(row) == lines, "not what was acked, in its order"
            keys |= {key_of(row, each) for each in row.objects if each.state == "published"}
            for segment in row.segments:
                name = SegmentName(TENANT, recording_id, segment.number)
                place = layout.active_path if segment.state == "active" else layout.sealed_path
                files.add(place(DATA, name))
            if rolled_up:
                assert [each.state for each in row.objects] == ["published"] * len(row.objects)
                assert [segment.state for segment in row.segments] == [], "still local"
        if rolled_up:
            assert self.store.objects.keys() == keys, "an orphan in the store"
            files.add(layout.identity_path(DATA))
            assert {path for path in self.disk.files() if path.startswith(DATA)} == files
            assert await self.is_done()

    def _lines(self, row: RecordingRow) -> list[bytes]:
        """All events of a recording as they arrived: from objects where published, else from segments."""
        parts: dict[int, bytes] = {}
        published = [each for each in row.objects if each.state == "published"]
        for each in published:
            data = self.store.objects[key_of(row, each)]
            # An index that was rebuilt knows no checksum of the whole.
            assert len(data) == each.size
            assert each.crc32c in {0, google_crc32c.value(data)}
            parts[each.first_number] = decoded(data)
            assert len(parts[each.first_number].splitlines()) == each.event_count
        for segment in row.segments:
            if not any(each.first_number <= segment.number <= each.last_number for each in published):
                assert segment.state != "rolled"
                parts[segment.number] = decoded(self._segment(row, segment))
        return [line for number in sorted(parts) for line in parts[number].splitlines()]

    def _segment(self, row: RecordingRow, segment: SegmentRow) -> bytes:
        name = SegmentName(TENANT, row.recording_id, segment.number)
        place = layout.active_path if segment.state == "active" else layout.sealed_path
        return self.disk.files()[place(DATA, name)][: segment.size]


def key_of(row: RecordingRow, each: ObjectRow) -> str:
    return layout.object_key(
        SegmentName(TENANT, row.recording_id, each.first_number),
        created_ms=row.created_ms,
        first_seq=each.first_seq,
        event_count=each.event_count,
    )


def decoded(data: bytes) -> bytes:
    """What ``zstd -dc`` prints."""
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        return reader.read()


@contextlib.asynccontextmanager
async def lab_of(
    kind: Callable[[Parts, Seams], _L],
    folder: Path,
    config: Config | None = None,
    world: World = EMPTY,
    *,
    cut: Step | None = None,
    disk: SimDisk | None = None,
    seed: int = 0,
    on_end: Callable[[_L], object] = lambda _: None,
) -> AsyncIterator[_L]:
    """A life that begins with ``world``. With ``cut`` it ends at that step: ``power_cut`` catches it."""
    disk = disk or SimDisk(random.Random(seed))
    disk.make_dirs(DATA)
    for name, data in world.files.items():
        disk.make_dirs(name.rpartition("/")[0])
        disk.put(name, data)
    switch, clock = Switch(disk, cut), ManualClock()
    clock.seconds = world.seconds

    async def open_index(path: str) -> Index:
        index = await SwitchedIndex.open(path)
        index.switch = switch
        return index

    def open_tombstones(path: str) -> Tombstones:
        stones = SwitchedTombstones(os.path.abspath(path))
        stones.switch = switch
        return stones

    seams = Seams(
        clock,
        disk,
        SwitchedStore(world, disk, switch),
        open_index,
        open_tombstones,
        store_retry_s=(0.001, 0.01),
    )

    def make(parts: Parts, seams: Seams) -> _L:
        made = kind(parts, seams)
        made.acked.update({recording_id: list(lines) for recording_id, lines in world.acked.items()})
        return made

    async with simulated(
        make, folder, config or settings(), seams, state=world.state, stones=world.stones, on_end=on_end
    ) as made:
        yield made


lab = functools.partial(lab_of, Lab)


@contextlib.contextmanager
def power_cut() -> Iterator[None]:
    """Swallow the end of a life."""
    try:
        yield
    except* PowerCut:
        pass
