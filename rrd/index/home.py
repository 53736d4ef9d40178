"""The index of a data directory: opened, made anew, replaced, set aside. This module alone knows its backend.

A damaged index is no loss, so it is kept under another name and made anew. While that is done a note lies
beside it: an index that a crash left half rebuilt is not empty any more, and is thrown away then. Blocking.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from rrd.disk import files
from rrd.disk.disk import OsDisk
from rrd.disk.sqlite_file import refuse_link
from rrd.errors import BadRequest, IndexDamaged, NotFound
from rrd.index.contract import Index
from rrd.index.sqlite import files as backend
from rrd.log import emit
from rrd.ownership import why_absent

logger = logging.getLogger(__name__)

index_path = backend.index_path
"""The path that stands for the index. There is nothing else to be moved once it is closed."""


def size_of(data_dir: str) -> int:
    """Return how many bytes the files of an index have, its log of changes too; 0 without one."""
    size = 0
    for path in backend.paths(index_path(data_dir)):
        with contextlib.suppress(FileNotFoundError):
            size += os.stat(path).st_size
    return size


async def open_file(path: str) -> Index:
    """Open an index by its path; make it if there is none."""
    refuse_link(path)
    from rrd.index.sqlite.index import SqliteIndex  # noqa: PLC0415 - aiosqlite; most commands start without it

    return await SqliteIndex.open(path)


async def open_index(
    data_dir: str, open_file: Callable[[str], Awaitable[Index]] = open_file
) -> tuple[Index, bool]:
    """Open the index; make it if there is none, set one that is damaged aside.

    Also tell whether it is empty, and so must be rebuilt from the files. That is noted until ``rebuilt``.
    Raises ``ConfigError`` if the file system can't hold an index.
    """
    path = index_path(data_dir)
    if _is_there(_note(path)):
        emit(logger, logging.WARNING, "index_half_rebuilt", next_step="it is rebuilt once more")
        backend.remove(path)
    try:
        index = await open_file(path)
    except IndexDamaged as error:
        set_aside(data_dir, error)
        index = await open_file(path)
    is_empty = index.next_row_id == 1
    if is_empty:
        files.overwrite(_note(path), follow=False).close()
        OsDisk().sync_dir(data_dir)
    return index, is_empty


def rebuilt(data_dir: str) -> None:
    """Note that the index holds all that there is."""
    files.remove(_note(index_path(data_dir)))


def require(data_dir: str, *, whole: bool = False) -> None:
    """Raise ``NotFound`` if there is no index; ``BadRequest`` if it is half rebuilt and must be ``whole``."""
    path = index_path(data_dir)
    if not _is_there(path):
        otherwise = f"{path}: there is no index here. Check --data-dir; `rrd reindex` makes it again"
        raise NotFound(why_absent(path, otherwise))
    if whole and _is_there(_note(path)):
        raise BadRequest(f"{path} is only half rebuilt. Start the daemon, let it finish, and try again")


@contextlib.asynccontextmanager
async def opened(data_dir: str, *, is_read_only: bool = False) -> AsyncIterator[Index]:
    """Open an index that is there, until the body ends; a copy, where nothing can be written beside it.

    Raises ``NotFound`` if there is none, ``IndexDamaged`` if it can't be read.
    """
    require(data_dir)
    path = index_path(data_dir)
    with backend.copied(path) if is_read_only else contextlib.nullcontext(path) as place:
        async with await open_file(place) as index:
            yield index


@contextlib.asynccontextmanager
async def replacing(data_dir: str) -> AsyncIterator[tuple[Index, Index | None]]:
    """Open an empty index beside the old one, and swap when the body ends. If it raises, the old one stays.

    Yields the old one, too, if it is whole: it may know of what the files no longer show.
    """
    path = index_path(data_dir)
    fresh = f"{path}.new"
    damage = None
    backend.remove(fresh)
    try:
        async with contextlib.AsyncExitStack() as stack:
            old = None
            if _is_there(path) and not _is_there(_note(path)):
                try:
                    old = await stack.enter_async_context(await open_file(path))
                except IndexDamaged as error:
                    damage = error
            yield await stack.enter_async_context(await open_file(fresh)), old
    except BaseException:
        backend.remove(fresh)
        raise
    if damage is not None:
        set_aside(data_dir, damage)
    backend.remove(path)
    backend.move(fresh, path)
    rebuilt(data_dir)


def set_aside(data_dir: str, error: IndexDamaged) -> None:
    """Rename a damaged index out of the way, so that the next start makes it anew."""
    path = index_path(data_dir)
    aside = f"{path}.damaged-{time.time_ns() // 1_000_000}"
    emit(logger, logging.ERROR, "index_damaged", error=error, kept_as=aside)
    backend.move(path, aside)


def remove(data_dir: str) -> None:
    """Remove the index of a data directory, which is not open."""
    backend.remove(index_path(data_dir))


def is_old(name: str) -> bool:
    """Tell whether a name in a data directory is that of an index that is kept aside or left over.

    Such views of the files hold everybody's metadata in clear. The note of a rebuild is none.
    """
    return name.startswith((f"{backend.NAME}.damaged-", f"{backend.NAME}.new"))


def _note(path: str) -> str:
    return f"{path}.rebuilding"


def _is_there(path: str) -> bool:
    return os.path.exists(path)
