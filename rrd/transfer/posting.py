"""Events → a running daemon, over HTTP: bodies that grow while they are sent.

One ``Post`` is one body, and so one sender in the daemon's eyes: equal lines within it are different events,
and what was stored from an earlier body is not stored again. Hence all events of a recording go in one body,
but for a very large one, which is cut where equal lines can't stand on both sides: where timestamps go up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple

import aiohttp
import msgspec
import zstandard

from rrd import layout
from rrd.access.keys import KeyStore
from rrd.errors import RrdError
from rrd.wire.events import Batch

BODY_BYTES_MAX = 512 << 20
"""Events a body, decoded. A daemon takes twice as much, unless ``body_bytes_max`` was lowered."""

NDJSON = "application/x-ndjson"

_OWN_KEY_TIMEOUT_S = 10.0
"""A key that was just made counts within a second. A machine may be busy."""

_GIVEN_KEY_TIMEOUT_S = 1.5
"""A key that the caller gives may be just as young, but is more likely wrong."""

_ADMISSION_INTERVAL_S = 0.1
_ANSWER_TIMEOUT_S = 300.0
"""From the end of a body on: what came last has to be stored, and others have a turn."""


class PostFailed(RrdError):
    """A body was not taken, or not all of it. ``str(error)`` says why."""

    code = "import_failed"

    def __init__(self, message: str, *, answered: int | None = None) -> None:
        """``answered``: the HTTP status, None if there was no answer."""
        super().__init__(message)
        self.answered = answered

    @property
    def concerns_all(self) -> bool:
        """Whether the next body would fare no better: no answer, no right, no room."""
        return self.answered in {None, 401, 403, 503, 507}


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

    async def admit(self, key: str, *, is_own: bool = False) -> None:
        """Return when ``key`` may write. Raises ``PostFailed`` with what to do if it may not.

        ``is_own``: this process has just made the key, and the daemon may not know it yet.
        """
        timeout_s = _OWN_KEY_TIMEOUT_S if is_own else _GIVEN_KEY_TIMEOUT_S
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            # An empty body: whether the key is good is all that this can find out.
            post = Post(self._session, f"{self.url}/ingest", key)
            try:
                await post.finish()
            except PostFailed as error:
                if error.answered != 401 or asyncio.get_running_loop().time() > deadline:
                    raise
            else:
                return
            await asyncio.sleep(_ADMISSION_INTERVAL_S)

    def post(self, recording: str, key: str, *, encoding: str = "") -> Post:
        """Begin a body of events of one recording, which the caller has compressed by ``encoding``."""
        return Post(self._session, f"{self.url}/recordings/{recording}/ingest", key, encoding=encoding)


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


@contextlib.contextmanager
def minted_key(data_dir: str, tenant: str) -> Iterator[str]:
    """Make a key that may write for a tenant, and revoke it in the end."""
    with KeyStore(layout.keys_path(data_dir), create=False) as store:
        key_id, key = store.create_key(tenant=tenant, scope="ingest", label="rrd import")
        try:
            yield key
        finally:
            store.revoke_key(key_id)


class Post:
    """One body on its way. End it with ``finish`` or ``cancel``."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str, *, encoding: str = "") -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(4)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": NDJSON}
        if encoding:
            headers["Content-Encoding"] = encoding
        self._url = url
        self._task = asyncio.create_task(self._send(session, headers))

    async def put(self, chunk: bytes) -> None:
        """Send a part of the body; wait while the daemon takes none. Raises ``PostFailed``."""
        await self._put(chunk)

    async def finish(self) -> Answer:
        """End the body, and return when all of it is safe. Raises ``PostFailed``."""
        await self._put(None)
        return await self._task

    async def cancel(self) -> None:
        """Break it off. What was sent may or may not be stored."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _put(self, chunk: bytes | None) -> None:
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

    async def _body(self) -> AsyncIterator[bytes]:
        while (chunk := await self._queue.get()) is not None:
            yield chunk

    async def _send(self, session: aiohttp.ClientSession, headers: dict[str, str]) -> Answer:
        try:
            async with session.post(self._url, data=self._body(), headers=headers) as response:
                body = await response.read()
        except aiohttp.ClientConnectorError as error:
            raise PostFailed(
                f"{self._url}: nobody answers there. Start the daemon (`rrd serve`), or say --url"
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise PostFailed(f"{self._url}: the connection broke: {error or type(error).__name__}") from error
        return _answer(self._url, response.status, body)


class EventPost:
    """A ``Post`` of checked events, compressed on the way."""

    def __init__(self, daemon: Daemon, recording: str, key: str, *, bytes_max: int) -> None:
        self.recording = recording
        self._bytes_max = bytes_max
        self._post = daemon.post(recording, key, encoding="zstd")
        # The quickest level: a daemon on the same machine needs the processor more than the socket does.
        self._compressor = zstandard.ZstdCompressor(level=1).compressobj()
        self._size = 0
        self._last_ts = float("-inf")

    def may_take(self, batch: Batch) -> bool:
        """Tell whether a batch belongs in this body, or a new one had better begin with it."""
        return self._size < self._bytes_max or not batch.event_count or batch.first_ts <= self._last_ts

    async def put(self, batch: Batch) -> None:
        """Send a batch's events and metadata; what was refused in it stays here. Raises ``PostFailed``."""
        text = b"".join([event.raw + b"\n" for event in batch.metadata]) + batch.payload
        self._size += len(text)
        if batch.event_count:
            self._last_ts = max(self._last_ts, batch.last_ts)
        if packed := self._compressor.compress(text):
            await self._post.put(packed)

    async def finish(self) -> Answer:
        """Return when everything is safe. Raises ``PostFailed``."""
        await self._post.put(self._compressor.flush())
        return await self._post.finish()

    async def cancel(self) -> None:
        await self._post.cancel()


class Sender:
    """Sends the pieces of one file, one body after another."""

    def __init__(
        self,
        daemon: Daemon,
        key: str,
        *,
        bytes_max: int,
        done: Callable[[str, Answer], None],
        fail: Callable[[str], None],
    ) -> None:
        """``done`` is told of each body and its recording; ``fail``, in a sentence, of what was refused."""
        self._daemon = daemon
        self._key = key
        self._bytes_max = bytes_max
        self._done = done
        self._fail = fail
        self._post: EventPost | None = None
        self._refused: set[str] = set()
        """Recordings that the daemon does not take, erased ones for instance. Others go on."""

    async def send(self, recording: str, batch: Batch) -> None:
        """Send a batch's events. Raises ``PostFailed`` if that concerns all of them."""
        if recording in self._refused or not (batch.event_count or batch.metadata):
            return
        if self._post is not None and not (self._post.recording == recording and self._post.may_take(batch)):
            await self.finish()
        if self._post is None:
            self._post = EventPost(self._daemon, recording, self._key, bytes_max=self._bytes_max)
        try:
            await self._post.put(batch)
        except PostFailed as error:
            await self.cancel()
            self._refuse(recording, error)

    async def finish(self) -> None:
        """Return when all that was sent is safe."""
        if self._post is None:
            return
        post, self._post = self._post, None
        try:
            answer = await post.finish()
        except PostFailed as error:
            self._refuse(post.recording, error)
        else:
            self._done(post.recording, answer)
        finally:
            await post.cancel()

    async def cancel(self) -> None:
        """Break off what is on its way, if anything is."""
        if self._post is not None:
            post, self._post = self._post, None
            await post.cancel()

    def _refuse(self, recording: str, error: PostFailed) -> None:
        if error.concerns_all:
            raise error
        self._refused.add(recording)
        self._fail(f"{recording}: {error}")


class _Problem(msgspec.Struct):
    code: str = ""
    message: str = ""
    successful_rows: int = 0
    duplicate_rows: int = 0
    quarantined_rows: int = 0


class _Reply(msgspec.Struct):
    successful_rows: int = 0
    duplicate_rows: int = 0
    quarantined_rows: int = 0
    error: _Problem = msgspec.field(default_factory=_Problem)


def _answer(url: str, status: int, body: bytes) -> Answer:
    try:
        reply = msgspec.json.decode(body, type=_Reply)
    except msgspec.DecodeError:
        raise PostFailed(f"{url}: answered {status}, and not as rrd does. Check --url") from None
    if status == 200:
        return Answer(reply.successful_rows, reply.duplicate_rows, reply.quarantined_rows)
    raise PostFailed(f"{url}: {status} {reply.error.code}: {reply.error.message}", answered=status)
