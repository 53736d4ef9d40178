"""Whether the client takes what it is sent: a least rate, so that an answer isn't held for ever.

Told from what the other side has acknowledged. The buffer here moves in steps of up to a megabyte, since the
kernel calls for more only when a third of its own has gone: at 20 KB/s that is nothing for half a minute.
"""

from __future__ import annotations

import asyncio
import socket as sockets
import struct
from collections.abc import Callable

_TCP_INFO_BYTES = 128
_BYTES_ACKED = struct.Struct("@120xQ")
"""``tcpi_bytes_acked`` in ``struct tcp_info`` (linux/tcp.h, from Linux 4.1 on)."""


class TakerWatch:
    """Looks after one connection from when it has to wait for its taker until it hasn't any more."""

    __slots__ = (
        *("_bytes_min", "_interval_s", "_is_waiting", "_on_slow", "_taken_bytes", "_timer", "_transport"),
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        *,
        bytes_per_s_min: int,
        interval_s: float,
        is_waiting: Callable[[], bool],
        on_slow: Callable[[], None],
    ) -> None:
        """``on_slow`` is called once, after an interval in which too little was taken and it still waits."""
        self._transport = transport
        self._bytes_min = bytes_per_s_min * interval_s
        self._interval_s = interval_s
        self._is_waiting = is_waiting
        self._on_slow = on_slow
        self._timer: asyncio.TimerHandle | None = None
        self._taken_bytes = 0

    def begin(self) -> None:
        """The connection has to wait. To be called as often as it does."""
        if self._timer is None:
            self._taken_bytes = self._taken()
            self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._look)

    def end(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if not self._is_waiting():
            return
        if self._taken() - self._taken_bytes < self._bytes_min:
            self._on_slow()
        else:
            self.begin()

    def _taken(self) -> int:
        """Return a number that grows by a byte for each one taken."""
        waiting: int = self._transport.get_write_buffer_size()
        handle = self._transport.get_extra_info("socket")
        try:
            info = handle.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, _TCP_INFO_BYTES)
        except (AttributeError, OSError):  # Not Linux, or no TCP.
            return -waiting
        if len(info) < _BYTES_ACKED.size:
            return -waiting
        acked: int = _BYTES_ACKED.unpack_from(info)[0]
        return acked
