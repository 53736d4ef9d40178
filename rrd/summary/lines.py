"""What a summary looks at in each line: one typed decode a line, with all that packing needs of it, too."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from rrd.nesting import outermost, without_lone_surrogates
from rrd.segment.lines import StoredEvent, look_at_line

DOM_CONTENT_LOADED, LOAD, FULL_SNAPSHOT, INCREMENTAL, META, CUSTOM, PLUGIN = range(7)
"""``EventType`` of rrweb."""


class EventKind(msgspec.Struct, gc=False):
    """The members of an event's ``data`` that tell what it is; all others are passed over unbuilt."""

    source: int = -1
    type: int = -1
    id: int = -1


class TellingEvent(StoredEvent, gc=False, rename="camel"):
    """An event as a summary sees it. ``data`` is None where it is missing, or not of the form above."""

    data: EventKind | None = None


class EventData(msgspec.Struct, gc=False):
    """What counts of the ``data`` of an event that is looked at for itself."""

    x: float = 0.0
    y: float = 0.0
    href: str = ""
    width: float = 0.0
    height: float = 0.0
    tag: str = ""
    plugin: str = ""
    payload: msgspec.Raw | UnsetType = UNSET


class _Event(msgspec.Struct, gc=False):
    data: EventData


class _ConsolePayload(msgspec.Struct, gc=False):
    level: str = ""


_decoder = msgspec.json.Decoder(TellingEvent)
_details = msgspec.json.Decoder(_Event)
_console = msgspec.json.Decoder(_ConsolePayload)


def look_closely(raw: bytes) -> list[TellingEvent]:
    """Return what a summary needs of each line of ``raw``, which ends with an LF.

    Takes and refuses the lines that ``segment.lines.look_at_lines`` takes and refuses: ``data`` of any form
    is legal. Raises ``ValueError`` if a line is no event.
    """
    try:
        return _decoder.decode_lines(raw)
    except (msgspec.DecodeError, RecursionError):
        return [_look_at(line) for line in raw[:-1].split(b"\n")]


def _look_at(line: bytes) -> TellingEvent:
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, RecursionError):
        plain = look_at_line(line)
    text = without_lone_surrogates(line)
    try:
        try:
            return _decoder.decode(text)
        except RecursionError:
            return _decoder.decode(outermost(text))
    except msgspec.DecodeError:
        return TellingEvent(plain.type, plain.timestamp, plain.sequence_id, plain.recording_id)


def details_of(line: bytes) -> EventData:
    """Return what counts of the data of an event: nothing where that has another form."""
    try:
        return _details.decode(line).data
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return _details.decode(outermost(without_lone_surrogates(line))).data
    except (ValueError, RecursionError):
        return EventData()


def level_of(payload: msgspec.Raw | UnsetType) -> str:
    """Return the level in a payload of rrweb's console plugin; empty if it has none."""
    if payload is UNSET:
        return ""
    try:
        return _console.decode(payload).level
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return _console.decode(outermost(without_lone_surrogates(bytes(payload)))).level
    except (ValueError, RecursionError):
        return ""
