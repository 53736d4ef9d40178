"""One socket on its way into one recording: from messages to batches, and from these to the recording.

Messages come in runs (``gathering``). What is quick is done on the loop, and what takes long in a thread
(``decoding``). What is answered is up to ``socket_replies``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from aiohttp import WebSocketError, WSCloseCode, WSMsgType

from rrd.errors import RrdError, TooLarge, WireError, without_frames
from rrd.http.binary_messages import BinaryMessages
from rrd.http.budget import LARGE_EVENT_BYTES, TooMuchUnfinished, TooSlow
from rrd.http.caller import Sender
from rrd.http.decoding import in_thread, next_batch
from rrd.http.gathering import GatheringSocket
from rrd.http.ingest_post import recording_in, set_aside_batch
from rrd.http.runs import Message, size_of
from rrd.http.services import Services
from rrd.http.socket_replies import SocketReplies
from rrd.log import emit
from rrd.recordings.source import Source
from rrd.wire.codings import Encoding
from rrd.wire.decoder import ContentKind, Decoder
from rrd.wire.events import Batch, check_documents, check_messages
from rrd.wire.turns import TakesLong

logger = logging.getLogger(__name__)


class SocketIngest:
    """One socket on its way into one recording."""

    def __init__(
        self,
        services: Services,
        sender: Sender,
        socket: GatheringSocket,
        *,
        kind: ContentKind,
        encoding: Encoding,
        replies: SocketReplies,
    ) -> None:
        self.grant = sender.grant
        self.flush_due_at = 0.0
        self._services, self._sender = services, sender
        self._socket, self._replies = socket, replies
        self._is_document = kind == "json"
        self._binary = BinaryMessages(kind=kind, encoding=encoding, limits=services.limits)
        self._text: Decoder | None = None
        """The rest of a first text message, which named the recording."""
        self._source: Source | None = None
        """There once the first message may have named its recording."""
        self._line = 1
        self._limit_line = 1
        """Number of the line after the last that was put, in text or not."""
        self._has_set_aside = False
        self._hold, self._turn = socket.hold, socket.turn
        self._threads = services.decoding_threads.lane(sender.who)
        self._pacer = services.admission.quotas.pacer(sender.who)
        self._is_busy = False
        """Something received is just being taken in: nothing younger may overtake it."""
        self._is_flush_due = False
        """``Sockets`` will call ``flush`` in time for all that gathers now."""
        self._gathering_since = 0.0
        """When the first event of what gathers came, or what came before it was put; 0.0: nothing gathers."""
        self._close_code, self._close_reason = WSCloseCode.OK, ""

    async def run(self) -> None:
        """Take messages until the socket closes, then flush and say what was stored."""
        sockets = self._services.sockets
        sockets.add(self)
        if not self._services.gate.is_live(self.grant):
            self.cut_off()  # Revoked during the handshake, when no one looked after this socket yet.
        try:
            await self._open_source()
            await self._receive()
            await self._finish_stream()
            await self._replies.end(code=self._close_code, reason=self._close_reason)
        except (TooMuchUnfinished, TooSlow) as error:
            without_frames(error)
            await self._keep_whole()
            await self._replies.fail(error)
        except RrdError as error:
            without_frames(error)
            self._set_aside(error)
            await self._replies.fail(error)
        except Exception:  # noqa: BLE001  # the last line of defence: no HTTP reply can be sent any more
            emit(logger, logging.ERROR, "socket_crashed", exc_info=True)
            await self._replies.fail(RrdError("something went wrong here; the log says what"))
        finally:
            await self._replies.finish()
            sockets.remove(self)
            if self._source is not None:
                # Cancelled or not, what was received goes on its way to the disk.
                self.flush()
                self._source.close()
                # They know each other, and would be let go with the next collection of garbage only.
                self._source.on_commit = None
            self._hold.release()
            self._pacer.close()

    async def _open_source(self) -> None:
        recording_id = self._sender.recording_id
        batch: Batch | None = None
        if recording_id is None:
            batch = await self._first_batch()
            if batch is None:
                return
            recording_id = recording_in(batch, self._services)
        self._source = await self._services.registry.open_source(
            self.grant.tenant, recording_id, origin=self._sender.origin, visitor=self._sender.visitor,
            lines=0 if batch is None else batch.event_count + len(batch.metadata) + len(batch.rejected),
            begin=lambda: self._services.admission.quotas.begin_recording(self._sender.who),
        )  # fmt: skip
        self._replies.source = self._source
        self._source.on_commit = self._replies.on_commit
        if batch is not None:
            self._put(batch)
        if self._text is not None:
            with self._busy():
                await self._drain(self._text)
            self._text = None

    async def _first_batch(self) -> Batch | None:
        """Read on until there are events, whose metadata may say which recording they belong to."""
        while (message := await self._next_message()) is not None:
            if message.type is WSMsgType.TEXT:
                self._text = self._decoder_of([message.data])
                with self._busy():
                    batch = await next_batch(self._text, self._hold, self._threads, self._turn)
                    self._line = self._line if batch is None else batch.limit_line
                    return batch
            self._binary.feed(message.data)
            with self._busy():
                batch = await self._decoded(flush=True)
            if batch is not None:
                return batch
        self._binary.finish()
        with contextlib.suppress(WireError), self._busy():
            return await self._decoded()
        return None

    async def _receive(self) -> None:
        self._socket.gather(self._gathers)
        while (message := await self._next_message()) is not None:
            self._is_busy = True  # Not ``_busy``: this is done for each message.
            try:
                if message.type is WSMsgType.TEXT:
                    # A run, but for messages that came before there were any.
                    messages = message.data if type(message.data) is list else [message.data]
                    await self._take_text(messages, size_of(message))
                    del messages
                else:
                    await self._take_binary(message.data)
            finally:
                self._is_busy = False
            del message  # An idle socket would keep it.
            if self._binary.has_waiting:
                self._gathers()
            if self._replies.failure is not None:
                raise self._replies.failure

    async def _next_message(self) -> Message | None:
        """Return the next message with events; None when the socket is closed or the connection is gone.

        Raises what can't be received: ``WireError`` if that is the client's doing.
        """
        message = await self._socket.next_message()
        if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
            return message
        if message.type is not WSMsgType.ERROR:
            return None
        await self._flush_now()
        if self._replies.failure is not None:
            raise self._replies.failure
        error: Exception = message.data
        if error is self._hold.failure:
            self._hold.is_told = True
        if not isinstance(error, WebSocketError):
            raise error
        if error.code == WSCloseCode.MESSAGE_TOO_BIG:
            limit = self._socket.message_bytes_max
            raise TooLarge(f"a message is larger than {limit} bytes; send less at once, or by POST")
        raise WireError("a WebSocket frame is damaged")

    def _gathers(self) -> None:
        since = self._socket.came_since or self._services.clock.monotonic()
        self._gathering_since = self._gathering_since or since
        if not self._is_flush_due:  # What is younger must not put it off.
            self._is_flush_due = True
            self._services.sockets.gathers(self, since)

    async def _take_text(self, messages: list[bytes], size: int) -> None:
        """Take ``size`` bytes of messages in."""
        await self._drain_decoder()
        with contextlib.suppress(TakesLong):
            if size < LARGE_EVENT_BYTES:
                batch = self._check(messages)
            else:
                # Large events, and not many: the check takes as much memory again.
                self._hold.set_decoded(size, unfinished=0)
                await self._hold.room()
                batch = await in_thread(self._threads, lambda: self._check(messages))
                self._turn.begin()
                self._hold.set_decoded(0, unfinished=0)
            self._put(batch)
            await self._room()
            return
        await self._drain(self._decoder_of(messages))
        self._count_decoded()

    def _decoder_of(self, messages: list[bytes]) -> Decoder:
        """Return a decoder of text messages, for those that take long."""
        config = self._services.config
        decoder = Decoder(
            kind="json" if self._is_document else "unstated",
            encoding="identity",
            limits=self._services.limits,
            first_line=self._line,
            # Longer ones were refused already; one longer than an event may be is set aside.
            line_bytes_max=max(config.message_bytes_max, config.event_bytes_max),
        )
        for message in messages:
            decoder.feed(bytes(message), ends_message=True)
        decoder.finish()
        return decoder

    async def _drain(self, decoder: Decoder) -> None:
        while (batch := await next_batch(decoder, self._hold, self._threads, self._turn)) is not None:
            self._line = batch.limit_line
            self._put(batch)
            await self._room()

    async def _drain_decoder(self) -> None:
        while self._binary.has_waiting:
            if (batch := await self._decoded(flush=True)) is not None:
                self._put(batch)

    async def _decoded(self, *, flush: bool = False) -> Batch | None:
        if (decoder := self._binary.decoder) is None:
            return None
        return await next_batch(decoder, self._hold, self._threads, self._turn, flush=flush)

    async def _take_binary(self, data: bytes) -> None:
        decoder = self._binary.feed(data)
        while True:
            # What is quick needs no coroutine: nearly all messages are.
            batch = decoder.next_batch(pace="quick")
            if batch is None and decoder.is_behind:
                batch = await next_batch(decoder, self._hold, self._threads, self._turn)
            if batch is None:
                break
            self._put(batch)
            await self._room()
            if self._turn.is_over():
                await self._turn.end()
        self._count_decoded()
        self._binary.forget_head()

    def flush(self) -> None:
        """Hand what was gathered over to the recording. Never raises: a failure ends the socket."""
        self._is_flush_due = False
        if self._is_busy or self._pacer.is_in_debt:  # Then it is taken once its sender has waited.
            self._socket.hand_out()
            return
        try:
            self._flush_quickly()
        except RrdError as error:
            self._set_aside(error)
            self._replies.fail_soon(error)
        self._binary.forget_head()
        if self._hold.counted_bytes:
            # What was handed over is held no more, and nothing else may come for hours.
            self._count_decoded()
            self._socket.count_held()

    def _count_decoded(self) -> None:
        held_bytes, unfinished_bytes = self._binary.held()
        self._hold.set_decoded(held_bytes, unfinished=unfinished_bytes)

    def _set_aside(self, failure: RrdError) -> None:
        """Leave a trace of a message that couldn't be received or decoded: its beginning, in quarantine."""
        head = self._socket.refused_head
        if head is None:
            head = self._binary.head
        batch = set_aside_batch(failure, self._limit_line, head)
        if self._source is None or batch is None or self._has_set_aside:
            return
        self._has_set_aside = True
        # A recording that takes nothing more has said why already; ``failure`` is what the client is told.
        with contextlib.suppress(RrdError):
            self._source.put(batch)

    def _flush_quickly(self) -> None:
        """Flush what is quick to check; leave the rest to ``_receive``, which may wait for a thread."""
        decoder = self._binary.decoder
        while decoder is not None and decoder.waiting_bytes:
            batch = decoder.next_batch(flush=True, pace="quick")
            if batch is not None:
                self._put(batch)
            elif decoder.is_behind:
                self._socket.hand_back(self._socket.take_out())
                return
        if messages := self._socket.take_out():
            try:
                batch = self._check(messages)
            except TakesLong:
                self._socket.hand_back(messages)
            else:
                self._put(batch)
        else:
            self._gathering_since = 0.0

    async def _flush_now(self) -> None:
        """Flush all there is, however long it takes. Nothing is received any more."""
        with self._busy():
            await self._drain_decoder()
            if messages := self._socket.take_out():
                await self._take_text(messages, sum(map(len, messages)))

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        """While something is taken in, so that no timed flush comes between."""
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False

    def _check(self, messages: list[bytes]) -> Batch:
        """Check text messages on the loop. Raises ``TakesLong`` if that is no quick work."""
        check = check_documents if self._is_document else check_messages
        batch = check(messages, self._services.limits, first_line=self._line, is_quick=True)
        self._line = batch.limit_line
        return batch

    def _put(self, batch: Batch) -> None:
        if self._source is None:
            return
        self._services.registry.check_room_on_disk()
        self._limit_line = batch.limit_line
        now = self._services.clock.monotonic()
        self._source.put(batch, since=self._gathering_since or now)
        self._gathering_since = now if self._is_flush_due else 0.0
        self._pacer.count(batch)
        self._replies.echo(batch.payload)

    async def _room(self) -> None:
        if self._source is not None:
            await self._source.room()
        if pause_s := self._pacer.wait_s():
            await asyncio.sleep(pause_s)

    async def _keep_whole(self) -> None:
        """The socket was refused for what is unfinished: that goes, and what is whole is taken in."""
        self._socket.refuse_more()
        with contextlib.suppress(RrdError):
            self._binary.give_up()
            await self._flush_now()

    async def _finish_stream(self) -> None:
        """The socket is closed: take what the binary stream still holds."""
        await self._flush_now()
        self._binary.finish()
        try:
            with self._busy():
                while (batch := await self._decoded()) is not None:
                    self._put(batch)
        except WireError as error:
            self._set_aside(error)

    # What the server says

    async def ping(self) -> None:
        await self._socket.ping()

    def cut_off(self) -> None:
        """Take nothing that comes from now on: its key isn't good any more. ``run`` says what was stored."""
        self._close_code, self._close_reason = WSCloseCode.POLICY_VIOLATION, "key revoked or expired"
        self._socket.stop_receiving()

    async def goodbye(self, *, code: int, reason: str) -> None:
        """Flush, say what was stored, and close. What is on the wire by then is stored all the same."""
        self.flush()
        await self._replies.say_goodbye(code=code, reason=reason)
