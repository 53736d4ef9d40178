"""When each key was used last: noted in memory by the gate, kept in ``keys.sqlite`` every few minutes.

It answers "may this key go?": whether a page still carries the key that was rotated, whether a tool that was
given a key uses it. So it is kept to the minute, and nothing is kept of who used it, or from where.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection

from rrd.access.keys import KeyStore
from rrd.access.schema import Table
from rrd.clock import Clock
from rrd.errors import RrdError
from rrd.log import emit

INTERVAL_S = 300.0
"""How far apart the times are kept: one small commit that no request waits for. ``kill -9`` loses them."""

_MINUTE_S = 60
_logger = logging.getLogger(__name__)


class Uses:
    """Times of use since the start, and which of them are kept. Safe to use from several threads."""

    def __init__(self, store: KeyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._noted: dict[tuple[Table, str], int] = {}
        self._kept: dict[tuple[Table, str], int] = {}
        self._keeping = threading.Lock()
        self._due_at = clock.monotonic() + INTERVAL_S
        self._is_failing = False
        self.in_use: Callable[[], Collection[tuple[Table, str]]] = tuple
        """Tells which keys are in use at the moment, by sockets that stay open. The daemon says so."""

    def note(self, table: Table, key_id: str, now_s: int) -> None:
        """Note that a key is used now: once a request or socket. One assignment, and no lock."""
        self._noted[table, key_id] = now_s

    def keep_in_time(self) -> None:
        """Keep what was noted if it is time to. Blocking."""
        if self._clock.monotonic() >= self._due_at:
            self.keep()

    def keep(self) -> None:
        """Keep what was noted and isn't kept, to the minute. Blocking. Where that fails it is only logged."""
        with self._keeping:
            self._due_at = self._clock.monotonic() + INTERVAL_S
            now_s = self._clock.now_ms() // 1000
            self._noted.update(dict.fromkeys(self.in_use(), now_s))
            # A copy is made in one step of the interpreter, while others note.
            minutes = {key: 1000 * (at_s - at_s % _MINUTE_S) for key, at_s in self._noted.copy().items()}
            fresh = {key: ms for key, ms in minutes.items() if self._kept.get(key) != ms}
            if not fresh:
                return
            try:
                self._store.note_uses(fresh)
            except RrdError as error:
                if not self._is_failing:
                    emit(_logger, logging.WARNING, "key_uses_not_kept", error=error)
                self._is_failing = True
                return
            self._kept.update(fresh)
            self._is_failing = False
