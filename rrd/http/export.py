"""A recording as a page that replays it, to keep or to hand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial

from aiohttp import hdrs, web
from multidict import istr

from rrd.assets.files import Assets, load_assets
from rrd.errors import BadRequest
from rrd.exchange.page import check_page_size, export_page, page_policy, size_of_blocks
from rrd.http.answer import EventsAnswer
from rrd.http.caller import recording_of
from rrd.http.damage import MISSING_HEADER, check_all, wants_salvage, whole_or_intact
from rrd.http.filters import KEY_PARAMETERS
from rrd.http.lookup import may_read, planned, visible
from rrd.http.negotiate import is_known
from rrd.http.problems import problem
from rrd.http.ranges import between_of
from rrd.http.reading import lane, reader_of, reading
from rrd.http.services import SERVICES, Services
from rrd.index.rows import RecordingRow
from rrd.playback.hops import in_thread
from rrd.playback.need import need_of
from rrd.playback.salvage import Salvaged
from rrd.playback.table import Between, PlaybackTable
from rrd.shares.queue import Who

_POLICY = istr("Content-Security-Policy")
_PARAMETERS = KEY_PARAMETERS | {"from", "to", "salvage"}


async def get_export(request: web.Request) -> web.StreamResponse:
    """``GET /recordings/{id}/export.html``: one file that replays the recording, from a disk too.

    ``from``, ``to``: a part, in ms since the epoch, from the first to before the second; it is shown from its
    first full snapshot on. ``salvage=true``: what is intact of a damaged recording, with the header
    ``Rrd-Missing-Events``. Answers 200 ``text/html`` as an attachment, 304. 400 ``export_too_large`` beyond
    ``html_export_bytes_max``, with what ``from`` and ``to`` may be, and for any other parameter; 404, 500
    ``recording_damaged``, 503 ``no_assets`` and while the object store is away. It takes a private key, or a
    presigned URL of the recording.
    """
    services = request.app[SERVICES]
    recording_id, grant = await may_read(request, services)
    for name in request.query:
        if name not in _PARAMETERS:
            raise BadRequest(f"{name!r} is unknown: this path takes from, to and salvage", parameter=name)
    between, may_salvage = between_of(request), wants_salvage(request, services)
    assets = await asyncio.to_thread(load_assets, services.assets_dir)
    # From before the files are looked up in the index: what is being read is not evicted.
    with services.claims.reading(grant.tenant, recording_id):
        row = await visible(services, grant, recording_id)
        who = reader_of(grant)
        answer = PageAnswer(request, who, row, between, assets)
        if is_known(request, answer.tag):
            return web.Response(status=304, headers=answer.headers)

        async def whole() -> web.StreamResponse:
            table = await planned(services, who, row, between)
            await _check_size(services, who, table)
            if may_salvage:
                await check_all(services, who, table)
                answer.headers[MISSING_HEADER] = "0"
            return await answer.send(table)

        async def intact(row: RecordingRow, found: Salvaged) -> web.StreamResponse:
            await _check_size(services, who, found.table)
            answer = PageAnswer(request, who, row, between, assets, missing_events=found.missing_events)
            return await answer.send(found.table)

        return await whole_or_intact(services, who, row, between, whole, intact if may_salvage else None)


async def get_preview(request: web.Request) -> web.StreamResponse:
    """``GET /recordings/{id}/preview``: a link for people, to the console's player; 404 if that is off."""
    services = request.app[SERVICES]
    if services.desk is not None:
        recording_id = recording_of(request, services.config)
        return web.Response(status=302, headers={hdrs.LOCATION: f"/console/#/watch/-/{recording_id}"})
    return problem(
        404, "no_console",
        "this server has no console to show a recording in. GET /recordings/{id}/export.html gives a page"
        " that replays it, /recordings/{id}/events its events",
    )  # fmt: skip


async def _check_size(services: Services, who: Who, table: PlaybackTable) -> None:
    """Raise ``BadRequest`` if a table's events don't fit a page; as a read does if they can't be read."""
    loop, threads = asyncio.get_running_loop(), lane(services, who, is_local=table.is_local)
    limit = services.config.html_export_bytes_max
    if await loop.run_in_executor(threads, size_of_blocks, table) <= limit:
        return
    least = 2 * (await loop.run_in_executor(threads, need_of, table)).least
    check = partial(check_page_size, table, bytes_max=least, limit=limit)
    async with reading(services, who, least=least, most=least):
        await loop.run_in_executor(threads, check)


class PageAnswer(EventsAnswer):
    """A page about to be sent: the events, packed into it."""

    def __init__(
        self,
        request: web.Request,
        who: Who,
        row: RecordingRow,
        between: Between,
        assets: Assets,
        *,
        missing_events: int | None = None,
    ) -> None:
        """``missing_events``: as for any answer of events."""
        super().__init__(request, who, row, between, is_stored=False, missing_events=missing_events)
        self._assets = assets
        self._missing_events = missing_events or 0
        # It is compressed inside, and says its own character set.
        self._media_type, self._encoding = "text/html", "identity"
        self.tag += f"-html-{assets.tag}"
        if hdrs.ETAG in self.headers:
            self.headers[hdrs.ETAG] = f'"{self.tag}"'
        name = f"recording-{row.recording_id}.html"
        self.headers[hdrs.CONTENT_DISPOSITION] = f'attachment; filename="{name}"'
        self.headers[_POLICY] = page_policy(assets)

    def _parts(self, table: PlaybackTable, *, bytes_max: int) -> AsyncGenerator[bytes, None]:
        page = export_page(table, self._assets, bytes_max=bytes_max, missing_events=self._missing_events)
        return in_thread(page, threads=lane(self._services, self._who, is_local=table.is_local))
