"""How fast is the list of recordings, and how large the index, with a million recordings?

Builds an index of RECORDINGS recordings with eight metadata keys each, through the same statements
that ``Index.apply`` uses, then asks ``Index.list_recordings`` again and again, warm, and prints
latencies as a client of ``Index`` sees them (event loop and thread included).

    python -m bench.index_list [--recordings 1000000] [--keep FILE]

The values are made to be awkward: some shared by half of everybody, some by a few thousand
neighbours in time, some by one; browser and system depend on each other, so that two filters
that each match a fifth may match nothing together. One recording in a hundred belongs to a small tenant.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence

from rrd.index import queries
from rrd.index.index import Index
from rrd.index.rows import Commit, MetadataChange
from rrd.index.values import block_values, metadata_values

GROUP = 200  # Blocks in a transaction: a busy second's commit group.
START_MS = 1_700_000_000_000
BIG, SMALL = "big", "small"

Filters = Sequence[tuple[str, str]]


def commits(count: int) -> Iterator[Commit]:
    """The first block of each of ``count`` recordings."""
    random.seed(1)
    for row_id in range(1, count + 1):
        at_ms = START_MS + row_id * 500
        browser = random.randrange(5)
        metadata = {
            "environment": "production" if row_id % 2 else "staging",
            "plan": "paid" if row_id % 3 else "free",
            "browser": f"browser-{browser}",
            "system": f"system-{(browser + random.randrange(2)) % 5}",
            "country": f"country-{int(60 * random.random() ** 3)}",
            "release": f"2024.{row_id // 5000}",
            "userId": f"user-{random.randrange(count // 4):08d}",
            "sessionId": str(uuid.UUID(int=random.getrandbits(128))),
        }
        yield Commit(
            row_id=row_id,
            tenant=SMALL if row_id % 100 == 0 else BIG,
            recording=str(uuid.UUID(int=random.getrandbits(128), version=4)),
            created_ms=at_ms,
            segment=1,
            segment_size=5000,
            block_offset=200,
            stored_ms=at_ms,
            next_seq=51,
            event_count=50,
            first_ts=float(at_ms),
            last_ts=at_ms + 900.5,
            raw_size=50_000,
            block_size=5000,
            duplicate_count=0,
            quarantine_count=0,
            metadata=tuple(MetadataChange(key, value, at_ms) for key, value in metadata.items()),
        )


def build(path: str, count: int) -> list[float]:
    """Fill a new index; return what each group took, s."""
    asyncio.run(_touch(path))
    db = sqlite3.connect(path, isolation_level=None)
    # As the daemon's writer, so that the time for a group is the daemon's too.
    for setting in ("synchronous = NORMAL", "cache_size = -32768", "wal_autocheckpoint = 4000"):
        db.execute(f"PRAGMA {setting}")
    took: list[float] = []
    source = commits(count)
    while group := [commit for _, commit in zip(range(GROUP), source, strict=False)]:
        start = time.perf_counter()
        db.execute("BEGIN IMMEDIATE")
        db.executemany(queries.PUT_BLOCK, [block_values(commit) for commit in group])
        db.executemany(queries.PUT_METADATA, [row for commit in group for row in metadata_values(commit)])
        db.execute("COMMIT")
        took.append(time.perf_counter() - start)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return took


async def _touch(path: str) -> None:
    await (await Index.open(path)).close()


def cases(count: int) -> dict[str, tuple[str, Filters, int]]:
    """What is asked: name to (tenant, filters, offset)."""
    db_user = ("userId", "user-00000007")
    half = ("environment", "production")
    return {
        "no filter": (BIG, (), 0),
        "no filter, the small tenant": (SMALL, (), 0),
        "no filter, offset 90 %": (BIG, (), count * 9 // 10),
        "both selective": (BIG, (db_user, ("release", "2024.3")), 0),
        "one selective, one half of all": (BIG, (half, db_user), 0),
        "half and third, large overlap": (BIG, (half, ("plan", "free")), 0),
        "half and third, offset 10 %": (BIG, (half, ("plan", "free")), count // 10),
        "fifth and fifth, no overlap": (BIG, (("browser", "browser-0"), ("system", "system-3")), 0),
        "half, and the oldest 5,000": (BIG, (half, ("release", "2024.0")), 0),
        "half, of the small tenant: none": (SMALL, (half, ("plan", "free")), 0),
        "four filters": (
            BIG,
            (half, ("plan", "free"), ("browser", "browser-0"), ("system", "system-1")),
            0,
        ),
        "a value that nobody has": (BIG, (half, ("plan", "none")), 0),
    }


async def ask(path: str, count: int, rounds: int) -> None:
    index = await Index.open(path)
    print(f"{'list of 50, newest first':34} {'found':>5} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}")
    for name, (tenant, filters, offset) in cases(count).items():
        took: list[float] = []
        found = 0
        for _ in range(rounds):
            start = time.perf_counter()
            found = len(await index.list_recordings(tenant, filters=filters, limit=50, offset=offset))
            took.append(1e3 * (time.perf_counter() - start))
        percentiles = statistics.quantiles(took, n=100)
        print(f"{name:34} {found:5} {percentiles[49]:8.2f} {percentiles[98]:8.2f} {max(took):8.2f}")
    start = time.perf_counter()
    for _ in range(rounds):
        await index.statistics(BIG, month_start_ms=START_MS)
    print(f"{'statistics':34} {'':5} {1e3 * (time.perf_counter() - start) / rounds:8.2f}")
    await index.close()


def sizes(path: str, count: int) -> None:
    """Bytes a recording, and of which table where SQLite can tell (dbstat is a compile-time option)."""
    print(f"\n{os.path.getsize(path) / count:8.0f} bytes a recording, of which")
    db = sqlite3.connect(path)
    try:
        rows = db.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC").fetchall()
    except sqlite3.OperationalError:
        rows = [("(this SQLite was built without dbstat)", 0)]
    db.close()
    for name, size in rows:
        print(f"{size / count:8.1f} {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recordings", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--keep", metavar="FILE", help="build the index here, or use the one that is here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path: str = options.keep or os.path.join(directory, "index.sqlite")
        if not os.path.exists(path):
            took = build(path, options.recordings)
            percentiles = statistics.quantiles(took, n=100)
            print(
                f"built {options.recordings:,} recordings in {sum(took):.0f} s, {GROUP} in a transaction: "
                f"p50 {1e3 * percentiles[49]:.1f} ms, p99 {1e3 * percentiles[98]:.1f} ms, "
                f"max {1e3 * max(took):.0f} ms\n"
            )
        asyncio.run(ask(path, options.recordings, options.rounds))
        sizes(path, options.recordings)


if __name__ == "__main__":
    main()
