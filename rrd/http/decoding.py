"""Pulls batches out of a decoder without keeping the event loop from anything else.

What is quick is done on the loop, the rest in a thread, step by step (``rrd.wire.turns``). A task that has
kept the loop for ``TURN_S`` gives others their turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from rrd.http.hold import Reservation
from rrd.wire.decoder import Decoder
from rrd.wire.events import Batch

TURN_S = 0.006
"""A turn of a task lasts a quick call longer than that, at most. More of them would make commits, which
begin in the turns of others, smaller and more in number."""

_Result = TypeVar("_Result")


class Turn:
    """How long a task has kept the event loop. What it really waits for begins a new one."""

    __slots__ = ("_ends_at",)

    def __init__(self) -> None:
        self._ends_at = 0.0

    def begin(self) -> None:
        """The task has just been woken."""
        self._ends_at = time.monotonic() + TURN_S

    def is_over(self) -> bool:
        """Tell whether others should have a turn, where the task would not wait otherwise."""
        return time.monotonic() >= self._ends_at

    async def end(self) -> None:
        """Let others go on."""
        await asyncio.sleep(0)
        self.begin()


async def next_batch(
    decoder: Decoder, hold: Reservation, threads: Executor, turn: Turn, *, flush: bool = False
) -> Batch | None:
    """Return the decoder's next batch, or None when it wants more. Raises like ``Decoder.next_batch``.

    ``threads``: the sender's turns among those that decode. ``turn``: that of the task which calls.

    What it holds counts in ``hold``. Before it would hold more than there is room for, it waits; it raises
    like ``Reservation.room``.

    Cancelled, it waits for the step under way, whose batch is lost: then no thread uses the decoder any more.
    """
    # What has arrived may be in memory whole, so neither reading it nor storing it need ever wait.
    if turn.is_over():
        await turn.end()
    batch = decoder.next_batch(flush=flush, pace="quick")
    while batch is None and decoder.is_behind:
        # Before the step: two hundred streams at once would fill their windows before the first is counted.
        held_bytes, unfinished_bytes = decoder.held()
        hold.set_decoded(held_bytes + decoder.unfilled_bytes, unfinished=unfinished_bytes)
        await hold.room()
        decoder.is_at_work = True
        try:
            batch = await in_thread(threads, lambda: decoder.next_batch(flush=flush, pace="step"))
        finally:
            decoder.is_at_work = False
        turn.begin()
    held_bytes, unfinished_bytes = decoder.held()
    hold.set_decoded(held_bytes, unfinished=unfinished_bytes)
    return batch


async def in_thread(threads: Executor, call: Callable[[], _Result]) -> _Result:
    """Return what ``call`` returns in one of ``threads``. Cancelled, it waits for the thread."""
    working = asyncio.get_running_loop().run_in_executor(threads, call)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise
    finally:
        # It has the error that was raised, whose frames would have it: neither would ever be let go.
        del working
