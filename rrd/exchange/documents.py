"""JSON documents in pieces → their events, each as one line, with what stands around them.

Arrays and objects that hold events are taken apart while they come in, in whatever order they are nested
(``shapes`` tells them); nothing else is held whole but one event. So these are all one to it::

    [event, …]      [[event, …], …]      {"events": [event, …]}      {"data": {"snapshots": [event, …]}}
    {"<recordingId>": [event, …], …}     ["windowId", event]         {"window_id": "…", "data": [event, …]}
    "[event, …]" (JSON text as a string) and any of these run together, with or without commas
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rrd.errors import BrokenEncoding, TooLarge
from rrd.exchange.origins import NOTE_BYTES_MAX, Origin, Origins, flat, stated_id, window_of
from rrd.exchange.shapes import (
    NAMES,
    Kind,
    ObjectMember,
    holds_events,
    inner_text,
    kind_of,
    may_become_pair,
    members_of,
    next_name,
    pair_at,
    says_nothing,
)
from rrd.wire.limits import Limits
from rrd.wire.values import one_line, skip_space, value_end

LOOK_BYTES = 1 << 20
"""An object that is longer is taken for what its beginning shows. ``type`` stands there, in all but an event
whose long ``data`` comes first."""

_WINDOW_NAMES = ("window_id", "windowId")
_WINDOWS_NAME = "snapshotsByWindowId"
_SESSIONS_NAMES = frozenset({"sessions", "recordings", "replays"})
_EXPORT_MARK = b"\t"
"""What ``rrd export --format json`` puts before a recording's id."""


class Place(NamedTuple):
    """Where events stand."""

    origin: Origin
    recording_id: str | None = None
    """What the array they stand in is named, if that is a recording id."""
    window: str | None = None


class Found(NamedTuple):
    """Lines that stand together, each an event if all is well."""

    place: Place
    lines: list[bytes]


@dataclass(slots=True)
class _Frame:
    """An array or object that is open."""

    place: Place
    closing: int
    path: str = ""
    """Of an object that shares the origin of the one around it: what that calls it, with a dot."""
    is_of_windows: bool = False
    is_of_sessions: bool = False


class Documents:
    """JSON documents, in pieces → their events, each as one line."""

    def __init__(self, origins: Origins, limits: Limits, *, place: Place | None = None) -> None:
        """``place``: where it all stands, for text out of another document."""
        self._origins = origins
        self._limits = limits
        self._top = place or Place(origins.nothing)
        self._text = bytearray()
        self._looked_bytes = 0
        """Unfinished text that was looked at in vain; looking again only when it has doubled keeps the work
        in proportion to the text."""
        self._frames: list[_Frame] = []
        self._found: list[Found] = []
        self._found_bytes = 0
        self._ended = False

    def feed(self, window: bytes) -> Iterator[Found]:
        self._text += window
        if len(self._text) >= 2 * self._looked_bytes:
            yield from self._run()

    def whole(self) -> Iterator[Found]:
        """Yield what was fed and stands there whole: the text breaks off."""
        try:
            yield from self._run()
        except TooLarge:
            return  # Why the text breaks off is told already, and what came before that was yielded.

    def finish(self) -> Iterator[Found]:
        self._ended = True
        yield from self._run()
        rest = bytes(self._text).strip(b" \t\r\n,")
        if rest:
            # Cut off: whatever it is, it is no event, and is told as such.
            place = self._frames[-1].place if self._frames else self._top
            yield Found(place, [one_line(rest)])
        elif self._frames:
            raise BrokenEncoding("the JSON document ends before its last bracket")

    def _run(self) -> Iterator[Found]:
        at = 0
        try:
            while (limit := self._step(at)) is not None:
                at = limit
                if self._found_bytes >= self._limits.batch_bytes:
                    yield from self._take()
            if len(self._text) - at > self._limits.event_bytes_max:
                raise self._too_large()
        except TooLarge:
            yield from self._take()
            raise
        yield from self._take()
        del self._text[:at]
        self._looked_bytes = len(self._text)

    def _take(self) -> Iterator[Found]:
        found, self._found, self._found_bytes = self._found, [], 0
        yield from found

    def _step(self, at: int) -> int | None:
        """Take one value or bracket; return the offset behind it, None if more text is needed."""
        at = self._skip_between(at)
        if at == len(self._text):
            return None
        if not self._frames:
            return self._value(at, self._top)
        frame = self._frames[-1]
        if self._text[at] == frame.closing:
            self._frames.pop()
            return at + 1
        if frame.closing == ord("}"):
            return self._member(at, frame)
        return self._value(at, frame.place, in_sessions=frame.is_of_sessions)

    def _skip_between(self, at: int) -> int:
        at = skip_space(self._text, at)
        while self._text[at : at + 1] == b",":
            at = skip_space(self._text, at + 1)
        return at

    def _value(self, at: int, place: Place, *, name: str = "", in_sessions: bool = False) -> int | None:
        """Take a value that may hold events: at the top, in an array, or the member ``name``.

        ``in_sessions``: what it stands in is called so.
        """
        opening = self._text[at]
        if opening == ord("["):
            return self._open_array(at, place, is_of_sessions=in_sessions or name in _SESSIONS_NAMES)
        if opening == ord("{"):
            kind = self._kind(at)
            if kind is None:
                return None
            if kind == "wrapper":
                self._open_object(at, place, name, in_sessions=in_sessions)
                return at + 1
            if kind == "other" and not self._frames and says_nothing(self._text, at):
                return self._value_end(at)
        limit = self._value_end(at)
        if limit is None:
            return None
        inner = inner_text(self._text, at) if opening == ord('"') else None
        if inner is None or not self._add_inner(inner, place):
            self._add(place, one_line(bytes(self._text[at:limit])))
        return limit

    def _kind(self, at: int) -> Kind | None:
        kind = kind_of(self._text, at, may_go_on=not self._ended)
        if kind is None and len(self._text) - at > LOOK_BYTES:
            # It goes on, but what it begins with may say enough.
            return "wrapper" if kind_of(self._text, at, may_go_on=False) == "wrapper" else None
        return kind

    def _open_array(self, at: int, place: Place, *, is_of_sessions: bool) -> int | None:
        pair = pair_at(self._text, at)
        if pair is not None:
            self._frames.append(_Frame(place._replace(window=pair[0]), ord("]")))
            return pair[1]
        if may_become_pair(self._text, at) and not self._ended:
            return None
        self._frames.append(_Frame(place, ord("]"), is_of_sessions=is_of_sessions))
        return at + 1

    def _open_object(self, at: int, place: Place, name: str, *, in_sessions: bool) -> None:
        members = members_of(self._text, at)
        # What is unfinished is told in its turn, member by member.
        scalars = [member for member in members.found if self._text[member.value] not in b"[{"]
        notes = {
            member.name.decode("utf-8", "replace"): bytes(self._text[member.value : member.limit])
            for member in scalars
            if members.ended
        }
        says_more = any(
            self._text[member.value] == ord("{")
            and kind_of(self._text, member.value, may_go_on=False) != "event"
            for member in members.found
        )
        outer = place.origin if place.origin is not self._origins.nothing else None
        path = f"{name}." if name else ""
        origin = Origin(outer, path, in_sessions, self._is_row(members.found))
        is_all = members.ended and not says_more
        place = place._replace(origin=self._origins.known(origin, notes) if is_all else origin)
        window = next((notes[name] for name in _WINDOW_NAMES if name in notes), None)
        if window is not None:
            place = place._replace(window=window_of(window) or place.window)
        is_shared = place.origin is outer
        self._frames.append(
            _Frame(
                place,
                ord("}"),
                path if is_shared else "",
                is_of_windows=name == _WINDOWS_NAME,
                is_of_sessions=name in _SESSIONS_NAMES,
            )
        )

    def _is_row(self, members: list[ObjectMember]) -> bool:
        """Tell whether an object of these members holds one event rather than a list of them."""
        values = [member.value for member in members if self._text[member.value] in b'[{"']
        holding = [value for value in values if holds_events(self._text, value)]
        return bool(holding) and all(self._is_event(value) for value in holding)

    def _is_event(self, value: int) -> bool:
        if self._text[value] == ord('"'):
            inner = inner_text(self._text, value)
            return inner is None or (inner[:1] == b"{" and kind_of(inner, 0, may_go_on=False) == "event")
        return self._text[value] == ord("{") and kind_of(self._text, value, may_go_on=False) == "event"

    def _member(self, at: int, frame: _Frame) -> int | None:
        name = next_name(self._text, at)
        if name is None:
            # The beginning of a name; at the end of all, what is none is told.
            limit = self._value_end(at) if self._ended else None
            if limit is not None:
                self._add(frame.place, one_line(bytes(self._text[at:limit])))
            return limit
        value, text = name.end(), name[1].decode("utf-8", "replace")
        if self._text[value] in b'[{"':
            place = self._place_named(text, frame, is_marked=self._is_marked(name))
            is_named = name[1] in NAMES or place is not frame.place
            if (is_named and self._text[value] == ord("[")) or holds_events(self._text, value):
                return self._value(value, place, name=text, in_sessions=frame.is_of_sessions)
        limit = self._value_end(value)
        if limit is not None:
            self._note(frame, text, bytes(self._text[value : min(limit, value + NOTE_BYTES_MAX + 1)]))
        return limit

    def _is_marked(self, name: re.Match[bytes]) -> bool:
        """Tell whether an export says that a member's name is a recording's id, whatever it looks like."""
        return self._text[max(0, name.start(1) - 2) : name.start(1) - 1] == _EXPORT_MARK

    def _place_named(self, name: str, frame: _Frame, *, is_marked: bool) -> Place:
        """Return where the events in a member of this name stand."""
        if frame.is_of_windows:
            return frame.place._replace(window=name)
        parse_id = self._origins.parse_id
        recording_id = parse_id(name) if is_marked else stated_id(name, parse_id)
        return frame.place._replace(recording_id=recording_id) if recording_id is not None else frame.place

    def _note(self, frame: _Frame, name: str, value: bytes) -> None:
        """Remember a member that holds no events, and the members of an object one level down."""
        path = frame.path + name
        if name in _WINDOW_NAMES:
            frame.place = frame.place._replace(window=window_of(value) or frame.place.window)
        if value[:1] == b"{":
            for inner, member in flat(value):
                frame.place.origin.note(f"{path}.{inner}", member)
        else:
            frame.place.origin.note(path, value)

    def _add_inner(self, text: bytes, place: Place) -> bool:
        """Take JSON text that stood in a string; tell whether that worked."""
        inner = Documents(self._origins, self._limits, place=place)
        try:
            found = [*inner.feed(text), *inner.finish()]
        except (BrokenEncoding, TooLarge):
            return False
        self._found += found
        self._found_bytes += len(text)
        return bool(found)

    def _add(self, place: Place, line: bytes) -> None:
        if not self._found or self._found[-1].place != place:
            self._found.append(Found(place, []))
        self._found[-1].lines.append(line)
        self._found_bytes += len(line)

    def _value_end(self, at: int) -> int | None:
        limit = value_end(self._text, at)
        # A number or a word may go on in the next window.
        is_open = limit == len(self._text) and self._text[at] not in b'{["' and not self._ended
        if limit is None or is_open:
            return None
        if limit - at > self._limits.event_bytes_max:
            raise self._too_large()
        return limit

    def _too_large(self) -> TooLarge:
        return TooLarge(f"an event is larger than {self._limits.event_bytes_max} bytes")
