"""What packing must know of each line in a block: type, timestamp, and whether it has ids of its own."""

from __future__ import annotations

import json

import msgspec
from msgspec import UNSET, UnsetType

from rrd.nesting import outermost

META_TYPE = 4
"""``EventType.Meta`` of rrweb: a page, its address and its size. With it a page view begins."""


class Event(msgspec.Struct, gc=False, rename="camel"):
    """The members that packing looks at; all others are passed over unbuilt."""

    type: float
    timestamp: float
    sequence_id: msgspec.Raw | UnsetType = UNSET
    recording_id: msgspec.Raw | UnsetType = UNSET

    @property
    def own_ids(self) -> bool:
        return self.sequence_id is not UNSET or self.recording_id is not UNSET


_decoder = msgspec.json.Decoder(Event)


def look_at_lines(raw: bytes) -> list[Event]:
    """Return what there is to know of each line of ``raw``, which ends with an LF.

    Raises ``ValueError`` if a line is no event.
    """
    try:
        return _decoder.decode_lines(raw)
    except (msgspec.DecodeError, RecursionError):
        # One line in it has a lone surrogate or nests deep, most likely; the others can still go fast.
        return [_look_at(line) for line in raw[:-1].split(b"\n")]


def _look_at(line: bytes) -> Event:
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError:
        pass
    except RecursionError:
        line = outermost(line)
    # The standard library takes lone surrogate escapes, which are valid JSON (RFC 8259, 8.2). Integers
    # are read as floats, since Python refuses those of more than 4,300 digits.
    try:
        members = json.loads(line.decode(), parse_int=float)
    except RecursionError:
        members = json.loads(outermost(line).decode(), parse_int=float)
    if not isinstance(members, dict):
        raise ValueError("a line is not an event")  # noqa: TRY004  # the data is wrong, not an argument
    kind, timestamp = members.get("type"), members.get("timestamp")
    if not isinstance(kind, float) or not isinstance(timestamp, float):
        raise ValueError("a line is not an event")  # noqa: TRY004  # as above
    there = msgspec.Raw()
    return Event(
        kind,
        timestamp,
        there if "sequenceId" in members else UNSET,
        there if "recordingId" in members else UNSET,
    )
