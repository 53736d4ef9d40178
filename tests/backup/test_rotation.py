"""``rrd backup --keep``: dated backups side by side, and which of them go."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.backup.manifest import MANIFEST, read_manifest
from rrd.backup.rotation import OldBackup, Rotation, plan_removal, run_rotation
from rrd.cli import main
from rrd.config import Config
from rrd.disk.lock import FileLock
from rrd.errors import BadRequest, RrdError
from rrd.progress import Progress
from tests.exchange.exchange_lab import Client
from tests.harness import DaemonProcess
from tests.samples import new_id, some_events
from tests.wired import ManualClock

DAY_S = 86_400

BACKUPS = st.lists(
    st.builds(
        OldBackup,
        st.integers(0, 10**9).map("{:010}".format),
        st.booleans(),
        st.sampled_from(["included", "left out"]),
    ),
    unique_by=lambda each: each.name,
)


@given(backups=BACKUPS, keep=st.integers(1, 10))
def test_the_newest_stay_and_the_newest_complete_one(backups: list[OldBackup], keep: int) -> None:
    gone = plan_removal(backups, keep=keep)
    newest_first = sorted(backups, reverse=True)
    left = [each for each in newest_first if each.name not in gone]
    assert left[:keep] == newest_first[:keep]
    assert gone == sorted({each.name for each in backups} - {each.name for each in left})
    for objects in ("included", "left out"):
        if complete := [each for each in newest_first if each.is_complete and each.objects == objects]:
            assert complete[0] in left
    assert len(left) <= keep + 2
    for made in backups:
        assert made.name not in plan_removal(backups, keep=keep, made=made.name)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that no daemon serves any more."""
    place = tmp_path_factory.mktemp("origin")
    with DaemonProcess(place, flush_age_ms=20) as daemon:
        Client(daemon, "acme").post(new_id(), some_events(10))
        assert daemon.stop() == 0
    return place / "data"


def rotate(
    data_dir: Path, target: Path, clock: ManualClock, *, keep: int = 2, with_objects: bool = True
) -> Rotation:
    """Back up, a day after the last time."""
    clock.seconds += DAY_S
    config = Config(data_dir=str(data_dir))
    return asyncio.run(
        run_rotation(
            config, str(target), Progress(quiet=True), with_objects=with_objects, keep=keep, clock=clock
        )
    )


def test_each_backup_has_its_directory_and_the_oldest_go(data_dir: Path, tmp_path: Path) -> None:
    clock = ManualClock()
    made = [rotate(data_dir, tmp_path / "backups", clock) for _ in range(4)]
    assert [each.removed for each in made] == [[], [], [made[0].path], [made[1].path]]
    assert sorted(map(str, (tmp_path / "backups").iterdir())) == [made[2].path, made[3].path]
    assert read_manifest(made[3].path).recordings == 1
    assert Path(made[0].path).name == "2023-11-15T22-13-20Z"


def test_backups_that_begin_within_one_second_each_have_a_name(data_dir: Path, tmp_path: Path) -> None:
    clock, target = ManualClock(), tmp_path / "backups"
    names = []
    for _ in range(3):
        clock.seconds -= DAY_S
        names.append(Path(rotate(data_dir, target, clock).path).name)
    assert names == ["2023-11-14T22-13-20Z", "2023-11-14T22-13-21Z", "2023-11-14T22-13-22Z"]
    assert sorted(path.name for path in target.iterdir()) == names[1:]


def test_what_is_no_backup_of_this_data_directory_stays(data_dir: Path, tmp_path: Path) -> None:
    clock, target = ManualClock(), tmp_path / "backups"
    first = Path(rotate(data_dir, target, clock).path)
    other = Path(rotate(data_dir, target, clock).path)
    identity = other / "data" / "identity"
    identity.write_text(identity.read_text().replace('"id":"', '"id":"0'))
    unfinished = Path(rotate(data_dir, target, clock, keep=9).path)
    (unfinished / MANIFEST).unlink()
    shutil.copytree(first, target / "by-hand")
    (target / "2001-01-01T00-00-00Z").write_text("a file")
    before = {path.name for path in target.iterdir()}
    last = rotate(data_dir, target, clock, keep=1)
    assert last.removed == [str(first)]
    assert {path.name for path in target.iterdir()} == before - {first.name} | {Path(last.path).name}


def test_the_last_complete_backup_outlives_those_that_lack_something(data_dir: Path, tmp_path: Path) -> None:
    damaged, clock, target = tmp_path / "data", ManualClock(), tmp_path / "backups"
    shutil.copytree(data_dir, damaged)
    whole = rotate(damaged, target, clock, keep=1)
    for path in (*damaged.glob("active/**/*.zst"), *damaged.glob("sealed/**/*.zst")):
        path.unlink()
    lacking = [rotate(damaged, target, clock, keep=1) for _ in range(3)]
    assert all(each.manifest.missing for each in lacking)
    assert {str(path) for path in target.iterdir()} == {whole.path, lacking[-1].path}


def test_one_without_objects_does_not_stand_for_one_that_has_them(data_dir: Path, tmp_path: Path) -> None:
    clock, target = ManualClock(), tmp_path / "backups"
    full = rotate(data_dir, target, clock, keep=1)
    light = [rotate(data_dir, target, clock, keep=1, with_objects=False) for _ in range(2)]
    assert {str(path) for path in target.iterdir()} == {full.path, light[-1].path}


def test_the_new_one_stays_where_older_ones_are_dated_ahead_of_it(data_dir: Path, tmp_path: Path) -> None:
    clock, target = ManualClock(), tmp_path / "backups"
    clock.seconds += 4 * DAY_S
    ahead = [rotate(data_dir, target, clock) for _ in range(2)]
    clock.seconds -= 4 * DAY_S
    made = rotate(data_dir, target, clock, keep=1)
    assert {each.path for each in ahead} & set(made.removed)
    assert Path(made.path).is_dir()


def test_one_that_fails_leaves_the_disk_as_it_was(data_dir: Path, tmp_path: Path) -> None:
    damaged, target = tmp_path / "data", tmp_path / "backups"
    shutil.copytree(data_dir, damaged)
    (damaged / "keys.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(RrdError):
        rotate(damaged, target, ManualClock())
    assert list(target.iterdir()) == []


def test_what_a_killed_backup_left_is_removed_by_the_next_alone(data_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "backups"
    left, elsewhere = target / "2026-11-30T03-15-42Z.part", target / "mine.part"
    for path in (left, elsewhere):
        path.mkdir(parents=True)
    with FileLock(str(target)), pytest.raises(BadRequest, match="under way"):
        rotate(data_dir, target, ManualClock())
    assert left.is_dir()
    rotate(data_dir, target, ManualClock())
    assert not left.exists() and elsewhere.is_dir()


def test_a_backup_that_fails_removes_none(data_dir: Path, tmp_path: Path) -> None:
    clock, target = ManualClock(), tmp_path / "backups"
    made = [rotate(data_dir, target, clock) for _ in range(2)]
    with pytest.raises(Exception, match="index"):
        rotate(tmp_path / "empty", target, clock, keep=1)
    assert {str(path) for path in target.iterdir()} == {each.path for each in made}


def test_the_command_says_what_it_made(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["backup", "--keep", "1", "--data-dir", str(data_dir), "--quiet", str(tmp_path / "backups")]
    assert main(argv) == 0
    told = capsys.readouterr().out
    (made,) = (tmp_path / "backups").iterdir()
    assert told.startswith(f"{made}: 1 recordings")
    assert main(["backup", "--keep", "0", str(tmp_path)]) == 2
