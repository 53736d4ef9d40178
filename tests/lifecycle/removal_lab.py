"""A laboratory for removal: the roll-up's, with tombstones and a remover.

Method
------
``lab`` is one life of a daemon's core, which begins as the daemon does: recovery, then what was left of
removals. ``prepared`` is a world with two recordings: ``B``, which nobody removes, and ``A``, which is
everywhere that a recording can be: in an object, in sealed and active segments, in the index with metadata,
and in what crashes leave. ``find_traces`` looks for ``A`` wherever something is kept, by its name and by what
it says.

Calls of the index, the store and the tombstones are places where the power can go, as are operations of the
disk.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rrd import layout
from rrd.config import Config
from rrd.index.rows import RemovedRecording
from rrd.lifecycle.removal import Receipt, Remover
from rrd.objects.store import Removed
from rrd.recordings.registry import Registry
from rrd.rollup.worker import empty_rolling_dir
from rrd.startup.recovery import recover
from rrd.tombstones import Reason, Tombstone, Tombstones
from tests.rollup.rollup_lab import (
    DATA,
    EMPTY,
    TENANT,
    A,
    B,
    Lab,
    Step,
    Switch,
    SwitchedIndex,
    SwitchedStore,
    World,
    decoded,
    event,
    settings,
)
from tests.samples import LIMITS
from tests.simdisk import SimDisk

_T = TypeVar("_T")

MARKER = "visitor-4711@example.net"
"""Something that nobody but the visitor of ``A`` has said."""


class SyncSwitch(Switch):
    """A switch for calls that block."""

    def at_once(self, call: str, doing: Callable[[], _T]) -> _T:
        step = self._step
        self._calls[call] += 1
        is_here = step is not None and (step.call, step.number) == (call, self._calls[call])
        if is_here and step is not None and step.when == "before":
            self._happen(step)
        result = doing()
        if is_here and step is not None and step.when == "after":
            self._happen(step)
        return result


class RemovalStore(SwitchedStore):
    async def delete_prefix(self, prefix: str) -> Removed:
        delete = super().delete_prefix
        return await self._switch.at("delete_prefix", lambda: delete(prefix))


class RemovalIndex(SwitchedIndex):
    async def remove(self, tenant: str, recording: str) -> RemovedRecording | None:
        remove = super().remove
        try:
            return await self.switch.at("remove", lambda: remove(tenant, recording))
        finally:
            # Synced: no end of a life takes it back.
            self.begin()


class RemovalTombstones(Tombstones):
    switch: SyncSwitch

    def bury(self, *of: Any, **what: Any) -> Tombstone:
        bury = super().bury
        return self.switch.at_once("bury", lambda: bury(*of, **what))

    def gone_here(self, tombstone: Tombstone, *, events: int, size: int) -> None:
        gone_here = super().gone_here
        self.switch.at_once("gone_here", lambda: gone_here(tombstone, events=events, size=size))

    def done(self, tombstone: Tombstone, *, events: int, size: int, objects: int) -> None:
        done = super().done
        self.switch.at_once("done", lambda: done(tombstone, events=events, size=size, objects=objects))


class NoCache:
    """Notes what it was told to forget."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    def forget(self, prefix: str) -> None:
        self.forgotten.append(prefix)


class RemovalWorld(NamedTuple):
    """What outlives a life."""

    world: World
    stones: bytes


class RemovalLab(Lab):
    def __init__(
        self,
        config: Config,
        disk: SimDisk,
        index: RemovalIndex,
        store: RemovalStore,
        tombstones: RemovalTombstones,
    ) -> None:
        """Use ``lab``."""
        super().__init__(config, disk, index, store)
        self.tombstones = tombstones
        self.cache = NoCache()
        self.registry = Registry(
            config, disk, index, self.clock, LIMITS, files=self.files, is_erased=self._is_erased
        )
        self.remover = Remover(
            config, disk, index, self.registry, store, self.cache, self.claims, tombstones, self.clock
        )

    def _is_erased(self, tenant: str, recording: str) -> bool:
        return self.remover.is_erased(tenant, recording)

    async def start(self, world: World, *, is_first: bool) -> None:
        self.clock.seconds = world.seconds
        self.acked.update({recording: list(lines) for recording, lines in world.acked.items()})
        empty_rolling_dir(self.disk, DATA)
        must_rebuild = world.state is None and not is_first
        await recover(
            self.config, self.disk, self.index,
            rebuild=must_rebuild, store=self.store, tombstones=self.tombstones,
            spool_dir=os.path.dirname(self.index.path),
        )  # fmt: skip
        await self.remover.resume()
        self._tasks = await self.registry.start()

    async def end(self) -> None:
        await super().end()
        await self.remover.close()

    async def remove(self, reason: Reason, recording: str = A) -> Receipt:
        if reason == "erased":
            return await self.remover.erase(TENANT, recording)
        row = await self.row(recording)
        return await self.remover.expire(TENANT, recording, last_stored_ms=row.extent.stored_ms)

    def remains(self, state: bytes | None) -> RemovalWorld:
        return RemovalWorld(self.world(state), self._stones())

    def remains_after(self, *, kill: bool) -> list[RemovalWorld]:
        """What a power cut, or a kill, may leave: with each state of the index, and without it."""
        worlds = self.survivors(kill=kill)
        return [RemovalWorld(world, self._stones()) for world in (*worlds, worlds[-1]._replace(state=None))]

    def _stones(self) -> bytes:
        # Each of its transactions was synced, so this is what any end leaves.
        with contextlib.closing(sqlite3.connect(self.tombstones.path)) as copy:
            return copy.serialize()

    async def find_traces(self, recording: str = A) -> list[str]:
        """Return where something of a recording is left."""
        traces = []
        if await self.index.recording(TENANT, recording) is not None:
            traces.append("index")
        for name, data in {**self.disk.files(), **self.store.objects}.items():
            if recording in name:
                traces.append(name)
            plain = decoded(data) if name.endswith(layout.SUFFIX) and recording not in name else b""
            if MARKER.encode() in data + plain:
                traces.append(f"in {name}")
        with contextlib.closing(sqlite3.connect(self.index.path)) as copy:
            # Text that may hold anything is kept as a blob there.
            if MARKER.encode().hex().upper() in "".join(copy.iterdump()):
                traces.append("in the index")
        return traces

    def forget_acked(self, recording: str = A) -> None:
        """From here on nothing of a recording needs to be there."""
        self.acked.pop(recording, None)


@contextlib.asynccontextmanager
async def lab(
    folder: Path,
    remains: RemovalWorld | None = None,
    *,
    cut: Step | None = None,
    on_end: Callable[[RemovalLab], None] = lambda _: None,
) -> AsyncIterator[RemovalLab]:
    """A life that begins with what remains of another. With ``cut`` it ends there, be it at the start."""
    disk = SimDisk(random.Random(0))
    world = remains.world if remains is not None else EMPTY
    for name, data in world.files.items():
        disk.make_dirs(name.rpartition("/")[0])
        disk.put(name, data)
    where = folder / f"{zlib.crc32(random.randbytes(8)):08x}"
    where.mkdir()
    if world.state is not None:
        (where / "index.sqlite").write_bytes(world.state)
    if remains is not None:
        (where / "tombstones.sqlite").write_bytes(remains.stones)
    switch = SyncSwitch(disk, cut)
    index = await RemovalIndex.open(str(where / "index.sqlite"))
    index.switch = switch
    index.begin()
    with RemovalTombstones(str(where / "tombstones.sqlite")) as tombstones:
        tombstones.switch = switch
        store = RemovalStore(world.objects, disk, switch)
        made = RemovalLab(settings(), disk, index, store, tombstones)
        try:
            await made.start(world, is_first=remains is None)
            yield made
        finally:
            on_end(made)
            await made.end()


def said(number: int) -> bytes:
    return b'{"type":5,"timestamp":%d,"data":{"tag":"said","payload":"%s"}}' % (
        1000 + number,
        MARKER.encode(),
    )


METADATA = (
    b'{"type":5,"timestamp":1,"data":{"tag":"recording-meta","payload":{"mail":"%s"}}}' % MARKER.encode()
)


async def prepared(folder: Path) -> RemovalWorld:
    """``A`` everywhere that a recording can be, and ``B`` beside it."""
    async with lab(folder) as life:
        await life.note(A, METADATA)
        await life.send(A, [said(1), b"no json", event(2, pad=2000), event(3, pad=2000), said(4)])
        await life.fill(B, count=6)
        await life.rest()
        await life.rollup.drain()
        await life.send(A, [said(5), event(6, pad=2000), event(7)])
        await life.rest()
        await life.send(A, [said(8)])
        await life.send(B, [event(9)])
        name = layout.SegmentName(TENANT, A, 9)
        disk = life.disk
        for path in (layout.torn_dir(DATA), layout.rolling_dir(DATA)):
            disk.make_dirs(path)
        disk.put(f"{DATA}/torn/{TENANT}.{A}.000003{layout.SUFFIX}.99.0badcafe.torn", MARKER.encode())
        disk.put(layout.active_path(DATA, name), b"its first write failed: " + MARKER.encode())
        row = await life.row(A)
        assert row.objects, "not rolled up"
        assert {segment.state for segment in row.segments} == {"sealed", "active"}
        return life.remains(life.index.states[-1])
