"""Reads of recordings that are damaged or incomplete: refused with what is missing, or salvaged.

The query says which, by ``salvage=true`` or ``salvage=false``, or else the setting ``reads_of_damage``. Where
a read may be salvaged, everything that it needs is checked before the answer begins, so that the header
``Rrd-Missing-Events`` can say how many events the answer lacks: 0 for a whole recording.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web
from multidict import istr

from rrd.errors import BadRequest, CorruptSegment, StoreAway
from rrd.http.lookup import check_that_it_is_there, store_away
from rrd.http.problems import problem
from rrd.http.reading import lane, reading
from rrd.http.services import Services
from rrd.index.rows import RecordingRow
from rrd.log import emit
from rrd.objects.files import Directly
from rrd.playback.salvage import Salvaged, check, plan_salvage
from rrd.playback.table import Between, PlaybackTable
from rrd.shares.queue import Who
from rrd.shelf.holdings import Holdings

MISSING_HEADER = istr("Rrd-Missing-Events")

_DAMAGE = {
    errno.ENOENT, errno.EIO, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENXIO,
}  # fmt: skip
"""What a file's own fault looks like. Others, as too many open files, are the machine's."""

_FILES_LOGGED_MAX = 5

_SALVAGE_BYTES = 16 << 20
"""What looking for what is intact takes: two blocks of the usual size, decoded, and what it finds."""

logger = logging.getLogger(__name__)


def is_damage(error: Exception) -> bool:
    """Tell whether an error means that a recording's files are not as they should be."""
    return isinstance(error, CorruptSegment) or (isinstance(error, OSError) and error.errno in _DAMAGE)


def wants_salvage(request: web.Request, services: Services) -> bool:
    """Tell whether the caller takes what is intact for an answer. Raises ``BadRequest``."""
    default = "true" if services.config.reads_of_damage == "salvage" else "false"
    wanted = request.query.get("salvage", default)
    if wanted not in {"true", "false"}:
        raise BadRequest("salvage must be true or false", parameter="salvage")
    return wanted == "true"


Send = Callable[[], Awaitable[web.StreamResponse]]
SendIntact = Callable[[RecordingRow, Salvaged], Awaitable[web.StreamResponse]]


async def whole_or_intact(  # noqa: PLR0917 - what is read, and the two ways to answer
    services: Services, who: Who, row: RecordingRow, between: Between, whole: Send, intact: SendIntact | None
) -> web.StreamResponse:
    """Answer with ``whole``; if that finds damage, with what ``intact`` makes of the rest. None: refuse it.

    Raises what they do, but for ``StoreAway`` and what means damage, and ``NotFound`` if the recording was
    erased meanwhile.
    """
    try:
        try:
            return await whole()
        except (CorruptSegment, OSError) as error:
            row = await check_that_it_is_there(services, row)
            if not is_damage(error):
                raise
            damage = error
        found = await salvaged(services, who, row, between)
        if intact is None:
            return refusal(row, found, damage)
        log_damage(row, found, damage)
        return await intact(row, found)
    except StoreAway as error:
        return store_away(row.recording_id, error)


async def check_all(services: Services, who: Who, table: PlaybackTable) -> None:
    """Read and check everything of a table. Raises ``CorruptSegment``, ``OSError``, ``StoreAway``."""
    threads = lane(services, who, is_local=table.is_local)
    largest = max((table.block(number)[1].raw_size for number in range(len(table))), default=0)
    async with reading(services, who, least=2 * largest, most=2 * largest):
        await asyncio.get_running_loop().run_in_executor(threads, check, table)


async def salvaged(services: Services, who: Who, row: RecordingRow, between: Between) -> Salvaged:
    """Find what is intact of a recording. Raises ``StoreAway``."""
    threads = lane(services, who, is_local=Holdings.of(row).is_local)
    find = partial(
        plan_salvage, services.disk, Directly(services.files), services.config.data_dir, row, between=between
    )
    async with reading(services, who, least=_SALVAGE_BYTES, most=_SALVAGE_BYTES):
        return await asyncio.get_running_loop().run_in_executor(threads, find)


def refusal(row: RecordingRow, found: Salvaged, error: Exception) -> web.Response:
    """Return the answer to a read of a damaged recording, and log where the damage is."""
    log_damage(row, found, error, "rrd doctor tells what to do; salvage=true reads what is intact")
    message = (
        f"this recording is damaged: {found.summary}. `salvage=true` in the query gives what is intact; the"
        f" server's log and `rrd doctor {row.recording_id}` tell where the damage is and what to do"
    )
    return problem(
        500, "recording_damaged", message,
        events=found.event_count, missingEvents=found.missing_events,
    )  # fmt: skip


def log_damage(
    row: RecordingRow, found: Salvaged, error: Exception, next_step: str = "rrd doctor tells what to do"
) -> None:
    """Log that an answer lacks events, and why."""
    emit(
        logger, logging.ERROR, "recording_damaged", recording=row.recording_id,
        missing_events=found.missing_events, events=found.event_count, error=_told(found, error),
        next_step=next_step,
    )  # fmt: skip


def _told(found: Salvaged, error: Exception) -> str:
    """Say which files are damaged, and how."""
    if not found.damage:
        return str(error)
    places = [f"{path}: {what}" for path, what in found.damage[:_FILES_LOGGED_MAX]]
    more = len(found.damage) - len(places)
    return "; ".join(places) + (f"; and {more} more" if more else "")
