"""A token bucket: so much at once, and so much more with time. Pure.

What is kept is what was *spent*, so that a bucket that is full again is nothing to remember.
"""

from __future__ import annotations

_ROUNDING_S = 1e-6
"""What a wait leaves that is shorter comes of rounding."""


class Bucket:
    """``depth`` at once, and ``rate`` a second after that; 0: no limit. Times are monotonic seconds."""

    __slots__ = ("_at", "_spent", "depth", "rate")

    def __init__(self, rate: float, depth: float) -> None:
        self.rate = rate
        self.depth = depth
        self._spent = 0.0
        self._at = 0.0

    def resize(self, rate: float, depth: float, now: float) -> None:
        """Go on with another rate and depth. What was spent stays spent; without a limit it is forgotten."""
        self._spent = self.spent(now) if rate else 0.0
        self._at = now
        self.rate = rate
        self.depth = depth

    def spent(self, now: float) -> float:
        """Return what is missing until it is full; more than ``depth`` where it is in debt."""
        return max(0.0, self._spent - self.rate * max(0.0, now - self._at))

    def take(self, amount: float, now: float) -> None:
        """Take so much, into debt if need be."""
        if self.rate:
            self._spent = self.spent(now) + amount
            self._at = now

    def wait_s(self, amount: float, now: float) -> float:
        """Return how long until ``amount`` is there, or ``depth`` if that is less; 0.0 if it is there.

        Whoever has waited so long need not wait again.
        """
        if not self.rate:
            return 0.0
        wait_s = (self.spent(now) + min(amount, self.depth) - self.depth) / self.rate
        return wait_s if wait_s > _ROUNDING_S else 0.0

    def debt_s(self, now: float) -> float:
        """Return how long until it is out of debt."""
        if not self._spent or self.spent(now) <= self.depth:
            return 0.0
        return (self.spent(now) - self.depth) / self.rate
