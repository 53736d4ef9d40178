"""JSON documents in pieces → their events, each as one line, with what the document says of their owner.

People have events in arrays, in arrays of arrays, and in objects of many tools. ``docs/import.md`` lists
the forms; what they have in common is read here:

- An **array** holds events, arrays of events, or a window's id in front of its events.
- A **wrapper** is an object that is no event and holds an array of events under one of ``_EVENT_ARRAYS``,
  or under a recording's id.
- A **string** that begins with a bracket is a document inside a string.

Arrays are taken apart while they come in: no more is held than one event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rrd.errors import BrokenEncoding, TooLarge
from rrd.ids import parse_recording_id
from rrd.transfer.foreign import is_packed, session_event, unquoted
from rrd.wire.documents import split_document
from rrd.wire.values import one_line, skip_space, value_end

BATCH_BYTES = 1 << 20
"""Lines are given out when they have so many bytes."""

_NAME = re.compile(rb'[\s,]*"([^"\\]*)"\s*:\s*(?=\S)')
_BETWEEN = re.compile(rb"[\s,]*")
_EMPTY = re.compile(rb"\{\s*\}")
"""What ``rrd export --format json`` writes where there is no recording."""
_TYPE = re.compile(rb"-?[0-9]")
_DOCUMENT_IN_STRING = re.compile(rb'"\s*(?:\[|\{\s*\\")')

_EVENT_ARRAYS = {b"events", b"snapshots", b"rrwebEvents", b"rrweb_events", b"recording", b"data"}
_IDS = {b"id", b"recordingId", b"recording_id"}
_WINDOWS = {b"windowId", b"window_id"}
_SESSION = b"session"
_NANOID_LENGTH = 21
"""What the library makes unless it is told otherwise; the rrweb web extension uses it so."""

ParseId = Callable[[str], str | None]


class Owner(NamedTuple):
    """What a document says of whose its events are."""

    recording: str | None = None
    """The recording's id."""
    window: str | None = None
    """The browser window or tab; each has a stream of its own."""


@dataclass
class _Level:
    """A bracket that is open."""

    is_array: bool
    owner: Owner
    is_fresh: bool = True
    """Nothing has stood in it yet."""


class Documents:
    """JSON documents, in pieces → their events, each as one line."""

    def __init__(self, parse_id: ParseId, *, event_bytes_max: int) -> None:
        """``parse_id`` returns the canonical form of what may name a recording, None for anything else."""
        self._parse_id = parse_id
        self._event_bytes_max = event_bytes_max
        self._text = bytearray()
        self._looked_bytes = 0
        """Unfinished text that was looked at in vain; looking again only when it has doubled keeps the work
        in proportion to the text."""
        self._levels: list[_Level] = []
        self._owner = Owner()
        self._found: list[bytes] = []
        self._found_bytes = 0
        self._said = b""
        """An event made of what a wrapper says, which belongs to the owner that it names."""
        self._ended = False

    def feed(self, window: bytes) -> Iterator[tuple[Owner, list[bytes]]]:
        """Take text in; yield the events that it completes. Raises ``TooLarge``."""
        self._text += window
        if len(self._text) >= 2 * self._looked_bytes:
            yield from self._run()

    def finish(self) -> Iterator[tuple[Owner, list[bytes]]]:
        """Yield the rest. Raises ``BrokenEncoding`` if a bracket is still open."""
        self._ended = True
        yield from self._run()
        rest = bytes(self._text).strip()
        if rest:
            # A document that is cut off leaves this. It is no event, and is reported as such.
            yield self._owner, [one_line(rest)]
        elif self._levels:
            raise BrokenEncoding("the JSON document ends before its last bracket")

    def _run(self) -> Iterator[tuple[Owner, list[bytes]]]:
        at = 0
        try:
            while (limit := self._step(at)) is not None:
                at = limit
                if self._found_bytes >= BATCH_BYTES:
                    yield from self._take()
                if self._level_owner() != self._owner:
                    yield from self._take()
                    self._owner = self._level_owner()
                if self._said:
                    self._add(self._said)
                    self._said = b""
            if len(self._text) - at > self._event_bytes_max:
                raise self._too_large()
        except TooLarge:
            yield from self._take()
            raise
        yield from self._take()
        del self._text[:at]
        self._looked_bytes = len(self._text)

    def _take(self) -> Iterator[tuple[Owner, list[bytes]]]:
        if self._found:
            found, self._found, self._found_bytes = self._found, [], 0
            yield self._owner, found

    def _level_owner(self) -> Owner:
        return self._levels[-1].owner if self._levels else Owner()

    def _step(self, at: int) -> int | None:
        """Take one value or bracket; return the offset behind it, None if more text is needed."""
        between = _BETWEEN.match(self._text, at)
        at = between.end() if between else at
        if at == len(self._text):
            return None
        if self._levels and not self._levels[-1].is_array:
            return self._member(at)
        if self._levels and self._text[at] == ord("]"):
            self._levels.pop()
            return at + 1
        return self._value(at)

    def _value(self, at: int) -> int | None:
        """Take a value at the top or in an array: a bracket opens, or it is an event."""
        text = self._text
        if text[at] == ord("["):
            self._open(is_array=True)
            return at + 1
        if text[at] == ord("{"):
            if not self._levels and (empty := _EMPTY.match(text, at)) is not None:
                return empty.end()
            is_wrapper = _is_wrapper(text, at, self._parse_id)
            if is_wrapper is None and not self._ended:
                return None
            if is_wrapper:
                self._open(is_array=False)
                return at + 1
        limit = self._value_end(at)
        if limit is not None:
            self._take_value(bytes(text[at:limit]))
        return limit

    def _open(self, *, is_array: bool, owner: Owner | None = None) -> None:
        owner = owner or self._level_owner()
        if self._levels:
            self._levels[-1].is_fresh = False
        self._levels.append(_Level(is_array, owner))

    def _take_value(self, value: bytes) -> None:
        level = self._levels[-1] if self._levels else None
        is_first = level is not None and level.is_fresh
        if level is not None:
            level.is_fresh = False
        if _DOCUMENT_IN_STRING.match(value) and (document := unquoted(value)) is not None:
            self._add_all(split_document(document.encode()))
        elif level is not None and is_first and value[:1] == b'"' and not is_packed(value):
            level.owner = level.owner._replace(window=unquoted(value))
        elif is_first and value == b"null" and len(self._levels) > 1:
            pass  # [null, event]: no window is known.
        elif level is not None:
            self._add(one_line(value))
        else:
            self._add_all(split_document(value))

    def _member(self, at: int) -> int | None:
        """Take one member of a wrapper."""
        text = self._text
        if text[at] == ord("}"):
            self._levels.pop()
            return at + 1
        name = _NAME.match(text, at)
        if name is None:
            return None
        level, start = self._levels[-1], name.end()
        recording = _recording_named(name, self._parse_id)
        if text[start] == ord("[") and (recording or name[1] in _EVENT_ARRAYS):
            owner = level.owner._replace(recording=recording) if recording else level.owner
            self._open(is_array=True, owner=owner)
            return start + 1
        if text[start] == ord("{") and name[1] in _EVENT_ARRAYS:
            self._open(is_array=False)
            return start + 1
        limit = self._value_end(start)
        if limit is not None:
            self._note(level, name[1], bytes(text[start:limit]))
        return limit

    def _note(self, level: _Level, name: bytes, value: bytes) -> None:
        """Keep what a member says of the events behind it."""
        if name == _SESSION:
            said, event = session_event(value)
            self._said = event or b""
        elif value[:1] == b'"' and name in _IDS | _WINDOWS:
            said = unquoted(value)
        else:
            return
        if name in _WINDOWS:
            level.owner = level.owner._replace(window=said)
        elif said is not None and (recording := self._parse_id(said)) is not None:
            level.owner = level.owner._replace(recording=recording)

    def _value_end(self, at: int) -> int | None:
        limit = value_end(self._text, at)
        # A number or a word may go on in the next window.
        is_open = limit == len(self._text) and self._text[at] not in b'{["' and not self._ended
        if limit is None or is_open:
            return None
        if limit - at > self._event_bytes_max:
            raise self._too_large()
        return limit

    def _too_large(self) -> TooLarge:
        return TooLarge(f"an event is larger than {self._event_bytes_max} bytes")

    def _add_all(self, lines: Iterator[bytes]) -> None:
        for line in lines:
            self._add(line)

    def _add(self, line: bytes) -> None:
        self._found.append(line)
        self._found_bytes += len(line)


def is_document(head: bytes, parse_id: ParseId) -> bool:
    """Tell whether text that begins so is a JSON document rather than NDJSON."""
    start = skip_space(head, 0)
    if head[start : start + 1] == b"[" or _DOCUMENT_IN_STRING.match(head, start):
        return True
    if head[start : start + 1] != b"{":
        return False
    if _is_wrapper(head, start, parse_id):
        return True
    # No line of NDJSON has a line break inside a value.
    limit = value_end(head, start) or len(head)
    return b"\n" in head[start:limit] or _EMPTY.match(head, start) is not None


def _is_wrapper(text: bytes | bytearray, start: int, parse_id: ParseId) -> bool | None:
    """Tell whether the object at ``start`` holds arrays of events; None if that doesn't show yet.

    An event has an integer ``type``, so a member of that name settles it. ``data`` is an event's member, too:
    it counts only in an object whose earlier members are none of an event's.
    """
    at: int | None = start + 1
    is_foreign = False
    while at is not None and (name := _NAME.match(text, at)) is not None:
        value = name.end()
        if name[1] == b"type" and _TYPE.match(text, value):
            return False
        is_array = text[value] == ord("[")
        if name[1] == b"data":
            if is_foreign and (is_array or _is_wrapper(text, value, parse_id)):
                return True
        elif is_array and (name[1] in _EVENT_ARRAYS or _recording_named(name, parse_id)):
            return True
        is_foreign = is_foreign or name[1] in _WINDOWS or name[1] == b"version"
        at = value_end(text, value)
    # Its end, or something that is no member.
    return False if at is not None and skip_space(text, at) < len(text) else None


def _recording_named(name: re.Match[bytes], parse_id: ParseId) -> str | None:
    """Return the recording that a member's name says: a UUID, or any id where an export marked it."""
    text = name[1].decode("utf-8", "replace")
    recording = parse_id(text)
    is_marked = name.string[name.start(1) - 2 : name.start(1) - 1] == b"\t"
    return recording if recording and (is_marked or is_intended(text)) else None


def is_intended(text: str) -> bool:
    """Tell whether a name looks like an id on purpose: a UUID, or what nanoid makes.

    ``snapshots`` or ``recording-2`` may be admitted as ids, and still are only words.
    """
    return parse_recording_id(text) is not None or (
        len(text) == _NANOID_LENGTH and all(re.search(kind, text) for kind in ("[0-9]", "[a-z]", "[A-Z]"))
    )
