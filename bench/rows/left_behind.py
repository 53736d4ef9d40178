"""What a daemon leaves behind that is killed in the middle of its work: the state that ``start`` starts on.

A daemon takes events by POST into very many recordings, so that each has an active segment, and is killed;
a backlog of sealed segments is put beside them; a daemon takes one more block for each recording, and is
killed. There are two endings of that:

- *killed*: all is as the daemon left it, the index's log included. What it has written, the kernel keeps.
- *power cut*: the index is as it was before the last block of every recording, since it isn't synced for
  each block, and one in ten of these blocks is torn: it got to the disk in part only, and was never acked.

Each can be put back before every start. A sealed segment has a real beginning and is a hole from there on, so
it takes no room, and whoever read it all would find it damaged.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import aiohttp
import zstandard

from bench.corpus import small_events
from bench.daemon import TENANT
from bench.rows.starts import start, stop_hard
from rrd import layout
from rrd.disk.disk import OsDisk
from rrd.index import home
from rrd.index.contract import Index
from rrd.index.rows import Commit
from rrd.index.sqlite.index import SqliteIndex
from rrd.segment.format import BlockDraft, Identity
from rrd.segment.writer import SegmentWriter

Ending = Literal["killed", "power cut"]

TORN_SHARE = 10
"""One recording in so many has a torn block after a power cut."""

_BLOCK_EVENTS = 20
_POSTS_MAX = 64
_APPLY_MAX = 500


class Size(NamedTuple):
    """How much is to be left behind."""

    active: int
    """Recordings with an active segment."""
    sealed: int
    """Recordings with a sealed one."""
    sealed_bytes: int
    """Of each of these, as ``ls`` shows it."""


class LeftBehind:
    """A data directory after a daemon was killed in it; ``put_back`` makes it so again."""

    def __init__(self, directory: str, size: Size) -> None:
        """Use ``leave``."""
        self.data_dir = f"{directory}/data"
        self.size = size
        self._copies = f"{directory}/copies"
        self._recordings = [str(uuid.uuid4()) for _ in range(size.active)]
        self._torn: dict[str, tuple[bytes, int]] = {}
        """Path to what is in the segment, and the size to which it is torn."""

    @property
    def torn(self) -> int:
        """How many segments end in a torn block after a power cut."""
        return len(self._torn)

    @property
    def bytes(self) -> int:
        """Size of all segments, holes included."""
        total = self.size.sealed * self.size.sealed_bytes
        return total + sum(entry.stat().st_size for entry in os.scandir(layout.active_dir(self.data_dir)))

    def put_back(self, ending: Ending) -> None:
        """Make the directory what it was at one of the endings. No daemon may serve it."""
        self._restore_index(ending)
        # Put aside and not deleted, or ext4 would make the next copies slowly (bench/README.md, traps).
        with contextlib.suppress(FileNotFoundError):
            os.rename(layout.torn_dir(self.data_dir), f"{self._copies}/torn-{uuid.uuid4()}")
        for path, (content, torn_size) in self._torn.items():
            Path(path).write_bytes(content if ending == "killed" else content[:torn_size])

    # Making it

    def make(self) -> None:
        """Fill the directory, and keep what ``put_back`` needs."""
        self._serve(rounds=(0, 1))
        asyncio.run(self._add_sealed())
        self._keep_index("power cut")
        sizes = {name: os.stat(name).st_size for name in self._active_paths()}
        self._serve(rounds=(2,))
        self._keep_index("killed")
        for path in self._active_paths()[::TORN_SHARE]:
            content = Path(path).read_bytes()
            # In the middle of the last block: its header is whole, its payload isn't.
            self._torn[path] = content, (sizes[path] + len(content)) // 2

    def _serve(self, *, rounds: tuple[int, ...]) -> None:
        """Let a daemon take a block for each recording, each round, then kill it."""
        started = start(self.data_dir, core=None)
        try:
            for number in rounds:
                asyncio.run(self._post_all(started.port, started.key, number))
        finally:
            stop_hard(started)

    async def _post_all(self, port: int, key: str, number: int) -> None:
        events = small_events()[number * _BLOCK_EVENTS : (number + 1) * _BLOCK_EVENTS]
        body = b"\n".join(events) + b"\n"
        names = iter(self._recordings)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}

        async def post_some(session: aiohttp.ClientSession) -> None:
            for name in names:
                async with session.post(f"/recordings/{name}/ingest", data=body) as response:
                    answer = await response.json()
                if response.status != 200 or answer["successful_rows"] != len(events):
                    raise RuntimeError(f"the daemon answers {response.status} {answer}")

        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{port}", headers=headers, timeout=timeout
        ) as session:
            await asyncio.gather(*(post_some(session) for _ in range(_POSTS_MAX)))

    async def _add_sealed(self) -> None:
        """Put sealed segments beside the active ones, known to the index as what they are."""
        index = await SqliteIndex.open(home.index_path(self.data_dir))
        try:
            commits: list[Commit] = []
            for commit in _sealed_segments(self.data_dir, self.size, index):
                commits.append(commit)
                if len(commits) == _APPLY_MAX:
                    await _tell_sealed(index, commits)
                    commits.clear()
            await _tell_sealed(index, commits)
        finally:
            await index.close()

    def _active_paths(self) -> list[str]:
        return sorted(entry.path for entry in os.scandir(layout.active_dir(self.data_dir)))

    # The index, as it was

    def _keep_index(self, ending: Ending) -> None:
        os.makedirs(f"{self._copies}/{ending}")
        self._copy_index(home.index_path(self.data_dir), f"{self._copies}/{ending}/index.sqlite")

    def _restore_index(self, ending: Ending) -> None:
        self._copy_index(f"{self._copies}/{ending}/index.sqlite", home.index_path(self.data_dir))

    @staticmethod
    def _copy_index(source: str, target: str) -> None:
        # Not -shm, which SQLite makes anew from the log when nobody else has the file open.
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target + suffix)
            if suffix != "-shm":
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(source + suffix, target + suffix)


def leave(directory: str, size: Size) -> LeftBehind:
    """Make such a state below ``directory``."""
    left = LeftBehind(directory, size)
    left.make()
    return left


def _sealed_segments(data_dir: str, size: Size, index: Index) -> Iterator[Commit]:
    """Write the files of sealed segments, not synced; yield what the index must be told."""
    disk, compressor = OsDisk(), zstandard.ZstdCompressor(level=1)
    payload = b"".join(event + b"\n" for event in small_events()[:_BLOCK_EVENTS])
    now_ms = int(time.time() * 1000)
    for _ in range(size.sealed):
        recording_id = str(uuid.uuid4())
        identity = Identity(
            tenant=TENANT, recording_id=recording_id, number=1, salt=secrets.token_hex(16), created_ms=now_ms,
            first_seq=1, previous_size=0,
        )  # fmt: skip
        draft = BlockDraft(
            first_seq=1, event_count=_BLOCK_EVENTS, payload=payload, first_ts=float(now_ms),
            last_ts=float(now_ms), ordered=True, own_ids=False, source=1, stored_ms=now_ms,
        )  # fmt: skip
        path = layout.sealed_path(data_dir, identity.name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        writer = SegmentWriter(disk, path, identity, size=0, compressor=compressor)
        offset = writer.write(draft)
        writer.close()
        written = os.stat(path).st_size
        os.truncate(path, max(written, size.sealed_bytes))
        yield Commit(
            row_id=index.take_row_id(),
            tenant=TENANT,
            recording_id=recording_id,
            created_ms=now_ms,
            segment=1,
            segment_size=max(written, size.sealed_bytes),
            block_offset=offset,
            block_size=max(written, size.sealed_bytes),
            extent=draft.extent,
            metadata=(),
        )


async def _tell_sealed(index: Index, commits: list[Commit]) -> None:
    await index.apply(commits)
    await index.seal([(commit.row_id, commit.segment) for commit in commits])
