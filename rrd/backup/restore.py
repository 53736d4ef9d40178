"""A backup → a data directory. The daemon that starts there next goes on where the backup ended.

Everything is checked while it is copied to a place of its own in the new data directory, and moved where it
belongs only when all of it is good, the index last: if that is cut short, a daemon that starts there rebuilds
the index from the files.

**What was erased stays erased**, if the restore is told: a backup can't know what was erased after it.
Tombstones that are newer, from the data directory that was lost or from a later backup, are given as a file,
or lie in the new data directory already (its ``tombstones.sqlite`` is the one thing it may hold). They are
put in with those of the backup, and what they cover is removed before the daemon serves anything. A
recording that began anew after its removal is not covered by it, and stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from typing import NamedTuple

from rrd import audit, layout
from rrd.backup.manifest import (
    DATA,
    SUMS,
    Manifest,
    Sum,
    Unreadable,
    copy_file,
    file_sha256,
    read_manifest,
    read_sums,
)
from rrd.config import Config
from rrd.disk import files
from rrd.disk.disk import OsDisk
from rrd.errors import BadRequest, NotFound, RrdError
from rrd.index import home
from rrd.index.contract import Index
from rrd.objects.choose import open_store
from rrd.objects.identity import Own, read_own, write_own
from rrd.progress import Progress
from rrd.startup.recovery import lock_data_dir
from rrd.tombstones import SELECT, Tombstone, Tombstones

_RESTORING = "restoring"
_OBJECTS = f"{layout.objects_dir(DATA)}/"


class Restored(NamedTuple):
    """What was put in place."""

    manifest: Manifest
    buried: int
    """Recordings of the backup that newer tombstones cover: the daemon removes them when it starts."""


class Damaged(RrdError):
    """A backup doesn't hold what its checksums say."""

    code = "backup_damaged"


async def run_restore(config: Config, source: str, progress: Progress, *, tombstones: str | None) -> Restored:
    """Restore ``source`` into the data directory of the settings. ``tombstones``: a file with newer ones.

    Raises ``BadRequest`` if the directory is in use or holds anything, ``Damaged``, and ``OSError``. Failed
    or cancelled, it leaves the directory as it was, but for objects that were put in the store.
    """
    with lock_data_dir(config.data_dir):
        restore = _Restore(config, source, progress)
        await asyncio.to_thread(restore.check, tombstones)
        try:
            objects = await asyncio.to_thread(restore.copy)
            buried = await restore.bury(tombstones)
            await restore.put_objects(objects)
            await asyncio.to_thread(restore.move)
        finally:
            await asyncio.to_thread(restore.clean)
    return Restored(restore.manifest, buried)


class _Restore:
    """One restore under way."""

    def __init__(self, config: Config, source: str, progress: Progress) -> None:
        self._config = config
        self._data_dir = config.data_dir
        self._source = source
        self._new = f"{config.data_dir}/{_RESTORING}"
        self._progress = progress
        self.manifest = read_manifest(source)

    def check(self, tombstones: str | None) -> None:
        """Refuse what would spoil something."""
        if tombstones is not None and not os.path.exists(tombstones):
            raise NotFound(f"{tombstones}: there is no such file")
        mine = os.path.basename(layout.tombstones_path(self._data_dir))
        allowed = {"lock", "identity", _RESTORING, *(mine + suffix for suffix in ("", "-wal", "-shm"))}
        # What was done with this directory before stays told.
        allowed |= {os.path.basename(path) for path in audit.paths(self._data_dir)}
        there = sorted(set(os.listdir(self._data_dir)) - allowed)
        if there:
            raise BadRequest(
                f"{self._data_dir} is not empty ({', '.join(there[:5])}). Restore into a directory of its own"
            )
        # Of a restore that was cut short.
        self.clean()
        if file_sha256(f"{self._source}/{SUMS}") != self.manifest.sums_sha256:
            raise Damaged(f"{self._source}/{SUMS} is not what the manifest says")

    def copy(self) -> list[Sum]:
        """Copy everything to its waiting place, objects excepted; return these, checked."""
        self._progress.begin("restoring", total=self.manifest.size)
        objects: list[Sum] = []
        bad: list[str] = []
        count = 0
        files.make_dir(self._new)
        for found in read_sums(f"{self._source}/{SUMS}"):
            count += 1
            try:
                if found.path.startswith(_OBJECTS):
                    objects.append(found)
                    digest = self._checksum(found)
                else:
                    digest = copy_file(
                        f"{self._source}/{found.path}",
                        f"{self._new}/{found.path}",
                        size=None,
                        add=self._progress.add,
                    )
            except (FileNotFoundError, Unreadable):
                digest = ""
            if digest != found.sha256:
                bad.append(found.path)
        if bad:
            raise Damaged(
                f"{len(bad)} of {count} files of {self._source} are missing or not what was backed up: "
                f"{', '.join(bad[:5])}. Nothing was restored; `sha256sum -c {SUMS}` lists them all"
            )
        if count != self.manifest.files:
            raise Damaged(f"{self._source}: {count} files are listed, and the manifest counts others")
        return objects

    def _checksum(self, found: Sum) -> str:
        path = f"{self._source}/{found.path}"
        self._progress.add(os.path.getsize(path))
        return file_sha256(path)

    async def bury(self, given: str | None) -> int:
        """Put newer tombstones in; return how many of the backup's recordings they cover."""
        own = layout.tombstones_path(self._data_dir)
        newer = [path for path in (own, given) if path is not None and _exists(path)]
        if not newer:
            return 0
        covered: set[tuple[str, str]] = set()
        async with home.opened(f"{self._new}/{DATA}") as index:
            with Tombstones(layout.tombstones_path(f"{self._new}/{DATA}")) as target:
                for path in newer:
                    covered |= await self._bury_all(path, target, index)
        return len(covered)

    async def _bury_all(self, newer: str, target: Tombstones, index: Index) -> set[tuple[str, str]]:
        covered: set[tuple[str, str]] = set()
        for found in await asyncio.to_thread(_all, newer):
            row = await index.recording(found.tenant, found.recording_id)
            # A removal that was not done there may have left objects: it is finished here.
            laid, is_pending = found, found.state != "done"
            if row is not None and found.covers(row.created_ms):
                covered.add((found.tenant, found.recording_id))
                # Of the life that is here, so that this one is removed.
                laid, is_pending = found._replace(created_ms=row.created_ms), True
            elif row is not None and not is_pending:
                # It began anew after that removal, when the tombstone had been forgotten: it must stay, and
                # take events as before.
                continue
            await asyncio.to_thread(_lay, target, laid, is_pending=is_pending)
        return covered

    async def put_objects(self, objects: list[Sum]) -> None:
        """Put objects into the store that the settings tell, which may be the one of the backup or a new one.

        Raises ``WrongStore`` if it belongs to yet another data directory.
        """
        disk = OsDisk()
        own = read_own(f"{self._new}/{DATA}", disk)
        if own is not None:
            write_own(self._data_dir, Own(own.id), disk)
        if not objects:
            return
        self._progress.begin("objects")
        async with open_store(self._config, disk) as store:
            for found in objects:
                path = f"{self._source}/{found.path}"
                await store.put(found.path.removeprefix(_OBJECTS), path)
                self._progress.add(_size(path))

    def move(self) -> None:
        """Put everything in its place."""
        disk = OsDisk()
        disk.sync_all(self._new)
        data = f"{self._new}/{DATA}"
        files.remove(*(layout.tombstones_path(self._data_dir) + suffix for suffix in ("-wal", "-shm")))
        # What nothing can rebuild first, the index last.
        for place in (
            layout.tombstones_path,
            layout.keys_path,
            layout.active_dir,
            layout.sealed_root,
            home.index_path,
        ):
            if os.path.exists(place(data)):
                disk.rename(place(data), place(self._data_dir))
        disk.sync_dir(self._data_dir)

    def clean(self) -> None:
        """Leave nothing unfinished behind."""
        with contextlib.suppress(FileNotFoundError):
            files.remove_tree(self._new)


def _size(path: str) -> int:
    return os.path.getsize(path)


def _exists(path: str) -> bool:
    return os.path.exists(path)


def _all(path: str) -> list[Tombstone]:
    """Return every tombstone in a file, done or not: some 300 bytes of memory each."""
    with Tombstones(path):
        pass  # It is one, of this version or made so.
    with contextlib.closing(sqlite3.connect(path)) as db:
        rows = db.execute(SELECT + " ORDER BY at_ms")
        return [Tombstone(*row) for row in rows]


def _lay(target: Tombstones, found: Tombstone, *, is_pending: bool) -> None:
    """Lay a tombstone as it stood elsewhere; ``is_pending``: with its removal still to be done here."""
    if not is_pending and any(
        known.created_ms == found.created_ms and known.reason == found.reason
        for known in target.lives(found.tenant, found.recording_id)
    ):
        return
    laid = target.bury(
        found.tenant,
        found.recording_id,
        created_ms=found.created_ms,
        reason=found.reason,
        at_ms=found.at_ms,
        events=found.events,
        size=found.size,
        objects=found.objects,
    )
    if not is_pending:
        target.done(laid, events=found.events, size=found.size, objects=found.objects)
