"""Links that keep segments where they can be found while the daemon moves them and takes them away."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rrd.backup.staging import Staging
from rrd.layout import SegmentName, active_path, sealed_dir, sealed_path
from tests.samples import new_id

NAME = SegmentName("acme", "3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e6f", 1)


@pytest.fixture
def data_dir(tmp_path: Path) -> str:
    (tmp_path / "active").mkdir()
    Path(sealed_dir(str(tmp_path), NAME)).mkdir(parents=True)
    return str(tmp_path)


def test_a_linked_segment_outlives_its_name(data_dir: str) -> None:
    Path(active_path(data_dir, NAME)).write_bytes(b"acked")
    with Staging(data_dir) as staging:
        staging.link_all()
        os.rename(active_path(data_dir, NAME), sealed_path(data_dir, NAME))
        os.unlink(sealed_path(data_dir, NAME))
        assert Path(staging.path(NAME)).read_bytes() == b"acked"
    assert not list(Path(data_dir).glob("backing-up*"))


def test_what_is_appended_after_the_link_is_seen_through_it(data_dir: str) -> None:
    Path(active_path(data_dir, NAME)).write_bytes(b"acked")
    with Staging(data_dir) as staging:
        staging.link_all()
        with open(active_path(data_dir, NAME), "ab") as file:
            file.write(b" too")
        assert Path(staging.path(NAME)).read_bytes() == b"acked too"


@pytest.mark.parametrize("place", [active_path, sealed_path])
def test_a_segment_is_linked_wherever_it_lies_and_once(
    place: Callable[[str, SegmentName], str], data_dir: str
) -> None:
    Path(place(data_dir, NAME)).write_bytes(b"acked")
    with Staging(data_dir) as staging:
        assert staging.link(NAME)
        assert staging.link(NAME)
        staging.link_all()
        staging.drop(NAME)
        staging.drop(NAME)
        assert not Path(staging.path(NAME)).exists()
        assert not staging.link(NAME._replace(number=2))


def test_only_active_segments_whose_link_is_left_are_told(data_dir: str) -> None:
    names = [NAME._replace(recording_id=new_id()) for _ in range(3)]
    for name in names:
        Path(active_path(data_dir, name)).write_bytes(b"x")
    Path(sealed_path(data_dir, NAME)).write_bytes(b"x")
    with Staging(data_dir) as staging:
        staging.link_all()
        staging.drop(names[1])
        assert staging.left_active() == sorted([names[0], names[2]])


def test_a_backup_that_runs_keeps_its_links_when_another_begins(data_dir: str) -> None:
    Path(active_path(data_dir, NAME)).write_bytes(b"x")
    other = Path(data_dir, f"backing-up.{os.getppid()}")
    other.mkdir()
    with Staging(data_dir):
        assert other.exists()
    assert other.exists()
