"""How deep a line nests, without building anything.

Brackets are kept, both kinds as one, everything else is thrown away. Then innermost pairs are removed,
one level a round. Real events are bushy, so little is left after a few rounds; what doesn't shrink
is long runs of brackets, and those are counted a run at a time. So the work grows with the
line's length alone, however it nests.
"""

from __future__ import annotations

import re

_AS_BRACES = bytes.maketrans(b"[]", b"{}")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"{}[]")
_RUN = re.compile(rb"(\{*+)(\}*+)")
_SHRINKING = 8
"""A round that removes less than one part in so many isn't worth another: few runs are left."""


def nests_deeper_than(line: bytes, levels: int) -> bool:
    """Tell whether valid JSON nests arrays and objects deeper than ``levels``.

    Brackets inside strings are told apart only where it could matter, which is what makes this
    fast. A line made to deceive, with closing brackets in its strings, can so hide levels,
    up to the ceiling of the parser that checked it before.
    """
    if len(line) <= 2 * levels:
        return False
    if _depth(line.translate(_AS_BRACES, _NOT_BRACKETS), levels) <= levels:
        return False
    # Escaped backslashes go first, so that each \" left is an escaped quote (RFC 8259, section 7).
    bare = line.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(bare.split(b'"')[::2])
    return _depth(outside_strings.translate(_AS_BRACES, _NOT_BRACKETS), levels) > levels


def _depth(brackets: bytes, levels: int) -> int:
    """Return how deep ``brackets`` nest; any number up to ``levels`` if it is not more than that."""
    rounds = 0
    while brackets and len(brackets) > 2 * (levels - rounds):
        rest = brackets.replace(b"{}", b"")
        removed = len(brackets) - len(rest)
        if removed * _SHRINKING < len(brackets):
            return rounds + _depth_by_runs(brackets)
        brackets = rest
        rounds += 1
    return rounds


def _depth_by_runs(brackets: bytes) -> int:
    # Unpaired brackets come from strings. Closing ones pair with nothing; opening ones count.
    depth = deepest = 0
    for run in _RUN.finditer(brackets):
        start, middle = run.span(1)
        depth += middle - start
        deepest = max(deepest, depth)
        depth = max(0, depth - (run.end() - middle))
    return deepest
