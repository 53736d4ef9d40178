"""What one connection makes the daemon hold, in parts; and whether it waits, goes on, or is refused.

The parts are set by those who know them. Their sum goes to the ``budget``, which all connections share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from rrd.errors import RrdError

FREE_BYTES = 16 << 10
"""What each connection may hold without being counted: an idle one never waits for others."""


class Shared(Protocol):
    """What a ``Reservation`` asks of the budget."""

    now: Callable[[], float]

    def change(self, hold: Reservation, size: int) -> None: ...

    def move(self, hold: Reservation, tenant: str, key: str) -> None: ...


class Holder(Protocol):
    """What a ``Reservation`` asks of the connection whose bytes it counts."""

    def hold_back(self, is_full: bool) -> None:
        """Read nothing more while ``is_full``."""
        ...

    def give_up(self, failure: RrdError) -> None:
        """Drop what is unfinished, and let whoever waits for more of it see ``failure``."""
        ...

    def is_open_to_sender(self) -> bool:
        """Tell whether it is the sender's turn: it could send, and what it sends would be read."""
        ...


class Reservation:
    """What one connection holds. Its parts are set by those who know them; nothing here counts messages."""

    __slots__ = (
        *("_budget", "_decoded", "_holder", "_incoming", "_room", "_said", "_unfinished", "counted_bytes"),
        *("counted_since", "failure", "incoming_bytes_seen", "is_told", "key", "moved_at", "on_refused"),
        *("sender_s", "tenant", "waits_since"),
    )

    def __init__(self, budget: Shared, holder: Holder | None = None) -> None:
        self._budget = budget
        self._holder = holder
        self._incoming = self._decoded = self._unfinished = self._said = 0
        self._room: asyncio.Future[None] | None = None
        self.tenant = self.key = ""
        """Empty until the sender is known: strangers share as one tenant."""
        self.counted_bytes = 0
        self.counted_since = self.moved_at = 0.0
        self.incoming_bytes_seen = 0
        """What came in since it counts."""
        self.sender_s = 0.0
        """How long it was the sender's turn since then, as far as something was unfinished."""
        self.waits_since: float | None = None
        """When its reading was paused; None: it is not."""
        self.failure: RrdError | None = None
        """Why it was refused. It stays so."""
        self.is_told = False
        """``failure`` was raised, or seen otherwise."""
        self.on_refused: Callable[[], None] | None = None
        """Called once it is refused, to let go what can be let go at once."""

    def belongs_to(self, tenant: str, key: str) -> None:
        """From now on it counts for this tenant and key."""
        self._budget.move(self, tenant, key)

    def set_incoming(self, size: int, *, received: int = 0, taken: int = 0) -> None:
        """``size`` bytes have come in and wait, parts of frames and bodies too; ``received`` just now.

        ``taken`` bytes of what waited go to a decoder, and count there until ``set_decoded``: else others
        would be let go on for what is free for a moment only.
        """
        if size == self._incoming and not received:
            return
        self._incoming = size
        self._decoded += taken
        if received and self.counted_bytes:
            self.incoming_bytes_seen += received
            self.moved_at = self._budget.now()
        self._changed()

    def set_decoded(self, size: int, *, unfinished: int) -> None:
        """Bytes that decoding holds, the windows of decompressors too, ``unfinished`` of an event."""
        self._unfinished = unfinished
        if size != self._decoded:
            self._decoded = size
            self._changed()

    def set_said(self, size: int) -> None:
        """Bytes that wait for the client to read them."""
        if size != self._said:
            self._said = size
            self._changed()

    @property
    def has_unfinished_input(self) -> bool:
        """More than is free has come of a frame, body or event, and not its end."""
        return self._incoming > FREE_BYTES or self._unfinished > FREE_BYTES

    def _changed(self) -> None:
        size = self._incoming + self._decoded + self._said
        self._budget.change(self, size if size > FREE_BYTES else 0)

    async def room(self) -> None:
        """Wait until it may hold more. Raises ``TooMuchUnfinished`` or ``TooSlow`` where it is refused, once:
        what is whole may still be taken in after that.
        """
        while self.failure is None and self.waits_since is not None:
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        if self.failure is not None and not self.is_told:
            self.is_told = True
            raise self.failure

    def release(self) -> None:
        """It holds nothing more."""
        self._incoming = self._decoded = self._unfinished = self._said = 0
        self._changed()

    # For ``Budget``

    def pause(self, now: float) -> None:
        self.waits_since = now
        if self._holder is not None:
            self._holder.hold_back(True)

    def resume(self) -> None:
        self.waits_since = None
        self._wake()
        if self._holder is not None:
            self._holder.hold_back(False)

    def refuse(self, failure: RrdError) -> None:
        self._wake()
        if self._holder is not None:
            self._holder.give_up(failure)
        if self.on_refused is not None:
            self.on_refused()

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def is_open_to_sender(self) -> bool:
        return self.waits_since is None and (self._holder is None or self._holder.is_open_to_sender())
