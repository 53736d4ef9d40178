from __future__ import annotations

import os.path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd import layout
from rrd.index import home
from rrd.layout import SegmentName

names = st.builds(
    SegmentName,
    tenant=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True),
    recording_id=st.one_of(st.uuids().map(str), st.from_regex(r"[A-Za-z0-9_-]{8,64}", fullmatch=True)),
    number=st.integers(1, 10**9),
)


@given(names)
def test_a_segments_name_is_read_back_from_its_path(name: SegmentName) -> None:
    assert layout.parse_active(os.path.basename(layout.active_path("D", name))) == name
    sealed = layout.sealed_path("D", name)
    tenant = os.path.relpath(sealed, layout.sealed_root("D")).split("/")[0]
    assert layout.parse_sealed(tenant, os.path.basename(sealed)) == name


@given(names)
def test_segments_lie_where_their_directories_say(name: SegmentName) -> None:
    assert os.path.dirname(layout.active_path("D", name)) == layout.active_dir("D")
    assert os.path.dirname(layout.sealed_path("D", name)) == layout.sealed_dir("D", name)
    assert layout.sealed_dir("D", name).startswith(layout.sealed_root("D") + "/")
    # A file name may hold 255 bytes on the file systems of Linux.
    assert len(os.path.basename(layout.active_path("D", name))) <= 255


@given(names, names)
def test_two_segments_never_share_a_path(one: SegmentName, other: SegmentName) -> None:
    if one != other:
        assert layout.active_path("D", one) != layout.active_path("D", other)
        assert layout.sealed_path("D", one) != layout.sealed_path("D", other)


def test_segments_of_a_recording_sort_by_their_numbers() -> None:
    numbers = [1, 2, 9, 10, 99, 100, 1000, 999_999]
    paths = [layout.active_path("D", SegmentName("t", "recording", number)) for number in numbers]
    assert paths == sorted(paths)


@pytest.mark.parametrize(
    "file_name",
    [
        "",
        "x",
        ".ndjson.zst",
        "a.b.ndjson.zst",
        "a.b.c.ndjson.zst",
        "a.b.1.d.ndjson.zst",
        "a.b.1.ndjson",
        "a.b.-1.ndjson.zst",
    ],
)
def test_other_files_in_active_are_no_segments(file_name: str) -> None:
    assert layout.parse_active(file_name) is None


@pytest.mark.parametrize("file_name", ["", "b.ndjson.zst", "b.x.ndjson.zst", "a.b.1.ndjson.zst", "b.1.torn"])
def test_other_files_in_sealed_are_no_segments(file_name: str) -> None:
    assert layout.parse_sealed("t", file_name) is None


def test_everything_lies_below_the_data_directory() -> None:
    paths = [
        layout.lock_path("/d"),
        layout.keys_path("/d"),
        home.index_path("/d"),
        layout.active_dir("/d"),
        layout.sealed_root("/d"),
        layout.torn_dir("/d"),
    ]
    assert len(set(paths)) == len(paths)
    assert all(os.path.dirname(path) == "/d" for path in paths)
