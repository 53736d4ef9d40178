"""One recording, looked at from all sides: index, local files, objects, tombstones.

Nothing is changed here, and nothing is locked, so a daemon may be at work meanwhile: what is
found then may be a step that is just being taken. ``verify`` looks twice before it says anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rrd import layout
from rrd.disk.disk import Disk
from rrd.index.contract import Index
from rrd.index.rows import RecordingRow
from rrd.inventory import differences
from rrd.inventory.census import StoreFiles, describe
from rrd.inventory.contents import Contents
from rrd.inventory.differences import MEND, MOVE, REINDEX, RESTART, Difference
from rrd.inventory.proof import is_held_elsewhere
from rrd.objects.store import ObjectInfo, ObjectStore
from rrd.playback.salvage import plan_salvage
from rrd.segment.format import Identity
from rrd.segment.salvage import identity_of
from rrd.segment.scan import scan
from rrd.shelf.holdings import Holdings
from rrd.shelf.shelf import Files, Shelf
from rrd.tombstones import Tombstones

_T = TypeVar("_T")


class Examiner:
    """Examines recordings of one data directory. ``close`` lets go of its threads."""

    def __init__(
        self,
        data_dir: str,
        disk: Disk,
        index: Index,
        store: ObjectStore,
        tombstones: Tombstones,
        *,
        is_served: bool,
    ) -> None:
        """``is_served``: a daemon runs, so what its next start would mend is worth telling."""
        self.data_dir = data_dir
        self.disk = disk
        self.shelf = Shelf(disk, data_dir)
        self.index = index
        self.store = store
        self.tombstones = tombstones
        self.is_served = is_served
        self.files = StoreFiles(store, asyncio.get_running_loop())
        """The objects, for worker threads."""
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="examine")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def blocking(self, function: Callable[..., _T], *args: object) -> _T:
        """Return ``function(*args)``, called in a thread that may wait for the store."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args))

    async def examine(
        self, tenant: str, recording_id: str, *, prefixes: Collection[str] = (), deep: bool = False
    ) -> list[Difference]:
        """Return all that is wrong with a recording.

        ``prefixes``: where in the store objects of it were seen, beside where they belong. ``deep``: read
        all bytes. Raises ``StoreAway``.
        """
        row = await self.index.recording(tenant, recording_id)
        here = await self.blocking(self.shelf.of, tenant, recording_id)
        lives = self.tombstones.lives(tenant, recording_id)
        began = {life.created_ms for life in lives}
        if row is not None:
            began.add(row.created_ms)
        else:
            began |= await self.blocking(self._began, here)
        below = {layout.object_prefix(tenant, recording_id, created_ms) for created_ms in began}
        infos = await self._listed(below | set(prefixes))
        sizes = {key: info.size for key, info in infos.items()}
        if row is not None and self.tombstones.covers(tenant, recording_id, row.created_ms):
            what = "its removal was begun, and is not done"
            next_step = "a running rrd finishes it by itself, once it reaches the object store; start it"
            return [Difference("removal-unfinished", tenant, recording_id, "index", what, next_step)]
        found: list[Difference] = []
        if row is not None:
            found += differences.in_index(row)
            found += differences.in_store(row, sizes)
            found += await self.blocking(lambda: list(self.in_files(row, here)))
        found += await self.blocking(lambda: list(self._unknown_files(tenant, recording_id, row, here)))
        for key in differences.unknown_keys(row, sizes):
            difference = await self._unknown_object(tenant, recording_id, row, infos[key])
            if difference is not None:
                found.append(difference)
        if deep and row is not None:
            holdings = Holdings.of(row)
            whole = [entry for entry in holdings.published if sizes.get(holdings.key(entry)) == entry.size]
            contents = Contents(self.disk, self.files, row)
            found += await self.blocking(contents.read, {**here.active, **here.sealed}, whole, bool(found))
            if contents.is_complete:
                metadata = await self.index.metadata(tenant, recording_id)
                found += contents.against(metadata)
        if row is not None and any(difference.kind in differences.LOSSES for difference in found):
            found = [difference for difference in found if difference.kind != "events-missing"]
            found += await self._missing(row)
        return differences.without_loss(found)

    async def _missing(self, row: RecordingRow) -> list[Difference]:
        """Return exactly which events are lost, run by run: reads all of the recording."""
        found = await self.blocking(plan_salvage, self.disk, self.files, self.data_dir, row)
        return [differences.missing(row, run, found.missing_events) for run in found.missing]

    async def _listed(self, prefixes: Collection[str]) -> dict[str, ObjectInfo]:
        infos: dict[str, ObjectInfo] = {}
        for prefix in prefixes:
            async for info in self.store.list(prefix):
                if layout.parse_object_key(info.key) is not None:
                    infos[info.key] = info
        return infos

    # Local files

    def in_files(self, row: RecordingRow, here: Files | None = None) -> Iterator[Difference]:
        """Tell which segments of the index are not on disk as they should be. Blocking.

        Without ``here`` their sizes are asked for one by one, which is quicker for a recording that has few.
        """
        holdings = Holdings.of(row)
        for segment in row.segments:
            name = holdings.name(segment.number)
            proper = self.shelf.path(name, segment.state)
            size = self.shelf.size_at(proper)
            if size is None and segment.state == "rolled":
                # An eviction is under way. The object has it.
                continue
            if size is None:
                other = self.shelf.path(name, "sealed" if segment.state == "active" else "active")
                size = self.shelf.size_at(other)
                if size is not None and (self.is_served or segment.state == "sealed"):
                    what = f"it is {segment.state} in the index, and its file is in the other place"
                    is_sealed = segment.state == "sealed"
                    yield Difference(
                        "segment-not-moved", row.tenant, row.recording_id, other, what,
                        MOVE if is_sealed else RESTART, "move" if is_sealed else "by_hand",
                    )  # fmt: skip
            if size is None:
                next_step = "put it back from a backup"
                what = "the index has this segment, and there is no such file"
                yield Difference("segment-missing", row.tenant, row.recording_id, proper, what, next_step)
            elif size < segment.size:
                what = f"it ends at byte {size}, and was acked up to byte {segment.size}"
                yield differences.damaged_file(row, proper, segment.number, what)

    def _unknown_files(
        self, tenant: str, recording_id: str, row: RecordingRow | None, here: Files
    ) -> Iterator[Difference]:
        """Tell of local files that the index doesn't refer to. Blocking."""
        holdings = Holdings.of(row) if row is not None else Holdings(tenant, recording_id, ())
        known = {segment.number for segment in holdings.segments}
        for number, path in sorted(here.active.items()):
            # A start looks into active/ by itself, and takes up or removes what it finds.
            is_copy = holdings.covering(number) is not None
            if number not in known and (self.is_served or is_copy):
                difference = self._unknown_file(tenant, recording_id, row, number, path)
                yield difference._replace(next_step=RESTART) if difference.mend == "by_hand" else difference
            elif number in here.sealed and self.is_served:
                what = "it is in both places: its move was cut off by a power cut"
                yield Difference("segment-twice", tenant, recording_id, path, what, RESTART)
        for number, path in sorted(here.sealed.items()):
            if number not in known:
                yield self._unknown_file(tenant, recording_id, row, number, path)
        planned = {entry.first_number for entry in holdings.planned}
        for number, path in sorted(here.rolling.items()):
            if number in planned:
                continue
            what = "it is an unfinished object, and no roll-up continues it"
            leftover = Difference("rolling-leftover", tenant, recording_id, path, what, MEND, "remove_file")
            if row is None:
                yield leftover._replace(next_step=REINDEX, mend="by_hand")
            else:
                proofs = differences.places_of(holdings, self.shelf)
                yield leftover._replace(evidence="held_elsewhere", proofs=proofs)
        if row is None and self.tombstones.erased(tenant, recording_id) is not None:
            for path in here.torn:
                what = "its recording was erased"
                yield Difference(
                    "erased-leftover", tenant, recording_id, path, what, MEND, "remove_file", "removed"
                )

    def _unknown_file(
        self, tenant: str, recording_id: str, row: RecordingRow | None, number: int, path: str
    ) -> Difference:
        identity = self._identity(path)
        created_ms = identity.created_ms if identity is not None else -1
        if row is None and self.tombstones.covers(tenant, recording_id, created_ms):
            what = "its recording was removed"
            return Difference(
                "erased-leftover", tenant, recording_id, path, what, MEND, "remove_file", "removed"
            )
        holdings = Holdings.of(row) if row is not None else Holdings(tenant, recording_id, ())
        entry = holdings.covering(number)
        if entry is not None:
            what = "nothing refers to it: it went into an object"
            proofs = (holdings.key(entry),)
            return Difference(
                "copy-leftover",
                tenant,
                recording_id,
                path,
                what,
                MEND,
                "remove_file",
                "held_elsewhere",
                proofs,
            )
        if identity is not None:
            looked = None
            with contextlib.suppress(FileNotFoundError):  # Moved meanwhile, as the next look will show.
                looked = scan(self.disk, path)
            if looked is not None and looked.verdict == "clean" and not looked.blocks:
                what = "the index does not refer to it, and it holds nothing"
                return Difference(
                    "segment-empty", tenant, recording_id, path, what, MEND, "remove_file", "empty"
                )
            if identity.name != (tenant, recording_id, number):
                return self._misplaced(tenant, recording_id, path, identity)
        what = "the index doesn't know this segment"
        next_step = REINDEX if identity is not None else f"rrd inspect {path} tells what it holds"
        return Difference("segment-not-indexed", tenant, recording_id, path, what, next_step)

    def _misplaced(self, tenant: str, recording_id: str, path: str, identity: Identity) -> Difference:
        proper = self.shelf.sealed(identity.name)
        what = f"it holds segment {identity.number} of {identity.tenant} {identity.recording_id}"
        next_step = f"move it to {proper}, where it belongs"
        if self.disk.is_file(proper):
            next_step = (
                f"{proper} is there, too; compare the two, and move this one elsewhere if it is a copy"
            )
        return Difference("segment-misplaced", tenant, recording_id, path, what, next_step)

    def _began(self, here: Files) -> set[int]:
        """When the lives of the recording began that local files are of. Blocking."""
        identities = map(self._identity, (*here.active.values(), *here.sealed.values()))
        return {identity.created_ms for identity in identities if identity is not None}

    def _identity(self, path: str) -> Identity | None:
        # What can't be read says nothing about itself.
        with contextlib.suppress(OSError):
            return identity_of(self.disk, path)
        return None

    # Objects

    async def _unknown_object(
        self, tenant: str, recording_id: str, row: RecordingRow | None, info: ObjectInfo
    ) -> Difference | None:
        found = await self.blocking(describe, self.files, info)
        created_ms = found.created_ms if found is not None else -1
        is_living = row is not None and row.created_ms == created_ms
        if not is_living and self.tombstones.covers(tenant, recording_id, created_ms):
            what = "its recording was removed"
            return Difference(
                "erased-leftover", tenant, recording_id, info.key, what, MEND, "remove_object", "removed"
            )
        return differences.unknown_object(row, info.key, found, shelf=self.shelf)

    # All bytes

    def is_held_elsewhere(self, place: str, others: Collection[str]) -> bool:
        """Tell whether all lines of a file or object stand in others, too. Blocking. Reads all of them."""
        return is_held_elsewhere(place, others, disk=self.disk, objects=self.files)
