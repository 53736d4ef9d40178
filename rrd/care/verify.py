"""``rrd verify``: every difference between index, local files and objects, and what to do about it.

Three walks find recordings that need a closer look: through the local files, through the store in the order
of its keys, through the index in the order of its rows. Each holds one recording's part against the index's
row of it. Which recordings the store has anything of is remembered as one bit each, so that the last walk
can tell what is missing there; beyond that, memory holds one page of each. The closer look is ``examine``.

A daemon may be at work meanwhile. So nothing is told that a second look, a moment later, doesn't confirm.

Mending is for a data directory that is held (``recovery.lock_data_dir``). A running roll-up may put an
object under the very key that was found to be an orphan's, and deleting that would lose it. Nothing is
removed on the word of the index alone: what holds the same lines is read to its last byte first (``proof``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from itertools import groupby, islice

from rrd import layout
from rrd.care.examine import Examiner
from rrd.index.rows import RecordingRow
from rrd.inventory import differences
from rrd.inventory.census import Patience, listed
from rrd.inventory.differences import REINDEX, Difference
from rrd.layout import SegmentName
from rrd.shelf.entries import NEXT_STEP
from rrd.shelf.holdings import Holdings

LOOK_AGAIN_S = 2.0
"""Between two looks. A step of the daemon takes less: what is left of it then is not on its way."""

_PAGE = 500

_Key = tuple[str, str]
Told = Callable[[str, int], None]
"""Called with what is being walked, and how many of it are done."""


class Verifier:
    """Walks all, or some recordings. ``counts`` says how much was looked at."""

    def __init__(
        self, examiner: Examiner, *, deep: bool, told: Told, look_again_s: float = LOOK_AGAIN_S
    ) -> None:
        self._examiner = examiner
        self._deep = deep
        self._told = told
        self._look_again_s = look_again_s if examiner.is_served else 0.0
        self._looked_at: set[_Key] = set()
        self._in_store = bytearray()
        self.counts = {"recordings": 0, "objects": 0, "files": 0}

    async def some(self, keys: Sequence[_Key]) -> AsyncIterator[Difference]:
        """Yield what is wrong with these recordings."""
        for key in keys:
            self._count("recordings")
            async for difference in self._look([(key, "")]):
                yield difference

    async def all(self) -> AsyncIterator[Difference]:
        """Yield what is wrong with any recording. Raises ``StoreAway``."""
        for walk in (
            self._walk_strays,
            self._walk_removals,
            self._walk_files,
            self._walk_store,
            self._walk_index,
        ):
            async with aclosing(walk()) as found:
                async for difference in found:
                    yield difference
        if not self._examiner.is_served:
            async for difference in self._totals():
                yield difference

    async def mend(self, difference: Difference) -> str:
        """Do what can be done about a difference. Return what was done; empty if nothing was.

        The data directory must be held.
        """
        examiner = self._examiner
        if difference.evidence == "held_elsewhere" and not await examiner.blocking(
            examiner.is_held_elsewhere, difference.where, difference.proofs
        ):
            return ""
        if difference.mend == "remove_file":
            await examiner.blocking(self._unlink, difference.where)
            return "removed"
        if difference.mend == "remove_object":
            await examiner.store.delete(difference.where)
            return "removed"
        if difference.mend == "move":
            name = examiner.shelf.place_of(difference.where)
            assert name is not None
            await examiner.blocking(examiner.shelf.move_to_sealed, [name])
            return "moved"
        return ""

    def _unlink(self, path: str) -> None:
        self._examiner.disk.unlink(path)
        self._examiner.disk.sync_dir(os.path.dirname(path))

    def _count(self, what: str, count: int = 1) -> None:
        self.counts[what] += count
        self._told(what, self.counts[what])

    async def _look(self, suspects: Sequence[tuple[_Key, str]]) -> AsyncGenerator[Difference, None]:
        """Yield what is wrong with recordings, unless that was told before.

        With each comes a prefix in the store where objects of it were seen; empty if that is not known.
        """
        suspects = [suspect for suspect in dict.fromkeys(suspects) if suspect[0] not in self._looked_at]
        found = [(suspect, await self._examine(suspect)) for suspect in suspects]
        found = [(suspect, told) for suspect, told in found if told]
        if found and self._examiner.is_served:
            await asyncio.sleep(self._look_again_s)
        for suspect, first in found:
            told = first
            if self._examiner.is_served:
                still = {(difference.kind, difference.where) for difference in await self._examine(suspect)}
                told = [difference for difference in told if (difference.kind, difference.where) in still]
            if told:
                self._looked_at.add(suspect[0])
            for difference in told:
                yield difference

    async def _examine(self, suspect: tuple[_Key, str]) -> list[Difference]:
        key, prefix = suspect
        return await self._examiner.examine(*key, prefixes=[prefix] if prefix else [], deep=self._deep)

    # The walks

    async def _walk_strays(self) -> AsyncGenerator[Difference, None]:
        examiner = self._examiner
        found = await examiner.blocking(examiner.shelf.unexpected)
        if found and examiner.is_served:
            # A file that the daemon moves or removes between its listing and the look at it seems to be none.
            await asyncio.sleep(self._look_again_s)
            still = set(await examiner.blocking(examiner.shelf.unexpected))
            found = [entry for entry in found if entry in still]
        for entry in found:
            yield Difference("unexpected-entry", "", "", entry.path, entry.what, NEXT_STEP)

    async def _walk_removals(self) -> AsyncGenerator[Difference, None]:
        pending = await self._examiner.blocking(self._examiner.tombstones.pending)
        async for difference in self._look([((life.tenant, life.recording_id), "") for life in pending]):
            yield difference

    async def _walk_files(self) -> AsyncGenerator[Difference, None]:
        groups = self._files()
        while page := await self._examiner.blocking(lambda: list(islice(groups, _PAGE))):
            suspects: list[tuple[_Key, str]] = []
            for key, numbers in page:
                self._count("files", len(numbers))
                row = await self._examiner.index.recording(*key)
                suspects += [(key, "")] if self._is_suspect(row, numbers) else []
            async for difference in self._look(suspects):
                yield difference

    def _files(self) -> Iterator[tuple[_Key, list[int | None]]]:
        """Yield the numbers of each recording's segment files; None for what may be a leftover. Blocking."""
        shelf = self._examiner.shelf
        for names in (shelf.sealed_names(), iter(shelf.active_names())):
            for key, of_one in groupby(names, key=_recording):
                yield key, [name.number for name in of_one]
        for key in shelf.with_leftovers():
            yield key, [None]

    @staticmethod
    def _is_suspect(row: RecordingRow | None, numbers: list[int | None]) -> bool:
        known = {segment.number for segment in row.segments} if row is not None else set()
        return not known.issuperset(numbers)

    async def _walk_store(self) -> AsyncGenerator[Difference, None]:
        async with aclosing(listed(self._examiner.store, Patience(wait=False))) as infos:
            prefix = ""
            sizes: dict[str, int] = {}
            suspects: list[tuple[_Key, str]] = []
            async for info in infos:
                self._count("objects")
                if layout.parse_object_key(info.key) is None:
                    what = "it is not an object of rrd, and what is below this store's prefix should be"
                    next_step = "move it elsewhere, or delete it by hand"
                    yield Difference("not-an-object", "", "", info.key, what, next_step)
                    continue
                if not info.key.startswith(prefix) or not prefix:
                    suspects += await self._of_store(prefix, sizes)
                    prefix, sizes = info.key[: info.key.rindex("/") + 1], {}
                sizes[info.key] = info.size
                if len(suspects) >= _PAGE:
                    async for difference in self._look(suspects):
                        yield difference
                    suspects.clear()
            suspects += await self._of_store(prefix, sizes)
            async for difference in self._look(suspects):
                yield difference

    async def _of_store(self, prefix: str, sizes: dict[str, int]) -> list[tuple[_Key, str]]:
        """Return the recording whose objects share a prefix, if the index doesn't have just these."""
        if not sizes:
            return []
        name = layout.parse_object_key(next(iter(sizes)))
        assert name is not None
        key = (name.tenant, name.recording_id)
        row = await self._examiner.index.recording(*key)
        is_known = row is not None and not differences.unknown_keys(row, sizes)
        if row is not None and is_known and next(differences.in_store(row, sizes), None) is None:
            self._mark(row.row_id)
            return []
        return [(key, prefix)]

    def _mark(self, row_id: int) -> None:
        place, bit = divmod(row_id, 8)
        if place >= len(self._in_store):
            self._in_store.extend(bytes(place + 1024 - len(self._in_store)))
        self._in_store[place] |= 1 << bit

    def _is_marked(self, row_id: int) -> bool:
        place, bit = divmod(row_id, 8)
        return place < len(self._in_store) and bool(self._in_store[place] >> bit & 1)

    async def _walk_index(self) -> AsyncGenerator[Difference, None]:
        examiner, after = self._examiner, 0
        while page := await examiner.index.oldest(tenant=None, after_row_id=after, limit=_PAGE):
            after = page[-1].row_id
            rows = [await examiner.index.recording(known.tenant, known.recording_id) for known in page]
            suspects = await examiner.blocking(self._suspects, [row for row in rows if row is not None])
            async for difference in self._look([(key, "") for key in suspects]):
                yield difference
            self._count("recordings", len(page))

    def _suspects(self, rows: list[RecordingRow]) -> list[_Key]:
        return [
            (row.tenant, row.recording_id)
            for row in rows
            if self._deep
            or (Holdings.of(row).published and not self._is_marked(row.row_id))
            or next(differences.in_index(row), None)
            or next(self._examiner.in_files(row), None)
        ]

    async def _totals(self) -> AsyncGenerator[Difference, None]:
        """Hold the tenants' counters against their recordings': only while nobody changes them."""
        index = self._examiner.index
        for tenant in await index.tenants():
            stored, after = 0, 0
            while page := await index.oldest(tenant=tenant.name, after_row_id=after, limit=_PAGE):
                after = page[-1].row_id
                stored += sum(row.stored_bytes for row in page)
            if stored != tenant.storage_bytes:
                what = (
                    f"it counts {tenant.storage_bytes} bytes of this tenant, and its recordings have {stored}"
                )
                yield Difference("counters-off", tenant.name, "", "index", what, REINDEX)


def _recording(name: SegmentName) -> _Key:
    return name.tenant, name.recording_id
