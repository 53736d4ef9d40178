"""The outline of a recording: each event's time, number and kind in playback order, and nothing else of it.

Blocks are decoded one at a time and merged as for reading (``order``), with one byte in the place of each
event. Each block's checksum is looked at on the way.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import msgspec
from msgspec import UNSET, UnsetType

from rrd.errors import CorruptSegment
from rrd.nesting import outermost, without_lone_surrogates
from rrd.playback.bodies import Events
from rrd.playback.compose import Group, Grouping, is_lost_without_snapshot, kind_of
from rrd.playback.order import EVENT_OVERHEAD, Merge
from rrd.playback.table import PlaybackTable

_CUSTOM = 5


class OutlinedEvent(msgspec.Struct, gc=False):
    """What is looked at of an event."""

    type: float
    timestamp: float
    data: msgspec.Raw | UnsetType = UNSET


class _TagOnly(msgspec.Struct, gc=False):
    tag: msgspec.Raw = msgspec.Raw(b"")


_event = msgspec.json.Decoder(OutlinedEvent)
_tag = msgspec.json.Decoder(_TagOnly)
_text = msgspec.json.Decoder(str)


def groups_of(table: PlaybackTable, recording: int, *, bytes_max: int) -> Iterator[Group | None]:
    """Yield the groups of a recording in order; None now and then, where a caller may turn to others.

    Blocking. Memory: ``bytes_max`` for ``EVENT_OVERHEAD`` an event of blocks that overlap, and one decoded
    block. Raises like ``read_in_order``.
    """

    def cost_of(number: int) -> int:
        return EVENT_OVERHEAD * table.block(number)[1].event_count

    def load(block: int, *, timed: bool) -> Events:  # its times are all there is
        return _outlined(table, block)

    grouping = Grouping(recording)
    merge = Merge(table.first_ts, table.last_ts, load=load, cost_of=cost_of, bytes_max=bytes_max)
    for run in merge.runs():
        for time, seq, kind in zip(run.times, run.seqs, run.bodies, strict=True):
            if group := grouping.take((time, seq), bytes(kind)):
                yield group
        yield None
    yield grouping.finish()


def is_kept_without_snapshot(line: bytes) -> bool:
    """Tell whether an event stays in a group that has no FullSnapshot."""
    return not is_lost_without_snapshot(_kind(_look_at(line)))


def _outlined(table: PlaybackTable, number: int) -> Events:
    source, header = table.block(number)
    raw = source.events(header)
    try:
        found = _look_at_lines(raw)
    except ValueError as error:
        raise CorruptSegment(f"{error}, in the block", path=source.path, offset=header.offset) from error
    seqs: range | array[int] = range(header.first_seq, header.limit_seq)
    if len(found) != len(seqs):
        raise CorruptSegment("other lines than counted in the block", path=source.path, offset=header.offset)
    times = array("d", [event.timestamp for event in found])
    kinds = [_kind(event) for event in found]
    if not header.ordered:
        # The sort is stable, so equal timestamps stay in order of arrival.
        order = sorted(range(len(times)), key=times.__getitem__)
        times = array("d", [times[index] for index in order])
        kinds = [kinds[index] for index in order]
        seqs = array("Q", [seqs[index] for index in order])
    if times[0] != header.first_ts or times[-1] != header.last_ts:
        raise CorruptSegment(
            "timestamps are not what the header says", path=source.path, offset=header.offset
        )
    return Events(kinds, seqs, None, times)


def _look_at_lines(raw: bytes) -> list[OutlinedEvent]:
    try:
        return _event.decode_lines(raw)
    except (msgspec.DecodeError, RecursionError):
        # One line in it has a lone surrogate or nests deep, most likely; the others can still go fast.
        return [_look_at(line) for line in raw[:-1].split(b"\n")]


def _look_at(line: bytes) -> OutlinedEvent:
    try:
        return _event.decode(line)
    except (msgspec.DecodeError, RecursionError):
        line.decode()
    text = without_lone_surrogates(line)
    try:
        return _event.decode(text)
    except RecursionError:
        return _event.decode(outermost(text))


def _kind(event: OutlinedEvent) -> bytes:
    tag = ""
    if event.type == _CUSTOM and event.data is not UNSET:
        tag = _tag_of(bytes(event.data))
    return kind_of(event.type, tag)


def _tag_of(data: bytes) -> str:
    """Return the tag in a custom event's data; empty if there is none, or if it is no text."""
    try:
        try:
            found = _tag.decode(data)
        except RecursionError:
            found = _tag.decode(outermost(data))
        return _text.decode(without_lone_surrogates(bytes(found.tag)))
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors.
        return ""
