"""Starting again after damage of every kind, on a real disk; and ``rrd reindex``."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import msgspec
import pytest

from rrd import layout
from rrd.config import Config
from rrd.daemon.assembly import Seams
from rrd.disk.disk import OsDisk
from rrd.errors import ConfigError, CorruptSegment
from rrd.index import home
from rrd.index.contract import Index
from rrd.index.sqlite.index import SqliteIndex
from rrd.objects.files import ObjectFiles
from rrd.playback.splice import NDJSON
from rrd.playback.stream import read_in_order
from rrd.playback.table import plan
from rrd.recordings.source import Tally
from rrd.segment.scan import scan
from rrd.shelf.holdings import Holdings
from rrd.startup import rebuild as rebuilding
from rrd.startup.recovery import Recovered, lock_data_dir, recover, reindex
from tests.index.memory_index import MemoryIndex
from tests.samples import event, metadata
from tests.wired import Core, ManualClock, numbered_id, wired

TENANTS = ("t", "other")
A, B = numbered_id(0), numbered_id(1)


_NO_OBJECTS = cast(ObjectFiles, None)
"""What reads objects, where there are none."""


class Life(Core):
    """The daemon without its network."""

    send = Core.post

    async def rest(self) -> None:
        self.clock.seconds += 1000
        await self.registry.seal_idle()


def core(
    folder: Path, *, segment_bytes_max: int = 1 << 20, other: Index | None = None
) -> contextlib.AbstractAsyncContextManager[Life]:
    """``other``: an empty index of another kind, to be used instead of the one that is there."""

    async def open_other(_: str) -> Index:
        assert other is not None
        return other

    seams = Seams(ManualClock(), open_index=open_other) if other is not None else Seams(ManualClock())
    return wired(Life, _config(folder, segment_bytes_max=segment_bytes_max), seams)


def _config(folder: Path, *, segment_bytes_max: int = 1 << 20) -> Config:
    return msgspec.structs.replace(
        Config(data_dir=str(folder / "data"), disk_reserve_bytes=0, seal_idle_s=100),
        segment_bytes_max=segment_bytes_max,
    )


def _index_path(folder: Path) -> Path:
    return Path(home.index_path(str(folder / "data")))


def _segment(folder: Path, number: int = 1) -> Path:
    return next((folder / "data").rglob(f"*{A}.{number:06d}.ndjson.zst"))


def _delete_index(folder: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{_index_path(folder)}{suffix}").unlink(missing_ok=True)


async def _fill(folder: Path, other: Index | None = None) -> None:
    """Two recordings of two tenants, sealed and active segments, repeats, bad lines, metadata versions."""
    async with core(folder, segment_bytes_max=300, other=other) as filling:
        for tenant in TENANTS:
            await filling.send(metadata("user", "1"), event(3), event(1), tenant=tenant)
            filling.clock.seconds += 1
            await filling.send(event(3), event(4), b"not json", tenant=tenant)
            await filling.send(metadata("user", "2"), metadata("plan", "x"), tenant=tenant)
        await filling.send(event(1), recording_id=B)
        await filling.rest()
        await filling.send(event(9), event(10), metadata("user", "3"))
        await filling.send(b"nothing but this", recording_id=numbered_id(2))


async def _answers(index: Index, data_dir: str) -> dict[str, object]:
    """Everything that the API can say."""
    answers: dict[str, object] = {}
    for tenant in TENANTS:
        listed = await index.list_recordings(tenant, filters=[], limit=100, offset=0)
        answers[f"{tenant} list"] = listed
        answers[f"{tenant} found"] = await index.list_recordings(
            tenant, filters=[("user", "2"), ("plan", "x")], limit=100, offset=0
        )
        answers[f"{tenant} statistics"] = await index.statistics(tenant, month_start_ms=1_698_796_800_000)
        answers[f"{tenant} quarantine"] = await index.quarantine(tenant=tenant, recording_id=None)
        for entry in listed:
            key = f"{tenant} {entry.recording_id}"
            answers[f"{key} metadata"] = await index.metadata(tenant, entry.recording_id)
            row = await index.recording(tenant, entry.recording_id)
            assert row is not None
            answers[f"{key} row"] = row._replace(row_id=0)
            table = plan(OsDisk(), _NO_OBJECTS, data_dir, Holdings.of(row))
            chunks = read_in_order(table, form=NDJSON, bytes_max=1 << 20)
            answers[f"{key} events"] = b"".join(chunks)
    return answers


async def _answers_of(folder: Path) -> dict[str, object]:
    index = await SqliteIndex.open(str(_index_path(folder)))
    try:
        return await _answers(index, str(folder / "data"))
    finally:
        await index.close()


async def test_reindex_gives_the_answers_that_were_there_before(tmp_path: Path) -> None:
    await _fill(tmp_path)
    before = await _answers_of(tmp_path)
    assert not (await reindex(_config(tmp_path))).losses
    assert await _answers_of(tmp_path) == before


async def test_a_lost_index_is_rebuilt_at_the_start(tmp_path: Path) -> None:
    await _fill(tmp_path)
    before = await _answers_of(tmp_path)
    _delete_index(tmp_path)
    async with core(tmp_path) as again:
        assert await _answers(again.index, str(tmp_path / "data")) == before
        assert await again.send(event(4), event(11)) == Tally(stored=1, duplicates=1)


async def test_a_start_without_anything_to_recover_reads_nothing_and_changes_nothing(tmp_path: Path) -> None:
    await _fill(tmp_path)
    before = await _answers_of(tmp_path)
    async with core(tmp_path) as again:
        assert again.recovered == Recovered()
        assert await _answers(again.index, str(tmp_path / "data")) == before


_INDEX_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "junk": lambda data: b"no database at all",
    "header overwritten": lambda data: b"x" * 100 + data[100:],
    "cut off in its first page": lambda data: data[:1000],
    "pages overwritten": lambda data: data[:4096] + b"\xff" * (len(data) - 4096),
}


@pytest.mark.parametrize("damage", _INDEX_DAMAGE.values(), ids=_INDEX_DAMAGE)
async def test_a_damaged_index_is_set_aside_and_rebuilt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    await _fill(tmp_path)
    before = await _answers_of(tmp_path)
    path = _index_path(tmp_path)
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    async with core(tmp_path) as again:
        assert await _answers(again.index, str(tmp_path / "data")) == before
    (aside,) = path.parent.glob("index.sqlite.damaged-*")
    assert aside.read_bytes() == damaged
    assert "index_damaged" in caplog.text


async def test_a_daemon_runs_on_any_index_that_keeps_the_contract(tmp_path: Path) -> None:
    await _fill(tmp_path / "sqlite")
    filled, rebuilt = MemoryIndex(), MemoryIndex()
    await _fill(tmp_path / "memory", filled)
    answers = await _answers(filled, str(tmp_path / "memory" / "data"))
    assert answers == await _answers_of(tmp_path / "sqlite")
    async with core(tmp_path / "memory", other=rebuilt) as again:
        assert await _answers(rebuilt, str(tmp_path / "memory" / "data")) == answers
        assert await again.send(event(4), event(11)) == Tally(stored=1, duplicates=1)
    assert not _index_path(tmp_path / "memory").exists()


class _Crash(BaseException):
    pass


async def test_a_rebuild_that_was_cut_off_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _fill(tmp_path)
    before = await _answers_of(tmp_path)
    _delete_index(tmp_path)
    # A transaction for each recording, so that a crash can come between them.
    monkeypatch.setattr(rebuilding, "APPLY_MAX", 1)
    config = _config(tmp_path)
    index, rebuild = await home.open_index(config.data_dir)
    assert rebuild
    apply, calls = index.apply, 0

    async def apply_once(commits: Sequence[object]) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise _Crash
        await apply(commits)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(index, "apply", apply_once)
    with pytest.raises(_Crash):
        await recover(config, OsDisk(), index, rebuild=True)
    assert await index.oldest(tenant=None, after_row_id=0, limit=1)
    await index.close()
    async with core(tmp_path) as again:
        assert await _answers(again.index, str(tmp_path / "data")) == before
    async with core(tmp_path) as once_more:
        assert once_more.recovered == Recovered()


async def test_a_torn_tail_is_cut_off_and_a_copy_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with core(tmp_path) as first:
        await first.send(event(1), event(2))
    path = _segment(tmp_path)
    good = path.read_bytes()
    torn = good[200:290]
    path.write_bytes(good + torn)
    async with core(tmp_path) as again:
        assert again.recovered.torn == 1
        assert path.read_bytes() == good
        (copy,) = (tmp_path / "data/torn").iterdir()
        assert copy.read_bytes() == torn
        assert await again.send(event(2), event(3)) == Tally(stored=1, duplicates=1)
    assert _segment(tmp_path) == path
    assert "torn_tail_cut" in caplog.text


async def test_a_block_that_the_index_missed_is_taken_up(tmp_path: Path) -> None:
    async with core(tmp_path) as first:
        await first.send(event(1))
    shutil.copy(_index_path(tmp_path), tmp_path / "older")
    async with core(tmp_path) as second:
        await second.send(event(2), metadata("user", "1"))
    before = await _answers_of(tmp_path)
    _delete_index(tmp_path)
    shutil.copy(tmp_path / "older", _index_path(tmp_path))
    async with core(tmp_path) as again:
        assert again.recovered.blocks == 1
        assert await _answers(again.index, str(tmp_path / "data")) == before


@pytest.mark.parametrize("index", ["lost", "behind"])
async def test_damage_in_the_middle_is_told_and_left_alone_and_the_recording_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, index: str
) -> None:
    async with core(tmp_path) as first:
        await first.send(event(0))
    shutil.copy(_index_path(tmp_path), tmp_path / "older")
    async with core(tmp_path) as second:
        for number in (1, 2, 3):
            await second.send(event(number))
    path = _segment(tmp_path)
    data = bytearray(path.read_bytes())
    data[scan(OsDisk(), str(path)).blocks[1].offset + 20] ^= 1
    # With a torn tail on top, which must not be cut off here.
    damaged = bytes(data) + b"torn"
    path.write_bytes(damaged)
    _delete_index(tmp_path)
    if index == "behind":
        shutil.copy(tmp_path / "older", _index_path(tmp_path))
    async with core(tmp_path) as again:
        assert again.recovered.corrupt == 1
        assert again.recovered.torn == 0
        assert await again.send(event(3), event(10)) == Tally(stored=1, duplicates=1)
        row = await again.index.recording("t", A)
        assert row is not None
        assert [(segment.number, segment.state) for segment in row.segments] == [(1, "sealed"), (2, "active")]
        assert row.next_seq == 6
    (record,) = [record for record in caplog.records if "segment_corrupt" in record.getMessage()]
    assert record.levelno == logging.ERROR
    assert "rrd inspect" in record.getMessage()
    assert _segment(tmp_path).read_bytes() == damaged
    assert not (tmp_path / "data/torn").exists()


async def test_damage_below_what_the_index_knows_is_told_to_readers_and_the_recording_goes_on(
    tmp_path: Path,
) -> None:
    async with core(tmp_path) as first:
        for number in range(3):
            await first.send(event(number))
    path = _segment(tmp_path)
    data = bytearray(path.read_bytes())
    data[scan(OsDisk(), str(path)).blocks[1].offset + 20] ^= 1
    path.write_bytes(bytes(data))
    async with core(tmp_path) as again:
        assert await again.send(event(2), event(3)) == Tally(stored=1, duplicates=1)
        row = await again.index.recording("t", A)
        assert row is not None
        assert row.next_seq == 5
        with pytest.raises(CorruptSegment, match="at byte"):
            plan(OsDisk(), _NO_OBJECTS, str(tmp_path / "data"), Holdings.of(row))


async def test_a_segment_shorter_than_what_was_acked_is_damage_and_not_torn(tmp_path: Path) -> None:
    async with core(tmp_path) as first:
        await first.send(event(1))
        await first.send(event(2))
    path = _segment(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    async with core(tmp_path) as again:
        assert (again.recovered.corrupt, again.recovered.torn) == (1, 0)
        assert (await again.send(event(9))).stored == 1
        row = await again.index.recording("t", A)
        assert row is not None
        assert row.next_seq == 4, "numbers that were acked are not given again"


async def test_a_missing_segment_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with core(tmp_path) as first:
        await first.send(event(1))
    _segment(tmp_path).unlink()
    async with core(tmp_path) as again:
        assert again.recovered.missing == 1
        assert await again.send(event(1)) == Tally(stored=1)
    assert "segment_missing" in caplog.text


async def test_a_segment_that_was_only_begun_gives_its_number_back(tmp_path: Path) -> None:
    async with core(tmp_path) as first:
        await first.send(event(1))
        await first.rest()
        await first.send(event(2))
    path = _segment(tmp_path, 2)
    # The identity alone, and an index that has not heard of the segment.
    header = scan(OsDisk(), str(path)).blocks[0]
    path.write_bytes(path.read_bytes()[: header.offset])
    with contextlib.closing(sqlite3.connect(_index_path(tmp_path))) as db:
        db.execute("DELETE FROM segment WHERE number = 2")
        db.execute("UPDATE recording SET next_seq = 2")
        db.commit()
    async with core(tmp_path) as again:
        assert not path.exists()
        assert await again.send(event(2)) == Tally(stored=1)
    assert scan(OsDisk(), str(path)).verdict == "clean"


async def test_sealing_that_was_half_done_is_finished(tmp_path: Path) -> None:
    async with core(tmp_path) as first:
        await first.send(event(1))
        row = await first.index.recording("t", A)
        assert row is not None
        await first.index.seal([(row.row_id, 1)])
    assert "/active/" in str(_segment(tmp_path))
    async with core(tmp_path) as again:
        assert "/sealed/" in str(_segment(tmp_path))
        assert await again.send(event(1), event(2)) == Tally(stored=1, duplicates=1)


async def test_a_file_moved_before_the_index_knew_is_sealed_there_too(tmp_path: Path) -> None:
    async with core(tmp_path) as first:
        await first.send(event(1))
    name = layout.SegmentName("t", A, 1)
    target = Path(layout.sealed_path(str(tmp_path / "data"), name))
    target.parent.mkdir(parents=True, exist_ok=True)
    _segment(tmp_path).rename(target)
    async with core(tmp_path) as again:
        row = await again.index.recording("t", A)
        assert row is not None
        assert [segment.state for segment in row.segments] == ["sealed"]
        assert again.recovered.missing == 0


async def test_segments_of_a_recording_stay_together_though_one_lost_its_identity(tmp_path: Path) -> None:
    async with core(tmp_path, segment_bytes_max=1) as first:
        for number in range(3):
            await first.send(event(number))
    path = _segment(tmp_path, 2)
    path.write_bytes(b"\0" * 50 + path.read_bytes()[50:])
    _delete_index(tmp_path)
    async with core(tmp_path) as again:
        assert again.recovered.recordings == 1
        assert (await again.send(event(9))).stored == 1


async def test_files_that_are_no_segments_are_left_alone(tmp_path: Path) -> None:
    async with core(tmp_path) as first:
        await first.send(event(1))
    strange = tmp_path / "data/active/notes.txt"
    strange.write_text("mine")
    async with core(tmp_path) as again:
        assert again.recovered == Recovered()
    assert strange.read_text() == "mine"


async def test_a_data_directory_is_served_once_at_a_time(tmp_path: Path) -> None:
    async with core(tmp_path):
        with (
            pytest.raises(ConfigError, match="served by a running rrd"),
            lock_data_dir(str(tmp_path / "data")),
        ):
            pass
        with pytest.raises(ConfigError, match="served by a running rrd"):
            await reindex(_config(tmp_path))
    with lock_data_dir(str(tmp_path / "data")):
        pass
