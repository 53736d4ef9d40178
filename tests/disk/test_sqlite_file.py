"""What the files of keys and tombstones stand on."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
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


def test_it_is_migrated_once_and_one_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    opened(path).close()
    steps = {**SCHEMA, 1: ("ALTER TABLE t ADD b INTEGER",)}
    for _ in range(2):
        newer = SqliteFile(str(path), steps, version=2, advice="")
        with newer.reading() as db:
            assert [name for _, name, *_ in db.execute("PRAGMA table_info(t)")] == ["a", "b"]
        newer.close()
    with pytest.raises(RrdError, match="made by a newer rrd"):
        opened(path)
    # Nothing is kept open by one that could not be opened.
    os.unlink(path)
    opened(path).close()


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
