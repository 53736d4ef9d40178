"""A daemon's core on a real disk, with a store in memory: everything that changes where a recording lies.

Method
------
``life`` is one life (``tests.wired.wired``), from start-up to its stop. Whatever store it is given counts
as the data directory's, as after ``rrd adopt-store``: tests lose and mix up stores as they please.
``answers`` is all that can be asked of it; ``settled`` first lets the roll-up do what it still owes, so that
two lives can be compared by bytes at rest, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from rrd import layout
from rrd.care.examine import Examiner
from rrd.care.verify import Verifier
from rrd.config import Config
from rrd.daemon.assembly import Seams
from rrd.disk.disk import OsDisk
from rrd.errors import Gone, NotFound, StoreAway
from rrd.index import home
from rrd.index.rows import RecordingRow
from rrd.inventory.differences import Difference
from rrd.objects.identity import Marker, read_own
from rrd.playback.splice import NDJSON
from rrd.playback.stream import read_in_order
from rrd.playback.table import plan
from rrd.shelf.holdings import Holdings
from tests.objects.memory_store import MemoryStore
from tests.samples import event, metadata
from tests.wired import Core, ManualClock, numbered_id, wired

TENANTS = ("t", "other")
A, B, C = (numbered_id(number) for number in range(3))


def settings(folder: Path, **changes: Any) -> Config:
    """Segments of one or two blocks, kept for a while after the roll-up."""
    small = Config(
        data_dir=str(folder / "data"),
        disk_reserve_bytes=0,
        object_store="s3",
        s3_bucket="in-memory",
        keep_local_s=1_000_000_000,
        rollup_tasks=1,
        rollup_level=1,
        rollup_delay_s=0,
        seal_idle_s=100,
    )
    return msgspec.structs.replace(small, **({"segment_bytes_max": 300} | changes))


class Life(Core):
    """One life. Use ``life``."""

    store: Any

    send = Core.post

    async def rest(self) -> None:
        """Let time pass, and have everything sealed."""
        self.clock.seconds += 1000
        await self.registry.seal_idle()

    async def roll_up(self, *, evict: bool = False) -> None:
        await self.rest()
        await self.rollup.drain()
        if evict:
            await self.evictor.evict_now(everything=True)

    async def row(self, recording_id: str = A, tenant: str = "t") -> RecordingRow:
        row = await self.index.recording(tenant, recording_id)
        assert row is not None
        return row

    async def answers(self) -> dict[str, object]:
        """Everything that the API can say, and the counters behind it."""
        answers: dict[str, object] = {}
        for tenant in TENANTS:
            listed = await self.index.list_recordings(tenant, filters=[], limit=100, offset=0)
            answers[f"{tenant} list"] = listed
            answers[f"{tenant} found"] = await self.index.list_recordings(
                tenant, filters=[("user", "2")], limit=100, offset=0
            )
            month_start_ms = 1_698_796_800_000
            answers[f"{tenant} statistics"] = await self.index.statistics(
                tenant, month_start_ms=month_start_ms
            )
        for _, tenant, recording_id, *_ in await self.index.oldest(tenant=None, after_row_id=0, limit=1000):
            key = f"{tenant} {recording_id}"
            row = await self.row(recording_id, tenant)
            answers[f"{key} metadata"] = await self.index.metadata(tenant, recording_id)
            answers[key] = (
                row.created_ms, row.extent, row.visible, row.metadata_keys, row.stored_bytes,
            )  # fmt: skip
            answers[f"{key} quarantined"] = sum(
                block.line_count
                for block in await self.index.quarantine(tenant=tenant, recording_id=recording_id)
            )
            answers[f"{key} events"] = await asyncio.to_thread(self._events, row)
        return answers

    def _events(self, row: RecordingRow) -> bytes:
        table = plan(self.disk, self.files, self.config.data_dir, Holdings.of(row))
        return b"".join(read_in_order(table, form=NDJSON, bytes_max=1 << 20))

    async def settled(self) -> dict[str, object]:
        await self.roll_up()
        return await self.answers()

    async def verify(
        self,
        *,
        deep: bool = True,
        is_served: bool = False,
        mend: bool = False,
        look_again_s: float = 0.0,
    ) -> list[Difference]:
        """Return the differences; with ``mend``, those that are left."""
        examiner = Examiner(
            self.config.data_dir,
            self.disk,
            self.index,
            self.parts.store,
            self.tombstones,
            is_served=is_served,
        )
        with contextlib.closing(examiner):
            verifier = Verifier(
                examiner, deep=deep, told=lambda _what, _count: None, look_again_s=look_again_s
            )
            found = [difference async for difference in verifier.all()]
            if mend:
                found = [difference for difference in found if not await verifier.mend(difference)]
            return found


@contextlib.asynccontextmanager
async def life(folder: Path, store: Any, **changes: Any) -> AsyncIterator[Life]:
    """A life in ``folder``. Removals that were not finished are finished."""
    config = settings(folder, **changes)
    own = read_own(config.data_dir, OsDisk())
    if isinstance(store, MemoryStore):
        store.mark = msgspec.json.encode(Marker(own.id)) if own is not None and own.store else None
    seams = Seams(ManualClock(), store=store, store_retry_s=(0.001, 0.01))
    async with wired(Life, config, seams) as made:
        await made.remover.finish()
        yield made


def index_path(folder: Path) -> Path:
    return Path(home.index_path(str(folder / "data")))


def delete_index(folder: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{index_path(folder)}{suffix}").unlink(missing_ok=True)


# What a life may consist of, in any order

Step = str
STEPS: tuple[Step, ...] = (
    "send A", "send B", "send other", "metadata", "repeat", "bad line", "bad lines alone",
    "rest", "roll up", "lost answer", "store away", "evict", "evict half", "erase", "restart",
)  # fmt: skip


async def play(folder: Path, store: MemoryStore, steps: list[Step]) -> None:
    """Live by ``steps``, over as many lives as they say, all of which end in good order."""
    number = 0
    seconds = 0.0
    rest = list(steps)
    while True:
        async with life(folder, store) as now:
            now.clock.seconds = max(seconds, now.clock.seconds)
            while rest:
                step = rest.pop(0)
                number += 1
                # Recordings begin at different moments, so that their order is clear.
                now.clock.seconds += 1
                seconds = now.clock.seconds
                if step == "restart":
                    break
                await _do(now, step, number)
            else:
                return


async def _do(now: Life, step: Step, number: int) -> None:
    with contextlib.suppress(StoreAway, NotFound, Gone):
        match step:
            case "send A":
                await now.send(event(2 * number), event(2 * number + 1))
            case "send B":
                await now.send(event(number), recording_id=B)
            case "send other":
                await now.send(event(number), tenant="other")
            case "metadata":
                await now.send(metadata("user", str(number % 3)), metadata("step", str(number)))
            case "repeat":
                await now.send(event(2), event(2), event(1000 + number))
            case "bad line":
                await now.send(event(number), b"no event")
            case "bad lines alone":
                await now.send(b"junk %d" % number, recording_id=C)
            case "rest":
                await now.rest()
            case "roll up":
                await now.roll_up()
            case "lost answer":
                now.store.lose_answers("put", times=1)
                await now.roll_up()
            case "store away":
                now.store.fail("put", times=1)
                await now.roll_up()
            case "evict":
                await now.evictor.evict_now(everything=True)
            case "evict half":
                await _evict_half(now)
            case "erase":
                await now.remover.erase("t", B)
    now.store.heal()


async def _evict_half(now: Life) -> None:
    """An eviction that a crash cut off when one file was gone."""
    for path in await rolled(now):
        with contextlib.suppress(FileNotFoundError):
            now.disk.unlink(path)
            return


async def rolled(now: Life) -> list[str]:
    """Where local copies of rolled segments are, or were a moment ago."""
    return [
        layout.sealed_path(now.config.data_dir, layout.SegmentName(tenant, recording_id, segment.number))
        for _, tenant, recording_id, *_ in await now.index.oldest(tenant=None, after_row_id=0, limit=1000)
        for segment in (await now.row(recording_id, tenant)).segments
        if segment.state == "rolled"
    ]
