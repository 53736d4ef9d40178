"""What foreign files say about the events in them: whose they are, and what else is known.

One row of ``FORMATS`` is one kind of export: by which member it is recognised, which member is the id, and
which become metadata. Members are written as paths (``data.id``). A document of no known format may still
name a recording, under one of ``_SESSION_PATHS`` and ``_ID_PATHS``. Where objects with events stand in one
another, an inner one that names a session is that session's, and what names nothing belongs to the outer one.

**Which names count as ids?** A file's own word for it must look like an id on purpose, or unrelated files
would meet in one recording that is called ``snapshots``: a UUID does, with or without its dashes; where
`recording_ids` is "any" a random string does as well (``is_random``), and no other word does.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

ParseId = Callable[[str], str | None]

NOTES_MAX = 64
NOTE_BYTES_MAX = 4 << 10
_KNOWN_MAX = 1 << 12
_RANDOM_CHARACTERS_MIN = 16
_WINDOW_CHARACTERS_MAX = 128


class Format(NamedTuple):
    """One kind of export."""

    name: str
    """For people."""
    proof: tuple[str, ...]
    """Members that it has, all of them."""
    id: str
    metadata: dict[str, str]
    """Key of metadata → path of the member that is its value."""


FORMATS = (
    Format(
        "an export of the rrweb web extension",
        ("session.id", "session.recorderVersion"),
        "session.id",
        {
            "sessionId": "session.id",
            "name": "session.name",
            "tags": "session.tags",
            "createTimestamp": "session.createTimestamp",
            "recorderVersion": "session.recorderVersion",
        },
    ),
    Format("an export of PostHog", ("version", "data.id"), "data.id", {"sessionId": "data.id"}),
)
_SESSION_PATHS = (
    *("recordingId", "recording_id", "replayId", "replay_id", "sessionId", "session_id", "session.id"),
    *("data.recordingId", "data.sessionId", "data.replay_id", "properties.$session_id"),
)
_ID_PATHS = ("id", "data.id")
"""What they name may be a row or a chunk: what says more beats them."""

_HEX_ID = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
_TURNS = re.compile(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])")


@dataclass(eq=False)
class Origin:
    """What one object says of the events in it. It may say so behind them, hence ask at the end."""

    outer: Origin | None = None
    """Of the object around it, which counts where this one says nothing."""
    path: str = ""
    """What the outer one calls it, with a dot; empty for an array's element."""
    is_session: bool = False
    """It stands in ``sessions`` or the like, so that its ``id`` is no chunk's."""
    is_row: bool = False
    """It holds a single event, whose ``id`` is not a recording's."""
    notes: dict[str, bytes] = field(default_factory=dict)
    """Members that are no events, by path, as JSON."""

    def note(self, path: str, value: bytes) -> None:
        """Remember a member, unless there are too many, or it is too long for an id or metadata."""
        if len(value) <= NOTE_BYTES_MAX and (len(self.notes) < NOTES_MAX or path in self.notes):
            self.notes[path] = value
        if self.path and self.outer is not None:
            self.outer.note(self.path + path, value)

    def said(self, parse_id: ParseId) -> Said:
        own, weak = self.own(parse_id)
        outer = self.outer.said(parse_id) if self.outer is not None else Said()
        if own is not None:
            return own
        if weak is not None and (self.is_session or outer.session is None):
            return Said(weak)
        return outer

    def own(self, parse_id: ParseId) -> tuple[Said | None, str | None]:
        """Return what the object itself says of its session, and the id that may be meant otherwise."""
        for known in FORMATS:
            if all(path in self.notes for path in known.proof):
                texts = {key: _text(self.notes.get(path, b"null")) for key, path in known.metadata.items()}
                metadata = tuple((key, text) for key, text in texts.items() if text)
                return Said(stated_id(_text(self.notes[known.id]), parse_id), metadata), None
        session = self._stated(_SESSION_PATHS, parse_id)
        weak = None if self.is_row else self._stated(_ID_PATHS, parse_id)
        return (Said(session) if session is not None else None), weak

    def _stated(self, paths: Iterable[str], parse_id: ParseId) -> str | None:
        ids = (stated_id(_text(self.notes.get(path, b"null")), parse_id) for path in paths)
        return next((found for found in ids if found is not None), None)


class Origins:
    """The origins of one file: objects in the same place that say the same have the same one."""

    def __init__(self, parse_id: ParseId) -> None:
        self.parse_id = parse_id
        self.nothing = Origin()
        """For events that stand in no object."""
        self._known: dict[object, Origin] = {}

    def known(self, origin: Origin, notes: dict[str, bytes]) -> Origin:
        """Return the origin of an object with these notes, to which no others will be added."""
        for path, value in notes.items():
            origin.note(path, value)
        said, weak = origin.own(self.parse_id)
        if said is None and weak is None and origin.outer is not None and origin.path:
            return origin.outer
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        return self._known.setdefault((origin.outer, said, weak, origin.is_session, origin.is_row), origin)


class Said(NamedTuple):
    """What is known of a document's events."""

    session: str | None = None
    """A recording id."""
    metadata: tuple[tuple[str, str], ...] = ()


def stated_id(text: str, parse_id: ParseId) -> str | None:
    """Return the recording id that a file states in ``text``; None if it is not an id on purpose."""
    if _HEX_ID.fullmatch(text):
        return str(uuid.UUID(text))
    recording_id = parse_id(text)
    return (
        recording_id
        if recording_id is not None and (_is_uuid(recording_id) or is_random(recording_id))
        else None
    )


def is_random(text: str) -> bool:
    """Tell whether a string looks like a random id (nanoid, ULID): 16 characters or more, letters and digits
    mixed. ``recording``, ``export-2024`` and ``checkout-flow-final-2`` do not."""
    return len(text) >= _RANDOM_CHARACTERS_MIN and len(_TURNS.findall(text)) > 1


def named_id(stem: str, parse_id: ParseId) -> str | None:
    """Return the recording that a file's name tells: a UUID, whatever else the settings admit."""
    recording_id = parse_id(stem)
    return recording_id if recording_id is not None and _is_uuid(recording_id) else None


def window_id(session: str, window: str) -> str:
    """Return the id of a session's further window: the same one each time."""
    return _uuid8(hashlib.sha256(f"{session}\n{window}".encode()).digest())


class ContentId:
    """An id made of events: the same for the same events, whatever file they came in.

    A UUID of version 8 (RFC 9562, 5.8) of the SHA-256 sums of the events' and of the metadata's lines.
    """

    def __init__(self, window: str | None) -> None:
        """``window``: two windows of one session may hold the same events, and are two recordings."""
        self._events = hashlib.sha256()
        self._metadata = hashlib.sha256()
        self._window = window or ""

    def add(self, lines: bytes, *, is_metadata: bool) -> None:
        """Add lines, each ended by LF. Where they are parted makes no difference."""
        (self._metadata if is_metadata else self._events).update(lines)

    def value(self) -> str:
        parts = (self._events.digest(), self._metadata.digest(), self._window.encode())
        return _uuid8(hashlib.sha256(b"".join(parts)).digest())


def window_of(value: bytes) -> str | None:
    """Return the window that a member names, a string or a number; None if it is neither."""
    text = _text(value)
    return text if 0 < len(text) <= _WINDOW_CHARACTERS_MAX and value[:1] not in b"[{" else None


def metadata_line(metadata: Mapping[str, str], at_ms: float) -> bytes:
    """Return a ``recording-meta`` event, the same for the same values, so that it is recognised again."""
    event = {
        "type": 5,
        "timestamp": int(at_ms),
        "data": {"tag": "recording-meta", "payload": metadata},
    }
    # Not orjson: a daemon knows it again by its bytes, which earlier versions wrote so.
    return json.dumps(event).encode() + b"\n"


def flat(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the members of a JSON object; nothing if it is none."""
    # Not orjson, which refuses lone surrogates and integers of more than 64 bits: both are valid JSON.
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return
    if isinstance(found, dict):
        for name, member in found.items():
            yield name, json.dumps(member).encode()


def _text(value: bytes) -> str:
    """Return a note as text: strings without quotes; "" for null and what is empty."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return ""
    if found is None or found in ([], {}):
        return ""
    return found if isinstance(found, str) else json.dumps(found)


def _is_uuid(recording_id: str) -> bool:
    return len(recording_id) == 36 and _HEX_ID.fullmatch(recording_id.replace("-", "")) is not None


def _uuid8(digest: bytes) -> str:
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | 8 << 76  # version
    number = number & ~(0x3 << 62) | 2 << 62  # variant
    return str(uuid.UUID(int=number))
