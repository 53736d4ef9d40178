"""Retention's rounds: what ``retention`` decides is removed, unless a person is to be asked first.

Three things wait for ``rrd retention --confirm``, each by itself (``holds``):

- *clock*: the wall clock is ahead of what can be explained (``wall_clock``). Nothing goes by age, no
  tombstone is forgotten. It ends by itself when the clock is put back.
- *settings*: new ones, or old ones on a data directory that was not known before, that would remove more
  than ``retention_hold_percent`` of all at once. That is honest, and as often a typing error.
- *times*: recordings that have been due for longer than rounds have been made: the clock was wrong when
  they were stored.

Ageing needs no share: a round removes what came of age since the last one, however much was stored in that
hour. The same for bytes once the settings are in effect: otherwise a flood could make retention wait, and
fill the disk.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from rrd.clock import Clock
from rrd.config import Config
from rrd.errors import NotFound, RrdError
from rrd.index.contract import Index
from rrd.lifecycle.holds import Hold, Holds, State, What, new_id
from rrd.lifecycle.removal import Remover
from rrd.lifecycle.retention import Aged, Expiry, limits_of, look, share_by_age, share_by_bytes
from rrd.lifecycle.wall_clock import JUMP_MS, Reading, WallClock
from rrd.log import emit
from rrd.tombstones import Tombstones

ROUND_INTERVAL_S = 60.0
_POLL_INTERVAL_S = 2.0
"""How soon a confirmation is taken."""

_ROUND_MAX = 1000
"""Recordings removed before it is all counted anew."""

_THOROUGH_EVERY = 60
"""Rounds. Walking a million recordings takes seconds, and finds something only where the clock went wrong."""

_DAY_MS = 86_400_000

_FAMILIES: tuple[What, ...] = ("age", "tombstones", "bytes")

logger = logging.getLogger(__name__)


class Retention:
    """Removes what is too old or too much, round after round. For the event loop only."""

    def __init__(  # noqa: PLR0917 - each is the only one of its kind
        self,
        config: Config,
        index: Index,
        remover: Remover,
        clock: Clock,
        holds: Holds,
        tombstones: Tombstones | None = None,
    ) -> None:
        """Raises ``ConfigError`` if a setting of retention can't be read."""
        self._next: Config | None = None
        """Settings that count from the next round on."""
        self._take(config)
        self._index = index
        self._remover = remover
        self._clock = clock
        self._holds = holds
        self._tombstones = tombstones
        self._state: State | None = None
        self._saved: bytes = b""
        self._watch: WallClock | None = None
        self._rounds = 0

    def reconfigure(self, config: Config) -> None:
        """Take new settings from the next round on, which comes soon.

        A round under way has looked at its settings, and removes by these alone. New ones are held as at a
        start. Raises ``ConfigError`` if one can't be read, and has taken none.
        """
        limits_of(config)
        self._next = config

    def _take(self, config: Config) -> None:
        self._limits = limits_of(config)
        self._tombstone_ms = config.tombstone_days * _DAY_MS
        self._percent = config.retention_hold_percent
        self._settings = {
            "age": repr((config.retention_age.strip(), sorted(config.retention_age_of_tenant))),
            "bytes": repr((config.retention_bytes_max, sorted(config.retention_bytes_max_of_tenant))),
            "tombstones": repr(config.tombstone_days),
        }

    def held(self) -> list[str]:
        """Return what is held and why, a sentence each."""
        return [] if self._state is None else [hold.text() for hold in self._state.holds.values()]

    async def run(self) -> None:
        """A round every minute, and one when something is confirmed; until cancelled."""
        while True:
            try:
                while await self.round() >= _ROUND_MAX:
                    pass
            except (OSError, RrdError) as error:
                emit(logger, logging.ERROR, "retention_failed", error=error, next_step="it is tried again")
            await self._pause()

    async def _pause(self) -> None:
        """Wait for the next round's time, or for a confirmation."""
        for _ in range(int(ROUND_INTERVAL_S / _POLL_INTERVAL_S)):
            await asyncio.sleep(_POLL_INTERVAL_S)
            if self._holds.is_confirmed() or self._next is not None:
                return

    async def round(self) -> int:
        """Remove what goes now, up to 1,000 recordings. Return how many went."""
        if self._next is not None:
            self._take(self._next)
            self._next = None
            if self._watch is not None:
                self._watch.allow(self._shortest_age_ms(), self._percent)
        state, reading = await self._look_at_clocks()
        await self._take_confirmed(state)
        if (clock_hold := state.holds.get("clock")) is None and reading.is_ahead:
            # It was confirmed just now, or was not ahead enough to be held before.
            state, reading = await self._look_at_clocks()
            clock_hold = state.holds.get("clock")
        now_ms = reading.now_ms
        # By the wall clock, believed or not: so one confirmation is enough for both.
        for family in _FAMILIES:
            await self._consider(family, state, reading.wall_ms)
        by_age = clock_hold is None and "age" not in state.holds
        count, is_complete = await self._remove(state, now_ms, by_age=by_age)
        if by_age and is_complete:
            state.clean_ms = max(now_ms, state.clean_ms or 0)
        if clock_hold is None and "tombstones" not in state.holds and self._tombstones is not None:
            await asyncio.to_thread(self._tombstones.forget, now_ms - self._tombstone_ms)
        await self._save(state)
        return count

    async def _look_at_clocks(self) -> tuple[State, Reading]:
        state = self._state
        if state is None:
            state = await asyncio.to_thread(self._holds.load)
            for hold in state.holds.values():
                _tell(hold)
        if self._watch is None:
            self._watch = await self._make_watch(state)
        self._state = state
        reading = self._watch.look()
        state.trusted_ms, state.is_ahead = reading.trusted_ms, reading.is_ahead
        if not reading.is_ahead:
            _lift(state, "clock", "the clocks agree again")
        elif "clock" not in state.holds:
            share = await share_by_age(self._index, self._limits, now_ms=reading.wall_ms)
            await self._hold(
                state,
                Hold(
                    new_id(), "clock", reading.wall_ms, ahead_ms=reading.ahead_ms,
                    recordings=share.recordings, bytes=share.bytes,
                ),
            )  # fmt: skip
        return state, reading

    async def _make_watch(self, state: State) -> WallClock:
        trusted_ms = state.trusted_ms
        if trusted_ms is None:
            newest_ms = await self._index.newest_stored_ms()
            trusted_ms = None if newest_ms is None else min(newest_ms, self._clock.now_ms())
        return WallClock(
            self._clock,
            trusted_ms=trusted_ms,
            was_ahead=state.is_ahead,
            age_ms=self._shortest_age_ms(),
            percent=self._percent,
        )

    def _shortest_age_ms(self) -> int | None:
        """Return the shortest age that anything is removed by; None if there is none."""
        return min((age for age in (*self._limits.ages(), self._tombstone_ms) if age), default=None)

    async def _take_confirmed(self, state: State) -> None:
        if not self._holds.is_confirmed():
            return
        ids = await asyncio.to_thread(self._holds.confirmed)
        for what, hold in list(state.holds.items()):
            if hold.id not in ids or hold.settings != self._settings.get(what, ""):
                # Confirmed were the settings that were told, and those are not the ones to be in effect now.
                continue
            if hold.what == "clock":
                assert self._watch is not None
                self._watch.accept(hold.ahead_ms)
            elif hold.what == "times":
                state.clean_ms = None
            else:
                self._take_effect(state, hold.what)
            del state.holds[what]
            emit(logger, logging.WARNING, "retention_confirmed", what=what, now=hold.now_ms)
        await self._save(state)
        await asyncio.to_thread(self._holds.forget_confirmed)

    async def _consider(self, what: What, state: State, now_ms: int) -> None:
        """Put settings into effect, unless they would remove too much at once: then hold them."""
        wanted = self._settings[what]
        if state.settings.get(what) == wanted:
            _lift(state, what, "the settings are those of before")
            return
        hold = state.holds.get(what)
        if hold is not None and hold.settings == wanted and hold.now_ms <= now_ms + JUMP_MS:
            return
        recordings, size, percent = await self._share(what, now_ms)
        if percent > self._percent:
            await self._hold(
                state,
                Hold(
                    new_id(),
                    what,
                    now_ms,
                    settings=wanted,
                    recordings=recordings,
                    bytes=size,
                    percent=percent,
                ),
            )
            return
        _lift(state, what, "they would not remove much now")
        self._take_effect(state, what)

    def _take_effect(self, state: State, what: What) -> None:
        state.settings[what] = self._settings[what]
        if what == "age":
            # How long something has been due by this age is not known.
            state.clean_ms = None

    async def _share(self, what: What, now_ms: int) -> tuple[int, int, float]:
        """Return recordings and bytes that settings would remove now, and which share that is."""
        if what == "tombstones":
            if self._tombstones is None or not self._tombstone_ms:
                return 0, 0, 0.0
            before_ms = now_ms - self._tombstone_ms
            count, count_of = await asyncio.to_thread(self._tombstones.count_done, before_ms)
            return count, 0, 100 * count / count_of if count_of else 0.0
        if what == "age":
            share = await share_by_age(self._index, self._limits, now_ms=now_ms)
        else:
            share = share_by_bytes(await self._index.tenants(), self._limits)
        return share.recordings, share.bytes, share.percent()

    async def _remove(self, state: State, now_ms: int, *, by_age: bool) -> tuple[int, bool]:
        """Remove what goes; return how many went, and whether nothing that should go is left."""
        limits = self._limits
        if not by_age:
            limits = limits._replace(age_ms=None, age_ms_of_tenant={})
        if "bytes" in state.holds:
            limits = limits._replace(bytes_max=0, bytes_max_of_tenant={})
        is_quick = self._rounds % _THOROUGH_EVERY != 0 and state.clean_ms is not None
        self._rounds += 1
        aged = None if state.clean_ms is None else Aged(state.clean_ms)
        goes = await look(
            self._index, limits, now_ms=now_ms, count_max=_ROUND_MAX, is_quick=is_quick, aged=aged
        )
        if by_age and aged is not None and not is_quick:
            await self._note_withheld(state, aged, now_ms)
        count, failed = await self._expire(goes)
        return count, len(goes) < _ROUND_MAX and not failed

    async def _expire(self, goes: list[Expiry]) -> tuple[int, int]:
        """Remove each; return how many went, and how many could not be removed."""
        count = size = failed = 0
        for row, _ in goes:
            try:
                receipt = await self._remover.expire(
                    row.tenant, row.recording_id, last_stored_ms=row.last_stored_ms
                )
            except NotFound:  # Erased, or written to in the meantime.
                continue
            except (OSError, RrdError) as error:
                # One that can't be removed now must not keep all the others.
                emit(logger, logging.ERROR, "expiry_failed", recording=row.recording_id, error=error)
                failed += 1
                continue
            count += receipt.recordings
            size += receipt.bytes
        if goes:
            emit(logger, logging.INFO, "retention", recordings=count, bytes=size)
        return count, failed

    async def _note_withheld(self, state: State, aged: Aged, now_ms: int) -> None:
        if not aged.withheld:
            _lift(state, "times", "they have gone")
            return
        hold = state.holds.get("times")
        if hold is None or hold.recordings < aged.withheld:
            await self._hold(
                state,
                Hold(
                    new_id(), "times", now_ms, before_ms=aged.clean_ms,
                    recordings=aged.withheld, bytes=aged.withheld_bytes,
                ),
            )  # fmt: skip

    async def _hold(self, state: State, hold: Hold) -> None:
        state.holds[hold.what] = hold
        # Before it is told: a person may confirm it at once.
        await self._save(state)
        _tell(hold)

    async def _save(self, state: State) -> None:
        data = msgspec.json.encode(state)
        if data != self._saved:
            await asyncio.to_thread(self._holds.save, state)
            self._saved = data


def _lift(state: State, what: What, why: str) -> None:
    if state.holds.pop(what, None) is not None:
        emit(logger, logging.WARNING, "retention_not_held", what=what, reason=why)


def _tell(hold: Hold) -> None:
    emit(
        logger, logging.WARNING, "retention_held", what=hold.what, reason=hold.text(),
        recordings=hold.recordings, bytes=hold.bytes,
        next_step="rrd retention shows what would go; rrd retention --confirm if that is right",
    )  # fmt: skip
