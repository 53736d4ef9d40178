"""What SimDisk forgets, what it never forgets, and that both outcomes of each choice do occur."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

import pytest

from tests.simdisk import PowerCut, SimDisk, When

SEEDS = range(60)


def after_cuts(prepare: Callable[[SimDisk], None]) -> list[dict[str, bytes]]:
    """Return the files after a power cut that follows ``prepare``, once per seed."""
    outcomes = []
    for seed in SEEDS:
        disk = SimDisk(random.Random(seed))
        disk.make_dirs("/d/e")
        prepare(disk)
        disk.power_cut()
        outcomes.append(disk.files())
    return outcomes


def create(disk: SimDisk, path: str, data: bytes, *, synced: bool) -> int:
    handle = disk.open_append(path, create=True)
    disk.write(handle, data)
    if synced:
        disk.sync(handle)
        disk.sync_dir(path.rpartition("/")[0])
    return handle


def test_what_was_synced_is_never_lost() -> None:
    def prepare(disk: SimDisk) -> None:
        create(disk, "/d/f", b"x" * 500, synced=True)

    assert after_cuts(prepare) == [{"/d/f": b"x" * 500}] * len(SEEDS)


def test_sync_all_makes_bytes_and_entries_durable() -> None:
    def prepare(disk: SimDisk) -> None:
        create(disk, "/d/f", b"x" * 500, synced=False)
        disk.rename("/d/f", "/d/e/g")
        disk.sync_all("/d")

    assert after_cuts(prepare) == [{"/d/e/g": b"x" * 500}] * len(SEEDS)


def test_a_synced_file_is_lost_with_its_entry_unless_the_directory_is_synced() -> None:
    def prepare(disk: SimDisk) -> None:
        disk.sync(create(disk, "/d/f", b"x", synced=False))

    outcomes = after_cuts(prepare)
    assert {} in outcomes
    assert {"/d/f": b"x"} in outcomes


def test_unsynced_bytes_are_kept_whole_or_in_part_or_damaged_or_not_at_all() -> None:
    def prepare(disk: SimDisk) -> None:
        handle = create(disk, "/d/f", b"s" * 100, synced=True)
        disk.write(handle, b"u" * 1000)

    found = [files["/d/f"] for files in after_cuts(prepare)]
    assert all(data.startswith(b"s" * 100) for data in found)
    tails = {data[100:] for data in found}
    assert b"" in tails
    assert b"u" * 1000 in tails
    assert any(tail and tail == b"u" * len(tail) and len(tail) < 1000 for tail in tails)
    assert any(b"\0" * 60 in tail for tail in tails)
    assert any(tail.strip(b"\0u") for tail in tails)


def test_bytes_dropped_by_a_failed_sync_can_be_lost_though_a_later_sync_succeeds() -> None:
    def prepare(disk: SimDisk) -> None:
        handle = create(disk, "/d/f", b"s" * 100, synced=True)
        disk.write(handle, b"u" * 100)
        disk.fail_at(disk.operations)
        with pytest.raises(OSError, match="Input/output error"):
            disk.sync(handle)
        disk.sync(handle)

    found = [files["/d/f"] for files in after_cuts(prepare)]
    assert any(data[100:] != b"u" * 100 for data in found)
    assert all(data.startswith(b"s" * 100) and len(data) == 200 for data in found)


def test_a_failed_sync_all_drops_the_bytes_of_every_file() -> None:
    def prepare(disk: SimDisk) -> None:
        create(disk, "/d/f", b"u" * 100, synced=False)
        create(disk, "/d/g", b"u" * 100, synced=False)
        disk.fail_at(disk.operations)
        with pytest.raises(OSError, match="Input/output error"):
            disk.sync_all("/d")
        disk.sync_all("/d")

    outcomes = after_cuts(prepare)
    for path in ("/d/f", "/d/g"):
        assert any(files[path] != b"u" * 100 for files in outcomes)


def test_a_rename_happens_whole_or_not_at_all() -> None:
    def prepare(disk: SimDisk) -> None:
        create(disk, "/d/f", b"new", synced=True)
        create(disk, "/d/e/f", b"old", synced=True)
        disk.rename("/d/f", "/d/e/f")

    outcomes = after_cuts(prepare)
    before = {"/d/f": b"new", "/d/e/f": b"old"}
    after = {"/d/e/f": b"new"}
    assert all(files in (before, after) for files in outcomes)
    assert before in outcomes
    assert after in outcomes


@pytest.mark.parametrize("synced", [("/d",), ("/d/e",), ("/d", "/d/e")])
def test_a_rename_is_durable_when_both_directories_are_synced(synced: tuple[str, ...]) -> None:
    def prepare(disk: SimDisk) -> None:
        create(disk, "/d/f", b"x", synced=True)
        disk.rename("/d/f", "/d/e/f")
        for path in synced:
            disk.sync_dir(path)

    outcomes = after_cuts(prepare)
    assert ({"/d/f": b"x"} in outcomes) == (len(synced) == 1)
    assert {"/d/e/f": b"x"} in outcomes


def test_an_unlink_is_lost_unless_the_directory_is_synced() -> None:
    def prepare(disk: SimDisk) -> None:
        create(disk, "/d/f", b"x", synced=True)
        disk.unlink("/d/f")

    outcomes = after_cuts(prepare)
    assert {} in outcomes
    assert {"/d/f": b"x"} in outcomes


def test_changes_of_different_entries_are_lost_independently() -> None:
    def prepare(disk: SimDisk) -> None:
        for name in "fg":
            disk.sync(create(disk, f"/d/{name}", b"x", synced=False))

    assert {frozenset(files) for files in after_cuts(prepare)} == {
        frozenset(),
        frozenset({"/d/f"}),
        frozenset({"/d/g"}),
        frozenset({"/d/f", "/d/g"}),
    }


def test_changes_of_one_entry_keep_their_order() -> None:
    def prepare(disk: SimDisk) -> None:
        disk.sync(create(disk, "/d/f", b"1", synced=False))
        disk.rename("/d/f", "/d/g")
        disk.sync(create(disk, "/d/f", b"2", synced=False))

    states: list[dict[str, bytes]] = [{}, {"/d/f": b"1"}, {"/d/g": b"1"}, {"/d/g": b"1", "/d/f": b"2"}]
    outcomes = after_cuts(prepare)
    assert all(files in states for files in outcomes)
    assert all(state in outcomes for state in states)


@pytest.mark.parametrize("when", ["before", "halfway", "after"])
def test_after_a_planned_cut_every_call_raises_until_the_power_is_back(when: When) -> None:
    disk = SimDisk()
    disk.make_dirs("/d")
    handle = create(disk, "/d/f", b"good", synced=True)
    disk.cut_at(disk.operations + 1, when=when)
    disk.write(handle, b"more")
    with pytest.raises(PowerCut):
        disk.sync(handle)
    calls: list[Callable[[], object]] = [
        lambda: disk.read("/d/f", 0, 9),
        lambda: disk.size("/d/f"),
        lambda: disk.list_dir("/d"),
        lambda: disk.close(handle),
        lambda: disk.truncate("/d/f", 0),
        lambda: disk.make_dirs("/d/e"),
    ]
    for call in calls:
        with pytest.raises(PowerCut):
            call()
    disk.power_cut()
    data = disk.read("/d/f", 0, 100)
    assert data == b"goodmore" if when == "after" else data.startswith(b"good")
    with pytest.raises(OSError, match="Bad file descriptor"):
        disk.write(handle, b"x")


def test_a_cut_comes_even_where_the_operation_itself_fails() -> None:
    disk = SimDisk()
    disk.cut_at(0, when="after")
    with pytest.raises(PowerCut):
        disk.unlink("/absent")


def test_a_write_on_a_full_disk_leaves_a_prefix_and_only_that_operation_fails() -> None:
    sizes = set()
    for seed in SEEDS:
        disk = SimDisk(random.Random(seed))
        handle = disk.open_append("/f", create=True)
        disk.fail_at(1, errno.ENOSPC)
        with pytest.raises(OSError, match="No space left"):
            disk.write(handle, b"abc")
        sizes.add(disk.size("/f"))
        assert b"abc".startswith(disk.read("/f", 0, 9))
        disk.truncate("/f", 0)
        disk.write(handle, b"abc")
        assert disk.read("/f", 0, 9) == b"abc"
    assert sizes == {0, 1, 2, 3}


def test_what_an_unsynced_truncation_took_may_come_back_and_what_it_left_stays() -> None:
    left = set()
    for seed in SEEDS:
        disk = SimDisk(random.Random(seed))
        disk.put("/f", b"kept" + b"x" * 100)
        disk.truncate("/f", 4, sync=False)
        assert disk.files()["/f"] == b"kept"
        disk.power_cut()
        data = disk.files()["/f"]
        assert data[:4] == b"kept"
        left.add("all" if data[4:] == b"x" * 100 else "none" if not data[4:] else "part")
    assert left == {"all", "none", "part"}


def test_nothing_is_appended_behind_an_unsynced_truncation() -> None:
    disk = SimDisk()
    disk.put("/f", b"abc")
    handle = disk.open_append("/f", create=False)
    disk.truncate("/f", 1, sync=False)
    with pytest.raises(AssertionError):
        disk.write(handle, b"x")
    disk.sync_all("/")
    disk.write(handle, b"x")
    assert disk.files()["/f"] == b"ax"


def test_a_copy_without_a_sync_is_a_new_file_like_any_other() -> None:
    def prepare(disk: SimDisk) -> None:
        disk.put("/d/f", b"abc")
        disk.copy("/d/f", "/d/g", offset=1, sync=False)

    found = {files.get("/d/g") for files in after_cuts(prepare)}
    assert {None, b"", b"bc"} <= found

    def prepare_synced(disk: SimDisk) -> None:
        prepare(disk)
        disk.sync_all("/d")

    assert {files.get("/d/g") for files in after_cuts(prepare_synced)} == {b"bc"}


def test_a_copy_cut_off_leaves_its_source_alone_and_a_part_at_most() -> None:
    for seed in SEEDS:
        disk = SimDisk(random.Random(seed))
        disk.put("/f", b"0123456789" * 30)
        disk.cut_at(0, when="halfway")
        with pytest.raises(PowerCut):
            disk.copy("/f", "/g", offset=100)
        disk.power_cut()
        assert disk.files()["/f"] == b"0123456789" * 30
        assert len(disk.files().get("/g", b"")) <= 200


def test_the_same_seed_gives_the_same_outcome() -> None:
    def prepare(disk: SimDisk) -> None:
        create(disk, "/d/f", b"u" * 1000, synced=False)

    assert after_cuts(prepare) == after_cuts(prepare)


def test_operations_are_numbered_and_named() -> None:
    disk = SimDisk()
    disk.make_dirs("/d/e")
    disk.make_dirs("/d/e")
    handle = create(disk, "/d/e/f", b"abc", synced=True)
    disk.close(handle)
    assert disk.size("/d/e/f") == 3
    assert disk.log == ["make_dirs /d/e", "open /d/e/f", "write 3", "sync", "sync_dir /d/e"]
    assert disk.operations == len(disk.log)
