"""Segment files wherever they lie, on the simulated disk, cut off at each operation."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.index.rows import SegmentState
from rrd.layout import SegmentName
from rrd.segment.format import Identity, encode_identity
from rrd.shelf.entries import Unexpected
from rrd.shelf.shelf import Shelf
from tests.simdisk import PowerCut, SimDisk

DATA = "/data"
ID = "00000000-0000-4000-8000-0000000000ab"
NAMES = [SegmentName("t", ID, number) for number in (1, 2, 10)]


def contents(name: SegmentName) -> bytes:
    identity = Identity(
        tenant=name.tenant, recording_id=name.recording_id, number=name.number, salt=f"{name.number:032x}",
        created_ms=0, first_seq=1, previous_size=0,
    )  # fmt: skip
    return encode_identity(identity)


def shelf_with(names: list[SegmentName], *, rng: random.Random | None = None) -> Shelf:
    """Return a shelf whose segments are all in ``active/``, and on disk."""
    disk = SimDisk(rng)
    shelf = Shelf(disk, DATA)
    for directory in (shelf.active_dir, shelf.sealed_root, shelf.torn_dir, shelf.rolling_dir):
        disk.make_dirs(directory)
    for name in names:
        disk.put(shelf.active(name), contents(name))
    return shelf


def read(shelf: Shelf, name: SegmentName, first: SegmentState = "active") -> bytes:
    return shelf.at(name, lambda path: shelf.disk.read(path, 0, 1000), first=first)


@pytest.mark.parametrize("first", ["active", "sealed", "rolled"])
def test_a_segment_is_found_wherever_it_lies(first: SegmentState) -> None:
    shelf = shelf_with(NAMES)
    shelf.move_to_sealed(NAMES[:1])
    assert shelf.find(NAMES[0], first=first) == shelf.sealed(NAMES[0])
    assert shelf.find(NAMES[1], first=first) == shelf.active(NAMES[1])
    for name in NAMES:
        assert read(shelf, name, first) == contents(name)
        reader = shelf.reader(name, first=first)
        assert reader.read("", 0, reader.size("")) == contents(name)
    gone = NAMES[0]._replace(number=3)
    with pytest.raises(FileNotFoundError) as raised:
        shelf.find(gone, first=first)
    assert shelf.sealed(gone) in str(raised.value)


@pytest.mark.parametrize("first", ["active", "sealed"])
@pytest.mark.parametrize("moment", range(3))
def test_a_segment_is_found_though_it_is_moved_between_two_looks(first: SegmentState, moment: int) -> None:
    shelf = shelf_with(NAMES)
    looks: list[str] = []

    def look(path: str) -> bytes:
        if len(looks) == moment:
            shelf.move_to_sealed(NAMES)
        looks.append(path)
        return shelf.disk.read(path, 0, 1000)

    assert shelf.at(NAMES[0], look, first=first) == contents(NAMES[0])


@given(st.integers(0, 40), st.sampled_from(["before", "halfway", "after"]), st.randoms(use_true_random=False))
def test_a_move_that_a_power_cut_ends_loses_nothing_and_can_be_done_again(
    operation: int, when: str, rng: random.Random
) -> None:
    shelf = shelf_with(NAMES, rng=rng)
    disk = shelf.disk
    assert isinstance(disk, SimDisk)
    disk.cut_at(disk.operations + operation, when=when)  # type: ignore[arg-type]
    try:
        shelf.move_to_sealed(NAMES)
    except PowerCut:
        disk.power_cut()
    else:
        disk.power_cut()
        assert shelf.active_names() == []
    assert {*shelf.active_names(), *shelf.sealed_names()} == set(NAMES)
    for name in NAMES:
        assert read(shelf, name) == contents(name)
    shelf.move_to_sealed(NAMES)
    assert shelf.active_names() == []
    assert list(shelf.sealed_names()) == NAMES
    disk.power_cut()
    assert list(shelf.sealed_names()) == NAMES
    assert [read(shelf, name, "sealed") for name in NAMES] == [contents(name) for name in NAMES]
    assert shelf.unexpected() == []


@given(st.integers(0, 20), st.sampled_from(["before", "halfway", "after"]), st.randoms(use_true_random=False))
def test_copies_are_removed_for_good_and_nothing_else_is(
    operation: int, when: str, rng: random.Random
) -> None:
    shelf = shelf_with(NAMES, rng=rng)
    disk = shelf.disk
    assert isinstance(disk, SimDisk)
    shelf.move_to_sealed(NAMES[:2])
    # One in both places, as a power cut leaves it; and one of the same name with other contents.
    disk.put(shelf.active(NAMES[0]), contents(NAMES[0]))
    disk.put(shelf.active(NAMES[1]), b"something else")
    disk.cut_at(disk.operations + operation, when=when)  # type: ignore[arg-type]
    try:
        shelf.remove_copies(NAMES[:2])
    except PowerCut:
        disk.power_cut()
        shelf.remove_copies(NAMES[:2])
    disk.power_cut()
    assert list(shelf.sealed_names()) == []
    assert set(shelf.active_names()) - {NAMES[0]} == set(NAMES[1:])
    assert read(shelf, NAMES[1]) == b"something else"
    assert read(shelf, NAMES[2]) == contents(NAMES[2])


def test_it_lists_what_there_is_of_one_recording_and_what_should_not_be_there() -> None:
    shelf = shelf_with(NAMES)
    disk = shelf.disk
    assert isinstance(disk, SimDisk)
    other = SegmentName("t", f"{ID[:-3]}cab", 1)
    disk.put(shelf.active(other), contents(other))
    shelf.move_to_sealed([NAMES[0], other])
    torn = f"{shelf.torn_dir}/{shelf.active(NAMES[1]).rpartition('/')[2]}.120.0123abcd.torn"
    stray = f"{shelf.active_dir}/notes.txt"
    for path in (shelf.rolling(NAMES[0]), shelf.rolling(other), torn, stray):
        disk.put(path, b"x")
    found = shelf.of("t", ID)
    assert found.active == {2: shelf.active(NAMES[1]), 10: shelf.active(NAMES[2])}
    assert found.sealed == {1: shelf.sealed(NAMES[0])}
    assert found.rolling == {1: shelf.rolling(NAMES[0])}
    assert found.torn == [torn]
    assert shelf.with_leftovers() == sorted({NAMES[0][:2], other[:2]})
    assert sorted(shelf.rolling_paths()) == sorted([shelf.rolling(NAMES[0]), shelf.rolling(other)])
    assert [entry.path for entry in shelf.unexpected()] == [stray]
    told: list[Unexpected] = []
    assert shelf.active_names(told.append) == NAMES[1:]
    assert told
    assert sum(len(names) for _, names in shelf.entries_of("t", ID)) == 5


PATHS: dict[str, Callable[[Shelf, SegmentName], str]] = {
    "active": lambda shelf, name: shelf.active(name),
    "sealed": lambda shelf, name: shelf.sealed(name),
}


@pytest.mark.parametrize("path_of", PATHS.values(), ids=PATHS)
def test_a_path_tells_whose_place_it_is(path_of: Callable[[Shelf, SegmentName], str]) -> None:
    shelf = Shelf(SimDisk(), DATA)
    for name in NAMES:
        path = path_of(shelf, name)
        assert shelf.place_of(path) == name
        assert shelf.place_of(f"/elsewhere{path}") is None
        assert shelf.place_of(f"{path}.displaced") is None
    assert shelf.size_at(shelf.active(NAMES[0])) is None
