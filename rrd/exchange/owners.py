"""Whose each event of a file is, going by where it stands and what it says; ``reading`` has the order.

**Added members come off again.** An event that was stored without ``sequenceId`` and ``recordingId`` must
come back without them, or it would be another event; one whose sender numbered it must keep its own. So an
export marks what it adds by a tab in front, which JSON allows (RFC 8259, section 2) and no serialiser
writes::

    {"type":3,"timestamp":1,"data":{}<TAB>,"sequenceId":7,"recordingId":"0b1c…"}

Bytes that the API answered with have no such mark: with ``ids="strip"`` the same members at an event's end
are taken off without it, with ``ids="keep"`` nothing is taken off at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

from rrd.exchange.documents import Found, Place
from rrd.exchange.lines import IN_RECORDING, own_recording, own_session, own_window
from rrd.exchange.origins import Origin, Origins, stated_id, window_of
from rrd.exchange.vendors import concerns, translate

Ids = Literal["auto", "keep", "strip"]

_TAIL_BYTES = 256
"""An event's end, long enough for what an export adds: a number, an id of 64 characters, and some space."""

_ID = rb'"([A-Za-z0-9_-]{8,64})"'
_NAMES = rb',"(?:recordingId|' + IN_RECORDING + rb')":'
_ADDED = rb'(?:,"sequenceId":[0-9]{1,20}(?:' + _NAMES + _ID + rb")?|" + _NAMES + _ID + rb")\}([ \t\r]*)\Z"
_MARKED = re.compile(rb"\t" + _ADDED)
_AS_THE_API = re.compile(rb"\t?" + _ADDED)
_SESSIONS_MAX = 1 << 12
_SESSION = re.compile(rb'"(?:(?:recording|replay|session)_id|(?:replay|session)Id)"')
_SPACE = re.compile(rb'((?:[^" \t\r\n]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")++)', re.DOTALL)


class Owner(NamedTuple):
    """Whose events are, as far as it shows where they stand."""

    recording_id: str | None
    """None: the origin must tell, or the events themselves."""
    origin: Origin
    window: str | None = None


class Owners:
    """Tells whose each line of one file is, and takes off what an export added."""

    def __init__(
        self, origins: Origins, *, recording_id: str | None, named: str | None, ids: Ids, bytes_max: int
    ) -> None:
        """``recording_id``: where all of them go; ``named``: what the file's name tells; ``bytes_max``: an
        event's size, for those that a recorder has compressed."""
        self._origins = origins
        self._chosen = recording_id
        self._named = named
        self._is_ours = ids == "keep"
        self._bytes_max = bytes_max
        self._added = {"auto": _MARKED, "strip": _AS_THE_API, "keep": None}[ids]
        self._last: str | None = None
        self._sessions: dict[tuple[Origin, str], Origin] = {}
        """By where events stand, and the session that they name."""

    def assign(self, found: Found) -> Iterator[tuple[Owner, list[bytes]]]:
        """Yield lines that stand together and belong together. A blank line belongs to those before it."""
        group: list[bytes] = []
        last: Owner | None = None
        for line in found.lines:
            owner, event = self._owner(found.place, line)
            if last is not None and owner != last:
                yield last, group
                group = []
            last = owner
            group.append(event)
        if last is not None:
            yield last, group

    def _owner(self, place: Place, line: bytes) -> tuple[Owner, bytes]:
        line, said, is_ours = self._without_added(line)
        if not is_ours and concerns(line):
            line = translate(line, bytes_max=self._bytes_max)
        if place.window is not None and self._chosen is None and said is None:
            return Owner(place.recording_id, place.origin, place.window), without_space(line)
        recording_id = self._chosen or said or place.recording_id or self._named
        if recording_id is None and b'"recordingId"' in line:
            own = own_recording(line)
            recording_id = self._origins.parse_id(own) if own is not None else None
        if recording_id is None and _SESSION.search(line) and (session := own_session(line)) is not None:
            place = self._of_session(place, session)
        if recording_id is None and place.origin is self._origins.nothing:
            recording_id = self._last
        self._last = recording_id
        if recording_id is not None:
            return Owner(recording_id, place.origin), line
        window = window_of(own_window(line)) if b'"windowId"' in line else None
        return Owner(None, place.origin, window), without_space(line)

    def _of_session(self, place: Place, session: str) -> Place:
        """Return where an event stands that names its session; nowhere else if that is no id on purpose."""
        key = (place.origin, session)
        if key not in self._sessions:
            if len(self._sessions) >= _SESSIONS_MAX:
                self._sessions.clear()
            origin = Origin(place.origin)
            # Not orjson: a note too long to be kept is told by its escaped form.
            origin.note("sessionId", json.dumps(session).encode())
            is_stated = stated_id(session, self._origins.parse_id) is not None
            self._sessions[key] = origin if is_stated else place.origin
        return place._replace(origin=self._sessions[key])

    def _without_added(self, line: bytes) -> tuple[bytes, str | None, bool]:
        """Return a line as it was sent, the recording that an export added, and whether it is one of ours."""
        if self._added is None or (added := self._added.search(line[-_TAIL_BYTES:])) is None:
            return line, None, self._is_ours
        said = self._origins.parse_id((added[1] or added[2] or b"").decode())
        start = max(0, len(line) - _TAIL_BYTES) + added.start()
        return line[:start] + b"}" + added[3], said, True


def without_space(line: bytes) -> bytes:
    """Return JSON without the white space between its tokens: what a serialiser's taste adds.

    An event that has no name but its content must be the same whether its file was written line by line,
    with blanks behind colons, or spread out for people.
    """
    try:
        return msgspec.json.format(line, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        # Lone surrogates, or very deep; what is no JSON at all is told as it stands.
        return b"".join(_SPACE.findall(line)) if line[:1] == b"{" and line[-1:] == b"}" else line
