"""Where JSON values end, found by their brackets and quotes alone.

For text that a parser refuses as a whole: values run together, documents cut off or damaged. Nothing is
built and nothing is checked, so whoever takes a value out has it parsed. Each byte is looked at
a fixed number of times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_STRING_PATTERN = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb'[^"{}\[\]]*+(?:' + _STRING_PATTERN + rb'[^"{}\[\]]*+)*+'
_STRING = re.compile(_STRING_PATTERN, re.DOTALL)
_SCALAR = re.compile(rb'[^\s,{}\[\]"]++')
_SPACE = re.compile(rb"[ \t\r\n]*+")
_NAME = re.compile(rb'\s*+,?\s*+"([^"\\]*+(?:\\.[^"\\]*+)*+)"\s*+:\s*+', re.DOTALL)
# The next run of brackets that matters: strings, and whatever holds nothing nested, are passed over.
_BRACKETS = re.compile(
    _FLAT + rb"(?:[{\[]" + _FLAT + rb"[}\]]" + _FLAT + rb")*+(?:([{\[]++)|([}\]]++))", re.DOTALL
)


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
        brackets = _BRACKETS.match(text, at)
        if brackets is None:
            return None
        at = brackets.end()
        depth += len(brackets[1] or b"") - len(brackets[2] or b"")
        if depth <= 0:
            return at + depth  # The run may close more than was open.


def leading_values(text: bytes | bytearray, openings: bytes) -> list[tuple[int, int]]:
    """Return where the values stand that ``text`` begins with, separated by nothing or by space.

    It stops at what begins with no byte of ``openings`` (out of ``{["``), and at what does not end.
    """
    found: list[tuple[int, int]] = []
    at = skip_space(text, 0)
    while at < len(text) and text[at] in openings:
        limit = value_end(text, at)
        if limit is None:
            break
        found.append((at, limit))
        at = skip_space(text, limit)
    return found


def members(text: bytes, start: int) -> Iterator[Member]:
    """Yield the members of the object that opens at ``start``, up to its end or to one that does not end."""
    at: int | None = start + 1
    while at is not None and (name := _NAME.match(text, at)) is not None:
        limit = value_end(text, name.end())
        yield Member(name[1], at, name.end(), limit)
        at = limit


def skip_space(text: bytes | bytearray, start: int) -> int:
    """Return the offset of the first byte from ``start`` on that is no white space of JSON."""
    space = _SPACE.match(text, start)
    return space.end() if space else start


def one_line(text: bytes) -> bytes:
    """Return ``text`` without line feeds, and without space around it.

    Between tokens they become spaces. Inside a string no raw line feed is JSON, and a vertical
    tab isn't either, so what was invalid stays invalid.
    """
    if b"\n" in text:
        is_inside = _STRING.sub(b"", text).count(b"\n") < text.count(b"\n")
        text = text.replace(b"\n", b"\v" if is_inside else b" ")
    return text.strip(b" \t\r\n")
