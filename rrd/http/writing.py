"""An answer of events that is streamed: its form, its compression, and writing as fast as its taker takes it.

A status is told once the first events are there, since most of what can go wrong does so with the first
block. What goes wrong later breaks the connection: an answer that looks whole would leave events out in
silence.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Executor

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from rrd.errors import CorruptSegment, StoreAway, Unauthenticated
from rrd.http.caller import GRANT, check_live
from rrd.http.negotiate import best_of
from rrd.http.services import SERVICES
from rrd.playback.hops import in_thread
from rrd.playback.splice import JSON_ARRAY, NDJSON, Form
from rrd.shares.queue import Who
from rrd.wire.codings import CODINGS, Compressor

_FORMS = {"application/json": JSON_ARRAY, "application/x-ndjson": NDJSON, "application/ndjson": NDJSON}

NAMED_FORMS = {"json": "application/json", "ndjson": "application/x-ndjson"}
"""What ``form`` may be in a URL: a link to a file can't say ``Accept``."""

_COMPRESSORS: dict[str, Callable[[], Compressor]] = {
    coding.name: coding.compressor for coding in reversed(CODINGS) if coding.compressor is not None
}
"""How an answer may be compressed; the first one is preferred."""

FIXED_BYTES = 4 << 20
"""What an answer takes beside its blocks: chunks on their way, and what waits for its taker."""

_AHEAD_BYTES, _IDLE_BYTES = 1 << 20, 64 << 10
"""How far writing may be ahead of its taker, since each wait for it is a turn of the event loop; and how far
it stays when all is written."""


class StreamedAnswer(ABC):
    """Events about to be sent, in the form and the compression that were asked for."""

    def __init__(self, request: web.Request, who: Who) -> None:
        accepted = request.headers.get(hdrs.ACCEPT_ENCODING)
        self._request = request
        self._who = who
        self._services = request.app[SERVICES]
        named = NAMED_FORMS.get(request.query.get("form", ""))
        self._media_type = named or best_of(request.headers.get(hdrs.ACCEPT), list(_FORMS))
        self._encoding = best_of(accepted, ("identity", *_COMPRESSORS))
        self.headers: dict[str, str] = {}

    @property
    def _form(self) -> Form:
        return _FORMS[self._media_type]

    def _response(self) -> web.StreamResponse:
        response = web.StreamResponse(headers=self.headers)
        response.content_type = self._media_type
        if self._encoding != "identity":
            response.headers[hdrs.CONTENT_ENCODING] = self._encoding
        return response

    def _encoded(self, chunks: Generator[bytes, None], threads: Executor) -> AsyncGenerator[bytes, None]:
        """Return what is to be sent of chunks that are made, and compressed, in ``threads``."""
        if self._encoding == "identity":
            return in_thread(chunks, threads=threads)
        # A chunk at a time: compressing one takes as long as reading several.
        parts = _compressed(chunks, _COMPRESSORS[self._encoding]())
        return in_thread(parts, threads=threads, hop_bytes=0)

    async def _stream(
        self, response: web.StreamResponse, parts: AsyncGenerator[bytes, None]
    ) -> web.StreamResponse:
        """Send the parts. Raises ``CorruptSegment``, ``StoreAway`` and ``OSError`` before the first one."""
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

    @abstractmethod
    async def _log_break(self, error: Exception) -> None:
        """Log why an answer was broken off."""

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


def _compressed(chunks: Generator[bytes, None], compressor: Compressor) -> Generator[bytes, None]:
    with contextlib.closing(chunks):
        for chunk in chunks:
            yield compressor.compress(chunk)
        yield compressor.flush()
