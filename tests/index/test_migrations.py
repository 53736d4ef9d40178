"""An index of an old version becomes one of today's that knows all that it knew, and can do all that is new.

Method: the old file is made by the first scripts alone, through statements as that version had them. What it
must say afterwards, a naive model that was told the same says.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.index import queries
from rrd.index.migrations import scripts
from rrd.index.values import block_values, metadata_values
from tests.index.index_model import (
    Model,
    Step,
    assert_same,
    assert_sets,
    groups,
    in_new_directory,
    live_on,
    opened,
    spread_blocks,
)
from tests.thoroughness import examples


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"{tmp_path}/index.sqlite"


@contextmanager
def new_file(path: str, *, version: int) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for number, script in enumerate(scripts()[:version], start=1):
            db.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
        db.execute("PRAGMA journal_mode = WAL")
        yield db


def make_version_1(path: str, workload: list[list[Step]], sealed: list[tuple[int, int]]) -> None:
    model = Model()
    with new_file(path, version=1) as db:
        for group in workload:
            for commit in model.apply_steps(group):
                db.execute(queries.PUT_BLOCK, block_values(commit))
                db.executemany(queries.PUT_METADATA, list(metadata_values(commit)))
        db.executemany("UPDATE segment SET state = 1 WHERE row_id = ? AND number = ?", sealed)


@given(groups, st.randoms(use_true_random=False))
@settings(max_examples=examples(15), deadline=None)
def test_migrated_index_says_what_it_knew_and_lives_on(
    workload: list[list[Step]], rnd: random.Random
) -> None:
    async def proof(path: str) -> None:
        model = Model()
        for group in workload:
            model.apply_steps(group)
        sealed = [place for place in model.active() if rnd.random() < 0.5]
        for place in sealed:
            model.seal(*place)
        make_version_1(path, workload, sealed)
        for entry in model.recordings.values():
            # The best that version 1 knew of when the last block was stored.
            known = [entry.created_ms, *(row.at_ms for row in entry.metadata.values())]
            known += [commit.stored_ms for commit in entry.commits if commit.quarantine_count]
            entry.migrated_stored_ms = max(known)
            entry.migrated_commits = len(entry.commits)
        async with opened(path) as index:
            await assert_same(index, model)
            for group in workload:
                await index.apply(model.apply_steps(group))
                await live_on(index, model, rnd)
                await assert_same(index, model)
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA user_version").fetchall() == [(len(scripts()),)]
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    in_new_directory(proof)


@pytest.mark.parametrize("version", [1, 2])
async def test_sets_of_64_recordings_a_row_become_sets_of_512(path: str, version: int) -> None:
    blocks = spread_blocks()
    with new_file(path, version=version) as db:
        for block in blocks:
            db.execute(queries.PUT_BLOCK, block_values(block))
            db.executemany(queries.PUT_METADATA, list(metadata_values(block)))
    async with opened(path) as index:
        await assert_sets(index, blocks)
        await index.remove("alpha", blocks.pop(3).recording)
        await assert_sets(index, blocks)


def test_scripts_that_were_released_are_never_edited() -> None:
    """Files out there have been through them."""
    digests = [hashlib.sha256(script.encode()).hexdigest()[:16] for script in scripts()]
    assert digests[0] == "0248c01ffb70e0f6"


def test_every_script_is_packaged() -> None:
    directory = Path(queries.__file__).parent
    assert len(scripts()) == len(list(directory.glob("*.sql")))
