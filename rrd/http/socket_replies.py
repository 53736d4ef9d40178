"""What the server says over a socket: progress, echoes, and how it ends.

Nothing of it delays reading, or ends it: a client that is gone, or doesn't read, is told less.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine

import orjson
from aiohttp import WSCloseCode

from rrd.errors import RrdError
from rrd.http.caller import Sender
from rrd.http.gathering import GatheringSocket
from rrd.http.ingest_post import counts_of
from rrd.http.once import Once
from rrd.http.services import Services
from rrd.recordings.source import Source

GOODBYE_TIMEOUT_S = 5.0
"""How long a client has to read the last words, and to close its side."""

_ECHOES_MAX, _ECHO_BYTES_MAX = 16, 1 << 20
"""What of a socket's echo may wait until it is read; what comes beyond it is not echoed."""


class SocketReplies:
    """What one socket's client is told. Its ``source`` is set as soon as there is one."""

    def __init__(
        self,
        services: Services,
        sender: Sender,
        socket: GatheringSocket,
        *,
        wants_acks: bool,
        wants_echo: bool,
    ) -> None:
        self._services = services
        self._sender = sender
        self._socket = socket
        self._wants_acks = wants_acks
        self._wants_echo = wants_echo
        self.source: Source | None = None
        self.failure: RrdError | None = None
        """Why the socket is being closed, where that was found while it was read."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._echo_bytes = 0
        self._has_news = False
        self._is_telling = False
        self._ended = False
        self._has_heard_all = Once()

    async def finish(self) -> None:
        """Nothing more is received. Wait until what is being said about the end is said."""
        self._has_heard_all.set()
        if self._ended and self._tasks:
            # The connection must not close before that.
            await asyncio.wait(self._tasks, timeout=GOODBYE_TIMEOUT_S)

    async def say_goodbye(self, *, code: int, reason: str) -> None:
        """Say what was stored, and close, while the socket is still read."""
        await self._start(self.end(code=code, reason=reason, lingers=True))

    async def end(self, *, code: int, reason: str, lingers: bool = False) -> None:
        """Say what was stored, and close. ``lingers``: the socket is still read."""
        if self._ended:
            return
        self._ended = True
        try:
            if self.source is not None:
                await self.source.flush()
        except RrdError as error:
            self._ended = False
            await self.fail(error, lingers=lingers)
            return
        if self.source is not None and self.source.tally.has_only_bad_lines:
            self._account("no_valid_events", 400)  # As a body with nothing else is answered.
        await self._close(self._summary(final=True), code=code, reason=reason, lingers=lingers)

    async def fail(self, error: RrdError, *, lingers: bool = False) -> None:
        """Say what went wrong, and close: the client must not believe that it goes on."""
        if self._ended:
            return
        self._ended = True
        self._account(error.code, error.status)
        if self.source is not None:
            with contextlib.suppress(RrdError):
                await self.source.flush()  # What came before is good, and its sender may never come back.
        message = {"type": "error", "status": error.status, "code": error.code, "message": str(error)}
        await self._close(
            message | self._counts(), code=WSCloseCode.INTERNAL_ERROR, reason=error.code, lingers=lingers
        )

    def _account(self, code: str, status: int) -> None:
        """Log and count that the socket ended with nothing, or not all, taken."""
        recording_id = self.source.recording_id if self.source is not None else self._sender.recording_id
        refusals = self._services.refusals
        refusals.tell("socket_failed", code=code, status=status, recording=recording_id)
        refusals.count(
            code=code, status=status, tenant=self._sender.grant.tenant, recording_id=recording_id or ""
        )

    def fail_soon(self, error: RrdError) -> None:
        """Say what went wrong, and close, while the socket is still read."""
        self.failure = self.failure or error
        self._start(self.fail(error, lingers=True))

    async def _close(self, last_words: dict[str, object], *, code: int, reason: str, lingers: bool) -> None:
        """Say ``last_words`` and send a close frame. With ``lingers``, ``run`` still reads: let it read on
        until the client closes (RFC 6455, 7.1.2), but not forever.
        """
        # The client may be gone, or not read.
        with contextlib.suppress(OSError, RuntimeError):
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                await self._socket.send_str(orjson.dumps(last_words).decode())
                await self._socket.close(code=code, message=reason.encode())
        if lingers:
            try:
                async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                    await self._has_heard_all.wait()
            except TimeoutError:
                self._socket.hang_up()

    def _summary(self, *, final: bool) -> dict[str, object]:
        return {
            "type": "upstream-result",
            "ok": True,
            "status": 204,
            "statusText": "",
            "headers": {"content-type": "application/json"},
            "final": final,
            **self._counts(),
        }

    def _counts(self) -> dict[str, object]:
        return {} if self.source is None else counts_of(self.source.tally)

    def on_commit(self) -> None:
        """Something of the source was committed, or failed."""
        if self.source is not None and self.source.failure is not None:
            self.fail_soon(self.source.failure)
        elif self._wants_acks and not self._says_now():
            self._has_news = True
            if not self._is_telling:
                self._is_telling = True
                self._start(self._tell_progress())

    def _says_now(self) -> bool:
        """Tell the progress without a task, if nothing else is being said, and the client reads."""
        if self._tasks or self._ended:
            return False
        return self._socket.say_now(orjson.dumps(self._summary(final=False)))

    async def _tell_progress(self) -> None:
        # One at a time: each tells all there is by then, so a slow reader is spared the ones between.
        while self._has_news and not self._ended:
            self._has_news = False
            await self._send(orjson.dumps(self._summary(final=False)).decode())
        self._is_telling = False

    def echo(self, payload: bytes) -> None:
        """Send back what is taken in, if that was asked for. A client that doesn't read it gets no more."""
        has_room = len(self._tasks) < _ECHOES_MAX and self._echo_bytes < _ECHO_BYTES_MAX
        if self._wants_echo and payload and has_room:
            self._echo_bytes += len(payload)
            self._socket.hold.set_said(self._echo_bytes)
            self._start(self._echo(payload))

    async def _echo(self, payload: bytes) -> None:
        try:
            await self._send(payload.decode())
        finally:
            self._echo_bytes -= len(payload)
            self._socket.hold.set_said(self._echo_bytes)

    async def _send(self, text: str) -> None:
        try:
            await self._socket.send_str(text)
        except (OSError, RuntimeError):
            return  # The client is gone; its close comes next.

    def _start(self, saying: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(saying)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
