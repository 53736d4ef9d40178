"""Files that are made and moved without a sync, and locks between processes."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rrd.disk import files
from rrd.disk.lock import FileLock
from tests.harness import ROOT

MAKE: dict[str, Callable[[str], object]] = {
    "create": lambda path: files.create(path).close(),
    "overwrite": lambda path: files.overwrite(path).close(),
    "replace": lambda path: files.replace(path, b"x"),
    "copy": lambda path: files.copy(__file__, path),
    "make_dir": files.make_dir,
    "make_dirs": files.make_dirs,
}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_what_is_made_is_private_whatever_the_umask(tmp_path: Path, make: Callable[[str], object]) -> None:
    before = os.umask(0)
    try:
        make(f"{tmp_path}/made")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(f"{tmp_path}/made").st_mode) & 0o077 == 0


def test_a_small_file_is_replaced_whole_and_a_failure_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{tmp_path}/state.json"
    files.replace(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="full"):
            files.replace(path, b"new")
    assert Path(path).read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state.json"]
    files.replace(path, b"new")
    assert Path(path).read_bytes() == b"new"


def test_removing_takes_what_is_there_and_empty_directories_up_to_a_root(tmp_path: Path) -> None:
    root = str(tmp_path)
    files.make_dirs(f"{root}/a/b/c")
    files.create(f"{root}/a/kept").close()
    files.create(f"{root}/a/b/c/gone").close()
    files.remove(f"{root}/a/b/c/gone", f"{root}/a/b/c/never")
    files.remove_empty_dirs(f"{root}/a/b/c", below=root)
    assert os.listdir(f"{root}/a") == ["kept"]
    files.remove(f"{root}/a/kept")
    files.remove_empty_dirs(f"{root}/a", below=root)
    assert os.listdir(root) == []


def test_a_handle_follows_no_link_where_it_must_not(tmp_path: Path) -> None:
    os.symlink(__file__, f"{tmp_path}/link")
    os.close(files.open_handle(f"{tmp_path}/link"))
    with pytest.raises(OSError, match="symbolic"):
        files.open_handle(f"{tmp_path}/link", follow=False)


def test_a_lock_keeps_others_out_until_its_process_ends(tmp_path: Path) -> None:
    path = f"{tmp_path}/lock"
    hold = f"import sys; from rrd.disk.lock import FileLock; lock = FileLock({path!r}, create=True); print()"
    with subprocess.Popen(
        [sys.executable, "-c", f"{hold}; sys.stdout.flush(); sys.stdin.read()"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        other.stdout.readline()
        for shared in (False, True):
            with pytest.raises(BlockingIOError):
                FileLock(path, shared=shared)
        other.kill()
        other.wait()
    with FileLock(path, shared=True), FileLock(path, shared=True), pytest.raises(BlockingIOError):
        FileLock(path)
    with FileLock(path) as mine:
        mine.release()
    FileLock(path).release()


def test_a_link_in_the_place_of_an_unfinished_file_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    for name, write in (("a", lambda path: files.replace(path, b"x")), ("a.new", MAKE["copy"])):
        outside.write_text("another's")
        (tmp_path / "a.new").symlink_to(outside)
        with pytest.raises(OSError, match="symbolic link"):
            write(str(tmp_path / name))
        assert outside.read_text() == "another's"
        (tmp_path / "a.new").unlink(missing_ok=True)
