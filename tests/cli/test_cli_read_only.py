"""Commands that only read, on a file system that can't be written to: a real read-only mount, or modes alone.

As root a small tmpfs is mounted, filled and mounted anew, read-only. Other users take the modes away.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rrd import layout
from rrd.cli import main
from rrd.disk.disk import OsDisk
from rrd.objects.local import LocalStore
from rrd.startup.recovery import is_held, lock_data_dir
from tests.care.care_lab import A, B, Life, life
from tests.samples import event, metadata


async def _fill(now: Life) -> None:
    await now.send(metadata("user", "1"), event(1), event(2), b"no event")
    await now.roll_up(evict=True)
    await now.send(event(3), event(4))
    await now.rest()
    await now.send(event(5))
    await now.send(event(1), recording_id=B)


def made(folder: Path, *, is_clean: bool) -> Path:
    """Return a data directory, as a stop leaves it, or as ``kill -9`` does: with what SQLite's log holds."""
    copy = folder / "copy"

    async def make() -> None:
        store = LocalStore(layout.objects_dir(str(folder / "data")), OsDisk())
        async with life(folder, store) as now:
            await _fill(now)
            if not is_clean:
                await asyncio.to_thread(shutil.copytree, folder / "data", copy)
        await store.close()

    asyncio.run(make())
    if is_clean:
        shutil.copytree(folder / "data", copy)
        return copy
    assert (copy / "index.sqlite-wal").stat().st_size > 0
    for name in ("index.sqlite-shm", "tombstones.sqlite-shm"):
        (copy / name).unlink(missing_ok=True)
    return copy


@contextlib.contextmanager
def read_only(source: Path, target: Path) -> Iterator[Path]:
    """A copy of a data directory that nothing can be written to."""
    if os.geteuid() == 0:
        target.mkdir()
        try:
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(target)], check=True, capture_output=True)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"can't mount: {error.stderr!r}")
        try:
            shutil.copytree(source, target, dirs_exist_ok=True)
            subprocess.run(["mount", "-o", "remount,ro", str(target)], check=True)
            with pytest.raises(OSError, match="Read-only"):
                (target / "new").touch()
            yield target
        finally:
            subprocess.run(["umount", str(target)], check=True)
        return
    shutil.copytree(source, target)
    paths = [target, *target.rglob("*")]
    for path in paths:
        path.chmod(0o500 if path.is_dir() else 0o400)
    yield target
    for path in paths:
        path.chmod(0o700)


def _nothing(_: Path) -> None:
    pass


def _no_lock(copy: Path) -> None:
    (copy / "lock").unlink()


def _no_tombstones(copy: Path) -> None:
    for path in copy.glob("tombstones.sqlite*"):
        path.unlink()


def _no_folders(copy: Path) -> None:
    for name in ("torn", "rolling"):
        shutil.rmtree(copy / name, ignore_errors=True)


@pytest.mark.table
@pytest.mark.parametrize("change", [_nothing, _no_lock, _no_tombstones, _no_folders])
@pytest.mark.parametrize("is_clean", [True, False], ids=["stopped", "killed"])
def test_what_can_only_be_read_is_verified_exported_inspected_and_backed_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: object, is_clean: bool
) -> None:
    copy = made(tmp_path, is_clean=is_clean)
    assert callable(change)
    change(copy)
    with read_only(copy, tmp_path / "mounted") as data_dir:

        def run(*argv: str, code: int = 0) -> str:
            capsys.readouterr()
            assert main([*argv, "--data-dir", str(data_dir)]) == code, capsys.readouterr()
            out, err = capsys.readouterr()
            assert "Traceback" not in err
            return out

        assert "no difference" in run("verify", "--deep")
        assert "no difference" in run("verify", A)
        assert "none found; every byte was read" in run("doctor", A)
        assert A in run("quarantine", "list")
        assert "no event" in run("quarantine", "show", A)
        for flags in ([], ["--salvage"]):
            target = tmp_path / "exported"
            run("export", A, *flags, "--output", str(target))
            assert target.read_bytes().splitlines()[-5:] == [event(number) for number in range(1, 6)]
        active = next((data_dir / "active").glob(f"*{A}*"))
        assert "verdict      clean" in run("inspect", str(active))
        run("backup", str(tmp_path / "backup"), "--quiet")
    restored = tmp_path / "restored"
    assert main(["restore", str(tmp_path / "backup"), "--data-dir", str(restored)]) == 0
    assert main(["export", A, "--output", str(tmp_path / "again"), "--data-dir", str(restored)]) == 0
    assert (tmp_path / "again").read_bytes() == (tmp_path / "exported").read_bytes()


def test_what_changes_something_says_that_it_can_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = made(tmp_path, is_clean=True)
    with read_only(copy, tmp_path / "mounted") as data_dir:
        for command in (["verify", "--mend"], ["reindex"]):
            assert main([*command, "--data-dir", str(data_dir)]) == 1
            err = capsys.readouterr().err
            assert "Traceback" not in err
            assert str(data_dir) in err


@pytest.mark.parametrize(
    ("name", "next_step"),
    [("index.sqlite", "`rrd reindex`"), ("tombstones.sqlite", "Restore it from a backup")],
)
def test_a_damaged_database_that_can_only_be_read_is_named_with_what_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, next_step: str
) -> None:
    copy = made(tmp_path, is_clean=True)
    (copy / name).write_bytes(b"no database" * 1000)
    with read_only(copy, tmp_path / "mounted") as data_dir:
        told = []
        for command in (["verify"], ["quarantine", "list"], ["backup", str(tmp_path / "backup")]):
            capsys.readouterr()
            if main([*command, "--data-dir", str(data_dir)]) == 1:
                told.append(capsys.readouterr().err)
    assert len(told) >= 2
    for err in told:
        assert "Traceback" not in err
        assert f"{data_dir}/{name}: " in err
    assert any(next_step in err for err in told)


def test_asking_whether_a_daemon_runs_makes_nothing(tmp_path: Path) -> None:
    assert not is_held(str(tmp_path / "absent"))
    assert not (tmp_path / "absent").exists()
    with lock_data_dir(str(tmp_path / "data")):
        assert is_held(str(tmp_path / "data"))
    assert not is_held(str(tmp_path / "data"))
