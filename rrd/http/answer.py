"""The events of one recording as a response: in the form and the compression that were asked for.

A status is told once the first events are there, since most of what can go wrong does so with the first
block. What goes wrong later breaks the connection: an answer that looks whole would leave events out in
silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Generator

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from rrd.errors import CorruptSegment, RrdError, StoreAway, Unauthenticated
from rrd.http.caller import GRANT, check_live
from rrd.http.damage import MISSING_HEADER
from rrd.http.negotiate import best_of
from rrd.http.reading import READ_SHARE, lane, reading
from rrd.http.services import SERVICES
from rrd.index.rows import RecordingRow
from rrd.log import emit
from rrd.playback.hops import in_thread
from rrd.playback.need import Need, need_of
from rrd.playback.splice import JSON_ARRAY, NDJSON
from rrd.playback.stored import read_stored, stored_size
from rrd.playback.stream import read_in_order
from rrd.playback.table import ALWAYS, Between, PlaybackTable
from rrd.shares.queue import Who
from rrd.wire.codings import CODINGS, Compressor

logger = logging.getLogger(__name__)

_FORMS = {"application/json": JSON_ARRAY, "application/x-ndjson": NDJSON, "application/ndjson": NDJSON}

_COMPRESSORS: dict[str, Callable[[], Compressor]] = {
    coding.name: coding.compressor for coding in reversed(CODINGS) if coding.compressor is not None
}
"""How an answer may be compressed; the first one is preferred."""

STORED_ENCODING = "zstd"
"""What recordings lie on the disk in."""

_STORED_TYPE = "application/x-ndjson"

_FIXED_BYTES = 4 << 20
"""What an answer takes beside its blocks: chunks on their way, and what waits for its taker."""

_LOOKED_AT_NOW_BLOCKS = 256
"""Headers that are looked at on the event loop, some 3 µs each: a thread for so few would take longer."""

_AHEAD_BYTES, _IDLE_BYTES = 1 << 20, 64 << 10
"""How far writing may be ahead of its taker, since each wait for him is a turn of the event loop; and how far
it stays when all is written."""


class EventsAnswer:
    """The events of one recording, about to be sent."""

    def __init__(
        self,
        request: web.Request,
        who: Who,
        row: RecordingRow,
        between: Between,
        *,
        is_stored: bool,
        missing_events: int | None = None,
    ) -> None:
        """``is_stored``: as they are stored, which the caller must accept; not for a range of time.

        ``missing_events``: how many events a salvaged answer lacks; None if it is to be whole.
        """
        self._request = request
        self._who = who
        self._row = row
        self._services = request.app[SERVICES]
        self._is_stored = is_stored
        if is_stored:
            self._media_type, self._encoding = _STORED_TYPE, STORED_ENCODING
        else:
            accepted = request.headers.get(hdrs.ACCEPT_ENCODING)
            self._media_type = best_of(request.headers.get(hdrs.ACCEPT), list(_FORMS))
            self._encoding = best_of(accepted, ("identity", *_COMPRESSORS))
        # What is stored is only ever added to, so the last number names the whole answer.
        self.tag = "-".join(
            [
                f"{row.created_ms:x}",
                str(row.next_seq - 1),
                self._media_type.rpartition("/")[2],
                self._encoding,
            ]
            + (["stored"] if is_stored else [])
            + ([] if between == ALWAYS else [f"{between.start:.17g}", f"{between.limit:.17g}"])
        )
        self.headers = {
            # Rolled up, the same lines are stored in other frames, and a weak tag (RFC 9110, 8.8.1) says so.
            hdrs.ETAG: f'W/"{self.tag}"' if is_stored else f'"{self.tag}"',
            hdrs.VARY: "Accept, Accept-Encoding",
            hdrs.CACHE_CONTROL: "private, no-cache",
        }
        if missing_events is not None:
            # Another answer than the whole one has: it must not be taken for that later.
            del self.headers[hdrs.ETAG]
            self.headers[hdrs.CACHE_CONTROL] = "no-store"
            self.headers[MISSING_HEADER] = str(missing_events)

    async def send(self, table: PlaybackTable) -> web.StreamResponse:
        """Send it. Raises ``CorruptSegment``, ``StoreAway`` and ``OSError`` while nothing has been sent."""
        response = web.StreamResponse(headers=self.headers)
        response.content_type = self._media_type
        if self._encoding != "identity":
            response.headers[hdrs.CONTENT_ENCODING] = self._encoding
        if self._is_stored:
            response.content_length = stored_size(table)
        if self._request.method == hdrs.METH_HEAD:
            await response.prepare(self._request)
            return response
        need = await self._need(table)
        async with reading(self._services, self._who, least=need.least, most=need.most) as held_bytes:
            parts = self._parts(table, bytes_max=max(1, held_bytes - _FIXED_BYTES))
            async with contextlib.aclosing(parts):
                first = await anext(parts, b"")
                writer = await response.prepare(self._request)
                assert writer is not None, "it is only prepared once"
                try:
                    await self._write_all(writer, first, parts)
                except (CorruptSegment, StoreAway, OSError, TimeoutError, Unauthenticated) as error:
                    # A broken connection is the one sign left that this is not the whole.
                    if self._request.transport is not None:
                        self._request.transport.abort()
                    await self._log_break(error)
                    return response
        await response.write_eof()
        return response

    async def _need(self, table: PlaybackTable) -> Need:
        """Return how much memory the answer takes at least, and at most."""
        if self._is_stored:
            least = table.data_size_max + _FIXED_BYTES
            return Need(least, least)
        if len(table) <= _LOOKED_AT_NOW_BLOCKS:
            need = need_of(table)
        else:
            threads = self._services.reading_threads.lane(self._who)
            need = await asyncio.get_running_loop().run_in_executor(threads, need_of, table)
        share = self._services.config.read_bytes_max // READ_SHARE
        least = need.least + _FIXED_BYTES
        return Need(least, max(least, min(need.most + _FIXED_BYTES, share)))

    def _parts(self, table: PlaybackTable, *, bytes_max: int) -> AsyncGenerator[bytes, None]:
        threads = lane(self._services, self._who, is_local=table.is_local)
        if self._is_stored:
            return read_stored(table, threads=threads)
        chunks = read_in_order(table, form=_FORMS[self._media_type], bytes_max=bytes_max)
        if self._encoding == "identity":
            return in_thread(chunks, threads=threads)
        # A chunk at a time: compressing one takes as long as reading several.
        return in_thread(_compressed(chunks, _COMPRESSORS[self._encoding]()), threads=threads, hop_bytes=0)

    async def _write_all(
        self, writer: AbstractStreamWriter, first: bytes, parts: AsyncGenerator[bytes, None]
    ) -> None:
        # Whoever doesn't take the answer must not keep others from theirs. One timeout for all parts, set
        # anew for each that may have to wait: setting it costs a third of what it takes to write 64 KiB.
        clock, patience_s = asyncio.get_running_loop().time, self._services.config.body_idle_timeout_s
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the connection is gone")
        # The same mark in both directions, so that below it nothing waits.
        transport.set_write_buffer_limits(high=_AHEAD_BYTES, low=_AHEAD_BYTES)
        part: bytes | None = first
        grant = self._request[GRANT]
        async with asyncio.timeout(None) as timeout:
            while part is not None:
                check_live(grant, self._services)
                may_wait = transport.get_write_buffer_size() + len(part) > _AHEAD_BYTES
                if may_wait:
                    timeout.reschedule(clock() + patience_s)
                if part:
                    await writer.write(part)
                if may_wait:
                    timeout.reschedule(None)
                part = await anext(parts, None)
            # A connection that idles must not hold so much. In steps no larger than a chunk, since each has
            # the time of one to be taken.
            for high in (_AHEAD_BYTES // 2, _IDLE_BYTES):
                transport.set_write_buffer_limits(high=high, low=high)
                timeout.reschedule(clock() + patience_s)
                await writer.drain()

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


def _compressed(chunks: Generator[bytes, None], compressor: Compressor) -> Generator[bytes, None]:
    with contextlib.closing(chunks):
        for chunk in chunks:
            yield compressor.compress(chunk)
        yield compressor.flush()
