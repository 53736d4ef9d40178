"""Backups of one data directory, side by side in a directory of their own, of which the newest stay.

::

    TARGET/
      2026-11-30T03-15-42Z/        a backup; its name is when it began, in UTC, or the first second
                                   after it that is free
      2026-12-01T03-21-07Z.part/   one under way, or left by one that was killed: the next one removes it

A backup gets its name when it is whole, and older ones go only after that. Never removed are: the one just
made, the newest ``keep``, the newest of those that lack nothing (with objects, and without them), backups of
another data directory, and what is no backup.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from rrd.backup.backup import run_backup
from rrd.backup.manifest import DATA, Manifest, read_manifest
from rrd.clock import Clock, SystemClock
from rrd.config import Config
from rrd.disk import files
from rrd.disk.disk import OsDisk
from rrd.disk.lock import FileLock
from rrd.errors import BadRequest, RrdError
from rrd.objects.identity import read_own
from rrd.progress import Progress

_PART = ".part"
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ")


class OldBackup(NamedTuple):
    """A backup that may be removed one day: a whole one, of this data directory."""

    name: str
    is_complete: bool
    """It lacks nothing that the index knew."""
    objects: str = ""
    """What it says of objects: one that left them out doesn't stand for one that has them."""


class Rotation(NamedTuple):
    """What a backup came to. ``removed``: the paths of older ones that went."""

    path: str
    manifest: Manifest
    removed: list[str]


async def run_rotation(
    config: Config,
    target: str,
    progress: Progress,
    *,
    with_objects: bool,
    keep: int,
    clock: Clock | None = None,
) -> Rotation:
    """Back up into a new directory below ``target``; then remove older backups, so that ``keep`` stay.

    Raises as ``run_backup``, and ``BadRequest`` while another one goes into ``target``. If it raises, no
    backup was removed.
    """
    await asyncio.to_thread(files.make_dirs, target)
    try:
        lock = FileLock(target)
    except BlockingIOError:
        raise BadRequest(f"another backup into {target} is under way. Wait for its end") from None
    with lock:
        path = await asyncio.to_thread(_prepare, target, (clock or SystemClock()).now_ms())
        try:
            manifest = await run_backup(config, f"{path}{_PART}", progress, with_objects=with_objects)
        except BaseException:
            # It may have filled the disk that the daemon stores events on.
            await asyncio.to_thread(_discard, f"{path}{_PART}")
            raise
        return Rotation(path, manifest, await asyncio.to_thread(_finish, config, path, keep))


def plan_removal(backups: Sequence[OldBackup], *, keep: int, made: str = "") -> list[str]:
    """Return the names of those that may go, the oldest first. ``made``: the one just made.

    That one is not the newest by name where the clock was ahead before.
    """
    newest = sorted(backups, key=lambda each: (each.name == made, each.name), reverse=True)
    stay = {each.name for each in newest[:keep]}
    # The last one that is set for a key is the newest.
    stay |= set({each.objects: each.name for each in reversed(newest) if each.is_complete}.values())
    return sorted(each.name for each in backups if each.name not in stay)


def find_backups(config: Config, target: str) -> list[OldBackup]:
    """Return the backups of the data directory in ``target``."""
    disk = OsDisk()
    own = read_own(config.data_dir, disk)
    found = []
    for name in sorted(os.listdir(target)):
        if own is None or not _NAME.fullmatch(name):
            continue
        try:
            manifest = read_manifest(f"{target}/{name}")
            theirs = read_own(f"{target}/{name}/{DATA}", disk)
        except (RrdError, OSError):
            continue  # No backup, or one that a person should look at.
        if theirs is not None and theirs.id == own.id:
            found.append(OldBackup(name, is_complete=not manifest.missing, objects=manifest.objects))
    return found


def _discard(part: str) -> None:
    with contextlib.suppress(OSError):
        files.remove_tree(part)


def _prepare(target: str, now_ms: int) -> str:
    """Remove what killed backups left, and return the path of the new one."""
    for name in os.listdir(target):
        if name.endswith(_PART) and _NAME.fullmatch(name.removesuffix(_PART)):
            files.remove_tree(f"{target}/{name}")
    seconds = itertools.count(now_ms // 1000)
    paths = (f"{target}/{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H-%M-%SZ}" for second in seconds)
    return next(path for path in paths if not os.path.lexists(path))


def _finish(config: Config, path: str, keep: int) -> list[str]:
    disk, target = OsDisk(), os.path.dirname(path)
    disk.rename(f"{path}{_PART}", path)
    disk.sync_dir(target)
    names = plan_removal(find_backups(config, target), keep=keep, made=os.path.basename(path))
    gone = [f"{target}/{name}" for name in names]
    for old in gone:
        # Half of one must not pass for a backup, whenever this ends.
        disk.rename(old, f"{old}{_PART}")
        files.remove_tree(f"{old}{_PART}")
    return gone
