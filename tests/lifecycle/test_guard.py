from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.errors import DiskFull
from rrd.lifecycle.guard import Guard, free_bytes
from tests.harness import until

RESERVE = 1000


class SetDisk:
    """A disk with as much free as it is told; None: it can't be asked."""

    def __init__(self, free: int | None) -> None:
        self.free = free

    def __call__(self, path: str) -> int:
        assert path == "/data"
        if self.free is None:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return self.free


def watching(disk: SetDisk, reserve_bytes: int = RESERVE) -> Guard:
    # The clock stands still: it looks when it is told to.
    return Guard("/data", reserve_bytes, disk, monotonic=lambda: 0.0)


def test_what_is_near_the_reserve_is_refused_from_the_first_moment_on() -> None:
    refusal = watching(SetDisk(RESERVE - 1)).refusal()
    assert isinstance(refusal, DiskFull)
    assert refusal.status == 507
    assert watching(SetDisk(RESERVE)).refusal() is None


def test_each_refusal_is_a_fresh_error() -> None:
    guard = watching(SetDisk(0))
    assert guard.refusal() is not guard.refusal()


def test_a_refusal_ends_by_itself_when_there_is_room_to_spare() -> None:
    disk = SetDisk(RESERVE - 1)
    guard = watching(disk)
    # Just above the reserve it would turn with every block.
    for free, refuses in ((RESERVE, True), (1099, True), (1100, False), (RESERVE, False), (999, True)):
        disk.free = free
        guard.poll()
        assert (guard.refusal() is not None) is refuses, free


def test_it_is_low_before_anything_is_refused() -> None:
    for free, is_low in ((1999, True), (2000, False), (0, True)):
        assert watching(SetDisk(free)).is_low() is is_low


@given(st.lists(st.integers(0, 3000), min_size=1))
def test_the_reserve_is_kept_whatever_the_disk_does(course: list[int]) -> None:
    disk = SetDisk(course[0])
    guard = watching(disk)
    for free in course:
        disk.free = free
        guard.poll()
        refuses = guard.refusal() is not None
        assert refuses or free >= RESERVE
        assert not refuses or free < 1.1 * RESERVE
        assert guard.is_low() or not refuses


def test_without_a_reserve_nothing_is_ever_refused() -> None:
    guard = watching(SetDisk(0), reserve_bytes=0)
    assert guard.refusal() is None
    assert not guard.is_low()


def test_a_disk_that_cannot_be_asked_changes_nothing_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = SetDisk(0)
    guard = watching(disk)
    caplog.clear()
    disk.free = None
    for _ in range(3):
        guard.poll()
        assert guard.refusal() is not None
    assert [record.getMessage().partition(" ")[0] for record in caplog.records] == ["disk_not_watched"]
    assert watching(SetDisk(None)).refusal() is None


def test_the_log_tells_when_it_begins_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    disk = SetDisk(5000)
    guard = watching(disk)
    for free in (5000, 900, 800, 1050, 1200, 5000):
        disk.free = free
        guard.poll()
    told = [(record.levelname, record.getMessage().partition(" ")[0]) for record in caplog.records]
    assert told == [("WARNING", "disk_reserve_reached"), ("INFO", "disk_has_room_again")]


async def test_it_watches_by_itself() -> None:
    disk = SetDisk(5000)
    guard = watching(disk)
    watch = asyncio.create_task(guard.run())
    disk.free = 10
    await until(guard.refusal, what="the guard to notice a full disk")
    disk.free = 5000
    await until(lambda: guard.refusal() is None, what="the guard to notice room")
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch


def test_what_is_free_is_what_may_be_written(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    # Others write meanwhile; an answer in blocks or with root's share would be far off.
    assert free_bytes(str(tmp_path)) == pytest.approx(status.f_bavail * status.f_frsize, abs=1 << 30)
    with pytest.raises(FileNotFoundError):
        free_bytes(str(tmp_path / "absent"))
