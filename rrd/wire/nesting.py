"""How deep a line nests, without building anything.

Brackets are kept, both kinds as one, everything else is thrown away, and innermost pairs are then removed
until none is left: as many rounds as there are levels, each over what little remains.
"""

from __future__ import annotations

_AS_BRACES = bytes.maketrans(b"[]", b"{}")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"{}[]")


def nests_deeper_than(line: bytes, levels: int) -> bool:
    """Tell whether valid JSON nests arrays and objects deeper than ``levels``.

    Brackets inside strings are told apart only where it could matter, which is what makes this
    fast. A line made to deceive, with closing brackets in its strings, can so hide levels,
    up to the ceiling of the parser that checked it before.
    """
    if len(line) <= 2 * levels:
        return False
    if _depth_at_most(line.translate(_AS_BRACES, _NOT_BRACKETS), levels):
        return False
    # Escaped backslashes go first, so that each \" left is an escaped quote (RFC 8259, section 7).
    bare = line.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(bare.split(b'"')[::2])
    return not _depth_at_most(outside_strings.translate(_AS_BRACES, _NOT_BRACKETS), levels)


def _depth_at_most(brackets: bytes, levels: int) -> bool:
    if len(brackets) <= 2 * levels:
        return True
    for rounds in range(levels + 1):
        rest = brackets.replace(b"{}", b"")
        if len(rest) == len(brackets):
            # What does not pair up is from strings; at worst each brace left opens one more level.
            return rounds + rest.count(b"{") <= levels
        brackets = rest
    return False
