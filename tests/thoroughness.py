"""How much is tried: by default so much that the tests end within minutes.

``TESTS_THOROUGH=1`` tries more, so much that all there is ends within an hour (CI); with 2 all that there is.
"""

from __future__ import annotations

import os

_LEVEL = int(os.environ.get("TESTS_THOROUGH") or 0)
IS_THOROUGH = _LEVEL >= 1
IS_EXHAUSTIVE = _LEVEL >= 2


def examples(count: int) -> int:
    """Return how many examples to try where ``count`` would find nearly all: each run tries others."""
    return -(-count // (2 if IS_THOROUGH else 6))


def some(places: range) -> range:
    """Return the places to try of all those that there are: all of them, or each fifth."""
    return places if IS_THOROUGH else places[::5]


def is_tried(row: int, *, level: int = _LEVEL) -> bool:
    """Say whether the row of this number, from 0 on, of a large table is tried: each third is by default, two
    of three are at level 1, all at level 2.

    By the sum of its digits in base 3. By the number alone, a table of kinds in three places would be tried
    in the first place only; this way each kind is tried once, and the places take turns.
    """
    digits = 0
    while row:
        row, digit = divmod(row, 3)
        digits += digit
    return digits % 3 <= level
