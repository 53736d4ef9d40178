"""The machinery of migrations, with scripts that a test makes up, and the schema that there is."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import aiosqlite
import pytest

from rrd.errors import IndexDamaged
from rrd.index.sqlite import queries
from rrd.index.sqlite.index import SqliteIndex
from rrd.index.sqlite.migrations import FIRST_VERSION, migrate, scripts
from tests.index.index_model import commit, opened
from tests.kept.test_kept_data import ARCHIVES

NEXT = "ALTER TABLE recording ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm';"
AFTER_NEXT = "UPDATE recording SET mood = mood || ' and awake';"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"{tmp_path}/index.sqlite"


async def migrated(path: str, *steps: str) -> None:
    async with aiosqlite.connect(path, isolation_level=None) as db:
        await migrate(db, path, steps)


def read(path: str, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


@pytest.mark.parametrize("at_once", [True, False])
async def test_each_script_runs_once_and_in_order(path: str, at_once: bool) -> None:
    async with opened(path) as index:
        await index.apply([commit()])
    steps = [*scripts(), NEXT, AFTER_NEXT]
    if not at_once:
        await migrated(path, *steps[:-1])
    for _ in range(2):
        await migrated(path, *steps)
    assert read(path, "SELECT mood FROM recording") == [("calm and awake",)]
    assert read(path, "PRAGMA user_version") == [(FIRST_VERSION + len(steps) - 1,)]


async def test_a_new_file_goes_through_all_scripts(path: str) -> None:
    await migrated(path, *scripts(), NEXT)
    assert read(path, "SELECT mood FROM recording") == []
    assert read(path, "PRAGMA user_version") == [(FIRST_VERSION + len(scripts()),)]


async def test_a_script_that_fails_leaves_the_file_as_it_was(path: str) -> None:
    async with opened(path) as index:
        await index.apply([commit()])
    before = read(path, "SELECT * FROM sqlite_master")
    with pytest.raises(sqlite3.OperationalError):
        await migrated(path, *scripts(), f"{NEXT}\nSELECT * FROM nowhere;")
    assert read(path, "SELECT * FROM sqlite_master") == before
    assert read(path, "PRAGMA user_version") == [(FIRST_VERSION + len(scripts()) - 1,)]
    async with opened(path) as index:
        assert await index.recording("alpha", commit().recording_id) is not None


@pytest.mark.parametrize("version", range(1, FIRST_VERSION))
async def test_a_version_that_was_never_released_is_to_be_made_anew(path: str, version: int) -> None:
    async with opened(path):
        pass
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {version}")
    before = read(path, "SELECT * FROM sqlite_master")
    with pytest.raises(IndexDamaged, match=r"before the first release.*rrd reindex"):
        await SqliteIndex.open(path)
    assert read(path, "SELECT * FROM sqlite_master") == before
    assert read(path, "PRAGMA user_version") == [(version,)]


def _schema(path: Path) -> dict[tuple[str, str], object]:
    """Return tables by their columns and keys, and all else by its text without comments and white space."""
    found: dict[tuple[str, str], object] = {}
    with closing(sqlite3.connect(path)) as db:
        for kind, name, sql in db.execute("SELECT type, name, sql FROM sqlite_master").fetchall():
            told: object = re.sub(r"\s+", " ", re.sub(r"--.*", "", sql or ""))
            if kind == "table":
                columns = db.execute(f"PRAGMA table_info({name})").fetchall()
                told = columns, db.execute(f"PRAGMA index_list({name})").fetchall()
            found[kind, name] = told
    return found


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.partition(".")[0])
async def test_an_index_of_an_earlier_day_has_the_schema_of_a_new_one(archive: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(archive, tmp_path)
    old, new = tmp_path / "data" / "index.sqlite", tmp_path / "new.sqlite"
    for path in (old, new):
        async with opened(str(path)):
            pass
    assert _schema(old) == _schema(new)
    assert read(str(old), "PRAGMA application_id") == read(str(new), "PRAGMA application_id")


def test_every_script_is_packaged() -> None:
    directory = Path(queries.__file__).parent
    assert len(scripts()) == len(list(directory.glob("*.sql")))
