"""A block's lines taken apart: their bodies, and where it matters their timestamps and own members.

Almost every block is ordered, its events have no members of our names, and no other block overlaps
it; then splitting at line ends is all there is to do, and where lines are long they need not even be copied
(``view``). Only other blocks are parsed, and of these only three members of each event.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import UNSET

from rrd.playback.splice import OWN_RECORDING, OWN_SEQUENCE, Body
from rrd.segment.format import BlockDraft, BlockHeader
from rrd.segment.lines import StoredEvent, look_at_lines

_LONG_LINE_BYTES = 2048
"""From this mean length on, one find and one slice a line beat ``split``, which copies each line once
more (corpus, mean 4.5 kB: 6.9 against 2.6 GB/s; events below 1 kB: 0.6 against 0.7)."""

_VIEWED_LINE_BYTES = 1024
"""From this mean length on, views beat both."""

_OPEN, _CLOSE = b"{}"


class Events(NamedTuple):
    """Events of one block in playback order, as parallel sequences."""

    bodies: Sequence[Body]
    seqs: Sequence[int]
    own: bytes | None
    """Marks of each event (``splice``), a byte each; None if there are none."""
    times: Sequence[float]
    """Timestamps, ms; empty if nobody needs them."""

    def slice(self, start: int, limit: int) -> Events:
        return Events(
            self.bodies[start:limit],
            self.seqs[start:limit],
            self.own and self.own[start:limit],
            self.times[start:limit],
        )

    def pick(self, indices: Sequence[int]) -> Events:
        """Return some events, by their place here, which have timestamps."""
        return Events(
            [self.bodies[index] for index in indices],
            array("Q", [self.seqs[index] for index in indices]),
            self.own and bytes([self.own[index] for index in indices]),
            array("d", [self.times[index] for index in indices]),
        )


def take_apart(raw: bytes, header: BlockHeader, *, timed: bool) -> Events:
    """Take apart the decoded events of a block; with ``timed``, timestamps too.

    Takes as much memory again as ``raw``, and some 96 bytes an event. Raises ``ValueError`` if the
    lines are not what the header says.
    """
    seqs = range(header.first_seq, header.limit_seq)
    if is_plain(header) and not timed:
        return Events(_split(raw, header), seqs, None, ())
    found = look_at_lines(raw)
    times = array("d", [event.timestamp for event in found])
    own = _marks(found) if header.own_ids else None
    del found
    events = Events(_split(raw, header), seqs, own, times)
    if not header.ordered:
        events = _in_order(events)
    if (
        len(times) != header.event_count
        or events.times[0] != header.first_ts
        or events.times[-1] != header.last_ts
    ):
        raise ValueError("timestamps are not what the header says")
    return events


def as_arrived(raw: bytes, header: BlockHeader | BlockDraft) -> Events:
    """Take apart the decoded events of a block in the order in which they arrived, without timestamps.

    Takes memory and raises as ``take_apart`` does.
    """
    own = _marks(look_at_lines(raw)) if header.own_ids else None
    seqs = range(header.first_seq, header.first_seq + header.event_count)
    return Events(_split(raw, header), seqs, own, ())


def is_plain(header: BlockHeader) -> bool:
    """Tell whether a block's events can be viewed: they are in order, and none has members of our names."""
    return header.ordered and not header.own_ids


def are_long(header: BlockHeader) -> bool:
    """Tell whether a block's events are better viewed than copied."""
    return header.raw_size >= _VIEWED_LINE_BYTES * header.event_count


def view(raw: bytearray, header: BlockHeader) -> Events:
    """Take apart the decoded events of a plain block, at the start of ``raw``, without copying them.

    Bodies are views: good as long as ``raw`` is left alone. Takes some 190 bytes an event. Raises
    ``ValueError`` if the lines are not what the header says.
    """
    size, lines = header.raw_size, memoryview(raw)
    bodies: list[Body] = []
    start = 0
    while (limit := raw.find(b"\n", start, size)) >= 0:
        if raw[start] == _OPEN and raw[limit - 1] == _CLOSE:
            bodies.append(lines[start : limit - 1])
        else:
            bodies.append(bytes(lines[start:limit]).strip()[:-1])
        start = limit + 1
    _check_count(len(bodies), header)
    return Events(bodies, range(header.first_seq, header.limit_seq), None, ())


def _check_count(count: int, header: BlockHeader | BlockDraft) -> None:
    if count != header.event_count:
        raise ValueError(f"{count} lines where the header says {header.event_count}")


def _split(raw: bytes, header: BlockHeader | BlockDraft) -> list[bytes]:
    if len(raw) < header.event_count * _LONG_LINE_BYTES:
        bodies = raw.split(b"\n")
        bodies.pop()
        # In place, so that a large block is in memory twice and not three times.
        for index, line in enumerate(bodies):
            bodies[index] = line.strip()[:-1]
    else:
        bodies = []
        start = 0
        while (limit := raw.find(b"\n", start)) >= 0:
            if raw[start] == _OPEN and raw[limit - 1] == _CLOSE:
                bodies.append(raw[start : limit - 1])
            else:
                bodies.append(raw[start:limit].strip()[:-1])
            start = limit + 1
    _check_count(len(bodies), header)
    return bodies


def _in_order(events: Events) -> Events:
    # The sort is stable, so equal timestamps stay in order of arrival.
    order = sorted(range(len(events.bodies)), key=events.times.__getitem__)
    return events.pick(order)


def _marks(found: list[StoredEvent]) -> bytes:
    return bytes(
        [
            (event.sequence_id is not UNSET) * OWN_SEQUENCE
            + (event.recording_id is not UNSET) * OWN_RECORDING
            for event in found
        ]
    )
