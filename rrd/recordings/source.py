"""What one body or socket puts into a recording, and what it is told of that."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from rrd.errors import RrdError, WireError
from rrd.recordings.repeats import Recognised
from rrd.wire.events import Batch
from rrd.wire.metadata import BadPair, Metadata

BAD_LINES_MAX = 10_000
"""One body or socket with more lines than this that are no events is sending something else. Each is
kept, so a few kilobytes of compressed line breaks could otherwise make gigabytes of notes."""

_random = random.Random()  # noqa: S311  # see below
"""Ids tell senders apart, and are no secret: asking the system for each takes a call."""

_NOTE_BYTES = 400
"""What a refused line or a metadata event takes in memory beside its bytes."""


class TooManyBadLines(WireError):
    """A source goes on sending what is no event."""

    code = "too_many_bad_lines"


class Tally(NamedTuple):
    """What became of a source's lines, all of it durable."""

    stored: int = 0
    """Events stored, and metadata applied: events of it, and what came by itself."""
    duplicates: int = 0
    quarantined: int = 0

    @property
    def has_only_bad_lines(self) -> bool:
        return bool(self.quarantined) and not (self.stored or self.duplicates)


_NOTHING = Batch(b"", 0, 0.0, 0.0, True, False, (), (), 1)


class Source:
    """One body or socket that writes to a recording."""

    def __init__(
        self,
        recording_id: str,
        put: Callable[[Work], None],
        room: Callable[[], Coroutine[Any, Any, None]],
        *,
        on_close: Callable[[Source], None] = lambda _: None,
        origin: str | None = None,
        visitor: dict[str, str] | None = None,
    ) -> None:
        """Use ``Registry.source``. ``put`` takes something to be stored. ``on_close`` is called by ``close``.

        ``origin``: the page's origin. ``visitor``: metadata about the visitor, which
        is stored only where a payload permits it (``includePii``).
        """
        self.id = _random.getrandbits(64)
        self.recording_id = recording_id
        self._put = put
        self._on_close = on_close
        self.room = room
        """Waits until there is room for more: this is the backpressure on senders.

        Raises ``DiskFull`` when the disk's reserve is reached; what was put before is stored all the same."""
        self.origin = origin
        self.visitor = visitor or {}
        self.recognised = Recognised()
        self.tally = Tally()
        self.failure: RrdError | None = None
        """The first thing that went wrong; whatever came after the tally is not safe."""
        self.refused_pairs: list[BadPair] = []
        """Pairs of metadata that came by itself for which the recording had no room."""
        self.closed = False
        """Nothing more comes, though what was put may still be on its way."""
        self.on_commit: Callable[[], None] | None = None
        """Called after each block with lines of this source, stored or failed."""
        self._bad_lines = 0
        self._waiting = 0
        self._waiters: list[asyncio.Future[None]] = []

    def put(self, batch: Batch, *, since: float = 0.0) -> None:
        """Hand over a batch. It is in memory when this returns; ``flush`` waits until it is safe.

        ``since``: when its first event came, monotonic seconds; 0 where that is not known.

        Raises ``ShuttingDown``, and has not taken it, once the recording was let go; ``TooManyBadLines``,
        and has taken it, when the sender had better stop.
        """
        others = batch.metadata or batch.rejected
        if batch.event_count or others:
            self._put(Work(self, 1, size_of(batch), batch, (), 0, 0, since))
            self._waiting += 1
        if others:
            self._bad_lines += len(batch.rejected) + sum(len(event.bad) for event in batch.metadata)
        if self._bad_lines > BAD_LINES_MAX:
            raise TooManyBadLines(f"more than {BAD_LINES_MAX} lines are no events; the rest is not read")

    def put_metadata(self, metadata: Metadata) -> None:
        """Hand over metadata that came by itself, not in an event. Raises like ``put``."""
        self._put(Work(self, 1, 0, _NOTHING, (metadata,)))
        self._waiting += 1

    async def flush(self) -> Tally:
        """Return when all that was put is safe. Raises the failure if some of it is not.

        Cancelled, it leaves everything on its way.
        """
        if self._waiting:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self.failure is not None:
            raise self.failure
        return self.tally

    def close(self) -> None:
        """Hold the recording open no more. What was put is stored all the same."""
        self._on_close(self)

    def settle(self, count: int, tally: Tally, failure: RrdError | None) -> None:
        """Registry: ``count`` puts are done with."""
        self._waiting -= count
        if failure is not None:
            self.failure = self.failure or failure
        elif self.failure is None:
            # Not beyond a failure: senders take the tally for the first so many of their lines.
            mine = self.tally
            self.tally = Tally(
                mine.stored + tally.stored,
                mine.duplicates + tally.duplicates,
                mine.quarantined + tally.quarantined,
            )
        if not self._waiting and self._waiters:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()
        if self.on_commit is not None:
            self.on_commit()


class Work(NamedTuple):
    """What one block is to be made of: what a source put at once, or several of these, joined."""

    source: Source
    puts: int
    """How many were put."""
    size: int
    """Bytes that it takes while it waits."""
    batch: Batch
    metadata: tuple[Metadata, ...]
    """What came by itself, in no event."""
    duplicates: int = 0
    quarantined_before: int = 0
    """Lines and pairs that quarantine holds already."""
    since: float = 0.0
    """When its first event came, monotonic seconds; 0 where that is not known."""


class Waiting:
    """What is counted over all recordings."""

    def __init__(self) -> None:
        self.bytes = 0
        """Bytes of batches that are in memory and not safe yet."""
        self.bytes_of: Counter[str] = Counter()
        """The same, by tenant."""
        self.late_lines: Counter[tuple[str, str]] = Counter()
        """Lines that came for each (tenant, recording) that is erased, since this was last taken."""

    def add(self, tenant: str, size: int) -> None:
        """So many bytes more, or less, wait."""
        self.bytes += size
        of_tenant = self.bytes_of[tenant] + size
        if of_tenant:
            self.bytes_of[tenant] = of_tenant
        else:
            del self.bytes_of[tenant]  # A Counter says nothing of what it never had.


def size_of(batch: Batch) -> int:
    """Return what a batch takes in memory while it waits, bytes."""
    if not (batch.metadata or batch.rejected):  # Nearly all are like that.
        return len(batch.payload)
    return (
        len(batch.payload)
        + sum(len(bad.raw) + _NOTE_BYTES for bad in batch.rejected)
        + sum(
            2 * len(event.raw) + _NOTE_BYTES + sum(len(bad.raw) + _NOTE_BYTES for bad in event.bad)
            for event in batch.metadata
        )
    )


def join(works: list[Work]) -> Work:
    """Return one of several that a source put one after the other."""
    first = works[0]
    metadata = tuple(each for work in works for each in work.metadata)
    size = sum(work.size for work in works)
    batch = join_batches([work.batch for work in works])
    return Work(first.source, len(works), size, batch, metadata, since=first.since)


def join_batches(batches: list[Batch]) -> Batch:
    """Return one batch of several that came one after the other."""
    with_events = [batch for batch in batches if batch.event_count] or batches[:1]
    pairs = itertools.pairwise(with_events)
    return Batch(
        payload=b"".join([batch.payload for batch in with_events]),
        event_count=sum(batch.event_count for batch in with_events),
        first_ts=min(batch.first_ts for batch in with_events),
        last_ts=max(batch.last_ts for batch in with_events),
        ordered=all(batch.ordered for batch in with_events)
        and all(a.last_ts <= b.first_ts for a, b in pairs),
        own_ids=any(batch.own_ids for batch in with_events),
        metadata=tuple(event for batch in batches for event in batch.metadata),
        rejected=tuple(bad for batch in batches for bad in batch.rejected),
        limit_line=batches[-1].limit_line,
        closes=any(batch.closes for batch in batches),
        has_snapshot=any(batch.has_snapshot for batch in with_events),
        has_meta=any(batch.has_meta for batch in with_events),
    )
