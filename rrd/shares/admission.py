"""Who may come in: the quotas of each, and a fair share of the places that all have in common."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from rrd import layout
from rrd.clock import Clock
from rrd.config import Config
from rrd.disk import files
from rrd.errors import RefusedError, TooManySockets
from rrd.log import emit
from rrd.shares.limits import Scope, quota_limits_of
from rrd.shares.queue import Who
from rrd.shares.quotas import Kind, QuotaAccount, Quotas
from rrd.shares.room import Room, Times

logger = logging.getLogger(__name__)

_TIMES = Times(tenant=9, key=9, address=3)
"""One tenant or key gets nine tenths of all places at most, one address three quarters."""

_SAVE_INTERVAL_S = 10.0
_DAY_S = 86_400.0


class TooManyRequests(RefusedError):
    """``requests_max`` requests are under way, or the sender's share of them."""

    code = "too_many_requests"
    retry_after_s = 5


class _Days(msgspec.Struct):
    """``quotas.json``: bytes of the day that were spent, by key and by tenant."""

    saved_ms: int
    tenant: dict[str, float] = {}
    key: dict[str, float] = {}


class AdmittedPlace(NamedTuple):
    """A place that was taken, and where it is counted."""

    who: Who
    kind: Kind
    accounts: Sequence[tuple[Scope, QuotaAccount]]


class Admission:
    """Asked before anything begins. ``run`` keeps what was spent of a day's bytes in a file.

    The file is replaced each ``_SAVE_INTERVAL_S`` where it has changed, and not synced: a power cut may give
    some seconds' bytes back. A clock that was set back gives none, one that was set on a day's at most.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self.quotas = Quotas(quota_limits_of(config), clock.monotonic)
        self._clock = clock
        self._path = layout.quotas_path(config.data_dir)
        self.places = {
            "sockets": Room(config.sockets_max, _TIMES),
            "requests": Room(config.requests_max, _TIMES),
        }
        self._saved: dict[str, dict[str, float]] = {}
        self._take_up()

    async def reconfigure(self, config: Config) -> None:
        """Take new settings. What is under way keeps its place; what was used of a quota counts on."""
        self.places["sockets"].resize(config.sockets_max)
        self.places["requests"].resize(config.requests_max)
        await self.quotas.change(quota_limits_of(config))

    def enter(self, who: Who, kind: Kind) -> AdmittedPlace:
        """Take a place for a socket or a request; ``leave`` is owed.

        Raises ``OverQuota``, ``TooManySockets``, ``TooManyRequests``, and has taken none.
        """
        room = self.places[kind]
        accounts = self.quotas.enter(who, kind)
        if room.try_take(who):
            return AdmittedPlace(who, kind, accounts)
        self.quotas.leave(accounts, kind)
        if kind == "sockets":
            what = (
                f"all {room.size} sockets are" if not room.free else "this sender's share of the sockets is"
            )
            raise TooManySockets(f"{what} in use; send by POST, or try again later")
        raise TooManyRequests("too many requests are under way; try again in a moment")

    def leave(self, place: AdmittedPlace) -> None:
        """Give the place back."""
        self.places[place.kind].give_back(place.who)
        self.quotas.leave(place.accounts, place.kind)

    async def run(self) -> None:
        """Keep the file up to date until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(_SAVE_INTERVAL_S)
                days = self.quotas.days()
                if days != self._saved:
                    self._saved = days
                    await asyncio.to_thread(self._save, days)
        finally:
            self._save(self.quotas.days())

    def _save(self, days: dict[str, dict[str, float]]) -> None:
        try:
            files.replace(self._path, msgspec.json.encode(_Days(self._clock.now_ms(), **days)))
        except OSError as error:
            emit(logger, logging.WARNING, "quotas_not_kept", error=error.strerror)

    def _take_up(self) -> None:
        try:
            with open(self._path, "rb") as file:
                days = msgspec.json.decode(file.read(), type=_Days)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            emit(
                logger, logging.WARNING, "quotas_not_read", error=type(error).__name__,
                next_step="nothing: the bytes of the day are counted anew",
            )  # fmt: skip
            return
        ago_s = (self._clock.now_ms() - days.saved_ms) / 1000
        self.quotas.take_up({"tenant": days.tenant, "key": days.key}, ago_s=min(max(ago_s, 0.0), _DAY_S))
