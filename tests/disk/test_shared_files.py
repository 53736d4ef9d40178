"""Files that an operator shares with a service: replaced whole, with the owner and mode that they had."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rrd.disk import shared_files

STRANGER = 65534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True, params=[0o022, 0o077], ids=oct)
def _umask(request: pytest.FixtureRequest) -> object:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_a_new_file_and_its_directories_may_be_read_by_all(tmp_path: Path) -> None:
    shared_files.make_shared_dirs(f"{tmp_path}/etc/rrd")
    shared_files.replace_shared(f"{tmp_path}/etc/rrd/rrd.toml", b"x")
    assert (mode(tmp_path / "etc"), mode(tmp_path / "etc/rrd")) == (0o755, 0o755)
    assert mode(tmp_path / "etc/rrd/rrd.toml") == 0o644


def test_a_file_that_is_there_keeps_its_mode_owner_and_link(tmp_path: Path) -> None:
    file, link = tmp_path / "kept.toml", tmp_path / "rrd.toml"
    file.write_bytes(b"old")
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, STRANGER, STRANGER)
    link.symlink_to(file)
    before = file.stat()
    shared_files.replace_shared(str(link), b"new")
    after = file.stat()
    assert (file.read_bytes(), link.is_symlink()) == (b"new", True)
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.toml", "rrd.toml"]


def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rrd.toml"
    file.write_bytes(b"old")

    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        shared_files.replace_shared(str(file), b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["rrd.toml"]
    assert file.read_bytes() == b"old"


def test_a_trap_laid_at_the_fresh_name_is_not_followed(tmp_path: Path) -> None:
    file, other = tmp_path / "rrd.toml", tmp_path / "other"
    other.write_bytes(b"another's")
    (tmp_path / "rrd.toml.new").symlink_to(other)
    with pytest.raises(OSError, match="symbolic"):
        shared_files.replace_shared(str(file), b"new")
    assert other.read_bytes() == b"another's"


def test_a_directory_of_a_user_is_its_own_alone(tmp_path: Path) -> None:
    uid = STRANGER if os.geteuid() == 0 else os.geteuid()
    shared_files.make_dir_of(f"{tmp_path}/var/lib/rrd", uid, os.stat(tmp_path).st_gid)
    made = (tmp_path / "var/lib/rrd").stat()
    assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (uid, 0o700)
    assert mode(tmp_path / "var") == 0o755
    shared_files.give_dir(f"{tmp_path}/var", uid, os.stat(tmp_path).st_gid)
    assert (tmp_path / "var").stat().st_uid == uid
