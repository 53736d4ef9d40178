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
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from rrd import layout
from rrd.config import Config
from rrd.disk import files
from rrd.disk.disk import Disk, OsDisk, Readable
from rrd.disk.lock import FileLock
from rrd.errors import ConfigError
from rrd.index import home
from rrd.index.contract import Index
from rrd.inventory import differences
from rrd.inventory.census import Patience, StoreFiles
from rrd.inventory.survey import Recovered, Survey
from rrd.objects.store import ObjectStore
from rrd.playback.salvage import plan_salvage
from rrd.startup.catch_up import catch_up
from rrd.startup.rebuild import rebuild as rebuild_all
from rrd.tombstones import Tombstones

__all__ = ["Recovered", "is_held", "lock_data_dir", "recover", "reindex"]


async def recover(
    config: Config,
    disk: Disk,
    index: Index,
    *,
    rebuild: bool,
    store: ObjectStore | None = None,
    tombstones: Tombstones | None = None,
    patience: Patience | None = None,
) -> Recovered:
    """Bring the index up to what the files hold, and cut off torn tails.

    With ``rebuild`` (the index is empty) everything is walked, objects in ``store`` too, which is otherwise
    asked about copies that were left over only. While it is away a rebuild waits, unless ``patience`` says
    not to (``StoreAway`` then). None: there never were objects, or tombstones. Safe to do again after a
    crash at any point. Raises ``OSError`` if the data directory can't be read.
    """
    survey = Survey(config.data_dir, disk)
    if rebuild:
        patience = patience or Patience(wait=True)
        await rebuild_all(survey, index, store, tombstones, patience=patience)
        # What a start would not find again, the index has been told to keep on disk.
        home.rebuilt(config.data_dir)
    else:
        await catch_up(survey, index, tombstones, store)
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
    with lock_data_dir(config.data_dir), Tombstones(layout.tombstones_path(config.data_dir)) as tombstones:
        survey = Survey(config.data_dir, OsDisk())
        async with home.replacing(config.data_dir) as (index, old):
            patience = Patience(wait=False)
            await rebuild_all(survey, index, store, tombstones, patience=patience, old=old)
            losses = [line async for line in _losses(config, index, store, survey.result)]
    return Reindexed(survey.result, losses)


async def _losses(
    config: Config, index: Index, store: ObjectStore | None, result: Recovered
) -> AsyncIterator[str]:
    """Yield a line for each run of events that is lost."""
    loop = asyncio.get_running_loop()
    for tenant, recording_id in result.lacking:
        row = await index.recording(tenant, recording_id)
        if row is None:
            continue
        # Without a store the index lists no objects.
        objects: Readable = StoreFiles(store, loop) if store is not None else OsDisk()
        found = await asyncio.to_thread(plan_salvage, OsDisk(), objects, config.data_dir, row)
        for path, what in found.damage:
            yield f"damage: {path} ({tenant} {recording_id}): {what}"
        for run in found.missing:
            yield str(differences.missing(row, run, found.missing_events))


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
