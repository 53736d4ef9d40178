"""Cutting off torn tails: the copy comes first, and a crash in between changes nothing."""

from __future__ import annotations

import contextlib
import errno
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.segment.repair import Torn, cut_torn_tails
from rrd.segment.scan import scan
from tests.segment.samples import NOTES, PATH, disk_with, events, sample
from tests.simdisk import PowerCut, SimDisk, When

SMALL = sample(events(1, 2), NOTES, events(3, 4, 5))
LAST = SMALL.offsets[-2]
TORN = "/torn"


def repair(disk: SimDisk) -> str | None:
    found = scan(disk, PATH)
    if found.verdict != "torn":
        return None
    (copy,) = cut_torn_tails(disk, [Torn(PATH, found)], torn_dir=TORN)
    return copy


def copies(disk: SimDisk) -> list[bytes]:
    return [data for path, data in disk.files().items() if path.startswith(TORN)]


@pytest.mark.parametrize("size", [LAST + 1, LAST + 103, LAST + 104, len(SMALL.data) - 1])
def test_a_torn_tail_is_copied_and_cut_off(size: int) -> None:
    disk = disk_with(SMALL.data[:size])
    copy = repair(disk)
    assert copy is not None
    assert disk.files() == {PATH: SMALL.data[:LAST], copy: SMALL.data[LAST:size]}
    assert scan(disk, PATH, deep=True).verdict == "clean"


@pytest.mark.parametrize("size", [0, 1, 7, SMALL.offsets[0] - 1])
def test_a_file_without_a_whole_identity_is_moved_aside_whole(size: int) -> None:
    disk = disk_with(SMALL.data[:size])
    copy = repair(disk)
    assert copies(disk) == ([SMALL.data[:size]] if size else [])
    assert (copy is None) == (size == 0)
    assert PATH not in disk.files()
    disk.power_cut()
    assert PATH not in disk.files()


def test_repairing_a_repaired_segment_does_nothing() -> None:
    disk = disk_with(SMALL.data[:-1])
    assert repair(disk) is not None
    before, operations = disk.files(), disk.operations
    assert repair(disk) is None
    assert (disk.files(), disk.operations) == (before, operations)


def test_a_second_torn_tail_at_the_same_offset_does_not_replace_the_first_copy() -> None:
    disk = disk_with(SMALL.data[:-1])
    repair(disk)
    disk.put(PATH, SMALL.data[:-2])
    repair(disk)
    assert sorted(copies(disk), key=len) == [SMALL.data[LAST:-2], SMALL.data[LAST:-1]]


@settings(deadline=None)
@given(
    size=st.sampled_from([5, LAST + 3, len(SMALL.data) - 1]),
    cuts=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(["before", "halfway", "after"])), min_size=1, max_size=3
    ),
    rng=st.randoms(use_true_random=False),
)
def test_a_repair_cut_off_anywhere_is_finished_by_the_next(
    size: int, cuts: list[tuple[int, When]], rng: random.Random
) -> None:
    disk = SimDisk(rng)
    disk.make_dirs("/active")
    disk.put(PATH, SMALL.data[:size])
    good_size = LAST if size > LAST else 0
    for operation, when in cuts:
        disk.cut_at(disk.operations + operation, when=when)
        with contextlib.suppress(PowerCut):
            if PATH in disk.files():
                repair(disk)
        disk.power_cut()
        # At each moment the tail is in the segment or in a copy, and the good part is there.
        data = disk.files().get(PATH, b"")
        assert data[:good_size] == SMALL.data[:good_size]
        assert data == SMALL.data[:size] or SMALL.data[good_size:size] in copies(disk)
    if PATH in disk.files():
        repair(disk)
    assert disk.files().get(PATH, b"") == SMALL.data[:good_size]
    assert SMALL.data[good_size:size] in copies(disk)


MANY = {
    f"/active/t.{name}.000001.ndjson.zst": SMALL.data[:size]
    for name, size in {"a": LAST + 1, "b": len(SMALL.data) - 1, "c": 5, "d": 0, "e": LAST + 103}.items()
}
"""Torn in different ways; two of them in their identity."""


def repair_all(disk: SimDisk) -> list[str | None]:
    found = [Torn(path, scan(disk, path)) for path in MANY if path in disk.files()]
    torn = [segment for segment in found if segment.found.verdict == "torn"]
    return cut_torn_tails(disk, torn, torn_dir=TORN)


def with_many(disk: SimDisk) -> SimDisk:
    disk.make_dirs("/active")
    for path, data in MANY.items():
        disk.put(path, data)
    return disk


def good_size(data: bytes) -> int:
    return LAST if len(data) >= LAST else 0


def test_many_torn_tails_take_two_syncs_and_are_all_cut_off_for_good() -> None:
    disk = with_many(SimDisk())
    made = repair_all(disk)
    assert [copy is not None for copy in made] == [len(data) > good_size(data) for data in MANY.values()]
    assert [step for step in disk.log if "sync" in step] == ["sync_all", "sync_all"]
    disk.power_cut()
    for path, data in MANY.items():
        assert disk.files().get(path, b"") == data[: good_size(data)]
    assert sorted(copies(disk)) == sorted(data[good_size(data) :] for data in MANY.values() if data)


@settings(deadline=None)
@given(
    cuts=st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(["before", "halfway", "after"])),
        min_size=1,
        max_size=3,
    ),
    rng=st.randoms(use_true_random=False),
)
def test_a_repair_of_many_cut_off_anywhere_is_finished_by_the_next(
    cuts: list[tuple[int, When]], rng: random.Random
) -> None:
    disk = with_many(SimDisk(rng))
    for operation, when in cuts:
        disk.cut_at(disk.operations + operation, when=when)
        with contextlib.suppress(PowerCut):
            repair_all(disk)
        disk.power_cut()
        for path, data in MANY.items():
            left = disk.files().get(path, b"")
            assert left[: good_size(data)] == data[: good_size(data)]
            assert left == data or data[good_size(data) :] in copies(disk)
    repair_all(disk)
    for path, data in MANY.items():
        assert disk.files().get(path, b"") == data[: good_size(data)]
        assert not data or data[good_size(data) :] in copies(disk)


@pytest.mark.parametrize("operation", range(3))
def test_a_failing_disk_loses_nothing(operation: int) -> None:
    disk = disk_with(SMALL.data[:-1])
    disk.fail_at(disk.operations + operation, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        repair(disk)
    assert disk.files()[PATH] == SMALL.data[:-1] or SMALL.data[LAST:-1] in copies(disk)
    assert repair(disk) is not None or disk.files()[PATH] == SMALL.data[:LAST]
    assert SMALL.data[LAST:-1] in copies(disk)


def test_corrupt_segments_are_never_touched() -> None:
    damaged = SMALL.data[:-1].replace(SMALL.block(1), bytes(len(SMALL.block(1))))
    disk = disk_with(damaged + SMALL.data[-1:])
    found = scan(disk, PATH)
    assert found.verdict == "corrupt"
    with pytest.raises(AssertionError):
        cut_torn_tails(disk, [Torn(PATH, found)], torn_dir=TORN)
    assert disk.files() == {PATH: damaged + SMALL.data[-1:]}
