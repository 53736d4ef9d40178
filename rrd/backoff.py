"""How long to wait before the next try: exponential backoff with full jitter."""

from __future__ import annotations

import random
from collections.abc import Callable

_DOUBLINGS_MAX = 64
"""Far beyond any ceiling: a year of failures must not overflow."""


class Backoff:
    """Pauses between tries. The ceiling is ``least_s``, doubled with each further failure up to ``most_s``.

    ``chance`` (0 up to 1, drawn anew each time) says how much of the ceiling is waited, so that many who lost
    the same store don't come back to it at the same moment
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """

    def __init__(self, least_s: float, most_s: float, *, chance: Callable[[], float] = random.random) -> None:
        self._least_s = least_s
        self._most_s = most_s
        self._chance = chance
        self.failures = 0
        """In a row. Set it to 0 after a success."""

    @property
    def is_longest(self) -> bool:
        """Tell whether further failures make pauses no longer."""
        return self._ceiling_s() >= self._most_s

    def pause_s(self) -> float:
        """Return how long to wait now, which differs from call to call."""
        return self._chance() * self._ceiling_s()

    def _ceiling_s(self) -> float:
        return min(self._most_s, self._least_s * 2.0 ** min(max(self.failures - 1, 0), _DOUBLINGS_MAX))
