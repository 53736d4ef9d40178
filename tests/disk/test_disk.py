"""One contract for the real disk and for the simulated one: both behave alike where nothing is cut."""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.disk.disk import Disk, OsDisk
from tests.simdisk import SimDisk


@pytest.fixture(params=["os", "sim"])
def disk(request: pytest.FixtureRequest) -> Disk:
    return OsDisk() if request.param == "os" else SimDisk()


@pytest.fixture
def root(disk: Disk, tmp_path: Path) -> str:
    """A directory that is there, with nothing in it."""
    path = str(tmp_path / "root")
    disk.make_dirs(path)
    return path


def put(disk: Disk, path: str, data: bytes) -> None:
    handle = disk.open_append(path, create=True)
    disk.write(handle, data)
    disk.close(handle)


def get(disk: Disk, path: str) -> bytes:
    return disk.read(path, 0, 1 << 20)


def test_appends_follow_each_other(disk: Disk, root: str) -> None:
    handle = disk.open_append(f"{root}/f", create=True)
    disk.write(handle, b"one")
    disk.write(handle, b"two")
    disk.sync(handle)
    disk.close(handle)
    handle = disk.open_append(f"{root}/f", create=False)
    disk.write(handle, b"three")
    disk.sync_dir(root)
    disk.sync_all(root)
    disk.close(handle)
    assert get(disk, f"{root}/f") == b"onetwothree"
    assert disk.size(f"{root}/f") == 11


def test_creating_refuses_what_is_there_and_leaves_it_alone(disk: Disk, root: str) -> None:
    put(disk, f"{root}/f", b"old")
    with pytest.raises(FileExistsError):
        disk.open_append(f"{root}/f", create=True)
    with pytest.raises(FileExistsError):
        disk.open_append(root, create=True)
    assert get(disk, f"{root}/f") == b"old"


def test_absent_files_are_not_found(disk: Disk, root: str) -> None:
    absent = f"{root}/absent"
    calls: list[Callable[[], object]] = [
        lambda: disk.open_append(absent, create=False),
        lambda: disk.open_append(f"{absent}/f", create=True),
        lambda: disk.truncate(absent, 0),
        lambda: disk.rename(absent, f"{root}/f"),
        lambda: disk.unlink(absent),
        lambda: disk.copy(absent, f"{root}/f", offset=0),
        lambda: disk.size(absent),
        lambda: disk.read(absent, 0, 1),
        lambda: disk.sync_dir(absent),
        lambda: disk.sync_all(absent),
    ]
    for call in calls:
        with pytest.raises(FileNotFoundError):
            call()
    assert disk.list_dir(root) == []


def test_appending_goes_on_behind_a_truncation(disk: Disk, root: str) -> None:
    handle = disk.open_append(f"{root}/f", create=True)
    disk.write(handle, b"0123456789")
    disk.truncate(f"{root}/f", 4)
    disk.write(handle, b"x")
    disk.close(handle)
    assert get(disk, f"{root}/f") == b"0123x"


def test_a_closed_handle_is_refused(disk: Disk, root: str) -> None:
    handle = disk.open_append(f"{root}/f", create=True)
    disk.close(handle)
    calls: list[Callable[[], object]] = [
        lambda: disk.write(handle, b"x"),
        lambda: disk.sync(handle),
        lambda: disk.close(handle),
    ]
    for call in calls:
        with pytest.raises(OSError, match="Bad file descriptor"):
            call()


def test_a_handle_outlives_the_name_of_its_file(disk: Disk, root: str) -> None:
    handle = disk.open_append(f"{root}/f", create=True)
    disk.unlink(f"{root}/f")
    disk.write(handle, b"x")
    disk.sync(handle)
    disk.close(handle)
    assert disk.list_dir(root) == []


def test_renaming_replaces_what_was_there(disk: Disk, root: str) -> None:
    disk.make_dirs(f"{root}/d")
    put(disk, f"{root}/f", b"new")
    put(disk, f"{root}/d/g", b"old")
    disk.rename(f"{root}/f", f"{root}/d/g")
    assert get(disk, f"{root}/d/g") == b"new"
    assert disk.list_dir(root) == ["d"]
    disk.rename(f"{root}/d/g", f"{root}/d/g")
    assert get(disk, f"{root}/d/g") == b"new"


@pytest.mark.parametrize("offset", [0, 3, 10, 11])
def test_a_copy_begins_at_its_offset_and_replaces_what_was_there(disk: Disk, root: str, offset: int) -> None:
    put(disk, f"{root}/f", b"0123456789")
    put(disk, f"{root}/g", b"something longer than that")
    disk.copy(f"{root}/f", f"{root}/g", offset=offset)
    assert get(disk, f"{root}/g") == b"0123456789"[offset:]
    assert get(disk, f"{root}/f") == b"0123456789"


def test_directories_are_made_with_their_parents_once(disk: Disk, root: str) -> None:
    disk.make_dirs(f"{root}/a/b/c")
    disk.make_dirs(f"{root}/a/b/c")
    disk.make_dirs(f"{root}/a/d")
    assert sorted(disk.list_dir(f"{root}/a")) == ["b", "d"]
    put(disk, f"{root}/f", b"")
    with pytest.raises(FileExistsError):
        disk.make_dirs(f"{root}/f")
    with pytest.raises(FileExistsError):
        disk.make_dirs(f"{root}/f/g")


def test_an_absent_directory_lists_nothing(disk: Disk, root: str) -> None:
    assert disk.list_dir(f"{root}/absent") == []
    put(disk, f"{root}/f", b"")
    assert disk.list_dir(root) == ["f"]
    with pytest.raises(NotADirectoryError):
        disk.list_dir(f"{root}/f")


def test_reads_end_at_the_end_of_the_file(disk: Disk, root: str) -> None:
    put(disk, f"{root}/f", b"0123456789")
    assert disk.read(f"{root}/f", 2, 3) == b"234"
    assert disk.read(f"{root}/f", 8, 5) == b"89"
    assert disk.read(f"{root}/f", 10, 5) == b""
    assert disk.read(f"{root}/f", 99, 5) == b""
    assert disk.read(f"{root}/f", 0, 0) == b""


NAMES = st.sampled_from(["f", "g", "d/f", "d/g", "d", "absent/f"])
DATA = st.binary(max_size=40)
STEPS = st.one_of(
    st.tuples(st.just("create"), NAMES, DATA),
    st.tuples(st.just("append"), NAMES, DATA),
    st.tuples(st.just("truncate"), NAMES, st.integers(0, 60), st.booleans()),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("unlink"), NAMES),
    st.tuples(st.just("copy"), NAMES, NAMES, st.integers(0, 60), st.booleans()),
    st.tuples(st.just("sync_dir"), st.sampled_from([".", "d", "f", "absent"])),
    st.tuples(st.just("make_dirs"), st.sampled_from(["d", "d/d", "absent/d"])),
    st.tuples(st.just("read"), NAMES, st.integers(0, 60), st.integers(1, 60)),
)


def do(disk: Disk, root: str, step: tuple[Any, ...]) -> object:
    """Do one step; return its result, or what its error was."""

    def append(path: str, data: bytes, *, create: bool) -> None:
        handle = disk.open_append(path, create=create)
        disk.write(handle, data)
        disk.sync(handle)
        disk.close(handle)

    def truncate(path: str, size: int, *, is_synced: bool) -> None:
        disk.truncate(path, size, sync=is_synced)
        if not is_synced:
            disk.sync_all(root)  # As it must, before anything is appended.

    def at(name: str) -> str:
        return root if name == "." else f"{root}/{name}"

    calls: dict[str, Callable[..., object]] = {
        "create": lambda name, data: append(at(name), data, create=True),
        "append": lambda name, data: append(at(name), data, create=False),
        "truncate": lambda name, size, is_synced: truncate(at(name), size, is_synced=is_synced),
        "rename": lambda source, target: disk.rename(at(source), at(target)),
        "unlink": lambda name: disk.unlink(at(name)),
        "copy": lambda source, target, offset, is_synced: disk.copy(
            at(source), at(target), offset=offset, sync=is_synced
        ),
        "sync_dir": lambda name: disk.sync_dir(at(name)),
        "make_dirs": lambda name: disk.make_dirs(at(name)),
        "read": lambda name, offset, size: disk.read(at(name), offset, size),
    }
    name, *arguments = step
    if name in ("rename", "copy") and ("d" in arguments or arguments[0] == arguments[1]):
        return None  # Nobody moves or copies directories, or copies a file onto itself.
    try:
        return calls[name](*arguments)
    except OSError as error:
        # Where both paths are wrong, each system has its own order of looking at them.
        return OSError if name in ("rename", "copy") else error.errno


def tree(disk: Disk, path: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in disk.list_dir(path):
        try:
            found[name] = tree(disk, f"{path}/{name}")
        except NotADirectoryError:
            found[name] = get(disk, f"{path}/{name}")
    return found


@contextlib.contextmanager
def a_real_root() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as path:
        yield f"{path}/root"


@settings(deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_any_steps_have_the_same_outcome_on_both_disks(steps: list[tuple[Any, ...]]) -> None:
    real, simulated = OsDisk(), SimDisk()
    with a_real_root() as root:
        real.make_dirs(root)
        simulated.make_dirs(root)
        for step in steps:
            assert do(simulated, root, step) == do(real, root, step), step
        assert tree(simulated, root) == tree(real, root)


# The real one alone


def test_files_and_directories_are_for_their_owner_only(tmp_path: Path) -> None:
    disk = OsDisk()
    disk.make_dirs(f"{tmp_path}/a/b")
    put(disk, f"{tmp_path}/a/f", b"x")
    disk.copy(f"{tmp_path}/a/f", f"{tmp_path}/a/g", offset=0)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "a").iterdir()}
    assert modes == {"b": 0o700, "f": 0o600, "g": 0o600}
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_relative_paths_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    disk = OsDisk()
    disk.make_dirs("data/active")
    put(disk, "data/active/f", b"x")
    disk.copy("data/active/f", "g", offset=0)
    assert get(disk, "g") == b"x"


def test_no_handle_is_left_open_but_the_one_that_hears_of_write_back_errors(tmp_path: Path) -> None:
    disk = OsDisk()
    disk.make_dirs(f"{tmp_path}/d")
    disk.sync_all(f"{tmp_path}/d")
    before = os.listdir("/proc/self/fd")
    put(disk, f"{tmp_path}/d/f", b"x")
    disk.sync_dir(f"{tmp_path}/d")
    disk.sync_all(f"{tmp_path}/d")
    disk.copy(f"{tmp_path}/d/f", f"{tmp_path}/d/g", offset=0)
    disk.truncate(f"{tmp_path}/d/g", 0)
    assert get(disk, f"{tmp_path}/d/f") == b"x"
    with pytest.raises(OSError, match="directory"):
        disk.copy(f"{tmp_path}/d/f", f"{tmp_path}/d", offset=0)
    assert os.listdir("/proc/self/fd") == before


def test_what_was_just_written_is_at_hand_and_the_same(tmp_path: Path) -> None:
    disk, path = OsDisk(), str(tmp_path / "file")
    data = random.Random(1).randbytes(300_000)
    (tmp_path / "file").write_bytes(data)
    for offset, size in ((0, 300_000), (1, 1), (4095, 200_000), (299_999, 1), (5, 0)):
        # Some file systems never tell.
        assert disk.read_now(path, offset, size) in {data[offset : offset + size], None}
    assert disk.read_now(path, 299_999, 2) is None
    assert disk.read_now(str(tmp_path / "other"), 0, 1) is None
    assert disk.read_now(path, 0, 1 << 30) is None
