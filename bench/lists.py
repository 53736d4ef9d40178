"""``python -m bench.lists [COUNT]``: sorted and filtered lists among a million recordings, beside plain ones.

Asks the index itself, one kind of list after the other in turns, so that whatever else the machine does meets
all kinds alike. Prints the processor time of a page of 50 (median, the longest), and of the longest turn, in
which no other read is served.

What happened in the recordings is made up: nineteen in twenty without an error, active times over four orders
of magnitude, urls of which a few are in nearly all recordings and most in nearly none.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from bench.daemon import TENANT
from bench.rows import many_recordings
from rrd.index import home
from rrd.index.rows import ListQuery
from rrd.index.sqlite import connections
from rrd.index.sqlite.index import SqliteIndex
from rrd.index.sqlite.values import digest

URLS = 2000
_ROUNDS = 15
_T = TypeVar("_T")


class Case(NamedTuple):
    name: str
    wanted: ListQuery | None
    filters: Sequence[tuple[str, str]] = ()
    offset: int = 0


def url(number: int) -> str:
    return f"https://shop.example/{number % 40}/{number}"


def add_summaries(data_dir: str, count: int) -> None:
    """Give each recording of an index that ``many_recordings`` built a summary."""
    path = home.index_path(data_dir)
    choose = random.Random(4)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        ((trigger,),) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'summary_gains_url'")
        db.execute("DROP TRIGGER summary_gains_url")
        ((tenant_id,),) = db.execute("SELECT tenant_id FROM tenant WHERE name = ?", (TENANT,))
        ((last_facet,),) = db.execute("SELECT max(facet_id) FROM facet")
        db.executemany(
            "INSERT INTO facet (facet_id, digest, tenant_id, key_id, value) VALUES (?, ?, ?, 0, ?)",
            [
                (last_facet + 1 + n, digest(TENANT, b"", url(n).encode()), tenant_id, url(n).encode())
                for n in range(URLS)
            ],
        )
        for _, group in itertools.groupby(range(1, count + 1), lambda row_id: row_id // 512):
            _add_group(db, list(group), choose, last_facet + 1)
        db.execute(trigger)
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _add_group(
    db: sqlite3.Connection, row_ids: Sequence[int], choose: random.Random, first_facet: int
) -> None:
    standings, summaries, urls = [], [], []
    members: dict[int, int] = {}
    for row_id in row_ids:
        # One that was left early lasts a second, the others up to hours: alike among the old and the new.
        duration_ms = 1000 * math.exp(choose.gauss(4, 2))
        active_ms = int(duration_ms * choose.random())
        errors = choose.randrange(1, 40) if choose.random() < 0.05 else 0
        standings.append((duration_ms, int(duration_ms) * 20, active_ms, errors, row_id))
        summaries.append(
            (row_id, choose.randrange(50), choose.randrange(9), 0, b"https://shop.example/", bytes(64))
        )
        if row_id % 100:
            facets = {first_facet + int(URLS * choose.random() ** 4) for _ in range(3)}
            urls += [(row_id, place, facet_id) for place, facet_id in enumerate(facets)]
            for facet_id in facets:
                members[facet_id] = members.get(facet_id, 0) | 1 << row_id % 512
    db.executemany(
        "UPDATE standing SET duration_ms = ?, raw_bytes = ?, active_ms = ?, errors = ? WHERE row_id = ?",
        standings,
    )
    db.executemany(
        "INSERT INTO summary (row_id, clicks, inputs, rage_bursts, first_url, activity, state)"
        " VALUES (?, ?, ?, ?, ?, ?, x'')",
        summaries,
    )
    db.executemany("INSERT INTO summary_url (row_id, place, facet_id) VALUES (?, ?, ?)", urls)
    chunk = row_ids[0] // 512
    db.executemany(
        f"INSERT INTO members VALUES ({', '.join('?' * 10)})",
        [(set_id, chunk, *many_recordings.words(bits)) for set_id, bits in members.items()],
    )


def cases(count: int) -> Iterator[Case]:
    """Yield the kinds of lists, the plain ones first."""
    half, user = [("environment", "production")], [("userId", "user-00000007")]
    release = [("release", f"2024.{count // many_recordings.NEIGHBOURS // 3}")]
    began = float(many_recordings.START_MS)
    span = float(count * many_recordings.APART_MS)
    yield Case("plain list", None)
    yield Case("plain list of half of all", None, half)
    yield Case("plain list, skipping 10 %", None, offset=count // 10)
    yield Case("newest, with summaries", ListQuery())
    for sort in ("duration", "active", "errors", "bytes"):
        wanted = ListQuery(sort=sort)
        yield Case(f"sort={sort}", wanted)
        yield Case(f"sort={sort}, half of all", wanted, half)
        yield Case(f"sort={sort}, one release", wanted, release)
        yield Case(f"sort={sort}, one user", wanted, user)
    yield Case("sort=active, skipping 10 %", ListQuery(sort="active"), offset=count // 10)
    yield Case("one day of long ago", ListQuery(from_ms=began + 0.1 * span, to_ms=began + 0.1 * span + 864e5))
    yield Case("a third, of long ago", ListQuery(from_ms=began, to_ms=began + span / 3))
    yield Case("since the middle", ListQuery(from_ms=began + span / 2))
    yield Case("hasErrors", ListQuery(has_errors=True))
    yield Case("hasErrors, sort=active", ListQuery(has_errors=True, sort="active"))
    yield Case("hasErrors, half of all, sort=duration", ListQuery(has_errors=True, sort="duration"), half)
    yield Case("minActive: 1 in 10", ListQuery(min_active_ms=500_000))
    yield Case("minActive: 1 in 10,000", ListQuery(min_active_ms=40_000_000))
    yield Case("minDuration: nearly all, sort=errors", ListQuery(min_duration_ms=1000, sort="errors"))
    yield Case("url of many", ListQuery(url=url(0)))
    yield Case("url of few", ListQuery(url=url(URLS - 1)))
    yield Case("url of many, sort=duration", ListQuery(url=url(0), sort="duration"))
    yield Case("urls that begin alike (50)", ListQuery(url="https://shop.example/3/*", sort="active"))
    oldest = ListQuery(to_ms=began + span / 3, sort="bytes")
    yield Case("the oldest third, sort=bytes, skipping a quarter", oldest, offset=count // 4)


class _Turns:
    """Measures the processor time of each turn of the reader's thread."""

    def __init__(self) -> None:
        self.took_ms: list[float] = []

    def wrap(self, call: Callable[..., _T]) -> Callable[..., _T]:
        def timed(*arguments: object) -> _T:
            started = time.thread_time()
            try:
                return call(*arguments)
            finally:
                self.took_ms.append(1e3 * (time.thread_time() - started))

        return timed


async def _ask(index: SqliteIndex, case: Case) -> int:
    part = await index.begin_list(
        TENANT, filters=case.filters, limit=50, offset=case.offset, bytes_max=1 << 30, wanted=case.wanted,
        encode=lambda found: found.recording_id.encode(),
    )  # fmt: skip
    return len(part.items)


async def measure(data_dir: str, count: int, rounds: int) -> dict[str, tuple[list[float], list[float], int]]:
    """Return for each kind of list the times of its pages and of their longest turns, ms, and its length."""
    turns = _Turns()
    plain = connections._in_one_state
    connections._in_one_state = turns.wrap(plain)
    found: dict[str, tuple[list[float], list[float], int]] = {}
    index = await SqliteIndex.open(home.index_path(data_dir))
    try:
        for number in range(rounds + 1):
            for case in cases(count):
                turns.took_ms = []
                size = await _ask(index, case)
                pages, longest, _ = found.setdefault(case.name, ([], [], size))
                if number:  # The first round fills the cache.
                    pages.append(sum(turns.took_ms))
                    longest.append(max(turns.took_ms))
    finally:
        await index.close()
        connections._in_one_state = plain
    return found


def main(count: int, data_dir: str | None = None) -> None:
    with tempfile.TemporaryDirectory(prefix="rrd-bench-") as directory:
        data_dir = data_dir or f"{directory}/data"
        if not os.path.exists(data_dir):
            many_recordings.build(data_dir, count)
            add_summaries(data_dir, count)
        print(f"{os.path.getsize(home.index_path(data_dir)) / count:.0f} bytes of index a recording")
        found = asyncio.run(measure(data_dir, count, _ROUNDS))
        print(f"{'list of 50':52} {'found':>5} {'median':>8} {'most':>8} {'turn':>8} ms")
        for name, (pages, longest, size) in found.items():
            print(f"{name:52} {size:5} {statistics.median(pages):8.2f} {max(pages):8.2f} {max(longest):8.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, *sys.argv[2:3])
