"""What a history finds in segment files, what it costs, and what damage does to it."""

from __future__ import annotations

import posixpath
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.errors import CorruptSegment, StoreAway
from rrd.recordings.history import History, LineKeys, StaleHistory, line_keys, metadata_digest
from rrd.segment.format import BlockDraft, MetadataNote
from rrd.segment.pack import pack
from rrd.segment.run import PackInput
from rrd.segment.scan import scan
from tests.objects.file_lab import files_of
from tests.objects.memory_store import MemoryStore
from tests.playback.recordings import encode_drafts
from tests.simdisk import SimDisk

SALT = (1).to_bytes(16, "big")
"""Of segment 1, as ``encode_drafts`` makes it."""
PATH = "/data/active/t.00000000-0000-4000-8000-0000000000ab.000001.ndjson.zst"


def draft(
    first_seq: int, stamps: list[int], *, source: int = 1, notes: tuple[MetadataNote, ...] = ()
) -> BlockDraft:
    lines = [b'{"type":3,"timestamp":%d}' % stamp for stamp in stamps]
    return BlockDraft(
        first_seq=first_seq,
        event_count=len(lines),
        payload=b"".join(line + b"\n" for line in lines),
        first_ts=min(stamps, default=0),
        last_ts=max(stamps, default=0),
        ordered=stamps == sorted(stamps),
        own_ids=False,
        source=source,
        stored_ms=0,
        metadata=notes,
    )


def on_disk(blocks: list[list[int]], *, notes: tuple[MetadataNote, ...] = ()) -> tuple[SimDisk, int]:
    drafts, seq = [], 1
    for number, stamps in enumerate(blocks):
        drafts.append(draft(seq, stamps, source=number, notes=notes))
        seq += len(stamps)
    disk = SimDisk(random.Random(0))
    disk.make_dirs(posixpath.dirname(PATH))
    data = encode_drafts(drafts, number=1, first_seq=1)
    disk.put(PATH, data)
    return disk, len(data)


def loaded(disk: SimDisk, size: int, cache: LineKeys | None = None) -> History:
    history = History(disk, cache or LineKeys())
    history.load(PATH, size)
    return history


class CountingDisk(SimDisk):
    """Counts what is read."""

    bytes_read = 0

    def read(self, path: str, offset: int, size: int) -> bytes:
        data = super().read(path, offset, size)
        self.bytes_read += len(data)
        return data


_BLOCKS = st.lists(st.lists(st.integers(0, 20), max_size=5), max_size=6)


@given(_BLOCKS, st.integers(0, 20), st.integers(0, 20))
def test_every_block_whose_times_meet_the_range_is_found(
    blocks: list[list[int]], one: int, other: int
) -> None:
    disk, size = on_disk([stamps for stamps in blocks if stamps] or [[1]])
    blocks = [stamps for stamps in blocks if stamps] or [[1]]
    first, last = min(one, other), max(one, other)
    found = [(source, list(keys)) for source, keys in loaded(disk, size).blocks_between(first, last)]
    assert found == [
        (number, line_keys([b'{"type":3,"timestamp":%d}' % stamp for stamp in stamps]))
        for number, stamps in enumerate(blocks)
        if min(stamps) <= last and max(stamps) >= first
    ]


def test_nothing_beyond_the_durable_size_is_taken_up() -> None:
    disk, size = on_disk([[1], [2]])
    second = scan(disk, PATH).blocks[1]
    found = [list(keys) for _, keys in loaded(disk, second.offset).blocks_between(0, 99)]
    assert found == [line_keys([b'{"type":3,"timestamp":1}'])]
    assert size > second.offset


def test_a_block_taken_up_when_stored_is_found_like_one_that_was_loaded() -> None:
    disk, size = on_disk([[1], [2], [3]])
    history = History(disk, LineKeys())
    for header in scan(disk, PATH).blocks:
        history.add_stored(PATH, header.offset)
    wanted = [(source, list(keys)) for source, keys in loaded(disk, size).blocks_between(0, 9)]
    assert [(source, list(keys)) for source, keys in history.blocks_between(0, 9)] == wanted


def test_a_damaged_block_is_passed_over() -> None:
    disk, size = on_disk([[1], [2], [3]])
    header = scan(disk, PATH).blocks[1]
    data = bytearray(disk.files()[PATH])
    data[header.limit_offset - 1] ^= 1
    disk.put(PATH, bytes(data))
    assert [source for source, _ in loaded(disk, size).blocks_between(0, 9)] == [0, 2]


def test_damaged_notes_are_passed_over() -> None:
    notes = (MetadataNote("key", "value", 0, "0123456789abcdef"),)
    disk, size = on_disk([[1], [2]], notes=notes)
    header = scan(disk, PATH).blocks[0]
    data = bytearray(disk.files()[PATH])
    data[header.notes_offset + 5] ^= 1
    disk.put(PATH, bytes(data))
    history = loaded(disk, size)
    assert list(history.metadata_digests) == ["0123456789abcdef"]
    assert [source for source, _ in history.blocks_between(0, 9)] == [1]


def test_digests_of_applied_metadata_are_known_and_bounded() -> None:
    digests = [metadata_digest(b"%d" % number) for number in range(10_010)]
    notes = tuple(MetadataNote("key", "value", 0, digest) for digest in (*digests, ""))
    disk, size = on_disk([[1]], notes=notes)
    assert list(loaded(disk, size).metadata_digests) == digests[10:]


def test_line_keys_are_read_once_while_they_fit() -> None:
    source, _ = on_disk([[1, 2, 3]])
    disk = CountingDisk(random.Random(0))
    disk.make_dirs(posixpath.dirname(PATH))
    disk.put(PATH, source.files()[PATH])
    cache = LineKeys()
    offset = scan(disk, PATH).blocks[0].offset
    before = disk.bytes_read
    first = cache.get(disk, PATH, SALT, offset)
    after = disk.bytes_read
    assert after > before
    assert cache.get(disk, PATH, SALT, offset) == first
    assert disk.bytes_read == after
    # A file that was moved is known by its salt, and so is another one in its place.
    assert cache.get(disk, "/elsewhere", SALT, offset) == first
    with pytest.raises(CorruptSegment):
        cache.get(disk, PATH, SALT[::-1], offset)


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(0, 100))
def test_the_cache_of_line_keys_never_holds_more_than_its_bound(lookups: list[int], bytes_max: int) -> None:
    disk, _ = on_disk([list(range(number + 1)) for number in range(10)])
    headers = scan(disk, PATH).blocks
    cache = LineKeys(bytes_max=bytes_max)
    for number in lookups:
        found = cache.get(disk, PATH, SALT, headers[number].offset)
        assert (found.source, len(found.keys)) == (number, number + 1)
        assert cache.held_bytes <= bytes_max
    assert cache.held_bytes == sum(8 * len(block.keys) for block in cache._blocks.values())


def test_a_file_that_is_no_segment_has_no_history() -> None:
    disk, _ = on_disk([[1]])
    disk.put(PATH, b"junk")
    assert list(loaded(disk, 4).blocks_between(0, 9)) == []


def test_a_missing_file_is_an_error() -> None:
    disk, size = on_disk([[1]])
    disk.unlink(PATH)
    with pytest.raises(FileNotFoundError):
        loaded(disk, size)


def test_a_file_that_went_away_makes_a_history_stale() -> None:
    disk, size = on_disk([[1], [2]])
    history = loaded(disk, size)
    disk.unlink(PATH)
    with pytest.raises(StaleHistory):
        list(history.blocks_between(0, 9))


# Objects

KEY = "t/1970/01/01/x/00000001-00000009.ndjson.zst"


def rolled_up(
    blocks: list[list[int]], *, notes: tuple[MetadataNote, ...] = (), keep: tuple[int, ...] = ()
) -> tuple[MemoryStore, int]:
    disk, size = on_disk(blocks, notes=notes)
    pack(disk, [PackInput(PATH, size)], "/data/x", level=1, block_bytes=60, keep_sources=keep)
    data = disk.read("/data/x", 0, 1 << 20)
    return MemoryStore({KEY: data}), len(data)


@given(_BLOCKS, st.integers(0, 20), st.integers(0, 20))
def test_an_object_is_as_good_as_its_segments(blocks: list[list[int]], one: int, other: int) -> None:
    store, size = rolled_up(blocks)
    first, last = min(one, other), max(one, other)
    with files_of(store) as files:
        history = History(SimDisk(), LineKeys())
        history.load_object(files, KEY, size)
        found = [key for _, keys in history.blocks_between(first, last) for key in keys]
    stamps = [stamp for block in blocks for stamp in block if first <= stamp <= last]
    wanted = line_keys([b'{"type":3,"timestamp":%d}' % stamp for stamp in stamps])
    assert [key for key in found if key in wanted] == wanted


def test_senders_who_are_kept_apart_in_an_object_are_told_apart() -> None:
    store, size = rolled_up([[1], [2], [3]], keep=(1,))
    with files_of(store) as files:
        history = History(SimDisk(), LineKeys())
        history.load_object(files, KEY, size)
        found = {source: len(keys) for source, keys in history.blocks_between(0, 9)}
    assert found[1] == 1
    assert sum(found.values()) == 3


def test_digests_are_found_in_objects() -> None:
    notes = (MetadataNote("key", "value", 0, "0123456789abcdef"),)
    store, size = rolled_up([[1], [2]], notes=notes)
    with files_of(store) as files:
        history = History(SimDisk(), LineKeys())
        history.load_object(files, KEY, size)
    assert list(history.metadata_digests) == ["0123456789abcdef"]


def test_a_lookup_in_an_object_waits_for_nobody_once_it_is_in_memory() -> None:
    store, size = rolled_up([[1], [2], [3]])
    with files_of(store) as files:
        history = History(SimDisk(), LineKeys())
        history.load_object(files, KEY, size)
        first = list(history.blocks_between(0, 9))
        files.forget("")
        store.fail()
        assert list(history.blocks_between(0, 9)) == first


def test_a_store_that_is_away_is_told() -> None:
    store, size = rolled_up([[1], [2], [3]])
    with files_of(store) as files:
        history = History(SimDisk(), LineKeys())
        history.load_object(files, KEY, size)
        files.forget("")
        store.fail()
        with pytest.raises(StoreAway):
            history.load_object(files, KEY, size)
        with pytest.raises(StoreAway):
            list(history.blocks_between(0, 9))


@pytest.mark.parametrize("what", ["missing", "table", "block"])
def test_a_damaged_object_is_passed_over(what: str) -> None:
    store, size = rolled_up([[1], [2], [3]])
    if what == "missing":
        store.objects.clear()
    else:
        store.damage(KEY, -60 if what == "table" else 350)
    disk, segment_size = on_disk([[4]])
    with files_of(store) as files:
        history = History(disk, LineKeys())
        history.load_object(files, KEY, size)
        history.load(PATH, segment_size)
        found = [key for _, keys in history.blocks_between(0, 9) for key in keys]
    assert found[-1:] == line_keys([b'{"type":3,"timestamp":4}'])
    assert len(found) < 4
