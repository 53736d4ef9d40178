"""A daemon's parts as ``make_parts`` wires them, on the clock, disk and store of a laboratory.

Method
------
``wired`` is one life on a real disk: it begins with ``bring_up_to_date`` and ends as the daemon stops.
``simulated`` is one on a ``SimDisk``: it begins in the same way with what an earlier life left, and ends as
by ``kill -9``. Whether that was the end of the process or of the power is then for the ``SimDisk`` to say.

No task of the daemon's runs but the registry's own: laboratories have roll-up, eviction, removal and
retention take their steps, so that a cut comes where they want it. Nothing listens either.

Some things are real in each life, since no ``Disk`` is asked for them: SQLite's files (index, tombstones,
keys), the note that an index is being rebuilt, the directory that ``Guard`` looks at, and what retention and
refusals keep, which is never synced. So ``DATA`` is a relative path: the same names lead into the ``SimDisk``
and, for these, into the life's folder, which is the current directory meanwhile. A power cut throws the index
back to one of the states that ``LaggingIndex`` keeps; tombstones sync each transaction that counts. The lock
of the data directory is held outside ``make_parts``: lives on one ``SimDisk`` come one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from rrd import layout
from rrd.access.keys import KeyStore
from rrd.config import Config
from rrd.daemon.assembly import Parts, Seams, bring_up_to_date, make_parts
from rrd.index import home
from rrd.index.rows import Commit
from rrd.index.sqlite.index import SqliteIndex
from rrd.inventory.survey import Recovered
from rrd.recordings.source import Tally
from rrd.startup.recovery import lock_data_dir
from rrd.tombstones import Tombstones
from tests.samples import batch
from tests.simdisk import SimDisk

DATA = "data"
TENANT = "t"


def numbered_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


class ManualClock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0
        self.skew_s = 0.0
        """How far the wall clock is ahead of what it should be."""

    def now_ms(self) -> int:
        return int((self.seconds + self.skew_s) * 1000)

    def monotonic(self) -> float:
        return self.seconds


class LaggingIndex(SqliteIndex):
    """An index that remembers every state a power cut may throw it back to, the newest last.

    SQLite does not sync what ``apply`` commits; ``seal`` syncs.
    """

    states: list[bytes]

    @classmethod
    async def open(cls, path: str) -> Self:
        # Absolute: when a life has ended, the current directory is another, and ``states`` are still read.
        index = await super().open(os.path.abspath(path))  # noqa: ASYNC240 - asks no disk
        index.begin()
        return index

    async def apply(self, commits: Sequence[Commit]) -> None:
        await super().apply(commits)
        self.states.append(self._bytes())

    async def seal(self, sealed: Sequence[tuple[int, int]]) -> None:
        await super().seal(sealed)
        if sealed:
            self.states = [self._bytes()]

    def begin(self) -> None:
        self.states = [self._bytes()]

    def _bytes(self) -> bytes:
        return content(self.path)


def content(path: str) -> bytes:
    """Return what an SQLite file holds, with what is in its log only."""
    with contextlib.closing(sqlite3.connect(path)) as copy:
        return copy.serialize()


class Core:
    """The parts, by names as short as tests want them. Use ``wired`` or ``simulated``."""

    def __init__(self, parts: Parts, seams: Seams) -> None:
        assert isinstance(seams.clock, ManualClock)
        services = parts.services
        self.parts = parts
        self.config = services.config
        self.clock: ManualClock = seams.clock
        self.disk = seams.disk
        self.store = seams.store
        """As the laboratory made it: ``parts.store`` asks first whose it is."""
        self.index = services.index
        self.registry = services.registry
        self.files = services.files
        self.claims = services.claims
        self.remover = services.remover
        self.tombstones = parts.tombstones
        self.rollup = parts.rollup
        self.evictor = parts.evictor
        self.recovered = Recovered()
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self.recovered = await bring_up_to_date(self.parts)
        self.tasks = await self.registry.start()

    async def post(self, *lines: bytes, recording_id: str = numbered_id(0), tenant: str = TENANT) -> Tally:
        """Have lines stored as one body."""
        async with self.registry.source(tenant, recording_id) as source:
            source.put(batch(*lines))
            return await source.flush()


C = TypeVar("C", bound=Core)

Kind = Callable[[Parts, Seams], C]


async def _make(kind: Kind[C], config: Config, seams: Seams, stack: contextlib.AsyncExitStack) -> C:
    keys = stack.enter_context(KeyStore(layout.keys_path(config.data_dir)))
    return kind(await make_parts(config, keys, stack, seams), seams)


@contextlib.asynccontextmanager
async def wired(kind: Kind[C], config: Config, seams: Seams) -> AsyncIterator[C]:
    """A life on a real disk."""
    with lock_data_dir(config.data_dir):
        async with contextlib.AsyncExitStack() as stack:
            core = await _make(kind, config, seams, stack)
            await core.start()
            yield core


@contextlib.asynccontextmanager
async def simulated(
    kind: Kind[C],
    folder: Path,
    config: Config,
    seams: Seams,
    *,
    state: bytes | None = None,
    stones: bytes | None = None,
    on_end: Callable[[C], object] = lambda _: None,
) -> AsyncIterator[C]:
    """A life on a ``SimDisk``, with the index in ``state`` and tombstones in ``stones``; None: there is none.

    ``on_end`` is called when it ends, at its start, too.
    """
    disk = seams.disk
    assert isinstance(disk, SimDisk)
    others = asyncio.all_tasks()
    with contextlib.chdir(folder):
        _lay_out(state, stones or _no_tombstones())
        async with contextlib.AsyncExitStack() as stack:
            core = await _make(kind, config, seams, stack)
            stack.push_async_callback(_end, core, disk, others)
            try:
                await core.start()
                yield core
            finally:
                on_end(core)


def _lay_out(state: bytes | None, stones: bytes) -> None:
    """Have on the real disk what is never on the simulated one."""
    Path(DATA).mkdir(exist_ok=True)
    for path in (home.index_path(DATA), layout.tombstones_path(DATA)):
        for suffix in ("", "-wal", "-shm", ".rebuilding"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
    if state is not None:
        Path(home.index_path(DATA)).write_bytes(state)
    Path(layout.tombstones_path(DATA)).write_bytes(stones)


@functools.cache
def _no_tombstones() -> bytes:
    """Made once: the syncs of a new file take longer than most lives do."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/tombstones.sqlite"
        with Tombstones(path):
            pass
        return content(path)


async def _end(core: Core, disk: SimDisk, others: set[asyncio.Task[Any]]) -> None:
    """Nothing of a life goes on afterwards, and nothing more of it reaches the disk."""
    disk.halt()
    for task in core.tasks:
        task.cancel()
    mine = asyncio.all_tasks() - others - {asyncio.current_task()}
    await asyncio.gather(*mine, return_exceptions=True)
    # What the daemon's own stop would still write, it can't; the threads of the committer end here.
    core.registry.committer.close()
    disk.kill()
