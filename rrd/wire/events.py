"""Lines → a batch of checked events.

An event is a JSON object with an integer ``type`` and a numeric ``timestamp``; nothing else of it is
built, and its bytes are passed on untouched. Almost all lines are *plain*: no custom event, no number of
their own. A batch of plain lines is checked by one parser call a line (``_Plain`` refuses whatever is not
plain); only where that fails does each line take the careful way, which knows ``recording-meta``, packed
events, lone surrogates and what to say about a bad line.

``Limits.nesting_max`` says to the level how deep an event may nest. The parser gives up long before (in
CPython 3.11 at some 950 levels). Counting the levels of what it takes would cost as much as all the rest, so
only a line that it gives up on is measured, and checked piece by piece (``rrd.nesting``).
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from rrd.nesting import TooDeep, is_too_deep, outermost, parser_takes, pieces
from rrd.wire.limits import Limits
from rrd.wire.metadata import BadPair, read_metadata
from rrd.wire.packed import unpack
from rrd.wire.values import last_member, leading_values, without_lone_surrogates

_TIME_MAX = 8_640_000_000_000_000
"""The greatest time value of ECMAScript (ECMA-262, "Time Values and Time Range"), ms either way:
no browser's clock says more, and every such number is exact as a double."""

Timestamp = (
    Annotated[int, Meta(ge=-_TIME_MAX, le=_TIME_MAX)]
    | Annotated[float, Meta(ge=-float(_TIME_MAX), le=float(_TIME_MAX))]
)
_Never = Annotated[int, Meta(ge=1, le=0)]

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
    "cut_off",
    "broken_encoding",
]


class _Plain(msgspec.Struct, gc=False):
    """An event that needs no second look. Custom events (type 5) may carry metadata."""

    type: Literal[0, 1, 2, 3, 4, 6, 7]
    timestamp: Timestamp
    sequenceId: _Never | UnsetType = UNSET  # noqa: N815  # names of the API
    recordingId: _Never | UnsetType = UNSET  # noqa: N815


class _Event(msgspec.Struct, gc=False):
    """Any event."""

    type: int
    timestamp: Timestamp
    sequenceId: msgspec.Raw | UnsetType = UNSET  # noqa: N815
    recordingId: msgspec.Raw | UnsetType = UNSET  # noqa: N815
    data: msgspec.Raw | UnsetType = UNSET


class _Tagged(msgspec.Struct):
    tag: str = ""
    payload: msgspec.Raw = msgspec.Raw(b"null")


_plain = msgspec.json.Decoder(_Plain).decode
_event = msgspec.json.Decoder(_Event).decode
_any = msgspec.json.Decoder(msgspec.Raw).decode
_tagged = msgspec.json.Decoder(_Tagged | None)  # data may be null

Line = bytes | bytearray | memoryview
"""An event's bytes, without the LF."""

_PART_BYTES = 16 << 10
_VIEWS_MAX = 1 << 14
"""A view takes 200 bytes, and junk may be lines of one."""

_LONG_MESSAGE_BYTES = 1 << 10
"""From this mean on it costs less to search messages one by one than to put them together first."""

_CUSTOM = 5
_METADATA_TAG = "recording-meta"
_CLOSE_TAG = "close-permanent"


class Rejected(NamedTuple):
    """A line kept out of the events: its number in its body or socket (from 1), why, and its bytes."""

    line: int
    reason: Reason
    raw: bytes


class MetadataEvent(NamedTuple):
    """A ``recording-meta`` event: its line's number, the good pairs of it, its bytes, the bad pairs."""

    line: int
    values: dict[str, str]
    raw: bytes
    bad: tuple[BadPair, ...] = ()


class Batch(NamedTuple):
    """Checked events of one sender, in the order in which they came."""

    payload: bytes
    """The events, each ended by one LF."""
    event_count: int
    first_ts: float
    """Least timestamp, ms; 0 without events."""
    last_ts: float
    ordered: bool
    """Timestamps never decrease."""
    own_ids: bool
    """At least one event may have a ``sequenceId`` or ``recordingId`` of its own."""
    metadata: tuple[MetadataEvent, ...]
    """``recording-meta`` events; they are not among the events."""
    rejected: tuple[Rejected, ...]
    limit_line: int
    """Number of the line after the last."""
    closes: bool = False
    """A ``close-permanent`` event is among the events: the page says that the recording is over."""


def check_messages(messages: Sequence[bytes], limits: Limits, *, first_line: int) -> Batch:
    """Check WebSocket messages, each of which is one line or many; a message's end ends a line.

    All of it is held at once, some ten times over if it is junk: this is for messages gathered up to
    ``limits.batch_bytes``. A larger message is better fed to a ``Decoder``. A message may be a bytearray,
    too; what is returned holds bytes only.
    """
    payload = b"\n".join((*messages, b""))
    if not _has_line_feed(messages, len(payload)):
        return check_lines(messages, limits, first_line=first_line, payload=payload)
    payload = b"".join([message if message[-1:] == b"\n" else message + b"\n" for message in messages])
    return check_lines(split_lines(payload), limits, first_line=first_line, payload=payload)


def _has_line_feed(messages: Sequence[bytes], size: int) -> bool:
    if size < _LONG_MESSAGE_BYTES * len(messages):
        return b"\n" in b"".join(messages)  # Copying and searching is faster than counting what is found.
    return any(b"\n" in message for message in messages)


def split_lines(payload: bytes) -> list[Line]:
    """Return the lines of ``payload``, each ended by LF, as views without it.

    (``bytes.split`` looks at bytes one by one and copies them: on the corpus a third as fast.)
    """
    view, find = memoryview(payload), payload.find
    lines: list[Line] = []
    start = 0
    while (limit := find(b"\n", start)) >= 0:
        lines.append(view[start:limit])
        start = limit + 1
        if len(lines) > _VIEWS_MAX:
            return list(payload.split(b"\n")[:-1])
    return lines


def check_lines(
    lines: Sequence[Line],
    limits: Limits,
    *,
    first_line: int,
    payload: bytes | None = None,
    may_end_early: bool = False,
) -> Batch:
    """Check lines without their LFs. ``payload``, if given, is the same lines, each ended by LF.

    Packed events may make a batch far larger than its lines. Once ``limits.event_bytes_max`` was
    unpacked, more of them are refused as ``too_large``. With ``may_end_early`` the batch ends before that,
    at ``limits.batch_bytes``; its ``limit_line`` tells, and the other lines are left to the caller.
    """
    if payload is None:
        payload = b"\n".join(lines) + b"\n" if lines else b""
    try:
        _check_utf8(payload)
        # A call a line: ``decode_lines`` is half as fast again, but to it a line's end is any white space.
        stamps = [event.timestamp for event in map(_plain, lines)]
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return _check_carefully(lines, limits, first_line, may_end_early=may_end_early)
    line_bytes_max = max(map(len, lines), default=0)
    if line_bytes_max > limits.event_bytes_max or _has_deep_line(lines, limits.nesting_max, line_bytes_max):
        return _check_carefully(lines, limits, first_line, may_end_early=may_end_early)
    return _batch(payload, stamps, limit_line=first_line + len(lines))


def _is_utf8(text: bytes) -> bool:
    try:
        _check_utf8(text)
    except UnicodeDecodeError:
        return False
    return True


def _has_deep_line(lines: Sequence[Line], nesting_max: int, line_bytes_max: int) -> bool:
    """Tell whether a line that the parser took nests deeper than ``nesting_max``: never, if that is high."""
    if line_bytes_max <= 2 * nesting_max or not parser_takes(nesting_max):
        return False
    return any(len(line) > 2 * nesting_max and is_too_deep(bytes(line), nesting_max) for line in lines)


def _check_utf8(text: bytes) -> None:
    # In parts that stay in the nearest cache: decoded text takes up to four bytes a character.
    if text.isascii():
        return
    view, start = memoryview(text), 0
    while start < len(text):
        limit = start + _PART_BYTES
        # What a part's edge cuts off is left over, and comes first in the next.
        start += codecs.utf_8_decode(view[start:limit], "strict", limit >= len(text))[1]


def _batch(
    payload: bytes,
    stamps: list[int | float],
    *,
    limit_line: int,
    own_ids: bool = False,
    metadata: tuple[MetadataEvent, ...] = (),
    rejected: tuple[Rejected, ...] = (),
    closes: bool = False,
) -> Batch:
    if not stamps:
        return Batch(b"", 0, 0.0, 0.0, True, False, metadata, rejected, limit_line)
    in_order = sorted(stamps)
    return Batch(
        payload,
        len(stamps),
        in_order[0],
        in_order[-1],
        in_order == stamps,
        own_ids,
        metadata,
        rejected,
        limit_line,
        closes,
    )


class _Refusal(Exception):
    def __init__(self, reason: Reason) -> None:
        self.reason: Reason = reason


def _check_carefully(lines: Sequence[Line], limits: Limits, first_line: int, *, may_end_early: bool) -> Batch:
    careful = _Careful(limits)
    limit_line = first_line
    for line in map(bytes, lines):
        if line and not line.isspace():
            careful.take(limit_line, line)
        limit_line += 1
        if may_end_early and careful.unpacked_bytes >= limits.batch_bytes:
            break
    return _batch(
        b"\n".join(careful.kept) + b"\n" if careful.kept else b"",
        careful.stamps,
        limit_line=limit_line,
        own_ids=careful.own_ids,
        metadata=tuple(careful.metadata),
        rejected=tuple(careful.rejected),
        closes=careful.closes,
    )


class _Careful:
    """Takes lines one by one, and sorts them into events, metadata and refused."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.kept: list[bytes] = []
        self.stamps: list[int | float] = []
        self.metadata: list[MetadataEvent] = []
        self.rejected: list[Rejected] = []
        self.own_ids = False
        self.closes = False
        self.unpacked_bytes = 0

    def take(self, number: int, line: bytes) -> None:
        try:
            self._take_value(number, line)
        except _Refusal as refusal:
            values = _separate(line) if refusal.reason in {"not_json", "bad_packed_event"} else []
            if not values:
                self.rejected.append(Rejected(number, refusal.reason, line))
            for value in values:
                try:
                    self._take_value(number, value)
                except _Refusal as inner:
                    self.rejected.append(Rejected(number, inner.reason, value))

    def _take_value(self, number: int, line: bytes) -> None:
        if len(line) > self._limits.event_bytes_max:
            raise _Refusal("too_large")
        if line.lstrip()[:1] == b'"':
            line = self._unpack(line)
        is_utf8 = _is_utf8(line)
        try:
            event = _parse(line, self._limits.nesting_max)
        except _Refusal:
            if not is_utf8:
                raise _Refusal("invalid_utf8") from None
            raise
        if event.type == _CUSTOM:
            tagged = _tagged_data(event)
            if tagged is not None and tagged.tag == _METADATA_TAG:
                self._take_metadata(number, line, bytes(tagged.payload))
                return
            self.closes = self.closes or (is_utf8 and tagged is not None and tagged.tag == _CLOSE_TAG)
        if not is_utf8:
            raise _Refusal("invalid_utf8")
        self.kept.append(line)
        self.stamps.append(event.timestamp)
        self.own_ids = self.own_ids or event.sequenceId is not UNSET or event.recordingId is not UNSET

    def _take_metadata(self, number: int, line: bytes, payload: bytes) -> None:
        # Bytes that are no UTF-8 lose the pair that they stand in, and no other.
        try:
            values, bad = read_metadata(payload, self._limits, flat=False)
        except ValueError:
            raise _Refusal("bad_metadata") from None
        self.metadata.append(MetadataEvent(number, values, line, bad))

    def _unpack(self, line: bytes) -> bytes:
        if self.unpacked_bytes >= self._limits.event_bytes_max:
            raise _Refusal("too_large")
        unpacked = unpack(line, bytes_max=self._limits.event_bytes_max)
        if unpacked is None:
            raise _Refusal("bad_packed_event")
        self.unpacked_bytes += len(unpacked)
        return unpacked


def _separate(line: bytes) -> list[bytes]:
    """Return the values on a line into which a sender ran several, the last one possibly cut off.

    Nothing if there is only one, or anything else between them.
    """
    values = leading_values(line, b'{"')
    if not values:
        return []
    rest = line[values[-1][1] :].strip()
    if rest[:1] not in {b"", b"{", b'"'}:
        return []
    found = [line[start:limit] for start, limit in values] + [rest] * bool(rest)
    return found if len(found) > 1 else []


def _parse(line: bytes, nesting_max: int) -> _Event:
    try:
        event = _parse_as_it_is(line)
    except RecursionError:
        event = _parse_deep(line, nesting_max)
    else:
        if parser_takes(nesting_max) and is_too_deep(line, nesting_max):
            raise _Refusal("too_deep")
    return event


def _parse_as_it_is(line: bytes) -> _Event:
    try:
        return _event(line)
    except msgspec.ValidationError as error:
        raise _Refusal(_reason(str(error))) from None
    except msgspec.DecodeError:
        pass
    # A lone surrogate is valid JSON (RFC 8259, section 8.2) that fast parsers refuse. A stand-in of
    # the same length shows whether it was only that; the event keeps its own bytes.
    try:
        return _event(without_lone_surrogates(line))
    except msgspec.ValidationError as error:
        raise _Refusal(_reason(str(error))) from None
    except msgspec.DecodeError:
        raise _Refusal("not_json") from None


def _parse_deep(line: bytes, nesting_max: int) -> _Event:
    """Read an event that nests deeper than the parser goes. ``data`` is read of custom events only."""
    outer = b""
    try:
        for outer in pieces(without_lone_surrogates(line), nesting_max=nesting_max):
            _any(outer)
        event = _event(outer)
    except TooDeep:
        raise _Refusal("too_deep") from None
    except msgspec.ValidationError as error:
        raise _Refusal(_reason(str(error))) from None
    except ValueError:  # msgspec's own errors among them.
        raise _Refusal("not_json") from None
    if event.type == _CUSTOM:
        # Not from the piece, in which deep values are missing.
        event.data = msgspec.Raw(last_member(line, b"data") or b"null")
    return event


def _reason(message: str) -> Reason:
    if "`$.timestamp`" in message or "field `timestamp`" in message:
        return "bad_timestamp"
    if "`$.type`" in message or "field `type`" in message:
        return "bad_type"
    return "not_an_object"


def _tagged_data(event: _Event) -> _Tagged | None:
    """Return tag and payload of a custom event; None if it is somebody else's, without such."""
    if event.data is UNSET:
        return None
    data = bytes(event.data)
    for text in (data, without_lone_surrogates(data)):
        try:
            tagged: _Tagged | None = _tagged.decode(text)
        except (msgspec.ValidationError, UnicodeDecodeError):
            return None  # A tag that is no string.
        except msgspec.DecodeError:
            continue
        except RecursionError:
            return _deep_tagged(text)
        return tagged
    return None


def _deep_tagged(data: bytes) -> _Tagged | None:
    try:
        tagged: _Tagged | None = _tagged.decode(outermost(without_lone_surrogates(data)))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if tagged is not None:
        tagged.payload = msgspec.Raw(last_member(data, b"payload") or b"null")
    return tagged
