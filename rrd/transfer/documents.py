"""JSON documents in pieces → their events, each as one line.

Known are an array of events, ``{"events":[…]}``, an object of such arrays by recording id, single
events, and any of these run together. An array is taken apart while it comes in; nothing else is held
whole but one event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal

from rrd.errors import BrokenEncoding, TooLarge
from rrd.wire.documents import split_document
from rrd.wire.values import one_line, skip_space, value_end

BATCH_BYTES = 1 << 20
"""Lines are given out when they have so many bytes."""

_NAME = re.compile(rb'[\s,]*"([^"\\]*)"\s*:\s*(?=\S)')
_BETWEEN = re.compile(rb"[\s,]*")
_EMPTY = re.compile(rb"\{\s*\}")
"""What ``rrd export --format json`` writes where there is no recording."""


def is_document(head: bytes, parse_id: Callable[[str], str | None]) -> bool:
    """Tell whether text that begins so is a JSON document rather than NDJSON."""
    start = skip_space(head, 0)
    if head[start : start + 1] == b"[":
        return True
    if head[start : start + 1] != b"{":
        return False
    if _is_wrapper(head, start, parse_id):
        return True
    # No line of NDJSON has a line break inside a value.
    limit = value_end(head, start) or len(head)
    return b"\n" in head[start:limit] or _EMPTY.match(head, start) is not None


class Documents:
    """JSON documents, in pieces → their events, each as one line."""

    def __init__(self, parse_id: Callable[[str], str | None], *, event_bytes_max: int) -> None:
        self._parse_id = parse_id
        self._event_bytes_max = event_bytes_max
        self._text = bytearray()
        self._looked_bytes = 0
        """Unfinished text that was looked at in vain; looking again only when it has doubled keeps the work
        in proportion to the text."""
        self._place: Literal["top", "members", "array"] = "top"
        self._in_object = False
        self._hint: str | None = None
        self._found: list[bytes] = []
        self._found_bytes = 0
        self._ended = False

    def feed(self, window: bytes) -> Iterator[tuple[str | None, list[bytes]]]:
        self._text += window
        if len(self._text) >= 2 * self._looked_bytes:
            yield from self._run()

    def finish(self) -> Iterator[tuple[str | None, list[bytes]]]:
        self._ended = True
        yield from self._run()
        rest = bytes(self._text).strip()
        if rest:
            # Cut off: whatever it is, it is no event, and is told as such.
            yield self._hint, [one_line(rest)]
        elif self._place != "top":
            raise BrokenEncoding("the JSON document ends before its last bracket")

    def _run(self) -> Iterator[tuple[str | None, list[bytes]]]:
        at = 0
        try:
            while (limit := self._step(at)) is not None:
                at = limit
                if self._found_bytes >= BATCH_BYTES or self._place != "array":
                    yield from self._take()
            if len(self._text) - at > self._event_bytes_max:
                raise self._too_large()
        except TooLarge:
            yield from self._take()
            raise
        yield from self._take()
        del self._text[:at]
        self._looked_bytes = len(self._text)

    def _take(self) -> Iterator[tuple[str | None, list[bytes]]]:
        if self._found:
            found, self._found, self._found_bytes = self._found, [], 0
            yield self._hint, found

    def _step(self, at: int) -> int | None:
        """Take one value or bracket; return the offset behind it, None if more text is needed."""
        between = _BETWEEN.match(self._text, at)
        at = between.end() if between else at
        if at == len(self._text):
            return None
        if self._place == "array":
            return self._leave_array(at) if self._text[at] == ord("]") else self._element(at)
        return self._member(at) if self._place == "members" else self._begin(at)

    def _begin(self, at: int) -> int | None:
        """Take what stands in no array: one opens here, or it is an event."""
        text = self._text
        if text[at] == ord("["):
            self._place, self._hint, self._in_object = "array", None, False
            return at + 1
        if text[at] == ord("{"):
            if (empty := _EMPTY.match(text, at)) is not None:
                return empty.end()
            is_wrapper = _is_wrapper(text, at, self._parse_id)
            if is_wrapper is None and not self._ended:
                return None
            if is_wrapper:
                self._place, self._in_object = "members", True
                return at + 1
        limit = self._value_end(at)
        for line in split_document(bytes(text[at:limit])) if limit is not None else ():
            self._add(line)
        return limit

    def _leave_array(self, at: int) -> int:
        self._place = "members" if self._in_object else "top"
        return at + 1

    def _element(self, at: int) -> int | None:
        limit = self._value_end(at)
        if limit is not None:
            self._add(one_line(bytes(self._text[at:limit])))
        return limit

    def _member(self, at: int) -> int | None:
        if self._text[at] == ord("}"):
            self._place, self._in_object, self._hint = "top", False, None
            return at + 1
        name = _NAME.match(self._text, at)
        if name is None:
            return None
        if self._text[name.end()] == ord("[") and _names_events(name[1], self._parse_id):
            self._place = "array"
            self._hint = self._parse_id(name[1].decode("utf-8", "replace"))
            return name.end() + 1
        return self._value_end(name.end())

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

    def _add(self, line: bytes) -> None:
        self._found.append(line)
        self._found_bytes += len(line)


def _is_wrapper(text: bytes | bytearray, start: int, parse_id: Callable[[str], str | None]) -> bool | None:
    """Tell whether the object at ``start`` holds arrays of events; None if that doesn't show yet."""
    at: int | None = start + 1
    while at is not None and (name := _NAME.match(text, at)) is not None:
        if name[1] == b"type":
            return False
        if text[name.end()] == ord("[") and _names_events(name[1], parse_id):
            return True
        at = value_end(text, name.end())
    # Its end, or something that is no member.
    return False if at is not None and skip_space(text, at) < len(text) else None


def _names_events(name: bytes, parse_id: Callable[[str], str | None]) -> bool:
    return name == b"events" or parse_id(name.decode("utf-8", "replace")) is not None
