"""Where JSON values end, found by their brackets and quotes alone.

For text that a parser refuses as a whole: values run together, documents cut off or damaged. Nothing is
built and nothing is checked, so whoever takes a value out has it parsed. Each byte is looked at
a fixed number of times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from rrd.nesting import BRACKETS, STRING_PATTERN, without_lone_surrogates

_string = msgspec.json.Decoder(str)
_STRING = re.compile(STRING_PATTERN, re.DOTALL)
_SCALAR = re.compile(rb'[^\s,{}\[\]"]++')
_SPACE = re.compile(rb"[ \t\r\n]*+")
_SEPARATOR = re.compile(rb"[\s,]*+")
_NAME = re.compile(rb'\s*+,?\s*+"([^"\\]*+(?:\\.[^"\\]*+)*+)"\s*+:\s*+', re.DOTALL)


class Member(NamedTuple):
    """A member of an object: its name as it is written, and where it stands."""

    name: bytes
    start: int
    """Offset behind the member before it; its comma belongs to it."""
    value: int
    """Offset of its value."""
    limit: int | None
    """Offset behind its value; None if that does not end."""


def value_end(text: bytes | bytearray, start: int) -> int | None:
    """Return the offset behind the value, or the word, that begins at ``start``; None if it does not end."""
    if start == len(text):
        return None
    first = text[start]
    if first == ord('"'):
        string = _STRING.match(text, start)
        return string.end() if string else None
    if first not in b"{[":
        scalar = _SCALAR.match(text, start)
        return scalar.end() if scalar else start + 1
    at, depth = start + 1, 1
    while True:
        brackets = BRACKETS.match(text, at)
        if brackets is None:
            return None
        at = brackets.end()
        depth += len(brackets[2] or b"") - len(brackets[3] or b"")
        if depth <= 0:
            return at + depth  # The run may close more than was open.


def leading_values(text: bytes | bytearray, openings: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the values stand that ``text`` begins with, separated by nothing or by space.

    It stops at what begins with no byte of ``openings`` (out of ``{["``), and at what does not end.
    """
    at = skip_space(text, 0)
    while at < len(text) and text[at] in openings:
        limit = value_end(text, at)
        if limit is None:
            return
        yield at, limit
        at = skip_space(text, limit)


def members(text: bytes, start: int) -> Iterator[Member]:
    """Yield the members of the object that opens at ``start``, up to its end or to one that does not end."""
    at: int | None = start + 1
    while at is not None and (name := _NAME.match(text, at)) is not None:
        limit = value_end(text, name.end())
        yield Member(name[1], at, name.end(), limit)
        at = limit


def last_member(text: bytes, name: bytes) -> bytes | None:
    """Return the value of the last member ``name`` of the object that ``text`` is; None without one.

    Names may be written with escapes. (Of several members of one name parsers keep the last.)
    """
    found = None
    for member in members(text, skip_space(text, 0)):
        if member.limit is not None and plain_name(member.name) == name:
            found = text[member.value : member.limit]
    return found


def plain_name(name: bytes) -> bytes:
    """Return a member's name without escapes, as UTF-8. One that is no valid string stays as it is."""
    if b"\\" not in name:
        return name
    try:
        return _string.decode(b'"' + without_lone_surrogates(name) + b'"').encode()
    except msgspec.DecodeError:
        return name


def skip_space(text: bytes | bytearray, start: int) -> int:
    """Return the offset of the first byte from ``start`` on that is no white space of JSON."""
    space = _SPACE.match(text, start)
    return space.end() if space else start


def skip_separator(text: bytes, start: int) -> int:
    """Return the offset of the first byte from ``start`` on that is neither white space nor a comma."""
    separator = _SEPARATOR.match(text, start)
    return separator.end() if separator else start


def one_line(text: bytes) -> bytes:
    """Return ``text`` without line feeds, and without space around it.

    Between tokens they become spaces. Inside a string no raw line feed is JSON, and a vertical
    tab isn't either, so what was invalid stays invalid.
    """
    if b"\n" in text:
        is_inside = _STRING.sub(b"", text).count(b"\n") < text.count(b"\n")
        text = text.replace(b"\n", b"\v" if is_inside else b" ")
    return text.strip(b" \t\r\n")
