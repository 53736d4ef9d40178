"""Making index and files agree at start after a crash; and from nothing, if need be (``rrd reindex``).

Files are the truth. A block is in its file before the index hears of it, so the index can only be behind,
and only for segments in ``active/``: sealing syncs the index first, and so does each step of the roll-up.
Start-up therefore looks at those files alone, and only at what lies beyond the size that the index knows:
neither at ``sealed/`` nor at the object store, however much is there (``catch_up``). What the roll-up, an
eviction or a removal left half done is in the index or on a tombstone, and is gone on with from there.

Without an index, ``rebuild`` walks all. It can't guess what a store that is away holds: which recordings
there are, and which sequenceIds were given. So a start waits for it, not ready, and says so; ``rrd
reindex`` fails with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from rrd import layout
from rrd.config import Config
from rrd.disk import files
from rrd.disk.disk import Disk, OsDisk, Readable
from rrd.disk.lock import FileLock
from rrd.errors import ConfigError, IndexDamaged, RrdError
from rrd.index.index import Index
from rrd.inventory import differences
from rrd.inventory.census import Patience, StoreFiles
from rrd.inventory.survey import Recovered, Survey
from rrd.log import event
from rrd.objects.store import ObjectStore
from rrd.playback.salvage import plan_salvage
from rrd.startup.catch_up import catch_up
from rrd.startup.rebuild import rebuild as rebuild_all
from rrd.tombstones import Tombstones

__all__ = ["Recovered", "is_held", "lock_data_dir", "open_index", "recover", "reindex", "set_index_aside"]

logger = logging.getLogger(__name__)


async def open_index(config: Config) -> tuple[Index, bool]:
    """Open the index; set one that is damaged aside. Also tell whether it must be rebuilt from the files.

    If so, that is noted beside it until ``recover`` is done: an index that a crash left half rebuilt
    is not empty any more, and is thrown away here.
    """
    path = layout.index_path(config.data_dir)
    _remove_half_rebuilt(path)
    try:
        index, rebuild = await _open(path)
    except IndexDamaged as error:
        set_index_aside(config, error)
        index, rebuild = await _open(path)
    if rebuild:
        files.overwrite(_rebuild_note(path)).close()
        OsDisk().sync_dir(os.path.dirname(path))
    return index, rebuild


def set_index_aside(config: Config, error: IndexDamaged) -> None:
    """Rename a damaged index out of the way, so that the next start makes it anew."""
    path = layout.index_path(config.data_dir)
    aside = f"{path}.damaged-{time.time_ns() // 1_000_000}"
    event(logger, logging.ERROR, "index_damaged", error=error, kept_as=aside)
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            files.rename(path + suffix, aside + suffix)


async def _open(path: str) -> tuple[Index, bool]:
    """Open an index, and tell whether it is empty. A damaged one is closed: its threads would live on."""
    index = await Index.open(path)
    try:
        return index, await index.is_empty()
    except BaseException:
        with contextlib.suppress(RrdError):
            await index.close()
        raise


def _rebuild_note(index_path: str) -> str:
    return f"{index_path}.rebuilding"


def _remove_half_rebuilt(index_path: str) -> None:
    if os.path.exists(_rebuild_note(index_path)):
        event(logger, logging.WARNING, "index_half_rebuilt", next_step="it is rebuilt once more")
        _remove_index(index_path)


async def recover(
    config: Config,
    disk: Disk,
    index: Index,
    *,
    rebuild: bool,
    store: ObjectStore | None = None,
    tombstones: Tombstones | None = None,
    patience: Patience | None = None,
    old: Index | None = None,
) -> Recovered:
    """Bring the index up to what the files hold, and cut off torn tails.

    With ``rebuild`` (the index is empty) everything is walked, objects in ``store`` too, which is otherwise
    asked about copies that were left over only. While it is away a rebuild waits, unless ``patience`` says
    not to (``StoreAway`` then). None: there never were objects, or tombstones. ``old``: the index that is
    replaced. Safe to do again after a crash at any point. Raises ``OSError``
    if the data directory can't be read.
    """
    survey = Survey(config.data_dir, disk)
    if rebuild:
        await rebuild_all(survey, index, store, tombstones, patience=patience or Patience(wait=True), old=old)
        for tenant, recording in survey.result.lacking:
            event(
                logger, logging.ERROR, "recording_incomplete", tenant=tenant, recording=recording,
                next_step=f"rrd doctor {recording}",
            )  # fmt: skip
    else:
        await catch_up(survey, index, tombstones, store)
    # What a start would not find again, the index has been told to keep on disk.
    files.remove(_rebuild_note(index.path))
    return survey.result


class Reindexed(NamedTuple):
    """What a new index holds, and what is lost: a line for people each."""

    found: Recovered
    losses: list[str]


async def reindex(config: Config, store: ObjectStore | None = None) -> Reindexed:
    """Build the index anew from segments and objects, beside the old one, then swap.

    Raises ``ConfigError`` if a daemon serves the data directory, ``StoreAway`` if the store can't be reached:
    the index is as it was then.
    """
    path = layout.index_path(config.data_dir)
    with lock_data_dir(config.data_dir), Tombstones(layout.tombstones_path(config.data_dir)) as tombstones:
        fresh = f"{path}.new"
        _remove_index(fresh)
        try:
            async with _opened_old(path) as (old, damage), await Index.open(fresh) as index:
                result = await recover(
                    config,
                    OsDisk(),
                    index,
                    rebuild=True,
                    store=store,
                    tombstones=tombstones,
                    patience=Patience(wait=False),
                    old=old,
                )
                losses = [line async for line in _losses(config, index, store, result)]
        except BaseException:
            _remove_index(fresh)
            raise
        if damage is not None:
            set_index_aside(config, damage)
        _remove_index(path)
        files.rename(fresh, path)
        files.remove(_rebuild_note(path))
    return Reindexed(result, losses)


@contextlib.asynccontextmanager
async def _opened_old(path: str) -> AsyncIterator[tuple[Index | None, IndexDamaged | None]]:
    """Open the index that is to be replaced, if it is whole: it may know of what the files no longer show."""
    if not _is_there(path) or _is_there(_rebuild_note(path)):
        yield None, None
        return
    try:
        old = await Index.open(path)
    except IndexDamaged as error:
        yield None, error
        return
    async with old:
        yield old, None


def _is_there(path: str) -> bool:
    return os.path.exists(path)


async def _losses(
    config: Config, index: Index, store: ObjectStore | None, result: Recovered
) -> AsyncIterator[str]:
    """Yield a line for each run of events that is lost."""
    loop = asyncio.get_running_loop()
    for tenant, recording in result.lacking:
        row = await index.recording(tenant, recording)
        if row is None:
            continue
        # Without a store the index lists no objects.
        objects: Readable = StoreFiles(store, loop) if store is not None else OsDisk()
        found = await asyncio.to_thread(plan_salvage, OsDisk(), objects, config.data_dir, row)
        for path, what in found.damage:
            yield f"damage: {path} ({tenant} {recording}): {what}"
        for run in found.missing:
            yield str(differences.missing(row, run, found.missing_events))


def _remove_index(path: str) -> None:
    files.remove(*(path + suffix for suffix in ("", "-wal", "-shm")))


@contextlib.contextmanager
def lock_data_dir(data_dir: str) -> Iterator[None]:
    """Hold the data directory: two writers would spoil it. Raises ``ConfigError`` if it is held."""
    files.make_dirs(data_dir)
    try:
        lock = FileLock(layout.lock_path(data_dir), create=True)
    except BlockingIOError:
        raise ConfigError(
            f"{data_dir} is served by a running rrd already. Stop that one, or choose another data_dir."
        ) from None
    with lock:
        yield


def is_held(data_dir: str) -> bool:
    """Tell whether a daemon, or a command that changes things, holds the data directory. Makes nothing."""
    try:
        FileLock(layout.lock_path(data_dir), shared=True).release()
    except BlockingIOError:
        return True
    except (FileNotFoundError, PermissionError):
        return False
    return False
