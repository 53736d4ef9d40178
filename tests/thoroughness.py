"""How much is tried: by default so much that the tests end within minutes, with ``TESTS_THOROUGH=1`` more."""

from __future__ import annotations

import os

IS_THOROUGH = os.environ.get("TESTS_THOROUGH") == "1"


def examples(count: int) -> int:
    """Return how many examples to try where ``count`` would find nearly all: each run tries others."""
    return -(-count // (2 if IS_THOROUGH else 6))


def some(places: range) -> range:
    """Return the places to try of all those that there are: all of them, or each fifth."""
    return places if IS_THOROUGH else places[::5]


def is_usual(row: int) -> bool:
    """Say whether the row of this number, from 0 on, of a large table is tried by default: each third is.

    By the sum of its digits in base 3. By the number alone, a table of kinds in three places would be tried
    in the first place only; this way each kind is tried once, and the places take turns.
    """
    digits = 0
    while row:
        row, digit = divmod(row, 3)
        digits += digit
    return digits % 3 == 0
