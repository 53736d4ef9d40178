"""Which keys are about to expire: told in the log once a day, and in sentences to those who look."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from rrd.access.lifetime import DAY_MS, expiring_soon, show_ms
from rrd.access.rows import KeyRow, SigningKeyRow, Snapshot
from rrd.clock import Clock
from rrd.log import emit

_DAY_S = 86_400.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """A key that expires soon."""

    key_id: str
    tenant: str
    label: str
    expires_ms: int
    days: int
    """Whole days that are left."""
    is_signing_key: bool

    @property
    def command(self) -> str:
        """What rotates it."""
        return f"rrd {'signing-keys' if self.is_signing_key else 'keys'} rotate {self.key_id}"

    @property
    def next_step(self) -> str:
        """What to do about it."""
        return f"{self.command}, or edit its --expires"

    def sentence(self) -> str:
        """Return what happens."""
        label = f", {self.label!r}" if self.label else ""
        kind = "Signing key" if self.is_signing_key else "Key"
        return f"{kind} {self.key_id} (tenant {self.tenant}{label}) expires at {show_ms(self.expires_ms)}"


def notices(snapshot: Snapshot, now_ms: int) -> list[Notice]:
    """Return the keys that expire soon, API keys first, and of each kind the next one first."""
    return [
        *(
            _notice(row.id, row, now_ms, is_signing_key=False)
            for row in expiring_soon(snapshot.rows.values(), now_ms)
        ),
        *(
            _notice(row.key_id, row, now_ms, is_signing_key=True)
            for row in expiring_soon(snapshot.signing_keys.values(), now_ms)
        ),
    ]


def _notice(key_id: str, row: KeyRow | SigningKeyRow, now_ms: int, *, is_signing_key: bool) -> Notice:
    assert row.expires_ms is not None, "it expires soon"
    days = (row.expires_ms - now_ms) // DAY_MS
    return Notice(key_id, row.tenant, row.label, row.expires_ms, days, is_signing_key)


class Notices:
    """Logs them, each key at most once a day."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due_at = clock.monotonic()

    def tell_in_time(self, snapshot: Snapshot) -> None:
        """Log which keys expire soon, if a day went by since that was done."""
        if self._clock.monotonic() < self._due_at:
            return
        self._due_at = self._clock.monotonic() + _DAY_S
        for notice in notices(snapshot, self._clock.now_ms()):
            emit(
                _logger, logging.WARNING, "key_expires_soon", key=notice.key_id, tenant=notice.tenant,
                days=notice.days, expires=show_ms(notice.expires_ms), next_step=notice.command,
            )  # fmt: skip
