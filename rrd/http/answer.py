"""The events of one recording as a response: as a replayer wants them, or as they are stored."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

from aiohttp import hdrs, web

from rrd.errors import CorruptSegment, RrdError
from rrd.http.damage import MISSING_HEADER
from rrd.http.reading import READ_SHARE, lane, reading
from rrd.http.writing import FIXED_BYTES, NAMED_FORMS, StreamedAnswer
from rrd.index.rows import RecordingRow
from rrd.log import emit
from rrd.playback.need import Need, need_of
from rrd.playback.stored import read_stored, stored_size
from rrd.playback.stream import read_in_order
from rrd.playback.table import ALWAYS, Between, PlaybackTable
from rrd.shares.queue import Who

logger = logging.getLogger(__name__)

STORED_ENCODING = "zstd"
"""What recordings lie on the disk in."""

_STORED_TYPE = "application/x-ndjson"


_LOOKED_AT_NOW_BLOCKS = 256
"""Headers that are looked at on the event loop, some 3 µs each: a thread for so few would take longer."""


class EventsAnswer(StreamedAnswer):
    """The events of one recording, about to be sent."""

    def __init__(
        self,
        request: web.Request,
        who: Who,
        row: RecordingRow,
        between: Between,
        *,
        is_stored: bool,
        by_arrival: bool = False,
        as_of: int | None = None,
        details: str = "",
        shift_ms: int = 0,
        missing_events: int | None = None,
    ) -> None:
        """``is_stored``: as they are stored, which the caller must accept; not for a range of time.

        ``by_arrival``: in the order in which they arrived; ``between`` is a range of numbers.

        ``as_of``: number of the last event that counts, if that isn't the recording's. ``details``: what
        tells the answer from others of the same range. ``shift_ms``: is added to all timestamps.

        ``missing_events``: how many events a salvaged answer lacks; None if it is to be whole.
        """
        super().__init__(request, who)
        self._row = row
        self._is_stored = is_stored
        self._by_arrival = by_arrival
        self._shift_ms = shift_ms
        if is_stored:
            self._media_type, self._encoding = _STORED_TYPE, STORED_ENCODING
        # What is stored is only ever added to, so the last number names the whole answer.
        self.tag = "-".join(
            [
                f"{row.created_ms:x}",
                str(row.next_seq - 1 if as_of is None else as_of),
                self._media_type.rpartition("/")[2],
                self._encoding,
            ]
            + (["stored"] if is_stored else [])
            + ([] if between == ALWAYS else [f"{between.start:.17g}", f"{between.limit:.17g}"])
            + ([details] if details else [])
        )
        self.headers = {
            # Rolled up, the same lines are stored in other frames, and a weak tag (RFC 9110, 8.8.1) says so.
            hdrs.ETAG: f'W/"{self.tag}"' if is_stored else f'"{self.tag}"',
            hdrs.VARY: "Accept, Accept-Encoding",
            hdrs.CACHE_CONTROL: "private, no-cache",
        }
        if (form := request.query.get("form")) in NAMED_FORMS:
            self.headers[hdrs.CONTENT_DISPOSITION] = (
                f'attachment; filename="recording-{row.recording_id}.{form}"'
            )
        if missing_events is not None:
            # Another answer than the whole one has: it must not be taken for that later.
            del self.headers[hdrs.ETAG]
            self.headers[hdrs.CACHE_CONTROL] = "no-store"
            self.headers[MISSING_HEADER] = str(missing_events)

    async def send(self, table: PlaybackTable) -> web.StreamResponse:
        """Send it. Raises ``CorruptSegment``, ``StoreAway`` and ``OSError`` while nothing has been sent."""
        response = self._response()
        if self._is_stored:
            response.content_length = stored_size(table)
        if self._request.method == hdrs.METH_HEAD:
            await response.prepare(self._request)
            return response
        need = await self._need(table)
        async with reading(self._services, self._who, least=need.least, most=need.most) as held_bytes:
            parts = self._parts(table, bytes_max=max(1, held_bytes - FIXED_BYTES))
            return await self._stream(response, parts)

    async def _need(self, table: PlaybackTable) -> Need:
        """Return how much memory the answer takes at least, and at most."""
        if self._is_stored:
            least = table.data_size_max + FIXED_BYTES
            return Need(least, least)
        if len(table) <= _LOOKED_AT_NOW_BLOCKS:
            need = need_of(table)
        else:
            threads = self._services.reading_threads.lane(self._who)
            need = await asyncio.get_running_loop().run_in_executor(threads, need_of, table)
        share = self._services.config.read_bytes_max // READ_SHARE
        least = need.least + FIXED_BYTES
        return Need(least, max(least, min(need.most + FIXED_BYTES, share)))

    def _parts(self, table: PlaybackTable, *, bytes_max: int) -> AsyncGenerator[bytes, None]:
        threads = lane(self._services, self._who, is_local=table.is_local)
        if self._is_stored:
            return read_stored(table, threads=threads)
        chunks = read_in_order(
            table, form=self._form, bytes_max=bytes_max, by_arrival=self._by_arrival, shift_ms=self._shift_ms
        )
        return self._encoded(chunks, threads)

    async def _log_break(self, error: Exception) -> None:
        row = self._row
        if not isinstance(error, CorruptSegment):
            # A reader can cause these as often as it likes: it stops reading, or closes.
            code = error.code if isinstance(error, RrdError) else type(error).__name__
            self._services.refusals.tell(
                "read_broken_off", code=code, status=500, recording=row.recording_id, error=repr(error),
                next_step=f"rrd doctor {row.recording_id}",
            )  # fmt: skip
            return
        # What was erased while it was read is no damage.
        fresh = await self._services.index.recording(row.tenant, row.recording_id)
        level = logging.ERROR if fresh is not None else logging.INFO
        emit(
            logger, level, "read_broken_off", recording=row.recording_id, error=repr(error),
            next_step=f"rrd doctor {row.recording_id}",
        )  # fmt: skip
