"""What was removed is soon in no file of the index, whoever reads; a copy is one moment's state."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from rrd.index.rows import ObjectRow, SummaryRow
from rrd.index.sqlite import connections
from rrd.index.sqlite.connections import fetch
from rrd.index.sqlite.index import SqliteIndex
from tests.harness import until
from tests.index.index_model import RECORDINGS, UUID, commit, opened, with_metadata
from tests.loop_watch import as_daemon, watched

SECRET = "a visitor's address"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"{tmp_path}/index.sqlite"


@pytest.fixture
async def index(path: str) -> AsyncIterator[SqliteIndex]:
    async with opened(path) as index:
        yield index


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_SCRUB_PAUSE_S", 0.01)
    monkeypatch.setattr(connections, "_SCRUB_PAUSE_MAX_S", 0.02)


def holding(path: str, text: str) -> list[str]:
    """Return which of the index's files hold ``text``."""
    files = [file for file in (path, f"{path}-wal") if os.path.exists(file)]
    return [file for file in files if text.encode() in Path(file).read_bytes()]


def secret(row_id: int = 1) -> list[str]:
    """What must be gone with a recording: values short and long, old and new, and its id."""
    return [f"{SECRET} {row_id}", f"{SECRET} before {row_id}", RECORDINGS[row_id - 1]]


async def keep_secrets(index: SqliteIndex) -> None:
    """Fill an index with recordings that all hold some, one value longer than a page."""
    for row_id, recording_id in enumerate(RECORDINGS, start=1):
        now, before, _ = secret(row_id)
        block = commit(row_id, recording_id=recording_id)
        await index.apply([with_metadata(block, where=before)])
        await index.apply([with_metadata(block._replace(segment_size=2000), where=now + "!" * 9000)])
        await index.seal([(row_id, 1)])
        await index.plan_object(row_id, 1, 1)
        urls = (f"https://a.example/{before}", f"https://a.example/{now}")
        state = now.encode() + b"!" * 9000
        summary = SummaryRow(1, 2, 3, 4, 5, urls[0], urls, b"!" * 64, state)
        made = ObjectRow.published(
            1, 1, block.extent, last_segment_size=2000, size=1, crc32c=0, published_ms=1, has_local=True
        )
        await index.publish_object(row_id, made, (), summary)


@pytest.mark.usefixtures("_impatient")
async def test_removed_content_is_soon_in_no_file(index: SqliteIndex, path: str) -> None:
    await keep_secrets(index)
    assert holding(path, SECRET)
    await index.remove("alpha", UUID)
    await index.remove("alpha", RECORDINGS[2])
    for row_id in (1, 3):
        for text in secret(row_id):
            await until(lambda text=text: not holding(path, text), what=f"{text!r} to be gone")  # type: ignore[misc]
    # The others' is still there, and the index still works.
    assert holding(path, secret(2)[0])
    assert (await index.metadata("alpha", RECORDINGS[1]))[0].value.startswith(secret(2)[0])


@pytest.mark.usefixtures("_impatient")
async def test_log_is_cut_off_once_the_last_reader_of_an_old_state_is_gone(
    index: SqliteIndex, path: str
) -> None:
    """A command that reads the index, or a backup, neither fails a removal nor holds up ingest."""
    await keep_secrets(index)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        ((before,),) = reader.execute("SELECT count(*) FROM recording")
        await index.remove("alpha", UUID)
        for size in range(3000, 3200):
            await index.apply([commit(2, recording_id=RECORDINGS[1], size=size)._replace(segment=2)])
        assert reader.execute("SELECT count(*) FROM recording").fetchall() == [(before,)]
        assert holding(path, SECRET)
        reader.execute("ROLLBACK")
    for text in secret():
        await until(lambda text=text: not holding(path, text), what=f"{text!r} to be gone")  # type: ignore[misc]


@pytest.mark.usefixtures("_impatient")
async def test_log_that_a_crash_left_behind_is_cut_off_after_the_next_start(
    index: SqliteIndex, path: str, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        await keep_secrets(index)
        reader.execute("BEGIN")
        reader.execute("SELECT 1 FROM recording").fetchall()
        await index.remove("alpha", UUID)
        os.mkdir(f"{tmp_path}/crashed")
        crashed = f"{tmp_path}/crashed/index.sqlite"
        shutil.copy(path, crashed)
        shutil.copy(f"{path}-wal", f"{crashed}-wal")
    assert holding(crashed, secret()[0])
    async with opened(crashed) as after:
        for text in secret():
            await until(lambda text=text: not holding(crashed, text), what=f"{text!r} to be gone")  # type: ignore[misc]
        assert await after.recording("alpha", RECORDINGS[1]) is not None


async def test_deleted_content_is_overwritten(index: SqliteIndex) -> None:
    """Whatever this SQLite was built to do by itself."""
    assert await fetch(index._db.writer, "PRAGMA secure_delete") == [(1,)]


async def test_closing_cuts_off_the_log_though_the_next_try_was_to_come_later(path: str) -> None:
    async with opened(path) as index:
        await keep_secrets(index)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT 1 FROM recording").fetchall()
            await index.remove("alpha", UUID)
            await asyncio.sleep(0)
    assert not holding(path, secret()[0])


async def test_copy_is_one_moments_state_while_others_write(index: SqliteIndex, tmp_path: Path) -> None:
    names = [f"00000000-0000-4000-8000-{number:012d}" for number in range(1, 401)]
    pairs = [
        [
            with_metadata(commit(row_id, recording_id=names[row_id - 1]), k=str(row_id))
            for row_id in (first, first + 1)
        ]
        for first in range(1, 400, 2)
    ]
    for pair in pairs[:50]:
        await index.apply(pair)

    async def write() -> None:
        for pair in pairs[50:]:
            await index.apply(pair)

    writing = asyncio.create_task(write())
    copies = [tmp_path / f"copy-{number}" for number in range(3)]
    for copy in copies:
        copy.mkdir()
        await index.snapshot(str(copy))
    await writing
    for copy in copies:
        assert copy.joinpath("index.sqlite").stat().st_mode & 0o777 == 0o600
        async with opened(f"{copy}/index.sqlite") as copied:
            rows = await copied.oldest(tenant=None, after_row_id=0, limit=1000)
            assert len(rows) >= 100
            assert [row.row_id for row in rows] == list(range(1, len(rows) + 1))
            assert len(rows) % 2 == 0
            assert (await copied.metadata("alpha", names[0]))[0].value == "1"
            assert copied.next_row_id == len(rows) + 1


async def test_copy_never_replaces_anything(index: SqliteIndex, tmp_path: Path) -> None:
    taken = tmp_path / "taken" / "index.sqlite"
    taken.parent.mkdir()
    for content in (b"", b"mine"):
        taken.write_bytes(content)
        with pytest.raises(FileExistsError):
            await index.snapshot(str(taken.parent))
        assert taken.read_bytes() == content


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8])
async def test_cancelled_copy_leaves_nothing_or_a_whole_one(
    index: SqliteIndex, tmp_path: Path, turns: int
) -> None:
    await keep_secrets(index)
    copy = tmp_path / "copy"
    copy.mkdir()
    task = asyncio.create_task(index.snapshot(str(copy)))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() == (not copy.joinpath("index.sqlite").exists())
    assert await index.recording("alpha", UUID) is not None


_SLOW = """
WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 1000000)
SELECT max(n) FROM count"""


def test_a_close_that_was_cancelled_leaves_no_thread_that_outlives_its_loop(path: str) -> None:
    """Such a thread finds the loop closed, and a traceback follows whatever a command has said."""

    async def proof() -> None:
        db = await connections._connect(path)
        slow = asyncio.create_task(db.execute(_SLOW))
        closing = asyncio.create_task(connections._close(db))
        # The first time it waits for its turn, the second time for the thread's end.
        for _ in range(2):
            await asyncio.sleep(0)
            closing.cancel()
        await asyncio.wait([closing])
        slow.cancel()

    threads = threading.active_count()
    asyncio.run(proof())
    assert threading.active_count() == threads


async def test_many_recordings_of_many_segments_are_read_without_the_loop(index: SqliteIndex) -> None:
    names = [("alpha", f"00000000-0000-4000-8000-{number:012d}") for number in range(64)]
    blocks = [commit(row_id, recording_id=name) for row_id, (_, name) in enumerate(names, 1)]
    await index.apply([block._replace(segment=segment + 1) for block in blocks for segment in range(800)])
    with watched() as long_turns, as_daemon():
        found = await asyncio.create_task(index.recordings(names))
    assert [len(row.segments) for row in found if row is not None] == [800] * 64
    assert not long_turns
