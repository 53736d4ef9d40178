"""``rrd verify``: silent on whatever a normal life leaves behind, and telling on everything else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rrd import layout
from rrd.disk.disk import OsDisk
from rrd.errors import StoreAway
from rrd.index import home
from rrd.index.rows import ObjectRow, RecordingRow
from rrd.layout import SegmentName
from rrd.segment.format import IDENTITY_READ_SIZE, decode_identity, encode_identity
from rrd.segment.pack import PackInput, pack
from rrd.shelf.holdings import Holdings
from rrd.summary.packing import PackedSummary
from tests.care.care_lab import STEPS, A, B, C, Life, delete_index, life, play
from tests.objects.memory_store import MemoryStore
from tests.samples import event, metadata
from tests.thoroughness import examples

pytestmark = pytest.mark.table


@given(st.lists(st.sampled_from(STEPS), max_size=14))
@example(["send A", "roll up", "send A", "lost answer", "evict", "evict half", "send A", "restart"])
@example(["send B", "metadata", "store away", "bad lines alone", "roll up", "erase", "send B"])
@hypothesis_settings(max_examples=examples(15), deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_is_told_of_what_a_normal_life_leaves_behind(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_silent(Path(name), steps))


async def _silent(folder: Path, steps: list[str]) -> None:
    store = MemoryStore()
    await play(folder, store, steps)
    async with life(folder, store) as again:
        assert await again.verify() == []
        assert await again.verify(deep=False, is_served=True) == []


# Planted differences


class World(NamedTuple):
    """A: segments 1 and 2 in an object alone, 3 and 4 in one and here, 5 sealed, 6 active. B: one, sealed."""

    now: Life
    row: RecordingRow
    gone: ObjectRow
    copied: ObjectRow

    @property
    def store(self) -> MemoryStore:
        store: MemoryStore = self.now.store
        return store

    @property
    def gone_key(self) -> str:
        return Holdings.of(self.row).key(self.gone)

    @property
    def copied_key(self) -> str:
        return Holdings.of(self.row).key(self.copied)

    def path(self, number: int, *, recording_id: str = A, active: bool = False) -> Path:
        path_of = layout.active_path if active else layout.sealed_path
        return Path(path_of(self.now.config.data_dir, SegmentName("t", recording_id, number)))

    def sql(self, statement: str) -> None:
        with contextlib.closing(sqlite3.connect(home.index_path(self.now.config.data_dir))) as db:
            db.execute(statement)
            db.commit()


class Made(NamedTuple):
    """What outlives the life that made the world."""

    folder: Path
    objects: dict[str, bytes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The world, made once: each test goes on with a copy of it."""
    folder = tmp_path_factory.mktemp("made")
    store = MemoryStore()

    async def make() -> None:
        async with life(folder, store) as now:
            await _make(now)

    asyncio.run(make())
    return Made(folder, store.objects)


@contextlib.asynccontextmanager
async def world_of(made: Made, folder: Path) -> AsyncIterator[World]:
    """A life that begins with a copy of the world in ``folder``."""
    shutil.copytree(made.folder, folder, dirs_exist_ok=True)
    async with life(folder, MemoryStore(made.objects)) as now:
        row = await now.row()
        gone, copied = row.objects
        assert (gone.has_local, copied.has_local) == (False, True)
        yield World(now, row, gone, copied)


async def _make(now: Life) -> None:
    await now.send(metadata("user", "1"), event(1), event(2), b"no event")
    await now.send(event(2), event(3))
    await now.roll_up(evict=True)
    await now.send(event(4), metadata("user", "2"))
    await now.send(event(5))
    await now.roll_up()
    await now.send(event(6))
    await now.send(event(1), recording_id=B)
    await now.rest()
    await now.send(event(7))


def _flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


async def _without_index_rows(world: World) -> None:
    await world.now.index.remove("t", B)


async def _rolled_up_and_forgotten(world: World) -> None:
    await world.now.send(event(1), recording_id=C)
    await world.now.roll_up()
    await world.now.index.remove("t", C)


async def _object_of_less(world: World) -> None:
    source = PackInput(str(world.path(3)), world.path(3).stat().st_size)
    target = f"{world.now.config.data_dir}/packed"
    packed = await asyncio.to_thread(
        pack, world.now.disk, [source], target, level=1, block_bytes=1 << 20, summary=PackedSummary()
    )
    key = layout.object_key(
        SegmentName("t", A, 3), created_ms=world.row.created_ms, first_seq=packed.extent.first_seq,
        event_count=packed.extent.event_count,
    )  # fmt: skip
    assert key not in world.store.objects
    await world.store.put(key, target)
    world.now.disk.unlink(target)


async def _removed_and_back(world: World) -> None:
    objects = dict(world.store.objects)
    await world.now.remover.erase("t", A)
    world.store.objects.update(objects)
    await asyncio.to_thread(_torn, world)


def _torn(world: World) -> None:
    torn = Path(layout.torn_dir(world.now.config.data_dir))
    torn.mkdir(exist_ok=True)
    (torn / f"t.{A}.000001.ndjson.zst.200.12345678.torn").write_bytes(b"torn")


async def _buried(world: World) -> None:
    world.now.tombstones.bury("t", A, created_ms=world.row.created_ms, reason="erased", at_ms=1)


async def _evicted_but_one(world: World) -> None:
    data = world.path(3).read_bytes()
    await world.now.evictor.evict_now(everything=True)
    world.path(3).write_bytes(data)


def _identity_alone(world: World) -> None:
    found = decode_identity(world.path(5).read_bytes()[:IDENTITY_READ_SIZE])
    assert found is not None
    world.path(9).write_bytes(encode_identity(found[0]))


def _rolling(world: World) -> None:
    path = Path(layout.rolling_path(world.now.config.data_dir, SegmentName("t", A, 1)))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"half an object")


Remedy = Literal["put back", "mend", "reindex", "restart", "erase", "by hand"]


class Damage(NamedTuple):
    plant: Callable[[World], object]
    kinds: set[str]
    """What is told, and nothing else."""
    remedy: Remedy
    deep: bool = False
    """Only a look at all bytes shows it."""


def _store(change: Callable[[dict[str, bytes], World], object]) -> Callable[[World], object]:
    return lambda world: change(world.store.objects, world)


_SQL = "UPDATE recording SET {0} = {0} + 1 WHERE name = '" + A + "'"
_DAMAGE: dict[str, Damage] = {
    "object gone": Damage(
        _store(lambda all_, world: all_.pop(world.gone_key)), {"object-missing"}, "put back"
    ),
    "object gone, nobody has it": Damage(
        _store(lambda all_, world: all_.pop(world.gone_key)), {"object-missing"}, "erase"
    ),
    "object gone, segments here": Damage(
        _store(lambda all_, world: all_.pop(world.copied_key)), {"object-missing"}, "reindex"
    ),
    "object cut short": Damage(
        _store(lambda all_, world: all_.update({world.gone_key: all_[world.gone_key][:-9]})),
        {"object-size"},
        "put back",
    ),
    "object cut short, segments here": Damage(
        _store(lambda all_, world: all_.update({world.copied_key: all_[world.copied_key][:-9]})),
        {"object-size"},
        "reindex",
    ),
    "byte of an object flipped": Damage(
        lambda world: world.store.damage(world.gone_key, 320), {"object-damaged"}, "put back", deep=True
    ),
    "byte of an object flipped, segments here": Damage(
        lambda world: world.store.damage(world.copied_key, 320), {"object-damaged"}, "reindex", deep=True
    ),
    "object of a recording that the index lacks": Damage(
        _rolled_up_and_forgotten, {"object-not-indexed", "segment-not-indexed"}, "reindex"
    ),
    "object that another one covers": Damage(_object_of_less, {"object-orphan"}, "mend"),
    "objects of an erased recording": Damage(_removed_and_back, {"erased-leftover"}, "mend"),
    "removal under way": Damage(_buried, {"removal-unfinished"}, "restart"),
    "junk under an object's key": Damage(
        _store(lambda all_, world: all_.update({world.gone_key.replace(A, C): b"junk" * 99})),
        {"object-unreadable"},
        "by hand",
    ),
    "something else in the bucket": Damage(
        _store(lambda all_, _: all_.update({"README.md": b"hello"})), {"not-an-object"}, "by hand"
    ),
    "copy left behind by an eviction": Damage(_evicted_but_one, {"copy-leftover"}, "mend"),
    "copy damaged": Damage(lambda world: _flip(world.path(3), 320), {"copy-damaged"}, "mend", deep=True),
    "copy cut short": Damage(lambda world: os.truncate(world.path(3), 300), {"copy-damaged"}, "mend"),
    "unfinished object": Damage(_rolling, {"rolling-leftover"}, "mend"),
    "segment with an identity alone": Damage(_identity_alone, {"segment-empty"}, "mend"),
    "segment that the index lacks": Damage(_without_index_rows, {"segment-not-indexed"}, "reindex"),
    "segment gone": Damage(lambda world: world.path(5).unlink(), {"segment-missing"}, "put back"),
    "only segment gone": Damage(
        lambda world: world.path(1, recording_id=B).unlink(), {"segment-missing"}, "put back"
    ),
    "active segment gone": Damage(
        lambda world: world.path(6, active=True).unlink(), {"segment-missing"}, "put back"
    ),
    "segment cut short": Damage(
        lambda world: os.truncate(world.path(5), 300), {"segment-damaged"}, "put back"
    ),
    "byte of a segment flipped": Damage(
        lambda world: _flip(world.path(5), 320), {"segment-damaged"}, "put back", deep=True
    ),
    "segment never moved": Damage(
        lambda world: world.path(5).rename(world.path(5, active=True)), {"segment-not-moved"}, "mend"
    ),
    "row without files": Damage(
        lambda world: world.sql(
            f"DELETE FROM segment WHERE row_id = (SELECT row_id FROM recording WHERE name = '{B}')"
        ),
        {"nothing-there", "segment-not-indexed", "counters-off"},
        "reindex",
    ),
    "bytes at rest miscounted": Damage(
        lambda world: world.sql(_SQL.format("stored_bytes")), {"counters-off"}, "reindex"
    ),
    "bytes of the tenant miscounted": Damage(
        lambda world: world.sql("UPDATE tenant SET storage_bytes = storage_bytes - 1"),
        {"counters-off"},
        "reindex",
    ),
    "events miscounted": Damage(
        lambda world: world.sql(_SQL.format("next_seq")), {"counters-off"}, "reindex", deep=True
    ),
    "bytes of events miscounted": Damage(
        lambda world: world.sql(_SQL.format("raw_bytes")), {"counters-off"}, "reindex", deep=True
    ),
    "repeats miscounted": Damage(
        lambda world: world.sql(_SQL.format("duplicates")), {"counters-off"}, "reindex", deep=True
    ),
    "quarantined lines miscounted": Damage(
        lambda world: world.sql(_SQL.format("quarantined")), {"counters-off"}, "reindex", deep=True
    ),
    "metadata of another version": Damage(
        lambda world: world.sql("UPDATE metadata SET version = 7"), {"counters-off"}, "reindex", deep=True
    ),
}
_WORDS = {
    "put back": "put", "mend": "rrd verify --mend", "reindex": "rrd reindex", "restart": "start",
    "erase": "rrd erase", "by hand": "by hand",
}  # fmt: skip


@pytest.mark.parametrize("damage", _DAMAGE.values(), ids=_DAMAGE)
async def test_a_difference_is_told_and_what_it_says_mends_it(
    tmp_path: Path, made: Made, damage: Damage
) -> None:
    async with world_of(made, tmp_path) as world:
        now, store = world.now, world.store
        assert await now.verify() == []
        objects = dict(store.objects)
        places = (world.path(5), world.path(3), world.path(1, recording_id=B), world.path(6, active=True))
        files = {path: path.read_bytes() for path in places}
        planted = damage.plant(world)
        if isinstance(planted, Awaitable):
            await planted
        if damage.deep:
            assert await now.verify(deep=False) == []
        found = await now.verify(deep=damage.deep)
        # Which events are lost is another table's matter: tests/cli/test_cli_damage.py.
        told = [difference for difference in found if difference.kind != "events-missing"]
        assert {difference.kind for difference in told} == damage.kinds
        for difference in told:
            assert _WORDS[damage.remedy] in difference.next_step
        assert found == await now.verify(deep=damage.deep, is_served=True) or damage.remedy == "reindex"
        if damage.remedy == "mend":
            assert await now.verify(deep=damage.deep, mend=True) == []
        else:
            left = await now.verify(deep=damage.deep, mend=True)
            assert left == found, "nothing else is touched"
        if damage.remedy == "put back":
            store.objects.update(objects)
            for path, data in files.items():
                path.write_bytes(data)
        if damage.remedy == "erase":
            await now.remover.erase("t", A)
        if damage.remedy == "by hand":
            for difference in found:
                await store.delete(difference.where)
        if damage.remedy not in {"reindex", "restart"}:
            assert await now.verify() == []
    if damage.remedy == "reindex":
        delete_index(tmp_path)
    async with life(tmp_path, store) as again:
        await again.roll_up()
        assert await again.verify() == []


async def test_a_copy_is_kept_while_the_object_that_should_hold_the_same_is_damaged(
    tmp_path: Path, made: Made
) -> None:
    async with world_of(made, tmp_path) as world:
        now = world.now
        await _evicted_but_one(world)
        now.store.damage(world.copied_key, 320)
        found = await now.verify(deep=False, mend=True)
        assert [difference.kind for difference in found] == ["copy-leftover"]
        assert world.path(3).exists()


async def test_an_object_that_just_waits_to_be_published_is_no_orphan(tmp_path: Path) -> None:
    async with life(tmp_path, MemoryStore()) as now:
        await now.send(event(1))
        now.store.lose_answers("put", times=1)
        with pytest.raises(StoreAway):
            await now.roll_up()
        assert len(now.store.objects) == 1
        assert [entry.state for entry in (await now.row()).objects] == ["planned"]
        assert await now.verify() == []


async def test_what_has_vanished_at_the_second_look_is_not_told(tmp_path: Path, made: Made) -> None:
    async with world_of(made, tmp_path) as world:
        now = world.now
        examine, looks = now.index.recording, 0
        data = world.path(5).read_bytes()
        world.path(5).unlink()

        async def back_at_the_second_look(tenant: str, recording_id: str) -> RecordingRow | None:
            nonlocal looks
            looks += recording_id == A
            # Seen by the walk, then by the first look.
            if looks == 4:
                world.path(5).write_bytes(data)
            return await examine(tenant, recording_id)

        now.index.recording = back_at_the_second_look  # type: ignore[method-assign]  # the file comes back meanwhile
        assert await now.verify(deep=False, is_served=True) == []
        assert world.path(5).exists()


async def test_verify_works_while_events_come_and_are_rolled_up(tmp_path: Path, made: Made) -> None:
    async with world_of(made, tmp_path) as world:
        now = world.now

        async def work() -> None:
            for number in range(30):
                await now.send(event(100 + number), recording_id=(A, B, C)[number % 3])
                if number % 5 == 4:
                    await now.roll_up(evict=number % 2 == 0)

        # A group: if verify tells something, the work ends before the life that it is part of.
        async with asyncio.TaskGroup() as group:
            working = group.create_task(work())
            while not working.done():
                # What is on its way at one look has arrived by the next.
                assert await now.verify(is_served=True, look_again_s=0.5) == []


class _GoneOnceListed(OsDisk):
    """A file goes right after its directory was listed, as if it were moved or removed by the daemon then."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        self.has_gone = False

    def list_dir(self, path: str) -> list[str]:
        names = super().list_dir(path)
        if path == str(self._path.parent) and not self.has_gone:
            self._path.unlink()
            self.has_gone = True
        return names


@pytest.mark.parametrize("path_of", [layout.active_path, layout.sealed_path, layout.rolling_path])
async def test_a_file_that_goes_while_its_folder_is_listed_is_not_unexpected(
    tmp_path: Path, made: Made, path_of: Callable[[str, SegmentName], str]
) -> None:
    async with world_of(made, tmp_path) as world:
        data_dir = world.now.config.data_dir
        world.now.disk = disk = _GoneOnceListed(path_of(data_dir, SegmentName("t", C, 1)))
        stray = f"{layout.rolling_dir(data_dir)}/notes.txt"
        disk.close(disk.open_append(stray, create=True))
        told = [difference.where for difference in await world.now.verify(deep=False, is_served=True)]
        assert disk.has_gone
        assert told == [stray]


class _Vanishing(OsDisk):
    """A file goes right before it is read for the ``read_number``-th time, as if it were evicted then."""

    def __init__(self, read_number: int) -> None:
        self.reads_left = read_number

    def read(self, path: str, offset: int, size: int) -> bytes:
        self.reads_left -= 1
        if not self.reads_left:
            Path(path).unlink(missing_ok=True)
        return super().read(path, offset, size)


async def test_verify_goes_on_whichever_file_goes_before_it_is_read(tmp_path: Path, made: Made) -> None:
    number, has_more = 0, True
    while has_more:
        number += 1
        async with world_of(made, tmp_path / str(number)) as world:
            await _without_index_rows(world)
            world.now.disk = disk = _Vanishing(number)
            await world.now.verify(is_served=True)
            has_more = disk.reads_left <= 0
    assert number > 8


async def test_verify_says_that_the_store_is_away(tmp_path: Path, made: Made) -> None:
    async with world_of(made, tmp_path) as world:
        now = world.now
        now.store.fail()
        with pytest.raises(StoreAway):
            await now.verify()
        now.store.heal()
