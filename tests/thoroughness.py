"""How much is tried: by default so much that the tests end within minutes, with ``TESTS_THOROUGH=1`` all."""

from __future__ import annotations

import os

IS_THOROUGH = os.environ.get("TESTS_THOROUGH") == "1"


def examples(count: int) -> int:
    """Return how many examples to try where ``count`` are worth trying."""
    return count if IS_THOROUGH else -(-count // 4)


def some(places: range) -> range:
    """Return the places to try of all those that there are: all of them, or each fifth."""
    return places if IS_THOROUGH else places[::5]
