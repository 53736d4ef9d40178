"""JSON that parsers don't take: what nests deeper than they go, and lone surrogates.

What is deep is measured exactly, and cut into pieces that they take.

Parsers recurse, and stop at a depth that depends on the interpreter, its settings and the stack below the
call (CPython 3.11: some 950 levels). A web page may nest deeper, so no parser decides how deep an event may
nest. Where one gives up, the text is cut: each value that begins ``PIECE_LEVELS`` below the piece around it
becomes a piece of its own, and an empty array or object stands in its place. The text is valid exactly if all
its pieces are. Only brackets and quotes are looked at, each byte a fixed number of times, and nothing here
recurses.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator

import msgspec

PIECE_LEVELS = 200
"""A parser takes so many levels on any stack. A piece has up to two more."""

STRING_PATTERN = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
FLAT_PATTERN = rb'[^"{}\[\]]*+(?:' + STRING_PATTERN + rb'[^"{}\[\]]*+)*+'
_FLAT_VALUE = rb"[{\[]" + FLAT_PATTERN + rb"[}\]]" + FLAT_PATTERN
# The next run of brackets that matters: strings, and values that hold nothing nested (1), are passed over.
# Some of these at a time: ``*`` would keep a place to go back to for each, and after ``*+`` Python before
# 3.11.5 goes on behind what its last try has read in vain (https://github.com/python/cpython/issues/106052).
BRACKETS = re.compile(FLAT_PATTERN + rb"((?:" + _FLAT_VALUE + rb"){0,64})(?:([{\[]++)|([}\]]++))", re.DOTALL)

# Escapes in the order in which they stand, so that \\ud83d (a backslash and text) is no surrogate.
_SURROGATES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)

_OPEN_OBJECT = ord("{")


class TooDeep(Exception):
    """The text nests deeper than it may."""


def pieces(text: bytes, *, nesting_max: int | None = None) -> Iterator[bytes]:
    """Yield JSON text in pieces of some ``PIECE_LEVELS`` levels, an inner one before the one around it.

    The last piece is the outermost. Takes as much memory again as ``text``. Raises ``TooDeep`` where more
    than ``nesting_max`` brackets are open at once, ``ValueError`` if brackets don't match in number; what was
    yielded before means nothing then.
    """
    outer: list[list[bytes]] = []
    parts: list[bytes] = []
    """What the innermost open piece is made of so far."""
    depth = start = at = 0
    limit = sys.maxsize if nesting_max is None else nesting_max
    while (found := BRACKETS.match(text, at)) is not None:
        if depth >= limit and found[1]:
            raise TooDeep
        at = found.end()
        opened, closed = found.span(2), found.span(3)
        if opened[0] >= 0:
            first, depth = depth, depth + opened[1] - opened[0]
            if depth > limit:
                raise TooDeep
            # A piece begins with the bracket that opens a level behind a multiple of PIECE_LEVELS.
            for level in range(max(-(-first // PIECE_LEVELS), 1) * PIECE_LEVELS, depth, PIECE_LEVELS):
                cut = opened[0] + level - first
                parts.append(text[start:cut])
                outer.append(parts)
                parts, start = [], cut
            continue
        first, depth = depth, depth - (closed[1] - closed[0])
        if depth < 0:
            raise ValueError("more brackets are closed than were opened")
        while outer and len(outer) * PIECE_LEVELS >= depth:
            cut = closed[0] + first - len(outer) * PIECE_LEVELS
            parts.append(text[start:cut])
            piece = b"".join(parts)
            yield piece
            parts, start = outer.pop(), cut
            parts.append(b"{}" if piece[0] == _OPEN_OBJECT else b"[]")
    if depth:
        raise ValueError("brackets are left open")
    parts.append(text[start:])
    yield b"".join(parts)


def outermost(text: bytes) -> bytes:
    """Return JSON text with an empty array or object in place of each value below ``PIECE_LEVELS`` levels.

    Raises ``ValueError`` if brackets don't match in number.
    """
    piece = b""
    for piece in pieces(text):  # noqa: B007
        pass
    return piece


def is_too_deep(text: bytes, nesting_max: int) -> bool:
    """Tell whether valid JSON text nests deeper than ``nesting_max``."""
    if len(text) <= 2 * nesting_max or text.count(b"[") + text.count(b"{") <= nesting_max:
        return False
    try:
        for _ in pieces(text, nesting_max=nesting_max):
            pass
    except TooDeep:
        return True
    return False


def parser_takes(levels: int) -> bool:
    """Tell whether the parser may take text of so many levels, on some stack or other.

    Where it doesn't take ``nesting_max``, all that it takes is within the limit: nothing has to be counted.
    """
    return _parser_takes(levels, sys.getrecursionlimit())


@functools.lru_cache(maxsize=16)
def _parser_takes(levels: int, _recursion_limit: int) -> bool:
    # Half of it, since another stack may have more room than this one.
    try:
        msgspec.json.decode(b"[" * (levels // 2) + b"]" * (levels // 2), type=msgspec.Raw)
    except RecursionError:
        return False
    return True


def without_lone_surrogates(text: bytes) -> bytes:
    """Return JSON text with each lone surrogate escape replaced by ``\\ufffd``; lengths stay the same.

    Such an escape is valid JSON (RFC 8259, 8.2) that fast parsers refuse.
    """
    return _SURROGATES.sub(lambda match: rb"\ufffd" if match[1] else match[0], text)
