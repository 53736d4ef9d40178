"""One event's JSON: what is read of it, and what to say where it is none.

``Limits.nesting_max`` says to the level how deep an event may nest. The parser gives up long before (in
CPython 3.11 at some 950 levels). Counting the levels of what it takes would cost as much as all the rest, so
only a line that it gives up on is measured, and checked piece by piece (``rrd.nesting``).
"""

from __future__ import annotations

import codecs
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from rrd.nesting import TooDeep, is_too_deep, outermost, parser_takes, pieces, without_lone_surrogates
from rrd.wire.values import last_member

_TIME_MAX = 8_640_000_000_000_000
"""The greatest time value of ECMAScript (ECMA-262, "Time Values and Time Range"), ms either way:
no browser's clock says more, and every such number is exact as a double."""

Timestamp = (
    Annotated[int, Meta(ge=-_TIME_MAX, le=_TIME_MAX)]
    | Annotated[float, Meta(ge=-float(_TIME_MAX), le=float(_TIME_MAX))]
)

Reason = Literal[
    "invalid_utf8",
    "not_json",
    "not_an_object",
    "bad_type",
    "bad_timestamp",
    "too_deep",
    "too_large",
    "bad_packed_event",
    "bad_metadata",
    "too_many_bad_events",
    "cut_off",
    "broken_encoding",
]

SNAPSHOT, META = 2, 4
"""``EventType.FullSnapshot`` and ``EventType.Meta`` of rrweb: with them a page begins."""

CUSTOM = 5
"""``EventType.Custom`` of rrweb: an event with a tag and a payload."""

_PART_BYTES = 4 << 10


class Refusal(Exception):
    """A line or value is no event."""

    def __init__(self, reason: Reason) -> None:
        self.reason: Reason = reason


class ParsedEvent(msgspec.Struct, gc=False):
    """Any event."""

    type: int
    timestamp: Timestamp
    sequenceId: msgspec.Raw | UnsetType = UNSET  # noqa: N815
    recordingId: msgspec.Raw | UnsetType = UNSET  # noqa: N815
    data: msgspec.Raw | UnsetType = UNSET


class Tagged(msgspec.Struct):
    """The data of a custom event."""

    tag: str = ""
    payload: msgspec.Raw = msgspec.Raw(b"null")


_event = msgspec.json.Decoder(ParsedEvent).decode
_any = msgspec.json.Decoder(msgspec.Raw).decode
_tagged = msgspec.json.Decoder(Tagged | None)  # data may be null


def parse(line: bytes, nesting_max: int) -> ParsedEvent:
    """Read an event. Raises ``Refusal`` if ``line`` is none; UTF-8 inside strings is not looked at."""
    try:
        event = _parse_as_it_is(line)
    except RecursionError:
        event = _parse_deep(line, nesting_max)
    else:
        if parser_takes(nesting_max) and is_too_deep(line, nesting_max):
            raise Refusal("too_deep")
    return event


def _parse_as_it_is(line: bytes) -> ParsedEvent:
    try:
        return _event(line)
    except msgspec.ValidationError as error:
        raise Refusal(_reason(str(error))) from None
    except msgspec.DecodeError:
        pass
    # A lone surrogate is valid JSON (RFC 8259, section 8.2) that fast parsers refuse. A stand-in of
    # the same length shows whether it was only that; the event keeps its own bytes.
    try:
        return _event(without_lone_surrogates(line))
    except msgspec.ValidationError as error:
        raise Refusal(_reason(str(error))) from None
    except msgspec.DecodeError:
        raise Refusal("not_json") from None


def _parse_deep(line: bytes, nesting_max: int) -> ParsedEvent:
    """Read an event that nests deeper than the parser goes. ``data`` is read of custom events only."""
    outer = b""
    try:
        for outer in pieces(without_lone_surrogates(line), nesting_max=nesting_max):
            _any(outer)
        event = _event(outer)
    except TooDeep:
        raise Refusal("too_deep") from None
    except msgspec.ValidationError as error:
        raise Refusal(_reason(str(error))) from None
    except ValueError:  # msgspec's own errors among them.
        raise Refusal("not_json") from None
    if event.type == CUSTOM:
        # Not from the piece, in which deep values are missing.
        event.data = msgspec.Raw(last_member(line, b"data") or b"null")
    return event


def _reason(message: str) -> Reason:
    if "`$.timestamp`" in message or "field `timestamp`" in message:
        return "bad_timestamp"
    if "`$.type`" in message or "field `type`" in message:
        return "bad_type"
    return "not_an_object"


def tagged_data(event: ParsedEvent) -> Tagged | None:
    """Return tag and payload of a custom event; None if it is somebody else's, without such."""
    if event.data is UNSET:
        return None
    data = bytes(event.data)
    for text in (data, without_lone_surrogates(data)):
        try:
            tagged: Tagged | None = _tagged.decode(text)
        except (msgspec.ValidationError, UnicodeDecodeError):
            return None  # A tag that is no string.
        except msgspec.DecodeError:
            continue
        except RecursionError:
            return _deep_tagged(text)
        return tagged
    return None


def _deep_tagged(data: bytes) -> Tagged | None:
    try:
        tagged: Tagged | None = _tagged.decode(outermost(without_lone_surrogates(data)))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if tagged is not None:
        tagged.payload = msgspec.Raw(last_member(data, b"payload") or b"null")
    return tagged


def is_utf8(text: bytes) -> bool:
    """Tell whether ``text`` is UTF-8."""
    try:
        check_utf8(text)
    except UnicodeDecodeError:
        return False
    return True


def check_utf8(text: bytes) -> None:
    """Raise ``UnicodeDecodeError`` if ``text`` is no UTF-8."""
    if text.isascii():
        return
    # In parts: most of a page's text is ASCII, of which telling so takes a tenth of the time of decoding.
    start, size = 0, len(text)
    while start < size:
        part = text[start : start + _PART_BYTES]
        if part.isascii():
            start += _PART_BYTES
        else:
            # What a part's edge cuts off is left over, and comes first in the next.
            start += codecs.utf_8_decode(part, "strict", start + _PART_BYTES >= size)[1]
