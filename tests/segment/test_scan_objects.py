"""Verdicts on objects: clean or corrupt, never torn; and what of a damaged one can still be read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.errors import CorruptSegment
from rrd.segment.format import BlockDraft
from rrd.segment.reader import read_raw
from rrd.segment.scan import Scan, scan
from rrd.segment.table import load_table, read_table
from tests.segment.samples import NOTES, PATH, an_object, disk_with, events, read_back
from tests.thoroughness import some

OBJECT = an_object([events(1, 2), events(4, 3)], [NOTES, events(5, 6, 7)], block_bytes=100)
OTHER = an_object([events(1, 3), events(4, 3)], [NOTES, events(5, 6, 7)], block_bytes=100)
LONGER = an_object([events(1, 2), events(4, 3)], [NOTES, events(5, 6, 7)], [], block_bytes=100)
"""The same blocks at the same offsets, of another object."""
TABLE = load_table(disk_with(OBJECT), PATH, len(OBJECT))
OFFSETS = [header.offset for header in TABLE.headers]
DRAFTS = {
    offset: read_back(disk_with(OBJECT), PATH, header)
    for offset, header in zip(OFFSETS, TABLE.headers, strict=True)
}
A, B, C = OFFSETS[:3]
END = len(OBJECT)


def scanned(data: bytes, *, deep: bool = True, durable_size: int = 0) -> Scan:
    return scan(disk_with(data), PATH, deep=deep, durable_size=durable_size)


def flipped(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def readable(data: bytes, found: Scan) -> dict[int, BlockDraft]:
    return {header.offset: read_back(disk_with(data), PATH, header) for header in found.blocks}


def test_a_whole_object_is_clean_and_reads_back_as_packed() -> None:
    for deep in (False, True):
        found = scanned(OBJECT, deep=deep, durable_size=END)
        assert (found.verdict, found.damaged_at, found.good_size) == ("clean", [], END)
        assert (found.identity, found.table_offset) == (TABLE.identity, TABLE.offset)
        assert found.blocks == TABLE.headers
        assert readable(OBJECT, found) == DRAFTS
    assert len(OFFSETS) >= 4
    assert scanned(OTHER).verdict == scanned(LONGER).verdict == "clean"
    assert len(LONGER) == END


def test_every_flipped_bit_is_noticed_by_a_deep_scan_and_costs_one_block_at_most() -> None:
    for bit in some(range(END * 8)):
        data = flipped(OBJECT, bit)
        found = scanned(data)
        assert found.verdict == "corrupt", bit
        at = bit // 8
        hit = max((offset for offset in OFFSETS if offset <= at), default=0)
        expected = 0 if at < A else TABLE.offset if at >= TABLE.offset else hit
        assert found.damaged_at == [expected], bit
        assert found.good_size == expected
        assert found.identity == TABLE.identity
        assert readable(data, found) == {offset: DRAFTS[offset] for offset in OFFSETS if offset != expected}


def test_a_reader_that_takes_the_table_and_some_blocks_never_gets_anything_wrong() -> None:
    for bit in some(range(A * 8, END * 8)):
        disk = disk_with(flipped(OBJECT, bit))
        try:
            _, headers = read_table(disk, PATH, END)
        except CorruptSegment:
            assert bit >= TABLE.offset * 8
            continue
        assert headers == TABLE.headers
        for header in headers:
            with contextlib.suppress(CorruptSegment):
                assert read_raw(disk, PATH, header)[1] == DRAFTS[header.offset].payload
                at = bit // 8
                assert not header.notes_offset <= at < header.limit_offset


def test_an_object_cut_at_any_byte_is_corrupt_and_its_whole_blocks_are_found() -> None:
    limits = [*OFFSETS[1:], TABLE.offset]
    for size in range(A, END):
        found = scanned(OBJECT[:size])
        assert (found.verdict, found.table_offset) == ("corrupt", None), size
        whole = [offset for offset, limit in zip(OFFSETS, limits, strict=True) if limit <= size]
        assert [header.offset for header in found.blocks] == whole
        assert found.damaged_at == [max([A, *(limit for limit in limits if limit <= size)])]
    for size in range(A):
        # So short it could be anything; whoever asked for an object knows better.
        assert scanned(OBJECT[:size], durable_size=END).verdict == "corrupt"


def test_a_scan_that_ends_early_misses_the_table() -> None:
    found = scan(disk_with(OBJECT), PATH, limit=TABLE.offset)
    assert (found.verdict, found.damaged_at) == ("corrupt", [TABLE.offset])
    assert found.blocks == TABLE.headers


def test_a_scan_that_begins_late_lists_the_blocks_from_there_on() -> None:
    found = scan(disk_with(OBJECT), PATH, start=C)
    assert (found.verdict, found.blocks) == ("clean", TABLE.headers[2:])
    found = scan(disk_with(OBJECT[:-1]), PATH, start=C)
    assert (found.verdict, found.blocks) == ("corrupt", TABLE.headers[2:])


def test_an_object_smaller_than_is_known_is_corrupt() -> None:
    found = scanned(OBJECT, durable_size=END + 1)
    assert (found.verdict, found.damaged_at) == ("corrupt", [END])


def table_of(data: bytes) -> bytes:
    return data[load_table(disk_with(data), PATH, len(data)).offset :]


class Damage(NamedTuple):
    do: Callable[[bytes], bytes]
    surviving: tuple[int, ...]
    damaged_at: list[int]


ALL = tuple(range(len(OFFSETS)))
T = TABLE.offset
DAMAGES = {
    "table missing": Damage(lambda data: data[:T], ALL, [T]),
    "table zeroed": Damage(lambda data: data[:T] + bytes(END - T), ALL, [T]),
    "table twice": Damage(lambda data: data + data[T:], ALL, [T]),
    "table of another object": Damage(lambda data: data[:T] + table_of(OTHER), ALL, [T]),
    "table of another object of the same shape": Damage(lambda data: data[:T] + table_of(LONGER), ALL, [T]),
    "one byte after the table": Damage(lambda data: data + b"\0", ALL, [T]),
    "identity zeroed": Damage(lambda data: bytes(A) + data[A:], ALL, [0]),
    "a block zeroed": Damage(lambda data: data[:B] + bytes(C - B) + data[C:], (0, *ALL[2:]), [B]),
    "two blocks damaged": Damage(
        lambda data: flipped(flipped(data, (B + 20) * 8), (C + 110) * 8), (0, *ALL[3:]), [B, C]
    ),
    "a block and the table damaged": Damage(
        lambda data: flipped(flipped(data, (B + 20) * 8), (T + 20) * 8), (0, *ALL[2:]), [B, T]
    ),
    "all blocks gone": Damage(lambda data: data[:A] + data[T:], (), [A]),
    "a block missing": Damage(lambda data: data[:B] + data[C:], (0,), [B]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_survives_damage_to_an_object(name: str) -> None:
    damage = DAMAGES[name]
    data = damage.do(OBJECT)
    found = scanned(data)
    assert (found.verdict, found.damaged_at) == ("corrupt", damage.damaged_at)
    assert readable(data, found) == {OFFSETS[index]: DRAFTS[OFFSETS[index]] for index in damage.surviving}


@settings(deadline=None)
@given(st.data())
def test_any_damage_to_an_object_leaves_only_blocks_that_were_packed(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, END))
    limit = data.draw(st.integers(start, END))
    damaged = OBJECT[:start] + data.draw(st.binary(max_size=200)) + OBJECT[limit:]
    found = scanned(damaged)
    assert (found.verdict == "clean") == (damaged == OBJECT)
    assert readable(damaged, found).items() <= DRAFTS.items()
    if start >= A:
        assert found.verdict != "torn"
