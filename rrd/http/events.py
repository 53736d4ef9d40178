"""The events of a recording: in a replayer's order or that of arrival, all or some, or as they are stored."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from aiohttp import hdrs, web

from rrd.errors import BadRequest
from rrd.http.answer import EventsAnswer
from rrd.http.damage import MISSING_HEADER, check_all, wants_salvage, whole_or_intact
from rrd.http.follow import follow
from rrd.http.lookup import may_read, planned, starting_at, visible
from rrd.http.negotiate import is_known
from rrd.http.paged import PagedAnswer
from rrd.http.ranges import Wanted, is_stored_form, wanted_of
from rrd.http.reading import reader_of
from rrd.http.services import SERVICES, Services
from rrd.index.rows import RecordingRow
from rrd.playback.salvage import Salvaged
from rrd.playback.skew import skew_of_table
from rrd.playback.table import ALWAYS, Between, PlaybackTable
from rrd.shares.queue import Who


async def get_events(request: web.Request) -> web.StreamResponse:
    """``GET /recordings/{id}/events``: the events of a recording, all or some, as JSON array or NDJSON.

    In the order of playback, by timestamp and then arrival: all; ``from=MS`` and ``to=MS``, times in ms since
    the epoch, a range of time, its end excluded; ``at=MS``, from the Meta event and FullSnapshot on that a
    replay from this time needs (``playback.landmarks``), up to ``to``. In the order of arrival:
    ``after=SEQUENCEID``, from 0, all that came after that event; not with ``from``, ``to``, ``at`` and
    ``cursor``.

    ``limit=N``, 1 to 10,000 events, and ``maxBytes=N``, 65,536 to 16,777,216 bytes of text, which the last
    event of a page may pass, ask for a page. The next one is in a header ``Link`` with ``rel="next"``, which
    is absent at the end; its ``cursor`` leaves out what arrived since the walk began.

    ``clock=server``: where the page's clock is off by more than five minutes (the median over blocks of when
    each was stored, less its last timestamp), timestamps are moved by so much, and what they were stands in
    ``originalTimestamp``; else all is as without it. Order stays; ``from``, ``to`` and ``at`` are by the
    page's clock. Not in pages, and not with ``after``.

    ``follow=true``: live (``follow``). ``form=stored``: as stored, zstd; ``form=json``, ``form=ndjson``: as a
    file to keep, whatever ``Accept`` says. ``salvage=true``: what is intact of a damaged recording.

    200, or 304 for an ETag in ``If-None-Match``. 400 names the parameter: one out of its bounds, two that
    exclude each other, a cursor that is damaged or another recording's; beside ``at``, ``after`` or a page's
    also an unknown one. 401, 403 by key or signature, 404 without such a recording, 500 if it is damaged, 503
    while the object store is away or too many read.
    """
    _refuse_sockets(request)
    services = request.app[SERVICES]
    recording_id, grant = await may_read(request, services)
    if request.query.get("follow", "false") != "false":
        return await follow(request, recording_id, grant)
    said, is_stored = wanted_of(request), is_stored_form(request)
    # From before the files are looked up in the index: what is being read is not evicted.
    with services.claims.reading(grant.tenant, recording_id):
        row = await visible(services, grant, recording_id)
        who = reader_of(grant)
        asked = _Asked(request, services, who, said, said.of(row), is_stored)
        may_salvage = wants_salvage(request, services)
        answer = asked.answer(row)
        # By the server's clock, what is known depends on the table, too.
        if not said.by_server_clock and is_known(request, answer.tag):
            return web.Response(status=304, headers=answer.headers)

        async def whole() -> web.StreamResponse:
            table = await planned(services, who, row, asked.range)
            return await asked.send(row, table, checks=may_salvage)

        async def intact(row: RecordingRow, found: Salvaged) -> web.StreamResponse:
            return await asked.send(row, found.table, missing_events=found.missing_events)

        return await whole_or_intact(services, who, row, asked.range, whole, intact if may_salvage else None)


def _refuse_sockets(request: web.Request) -> None:
    if request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        raise BadRequest(
            "events are sent over /events/ws or by POST, not over this path", code="not_a_socket_path"
        )


class _Asked(NamedTuple):
    """A request for events of a recording."""

    request: web.Request
    services: Services
    who: Who
    said: Wanted
    """What the query says."""
    wanted: Wanted
    """What that is of this recording."""
    is_stored: bool

    @property
    def range(self) -> Between:
        """The events that must be looked at: to find where a replay begins, all up to now.

        So they are to learn how far a clock is off.
        """
        if self._is_to_be_found or self.said.by_server_clock:
            return ALWAYS._replace(limit_seq=self.wanted.between.limit_seq)
        return self.wanted.between

    @property
    def _is_to_be_found(self) -> bool:
        return self.wanted.at is not None and self.wanted.cursor_text is None

    async def send(
        self,
        row: RecordingRow,
        table: PlaybackTable,
        *,
        checks: bool = False,
        missing_events: int | None = None,
    ) -> web.StreamResponse:
        """Send what is asked for, out of a table of ``range``. ``checks``: all of it is read before.

        Raises ``CorruptSegment``, ``OSError`` and ``StoreAway`` while nothing has been sent.
        """
        answer = self.answer(row, missing_events=missing_events)
        if self.said.by_server_clock:
            threads = self.services.reading_threads.lane(self.who)
            skew = await asyncio.get_running_loop().run_in_executor(threads, skew_of_table, table)
            answer = self.answer(row, shift_ms=skew.repair_ms, missing_events=missing_events)
            if missing_events is None and is_known(self.request, answer.tag):
                return web.Response(status=304, headers=answer.headers)
        table = await self.narrowed(table)
        if checks:
            # What a page needs is read before it is sent.
            if self.said.paging is None:
                await check_all(self.services, self.who, table)
            answer.headers[MISSING_HEADER] = "0"
        return await answer.send(table)

    def answer(
        self, row: RecordingRow, *, shift_ms: int = 0, missing_events: int | None = None
    ) -> EventsAnswer:
        """Return the answer that is to be sent. ``shift_ms``: how far its times are moved."""
        if self.wanted.paging is not None:
            return PagedAnswer(
                self.request, self.who, row, self.wanted, self.said, missing_events=missing_events
            )
        details = self.wanted.details + (f"clock{shift_ms}" if self.said.by_server_clock else "")
        return EventsAnswer(
            self.request, self.who, row, self.said.between, is_stored=self.is_stored,
            by_arrival=self.wanted.after is not None, details=details, shift_ms=shift_ms,
            missing_events=missing_events,
        )  # fmt: skip

    async def narrowed(self, table: PlaybackTable) -> PlaybackTable:
        """Return the table of what is asked for, out of one of ``range``. Raises as ``find_start``."""
        at_ms = self.wanted.at
        if at_ms is None or not self._is_to_be_found:
            return table.narrowed(self.wanted.between) if self.said.by_server_clock else table
        return await starting_at(self.services, self.who, table, at_ms, self.wanted.between)
