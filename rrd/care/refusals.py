"""What senders were refused, so that an operator can ask why something is missing: counters, and log lines.

A line that is no event is kept in quarantine. What is refused before that (no right, no recording, a type
that is not known, a full disk) leaves nothing on disk but a count here: for the whole daemon by code, and,
where the sender has the right and names a recording, for that recording. Senders make neither memory nor
file grow: codes are rrd's own, at most ``ROWS_MAX`` recordings are remembered (the one refused longest ago
goes first, and is counted), and a sender without a right leaves only a count.

The counts are kept in ``refusals.json``, replaced as a whole at most once a second, and only when they have
changed. They are not in the index, since nothing could rebuild them from the segments. The file isn't synced:
a power cut may cost the last counts, and no events.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import NamedTuple

import msgspec

from rrd import layout, metrics
from rrd.clock import Clock
from rrd.disk import files
from rrd.log import emit, tell_left_out

logger = logging.getLogger(__name__)

ROWS_MAX = 1_000
"""Recordings and codes that are remembered: some 150 kB as a file."""

_TOTALS_MAX = 200
_SAVE_INTERVAL_S = 1.0

_LINES_MAX = 3
"""Log lines of one code in one interval; the others are counted, and told when it is over."""
_INTERVAL_S, _INTERVAL_S_MAX = 1.0, 60.0
"""An interval gets longer as long as refusals go on."""


class Refused(msgspec.Struct, rename={"recording_id": "recording"}):
    """One line of the account. ``tenant`` and ``recording_id`` are empty for the whole daemon's."""

    tenant: str
    recording_id: str
    code: str
    status: int
    count: int
    first_ms: int
    last_ms: int


class Account(msgspec.Struct):
    """``refusals.json``. ``forgotten``: rows of recordings that made room for younger ones."""

    totals: list[Refused] = []
    recordings: list[Refused] = []
    forgotten: int = 0


class _Key(NamedTuple):
    tenant: str
    recording_id: str
    code: str
    status: int


class _LoggedLines:
    """How much of one code is being logged."""

    __slots__ = ("interval_s", "logged", "started_at", "untold")

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.interval_s = _INTERVAL_S
        self.logged = 0
        self.untold = 0


class Refusals:
    """Counts and logs refusals. ``run`` keeps the counts in a file."""

    def __init__(self, data_dir: str, clock: Clock) -> None:
        self.path = layout.refusals_path(data_dir)
        self._clock = clock
        self._lines: dict[tuple[str, str], _LoggedLines] = {}
        self._has_changed = False
        account = load(data_dir)
        self._forgotten = account.forgotten
        self._totals = OrderedDict((_key(row), row) for row in account.totals[:_TOTALS_MAX])
        self._rows = OrderedDict((_key(row), row) for row in account.recordings[-ROWS_MAX:])

    def count(self, *, code: str, status: int, tenant: str = "", recording_id: str = "") -> None:
        """Count one refusal. ``tenant`` and ``recording_id``: of a sender with the right to write to it."""
        metrics.REFUSALS.add(code)
        now_ms = self._clock.now_ms()
        self._has_changed = True
        total = _Key("", "", code, status)
        if total in self._totals or len(self._totals) < _TOTALS_MAX:
            _add(self._totals, total, now_ms)
        if tenant and recording_id:
            _add(self._rows, _Key(tenant, recording_id, code, status), now_ms)
            if len(self._rows) > ROWS_MAX:
                self._rows.popitem(last=False)
                self._forgotten += 1

    def tell(self, name: str, *, code: str, status: int, **fields: object) -> None:
        """Log one refusal, unless the same code was logged ``_LINES_MAX`` times in this interval."""
        key, now = (name, code), self._clock.monotonic()
        lines = self._lines.setdefault(key, _LoggedLines(now))
        if now - lines.started_at >= lines.interval_s:
            self._end_interval(key, lines, now)
        if lines.logged < _LINES_MAX:
            lines.logged += 1
            level = logging.WARNING if status >= 500 else logging.INFO
            pairs = {**fields, "status": status, "code": code}
            emit(logger, level, name, exc_info=False, **pairs)
        else:
            lines.untold += 1

    def account(self) -> Account:
        """Return the counts so far."""
        return Account(list(self._totals.values()), list(self._rows.values()), self._forgotten)

    async def run(self) -> None:
        """Keep the file up to date, and tell what was not logged; until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(_SAVE_INTERVAL_S)
                self._end_intervals()
                tell_left_out()
                if self._has_changed:
                    data = self._encode()
                    await asyncio.to_thread(self._save, data)
        finally:
            if self._has_changed:
                self._save(self._encode())

    def _encode(self) -> bytes:
        self._has_changed = False
        return msgspec.json.encode(self.account())

    def _save(self, data: bytes) -> None:
        try:
            files.replace(self.path, data)
        except OSError as error:
            # Full, say. Recordings matter more; the next change tries again.
            self.tell("refusals_not_kept", code="os_error", status=500, error=error.strerror)

    def _end_intervals(self) -> None:
        now = self._clock.monotonic()
        for key, lines in list(self._lines.items()):
            if now - lines.started_at < lines.interval_s:
                continue
            if lines.untold:
                self._end_interval(key, lines, now)
            else:
                del self._lines[key]

    def _end_interval(self, key: tuple[str, str], lines: _LoggedLines, now: float) -> None:
        if lines.untold:
            name, code = key
            emit(logger, logging.INFO, f"{name}_more", code=code, count=lines.untold)
            lines.interval_s = min(lines.interval_s * 4, _INTERVAL_S_MAX)
        else:
            lines.interval_s = _INTERVAL_S
        lines.started_at, lines.logged, lines.untold = now, 0, 0


def load(data_dir: str) -> Account:
    """Return the counts that a daemon has kept; none, if there are none that can be read."""
    try:
        with open(layout.refusals_path(data_dir), "rb") as file:
            return msgspec.json.decode(file.read(), type=Account)
    except (OSError, msgspec.DecodeError):
        return Account()


def _key(row: Refused) -> _Key:
    return _Key(row.tenant, row.recording_id, row.code, row.status)


def _add(rows: OrderedDict[_Key, Refused], key: _Key, now_ms: int) -> None:
    row = rows.setdefault(key, Refused(*key, count=0, first_ms=now_ms, last_ms=now_ms))
    row.count += 1
    row.last_ms = now_ms
    rows.move_to_end(key)
