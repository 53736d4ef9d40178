"""Senders that keep what was not acked and send all of it again, and a look at what is stored.

Those that POST also send lines again that were acked before, as the rrweb client does. Every line is made
once, so a recording must hold each line once: no line acked may be missing, none may be there twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence

import aiohttp
import msgspec

_UNACKED_MAX = 400
_GONE = (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError)


class Sender:
    """Makes lines for one recording and sends them until they are acked, whatever happens in between."""

    def __init__(self, name: str, recording_id: str, rng: random.Random) -> None:
        self.recording_id = recording_id
        self.made: list[bytes] = []
        self.unacked: dict[bytes, None] = {}
        self.may_stop = False
        """The daemon may stop in an orderly way, and then says so."""
        self.refused = 0
        """Connections that could not be made."""
        self.draining = False
        """Nothing new is made any more: it ends when all is acked."""
        self._name = name
        self._rng = rng
        self._progress = asyncio.Event()

    @property
    def acked(self) -> set[bytes]:
        return set(self.made) - self.unacked.keys()

    def make(self) -> bytes:
        # Times that tie with those of other senders to the recording, so that repeats must be looked up.
        number = len(self.made)
        line = b'{"type":3,"timestamp":%d,"data":{"from":"%s","n":%d,"text":"%s"}}' % (
            1_700_000_000_000 + number // 2,
            self._name.encode(),
            number,
            b"x" * self._rng.choice((0, 20, 1000)),
        )
        self.made.append(line)
        self.unacked[line] = None
        return line

    def ack(self, lines: list[bytes]) -> None:
        for line in lines:
            self.unacked.pop(line, None)
        self._progress.set()

    async def wait_for_progress(self) -> None:
        self._progress.clear()
        await self._progress.wait()

    async def run(self, session: aiohttp.ClientSession, url: str) -> None:
        """Send until all is acked (``draining``) or the daemon is gone."""
        try:
            await self._send_all(session, url)
        except aiohttp.ClientConnectorError:
            self.refused += 1
        except _GONE:
            pass

    async def _send_all(self, session: aiohttp.ClientSession, url: str) -> None:
        raise NotImplementedError


class SocketSender(Sender):
    """Over a WebSocket with ``ack=true``, a line a message."""

    async def _send_all(self, session: aiohttp.ClientSession, url: str) -> None:
        path = f"{url}/recordings/{self.recording_id}/ingest/ws?ack=true"
        async with session.ws_connect(path) as socket:
            sent: list[bytes] = []
            acks = asyncio.create_task(self._take_acks(socket, sent))
            try:
                await self._send(socket, sent)
            finally:
                acks.cancel()
                await asyncio.gather(acks, return_exceptions=True)

    async def _send(self, socket: aiohttp.ClientWebSocketResponse, sent: list[bytes]) -> None:
        for line in list(self.unacked):
            sent.append(line)
            await socket.send_str(line.decode())
        while not socket.closed and not (self.draining and not self.unacked):
            if self.draining or len(self.unacked) >= _UNACKED_MAX:
                await self.wait_for_progress()
                continue
            line = self.make()
            sent.append(line)
            await socket.send_str(line.decode())
            await asyncio.sleep(0)

    async def _take_acks(self, socket: aiohttp.ClientWebSocketResponse, sent: list[bytes]) -> None:
        """The summary counts the lines of this socket, in the order in which they were sent."""
        done = 0
        async for message in socket:
            summary = msgspec.json.decode(message.data)
            assert summary["type"] == "upstream-result", summary
            count = summary["successful_rows"] + summary["duplicate_rows"]
            self.ack(sent[done:count])
            done = count
        await socket.close()
        self._progress.set()


class PostSender(Sender):
    """By POST: all that is not acked, something new, and some that was acked long ago."""

    async def _send_all(self, session: aiohttp.ClientSession, url: str) -> None:
        path = f"{url}/recordings/{self.recording_id}/ingest"
        while not (self.draining and not self.unacked):
            old = self.made[-60:-30]
            if not self.draining:
                for _ in range(self._rng.randrange(1, 40)):
                    self.make()
            body = [*old, *(line for line in self.unacked if line not in old)]
            async with session.post(path, data=b"\n".join(body)) as response:
                answer = await response.read()
                if response.status == 503 and self.may_stop:
                    return
                assert response.status == 200, answer
            self.ack(body)


async def stored(session: aiohttp.ClientSession, url: str, recording_id: str) -> list[bytes]:
    """Return a recording's lines as they were sent, having checked their numbers."""
    headers = {"Accept": "application/x-ndjson"}
    async with session.get(f"{url}/recordings/{recording_id}/events", headers=headers) as response:
        body = await response.read()
        if response.status == 404:
            return []
        assert response.status == 200, body
    lines: list[bytes] = []
    numbers: list[int] = []
    for spliced in body.splitlines():
        line, _, tail = spliced.rpartition(b',"sequenceId":')
        lines.append(line + b"}")
        numbers.append(int(tail.partition(b",")[0]))
    assert sorted(numbers) == list(range(1, len(lines) + 1))
    return lines


async def check(
    session: aiohttp.ClientSession, url: str, senders: Sequence[Sender], *, complete: bool
) -> int:
    """Compare each recording with what was sent to it. Return how many lines are stored."""
    count = 0
    for recording_id in {sender.recording_id for sender in senders}:
        lines = await stored(session, url, recording_id)
        held = set(lines)
        mine = [sender for sender in senders if sender.recording_id == recording_id]
        assert len(held) == len(lines), "a line is stored twice"
        for sender in mine:
            assert sender.acked <= held, "acked and lost"
        made = {line for sender in mine for line in sender.made}
        assert held <= made, "never sent"
        if complete:
            assert held == made
        count += len(lines)
    return count


@contextlib.asynccontextmanager
async def session_of(key: str) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield session
