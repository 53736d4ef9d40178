"""What the object store holds: listed page by page, each object told by the table at its end.

An object costs one small read (``TABLE_READ_SIZE``), and one more for each block with notes. ``READS_MAX``
objects are read at a time, and no more than that are in memory, so 100,000 of them take as much as a
hundred.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

from rrd import layout
from rrd.backoff import Backoff
from rrd.disk.disk import Readable
from rrd.errors import CorruptSegment, ObjectMissing, ObjectUnreadable, StoreAway
from rrd.extent import Extent, nothing, total
from rrd.index.rows import MetadataChange
from rrd.log import emit
from rrd.objects.store import ObjectInfo, ObjectStore
from rrd.segment.format import BlockHeader, Identity
from rrd.segment.reader import read_last_notes, read_notes
from rrd.segment.salvage import Patched
from rrd.segment.scan import scan
from rrd.segment.table import read_table
from rrd.segment.walk import ReadAhead

READS_MAX = 16
"""Objects read at a time."""

TS_MAX = 8.64e15
"""No clock of a page goes beyond (ECMA-262, 21.4.1.1), in ms, before or after 1970."""

WAIT_S = (1.0, 30.0)
"""How long the first and the longest wait are for a store that is away."""

_T = TypeVar("_T")

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """One object: where it is, and what its table and its notes say."""

    key: str
    size: int
    modified_ms: int
    tenant: str
    recording_id: str
    created_ms: int
    first_number: int
    last_number: int
    extent: Extent
    quarantine: tuple[tuple[int, int, int], ...]
    """Blocks with quarantined lines: (offset, stored_ms, line count)."""
    metadata: tuple[MetadataChange, ...]
    damage: str
    """What is wrong with it; empty if all that was read is right."""
    summary: str = ""
    """The notes of its last block, where a summary stands; empty without one, or where it is damaged."""


class Patience:
    """What to do while the store is away: wait and ask again, or give up."""

    def __init__(self, *, wait: bool) -> None:
        self._wait = wait
        self.backoff = Backoff(*WAIT_S)

    async def ask(self, question: Callable[[], Awaitable[_T]]) -> _T:
        """Return the answer. Raises ``StoreAway`` if that can't be had and nobody wants to wait."""
        while True:
            try:
                answer = await question()
            except StoreAway as error:
                await self.bear(error)
            else:
                self.backoff.failures = 0
                return answer

    async def bear(self, error: StoreAway) -> None:
        """Wait a little, longer each time, or raise ``error``."""
        if not self._wait:
            raise error
        self.backoff.failures += 1
        if self.backoff.failures == 1 or self.backoff.is_longest:
            emit(
                logger, logging.WARNING, "rebuild_waits", error=error,
                next_step="rrd is ready once the object store answers: without it, it can't know which"
                " sequenceIds were given",
            )  # fmt: skip
        await asyncio.sleep(self.backoff.pause_s())


class StoreFiles:
    """Objects as files to read from, for worker threads. Each read asks the store."""

    def __init__(
        self, store: ObjectStore, loop: asyncio.AbstractEventLoop, patience: Patience | None = None
    ) -> None:
        self._store = store
        self._loop = loop
        self._patience = patience or Patience(wait=False)

    def read(self, path: str, offset: int, size: int) -> bytes:
        return self._ask(lambda: self._store.read(path, offset, size))

    def size(self, path: str) -> int:
        return self._ask(lambda: self._store.size(path))

    def _ask(self, question: Callable[[], Awaitable[_T]]) -> _T:
        return asyncio.run_coroutine_threadsafe(self._patience.ask(question), self._loop).result()


async def census(
    store: ObjectStore, patience: Patience, *, prefix: str = ""
) -> AsyncGenerator[Entry | str, None]:
    """Yield all objects below ``prefix`` in the order of their keys; a bare key for one that can't be read.

    What is not one of ours by its key is passed over. Close it (``contextlib.aclosing``).
    """
    loop = asyncio.get_running_loop()
    files = StoreFiles(store, loop, patience)
    pool = ThreadPoolExecutor(READS_MAX, thread_name_prefix="census")
    under_way: deque[tuple[str, asyncio.Future[Entry | None]]] = deque()
    try:
        async with contextlib.aclosing(listed(store, patience, prefix=prefix)) as infos:
            async for info in infos:
                if layout.parse_object_key(info.key) is None:
                    continue
                under_way.append((info.key, loop.run_in_executor(pool, describe, files, info)))
                if len(under_way) >= READS_MAX:
                    key, found = under_way.popleft()
                    yield await found or key
        while under_way:
            key, found = under_way.popleft()
            yield await found or key
    finally:
        for _, found in under_way:
            found.cancel()
        await asyncio.gather(*(found for _, found in under_way), return_exceptions=True)
        pool.shutdown(wait=False, cancel_futures=True)


async def listed(
    store: ObjectStore, patience: Patience, *, prefix: str = ""
) -> AsyncGenerator[ObjectInfo, None]:
    """Yield what the store has, each object once, though the store may be away meanwhile."""
    last = b""
    while True:
        try:
            async with contextlib.aclosing(store.list(prefix)) as infos:
                async for info in infos:
                    key = info.key.encode()
                    if key > last:
                        last = key
                        patience.backoff.failures = 0
                        yield info
        except StoreAway as error:
            await patience.bear(error)
        else:
            return


def describe(files: Readable, info: ObjectInfo) -> Entry | None:
    """Read what there is to know about an object; None if nothing can be, or it is gone. Blocking.

    If its table is damaged, its blocks are looked for one by one, and the key says how many events
    there should be: numbers that were given are never given again. Raises ``StoreAway``, ``OSError``.
    """
    # Pages that the disk can't read are damage; missing permission is none.
    reader = ReadAhead(partial(Patched(files).read, info.key), info.size)
    damage = ""
    try:
        try:
            identity, headers = read_table(reader, info.key, info.size)
        except CorruptSegment as error:
            found = scan(reader, info.key)
            if found.identity is None:
                raise
            damage = str(error)
            identity, headers = found.identity, found.blocks
        metadata: list[MetadataChange] = []
        for header in headers:
            try:
                notes, _ = read_notes(reader, info.key, header)
            except CorruptSegment as error:
                damage = damage or str(error)
            else:
                metadata += [MetadataChange(note.key, note.value, note.at_ms) for note in notes]
        summary = ""
        if not damage:
            summary = read_last_notes(reader, info.key, headers).decode(errors="replace")
        if not identity.is_object:
            raise CorruptSegment("a segment, not an object, begins", path=info.key, offset=0)
        return _entry(info, identity, headers, metadata, damage)._replace(summary=summary)
    except ObjectUnreadable:
        # It may be whole. What it holds must not be passed over: numbers would be given twice.
        raise
    except (CorruptSegment, ObjectMissing, FileNotFoundError) as error:
        emit(logger, logging.ERROR, "object_corrupt", error=error, next_step="rrd verify")
        return None


def _entry(
    info: ObjectInfo,
    identity: Identity,
    headers: Iterable[BlockHeader],
    metadata: list[MetadataChange],
    damage: str,
) -> Entry:
    name = layout.parse_object_key(info.key)
    assert name is not None
    blocks = list(headers)
    start = nothing(identity.first_seq, stored_ms=0 if blocks else identity.created_ms)
    extent = total((header.extent for header in blocks), start)
    if damage:
        extent = extent._replace(event_count=name.limit_seq - identity.first_seq, first_ts=None, last_ts=None)
        if extent.event_count:
            # It may hold events of any time: a reader of any time must be told that they can't be read.
            extent = extent._replace(first_ts=-TS_MAX, last_ts=TS_MAX)
    proper = layout.object_key(
        identity.name,
        created_ms=identity.created_ms,
        first_seq=identity.first_seq,
        event_count=extent.event_count,
    )
    if proper != info.key:
        raise CorruptSegment(f"the object {proper} begins", path=info.key, offset=0)
    return Entry(
        key=info.key,
        size=info.size,
        modified_ms=info.modified_ms,
        tenant=identity.tenant,
        recording_id=identity.recording_id,
        created_ms=identity.created_ms,
        first_number=identity.number,
        last_number=identity.last_number,
        extent=extent,
        quarantine=tuple(
            (header.offset, header.stored_ms, header.quarantine_count)
            for header in blocks
            if header.quarantine_count
        ),
        metadata=tuple(metadata),
        damage=damage,
    )
