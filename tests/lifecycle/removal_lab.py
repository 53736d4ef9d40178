"""A laboratory for removal: the roll-up's, with one recording to be removed.

Method
------
``prepared`` is a world with two recordings: ``B``, which stays, and ``A``, which is everywhere that a
recording can be: in an object, in sealed and active segments, in the index with metadata, and in what crashes
leave. ``find_traces`` looks for ``A`` wherever something is kept, by its name and by what it says.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from pathlib import Path

from rrd import layout
from rrd.lifecycle.removal import Receipt
from rrd.tombstones import Reason
from tests.rollup.rollup_lab import DATA, TENANT, A, B, Lab, World, decoded, event, lab_of

MARKER = "visitor-4711@example.net"
"""Something that nobody but the visitor of ``A`` has said."""


class RemovalLab(Lab):
    """A life. Use ``lab``."""

    async def remove(self, reason: Reason, recording_id: str = A) -> Receipt:
        if reason == "erased":
            return await self.remover.erase(TENANT, recording_id)
        row = await self.row(recording_id)
        return await self.remover.expire(TENANT, recording_id, last_stored_ms=row.extent.stored_ms)

    def remains_after(self, *, kill: bool) -> list[World]:
        """What a power cut, or a kill, may leave: with each state of the index, and without it."""
        worlds = self.survivors(kill=kill)
        return [*worlds, worlds[-1]._replace(state=None)]

    async def find_traces(self, recording_id: str = A) -> list[str]:
        """Return where something of a recording is left."""
        traces = []
        if await self.index.recording(TENANT, recording_id) is not None:
            traces.append("index")
        for name, data in {**self.disk.files(), **self.store.objects}.items():
            if recording_id in name:
                traces.append(name)
            plain = decoded(data) if name.endswith(layout.SUFFIX) and recording_id not in name else b""
            if MARKER.encode() in data + plain:
                traces.append(f"in {name}")
        with contextlib.closing(sqlite3.connect(self.index.path)) as copy:
            # Text that may hold anything is kept as a blob there.
            if MARKER.encode().hex().upper() in "".join(copy.iterdump()):
                traces.append("in the index")
        return traces

    def forget_acked(self, recording_id: str = A) -> None:
        """From here on nothing of a recording needs to be there."""
        self.acked.pop(recording_id, None)


lab = functools.partial(lab_of, RemovalLab)


def said(number: int) -> bytes:
    return b'{"type":5,"timestamp":%d,"data":{"tag":"said","payload":"%s"}}' % (
        1000 + number,
        MARKER.encode(),
    )


METADATA = (
    b'{"type":5,"timestamp":1,"data":{"tag":"recording-meta","payload":{"mail":"%s"}}}' % MARKER.encode()
)


async def prepared(folder: Path) -> World:
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
        return life.world(life.index.states[-1])
