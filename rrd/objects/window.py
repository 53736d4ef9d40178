"""A range of an object that was fetched with one request, or is being fetched."""

from __future__ import annotations

from concurrent.futures import Future

PAGE_BYTES = 64 << 10
"""Windows begin at multiples of this, and end so too, but for the object's end."""


class Window:
    """Such a range: a whole number of pages, but for the object's end."""

    __slots__ = ("begun_at", "data", "follows", "is_ahead", "key", "limit", "start")

    def __init__(self, key: str, start: int, limit: int, *, follows: bool, begun_at: float) -> None:
        self.key = key
        self.start = start
        self.limit = limit
        self.follows = follows
        """The one before it was there when it began: somebody reads on and on."""
        self.begun_at = begun_at
        """Monotonic time, in seconds."""
        self.is_ahead = False
        """Nobody has asked for it yet."""
        self.data: Future[bytes] = Future()
        """Fewer bytes than ``size`` if the object ends in it."""

    @property
    def size(self) -> int:
        return self.limit - self.start

    @property
    def at_hand(self) -> bytes | None:
        """``data`` if it has come; None as long as it has not, and if it never will."""
        is_here = self.data.done() and self.data.exception() is None
        return self.data.result() if is_here else None

    @property
    def pages(self) -> list[tuple[str, int]]:
        first = self.start // PAGE_BYTES
        return [(self.key, page) for page in range(first, -(-self.limit // PAGE_BYTES))]
