"""What a JSON value in a foreign file is: an event, something that holds events, or neither.

Only structure decides, and only as far as it must be looked at: an *event* is an object with an integer
``type`` (and a ``timestamp``); what *holds events* is an array whose first element is an event or holds
some, or an object with such a member, ``LEVELS_MAX`` levels down at most. A string may be either one, too:
a packed event, or JSON text that was encoded twice.

Nothing here is recursive in the depth of the text: values are passed over by their brackets.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import msgspec

from rrd.wire.values import skip_space, value_end

Text = bytes | bytearray

LEVELS_MAX = 8
"""Arrays and objects around an event that are looked into. Known exports have four."""

NAMES = frozenset({b"events", b"snapshots", b"rrwebEvents"})
"""Members whose array is one of events whatever its first element is, so that a bad one is told."""

_SEGMENT_NAME = b"segment_id"
_NAME = re.compile(rb'[\s,]*"([^"\\]*+(?:\\.[^"\\]*+)*+)"\s*:\s*(?=\S)', re.DOTALL)
_INTEGER = re.compile(rb"-?[0-9]++(?=[\s,}])")
_NUMBER = re.compile(rb"-?[0-9]")
# The second element of a pair must show, or the first one may be all there is.
_PAIR = re.compile(rb'\[\s*(?:"([A-Za-z0-9_.:-]{1,64})"|([0-9]{1,18}))\s*,\s*(?=[{\[])')
_PAIR_OPEN = re.compile(rb'\[\s*(?:"[A-Za-z0-9_.:-]{0,64}(?:"\s*(?:,\s*)?)?|[0-9]{0,18}\s*(?:,\s*)?)?\Z')
# RFC 1950, 2.2: the second byte says how hard the packer tried.
_PACKED = re.compile(rb'"x(?:\xc2\x9c|\xc3\x9a|\^|\\u00(?:9[cC]|[dD][aA]|5[eE]|01))')
_EMPTY_ARRAY = re.compile(rb"\[\s*\]")
_INNER = re.compile(rb'"(?:[\[{]|\\["nrtu]|\s)')
_string = msgspec.json.Decoder(str)

Kind = Literal["event", "wrapper", "other"]


class ObjectMember(NamedTuple):
    """A member of an object: its name as it is written, and where its value stands."""

    name: bytes
    value: int
    limit: int | None
    """Offset behind the value; None if that does not end."""


class Members(NamedTuple):
    found: list[ObjectMember]
    ended: bool
    """The object's closing bracket is there."""


def members_of(text: Text, start: int) -> Members:
    """Return the members of the object that opens at ``start``, the last one perhaps unfinished."""
    found: list[ObjectMember] = []
    at: int | None = start + 1
    while at is not None and (name := _NAME.match(text, at)) is not None:
        limit = value_end(text, name.end())
        found.append(ObjectMember(name[1], name.end(), limit))
        at = limit
    if at is None:
        return Members(found, ended=False)
    at = skip_space(text, at)
    return Members(found, ended=text[at : at + 1] == b"}")


def next_name(text: Text, at: int) -> re.Match[bytes] | None:
    """Match a member's name, in group 1, up to the first byte of its value."""
    return _NAME.match(text, at)


def kind_of(text: Text, start: int, *, may_go_on: bool) -> Kind | None:
    """Tell what the object at ``start`` is; None if that takes more text, and ``may_go_on`` admits it."""
    if _has_integer_type(text, start):
        return "event"
    members = members_of(text, start)
    if not members.ended and may_go_on:
        return None
    for member in members.found:
        is_array = text[member.value : member.value + 1] == b"["
        if (is_array and member.name in NAMES) or holds_events(text, member.value):
            return "wrapper"
    return "other"


def _has_integer_type(text: Text, start: int) -> bool:
    """Tell whether the object at ``start`` has an integer ``type``. What stands behind is not looked at."""
    at: int | None = start + 1
    while at is not None and (name := _NAME.match(text, at)) is not None:
        if name[1] == b"type" and _INTEGER.match(text, name.end()):
            return True
        at = value_end(text, name.end())
    return False


def holds_events(text: Text, start: int, levels: int = LEVELS_MAX) -> bool:
    """Tell whether the value at ``start`` is an event, or holds one within so many levels."""
    if levels < 0 or start == len(text):
        return False
    opening = text[start]
    if opening == ord('"'):
        inner = inner_text(text, start)
        is_packed = _PACKED.match(text, start) is not None
        return is_packed or (inner is not None and holds_events(inner, 0, levels - 1))
    if opening == ord("["):
        pair = pair_at(text, start)
        return holds_events(text, pair[1] if pair else skip_space(text, start + 1), levels - 1)
    if opening != ord("{"):
        return False
    members = members_of(text, start)
    return _is_event(text, members) or any(
        text[member.value] in b'[{"' and holds_events(text, member.value, levels - 1)
        for member in members.found
    )


def _is_event(text: Text, members: Members) -> bool:
    has_type = has_rest = False
    for member in members.found:
        if member.name == b"type":
            has_type = _INTEGER.match(text, member.value) is not None
        elif member.name == b"timestamp":
            has_rest = has_rest or _NUMBER.match(text, member.value) is not None
        elif member.name == b"data" and not members.ended:
            has_rest = True  # A large snapshot whose end, with the timestamp, is still to come.
    return has_type and has_rest


def pair_at(text: Text, start: int) -> tuple[str, int] | None:
    """Return the window of a ``["windowId", event]`` at ``start``, and where its second element begins."""
    pair = _PAIR.match(text, start)
    return ((pair[1] or pair[2]).decode(), pair.end()) if pair else None


def may_become_pair(text: Text, start: int) -> bool:
    """Tell whether more text could make a pair of the array at ``start``, which so far is none."""
    return _PAIR_OPEN.match(text, start) is not None


def inner_text(text: Text, start: int) -> bytes | None:
    """Return the JSON text inside the string at ``start``; None if it holds no array, object or string."""
    if not _INNER.match(text, start):
        return None
    limit = value_end(text, start)
    if limit is None:
        return None
    try:
        inner = _string.decode(bytes(text[start:limit])).strip()
    except msgspec.DecodeError:
        return None
    if inner[:1] not in {"[", "{", '"'}:
        return None
    return inner.encode("utf-8")


def is_document(head: bytes) -> bool:
    """Tell whether text that begins so is a JSON document rather than NDJSON."""
    start = skip_space(head, 0)
    opening = head[start : start + 1]
    if opening != b"{":
        return opening == b"["
    if kind_of(head, start, may_go_on=False) == "wrapper" or says_nothing(head, start):
        return True
    # No line of NDJSON has a line break inside a value.
    limit = value_end(head, start) or len(head)
    return b"\n" in head[start:limit]


def says_nothing(text: Text, start: int) -> bool:
    """Tell whether an object without events is nothing that people must hear of.

    ``{}`` is what ``rrd export --format json`` writes without recordings, and an empty array stands for one
    without events; ``{"segment_id":0}`` is the first line of a recording segment of Sentry.
    """
    members = members_of(text, start)
    return members.ended and all(
        member.name == _SEGMENT_NAME or _EMPTY_ARRAY.match(text, member.value) for member in members.found
    )
