"""The directory of objects: a model of it, what may go wrong on a disk, and what must never happen."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rrd.disk.disk import OsDisk
from rrd.errors import ObjectMissing, StoreAway
from rrd.objects.local import LocalStore
from rrd.objects.store import Removed
from tests.harness import until
from tests.objects.conftest import MakeFile
from tests.thoroughness import examples


class TellingDisk(OsDisk):
    """The real disk, which tells what was asked of it, and fails or waits where a test says so.

    Method: ``told`` has names of calls with the last part of their paths. ``failing`` maps names to errors
    (errno), ``gate`` is waited for before a rename.
    """

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, str]] = []
        self.failing: dict[str, int] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.at_gate = threading.Event()

    def _tell(self, name: str, path: str) -> None:
        self.told.append((name, os.path.basename(path)))
        if code := self.failing.get(name):
            raise OSError(code, os.strerror(code), path)

    def sync(self, handle: int) -> None:
        self._tell("sync", os.readlink(f"/proc/self/fd/{handle}"))
        super().sync(handle)

    def sync_dir(self, path: str) -> None:
        self._tell("sync_dir", path)
        super().sync_dir(path)

    def rename(self, source: str, target: str) -> None:
        self.at_gate.set()
        self.gate.wait()
        self._tell("rename", target)
        super().rename(source, target)

    def unlink(self, path: str) -> None:
        self._tell("unlink", path)
        super().unlink(path)

    def copy(self, source: str, target: str, *, offset: int, sync: bool = True) -> None:
        self._tell("copy", target)
        super().copy(source, target, offset=offset, sync=sync)


@pytest.fixture
def disk() -> TellingDisk:
    return TellingDisk()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@contextlib.asynccontextmanager
async def store_at(root: Path | str, disk: OsDisk, **options: Any) -> AsyncIterator[LocalStore]:
    store = LocalStore(str(root), disk, **options)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(root: Path, disk: TellingDisk) -> AsyncIterator[LocalStore]:
    async with store_at(root, disk) as store:
        yield store


async def keys(store: LocalStore, prefix: str = "") -> list[str]:
    return [info.key async for info in store.list(prefix)]


def files_of(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


# pathlib's calls are quick, and nothing else waits on a test's loop.
# ruff: noqa: ASYNC240

# Never


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("./\\\0")))
@settings(max_examples=examples(300))
def test_no_key_leads_out_of_the_directory(key: str) -> None:
    root = "/nowhere/objects"
    store = LocalStore.__new__(LocalStore)
    store._root = root
    try:
        path = store._path(key)
    except ValueError:
        return
    assert os.path.normpath(path) == path
    assert os.path.commonpath([root, path]) == root
    assert path != root
    assert "/." not in path


@pytest.mark.parametrize(
    "key", ["", "/", "..", "../a", "a/../b", "a/./b", "/a", "a/", "a//b", "a\0b", ".a", "a/.b.new"]
)
async def test_such_a_key_is_refused_by_all(store: LocalStore, make_file: MakeFile, key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        await store.put(key, make_file(b"x"))
    for call in (store.size, store.delete, lambda key: store.read(key, 0, 1)):
        with pytest.raises(ValueError, match="no key"):
            await call(key)


async def test_links_lead_nowhere(store: LocalStore, root: Path, make_file: MakeFile) -> None:
    outside = Path(make_file(b"secret"))
    (root / "link").symlink_to(outside)
    (root / "tree").symlink_to(outside.parent)
    for call in (store.read("link", 0, 10), store.size("link"), store.read(f"tree/{outside.name}.x", 0, 10)):
        with pytest.raises(ObjectMissing):
            await call
    assert await keys(store) == []
    await store.delete_prefix("tree/")
    assert outside.read_bytes() == b"secret"


async def test_nobody_else_reads_objects(store: LocalStore, root: Path, make_file: MakeFile) -> None:
    path = make_file(b"x")
    os.chmod(path, 0o644)
    await store.put("a/b/c", path)
    assert stat.S_IMODE((root / "a/b/c").stat().st_mode) == 0o600
    for directory in (root, root / "a", root / "a/b"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


async def test_a_directory_that_vanished_is_not_an_empty_store(
    store: LocalStore, root: Path, make_file: MakeFile
) -> None:
    path = make_file(b"x")
    await store.put("a/b", path)
    root.rename(root.with_name("unmounted"))
    for call in (
        lambda: store.put("a/c", path),
        lambda: store.read("a/b", 0, 1),
        lambda: store.size("a/b"),
        lambda: keys(store),
        lambda: store.delete("a/b"),
        lambda: store.delete_prefix("a"),
        store.check,
    ):
        with pytest.raises(StoreAway, match="is its disk mounted"):
            await call()
    assert not root.exists()
    root.with_name("unmounted").rename(root)
    assert await store.read("a/b", 0, 1) == b"x"
    assert await keys(store) == ["a/b"]


# Putting


async def test_an_object_is_synced_before_it_appears_and_its_directory_after(
    store: LocalStore, disk: TellingDisk, make_file: MakeFile
) -> None:
    path = make_file(b"x")
    disk.told.clear()
    await store.put("a/b/c", path)
    told = disk.told
    assert told.index(("sync", ".c.new")) < told.index(("rename", "c"))
    assert told[-1] == ("sync_dir", "b")
    # The entries of new directories, too: b in a, a in the root.
    assert {("sync_dir", "a"), ("sync_dir", "objects")} <= set(told)


async def test_a_file_of_another_file_system_is_copied(
    store: LocalStore, root: Path, disk: TellingDisk, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: str, target: str) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source)

    monkeypatch.setattr(os, "link", link)
    path = make_file(b"some bytes")
    os.chmod(path, 0o644)
    for _ in range(2):
        await store.put("a/b", path)
        assert await store.read("a/b", 0, 100) == b"some bytes"
    assert ("copy", ".b.new") in disk.told
    assert files_of(root) == ["a/b"]
    assert stat.S_IMODE((root / "a/b").stat().st_mode) == 0o600


async def test_the_file_may_be_unlinked_afterwards(store: LocalStore, make_file: MakeFile) -> None:
    path = make_file(b"some bytes")
    await store.put("a/b", path)
    os.unlink(path)
    assert await store.read("a/b", 0, 100) == b"some bytes"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("step", ["sync", "rename", "sync_dir"])
async def test_a_full_disk_is_told_as_such(
    store: LocalStore, disk: TellingDisk, make_file: MakeFile, code: int, step: str
) -> None:
    path = make_file(b"x")
    disk.failing[step] = code
    with pytest.raises(OSError, match=os.strerror(code)) as raised:
        await store.put("a/b", path)
    assert raised.value.errno == code
    disk.failing.clear()
    await store.put("a/b", path)
    assert await keys(store) == ["a/b"]


@pytest.mark.parametrize("step", ["sync", "rename", "sync_dir"])
async def test_another_failure_of_the_disk_is_store_away(
    store: LocalStore, root: Path, disk: TellingDisk, make_file: MakeFile, step: str
) -> None:
    path = make_file(b"x")
    disk.failing[step] = errno.EIO
    with pytest.raises(StoreAway, match=os.strerror(errno.EIO)):
        await store.put("a/b", path)
    disk.failing.clear()
    await store.put("a/b", path)
    assert files_of(root) == ["a/b"]


async def test_what_a_crash_left_is_never_listed_and_goes_in_the_end(
    store: LocalStore, root: Path, make_file: MakeFile
) -> None:
    for name in ("b", "c", "d"):
        (root / "a").mkdir(exist_ok=True)
        (root / f"a/.{name}.new").write_bytes(b"half")
    assert await keys(store) == []
    with pytest.raises(ObjectMissing):
        await store.size("a/b")
    await store.put("a/b", make_file(b"whole"))
    await store.delete("a/c")
    assert files_of(root) == ["a/.d.new", "a/b"]
    assert await store.delete_prefix("a/") == Removed(1, 5)
    assert list(root.iterdir()) == []


async def test_a_put_that_took_too_long_never_appears(
    root: Path, disk: TellingDisk, make_file: MakeFile
) -> None:
    path = make_file(b"x")
    async with store_at(root, disk, timeout_s=0.2) as store:

        def stuck_sync(handle: int) -> None:
            disk.at_gate.set()
            disk.gate.wait()
            ended.set()

        ended = threading.Event()
        disk.gate.clear()
        disk.sync = stuck_sync  # type: ignore[method-assign]
        with pytest.raises(StoreAway, match="no answer"):
            await store.put("a/b", path)
        assert disk.at_gate.is_set()
        await store.delete_prefix("a/")
        disk.gate.set()
        await until(ended.is_set, what="the thread to go on")
    # Its thread has ended, now that the store is closed and nothing was left for it to do.
    async with store_at(root, OsDisk()) as store:
        await until(lambda: not _threads_of_stores(but=store), what="the thread to end")
        assert await keys(store) == []


def _threads_of_stores(but: LocalStore) -> list[threading.Thread]:
    mine = but._threads._threads
    names = ("rrd-objects",)
    return [one for one in threading.enumerate() if one.name.startswith(names) and one not in mine]


# Deleting


async def test_directories_go_with_their_last_object(
    store: LocalStore, root: Path, make_file: MakeFile
) -> None:
    for key in ("t/2026/11/one/1", "t/2026/11/one/2", "t/2026/11/two/1", "u/x"):
        await store.put(key, make_file(b"x"))
    await store.delete("t/2026/11/one/1")
    assert (root / "t/2026/11/one").is_dir()
    await store.delete("t/2026/11/one/2")
    assert not (root / "t/2026/11/one").exists()
    assert (root / "t/2026/11").is_dir()
    await store.delete_prefix("t/2026/11/two/")
    assert [path.name for path in root.iterdir()] == ["u"]
    await store.delete_prefix("u")
    assert list(root.iterdir()) == []


async def test_a_deletion_is_on_disk_when_it_returns(
    store: LocalStore, disk: TellingDisk, make_file: MakeFile
) -> None:
    for key in ("a/b/c", "a/d/e"):
        await store.put(key, make_file(b"x"))
    disk.told.clear()
    await store.delete("a/b/c")
    assert disk.told.index(("unlink", "c")) < disk.told.index(("sync_dir", "b"))
    disk.told.clear()
    await store.delete_prefix("a/")
    assert disk.told.index(("unlink", "e")) < disk.told.index(("sync_dir", "d"))


async def test_puts_and_deletions_side_by_side_lose_nothing(store: LocalStore, make_file: MakeFile) -> None:
    path = make_file(b"x")

    async def one(name: str) -> None:
        for _ in range(10):
            await store.put(f"t/day/{name}/1", path)
            assert await store.size(f"t/day/{name}/1") == 1
            await store.delete_prefix(f"t/day/{name}/")

    await asyncio.gather(*(one(name) for name in "abcd"))
    assert await keys(store) == []


async def test_another_process_that_removes_empty_directories_does_no_harm(
    root: Path, make_file: MakeFile
) -> None:
    path = make_file(b"x")

    async def one(store: LocalStore, name: str) -> None:
        for _ in range(20):
            with contextlib.suppress(StoreAway):  # Ten times in a row is possible, and told.
                await store.put(f"t/day/{name}", path)
                assert await store.size(f"t/day/{name}") == 1
                await store.delete(f"t/day/{name}")

    async with store_at(root, OsDisk()) as store, store_at(root, OsDisk()) as other:
        await asyncio.gather(one(store, "a"), one(other, "b"))


# Altogether


class Model(RuleBasedStateMachine):
    """A directory of objects is a dictionary, as far as its users can tell."""

    PARTS = st.sampled_from(["a", "b", "a-b", "a.b", "ab", "ü"])
    # Of one depth, as the keys of layout are: no object's key is another's directory.
    KEYS = st.builds("{}/{}/{}".format, PARTS, PARTS, PARTS)
    PREFIXES = st.builds("{}/{}/{}".format, PARTS, PARTS, PARTS | st.just("")).flatmap(
        lambda key: st.integers(1, len(key)).map(lambda size: key[:size])
    )

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.scratch = contextlib.ExitStack()
        self.directory = Path(self.scratch.enter_context(_temporary_directory()))
        self.store = LocalStore(str(self.directory / "objects"), OsDisk(), page_size=2)
        self.model: dict[str, bytes] = {}
        self.files = 0

    def run(self, call: Any) -> Any:
        return self.loop.run_until_complete(call)

    def teardown(self) -> None:
        self.run(self.store.close())
        self.loop.close()
        self.scratch.close()

    @rule(key=KEYS, data=st.binary(max_size=20))
    def put(self, key: str, data: bytes) -> None:
        self.files += 1
        path = self.directory / f"file-{self.files}"
        path.write_bytes(data)
        self.run(self.store.put(key, str(path)))
        path.unlink()
        self.model[key] = data

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.run(self.store.delete(key))
        self.model.pop(key, None)

    @rule(prefix=PREFIXES)
    def delete_prefix(self, prefix: str) -> None:
        gone = {key for key in self.model if key.startswith(prefix)}
        expected = Removed(len(gone), sum(len(self.model.pop(key)) for key in gone))
        assert self.run(self.store.delete_prefix(prefix)) == expected

    @rule(prefix=PREFIXES | st.just(""))
    def list(self, prefix: str) -> None:
        async def listed() -> list[tuple[str, int]]:
            return [(info.key, info.size) async for info in self.store.list(prefix)]

        there = {key: len(data) for key, data in self.model.items() if key.startswith(prefix)}
        assert self.run(listed()) == sorted(there.items(), key=lambda item: item[0].encode())

    @rule(key=KEYS, offset=st.integers(0, 25), size=st.integers(0, 25))
    def read(self, key: str, offset: int, size: int) -> None:
        if key in self.model:
            assert self.run(self.store.read(key, offset, size)) == self.model[key][offset : offset + size]
        else:
            with pytest.raises(ObjectMissing):
                self.run(self.store.read(key, offset, size))

    @invariant()
    def nothing_else_is_there(self) -> None:
        root = self.directory / "objects"
        assert files_of(root) == sorted(self.model)
        assert all(any(path.iterdir()) for path in root.rglob("*") if path.is_dir())


@contextlib.contextmanager
def _temporary_directory() -> Iterator[str]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="rrd-model-") as path:
        yield path


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=examples(25), stateful_step_count=30, deadline=None)
