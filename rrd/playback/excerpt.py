"""A run of events as a whole text of bounded size, and where it ended: one page of a walk.

Whether there is more is known before anything is sent, so that a header can say where to go on. Memory: the
merge's budget, twice the text, and the next block, which is looked into only if the text ends where a block
does.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import NamedTuple

from rrd.playback.blocks import Blocks
from rrd.playback.bodies import Events
from rrd.playback.splice import Form, Splicer
from rrd.playback.stream import in_order
from rrd.playback.table import PlaybackTable
from rrd.segment.lines import look_at_lines


class Excerpt(NamedTuple):
    """Some events of a recording as a response has them."""

    body: bytearray
    event_count: int
    last: tuple[float, int] | None
    """Timestamp and number of the last event; None if there is more behind none."""
    has_more: bool
    """There are events in the range behind the last one."""


def read_excerpt(
    table: PlaybackTable,
    *,
    form: Form,
    bytes_max: int,
    events_max: int,
    text_bytes: int,
    by_arrival: bool = False,
) -> Excerpt:
    """Return the first events of a table's range, in playback order or ``by_arrival``.

    At most ``events_max``, and none after the one with which their text reaches ``text_bytes``: that one may
    be long. Blocking, and raises as ``read_in_order``, with ``bytes_max`` as there.
    """
    blocks = Blocks(table)
    splicer = Splicer(table.recording_id, form)
    body = bytearray(form.opening)
    count, last, has_more = 0, None, False
    for run in blocks.arrived() if by_arrival else in_order(table, blocks, bytes_max):
        if not run.bodies:
            continue
        room = text_bytes - len(body)
        if count == events_max or room <= 0:
            has_more = True
            break
        # Where the text reaches its size, if it does.
        sizes = list(accumulate(len(line) + splicer.tail_size for line in run.bodies))
        taken = min(bisect_left(sizes, room) + 1, len(run.bodies), events_max - count)
        body += b"".join(splicer.splice(run.bodies[:taken], run.seqs[:taken], run.own and run.own[:taken]))
        count += taken
        last = _place(run, taken - 1)
        if taken < len(run.bodies):
            has_more = True
            break
        # Not to be kept alive while the next block is decoded.
        del run
    if not count:
        return Excerpt(bytearray(form.empty), 0, None, has_more)
    del body[len(body) - len(form.between) :]
    body += form.closing
    return Excerpt(body, count, last, has_more)


def _place(run: Events, index: int) -> tuple[float, int]:
    """Return timestamp and number of an event."""
    if len(run.times):
        return run.times[index], run.seqs[index]
    [event] = look_at_lines(bytes(run.bodies[index]) + b"}\n")
    return event.timestamp, run.seqs[index]
