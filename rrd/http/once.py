"""An event that is set once, and takes hardly any room until somebody waits.

``asyncio.Event`` takes 800 bytes, and each of thousands of sockets would have two.
"""

from __future__ import annotations

import asyncio


class Once:
    """Use it as an ``asyncio.Event``; it can't be cleared."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._event: asyncio.Event | None = None

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        """Return once it is set."""
        if not self._is_set:
            if self._event is None:
                self._event = asyncio.Event()
            await self._event.wait()
