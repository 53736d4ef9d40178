"""Lines → a batch of checked events.

An event is a JSON object with an integer ``type`` and a numeric ``timestamp``; nothing else of it is
built, and its bytes are passed on untouched. Almost all lines are *plain*: no custom event, no number of
their own. A batch of plain lines is checked by one parser call a line (``_Plain`` refuses whatever is not
plain); only where that fails does each line take the careful way, which knows ``recording-meta``, packed
events, lone surrogates and what to say about a bad line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from rrd.wire.limits import Limits
from rrd.wire.nesting import nests_deeper_than
from rrd.wire.packed import unpack

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
_tagged = msgspec.json.Decoder(_Tagged | None)  # data may be null
_value = msgspec.json.Decoder(msgspec.Raw).decode
_values = msgspec.json.Decoder(msgspec.Raw).decode_lines
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string = msgspec.json.Decoder(str)

_CUSTOM = 5
_METADATA_TAG = "recording-meta"
# Escapes in the order in which they stand, so that \\ud83d (a backslash and text) is no surrogate.
_SURROGATES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


class Rejected(NamedTuple):
    """A line kept out of the events: its number in its body or socket (from 1), why, and its bytes."""

    line: int
    reason: Reason
    raw: bytes


class MetadataEvent(NamedTuple):
    """A ``recording-meta`` event: its line's number, its payload with values as strings, its bytes."""

    line: int
    values: dict[str, str]
    raw: bytes


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


def check_messages(messages: Sequence[bytes], limits: Limits, *, first_line: int) -> Batch:
    """Check WebSocket messages, each of which is one line or many; a message's end ends a line."""
    payload = b"\n".join(messages) + b"\n"
    if payload.count(b"\n") != len(messages):
        return check_lines(payload[:-1].split(b"\n"), limits, first_line=first_line, payload=payload)
    return check_lines(messages, limits, first_line=first_line, payload=payload)


def check_lines(
    lines: Sequence[bytes], limits: Limits, *, first_line: int, payload: bytes | None = None
) -> Batch:
    """Check lines without their LFs. ``payload``, if given, is the same lines, each ended by LF."""
    if payload is None:
        payload = b"\n".join(lines) + b"\n" if lines else b""
    try:
        if not payload.isascii():
            payload.decode()
        stamps = [event.timestamp for event in map(_plain, lines)]
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return _check_carefully(lines, limits, first_line)
    longest = max(map(len, lines), default=0)
    if longest > min(limits.event_bytes_max, 2 * limits.nesting_max) and _breaks_a_limit(lines, limits):
        return _check_carefully(lines, limits, first_line)
    return _batch(payload, stamps, limit_line=first_line + len(lines))


def _breaks_a_limit(lines: Sequence[bytes], limits: Limits) -> bool:
    return any(
        len(line) > limits.event_bytes_max or nests_deeper_than(line, limits.nesting_max) for line in lines
    )


def _batch(
    payload: bytes,
    stamps: list[int | float],
    *,
    limit_line: int,
    own_ids: bool = False,
    metadata: tuple[MetadataEvent, ...] = (),
    rejected: tuple[Rejected, ...] = (),
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
    )


class _Refusal(Exception):
    def __init__(self, reason: Reason) -> None:
        self.reason: Reason = reason


def _check_carefully(lines: Sequence[bytes], limits: Limits, first_line: int) -> Batch:
    kept: list[bytes] = []
    stamps: list[int | float] = []
    metadata: list[MetadataEvent] = []
    rejected: list[Rejected] = []
    own_ids = False
    for number, line in enumerate(lines, first_line):
        if not line or line.isspace():
            continue
        try:
            for value in _separate(line):
                event, raw = _check_one(value, limits)
                payload = _metadata_payload(event, raw) if event.type == _CUSTOM else None
                if payload is not None:
                    metadata.append(MetadataEvent(number, _metadata(payload, limits), raw))
                    continue
                kept.append(raw)
                stamps.append(event.timestamp)
                own_ids = own_ids or event.sequenceId is not UNSET or event.recordingId is not UNSET
        except _Refusal as refusal:
            rejected.append(Rejected(number, refusal.reason, line))
    payload_bytes = b"\n".join(kept) + b"\n" if kept else b""
    return _batch(
        payload_bytes,
        stamps,
        limit_line=first_line + len(lines),
        own_ids=own_ids,
        metadata=tuple(metadata),
        rejected=tuple(rejected),
    )


def _separate(line: bytes) -> list[bytes]:
    """Return the values on a line: one, unless a sender ran several together without a line break."""
    if b"}{" not in line and b"} {" not in line:
        return [line]
    try:
        values = _values(line)
    except (msgspec.DecodeError, RecursionError):
        return [line]
    return [bytes(value) for value in values] if len(values) > 1 else [line]


def _check_one(line: bytes, limits: Limits) -> tuple[_Event, bytes]:
    if len(line) > limits.event_bytes_max:
        raise _Refusal("too_large")
    try:
        line.decode()
    except UnicodeDecodeError:
        raise _Refusal("invalid_utf8") from None
    if line.lstrip()[:1] == b'"':
        unpacked = unpack(line, bytes_max=limits.event_bytes_max)
        if unpacked is None:
            raise _Refusal("bad_packed_event")
        line = unpacked
    event = _parse(line)
    if nests_deeper_than(line, limits.nesting_max):
        raise _Refusal("too_deep")
    return event, line


def _parse(line: bytes) -> _Event:
    try:
        return _event(line)
    except msgspec.ValidationError as error:
        raise _Refusal(_reason(str(error))) from None
    except msgspec.DecodeError:
        pass
    except RecursionError:
        raise _Refusal("too_deep") from None
    # A lone surrogate is valid JSON (RFC 8259, section 8.2) that fast parsers refuse. A stand-in of
    # the same length shows whether it was only that; the event keeps its own bytes.
    try:
        return _event(without_lone_surrogates(line))
    except msgspec.ValidationError as error:
        raise _Refusal(_reason(str(error))) from None
    except msgspec.DecodeError:
        raise _Refusal("not_json") from None
    except RecursionError:
        raise _Refusal("too_deep") from None


def without_lone_surrogates(line: bytes) -> bytes:
    """Return JSON text with each lone surrogate escape replaced by ``\\ufffd``; lengths stay the same."""
    return _SURROGATES.sub(lambda match: rb"\ufffd" if match[1] else match[0], line)


def _reason(message: str) -> Reason:
    if "`$.timestamp`" in message or "field `timestamp`" in message or "Number out of range" in message:
        return "bad_timestamp"
    if "`$.type`" in message or "field `type`" in message:
        return "bad_type"
    return "not_an_object"


def _metadata_payload(event: _Event, line: bytes) -> bytes | None:
    """Return the payload of a ``recording-meta`` event; None for any other custom event."""
    if event.data is UNSET:
        return None
    data = bytes(event.data)
    for text in (data, without_lone_surrogates(data)):
        try:
            tagged = _tagged.decode(text)
        except msgspec.ValidationError:
            return None  # A tag that is no string is somebody else's custom event.
        except msgspec.DecodeError:
            continue
        return bytes(tagged.payload) if tagged is not None and tagged.tag == _METADATA_TAG else None
    return None


def _metadata(payload: bytes, limits: Limits) -> dict[str, str]:
    try:
        return parse_metadata(payload, limits, flat=False)
    except ValueError:
        raise _Refusal("bad_metadata") from None


def parse_metadata(payload: bytes, limits: Limits, *, flat: bool) -> dict[str, str]:
    """Read a JSON object of metadata; its values as strings, numbers digit for digit.

    A value that is an array or object is kept as its JSON text, or refused with ``flat``. Raises
    ``ValueError`` with a sentence for people if ``payload`` is no object or breaks a limit.
    """
    try:
        members = _decode_members(payload)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("metadata must be one JSON object of names and values") from None
    if len(members) > limits.metadata_keys_max:
        raise ValueError(f"metadata has {len(members)} keys, {limits.metadata_keys_max} are allowed")
    values: dict[str, str] = {}
    for key, raw in members.items():
        if not 0 < len(key.encode()) <= limits.metadata_key_bytes_max:
            raise ValueError(f"a metadata key must have 1 to {limits.metadata_key_bytes_max} bytes")
        text = bytes(raw)
        if flat and text[:1] in {b"{", b"["}:
            raise ValueError(f"the value of {key!r} must be a string, number, boolean or null")
        value = _string.decode(text) if text[:1] == b'"' else text.decode()
        if len(value.encode()) > limits.metadata_value_bytes_max:
            raise ValueError(f"the value of {key!r} is longer than {limits.metadata_value_bytes_max} bytes")
        values[key] = value
    return values


def _decode_members(payload: bytes) -> dict[str, msgspec.Raw]:
    payload.decode()  # The parser doesn't look at the bytes of what it skips.
    try:
        return _check_strings(_members.decode(payload))
    except msgspec.DecodeError:
        return _check_strings(_members.decode(without_lone_surrogates(payload)))


def _check_strings(members: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    for raw in members.values():
        if bytes(raw).startswith(b'"'):
            _string.decode(raw)
    return members


def is_value(text: bytes) -> bool:
    """Tell whether ``text`` is one whole JSON value as it stands."""
    try:
        _value(without_lone_surrogates(text))
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
