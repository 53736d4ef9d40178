"""The real daemon, killed with ``kill -9`` at random moments under load.

Senders do what a careful client does (``tests.senders``): they keep what was not acked and send all of it
again after each restart.

Five rounds make a generation: then the index is deleted, everything not acked is sent for the last time, and
the recordings must be exactly what was sent. The next generation begins with new recordings.
"""

from __future__ import annotations

import asyncio
import io
import random
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest
import zstandard

from rrd import layout
from rrd.index import home
from tests.harness import DaemonProcess, until
from tests.senders import PostSender, Sender, SocketSender, check, session_of

ROUNDS_A_GENERATION = 5


class Count(NamedTuple):
    rounds: int
    acked: int
    stored: int


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


async def _round(daemon: DaemonProcess, key: str, senders: list[Sender], rng: random.Random) -> None:
    """Restart, check what is there, send, and kill."""
    daemon.start()
    async with session_of(key) as session:
        await check(session, daemon.url, senders, complete=False)
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
    async with session_of(key) as session:
        await check(session, daemon.url, senders, complete=False)
        for sender in senders:
            sender.draining = True
        await asyncio.gather(*(sender.run(session, daemon.url) for sender in senders))
        assert not any(sender.unacked for sender in senders)
        stored = await check(session, daemon.url, senders, complete=True)
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
