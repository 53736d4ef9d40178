"""How a group of blocks gets into the index: most of them by two updates, the others by ``put_block``.

Nearly each block makes a segment that is known longer, and brings events to a recording that is visible. Its
row of ``segment`` and its row of ``recording`` are then all that changes, so two statements that seek one row
each do it in half the time that the triggers of ``put_block`` need. Each of the two says in its terms what
``put_block`` would have refused, or done beside it: where a row is not found as it should be, the whole group
goes the other way, which is right for all, and says what is wrong.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from rrd.index.rows import Commit
from rrd.index.sqlite import queries
from rrd.index.sqlite.values import Row, block_values, metadata_values


class NotPlain(Exception):
    """A block is not what it seemed to be: ``put_each`` must take the group."""


def put(db: sqlite3.Connection, commits: Sequence[Commit]) -> None:
    """Write a group of blocks, within a transaction, which a failure must end.

    Raises ``NotPlain`` where ``put_each`` is to write it, in a transaction of its own; else as that.
    """
    if len({commit.row_id for commit in commits}) < len(commits):
        put_each(db, commits)  # Blocks of one recording keep their order, whichever kinds they are of.
        return
    plain = [commit for commit in commits if _is_plain(commit)]
    if len(plain) < len(commits):
        put_each(db, [commit for commit in commits if not _is_plain(commit)])
    _put_plain(db, plain)
    _put_metadata(db, plain)


def put_each(db: sqlite3.Connection, commits: Sequence[Commit]) -> None:
    """Write blocks of any kind, in order, within a transaction. Raises ``sqlite3.IntegrityError``."""
    db.executemany(queries.PUT_BLOCK, [block_values(commit) for commit in commits])
    _put_metadata(db, commits)


def _is_plain(commit: Commit) -> bool:
    """Tell whether a block seems to be none that makes a row."""
    extent = commit.extent
    return extent.event_count > 0 and not extent.quarantine_count and commit.segment_size > commit.block_size


def _put_plain(db: sqlite3.Connection, commits: Sequence[Commit]) -> None:
    added: dict[str, int] = {}
    for commit in commits:
        added[commit.tenant] = added.get(commit.tenant, 0) + commit.block_size
    tenant_ids: dict[str, int] = {}
    for tenant, size in added.items():
        found = db.execute(queries.TENANT_GREW, (size, tenant)).fetchall()
        if not found:
            raise NotPlain
        tenant_ids[tenant] = found[0][0]
    segments: list[Row] = []
    recordings: list[Row] = []
    for row_id, tenant, name, _, number, size, _, block_size, extent, _ in commits:
        first_seq, count, first_ts, last_ts, raw_size, stored_ms, duplicates, _ = extent
        segments.append((row_id, number, size, first_ts, last_ts))
        recordings.append(
            (
                row_id, name, tenant_ids[tenant], first_seq + count, last_ts,
                raw_size, block_size, duplicates, stored_ms,
            )
        )  # fmt: skip
    for statement, rows in ((queries.SEGMENT_GREW, segments), (queries.RECORDING_GREW, recordings)):
        if db.executemany(statement, rows).rowcount != len(commits):
            raise NotPlain


def _put_metadata(db: sqlite3.Connection, commits: Sequence[Commit]) -> None:
    changes = [change for commit in commits if commit.metadata for change in metadata_values(commit)]
    if changes:
        db.executemany(queries.PUT_METADATA, changes)
