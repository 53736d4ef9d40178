"""The recordings of one replay, looked through: their tables, their page views, what is damaged or gone.

A recording at a time. What is erased meanwhile is left out, as if it had never matched; what is damaged is
salvaged or refused as a read of it alone is (``damage``). All of it happens before an answer begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from itertools import islice

from aiohttp import web

from rrd.errors import BadRequest, CorruptSegment, StoreAway
from rrd.http.caller import GRANT, check_live
from rrd.http.damage import is_damage, log_damage, refusal, salvaged
from rrd.http.lookup import places
from rrd.http.reading import READ_SHARE, lane, reading
from rrd.http.services import Services
from rrd.http.writing import FIXED_BYTES
from rrd.index.rows import RecordingRow
from rrd.playback.compose import Group
from rrd.playback.need import Need, need_of
from rrd.playback.outline import groups_of
from rrd.playback.replay import TABLES_BYTES_MAX, Tables
from rrd.playback.salvage import Salvaged
from rrd.playback.table import ALWAYS, PlaybackTable, plan
from rrd.shares.queue import Who
from rrd.shelf.holdings import Holdings

GROUPS_MAX = 50_000
"""Page views that a replay may have; a recording of a day with a snapshot every five minutes has 288."""

_GROUP_BYTES = 512
"""What a page view takes in memory until its turn has come."""

_HOP_RUNS = 16
"""Runs of events, each of a block at most, that one visit to a thread looks through."""


class RefusedReplay(Exception):
    """A recording of a replay can't be read; ``response`` says so."""

    def __init__(self, response: web.Response) -> None:
        super().__init__()
        self.response = response


class Composition:
    """The page views of some recordings, and the tables to read them by."""

    def __init__(
        self, request: web.Request, services: Services, who: Who, rows: list[RecordingRow], *, salvages: bool
    ) -> None:
        """``rows``: as of when the replay is asked for; their local files must be claimed. ``salvages``: what
        is intact of a damaged recording is enough."""
        self.rows = rows
        self.groups: list[Group] = []
        self.missing_events = 0
        """How many events of damaged recordings are not there."""
        self.tables = Tables(self._make)
        self.is_local = True
        """No object is read, unless local files go away meanwhile."""
        self._request = request
        self._services = services
        self._who = who
        self._salvages = salvages
        self._salvaged: dict[int, PlaybackTable] = {}
        self._need = Need(0, 0)

    async def look_through(self, *, outlines: bool) -> None:
        """Plan all tables, and with ``outlines`` find all page views.

        Raises ``RefusedReplay`` for damage, ``StoreAway``, ``TooManyReads``, and ``BadRequest`` for more than
        ``GROUPS_MAX`` page views.
        """
        for number in range(len(self.rows)):
            while True:
                try:
                    await self._look_at(number, outlines=outlines)
                    break
                except StoreAway:
                    raise
                except (CorruptSegment, OSError) as error:
                    if not await self._get_round(number, error):
                        break
            if len(self.groups) > GROUPS_MAX:
                raise BadRequest(
                    f"these recordings have more than {GROUPS_MAX:,} page views, which is more than a replay"
                    " is made of; narrow the filter",
                    code="too_many_page_views",
                    parameter="meta",
                )

    def need(self) -> Need:
        """Return how much memory reading all of it takes at least, and at most."""
        beside = self.beside_bytes()
        share = self._services.config.read_bytes_max // READ_SHARE
        least = self._need.least + beside
        # Twice, since half of it is for blocks that several page views share.
        return Need(least, max(least, min(2 * self._need.most + beside, share)))

    def beside_bytes(self) -> int:
        """Return what of the memory that ``need`` tells is not for blocks."""
        return FIXED_BYTES + TABLES_BYTES_MAX + _GROUP_BYTES * len(self.groups)

    def threads(self) -> Executor:
        """Return the threads to read in."""
        return lane(self._services, self._who, is_local=self.is_local)

    def _make(self, number: int) -> PlaybackTable:
        found = self._salvaged.get(number)
        if found is not None:
            return found
        services = self._services
        return plan(services.disk, services.files, services.config.data_dir, Holdings.of(self.rows[number]))

    async def _look_at(self, number: int, *, outlines: bool) -> None:
        loop = asyncio.get_running_loop()
        is_local = Holdings.of(self.rows[number]).is_local
        threads = lane(self._services, self._who, is_local=is_local)
        table = await loop.run_in_executor(threads, self.tables.table, number)
        self.is_local = self.is_local and table.is_local
        if not outlines:
            return
        need = await loop.run_in_executor(threads, need_of, table)
        self._need = Need(max(self._need.least, need.least), max(self._need.most, need.most))
        beside = FIXED_BYTES + _GROUP_BYTES * len(self.groups)
        share = self._services.config.read_bytes_max // READ_SHARE
        least = need.least + beside
        most = max(least, min(need.most + beside, share))
        async with reading(self._services, self._who, least=least, most=most) as held_bytes:
            found = groups_of(table, number, bytes_max=max(1, held_bytes - beside))
            groups: list[Group] = []
            is_last = False
            while not is_last and len(self.groups) + len(groups) <= GROUPS_MAX:
                check_live(self._request[GRANT], self._services)
                hop, is_last = await loop.run_in_executor(threads, partial(_take, found))
                groups += hop
        self.groups += groups

    async def _get_round(self, number: int, error: CorruptSegment | OSError) -> bool:
        """Tell whether a recording is to be looked at again. Raises ``error``, if that is no damage."""
        row = self.rows[number]
        fresh = await self._services.index.recording(row.tenant, row.recording_id)
        if fresh is None or fresh.row_id != row.row_id:
            return False  # Erased meanwhile.
        self.tables.forget(number)
        if places(fresh) != places(row):
            # Its files have moved since they were looked up.
            self.rows[number] = fresh
            return True
        if number in self._salvaged or not is_damage(error):
            raise error
        found: Salvaged = await salvaged(self._services, self._who, fresh, ALWAYS)
        if not self._salvages:
            raise RefusedReplay(refusal(fresh, found, error))
        log_damage(fresh, found, error)
        self.missing_events += found.missing_events
        self._salvaged[number] = found.table
        return True


def _take(found: Iterator[Group | None]) -> tuple[list[Group], bool]:
    """Return the page views of some runs of events, and whether these are the last. Blocking."""
    hop = list(islice(found, _HOP_RUNS))
    return [group for group in hop if group is not None], len(hop) < _HOP_RUNS
