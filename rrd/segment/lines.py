"""What packing and reading know of each line in a block: type, timestamp, and whether it has its own ids."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from rrd.nesting import outermost, without_lone_surrogates

SNAPSHOT_TYPE = 2
"""``EventType.FullSnapshot`` of rrweb: the whole page, from which a replayer can begin."""

META_TYPE = 4
"""``EventType.Meta`` of rrweb: a page, its address and its size. With it a page view begins."""


class StoredEvent(msgspec.Struct, gc=False, rename="camel"):
    """The members that are looked at; all others are passed over unbuilt."""

    type: float
    timestamp: float
    sequence_id: msgspec.Raw | UnsetType = UNSET
    recording_id: msgspec.Raw | UnsetType = UNSET

    @property
    def own_ids(self) -> bool:
        return self.sequence_id is not UNSET or self.recording_id is not UNSET


_decoder = msgspec.json.Decoder(StoredEvent)


def look_at_lines(raw: bytes) -> list[StoredEvent]:
    """Return what there is to know of each line of ``raw``, which ends with an LF.

    Raises ``ValueError`` if a line is no event.
    """
    try:
        return _decoder.decode_lines(raw)
    except (msgspec.DecodeError, RecursionError):
        # One line in it has a lone surrogate or nests deep, most likely; the others can still go fast.
        return [look_at_line(line) for line in raw[:-1].split(b"\n")]


def look_at_line(line: bytes) -> StoredEvent:
    """Return what there is to know of one line, without its LF. Raises ``ValueError`` if it is no event."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, RecursionError):
        line.decode()
    text = without_lone_surrogates(line)
    try:
        return _decoder.decode(text)
    except RecursionError:
        return _decoder.decode(outermost(text))
