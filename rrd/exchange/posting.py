"""Events → a running daemon, over HTTP: bodies that grow while they are sent.

One ``Post`` is one body, and so one sender in the daemon's eyes: equal lines within it are different events,
and what was stored from an earlier body is not stored again. Hence all events of a recording in one file go
in one body, but for a very large one, which ``spool.bodies`` cuts where equal lines can't stand on both
sides.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import aiohttp
import msgspec
import zstandard
from aiohttp import hdrs

from rrd.errors import RrdError
from rrd.exchange.spool import BodySpool, Frame

BODY_BYTES_MAX = 512 << 20
"""Events a body, decoded. A daemon takes twice as much, unless ``body_bytes_max`` was lowered."""

NDJSON = "application/x-ndjson"

_ADMISSION_TIMEOUT_S = 10.0
"""A key that was just made counts within a second. A machine may be busy."""

_GIVEN_ADMISSION_TIMEOUT_S = 3.0
"""For a key that the caller named: most likely it is wrong, but it may have been made a moment ago."""

_ADMISSION_INTERVAL_S = 0.1
_UNKNOWN = (
    "Nothing was sent. `rrd keys list` shows the keys that this daemon knows; --key takes one that may write"
)
_UNKNOWN_NEW = (
    "Nothing was sent. The key was made in this data directory, and the daemon doesn't know it: it seems to "
    "serve another one. Check --data-dir and the port, or use --url and --key"
)
_QUOTA_WAIT_S_MAX = 120
"""A quota of new recordings has room again within a minute; one of a day's bytes may not for hours."""

_ANSWER_TIMEOUT_S = 300.0
"""From the end of a body on: what came last has to be stored, and others have a turn."""


_T = TypeVar("_T")


class PostFailed(RrdError):
    """A request was refused, or not all of its body was taken. ``str(error)`` says why."""

    code = "import_failed"

    def __init__(
        self, message: str, *, answered: int | None = None, retry_after_s: int | None = None
    ) -> None:
        """``answered``: the HTTP status, None if there was no answer. ``retry_after_s``: what it asks for."""
        super().__init__(message)
        self.answered = answered
        self.retry_after_s = retry_after_s

    @property
    def concerns_all(self) -> bool:
        """Whether the next body would fare no better: no answer, no right, no quota, no room."""
        return self.answered in {None, 401, 403, 429, 503, 507}


class Answer(NamedTuple):
    """What became of the lines of one body."""

    stored: int = 0
    repeated: int = 0
    quarantined: int = 0


class Daemon:
    """A daemon that answers at ``url`` (``http://HOST:PORT``, perhaps with a path before ours)."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url.rstrip("/")

    async def admit(self, key: str, *, is_new: bool = False) -> None:
        """Return when ``key`` may write. Raises ``PostFailed`` with what to do if it may not, ever.

        ``is_new``: it was just made, and a daemon that serves the same data directory learns of it soon.
        """
        timeout_s = _ADMISSION_TIMEOUT_S if is_new else _GIVEN_ADMISSION_TIMEOUT_S
        try:
            # An empty body: whether the key is good is all that this can find out.
            await admitted(lambda: Post(self._session, f"{self.url}/ingest", key).finish(), timeout_s)
        except PostFailed as error:
            if error.answered != 401:
                raise
            raise PostFailed(f"{error}. {_UNKNOWN_NEW if is_new else _UNKNOWN}", answered=401) from error

    def post(self, recording_id: str, key: str, *, encoding: str = "") -> Post:
        """Begin a body of events of one recording, which the caller has compressed by ``encoding``."""
        return Post(self._session, f"{self.url}/recordings/{recording_id}/ingest", key, encoding=encoding)

    async def send(
        self,
        recording_id: str,
        key: str,
        chunks: Callable[[], AsyncGenerator[bytes, None]],
        *,
        encoding: str = "",
    ) -> Answer:
        """Send what ``chunks()`` yields as one body. A quota that has room again soon is waited for.

        Raises ``PostFailed``, and what ``chunks`` raises.
        """
        while True:
            post = self.post(recording_id, key, encoding=encoding)
            try:
                async with contextlib.aclosing(chunks()) as body:
                    async for chunk in body:
                        await post.put(chunk)
                return await post.finish()
            except PostFailed as error:
                wait_s = error.retry_after_s
                if error.answered != HTTPStatus.TOO_MANY_REQUESTS or not wait_s or wait_s > _QUOTA_WAIT_S_MAX:
                    raise
            finally:
                await post.cancel()
            await asyncio.sleep(wait_s)


async def admitted(ask: Callable[[], Awaitable[_T]], timeout_s: float = _ADMISSION_TIMEOUT_S) -> _T:
    """Return what ``ask`` does, asked again for a while as long as the daemon doesn't know the key.

    The key may be young: the daemon looks for new ones a few times a second. Raises what ``ask`` does.
    """
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        try:
            return await ask()
        except PostFailed as error:
            if error.answered != 401 or asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(_ADMISSION_INTERVAL_S)


def url_of(host: str, port: int) -> str:
    """Return where to reach a daemon that listens on ``host``."""
    # An address that stands for all of them can be listened on, not called.
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - never bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Daemon]:
    """Talk to the daemon at ``url``."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_ANSWER_TIMEOUT_S)
    # No User-Agent, and no address: metadata that permits to keep the visitor's (``includePii``) must not
    # get ours. A daemon believes this header where it trusts the loopback interface, as it does by default.
    async with aiohttp.ClientSession(
        timeout=timeout, skip_auto_headers=("User-Agent",), headers={"X-Forwarded-For": "unknown"}
    ) as session:
        yield Daemon(session, url)


class Post:
    """One body on its way. End it with ``finish`` or ``cancel``."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str, *, encoding: str = "") -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(4)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": NDJSON}
        if encoding:
            headers["Content-Encoding"] = encoding
        self._url = url
        self._task = asyncio.create_task(self._send(session, headers))

    async def finish(self) -> Answer:
        """End the body, and return when all of it is safe. Raises ``PostFailed``."""
        await self.put(None)
        return await self._task

    async def cancel(self) -> None:
        """Break it off. What was sent may or may not be stored."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def put(self, chunk: bytes | None) -> None:
        """Send a part of the body; None ends it. Waits while the daemon takes none. Raises ``PostFailed``."""
        putting = asyncio.ensure_future(self._queue.put(chunk))
        try:
            # A refusal comes before the body's end, and then nobody takes the rest of it.
            await asyncio.wait({putting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            putting.cancel()
        if self._task.done():
            self._task.result()
            if chunk is not None:
                raise PostFailed(f"{self._url}: answered before the body's end")

    async def _body(self) -> AsyncGenerator[bytes, None]:
        while (chunk := await self._queue.get()) is not None:
            yield chunk

    async def _send(self, session: aiohttp.ClientSession, headers: dict[str, str]) -> Answer:
        try:
            async with session.post(self._url, data=self._body(), headers=headers) as response:
                body = await response.read()
                retry_after = response.headers.get(hdrs.RETRY_AFTER, "")
        except aiohttp.ClientConnectorError as error:
            raise PostFailed(
                f"{self._url}: no daemon answers there. Start the daemon (`rrd serve`), or say --url"
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise PostFailed(f"{self._url}: the connection broke: {error or type(error).__name__}") from error
        # In seconds, as rrd says it; others may say a date (RFC 9110, 10.2.3).
        retry_after_s = int(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
        return _answer(self._url, response.status, body, retry_after_s)


async def send_frames(
    daemon: Daemon,
    recording_id: str,
    key: str,
    spool: BodySpool,
    body: Sequence[Frame],
    *,
    first: bytes = b"",
) -> Answer:
    """Send frames of a recording as one body, behind the lines ``first``.

    Raises ``PostFailed``; ``OSError`` if the spool can't be read.
    """

    async def chunks() -> AsyncGenerator[bytes, None]:
        if first:
            yield zstandard.compress(first)
        for frame in body:
            # In a worker thread, so that what is being sent goes on meanwhile.
            yield await asyncio.to_thread(spool.packed, frame)

    return await daemon.send(recording_id, key, chunks, encoding="zstd")


class _Problem(msgspec.Struct):
    code: str = ""
    message: str = ""
    successful_rows: int = 0
    duplicate_rows: int = 0
    quarantined_rows: int = 0


class _Reply(msgspec.Struct):
    successful_rows: int = 0
    duplicate_rows: int | msgspec.UnsetType = msgspec.UNSET
    quarantined_rows: int = 0
    error: _Problem = msgspec.field(default_factory=_Problem)


def _answer(url: str, status: int, body: bytes, retry_after_s: int | None) -> Answer:
    try:
        reply = msgspec.json.decode(body, type=_Reply)
    except msgspec.DecodeError:
        raise PostFailed(f"{url}: answered {status}, and not as rrd does. Check --url") from None
    if status == 200:
        if reply.duplicate_rows is msgspec.UNSET:
            raise PostFailed(
                f"{url}: this is no rrd, or too old a one to import to: it doesn't tell which events "
                "are repeats. Check --url, or update the daemon"
            )
        return Answer(reply.successful_rows, reply.duplicate_rows, reply.quarantined_rows)
    raise PostFailed(
        f"{url}: {status} {reply.error.code}: {reply.error.message}",
        answered=status,
        retry_after_s=retry_after_s,
    )
