"""The index's statements are answered from B-tree searches: what is read grows with the answer.

Method: SQLite's own account of each statement (https://www.sqlite.org/eqp.html) must show no walk
through a whole table and no sorting. It is taken on an empty index without statistics, which is
what the planner knows in production too, since nothing runs ANALYZE.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.index.sqlite import facets, listing, queries, sorting, summaries
from rrd.index.sqlite.migrations import scripts

COLUMNS = ("duration_ms", "active_ms", "errors", "raw_bytes")
READS = {
    "recording": queries.RECORDING,
    "recordings": queries.RECORDINGS,
    "metadata": queries.METADATA,
    "statistics": queries.STATISTICS,
    "active segments": queries.ACTIVE_SEGMENTS,
    "quarantine of a recording": queries.QUARANTINE_OF_RECORDING,
    "greatest row id": queries.GREATEST_ROW_ID,
    "seal": queries.SEAL,
    "to roll up": queries.TO_ROLL_UP,
    "backlog": queries.BACKLOG,
    "to evict": queries.TO_EVICT,
    "oldest": queries.OLDEST,
    "oldest of a tenant": queries.OLDEST_OF_TENANT,
    "removed": queries.REMOVED,
    "remove": queries.REMOVE,
    **{f"sorted: walk by {column}": sorting.walk_sql(column) for column in COLUMNS},
    **{f"sorted: few by {column}": sorting.at_least_sql(column) for column in COLUMNS},
    **{f"sorted: check {column}": sorting.check_sql(column) for column in COLUMNS},
    "sorted: chunks of when they began": sorting.BEGAN,
    "sorted: check when they began": sorting.CHECK_BEGAN,
    "sorted: standings": sorting.STANDINGS,
    "facets: tenant": facets.TENANT_ID,
    "facets: keys": facets.KEYS,
    "facets: key": facets.KEY_ID,
    "facets: beginning": facets.BETWEEN,
    "facets: beginning with the greatest": facets.FROM,
    "summary": summaries.READ,
    "summary: urls": summaries.URLS,
    "summary: forget urls": summaries.FORGET_URLS,
    "summary: tenant": summaries.TENANT,
    "summary: active time": summaries.PUT_ACTIVE,
    "list: set of a tenant": listing.TENANT_SET,
    "list: sets of filters": listing.filter_sets_sql(2),
    "list: chunks, no filter": listing.chunks_sql(1),
    "list: chunks, two filters": listing.chunks_sql(2),
    "list: chunks, as many filters as possible": listing.chunks_sql(listing.FILTERS_MAX),
    "list: recordings found": listing.LISTED,
}
# Called scans, but bounded: the first row of a table, a count that stops at a limit, an array of ours, what
# a subquery with a limit found, the steps of a recursion that counts them.
SCANS_ALLOWED = {
    "to evict": {"SCAN o"},
    "is empty": {"SCAN CONSTANT ROW", "SCAN recording USING COVERING INDEX sqlite_autoindex_recording_1"},
    "list: sets of filters": {"SCAN (subquery-1)", "SCAN (subquery-4)"},
    "list: chunks, no filter": {"SCAN (subquery-1)"},
    "list: chunks, two filters": {"SCAN (subquery-1)"},
    "list: chunks, as many filters as possible": {"SCAN (subquery-1)"},
    **{f"sorted: walk by {column}": {f"SCAN (subquery-{n})" for n in (1, 3, 4)} for column in COLUMNS},
    **{f"sorted: few by {column}": {"SCAN (subquery-1)"} for column in COLUMNS},
    **{f"sorted: check {column}": {"SCAN w VIRTUAL TABLE INDEX 1:"} for column in COLUMNS},
    "facets: keys": {"SCAN found"},
    "sorted: check when they began": {"SCAN w VIRTUAL TABLE INDEX 1:"},
    "sorted: standings": {"SCAN w VIRTUAL TABLE INDEX 1:"},
    "recordings": {"SCAN w VIRTUAL TABLE INDEX 1:"},
    "list: recordings found": {"SCAN CONSTANT ROW", "SCAN listed"},
}


_FROM_ARRAYS = {"SCAN (subquery-1)", "SCAN w VIRTUAL TABLE INDEX 1:"}


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as db:
        for script in scripts():
            db.executescript(script)
        yield db


def plan(db: sqlite3.Connection, sql: str) -> list[str]:
    names = (
        "tenant",
        "recording",
        "tenant_id",
        "value",
        "row_id",
        "count",
        "names",
        "month_start_ms",
        "settled_before_ms",
        "full_size",
        "published_before_ms",
        "after_row_id",
        "last_row_id",
        "limit",
        "row_ids",
        "count",
        "bytes_max",
    )
    parameters: object = dict.fromkeys(names, 1) if ":" in sql else (1,) * sql.count("?")
    return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", READS)
def test_statement_neither_scans_nor_sorts(db: sqlite3.Connection, name: str) -> None:
    steps = plan(db, READS[name])
    assert steps
    scans = {step for step in steps if "SCAN" in step} - SCANS_ALLOWED.get(name, set())
    assert not scans
    assert not [step for step in steps if "TEMP B-TREE" in step or "AUTOMATIC" in step]


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("to roll up", "SEARCH s USING INDEX segment_sealed (state=?)"),
        ("backlog", "SEARCH s USING INDEX segment_sealed (state=?)"),
        ("to evict", "SEARCH object USING INDEX object_local (published_ms<?)"),
        ("oldest", "SEARCH r USING INTEGER PRIMARY KEY (rowid>?)"),
        ("oldest of a tenant", "SEARCH r USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    ],
)
def test_work_is_found_by_an_index_of_what_waits(db: sqlite3.Connection, name: str, step: str) -> None:
    """However many recordings there are that nothing has to be done about."""
    assert step in plan(db, READS[name])


@pytest.mark.parametrize(
    ("column", "index"),
    [
        ("duration_ms", "standing_duration"),
        ("active_ms", "standing_active"),
        ("errors", "standing_errors"),
        ("raw_bytes", "standing_bytes"),
    ],
)
def test_a_sort_and_what_is_asked_of_it_read_an_index_alone(
    db: sqlite3.Connection, column: str, index: str
) -> None:
    """It has all that they read, in the order of the list, so that no row of a table is looked up."""
    covering = f"standing USING COVERING INDEX {index} (tenant_id=?"
    searches = [step for step in plan(db, sorting.walk_sql(column)) if "SEARCH" in step]
    assert searches == [
        f"SEARCH {covering} AND {column}=? AND rowid<?)",
        f"SEARCH {covering} AND {column}<?)",
    ]
    assert plan(db, sorting.at_least_sql(column))[1] == f"SEARCH {covering} AND {column}>?)"


def test_few_are_sorted_after_a_search_for_each(db: sqlite3.Connection) -> None:
    """It sorts, and no more than ``FEW``."""
    steps = plan(db, sorting.sorted_sql("active_ms"))
    assert "SEARCH s USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN" in steps
    assert not [step for step in steps if "SCAN" in step and step not in _FROM_ARRAYS]


def test_when_recordings_began_is_read_a_chunk_a_row(db: sqlite3.Connection) -> None:
    assert plan(db, sorting.BEGAN) == ["SEARCH began USING PRIMARY KEY (tenant_id=?)"]


@pytest.mark.parametrize("sql", [facets.BETWEEN, facets.FROM])
def test_suggestions_are_read_in_order_from_an_index_alone(db: sqlite3.Connection, sql: str) -> None:
    (step,) = plan(db, sql)
    assert step.startswith(
        "SEARCH facet USING COVERING INDEX facet_value (tenant_id=? AND key_id=? AND value>?"
    )


# Found by the number of a row, or by keys that begin with it.
STEPS = (
    "put_block",
    "put_plan",
    "put_published",
    "put_found",
    "put_evicted",
    "put_metadata",
    "put_standing",
    "put_url",
    "put_member",
    "take_member",
)


@pytest.mark.parametrize("view", STEPS)
def test_steps_walk_no_table(db: sqlite3.Connection, view: str) -> None:
    """Nor do its triggers: https://www.sqlite.org/opcode.html"""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({view})")]
    sql = f"INSERT INTO {view} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    program = db.execute(f"EXPLAIN {sql}", (1,) * len(columns)).fetchall()
    assert program
    assert not rewound(program)


def test_a_block_touches_nothing_that_lists_are_sorted_by(db: sqlite3.Connection) -> None:
    """Duration and bytes change with each block, and an index on them would have to."""
    sorts = {
        page
        for name, page in db.execute("SELECT tbl_name, rootpage FROM sqlite_schema WHERE rootpage > 0")
        if name in {"standing", "summary", "summary_url"}
    }
    assert len(sorts) == 7
    columns = [row[1] for row in db.execute("PRAGMA table_info(put_block)")]
    sql = f"INSERT INTO put_block ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    program = db.execute(f"EXPLAIN {sql}", (1,) * len(columns)).fetchall()
    opened = {row[3] for row in program if row[1] in {"OpenRead", "OpenWrite"}}
    assert opened
    assert not opened & sorts


def test_removal_walks_no_table(db: sqlite3.Connection) -> None:
    assert not rewound(db.execute(f"EXPLAIN {queries.REMOVE}", (1,)).fetchall())


def rewound(program: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Return the steps that set a cursor to the first or last row of a table or index that is in the file.

    A trigger is a program of its own, listed after the one that calls it, from address 0.
    """
    found = []
    in_file: set[object] = set()
    for row in program:
        address, operation, cursor, *_ = row
        if address == 0:
            in_file = set()
        elif operation in ("OpenRead", "OpenWrite"):
            in_file.add(cursor)
        elif operation in ("Rewind", "Last", "Sort") and cursor in in_file:
            found.append(row)
    return found


def test_list_of_all_quarantine_is_sorted_by_its_key(db: sqlite3.Connection) -> None:
    """It walks its table, which is all of the answer, and no other."""
    steps = plan(db, queries.QUARANTINE)
    assert [step for step in steps if "SCAN" in step] == ["SCAN q"]
    assert not [step for step in steps if "TEMP B-TREE" in step]


def test_intersection_walks_the_first_set_and_probes_the_others(db: sqlite3.Connection) -> None:
    assert plan(db, listing.chunks_sql(3)) == [
        "CO-ROUTINE (subquery-1)",
        "SEARCH p0 USING PRIMARY KEY (set_id=? AND chunk<?)",
        "SEARCH p1 USING PRIMARY KEY (set_id=? AND chunk=?)",
        "SEARCH p2 USING PRIMARY KEY (set_id=? AND chunk=?)",
        "SCAN (subquery-1)",
    ]


def as_chunks(row_ids: set[int]) -> list[tuple[int, int]]:
    """Return the chunks of a set, newest first."""
    chunks: dict[int, int] = {}
    for row_id in row_ids:
        chunks[row_id // 512] = chunks.get(row_id // 512, 0) | 1 << row_id % 512
    return sorted(chunks.items(), reverse=True)


@given(st.sets(st.integers(0, 8000)), st.integers(0, 70), st.integers(0, 70), st.integers(1, 10))
def test_newest_counts_bits_as_a_sorted_list_would(
    row_ids: set[int], limit: int, offset: int, piece_max: int
) -> None:
    """However large the pieces are."""
    rows = as_chunks(row_ids)
    newest = listing.Newest(limit=limit, offset=offset)
    while wanted := min(newest.chunks_wanted(), piece_max):
        newest.take([row for row in rows if row[0] < newest.before_chunk][:wanted], wanted)
    assert newest.row_ids == sorted(row_ids, reverse=True)[offset : offset + limit]


def test_deep_offset_is_walked_in_few_pieces_and_hardly_beyond_its_end() -> None:
    rows = as_chunks(set(range(0, 2_000_000, 3)))
    newest = listing.Newest(limit=50, offset=100_000)
    sizes = []
    while wanted := newest.chunks_wanted():
        sizes.append(wanted)
        newest.take([row for row in rows if row[0] < newest.before_chunk][:wanted], wanted)
    assert len(newest.row_ids) == 50
    needed = 100_050 * 3 // 512
    assert len(sizes) <= 4
    assert sum(sizes) < 1.2 * needed
