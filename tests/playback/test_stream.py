"""Recordings streamed from disk, against the naive model."""

from __future__ import annotations

import itertools
import json
import random
import tracemalloc
from decimal import Decimal
from fractions import Fraction
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.errors import CorruptSegment, StoreAway
from rrd.objects.files import ObjectFiles
from rrd.playback.blocks import CHUNK_BYTES
from rrd.playback.splice import JSON_ARRAY, NDJSON, Form
from rrd.playback.stream import CHUNK_BYTES_MAX, read_in_order
from rrd.playback.table import ALWAYS, Between, PlaybackTable, plan
from tests.objects.file_lab import files_of
from tests.objects.memory_store import MemoryStore
from tests.playback.recordings import (
    DATA,
    Line,
    Place,
    Run,
    Segment,
    VanishingDisk,
    answer,
    any_block_bytes,
    any_range,
    any_recording,
    any_runs,
    block,
    draft,
    encode,
    encode_drafts,
    key_of,
    line,
    longer_recording,
    path_of,
    put,
    seal,
    spread,
)
from tests.simdisk import SimDisk
from tests.thoroughness import examples

PLENTY = 64 << 20


def planned(disk: SimDisk, files: ObjectFiles, segments: list[Segment]) -> PlaybackTable:
    return plan(disk, files, DATA, put(disk, segments))


def read(table: PlaybackTable, form: Form = NDJSON, bytes_max: int = PLENTY) -> bytes:
    return b"".join(read_in_order(table, form=form, bytes_max=bytes_max))


def ndjson(segments: list[Segment], between: Between = ALWAYS) -> bytes:
    return b"".join(line + b"\n" for line in answer(segments, between))


@given(any_recording, st.sampled_from([1, 500, 5000, PLENTY]))
def test_every_event_comes_back_in_order_with_its_bytes_untouched(
    files: ObjectFiles, segments: list[Segment], bytes_max: int
) -> None:
    disk = SimDisk()
    table = planned(disk, files, segments)
    assert read(table, NDJSON, bytes_max) == ndjson(segments)


@given(any_recording)
def test_an_array_holds_what_the_lines_hold(files: ObjectFiles, segments: list[Segment]) -> None:
    disk = SimDisk()
    table = planned(disk, files, segments)
    text = read(table, JSON_ARRAY)
    assert text == b"[" + b",\n".join(answer(segments)) + b"]"
    # parse_int: a number in there has more digits than Python reads.
    assert len(json.loads(text, parse_int=float)) == table.event_count


@pytest.mark.parametrize(("form", "text"), [(JSON_ARRAY, b"[]"), (NDJSON, b"")])
@pytest.mark.parametrize("segments", [[], [[]], [[[], []]]])
def test_a_recording_without_events_is_empty(
    files: ObjectFiles, segments: list[Segment], form: Form, text: bytes
) -> None:
    disk = SimDisk()
    assert read(planned(disk, files, segments), form) == text


@pytest.mark.parametrize("form", [JSON_ARRAY, NDJSON])
def test_chunks_are_neither_tiny_nor_huge(files: ObjectFiles, form: Form) -> None:
    trickle = [block(index, pad=100) for index in range(2000)]
    bulk = [[line(5000 + index, pad=150) for index in range(3000)]]
    snapshots = [[line(9000, pad=1_000_000)], block(9001, 9002, 9003, pad=300_000), block(9000.5)]
    segments = [trickle, bulk, snapshots]
    disk = SimDisk()
    chunks = list(read_in_order(planned(disk, files, segments), form=form, bytes_max=PLENTY))
    assert max(map(len, chunks)) <= CHUNK_BYTES_MAX
    assert (
        sum(len(chunk) < CHUNK_BYTES // 2 for chunk in chunks) <= 1 + 4
    )  # the last one, and ends of large ones
    lines = answer(segments)
    assert b"".join(chunks) == (
        b"[" + b",\n".join(lines) + b"]" if form is JSON_ARRAY else b"\n".join(lines) + b"\n"
    )


def test_memory_follows_the_largest_block_not_the_recording(files: ObjectFiles) -> None:
    size = 4 << 20
    disk = SimDisk()
    table = planned(disk, files, [[[line(index, pad=size)] for index in range(6)]])
    tracemalloc.start()
    try:
        for _ in read_in_order(table, form=NDJSON, bytes_max=PLENTY):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The block and a chunk, and small change.
    assert peak < 1.5 * size


def test_a_damaged_block_breaks_the_stream_after_the_good_ones(files: ObjectFiles) -> None:
    blocks = [block(*range(start, start + 400), pad=600) for start in (0, 400, 800)]
    disk = SimDisk()
    table = planned(disk, files, [blocks])
    _, header = table.block(2)
    data = bytearray(disk.read(path_of(1, "active"), 0, 1 << 30))
    data[header.data_offset + 20] ^= 1
    disk.put(path_of(1, "active"), bytes(data))
    good: list[bytes] = []
    with pytest.raises(CorruptSegment) as caught:
        good.extend(read_in_order(table, form=NDJSON, bytes_max=PLENTY))
    assert caught.value.offset == header.offset
    assert good
    assert ndjson([blocks[:2]]).startswith(b"".join(good))


def test_lines_that_contradict_their_header_break_the_stream(files: ObjectFiles) -> None:
    lying = draft(block(5, 7), 1)._replace(last_ts=6.5)
    disk = SimDisk()
    snapshot = put(disk, [[]])
    data = encode_drafts([lying, draft(block(6, 6), 3)], number=1, first_seq=1)
    disk.put(path_of(1, "active"), data)
    rows = (snapshot.segments[0]._replace(size=len(data)),)
    with pytest.raises(CorruptSegment, match="not what the header says"):
        read(plan(disk, files, DATA, snapshot._replace(segments=rows)))


def test_a_segment_sealed_between_plan_and_read_is_read(files: ObjectFiles) -> None:
    segments: list[Segment] = [[block(1, 3)], [block(2, 4)]]
    disk = SimDisk()
    table = planned(disk, files, segments)
    seal(disk, 2)
    assert read(table) == ndjson(segments)


def test_a_segment_sealed_in_the_middle_of_reading_is_read(files: ObjectFiles) -> None:
    segments: list[Segment] = [[block(start, start + 1, pad=CHUNK_BYTES) for start in range(0, 20, 2)]]
    disk = SimDisk()
    chunks = read_in_order(planned(disk, files, segments), form=NDJSON, bytes_max=PLENTY)
    first = next(chunks)
    seal(disk, 1)
    assert first + b"".join(chunks) == ndjson(segments)


def test_a_recording_that_grows_is_read_as_of_its_snapshot(files: ObjectFiles) -> None:
    segments: list[Segment] = [[block(1, 2)]]
    disk = SimDisk()
    table = planned(disk, files, segments)
    disk.put(path_of(1, "active"), encode([*segments[0], block(0)], number=1, first_seq=1))
    assert read(table) == ndjson(segments)


# Objects

RUNS = {place: [Run(1, "local"), Run(2, place), Run(1, "rolled"), Run(1, place)] for place in get_args(Place)}
SEVEN: list[Segment] = [
    [block(start, start + 9, pad=3000), block(start + 3), block(start + 5, pad=70_000)]
    for start in range(0, 70, 10)
]


@given(longer_recording, any_runs, any_block_bytes, st.sampled_from([1, 5000, PLENTY]))
def test_it_makes_no_difference_where_events_are(
    segments: list[Segment], runs: list[Run], block_bytes: int, bytes_max: int
) -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, segments, runs, block_bytes=block_bytes)
    with files_of(store) as objects:
        assert read(plan(disk, objects, DATA, snapshot), NDJSON, bytes_max) == ndjson(segments)


@given(longer_recording, any_runs, any_block_bytes, any_range, st.sampled_from([1, PLENTY]))
def test_a_range_of_time_gives_the_events_in_it(
    segments: list[Segment], runs: list[Run], block_bytes: int, between: Between, bytes_max: int
) -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, segments, runs, block_bytes=block_bytes)
    with files_of(store) as objects:
        table = plan(disk, objects, DATA, snapshot, between=between)
        assert read(table, NDJSON, bytes_max) == ndjson(segments, between)


@given(
    longer_recording, st.lists(st.integers(1, 3), max_size=5), any_block_bytes, any_range, st.integers(0, 20)
)
def test_local_files_may_go_at_any_moment_of_reading(
    segments: list[Segment], lengths: list[int], block_bytes: int, between: Between, moment: int
) -> None:
    disk, store = VanishingDisk(moment), MemoryStore()
    runs = [Run(length, "rolled") for length in lengths]
    snapshot = spread(disk, store, segments, runs, block_bytes=block_bytes)
    disk.doomed = list(snapshot.objects)
    with files_of(store) as objects:
        table = plan(disk, objects, DATA, snapshot, between=between)
        assert read(table, NDJSON, 5000) == ndjson(segments, between)


@settings(deadline=None, max_examples=examples(30))
@given(st.integers(0, 2**32), st.sampled_from(get_args(Place)), st.integers(0, 40))
def test_long_events_of_large_blocks_are_not_mixed_up(seed: int, place: Place, moment: int) -> None:
    # Such blocks are decoded into the same memory one after the other, and small ones are not.
    rng = random.Random(seed)

    def random_line(at: int) -> Line:
        noise = rng.randbytes(rng.choice((5, 3000, 40_000))).hex().encode()
        return Line(b'{"type":3,"timestamp":%d,"data":"%s"}%s' % (at, noise, rng.choice((b"", b" "))), at)

    starts = iter(range(0, 100_000, 100))
    segments = [
        [
            [random_line(start + index) for index in range(rng.choice((1, 3, 20)))]
            for start in itertools.islice(starts, rng.randrange(1, 5))
        ]
        for _ in range(6)
    ]
    disk, store = VanishingDisk(moment), MemoryStore()
    snapshot = spread(disk, store, segments, RUNS[place], block_bytes=200_000)
    disk.doomed = [row for row in snapshot.objects if row.state == "published"]
    with files_of(store) as objects:
        table = plan(disk, objects, DATA, snapshot)
        assert read(table) == ndjson(segments)


@pytest.mark.parametrize("place", ["local", "planned", "rolled"])
def test_what_is_local_is_read_without_the_store(place: Place) -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, SEVEN, RUNS[place])
    store.fail()
    assert snapshot.is_local
    with files_of(store) as objects:
        table = plan(disk, objects, DATA, snapshot)
        assert table.is_local
        assert read(table) == ndjson(SEVEN)
    assert not store.calls


def test_what_is_not_local_is_known_to_need_the_store() -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, SEVEN, RUNS["evicted"])
    assert not snapshot.is_local
    with files_of(store) as objects:
        assert not plan(disk, objects, DATA, snapshot).is_local
        store.fail()
        objects.forget("")
        with pytest.raises(StoreAway):
            plan(disk, objects, DATA, snapshot)


def test_a_store_that_goes_away_breaks_the_stream() -> None:
    disk, store = SimDisk(), MemoryStore()
    large: list[Segment] = [[block(*range(start, start + 10), pad=200_000)] for start in range(0, 100, 10)]
    for blocks in large:
        for number, one in enumerate(blocks[0]):
            # Compressed to nothing, all of it would come with the first request.
            noise = random.Random(one.timestamp).randbytes(100_000).hex().encode()
            blocks[0][number] = one._replace(raw=one.raw.replace(b"x" * 200_000, noise))
    snapshot = spread(disk, store, large, [Run(9, "evicted")])
    with files_of(store) as objects:
        chunks = read_in_order(plan(disk, objects, DATA, snapshot), form=NDJSON, bytes_max=PLENTY)
        good = [next(chunks)]
        store.fail()
        with pytest.raises(StoreAway):
            good.extend(chunks)
    assert ndjson(large).startswith(b"".join(good))


@pytest.mark.parametrize("place", ["evicted", "half evicted"])
@pytest.mark.parametrize("what", ["table", "block", "missing", "short", "another"])
def test_a_damaged_object_is_named_and_never_served_as_if_whole(place: Place, what: str) -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, SEVEN, RUNS[place])
    row = snapshot.objects[0]
    key = key_of(row)
    if what == "missing":
        del store.objects[key]
    elif what == "short":
        store.objects[key] = store.objects[key][:-1]
    elif what == "another":
        store.objects[key] = store.objects[key_of(snapshot.objects[-1])].ljust(row.size, b"\0")
    else:
        store.damage(key, -50 if what == "table" else row.size // 2)
    with files_of(store) as objects, pytest.raises(CorruptSegment) as caught:
        read(plan(disk, objects, DATA, snapshot))
    assert caught.value.path == key


def test_what_was_damaged_on_its_way_is_fetched_again() -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, SEVEN, RUNS["evicted"])
    with files_of(store) as objects:
        table = plan(disk, objects, DATA, snapshot)
        for row in snapshot.objects:
            store.damage(key_of(row), row.size // 2)
            objects.forget("")
            objects.read(key_of(row), 0, row.size)
            store.damage(key_of(row), row.size // 2)
        assert read(table) == ndjson(SEVEN)


@pytest.mark.parametrize("moment", ["before planning", "before reading"])
def test_a_damaged_local_copy_is_made_good_for_by_its_object(moment: str) -> None:
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, SEVEN, RUNS["rolled"])
    with files_of(store) as objects:
        table = plan(disk, objects, DATA, snapshot)
        for path, data in disk.files().items():
            if any(f"00000{number}.ndjson" in path for number in (2, 3, 4, 5)):
                damaged = bytearray(data)
                damaged[len(data) // 2 if moment == "before reading" else 30] ^= 1
                disk.put(path, bytes(damaged))
        if moment == "before planning":
            table = plan(disk, objects, DATA, snapshot)
        assert read(table) == ndjson(SEVEN)


def test_only_what_is_needed_of_an_object_is_fetched() -> None:
    chance = random.Random(5)
    segments: list[Segment] = []
    for start in range(0, 8000, 1000):
        lines = [line(start + number) for number in range(0, 1000, 20)]
        noisy = [
            one._replace(raw=one.raw.replace(b'""', b'"%s"' % chance.randbytes(20_000).hex().encode()))
            for one in lines
        ]
        segments.append([noisy[:25], noisy[25:]])
    segments.append([])
    disk, store = SimDisk(), MemoryStore()
    snapshot = spread(disk, store, segments, [Run(4, "evicted"), Run(4, "evicted")], block_bytes=200_000)
    stored = sum(map(len, store.objects.values()))
    assert stored > 7 << 20
    with files_of(store) as objects:
        between = Between(2000, 2200)
        table = plan(disk, objects, DATA, snapshot, between=between)
        assert read(table) == ndjson(segments, between)
    # Events of 400 kB, a table, and windows that begin and end a little beyond what is wanted.
    assert store.bytes_read < 1 << 20
    assert {key for key, _, _ in store.reads} == {key_of(snapshot.objects[0])}


def _exact(text: str) -> Fraction:
    return Fraction(Decimal(text))


@given(any_recording, st.sampled_from([-3_600_000, 1, 86_400_000]))
def test_moved_events_keep_their_order_and_their_own_time(
    files: ObjectFiles, segments: list[Segment], shift_ms: int
) -> None:
    table = planned(SimDisk(), files, segments)
    moved = b"".join(read_in_order(table, form=NDJSON, bytes_max=PLENTY, shift_ms=shift_ms))
    lines = zip(moved.split(b"\n")[:-1], answer(segments), strict=True)
    for after, before in (
        tuple(json.loads(each, parse_int=_exact, parse_float=_exact) for each in pair) for pair in lines
    ):
        assert after.pop("originalTimestamp") == before["timestamp"]
        own = Fraction(Decimal(repr(float(before.pop("timestamp")))))
        assert after.pop("timestamp") == own + shift_ms
        assert after == before
