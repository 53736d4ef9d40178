"""What the files of keys and tombstones stand on."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rrd.disk.sqlite_file import SqliteFile
from rrd.errors import DiskFull, RrdError
from tests.harness import ROOT

SCHEMA = {0: ("CREATE TABLE t (a INTEGER) STRICT",)}


def opened(path: object, *, version: int = 1) -> SqliteFile:
    return SqliteFile(str(path), SCHEMA, version=version, advice="Restore it.")


def values(file: SqliteFile) -> list[int]:
    with file.reading() as db:
        return [value for (value,) in db.execute("SELECT a FROM t ORDER BY a")]


def add(file: SqliteFile, value: int) -> None:
    with file.writing() as db:
        db.execute("INSERT INTO t VALUES (?)", (value,))


def test_it_is_private_whatever_the_umask_and_so_is_its_directory(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        file = opened(tmp_path / "data" / "file")
        add(file, 1)
    finally:
        os.umask(before)
    for path in (tmp_path / "data", *(tmp_path / "data").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    file.close()
    file.close()


def test_a_transaction_is_whole_or_nothing(tmp_path: Path) -> None:
    file = opened(tmp_path / "file")
    add(file, 1)
    with pytest.raises(ZeroDivisionError), file.writing() as db:  # noqa: PT012 - the second undoes the first
        db.execute("INSERT INTO t VALUES (2)")
        raise ZeroDivisionError
    assert values(file) == [1]
    file.close()


def test_what_was_committed_is_there_after_a_kill(tmp_path: Path) -> None:
    path = f"{tmp_path}/file"
    program = (
        "import os, signal\nfrom tests.disk.test_sqlite_file import add, opened\n"
        f"file = opened({path!r})\nadd(file, 1)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    file = opened(path)
    assert values(file) == [1]
    file.close()


def test_its_version_tells_of_every_commit_of_any_connection(tmp_path: Path) -> None:
    file, other = opened(tmp_path / "file"), opened(tmp_path / "file")
    seen = file.data_version()
    assert file.data_version() == seen
    for writer in (file, other, file):
        add(writer, 1)
        assert file.data_version() != seen
        seen = file.data_version()
        assert file.data_version() == seen
    other.close()
    file.close()


STEPS = {0: (), 1: ("ALTER TABLE t RENAME TO old", "CREATE TABLE t (a INTEGER, b INTEGER) STRICT",
                    "INSERT INTO t (rowid, a) SELECT rowid, a FROM old", "DROP TABLE old")}  # fmt: skip


def migrated(path: object) -> SqliteFile:
    return SqliteFile(str(path), STEPS, version=2, advice="")


def columns(file: SqliteFile) -> list[str]:
    with file.reading() as db:
        return [name for _, name, *_ in db.execute("PRAGMA table_info(t)")]


def test_it_is_migrated_once_and_keeps_its_rows_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = opened(path)
    for value in (3, 1, 2):
        add(file, value)
    # As the daemon of the release before has it, while the new command line runs.
    with file.reading() as db:
        assert db.execute("SELECT a FROM t").fetchall() == [(3,), (1,), (2,)]
    for _ in range(2):
        newer = migrated(path)
        assert columns(newer) == ["a", "b"]
        with newer.reading() as db:
            assert db.execute("SELECT a FROM t ORDER BY rowid").fetchall() == [(3,), (1,), (2,)]
        newer.close()
    assert values(file) == [1, 2, 3]
    file.close()


def test_several_may_migrate_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = opened(path)
    add(file, 1)
    file.close()
    together = threading.Barrier(4)

    def migrate() -> list[str]:
        together.wait()
        newer = migrated(path)
        try:
            return columns(newer)
        finally:
            newer.close()

    with ThreadPoolExecutor(4) as pool:
        assert [task.result() for task in [pool.submit(migrate) for _ in range(4)]] == [["a", "b"]] * 4


@pytest.mark.parametrize(("version", "words"), [(3, "made by a newer rrd"), (-1, "before the first release")])
def test_a_file_of_another_version_is_refused_and_left_alone(
    tmp_path: Path, version: int, words: str
) -> None:
    path = tmp_path / "file"
    file = opened(path)
    add(file, 1)
    file._writer.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(RrdError, match=words):
        migrated(path)
    assert columns(file) == ["a"]
    assert values(file) == [1]
    file.close()


def test_errors_name_the_file_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"not a database at all, and long enough to be looked at" * 20)
    with pytest.raises(RrdError, match=r"file: .*\. Restore it\."):
        opened(path)
    path.unlink()
    file = opened(path)
    file.close()
    with pytest.raises(sqlite3.ProgrammingError):
        values(file)


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    file = opened(tmp_path / "file")
    with file.reading() as db:
        ((pages,),) = db.execute("PRAGMA page_count")
    with file.writing() as db:
        db.execute("CREATE TABLE big (x TEXT) STRICT")
    file._writer.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(DiskFull), file.writing() as db:
        db.execute("INSERT INTO big VALUES (?)", ("x" * 100_000,))
    add(file, 1)
    assert values(file) == [1]
    file.close()
