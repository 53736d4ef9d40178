"""A consistent copy of a data directory, made while a daemon takes events, rolls up, evicts and erases.

The order is what makes it consistent:

1. Every segment is hard-linked (``staging``): from now on none of them can go away.
2. The index is copied as of one moment. Every block acked before has been told to it, so what this copy
   knows is all that was acked before the backup began, and more.
3. What it knows is looked for among the links. What is missing was begun since step 1, and is linked now; if
   it is gone already, rolled up and evicted in that moment, another round is made from step 1.
4. Contents are copied: of a segment up to its durable size, of an active one up to its last whole block
   (after a crash the index may lack the newest ones, and after a start it would find them there, too).
   Objects of a local store never change, and only removal takes them away; those in a bucket stay where they
   are.
5. Keys and tombstones are copied last, and whatever was erased in the meantime is taken out again: of files
   and of the copied index.
6. Checksums, then everything is synced, then the manifest.

A segment that is sealed, rolled up or evicted between any two steps is where the copied index says, by its
link. A recording begun after step 2 is not in the backup.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

from rrd import __version__, layout
from rrd.backup.contents import BACKUP, all_rows, object_path, paths_of
from rrd.backup.manifest import (
    COPY_BYTES,
    DATA,
    FORMAT,
    SUMS,
    Manifest,
    NewFile,
    Sum,
    Unreadable,
    copy_file,
    file_sha256,
    read_sums,
    write_manifest,
)
from rrd.backup.staging import Staging, staging_of
from rrd.clock import SystemClock
from rrd.config import Config
from rrd.disk import files
from rrd.disk.disk import OsDisk
from rrd.disk.sqlite_file import copy_database
from rrd.errors import BadRequest, ObjectMissing, RrdError
from rrd.index import home
from rrd.index.contract import Index
from rrd.index.rows import RecordingRow, SegmentRow
from rrd.layout import SegmentName
from rrd.objects.choose import open_store
from rrd.objects.store import ObjectStore, bucket_name
from rrd.progress import Progress
from rrd.readonly import open_index
from rrd.segment.format import IDENTITY_READ_SIZE, decode_identity
from rrd.segment.salvage import Patched
from rrd.segment.scan import scan
from rrd.shelf.holdings import Holdings
from rrd.tombstones import Tombstones

_ROUNDS_MAX = 5
"""Rounds of linking and copying the index. What is missing in two of them alike doesn't move: it is lost."""


async def run_backup(config: Config, target: str, progress: Progress, *, with_objects: bool) -> Manifest:
    """Back up the data directory into ``target``, which must be absent or empty.

    Raises ``BadRequest``, ``NotFound``, ``OSError``. Failed or cancelled it leaves ``target`` without a
    manifest: that is no backup, and may be deleted.
    """
    started_ms = SystemClock().now_ms()
    await asyncio.to_thread(_check, config, target)
    is_local = config.object_store == "local"
    with staging_of(config.data_dir) as staging:
        backup = _Backup(config, target, staging, progress)
        async with backup.copied_index() as index:
            # A bucket isn't opened: a backup needs neither its credentials nor a network.
            is_copied = is_local and with_objects
            async with open_store(config, OsDisk()) if is_copied else contextlib.nullcontext() as store:
                await backup.copy_all(index, store)
            await backup.finish(index)
    objects = bucket_name(config)
    if is_local:
        objects = "included" if with_objects else "left out"
    return await asyncio.to_thread(backup.seal, started_ms, objects)


def _check(config: Config, target: str) -> None:
    home.require(config.data_dir, whole=True)
    files.make_dirs(target)
    if os.listdir(target):
        raise BadRequest(f"{target} is not empty. A backup goes into a directory of its own")


@dataclass
class _Totals:
    recordings: int = 0
    missing: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    """Paths of what was copied and then taken out again."""


class _Backup:
    """One backup under way."""

    def __init__(self, config: Config, target: str, staging: Staging, progress: Progress) -> None:
        self._config = config
        self._data_dir = config.data_dir
        self._target = target
        self._data = f"{target}/{DATA}"
        self._staging = staging
        self._progress = progress
        self._disk = OsDisk()
        self._totals = _Totals()
        self._unknown: list[tuple[SegmentName, int, str]] = []

    # Steps 1 to 3

    @contextlib.asynccontextmanager
    async def copied_index(self) -> AsyncIterator[Index]:
        """Link and copy until both fit together; yield the copy, opened."""
        files.make_dir(self._data)
        missing: list[str] | None = None
        self._progress.begin("linking segments")
        for _ in range(_ROUNDS_MAX):
            await asyncio.to_thread(self._staging.link_all)
            async with open_index(self._data_dir) as live:
                await live.snapshot(self._data)
            async with home.opened(self._data) as copy:
                missing, before = await self._find_missing(copy), missing
                if not missing or missing == before:
                    self._totals.missing += missing
                    yield copy
                    return
            home.remove(self._data)
        raise RrdError(
            f"{self._data_dir}: segments go away faster than they can be copied: {missing}. Try again"
        )

    async def _find_missing(self, index: Index) -> list[str]:
        """Link what was begun since the links were made, and return what can't be found."""
        missing: list[str] = []
        async for row in all_rows(index):
            missing += await asyncio.to_thread(self._missing_of, row)
        return missing

    def _missing_of(self, row: RecordingRow) -> list[str]:
        holdings = Holdings.of(row)
        missing: list[str] = []
        for holding in holdings.in_order():
            for segment in holding.segments:
                name = holdings.name(segment.number)
                if not self._is_staged(name, segment, row.created_ms) and holding.object is None:
                    missing.append(BACKUP.sealed(name))
        return missing

    def _is_staged(self, name: SegmentName, segment: SegmentRow, created_ms: int) -> bool:
        """Tell whether the link is there and leads to the file that is meant; link it anew if not."""
        if self._is_right(name, segment, created_ms):
            return True
        # An id that expired and began anew while links were made; the one linked is of the life before.
        self._staging.drop(name)
        return self._staging.link(name) and self._is_right(name, segment, created_ms)

    def _is_right(self, name: SegmentName, segment: SegmentRow, created_ms: int) -> bool:
        path = self._staging.path(name)
        try:
            if self._disk.size(path) < segment.size:
                return False
            found = decode_identity(self._disk.read(path, 0, IDENTITY_READ_SIZE))
        except FileNotFoundError:
            return False
        except OSError:
            return True  # No other file of its name is any better: copying it says what is wrong.
        # What is damaged is copied as it is: no copy of it is any better.
        return found is None or found[0].created_ms == created_ms

    # Step 4

    async def copy_all(self, index: Index, store: ObjectStore | None) -> None:
        """Copy what the index knows, and active segments that it lacks; objects only with ``store``."""
        tenants = await index.tenants()
        self._progress.begin("copying", total=sum(row.storage_bytes for row in tenants))
        sums = await asyncio.to_thread(_open_sums, f"{self._target}/{SUMS}.part")
        with sums:
            async for row in all_rows(index):
                self._totals.recordings += 1
                copied = await asyncio.to_thread(self._copy_segments, row)
                if store is not None:
                    holdings = Holdings.of(row)
                    for found in holdings.published:
                        copied += await self._copy_object(store, holdings.key(found), found.size)
                sums.writelines(f"{found.sha256}  {found.path}\n" for found in copied)
            copied = await self._copy_unknown(index)
            sums.writelines(f"{found.sha256}  {found.path}\n" for found in copied)

    def _copy_segments(self, row: RecordingRow) -> list[Sum]:
        holdings, copied = Holdings.of(row), []
        for segment in row.segments:
            name = holdings.name(segment.number)
            source = self._staging.path(name)
            if not os.path.exists(source):
                continue  # An object stands for it, or it was told as missing.
            # A damaged one that is shorter than what was acked is copied as it is.
            size: int | None = min(segment.size, self._disk.size(source))
            if segment is row.segments[-1] and segment.state == "active":
                size = self._whole_size(source, segment.size)
            copied += self._copy(source, BACKUP.path(name, segment.state), size)
            self._staging.drop(name)
        return copied

    def _whole_size(self, path: str, known_size: int) -> int | None:
        """Return where the last whole block ends; None, for all of the file, if it is damaged before."""
        found = scan(Patched(self._disk), path, durable_size=known_size, start=known_size)
        return None if found.verdict == "corrupt" else max(found.good_size, known_size)

    async def _copy_object(self, store: ObjectStore, key: str, size: int) -> list[Sum]:
        path = object_path(key)
        try:
            return [await self._copy_from_store(store, key, path, size)]
        except ObjectMissing:
            # Perhaps erased in this moment, and then nobody misses it: ``finish`` knows.
            self._totals.missing.append(path)
            return []

    async def _copy_from_store(self, store: ObjectStore, key: str, path: str, size: int) -> Sum:
        target = await asyncio.to_thread(NewFile, f"{self._target}/{path}")
        try:
            while part := await store.read(key, target.size, COPY_BYTES):
                await asyncio.to_thread(target.write, part)
                self._progress.add(len(part))
            if target.size != size:
                raise ObjectMissing(f"{key}: {size} bytes were put, {target.size} are there")
        except BaseException:
            target.discard()
            raise
        return Sum(target.close(), path)

    async def _copy_unknown(self, index: Index) -> list[Sum]:
        """Copy active segments that a crash took out of the index: it finds them at the next start."""
        copied = []
        for name in await asyncio.to_thread(self._staging.left_active):
            row = await index.recording(name.tenant, name.recording_id)
            known = [segment.number for segment in row.segments] if row is not None else []
            known += [found.last_number for found in row.objects] if row is not None else []
            if name.number > max(known, default=0):
                copied += await asyncio.to_thread(self._copy_tail, name)
        return copied

    def _copy_tail(self, name: SegmentName) -> list[Sum]:
        source, path = self._staging.path(name), BACKUP.active(name)
        found = decode_identity(self._disk.read(source, 0, IDENTITY_READ_SIZE))
        size = self._whole_size(source, 0)
        self._unknown.append((name, found[0].created_ms if found is not None else 0, path))
        return self._copy(source, path, size) if size != 0 else []

    def _copy(self, source: str, path: str, size: int | None) -> list[Sum]:
        """Copy a file. One that can't be read is told as missing, and the others go on."""
        try:
            sha256 = copy_file(source, f"{self._target}/{path}", size=size, add=self._progress.add)
        except Unreadable:
            self._totals.missing.append(path)
            return []
        return [Sum(sha256, path)]

    # Step 5

    async def finish(self, index: Index) -> None:
        """Copy keys and tombstones, and take out what they cover."""
        await asyncio.to_thread(self._copy_databases)
        path = layout.tombstones_path(self._data)
        if not await asyncio.to_thread(os.path.exists, path):
            return
        with Tombstones(path) as tombstones:
            async for row in all_rows(index):
                if await asyncio.to_thread(tombstones.covers, row.tenant, row.recording_id, row.created_ms):
                    await index.remove(row.tenant, row.recording_id)
                    self._totals.recordings -= 1
                    self._take_out(paths_of(row))
            self._take_out(
                path
                for name, created_ms, path in self._unknown
                if tombstones.covers(name.tenant, name.recording_id, created_ms)
            )

    def _copy_databases(self) -> None:
        for place in (layout.keys_path, layout.tombstones_path):
            if os.path.exists(place(self._data_dir)):
                _copy_database(place(self._data_dir), place(self._data))
        # So that a restored directory goes on with the same bucket.
        if os.path.exists(layout.identity_path(self._data_dir)):
            files.copy(layout.identity_path(self._data_dir), layout.identity_path(self._data))

    def _take_out(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._totals.gone.add(path)
            files.remove(f"{self._target}/{path}")

    # Step 6

    def seal(self, started_ms: int, objects: str) -> Manifest:
        """Write checksums and manifest."""
        totals = self._totals
        databases = [
            place(DATA)
            for place in (home.index_path, layout.keys_path, layout.tombstones_path, layout.identity_path)
            if os.path.exists(f"{self._target}/{place(DATA)}")
        ]
        count = size = 0
        path = f"{self._target}/{SUMS}"
        with _open_sums(path) as target:
            for found in self._sums(databases):
                target.write(f"{found.sha256}  {found.path}\n")
                count += 1
                size += os.path.getsize(f"{self._target}/{found.path}")
        files.remove(f"{path}.part")
        manifest = Manifest(
            format=FORMAT,
            rrd=__version__,
            started_ms=started_ms,
            finished_ms=SystemClock().now_ms(),
            recordings=totals.recordings,
            files=count,
            size=size,
            sums_sha256=file_sha256(path),
            objects=objects,
            missing=[path for path in dict.fromkeys(totals.missing) if path not in totals.gone],
        )
        write_manifest(self._target, manifest)
        return manifest

    def _sums(self, databases: list[str]) -> Iterator[Sum]:
        for found in read_sums(f"{self._target}/{SUMS}.part"):
            if found.path not in self._totals.gone:
                yield found
        for path in databases:
            yield Sum(file_sha256(f"{self._target}/{path}"), path)


def _open_sums(path: str) -> TextIO:
    return io.TextIOWrapper(files.create(path), encoding="ascii")


def _copy_database(source: str, target: str) -> None:
    """Copy an SQLite file as of one moment, whoever writes to it (https://www.sqlite.org/backup.html)."""
    NewFile(target).close()
    try:
        copy_database(source, target)
    except sqlite3.DatabaseError as error:
        raise RrdError(
            f"{source}: {error}, so there is no backup. Put the file back from an older backup, or copy the "
            "data directory as it is, with the daemon stopped"
        ) from error
