"""What a read is of: whether the caller may read it, what the index says of it, where its blocks are."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from aiohttp import hdrs, web

from rrd.access.gate import Grant
from rrd.access.signing import recording_path
from rrd.errors import CorruptSegment, NotFound, StoreAway
from rrd.http.caller import authorize, recording_of
from rrd.http.problems import problem
from rrd.http.reading import lane
from rrd.http.services import Services
from rrd.index.rows import RecordingRow
from rrd.log import emit
from rrd.playback.table import Between, PlaybackTable, plan
from rrd.shares.queue import Who
from rrd.shelf.holdings import Holdings

logger = logging.getLogger(__name__)

_RETRY_AFTER_S = "10"


async def may_read(request: web.Request, services: Services) -> tuple[str, Grant]:
    """Return the id of the recording in the path, and what lets the caller read it.

    Raises as ``authorize`` does.
    """
    recording_id = recording_of(request, services.config)
    assert recording_id is not None, "the route has the id in its path"
    return recording_id, await authorize(
        request, services, right="read", scope_path=recording_path(recording_id)
    )


async def visible(services: Services, grant: Grant, recording_id: str) -> RecordingRow:
    """Return what the index says of a recording that may be seen. Raises ``NotFound``."""
    row = await services.index.recording(grant.tenant, recording_id)
    is_leaving = services.remover.is_leaving(grant.tenant, recording_id)
    if row is None or not row.visible or is_leaving:
        raise NotFound(f"there is no recording {recording_id}")
    return row


async def check_that_it_is_there(services: Services, row: RecordingRow) -> RecordingRow:
    """Return what the index says of a recording now. Raises ``NotFound`` if it was erased meanwhile."""
    fresh = await services.index.recording(row.tenant, row.recording_id)
    if fresh is None or fresh.row_id != row.row_id:
        raise NotFound(f"there is no recording {row.recording_id}")
    return fresh


async def planned(services: Services, who: Who, row: RecordingRow, between: Between) -> PlaybackTable:
    """Return the table of a recording's blocks, as of ``row`` or later."""
    while True:
        holdings = Holdings.of(row)
        threads = lane(services, who, is_local=holdings.is_local)
        try:
            return await asyncio.get_running_loop().run_in_executor(
                threads,
                partial(
                    plan, services.disk, services.files, services.config.data_dir, holdings, between=between
                ),
            )
        except (CorruptSegment, OSError):
            # Its files may have moved since they were looked up.
            fresh = await check_that_it_is_there(services, row)
            if _places(fresh) == _places(row):
                raise
            row = fresh


def _places(row: RecordingRow) -> list[tuple[int, str]]:
    """Return what tells where a recording's files are: it changes a few times in its life."""
    return [(found.number, found.state) for found in row.segments] + [
        (found.first_number, found.state) for found in row.objects
    ]


def store_away(recording_id: str, error: StoreAway) -> web.Response:
    """Return the answer to a read for which the object store is needed, and is away."""
    emit(logger, logging.WARNING, "object_store_away", recording=recording_id, error=error)
    response = problem(error.status, error.code, "the object store that has these events is away")
    response.headers[hdrs.RETRY_AFTER] = _RETRY_AFTER_S
    return response
