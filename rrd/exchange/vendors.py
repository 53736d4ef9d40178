"""Events that one recorder writes otherwise than rrweb does → events that any replayer takes.

=======  ===========================================================================================
PostHog  ``"cv":"2024-10"``: a full snapshot's ``data``, or some members of a mutation's and of a style
         sheet rule's, are strings whose characters U+0000–U+00FF are gzip of the JSON meant
Sentry   ``performanceSpan`` events, and older ``breadcrumb`` ones, have their ``timestamp`` in seconds
=======  ===========================================================================================

Whatever can't be understood stays as it is: to keep it is better than to lose it.
"""

from __future__ import annotations

import zlib
from decimal import Decimal

import msgspec

from rrd.exchange.shapes import members_of
from rrd.wire.values import one_line

_POSTHOG_MARK = b'"cv"'
_SENTRY_MARKS = (b'"performanceSpan"', b'"breadcrumb"')
_SENTRY_TAGS = frozenset({"performanceSpan", "breadcrumb"})
_SECONDS_MAX = 100_000_000_000
"""A timestamp below is in seconds (until the year 5138) rather than in ms (until March 1973)."""

_PACKED_MEMBERS = frozenset({b"adds", b"removes", b"texts", b"attributes"})


class _Timed(msgspec.Struct):
    type: int
    timestamp: msgspec.Raw
    data: msgspec.Raw = msgspec.Raw()


class _Tagged(msgspec.Struct):
    tag: str = ""


_timed = msgspec.json.Decoder(_Timed).decode
_tagged = msgspec.json.Decoder(_Tagged).decode
_string = msgspec.json.Decoder(str).decode


def concerns(text: bytes) -> bool:
    """Tell whether one of the lines in ``text`` may have to be translated."""
    return _POSTHOG_MARK in text or any(mark in text for mark in _SENTRY_MARKS)


def translate(line: bytes, *, bytes_max: int) -> bytes:
    """Return an event as rrweb would have it; the same bytes if it is so, or isn't understood.

    No compressed part larger than ``bytes_max`` is unpacked.
    """
    if _POSTHOG_MARK in line:
        line = _without_compression(line, bytes_max)
    if any(mark in line for mark in _SENTRY_MARKS):
        line = _in_milliseconds(line)
    return line


def _without_compression(line: bytes, bytes_max: int) -> bytes:
    members = {member.name: member for member in members_of(line, 0).found}
    mark, data = members.get(b"cv"), members.get(b"data")
    if mark is None or data is None or line[mark.value : mark.limit] != b'"2024-10"' or data.limit is None:
        return line
    value = line[data.value : data.limit]
    if value[:1] == b'"':
        unpacked = _unzipped(value, bytes_max)
    elif value[:1] == b"{":
        unpacked = _members_unzipped(value, bytes_max)
    else:
        return line
    if unpacked is None:
        return line
    return one_line(_without_member(line[: data.value] + unpacked + line[data.limit :], b"cv"))


def _members_unzipped(value: bytes, bytes_max: int) -> bytes | None:
    parts: list[bytes] = []
    at = 0
    for member in members_of(value, 0).found:
        if member.name in _PACKED_MEMBERS and value[member.value] == ord('"'):
            unpacked = _unzipped(value[member.value : member.limit], bytes_max)
            if unpacked is None or member.limit is None:
                return None
            parts += (value[at : member.value], unpacked)
            at = member.limit
    return b"".join((*parts, value[at:]))


def _unzipped(string: bytes, bytes_max: int) -> bytes | None:
    try:
        packed = _string(string).encode("latin-1")
        if not packed:
            return b"[]"
        stream = zlib.decompressobj(31)
        text = stream.decompress(packed, bytes_max + 1)
    except (msgspec.DecodeError, UnicodeError, zlib.error):
        return None
    return text if stream.eof and len(text) <= bytes_max else None


def _without_member(line: bytes, name: bytes) -> bytes:
    start = 1
    for member in members_of(line, 0).found:
        if member.name == name and member.limit is not None:
            before, behind = line[:start], line[member.limit :]
            # A member brings its comma along, but the first has none.
            return before + (behind.lstrip().removeprefix(b",") if before == b"{" else behind)
        start = member.limit or start
    return line


def _in_milliseconds(line: bytes) -> bytes:
    try:
        event = _timed(line)
        if event.type != 5 or _tagged(bytes(event.data)).tag not in _SENTRY_TAGS:
            return line
        seconds = Decimal(bytes(event.timestamp).decode())
    except (msgspec.DecodeError, RecursionError, ArithmeticError):
        return line
    if not 0 < seconds < _SECONDS_MAX:
        return line
    for member in members_of(line, 0).found:
        if member.name == b"timestamp":
            ms = f"{(seconds * 1000).normalize():f}".encode()
            return line[: member.value] + ms + line[member.limit :]
    return line
