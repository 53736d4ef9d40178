"""The index made again from segments and objects: the rule, and that nobody can tell the difference."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import tracemalloc
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rrd.disk.disk import OsDisk
from rrd.errors import StoreAway
from rrd.extent import Extent
from rrd.index.sqlite.index import SqliteIndex
from rrd.inventory import census
from rrd.inventory.census import Entry, Patience
from rrd.inventory.survey import Block, PlacedFile, Survey, Surveyed
from rrd.layout import SegmentName
from rrd.objects.store import ObjectInfo
from rrd.segment.format import BlockHeader, Identity
from rrd.startup.rebuild import Published, arrange, choose, rebuild
from rrd.startup.recovery import reindex
from tests.care.care_lab import STEPS, A, B, delete_index, index_path, life, play, settings
from tests.harness import until
from tests.objects.memory_store import MemoryStore
from tests.samples import event, metadata
from tests.thoroughness import examples

# The rule, by tables


def entry(
    first: int, last: int, *, first_seq: int = 1, event_count: int = 1, damage: str = "", key: str = ""
) -> Entry:
    return Entry(
        key=key or f"{first}-{last}", size=100, modified_ms=5, tenant="t", recording_id=A, created_ms=1,
        first_number=first, last_number=last, quarantine=(), metadata=(), damage=damage,
        extent=Extent(first_seq, event_count, None, None, event_count, 1, 0, 0),
    )  # fmt: skip


def segment(number: int, *, first_seq: int = 1, event_count: int = 1, is_whole: bool = True) -> Surveyed:
    header = BlockHeader(
        offset=100, payload_crc=0, event_count=event_count, first_seq=first_seq, first_ts=1.0, last_ts=1.0,
        source=1, stored_ms=1, data_size=1, raw_size=event_count, notes_size=0, notes_raw_size=0,
        duplicate_count=0, quarantine_count=0, flags=0,
    )  # fmt: skip
    identity = Identity(
        tenant="t", recording_id=A, number=number, salt="0" * 32, created_ms=1, first_seq=first_seq,
        previous_size=0,
    )  # fmt: skip
    file = PlacedFile(SegmentName("t", A, number), "sealed")
    return Surveyed(file, identity, [Block(0, header, ())], is_whole)


def told(
    entries: list[Entry], surveyed: list[Surveyed]
) -> tuple[list[str], list[tuple[int, int]], list[str]]:
    """What counts, in short: "3" is a segment, "1-2" an object, "1-2+2" one with a copy of segment 2."""
    found = arrange(entries, surveyed)
    steps = []
    for step in found.steps:
        if isinstance(step, Published):
            steps.append("+".join([step.entry.key, *(str(copy.file.name.number) for copy in step.local)]))
        else:
            steps.append(str(step.file.name.number))
    return steps, found.planned, [orphan.key for orphan in found.orphans]


def test_an_object_whose_segments_are_all_here_is_planned_again() -> None:
    here = [segment(1), segment(2, first_seq=2), segment(3, first_seq=3)]
    assert told([entry(1, 2, event_count=2)], here) == (["1", "2", "3"], [(1, 2)], [])


def test_an_object_counts_where_one_of_its_segments_is_gone() -> None:
    assert told([entry(1, 2, event_count=2)], [segment(2, first_seq=2)]) == (["1-2+2"], [], [])
    assert told([entry(1, 2, event_count=2)], []) == (["1-2"], [], [])


def test_an_object_counts_where_one_of_its_segments_is_damaged() -> None:
    here = [segment(1), segment(2, first_seq=2, is_whole=False)]
    assert told([entry(1, 2, event_count=2)], here) == (["1-2+1"], [], [])


def test_an_object_counts_where_the_segments_hold_less() -> None:
    assert told([entry(1, 1, event_count=2)], [segment(1)]) == (["1-1+1"], [], [])
    plain = entry(1, 1)
    with_notes = plain._replace(extent=plain.extent._replace(quarantine_count=1), quarantine=((0, 1, 1),))
    assert told([with_notes], [segment(1)]) == (["1-1+1"], [], [])


def test_of_a_damaged_object_no_local_copy_is_given_up() -> None:
    assert told([entry(1, 2, event_count=2, damage="!")], [segment(2, first_seq=2)]) == (["1-2"], [], [])
    here = [segment(1), segment(2, first_seq=2)]
    assert told([entry(1, 2, event_count=2, damage="!")], here) == (["1", "2"], [(1, 2)], [])


def test_parts_are_told_in_the_order_of_their_numbers() -> None:
    here = [segment(3, first_seq=3), segment(6, first_seq=6)]
    assert told([entry(4, 5), entry(1, 2)], here)[0] == ["1-2", "3", "4-5", "6"]


_NUMBERS = st.integers(1, 8)


@given(st.lists(st.tuples(_NUMBERS, _NUMBERS, st.integers(0, 3)), max_size=6))
def test_of_objects_that_overlap_the_one_that_covers_more_counts(
    spans: list[tuple[int, int, int]],
) -> None:
    entries = [
        entry(min(a, b), max(a, b), event_count=count, key=str(position))
        for position, (a, b, count) in enumerate(spans)
    ]
    kept, orphans = choose(entries)
    assert sorted(kept + orphans) == sorted(entries)
    numbers = [number for each in kept for number in range(each.first_number, each.last_number + 1)]
    assert numbers == sorted(set(numbers)), "in order, and none twice"
    for orphan in orphans:
        rivals = [
            each
            for each in kept
            if each.first_number <= orphan.last_number and orphan.first_number <= each.last_number
        ]
        assert any(
            each.last_number - each.first_number >= orphan.last_number - orphan.first_number
            for each in rivals
        ), "it gave way to nothing larger"


# Doing it


def _without_bytes(answers: dict[str, object]) -> dict[str, object]:
    """Leave out bytes at rest: a rebuild has objects made again whose segments are still here."""
    kept = {key: value for key, value in answers.items() if not key.endswith("statistics")}
    return {key: value[:-1] if isinstance(value, tuple) else value for key, value in kept.items()}


_OFTEN = ["metadata", "bad line", "roll up", "evict", "send A", "lost answer", "restart", "send A"]


@given(st.lists(st.sampled_from(STEPS), max_size=14))
@example(_OFTEN)
@example([*_OFTEN, "roll up", "evict half", "metadata", "rest"])
@example(["send B", "roll up", "send A", "erase", "bad lines alone", "roll up", "evict"])
@hypothesis_settings(max_examples=examples(15), deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_happened_a_rebuilt_index_gives_the_same_answers(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_rebuilt_or_not(Path(name), steps))


async def _rebuilt_or_not(folder: Path, steps: list[str]) -> None:
    store = MemoryStore()
    await play(folder / "lived", store, steps)
    shutil.copytree(folder / "lived", folder / "lost")
    copy = MemoryStore(store.objects)
    async with life(folder / "lived", store) as kept:
        answers = await kept.answers()
        settled = await kept.settled()
    delete_index(folder / "lost")
    async with life(folder / "lost", copy) as made_again:
        assert _without_bytes(await made_again.answers()) == _without_bytes(answers)
        assert await made_again.verify() == []
        # A plan of which nothing was put yet is forgotten with the index: the next one may take in more.
        same = _without_bytes if "store away" in steps else dict
        assert same(await made_again.settled()) == same(settled)
        assert await made_again.verify() == []
        page = await made_again.index.oldest(tenant=None, after_row_id=0, limit=99)
        row_ids = [row.row_id for row in page]
        assert row_ids == sorted(row_ids)
        ages = [row.created_ms for row in page]
        assert ages == sorted(ages), "row ids are in the order in which recordings began"


async def test_numbers_go_on_after_objects_alone_are_left(tmp_path: Path) -> None:
    store = MemoryStore()
    async with life(tmp_path, store) as one:
        await one.send(metadata("user", "1"), event(1), event(2))
        await one.roll_up(evict=True)
    shutil.rmtree(tmp_path / "data")
    async with life(tmp_path, store) as again:
        assert again.recovered.objects == 1
        assert (await again.send(event(2), event(3))).duplicates == 1
        assert (await again.row()).next_seq == 4
        await again.roll_up(evict=True)
        assert await again.verify() == []
    assert len(store.objects) == 2


async def test_a_start_waits_for_the_store_when_the_index_is_lost_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census, "WAIT_S", (0.001, 0.01))
    store = MemoryStore()
    async with life(tmp_path, store) as one:
        await one.send(event(1), event(2))
        await one.roll_up(evict=True)
    delete_index(tmp_path)
    store.fail()
    started = asyncio.Event()

    async def start() -> int:
        async with life(tmp_path, store) as again:
            started.set()
            return (await again.send(event(3))).stored + (await again.row()).next_seq

    task = asyncio.create_task(start())
    await until(lambda: "rebuild_waits" in caplog.text, what="a word on what it waits for")
    asked = store.calls["mark"]
    await until(lambda: store.calls["mark"] > asked + 5, what="the store to be asked again and again")
    assert not started.is_set()
    store.heal()
    store.fail("read", times=3)
    assert await task == 1 + 4


async def test_a_start_with_an_index_asks_the_store_only_whose_it_is_and_lists_no_sealed_segment(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    async with life(tmp_path, store) as one:
        await one.send(event(1))
        await one.roll_up()
    (tmp_path / "data" / "sealed" / "t").chmod(0)
    store.calls.clear()
    store.fail()
    try:
        async with life(tmp_path, store):
            assert store.calls == {"mark": 1}
    finally:
        (tmp_path / "data" / "sealed" / "t").chmod(0o700)


async def test_reindex_fails_while_the_store_is_away_and_leaves_the_old_index(tmp_path: Path) -> None:
    store = MemoryStore()
    async with life(tmp_path, store) as one:
        await one.send(event(1))
        await one.roll_up(evict=True)
        answers = await one.answers()
    store.fail("read")
    with pytest.raises(StoreAway):
        await reindex(settings(tmp_path), store)
    assert sorted(path.name for path in index_path(tmp_path).parent.glob("index.sqlite*")) == ["index.sqlite"]
    async with life(tmp_path, MemoryStore(store.objects)) as again:
        assert await again.answers() == answers


async def test_what_was_erased_stays_away(tmp_path: Path) -> None:
    store = MemoryStore()
    async with life(tmp_path, store) as one:
        await one.send(event(1))
        await one.send(event(1), recording_id=B)
        await one.roll_up()
        shutil.copytree(tmp_path / "data" / "sealed", tmp_path / "sealed")
        objects = dict(store.objects)
        await one.remover.erase("t", B)
    # A backup of all but the tombstones was put back.
    shutil.copytree(tmp_path / "sealed", tmp_path / "data" / "sealed", dirs_exist_ok=True)
    delete_index(tmp_path)
    again = MemoryStore(objects)
    async with life(tmp_path, again) as rebuilt:
        assert rebuilt.recovered.buried == 1
        assert await rebuilt.index.recording("t", B) is None
        assert {difference.kind for difference in await rebuilt.verify()} == {"erased-leftover"}
        assert await rebuilt.verify(mend=True) == []
        assert await rebuilt.verify() == []


async def test_of_two_lives_of_a_recording_the_later_counts(tmp_path: Path) -> None:
    store = MemoryStore()
    async with life(tmp_path, store) as first:
        await first.send(event(1), event(2))
        await first.roll_up()
    shutil.rmtree(tmp_path / "data")
    old = dict(store.objects)
    store.objects.clear()
    async with life(tmp_path, store) as second:
        second.clock.seconds += 10 * 86_400
        await second.send(event(7))
        await second.roll_up()
    store.objects.update(old)
    shutil.rmtree(tmp_path / "data")
    async with life(tmp_path, store) as rebuilt:
        assert (await rebuilt.row()).next_seq == 2
        (difference,) = await rebuilt.verify()
        assert difference.where in old
        # No removal of the earlier life is recorded, so its events may be the only copy.
        assert difference.what.startswith("it holds 2 events")
        assert await rebuilt.verify(mend=True) == [difference]
        assert set(old) <= set(store.objects)


_OBJECT_DAMAGE = {
    "table cut off": lambda data: data[:-30],
    "a byte of the table flipped": lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
}


@pytest.mark.parametrize("damage", _OBJECT_DAMAGE.values(), ids=_OBJECT_DAMAGE)
async def test_numbers_of_a_damaged_object_are_not_given_again(tmp_path: Path, damage: object) -> None:
    store = MemoryStore()
    async with life(tmp_path, store) as one:
        await one.send(metadata("user", "1"), event(1), event(2))
        await one.roll_up(evict=True)
    (key,) = store.objects
    store.objects[key] = damage(store.objects[key])  # type: ignore[operator]  # from the table above
    delete_index(tmp_path)
    async with life(tmp_path, store) as again:
        await again.send(event(3))
        row = await again.row()
        assert row.next_seq == 4
        assert row.metadata_keys == {"user"}
        assert "object-damaged" in {difference.kind for difference in await again.verify()}


async def test_objects_are_read_a_few_at_a_time_and_in_order(tmp_path: Path) -> None:
    store = MemoryStore()
    async with life(tmp_path, store) as one:
        for number in range(40):
            await one.send(event(number), recording_id=f"00000000-0000-4000-9000-{number:012d}")
        await one.roll_up()
    store.slow_down(0.001)
    seen = [found async for found in census.census(store, Patience(wait=False))]
    assert [found.key for found in seen if isinstance(found, Entry)] == sorted(store.objects)


# A large bucket


class ManyObjects(MemoryStore):
    """A hundred thousand objects, made up when they are asked for out of a real one."""

    def __init__(self, model: bytes, count: int) -> None:
        super().__init__()
        self.model = model
        self.count = count
        self.reads_under_way = 0
        self.reads_at_once = 0

    def _name(self, number: int) -> str:
        return f"00000000-0000-4000-8000-{number:012d}"

    async def list(self, prefix: str = "") -> AsyncGenerator[ObjectInfo, None]:
        for number in range(self.count):
            key = f"t/2023/11/14/{self._name(number)}/00000001-00000001.ndjson.zst"
            if key.startswith(prefix):
                yield ObjectInfo(key, len(self.model), 1)

    async def read(self, key: str, offset: int, size: int) -> bytes:
        self.reads_under_way += 1
        self.reads_at_once = max(self.reads_at_once, self.reads_under_way)
        await asyncio.sleep(0)
        self.reads_under_way -= 1
        return renamed(self.model, key.split("/")[4])[offset : offset + size]


def renamed(model: bytes, recording_id: str) -> bytes:
    """The same object, as another recording's: its identity's checksums made anew."""
    from rrd.segment.format import decode_header, decode_identity, encode_identity
    from rrd.segment.table import encode_table

    found = decode_identity(model[:4096])
    assert found is not None
    identity, offset = found
    changed = decode_identity(
        encode_identity(
            type(identity)(
                **{name: getattr(identity, name) for name in identity.__struct_fields__}
                | {"recording_id": recording_id}
            )
        )
    )
    assert changed is not None
    headers = b""
    at = offset
    while (header := decode_header(model, salt=bytes.fromhex(identity.salt), offset=at, at=at)) is not None:
        headers += model[at + 8 : at + 104]
        at = header.limit_offset
    return encode_identity(changed[0]) + model[offset:at] + encode_table(changed[0], headers)


@pytest.fixture
def model(tmp_path: Path) -> bytes:
    store = MemoryStore()

    async def make() -> None:
        async with life(tmp_path / "model", store) as one:
            await one.send(metadata("user", "1"), event(1))
            await one.roll_up()

    asyncio.run(make())
    (data,) = store.objects.values()
    return data


async def _rebuild(folder: Path, store: ManyObjects) -> None:
    index = await SqliteIndex.open(str(folder / "index.sqlite"))
    try:
        survey = Survey(str(folder), OsDisk())
        await rebuild(survey, index, store, None, patience=Patience(wait=False))
        assert survey.result.recordings == store.count
        assert index.next_row_id == store.count + 1
    finally:
        await index.close()
    assert 1 < store.reads_at_once <= census.READS_MAX


async def _allocated_kib(folder: Path, store: ManyObjects) -> int:
    """What Python held at most."""
    await asyncio.to_thread(folder.mkdir)
    tracemalloc.start()
    try:
        await _rebuild(folder, store)
        return tracemalloc.get_traced_memory()[1] // 1024
    finally:
        tracemalloc.stop()


async def test_a_rebuild_holds_little_of_each_object(tmp_path: Path, model: bytes) -> None:
    small = await _allocated_kib(tmp_path / "few", ManyObjects(model, 100))
    large = await _allocated_kib(tmp_path / "many", ManyObjects(model, 700))
    assert large - small < 600 * 1.2


def _resident_mib(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


@pytest.mark.slow
async def test_a_hundred_thousand_objects_are_rebuilt_in_bounded_memory(tmp_path: Path, model: bytes) -> None:
    # The peak so far is forgotten (proc(5), clear_refs).
    await asyncio.to_thread(Path("/proc/self/clear_refs").write_text, "5")
    before = _resident_mib("VmRSS")
    await _rebuild(tmp_path, ManyObjects(model, 100_000))
    assert _resident_mib("VmHWM") - before < 150
