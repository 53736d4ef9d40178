"""Events in the body of a POST: pumped through the decoder into the recording as they come."""

from __future__ import annotations

import asyncio
import contextlib
import operator
from collections.abc import AsyncIterator

from aiohttp import ClientPayloadError, hdrs, web

from rrd.config import Config
from rrd.errors import (
    BadFraming,
    BadRequest,
    BrokenEncoding,
    LengthRequired,
    RrdError,
    TooLarge,
    Unauthenticated,
    WireError,
    without_frames,
)
from rrd.http.budget import TooMuchUnfinished, TooSlow, too_slow
from rrd.http.caller import Sender, canonical_id, check_live, encoding_of, kind_of, sender_of
from rrd.http.connection import connection_of, unread_bytes
from rrd.http.decoding import Turn, next_batch
from rrd.http.hold import Reservation
from rrd.http.oversize import HEAD_BYTES_KEPT
from rrd.http.problems import json_response, problem, problem_of
from rrd.http.services import SERVICES, Services
from rrd.http.sharing import is_import
from rrd.recordings.source import Source, Tally
from rrd.wire.careful import Rejected
from rrd.wire.decoder import Decoder
from rrd.wire.events import Batch, batch_of
from rrd.wire.parse import Reason

_ERRORS_TOLD = 10


async def ingest_post(request: web.Request) -> web.Response:
    """``POST /recordings/{id}/ingest``: 200 when every good line of the body is on disk."""
    services = request.app[SERVICES]
    sender = await sender_of(request, services)
    services.registry.check_room_on_disk()
    limits = services.limits
    if is_import(sender.grant):
        # What was stored and exported compresses as well as it does, and comes from this machine.
        limits = limits._replace(inflate_ratio_max=None)
    decoder = Decoder(
        kind=kind_of(request.headers.get(hdrs.CONTENT_TYPE, "")),
        encoding=encoding_of(request.headers.get(hdrs.CONTENT_ENCODING, "")),
        limits=limits,
    )
    hold = connection_of(request).hold
    hold.belongs_to(sender.grant.tenant, sender.grant.key_id)
    pump = _Pump(services, sender, decoder, hold)
    try:
        failure = await pump.run(body_chunks(request, services.config, hold))
        if failure is not None:
            without_frames(failure)
            await pump.set_aside(failure)
        tally = await pump.flush()
    except RrdError as error:
        if pump.source is None:
            raise
        without_frames(error)
        return problem_of(error, **counts_of(pump.source.tally))
    finally:
        await pump.close()
    return _answer(failure, tally, pump.errors)


def _answer(failure: RrdError | None, tally: Tally, errors: list[dict[str, object]]) -> web.Response:
    counts = counts_of(tally)
    if failure is not None:
        response = problem_of(failure, **counts)
        # What the sender still has to send is not wanted, and reading it would take for ever.
        response.force_close()
        return response
    if tally.has_only_bad_lines:
        message = "no line of the body is an event; the lines are kept in quarantine"
        return problem(400, "no_valid_events", message, errors=errors, **counts)
    return json_response(counts)


def _errors_in(batch: Batch) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = [
        {"line": bad.line, "reason": bad.reason} for bad in batch.rejected[:_ERRORS_TOLD]
    ]
    for event in batch.metadata:
        lines += [{"line": event.line, **pair.told} for pair in event.bad[:_ERRORS_TOLD]]
    return sorted(lines, key=operator.itemgetter("line"))[:_ERRORS_TOLD]


def counts_of(tally: Tally) -> dict[str, object]:
    """Return what senders are told of what became of their lines."""
    return {
        "successful_rows": tally.stored,
        "quarantined_rows": tally.quarantined,
        "duplicate_rows": tally.duplicates,
    }


class CutOff(Exception):
    """The body ended before its end."""


async def body_chunks(request: web.Request, config: Config, hold: Reservation) -> AsyncIterator[bytes]:
    """Yield a body as it comes. What waits to be read of it counts in ``hold``.

    What was yielded counts as what the decoder holds, until that says what it does.

    Raises ``CutOff`` where it ends too early, or nothing comes any more; ``TooSlow`` where it comes more
    slowly than ``receive_rate_min`` for longer than ``receive_grace_s``, pauses of the server not counted;
    ``TooMuchUnfinished`` where ``hold`` was refused; ``BadFraming`` where a chunk is bad; ``LengthRequired``
    for a body without an end.
    """
    if hdrs.CONTENT_LENGTH not in request.headers and hdrs.TRANSFER_ENCODING not in request.headers:
        # It would count as empty (RFC 9112, 6.3), and a sender that just closes behind it would lose it.
        raise LengthRequired("send Content-Length, or Transfer-Encoding: chunked: without, a body has no end")
    body = request.content
    now = asyncio.get_running_loop().time
    waited_s, received = 0.0, 0
    while True:
        try:
            if not unread_bytes(body):
                await hold.room()
            left_s = float(config.body_idle_timeout_s)
            if config.receive_rate_min:
                left_s = min(left_s, config.receive_grace_s + received / config.receive_rate_min - waited_s)
            began_at = now()
            async with asyncio.timeout(max(left_s, 0.0)):
                chunk = await body.readany()
            waited_s += now() - began_at
            received += len(chunk)
            if not chunk and (failure := body.exception()) is not None:
                raise failure  # What it was woken for was let go with that.
            connection_of(request).count(taken=len(chunk))
        except asyncio.CancelledError:
            # aiohttp's way to say that the daemon won't wait for the rest; or this task is really cancelled.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise CutOff from None
        except (ClientPayloadError, ConnectionError, TimeoutError, RrdError) as error:
            # What came before the connection broke may still wait in the stream, which has no public
            # way to give it out then.
            if rest := body._read_nowait(-1):
                yield rest
            if isinstance(error, RrdError):
                raise
            if isinstance(error, TimeoutError) and left_s < config.body_idle_timeout_s:
                raise too_slow(config.receive_rate_min) from None
            raise CutOff from None
        if not chunk:
            return
        yield chunk


class _Pump:
    """One body on its way into one recording."""

    def __init__(self, services: Services, sender: Sender, decoder: Decoder, hold: Reservation) -> None:
        self._services = services
        self._sender = sender
        self._decoder = decoder
        self._hold = hold
        self._threads = services.decoding_threads.lane(sender.who)
        self._turn = Turn()
        self._pacer = services.admission.quotas.pacer(sender.who)
        self._head = b""
        """How the body begins, as it was sent."""
        self._line = 1
        self.source: Source | None = None
        self._opened = contextlib.AsyncExitStack()
        """Holds ``source`` open, once the first batch may have named its recording."""
        self._has_let_go = False
        hold.on_refused = self._let_go
        self.errors: list[dict[str, object]] = []
        """The first lines and pairs of metadata that were refused."""

    async def run(self, chunks: AsyncIterator[bytes]) -> RrdError | None:
        """Take the whole body in. Return what is wrong with it; what came before is on its way."""
        try:
            try:
                async for chunk in chunks:
                    check_live(self._sender.grant, self._services)
                    self._check_let_go()
                    if len(self._head) < HEAD_BYTES_KEPT:
                        self._head = (self._head + chunk)[:HEAD_BYTES_KEPT]
                    self._decoder.feed(chunk)
                    del chunk
                    await self._pull()
                    # Thousands of chunks of one byte are parsed for each of these, and may wait in memory.
                    await asyncio.sleep(0)
                    self._turn.begin()
                self._decoder.finish()
            except (CutOff, BadFraming, Unauthenticated) as error:
                # An unload cuts bodies off; the whole events in it count. So do those before a revocation.
                self._decoder.finish(cut_off=True)
                if not isinstance(error, CutOff):
                    with contextlib.suppress(WireError):  # That it is cut off, too.
                        await self._pull()
                    return error
            await self._pull()
            self._check_let_go()
        except WireError as error:
            return error
        except (TooMuchUnfinished, TooSlow) as error:
            self._decoder.give_up()
            await self._pull()
            return error
        return None

    def _let_go(self) -> None:
        """Drop what is not whole at once: this task may have its turn only after many reads of others."""
        if not self._decoder.is_at_work:
            self._has_let_go = True
            self._decoder.give_up()
            held_bytes, unfinished_bytes = self._decoder.held()
            self._hold.set_decoded(held_bytes, unfinished=unfinished_bytes)

    def _check_let_go(self) -> None:
        """Raise why it was refused, if anything was dropped for that: also where all of the body had come."""
        if self._has_let_go and self._hold.failure is not None:
            self._hold.is_told = True
            raise self._hold.failure

    async def set_aside(self, failure: RrdError) -> None:
        """Leave a trace of a body that couldn't be decoded to its end: how it begins, in quarantine."""
        if self.source is None and self._sender.recording_id is None:
            return
        batch = set_aside_batch(failure, self._line, self._head)
        if batch is not None:
            await self._put(batch)

    async def _pull(self) -> None:
        while True:
            batch = await next_batch(self._decoder, self._hold, self._threads, self._turn)
            if batch is None:
                return
            await self._put(batch)

    async def _put(self, batch: Batch) -> None:
        if self.source is None:
            recording_id = self._sender.recording_id or recording_in(batch, self._services)
            opening = self._services.registry.source(
                self._sender.grant.tenant,
                recording_id,
                origin=self._sender.origin,
                visitor=self._sender.visitor,
                lines=batch.event_count + len(batch.metadata) + len(batch.rejected),
                begin=lambda: self._services.admission.quotas.begin_recording(self._sender.who),
            )
            self.source = await self._opened.enter_async_context(opening)
        self._line = batch.limit_line
        if len(self.errors) < _ERRORS_TOLD and (batch.rejected or batch.metadata):
            self.errors = (self.errors + _errors_in(batch))[:_ERRORS_TOLD]
        self.source.put(batch, since=self._services.clock.monotonic())
        self._pacer.count(batch)
        await self.source.room()
        if pause_s := self._pacer.wait_s():
            await asyncio.sleep(pause_s)

    async def flush(self) -> Tally:
        return await self.source.flush() if self.source is not None else Tally()

    async def close(self) -> None:
        self._hold.on_refused = None
        self._hold.release()
        self._pacer.close()
        await self._opened.aclose()


def set_aside_batch(failure: RrdError, line: int, head: bytes) -> Batch | None:
    """Return what is to be quarantined of a body or message that couldn't be decoded: its beginning.

    None where nothing of it is lost: what was cut off is in quarantine already.
    """
    if not isinstance(failure, TooLarge | BrokenEncoding):
        return None
    reason: Reason = "too_large" if isinstance(failure, TooLarge) else "broken_encoding"
    return batch_of(b"", [], limit_line=line + 1, rejected=(Rejected(line, reason, head),))


def recording_in(batch: Batch, services: Services) -> str:
    """Return the recording id that the first metadata event names, for paths and queries without one."""
    for event in batch.metadata:
        with contextlib.suppress(KeyError):
            return canonical_id(event.values["recordingId"], services.config)
    raise BadRequest(
        "no recording id: put it into the path, into ?recordingId=, or into the first recording-meta event",
        code="no_recording_id",
        parameter="recordingId",
    )
