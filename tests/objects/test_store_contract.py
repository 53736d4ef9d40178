"""What every ``ObjectStore`` promises, over each: a directory, moto, Ceph by http and https, Swift."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rrd.config import MIB, Config
from rrd.disk.disk import OsDisk
from rrd.errors import ObjectMissing
from rrd.objects.choose import open_bare_store
from rrd.objects.local import LocalStore
from rrd.objects.s3 import S3Store
from rrd.objects.store import ObjectStore, Removed
from tests.objects.conftest import MakeFile, some_bytes
from tests.s3.server import S3Server

pytestmark = pytest.mark.table

PART = 5 * MIB  # The smallest that S3 takes.
SIZES = (0, 1, 65_535, 65_537, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 7)


def settings_of(server: S3Server, prefix: str, **more: Any) -> Config:
    values: dict[str, Any] = {"s3_prefix": prefix, "s3_multipart_bytes": PART, "s3_timeout_s": 60} | more
    return msgspec.convert(server.settings("recordings", **values), Config)


STORES = [
    "local",
    "moto",
    pytest.param("ceph", marks=pytest.mark.s3),
    pytest.param("ceph-https", marks=pytest.mark.s3),
    pytest.param("swift", marks=pytest.mark.s3),
]


@pytest.fixture(params=STORES)
def config(request: pytest.FixtureRequest, tmp_path: Path, prefix: str) -> Config:
    if request.param == "local":
        return msgspec.convert({"data_dir": str(tmp_path / "data")}, Config)
    kind, _, tls = request.param.partition("-")
    server = request.getfixturevalue(f"{kind}_server")
    return settings_of(server, prefix, tls=bool(tls))


@pytest.fixture
async def store(config: Config) -> AsyncIterator[ObjectStore]:
    async with open_bare_store(config, OsDisk()) as store:
        yield store


@pytest.fixture
async def paging(config: Config) -> AsyncIterator[ObjectStore]:
    """The same as ``store``, with pages of three."""
    other: ObjectStore
    if config.object_store == "local":
        other = LocalStore(f"{config.data_dir}/objects", OsDisk(), page_size=3)
    else:
        other = S3Store(config, page_size=3)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(other.close)
        yield other


async def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [info.key async for info in store.list(prefix)]


async def whole(store: ObjectStore, key: str) -> bytes:
    return await store.read(key, 0, await store.size(key))


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_put_is_read_back(store: ObjectStore, make_file: MakeFile, size: int) -> None:
    data = some_bytes(size)
    await store.put("acme/2026/one", make_file(data))
    assert await store.size("acme/2026/one") == size
    assert await store.read("acme/2026/one", 0, size) == data
    [info] = [info async for info in store.list()]
    assert (info.key, info.size) == ("acme/2026/one", size)
    assert info.modified_ms > 1_700_000_000_000


@pytest.mark.parametrize("sizes", [(10, 7), (7, 10), (0, 5), (5, 0), (PART + 9, 9), (9, PART + 9)])
async def test_the_last_put_of_a_key_wins(
    store: ObjectStore, make_file: MakeFile, sizes: tuple[int, int]
) -> None:
    for seed, size in enumerate(sizes):
        data = some_bytes(size, seed)
        await store.put("a/b/c", make_file(data))
        assert await whole(store, "a/b/c") == data
    assert await keys(store) == ["a/b/c"]


async def test_ranges_are_those_of_the_bytes(store: ObjectStore, make_file: MakeFile) -> None:
    data = some_bytes(PART + 1000)
    await store.put("a/b", make_file(data))
    size = len(data)
    for offset in (0, 1, 999, PART - 1, PART, PART + 1, size - 1, size, size + 1, 2 * size):
        for length in (0, 1, 1000, 70_000, size, 2 * size):
            assert await store.read("a/b", offset, length) == data[offset : offset + length], (offset, length)


async def test_an_empty_object_has_no_bytes_anywhere(store: ObjectStore, make_file: MakeFile) -> None:
    await store.put("a/b", make_file(b""))
    assert await store.size("a/b") == 0
    assert [await store.read("a/b", offset, 9) for offset in (0, 1)] == [b"", b""]


async def test_what_is_not_there_is_missing(store: ObjectStore, make_file: MakeFile) -> None:
    await store.put("a/b/c", make_file(b"x"))
    for key in ("a/b/d", "a/b", "a", "a/b/c/d", "z"):
        with pytest.raises(ObjectMissing):
            await store.size(key)
        for size in (0, 10):
            with pytest.raises(ObjectMissing):
                await store.read(key, 0, size)
    await store.delete("a/b/d")
    assert await keys(store) == ["a/b/c"]


async def test_a_file_that_is_not_there_is_told(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await store.put("a/b", str(tmp_path / "absent"))
    assert await keys(store) == []


async def test_listing_is_in_the_order_of_keys(
    store: ObjectStore, paging: ObjectStore, make_file: MakeFile
) -> None:
    names = [
        "a-b/x",
        "a/b/c",
        "a/b-c/d",
        "a/b.c",
        "a/B",
        "a/ü/z",
        "a/b/d",
        "a/b c",
        "a/b+c%20&d",
        "b",
        "a.b/x",
    ]
    await asyncio.gather(*(store.put(name, make_file(name.encode())) for name in names))
    expected = sorted(names, key=lambda name: name.encode())
    for lister in (store, paging):
        assert await keys(lister) == expected
        for prefix in ("a", "a/", "a/b", "a/b/", "a/b/c", "a-", "b", "c", "a/ü", "/", "../", "a/../"):
            assert await keys(lister, prefix) == [name for name in expected if name.startswith(prefix)]
    for name in names:
        assert await whole(store, name) == name.encode()


async def test_a_listing_that_is_given_up_leaves_nothing_behind(
    paging: ObjectStore, make_file: MakeFile
) -> None:
    for number in range(7):
        await paging.put(f"a/{number}", make_file(b"x"))
    async for _ in paging.list():
        break
    assert len(await keys(paging)) == 7


async def test_delete_removes_that_key_alone(store: ObjectStore, make_file: MakeFile) -> None:
    for key in ("a/b", "a/b.c", "a/bb", "a/a"):
        await store.put(key, make_file(b"x"))
    await store.delete("a/b")
    await store.delete("a/b")
    assert await keys(store) == ["a/a", "a/b.c", "a/bb"]
    with pytest.raises(ObjectMissing):
        await store.size("a/b")


async def test_delete_prefix_removes_what_begins_so_and_counts_it(
    paging: ObjectStore, make_file: MakeFile
) -> None:
    there = [f"t/2026/{day:02d}/r{n}/{n}" for day in (1, 2) for n in range(4)]
    for number, key in enumerate(there):
        await paging.put(key, make_file(b"x" * number))
    assert await paging.delete_prefix("t/2026/01/r1/") == Removed(1, 1)
    assert await paging.delete_prefix("t/2026/02") == Removed(4, 4 + 5 + 6 + 7)
    assert await paging.delete_prefix("t/2026/02") == Removed(0, 0)
    assert await paging.delete_prefix("other") == Removed(0, 0)
    assert await keys(paging) == [key for key in there if "/01/" in key and "/r1/" not in key]
    with pytest.raises(ValueError, match="empty prefix"):
        await paging.delete_prefix("")
    assert len(await keys(paging)) == 3


async def test_many_tasks_share_a_store(store: ObjectStore, make_file: MakeFile) -> None:
    async def one(number: int) -> None:
        data = some_bytes(20_000, number)
        key = f"t/{number % 3}/{number}"
        await store.put(key, make_file(data))
        assert await whole(store, key) == data
        if number % 2:
            await store.delete(key)

    await asyncio.gather(*(one(number) for number in range(10)))
    assert sorted(await keys(store)) == sorted(f"t/{n % 3}/{n}" for n in range(0, 10, 2))


@pytest.mark.parametrize("size", [100_000, PART * 2])
async def test_a_put_that_was_cancelled_can_be_done_again(
    store: ObjectStore, make_file: MakeFile, size: int
) -> None:
    data = some_bytes(size)
    path = make_file(data)
    for steps in (1, 3, 10, 30, 100):
        task = asyncio.create_task(store.put("a/b", path))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await store.put("a/b", path)
    assert await whole(store, "a/b") == data


async def test_a_store_can_be_checked_and_named(store: ObjectStore, config: Config) -> None:
    await store.check()
    assert store.name.startswith(("local:/", "s3://recordings/test-"))
    assert "@" not in store.name
