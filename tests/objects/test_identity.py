"""Which store belongs to which data directory: every combination, and what becomes of it."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rrd.cli import main
from rrd.config import Config
from rrd.disk.disk import OsDisk
from rrd.errors import ConfigError, ObjectMissing, StoreAway, WrongStore
from rrd.objects.choose import open_store
from rrd.objects.identity import MARKER_KEY, Marker, Own, OwnedStore, Verdict, judge, read_own
from tests.audit_log import audited
from tests.harness import running

A, B = "id-a", "id-b"
HERE, THERE = "local:/here", "local:/there"

VERDICTS: list[tuple[Own | None, Marker | None, Verdict]] = [
    (None, None, "mark"),  # The first start, or an upgrade.
    (None, Marker(B), "foreign"),  # A new data directory, or one that is not mounted.
    (Own(A), None, "mark"),  # The store was away at the first start, or a crash came between; a restore.
    (Own(A), Marker(A), "same"),
    (Own(A), Marker(B), "foreign"),
    (Own(A, HERE), None, "emptied"),  # Not mounted.
    (Own(A, HERE), Marker(A), "same"),
    (Own(A, HERE), Marker(B), "foreign"),
    (Own(A, THERE), None, "other_store"),  # A wrong objects_dir.
    (Own(A, THERE), Marker(A), "same"),  # Moved.
    (Own(A, THERE), Marker(B), "foreign"),
]


@pytest.mark.parametrize(("own", "marker", "verdict"), VERDICTS)
def test_each_combination_has_its_verdict(own: Own | None, marker: Marker | None, verdict: Verdict) -> None:
    assert judge(own, marker, store_name=HERE) == verdict


async def confirmed(tmp_path: Path, data: str, objects: str) -> None:
    (tmp_path / data).mkdir(exist_ok=True)
    config = msgspec.convert(
        {"data_dir": str(tmp_path / data), "objects_dir": str(tmp_path / objects)}, Config
    )
    async with open_store(config, OsDisk()) as store:
        await store.confirm()


async def test_a_wrong_store_is_refused(tmp_path: Path) -> None:
    await confirmed(tmp_path, "data", "objects")
    await confirmed(tmp_path, "data", "objects")
    with pytest.raises(WrongStore, match="adopt-store"):
        await confirmed(tmp_path, "data", "wrong")
    assert not (tmp_path / "wrong").exists()
    with pytest.raises(WrongStore, match="belongs to another data directory"):
        await confirmed(tmp_path, "new", "objects")
    (tmp_path / "objects" / MARKER_KEY).unlink()
    with pytest.raises(WrongStore, match="not mounted"):
        await confirmed(tmp_path, "data", "objects")


def test_adopting_is_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(confirmed(tmp_path, "data", "objects"))
    monkeypatch.setenv("RRD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("RRD_OBJECTS_DIR", str(tmp_path / "moved"))
    assert main(["adopt-store"]) == 0
    assert audited(tmp_path / "data") == [{"event": "store_adopted", "store": "local"}]
    asyncio.run(confirmed(tmp_path, "data", "moved"))


async def test_a_second_daemon_with_a_copy_of_the_data_directory_is_refused(tmp_path: Path) -> None:
    await confirmed(tmp_path, "data", "objects")
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    objects = str(tmp_path / "objects")
    async with running(tmp_path / "data", objects_dir=objects):
        with pytest.raises(ConfigError, match="another daemon"):
            async with running(tmp_path / "copy", objects_dir=objects):
                pass
    async with running(tmp_path / "copy", objects_dir=objects):
        pass


class Elsewhere:
    """A store without files, such as a bucket, that two daemons reach."""

    name = "bucket"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.loses_answers = False
        self.puts_together: asyncio.Barrier | None = None
        """Puts end only when so many are at it."""

    async def put(self, key: str, path: str) -> None:
        self.objects[key] = await asyncio.to_thread(Path(path).read_bytes)
        if self.puts_together is not None:
            await self.puts_together.wait()
        if self.loses_answers:
            raise StoreAway("the answer was lost")

    async def read(self, key: str, offset: int, size: int) -> bytes:
        if key not in self.objects:
            raise ObjectMissing(key)
        return self.objects[key][offset : offset + size]

    async def delete(self, key: str) -> None:
        self.objects.pop(key, None)


async def test_of_two_daemons_on_a_bucket_the_first_stops_to_change_it(tmp_path: Path) -> None:
    bucket: Any = Elsewhere()
    (tmp_path / "a").mkdir()
    first = OwnedStore(bucket, str(tmp_path / "a"), OsDisk())
    await first.confirm()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    second = OwnedStore(bucket, str(tmp_path / "b"), OsDisk())
    await second.confirm()
    at = first.now()
    first.now = lambda: at + 3600
    bucket.objects["t/x"] = b"events"
    with pytest.raises(WrongStore, match="another daemon"):
        await first.delete("t/x")
    await second.delete("t/x")
    assert "t/x" not in bucket.objects


async def test_a_mark_whose_answer_was_lost_is_known_again(tmp_path: Path) -> None:
    bucket: Any = Elsewhere()
    bucket.loses_answers = True
    (tmp_path / "a").mkdir()
    with pytest.raises(StoreAway):
        await OwnedStore(bucket, str(tmp_path / "a"), OsDisk()).confirm()
    assert bucket.objects
    bucket.loses_answers = False
    # The same daemon, a moment later, or the next one.
    await OwnedStore(bucket, str(tmp_path / "a"), OsDisk()).confirm()


class FullDisk(OsDisk):
    """Takes no more bytes."""

    def write(self, handle: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_a_full_disk_keeps_a_daemon_from_nothing_but_putting(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    config = msgspec.convert(
        {"data_dir": str(tmp_path / "data"), "objects_dir": str(tmp_path / "objects")}, Config
    )
    path = tmp_path / "object"
    path.write_bytes(b"x")
    async with open_store(config, OsDisk()) as store:
        await store.put("acme/object", str(path))
    async with open_store(config, FullDisk()) as store:
        await store.delete("acme/object")
        async with open_store(config, OsDisk()) as second:
            with pytest.raises(WrongStore, match="another daemon uses"):
                await second.confirm()
    assert not (tmp_path / "objects" / "acme").exists()


async def test_of_two_that_find_no_mark_at_the_same_moment_one_is_refused(tmp_path: Path) -> None:
    bucket: Any = Elsewhere()
    bucket.puts_together = asyncio.Barrier(2)
    stores = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        stores.append(OwnedStore(bucket, str(tmp_path / name), OsDisk()))
    refused = await asyncio.gather(*(store.confirm() for store in stores), return_exceptions=True)
    assert [type(each) for each in refused if each is not None] == [WrongStore]


async def test_a_wrong_directory_is_an_error_at_the_start_and_lists_stay_clean(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as daemon:
        own = read_own(daemon.data_dir, OsDisk())
        assert own is not None
        assert own.store.endswith("/objects")
        assert [info async for info in daemon.parts.store.list()] == []
    with pytest.raises(WrongStore, match="adopt-store"):
        async with running(tmp_path / "data", objects_dir=str(tmp_path / "elsewhere")):
            pass
