"""A page of a recording's events as a response, with a link to the next one (RFC 8288).

A page is made whole before its first byte goes out: the link stands in a header, and what can go wrong has
gone wrong by then. Its size is bounded by the query and counts on ``read_bytes_max``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from functools import partial
from urllib.parse import quote, urlencode

from aiohttp import hdrs, web

from rrd.access.signing import recording_path
from rrd.http.answer import EventsAnswer
from rrd.http.caller import SESSION_GRANT
from rrd.http.cursors import encode_cursor
from rrd.http.ranges import Paging, Wanted
from rrd.http.reading import lane, reading
from rrd.index.rows import RecordingRow
from rrd.playback.excerpt import Excerpt, read_excerpt
from rrd.playback.table import PlaybackTable
from rrd.shares.queue import Who

_CHUNK_BYTES = 256 << 10
_MERGE_BYTES = 16 << 20
"""What blocks that overlap may take beside each other: with less they are decoded again."""


class PagedAnswer(EventsAnswer):
    """One page of a walk, about to be sent."""

    def __init__(
        self,
        request: web.Request,
        who: Who,
        row: RecordingRow,
        wanted: Wanted,
        said: Wanted,
        *,
        missing_events: int | None = None,
    ) -> None:
        """``wanted`` is what ``said``, the query, asks for of this recording."""
        super().__init__(
            request, who, row, said.between, is_stored=False, by_arrival=wanted.after is not None,
            as_of=wanted.as_of, details=wanted.details, missing_events=missing_events,
        )  # fmt: skip
        self._wanted = wanted
        self._said = said

    async def send(self, table: PlaybackTable) -> web.StreamResponse:
        """Send it. Raises ``CorruptSegment``, ``StoreAway`` and ``OSError`` while nothing has been sent."""
        paging = self._wanted.paging
        assert paging is not None, "it is a page"
        # Two blocks for the merge; the text twice while it is put together, and the event that ends it.
        least = 4 * table.largest + 2 * paging.text_bytes
        async with reading(self._services, self._who, least=least, most=least + _MERGE_BYTES):
            excerpt = await self._read(table, paging)
            if excerpt.has_more and excerpt.last is not None:
                self.headers[hdrs.LINK] = f'<{self._next(excerpt.last)}>; rel="next"'
            response = self._response()
            if self._encoding == "identity":
                response.content_length = len(excerpt.body)
            if self._request.method == hdrs.METH_HEAD:
                await response.prepare(self._request)
                return response
            threads = self._services.reading_threads.lane(self._who)
            return await self._stream(response, self._encoded(_chunks(excerpt.body), threads))

    async def _read(self, table: PlaybackTable, paging: Paging) -> Excerpt:
        threads = lane(self._services, self._who, is_local=table.is_local)
        read = partial(
            read_excerpt, table, form=self._form, bytes_max=_MERGE_BYTES, events_max=paging.events_max,
            text_bytes=paging.text_bytes, by_arrival=self._by_arrival,
        )  # fmt: skip
        return await asyncio.get_running_loop().run_in_executor(threads, read)

    def _next(self, last: tuple[float, int]) -> str:
        """Return the reference to the page behind an event: this one, but for where it begins."""
        query = dict(self._request.query)
        if self._wanted.after is not None:
            query["after"] = str(last[1])
        else:
            query["cursor"] = encode_cursor(self._wanted.cursor_at(last, self._said, self._row), self._row)
        if SESSION_GRANT in self._request:
            # The cookie leads to nothing but the console's own paths.
            return f"{self._request.rel_url.raw_path}?{urlencode(query)}"
        base = self._services.config.public_url.rstrip("/")
        path = base + recording_path(quote(self._row.recording_id))
        return f"{path}/events?{urlencode(query)}"


def _chunks(body: bytearray) -> Generator[bytes, None]:
    for start in range(0, len(body), _CHUNK_BYTES):
        yield bytes(memoryview(body)[start : start + _CHUNK_BYTES])
