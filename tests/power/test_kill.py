"""The real daemon, killed with ``kill -9`` at random moments under load.

Senders do what a careful client does: they keep what was not acked and send all of it again after each
restart; those that POST also send lines again that were acked before, as the rrweb client does. Every line
is made once, so a recording must hold each line once: no line acked may be missing, none may be there twice.

Five rounds make a generation: then the index is deleted, everything not acked is sent for the last time, and
the recordings must be exactly what was sent. The next generation begins with new recordings.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import msgspec
import pytest
import zstandard

from rrd import layout
from rrd.index import home
from tests.harness import DaemonProcess, until

ROUNDS_A_GENERATION = 5
_UNACKED_MAX = 400
_GONE = (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError)


class Sender:
    """Makes lines for one recording and sends them until they are acked, whatever happens in between."""

    def __init__(self, name: str, recording_id: str, rng: random.Random) -> None:
        self.recording_id = recording_id
        self.made: list[bytes] = []
        self.unacked: dict[bytes, None] = {}
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
        raise NotImplementedError


class SocketSender(Sender):
    """Over a WebSocket with ``ack=true``, a line a message."""

    async def run(self, session: aiohttp.ClientSession, url: str) -> None:
        path = f"{url}/recordings/{self.recording_id}/ingest/ws?ack=true"
        with contextlib.suppress(*_GONE):
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

    async def run(self, session: aiohttp.ClientSession, url: str) -> None:
        path = f"{url}/recordings/{self.recording_id}/ingest"
        with contextlib.suppress(*_GONE):
            while not (self.draining and not self.unacked):
                old = self.made[-60:-30]
                if not self.draining:
                    for _ in range(self._rng.randrange(1, 40)):
                        self.make()
                body = [*old, *(line for line in self.unacked if line not in old)]
                async with session.post(path, data=b"\n".join(body)) as response:
                    answer = await response.read()
                    assert response.status == 200, answer
                self.ack(body)


class Count(NamedTuple):
    rounds: int
    acked: int
    stored: int


async def _stored(session: aiohttp.ClientSession, url: str, recording_id: str) -> list[bytes]:
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


async def _check(session: aiohttp.ClientSession, url: str, senders: list[Sender], *, complete: bool) -> int:
    """Compare each recording with what was sent to it. Return how many lines are stored."""
    count = 0
    for recording_id in {sender.recording_id for sender in senders}:
        stored = await _stored(session, url, recording_id)
        held = set(stored)
        mine = [sender for sender in senders if sender.recording_id == recording_id]
        assert len(held) == len(stored), "a line is stored twice"
        for sender in mine:
            assert sender.acked <= held, "acked and lost"
        made = {line for sender in mine for line in sender.made}
        assert held <= made, "never sent"
        if complete:
            assert held == made
        count += len(stored)
    return count


def _delete_index(data_dir: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(home.index_path(data_dir) + suffix).unlink(missing_ok=True)


def _lines_in_files(data_dir: str, recordings: set[str]) -> set[bytes]:
    """What a plain zstd reader makes of the segment files."""
    lines: set[bytes] = set()
    for path in Path(data_dir).rglob(f"*{layout.SUFFIX}"):
        # A segment says in its name whose it is, an object in its directory's.
        if any(recording_id in f"{path.parent.name}/{path.name}" for recording_id in recordings):
            with zstandard.ZstdDecompressor().stream_reader(
                io.BytesIO(path.read_bytes()), read_across_frames=True
            ) as reader:
                lines.update(reader.read().splitlines())
    return lines


@contextlib.asynccontextmanager
async def _session(key: str) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield session


async def _round(daemon: DaemonProcess, key: str, senders: list[Sender], rng: random.Random) -> None:
    """Restart, check what is there, send, and kill."""
    daemon.start()
    async with _session(key) as session:
        await _check(session, daemon.url, senders, complete=False)
        running = [asyncio.create_task(sender.run(session, daemon.url)) for sender in senders]

        def acked() -> int:
            return sum(len(sender.made) - len(sender.unacked) for sender in senders)

        goal = acked() + rng.randrange(1500)
        await until(
            lambda: acked() >= goal or any(task.done() for task in running), what=f"{goal} lines acked"
        )
        # Any moment: within a write, a sync, a commit of the index.
        await asyncio.sleep(rng.random() * 0.05)
        ended_early = [task for task in running if task.done()]
        daemon.kill()
        await asyncio.gather(*running)
        assert not ended_early, "a sender was cut off by a living daemon"


async def _generation(daemon: DaemonProcess, key: str, rng: random.Random) -> Count:
    recordings = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(4)]
    senders: list[Sender] = [
        SocketSender("socket-0", recordings[0], rng),
        SocketSender("socket-1", recordings[1], rng),
        SocketSender("socket-2", recordings[2], rng),
        PostSender("post-0", recordings[2], rng),
        PostSender("post-1", recordings[3], rng),
    ]
    for _ in range(ROUNDS_A_GENERATION):
        await _round(daemon, key, senders, rng)
    _delete_index(daemon.data_dir)
    daemon.start()
    acked = sum(len(sender.acked) for sender in senders)
    async with _session(key) as session:
        await _check(session, daemon.url, senders, complete=False)
        for sender in senders:
            sender.draining = True
        await asyncio.gather(*(sender.run(session, daemon.url) for sender in senders))
        assert not any(sender.unacked for sender in senders)
        stored = await _check(session, daemon.url, senders, complete=True)
    daemon.kill()
    in_files = _lines_in_files(daemon.data_dir, set(recordings))
    assert in_files == {line for sender in senders for line in sender.made}
    return Count(ROUNDS_A_GENERATION, acked, stored)


async def _kill_many_times(folder: Path, *, generations: int, seed: int) -> None:
    rng = random.Random(seed)
    total = Count(0, 0, 0)
    daemon = DaemonProcess(
        folder, flush_age_ms=20, flush_bytes=4096, segment_bytes_max=1 << 20, seal_idle_s=1, rollup_delay_s=0
    )
    with daemon:
        key = daemon.key()
        daemon.kill()
        for _ in range(generations):
            count = await _generation(daemon, key, rng)
            total = Count(*map(sum, zip(total, count, strict=True)))
    log = daemon.log()
    assert "segment_corrupt" not in log
    assert "segment_missing" not in log
    print(
        f"\nkill -9: {total.rounds} rounds, {total.acked} lines acked before the last restarts, "
        f"{total.stored} stored in the end, each once; torn tails cut: {log.count('torn_tail_cut')}"
    )


async def test_acked_lines_survive_kill_and_are_stored_once(tmp_path: Path) -> None:
    await _kill_many_times(tmp_path, generations=1, seed=1)


@pytest.mark.slow
async def test_acked_lines_survive_fifty_kills_and_are_stored_once(tmp_path: Path) -> None:
    await _kill_many_times(tmp_path, generations=10, seed=2)
