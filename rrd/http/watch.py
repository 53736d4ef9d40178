"""One stream of a recording as it grows: history, what comes, pings, and how it ends.

A watcher holds the number of the event that it needs next, and little more: nothing waits for it but what is
on its way to it. If it is slow, it falls behind, and later reads what it lacks from the disk; if it takes
nothing at all for a while, it is sent away. Nothing here is waited for by those who write.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from math import inf
from typing import NamedTuple

from aiohttp import web

from rrd import metrics
from rrd.access.gate import Grant
from rrd.errors import CorruptSegment, NotFound, RrdError
from rrd.http.lookup import planned, visible
from rrd.http.outlet import End, Outlet, Over
from rrd.http.reading import READ_SHARE, lane, reader_of, reading
from rrd.http.services import SERVICES
from rrd.index.rows import RecordingRow
from rrd.log import emit
from rrd.playback.frames import (
    FrameForm,
    Framer,
    StreamFrame,
    closes_at,
    frames_in_order,
    read_arrived,
)
from rrd.playback.hops import in_thread
from rrd.playback.need import need_of
from rrd.playback.table import Between, PlaybackTable
from rrd.recordings.followers import Follower, RecentBlock

logger = logging.getLogger(__name__)

_FIXED_BYTES = 1 << 20
"""What reading takes beside its blocks."""

_QUICK_BYTES = 32 << 10
"""A block up to this size is made into frames on the event loop: 50 µs."""

_TRIES_MAX = 3
"""How often what has to be read is looked up anew without getting on: it may be moved meanwhile."""

_RETRY_MS = 2000

_PROBES = 2
"""Pings that show whether a client which has closed its side is there."""

_IDLE = b'event: end\ndata: {"reason":"idle"}\n\n'


class Joined(NamedTuple):
    """What there is of a recording when it is begun to be followed."""

    row: RecordingRow
    table: PlaybackTable
    limit_seq: int
    """sequenceId after the last event in the table."""
    last_ts: float
    """Greatest timestamp in it, ms; -inf without events."""
    closes_ts: float
    """When the page said that it is over, if nothing is later than that."""


class Watch:
    """One watcher of one recording."""

    def __init__(  # noqa: PLR0917 - each is another thing
        self,
        request: web.Request,
        response: web.StreamResponse,
        grant: Grant,
        follower: Follower,
        joined: Joined,
        frame_form: FrameForm,
    ) -> None:
        self._out = Outlet(request, response, frame_form, request.app[SERVICES].bounds.watch, self._check)
        self._grant = grant
        self._follower = follower
        self._row = joined.row
        self._limit_seq = joined.limit_seq
        self._table: PlaybackTable | None = joined.table
        """What there was at first, until it is sent."""
        self._framer = Framer(joined.row.recording_id, frame_form)
        self._form = frame_form
        self._services = request.app[SERVICES]
        self._bounds = self._services.bounds.watch
        self._who = reader_of(grant)
        self._loop = asyncio.get_running_loop()
        now_s, now_ms = self._loop.time(), self._services.clock.now_ms()
        self._newest_at = now_s - max(0, now_ms - joined.row.extent.stored_ms) / 1000
        """When the newest event came, by the loop's time."""
        # Who was let in for a while is not to stay for longer.
        self._expires_at = now_s + (grant.expires_ms - now_ms) / 1000
        self._next_seq = 1
        self._last_ts, self._closes_ts = joined.last_ts, joined.closes_ts
        self._has_told_idle = False
        self._probes_left = 0
        """How many pings are to show soon whether the client still takes any."""

    def is_over_after(self, seq: int) -> bool:
        """Tell whether a stream that is resumed after this event has nothing to tell any more."""
        return seq == self._limit_seq - 1 and self._is_over()

    def _is_over(self) -> bool:
        """Tell whether the page has said that it is over, and what came late has had its time."""
        is_closed = self._closes_ts >= self._last_ts and self._closes_ts > -inf
        return is_closed and self._loop.time() >= self._newest_at + self._bounds.closed_s

    async def run(self, after: int | None, *, on_caught_up: Callable[[], None]) -> web.StreamResponse:
        """Send the stream; return when it has ended. ``after``: see ``follow``; None for history first.

        ``on_caught_up`` is called once all is sent that there was at first. Raises ``CorruptSegment``,
        ``StoreAway``, ``OSError`` while nothing has been sent.
        """
        self._out.on_gone(self._on_gone)
        self._follower.on_end, self._follower.on_keys = self._out.cut_off_slow, self._on_keys
        reason: End = "gone"
        try:
            await self._begin_stream(after)
            on_caught_up()
            await self._go_on()
        except Over as over:
            reason = over.reason
            await self._out.end(over)
        except ConnectionError:
            pass
        except (RrdError, OSError) as error:
            if not self._out.has_begun:
                raise
            reason = "unreadable"
            self._break_off(error)
        finally:
            metrics.WATCHES_ENDED.add(reason)
        return self._out.response

    async def _begin_stream(self, after: int | None) -> None:
        table, self._table = self._table, None
        assert table is not None, "it is run once"
        # What has been sent of another life of this recording tells nothing about this one.
        if after is None or after >= self._limit_seq:
            await self._send_history(table)
        else:
            await self._begin()
            self._next_seq = after + 1
            await self._send_arrived(table)

    async def _go_on(self) -> None:
        while True:
            self._follower.woken.clear()
            self._out.check()
            if self._follower.limit_seq > self._next_seq:
                await self._send_new()
            else:
                await self._wait()

    # What is sent

    async def _begin(self) -> None:
        await self._out.begin()
        await self._out.write(b"retry: %d\n\n" % _RETRY_MS if self._form.has_ids else self._form.ping)

    async def _send_history(self, table: PlaybackTable) -> None:
        threads = self._services.reading_threads.lane(self._who)
        need = await self._loop.run_in_executor(threads, need_of, table)
        # Frames are cut out of blocks, and one event may be as large as its block.
        least = 2 * need.least + _FIXED_BYTES
        most = max(least, min(need.most + _FIXED_BYTES, self._services.config.read_bytes_max // READ_SHARE))
        async with reading(self._services, self._who, least=least, most=most) as held_bytes:
            frames = frames_in_order(
                table, self._framer, complete_to=self._limit_seq - 1,
                bytes_max=max(1, held_bytes - need.least - _FIXED_BYTES),
            )  # fmt: skip
            parts = in_thread(frames, threads=lane(self._services, self._who, is_local=table.is_local))
            async with contextlib.aclosing(parts):
                first = await anext(parts, b"")
                await self._begin()
                await self._out.write(first)
                async for frame in parts:
                    await self._out.write(frame)
        self._next_seq = self._limit_seq

    async def _send_new(self) -> None:
        """Send what comes next, of what is stored and was not sent."""
        self._newest_at, self._has_told_idle = self._loop.time(), False
        block = self._follower.recent(self._next_seq)
        if block is None:
            await self._catch_up()
            return
        draft = block.draft
        for frame in await self._frames_of(block):
            await self._out.put(frame.data)
            self._next_seq = frame.limit_seq
            if self._out.is_ahead():
                break  # The rest is made anew once this is taken, so that nothing is held until then.
        else:
            self._came(draft.last_ts, closes_at(draft.payload))
        del block, draft, frame
        await self._out.taken()

    async def _frames_of(self, block: RecentBlock) -> list[StreamFrame]:
        draft, name = block.draft, self._form.name
        is_whole = self._next_seq == draft.first_seq
        if is_whole and name in block.made:
            return block.made[name]  # type: ignore[return-value]  # made here, by another watcher

        def make() -> list[StreamFrame]:
            return self._framer.arrived(draft.payload, draft, next_seq=self._next_seq)

        if len(draft.payload) <= _QUICK_BYTES:
            frames = make()
        else:
            frames = await self._loop.run_in_executor(self._services.reading_threads.lane(self._who), make)
        if is_whole:
            self._services.registry.followers.keep_made(block, name, list(frames))
        return frames

    async def _catch_up(self) -> None:
        """Read what is not at hand any more. Raises like ``run``."""
        tries, before = 0, self._next_seq
        while True:
            try:
                with self._services.claims.reading(self._grant.tenant, self._row.recording_id):
                    row = await visible(self._services, self._grant, self._row.recording_id)
                    lacking = Between(-inf, inf, first_seq=self._next_seq)
                    await self._send_arrived(await planned(self._services, self._who, row, lacking))
            except (CorruptSegment, FileNotFoundError):
                # Its files may have moved since they were looked up.
                tries = tries + 1 if before == self._next_seq else 1
                if tries == _TRIES_MAX:
                    raise
                before = self._next_seq
            except NotFound:
                raise Over("erased") from None
            else:
                return

    async def _send_arrived(self, table: PlaybackTable) -> None:
        """Send the events of a table from the next one on, in order of arrival."""
        threads = lane(self._services, self._who, is_local=table.is_local)
        block = _block_of(table, self._next_seq)
        while block < len(table):
            size = 4 * table.block(block)[1].raw_size + _FIXED_BYTES
            async with reading(self._services, self._who, least=size, most=size):
                found = await self._loop.run_in_executor(
                    threads, read_arrived, table, block, self._next_seq, self._framer
                )
                block = found.limit_block
                for frame in found.frames:
                    await self._out.write(frame.data)
                    self._next_seq = frame.limit_seq
            self._came(found.last_ts, found.closes_ts)

    def _came(self, last_ts: float, closes_ts: float) -> None:
        """Take in what the events say that were sent."""
        self._last_ts = max(self._last_ts, last_ts)
        self._closes_ts = max(self._closes_ts, closes_ts)

    async def _wait(self) -> None:
        """Wait until there is something to do, and say that all is well meanwhile."""
        bounds, now = self._bounds, self._loop.time()
        if self._is_over():
            raise Over("closed")
        idle_at = inf if self._has_told_idle else self._newest_at + bounds.idle_s
        if now >= idle_at:
            self._has_told_idle, idle_at = True, inf
            await self._out.write(_IDLE if self._form.has_ids else self._form.ping)
        elif now >= self._out.written_at + self._silence_s():
            self._probes_left = max(0, self._probes_left - 1)
            await self._out.write(self._form.ping)
        closed_at = self._newest_at + bounds.closed_s if self._closes_ts >= self._last_ts > -inf else inf
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(
                min(idle_at, closed_at, self._expires_at, self._out.written_at + self._silence_s())
            ):
                await self._follower.woken.wait()

    def _silence_s(self) -> float:
        return self._bounds.probe_s if self._probes_left else self._bounds.ping_s

    def _check(self) -> None:
        """Raise ``Over`` if it must not go on."""
        if self._follower.end is not None:
            raise Over(self._follower.end)
        if not self._services.gate.is_live(self._grant) or self._loop.time() >= self._expires_at:
            raise Over("revoked")

    def _on_keys(self) -> None:
        if not self._services.gate.is_live(self._grant):
            self._out.cut_off_slow()

    def _on_gone(self) -> None:
        """The client has closed its side, or all. What it closed alone can still be written to.

        A connection that it has closed whole takes one write, and only the next one fails (RFC 9293,
        section 3.10.7.4).
        """
        self._probes_left = _PROBES
        self._follower.woken.set()

    def _break_off(self, error: Exception) -> None:
        recording_id = self._row.recording_id
        if isinstance(error, CorruptSegment):
            emit(
                logger, logging.ERROR, "watch_broken_off", recording=recording_id, error=repr(error),
                next_step=f"rrd doctor {recording_id}",
            )  # fmt: skip
        else:
            # A store that is away, or too many reads: each watcher comes back, and would be told of anew.
            code = error.code if isinstance(error, RrdError) else type(error).__name__
            self._services.refusals.tell(
                "watch_broken_off", code=code, status=500, recording=recording_id, error=repr(error)
            )
        self._out.abort()


def _block_of(table: PlaybackTable, seq: int) -> int:
    """Return the number of the first block in a table that has event ``seq`` or a later one."""
    low, high = 0, len(table)
    while low < high:
        middle = (low + high) // 2
        if table.block(middle)[1].limit_seq > seq:
            high = middle
        else:
            low = middle + 1
    return low
