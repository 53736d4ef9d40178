"""Verdicts on damaged segments: torn, corrupt, and what must survive either."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.errors import CorruptSegment
from rrd.segment.format import BLOCK_START, encode_block, encode_identity
from rrd.segment.scan import Verdict, scan
from tests.segment.samples import (
    COMPRESSOR,
    EMPTY,
    IDENTITY,
    NOTES,
    PATH,
    Sample,
    any_samples,
    chained,
    disk_with,
    events,
    read_back,
    sample,
    scanned,
)
from tests.thoroughness import some

SMALL = sample(events(10, 11), NOTES, events(13, 12), NOTES._replace(payload=b"{}\n", event_count=1))
"""Four blocks: events, notes alone, events out of order, and both."""

OTHER = msgspec.structs.replace(IDENTITY, salt=IDENTITY.salt[::-1])
START = SMALL.offsets[0]
END = len(SMALL.data)


def flipped(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


@settings(deadline=None)
@given(any_samples)
def test_a_whole_segment_is_clean_and_reads_back_as_written(made: Sample) -> None:
    disk = disk_with(made.data)
    for deep in (False, True):
        found = scan(disk, PATH, deep=deep, durable_size=len(made.data))
        assert (found.verdict, found.damaged_at) == ("clean", [])
        assert found.identity == made.identity
        assert found.good_size == found.file_size == len(made.data)
        assert [header.offset for header in found.blocks] == made.offsets[:-1]
        assert [read_back(disk, PATH, header) for header in found.blocks] == made.drafts


def test_every_flipped_bit_is_noticed_by_a_deep_scan_and_nothing_wrong_is_read() -> None:
    whole = dict(zip(SMALL.offsets, SMALL.drafts, strict=False))
    for bit in some(range(END * 8)):
        disk = disk_with(flipped(SMALL.data, bit))
        found = scan(disk, PATH, deep=True)
        at = bit // 8
        block = next((index for index in range(4) if at < SMALL.offsets[index + 1]), 3)
        if at < START:
            assert (found.verdict, found.identity, found.blocks) == ("corrupt", None, [])
            continue
        assert found.verdict == ("torn" if block == 3 else "corrupt"), bit
        assert found.damaged_at == [SMALL.offsets[block]], bit
        assert found.good_size == SMALL.offsets[block]
        assert [header.offset for header in found.blocks] == [
            offset for offset in SMALL.offsets[:-1] if offset != SMALL.offsets[block]
        ]
        for header in found.blocks:
            assert read_back(disk, PATH, header) == whole[header.offset]


def test_what_a_shallow_scan_passes_over_the_reader_refuses() -> None:
    whole = dict(zip(SMALL.offsets, SMALL.drafts, strict=False))
    for bit in some(range(START * 8, END * 8)):
        disk = disk_with(flipped(SMALL.data, bit))
        found = scan(disk, PATH)
        read = {}
        for header in found.blocks:
            with contextlib.suppress(CorruptSegment):
                read[header.offset] = read_back(disk, PATH, header)
        assert len(read) == 3, bit
        assert read.items() <= whole.items(), bit


def test_a_segment_cut_at_any_byte_is_torn_and_its_whole_blocks_survive() -> None:
    for size in range(END + 1):
        found = scanned(SMALL.data[:size])
        if size < START:
            assert (found.verdict, found.identity, found.good_size) == ("torn", None, 0)
            continue
        assert found.verdict == ("clean" if size in SMALL.offsets else "torn"), size
        assert found.good_size == max(offset for offset in SMALL.offsets if offset <= size)
        assert [header.offset for header in found.blocks] == [
            offset for offset, limit in zip(SMALL.offsets, SMALL.offsets[1:], strict=False) if limit <= size
        ]


def test_damage_below_the_durable_size_is_corrupt_even_at_the_end() -> None:
    last = SMALL.offsets[3]
    for size in range(END):
        assert scanned(SMALL.data[:size], durable_size=END).verdict == "corrupt", size
        expected = "torn" if size not in SMALL.offsets else "clean"
        if size >= last:
            assert scanned(SMALL.data[:size], durable_size=last).verdict == expected, size
    damaged = flipped(SMALL.data, END * 8 - 1)
    assert scanned(damaged, durable_size=END).verdict == "corrupt"
    assert scanned(damaged, durable_size=last + 1).verdict == "corrupt"
    assert scanned(damaged, durable_size=last).verdict == "torn"


def zeroed(data: bytes, start: int, limit: int) -> bytes:
    return data[:start] + bytes(limit - start) + data[limit:]


def of_another_segment(number: int) -> bytes:
    """Block ``number`` of ``SMALL`` as it stands at the same offset of a file with another salt."""
    made = sample(*SMALL.drafts, identity=OTHER)
    assert made.offsets == SMALL.offsets
    return made.block(number)


class Damage(NamedTuple):
    """How to break ``SMALL``, which of its blocks must survive, and the verdict."""

    damage: Callable[[bytes], bytes]
    surviving: tuple[int, ...]
    verdict: Verdict
    durable_verdict: Verdict = "corrupt"
    """The same, where the whole file is known to have been synced."""


A, B, C, D, E = SMALL.offsets
DAMAGES = {
    "nothing": Damage(lambda data: data, (0, 1, 2, 3), "clean", "clean"),
    "empty file": Damage(lambda data: b"", (), "torn"),
    "identity alone": Damage(lambda data: data[:A], (), "clean"),
    "identity cut off": Damage(lambda data: data[: A - 1], (), "torn"),
    # Several blocks are several writes, and the first was synced before the second began.
    "identity zeroed": Damage(lambda data: zeroed(data, 0, A), (), "corrupt"),
    "identity zeroed before one block": Damage(lambda data: zeroed(data[:B], 0, A), (), "torn"),
    "identity of another file": Damage(lambda data: encode_identity(OTHER) + data[A:], (), "torn"),
    "last block's header cut off": Damage(lambda data: data[: D + 50], (0, 1, 2), "torn"),
    "last block's payload cut off": Damage(lambda data: data[:-1], (0, 1, 2), "torn"),
    "last block's payload missing": Damage(lambda data: data[: D + 104], (0, 1, 2), "torn"),
    "last block's payload damaged": Damage(lambda data: flipped(data, E * 8 - 1), (0, 1, 2), "torn"),
    "last block's header damaged": Damage(lambda data: flipped(data, (D + 60) * 8), (0, 1, 2), "torn"),
    "last block zeroed": Damage(lambda data: zeroed(data, D, E), (0, 1, 2), "torn"),
    "last block's end zeroed": Damage(lambda data: zeroed(data, E - 9, E), (0, 1, 2), "torn"),
    "zeros after the last block": Damage(lambda data: data + bytes(5000), (0, 1, 2, 3), "torn", "torn"),
    "junk after the last block": Damage(lambda data: data + b"junk" * 99, (0, 1, 2, 3), "torn", "torn"),
    "one byte after the last block": Damage(lambda data: data + b"\x5f", (0, 1, 2, 3), "torn", "torn"),
    "header starts after the last block": Damage(
        lambda data: data + BLOCK_START * 99, (0, 1, 2, 3), "torn", "torn"
    ),
    "last block twice": Damage(lambda data: data + data[D:], (0, 1, 2, 3), "torn", "torn"),
    "first block again at the end": Damage(lambda data: data + data[A:B], (0, 1, 2, 3), "torn", "torn"),
    "block of another segment at the end": Damage(
        lambda data: data[:D] + of_another_segment(3), (0, 1, 2), "torn"
    ),
    "block of another segment before a good one": Damage(
        lambda data: data[:C] + of_another_segment(2) + data[D:], (0, 1, 3), "corrupt"
    ),
    "first block's header damaged": Damage(lambda data: flipped(data, (A + 70) * 8), (1, 2, 3), "corrupt"),
    "first block's start damaged": Damage(lambda data: flipped(data, A * 8), (1, 2, 3), "corrupt"),
    "first block's payload damaged": Damage(lambda data: flipped(data, B * 8 - 1), (1, 2, 3), "corrupt"),
    "block of notes zeroed": Damage(lambda data: zeroed(data, B, C), (0, 2, 3), "corrupt"),
    "block of notes overwritten with header starts": Damage(
        lambda data: data[:B] + (BLOCK_START * 999)[: C - B] + data[C:], (0, 2, 3), "corrupt"
    ),
    "two blocks zeroed": Damage(lambda data: zeroed(data, B, D), (0, 3), "corrupt"),
    "two blocks damaged apart": Damage(
        lambda data: flipped(flipped(data, (A + 9) * 8), (C + 120) * 8), (1, 3), "corrupt"
    ),
    "all but the last block zeroed": Damage(lambda data: zeroed(data, A, D), (3,), "corrupt"),
    "damage in the middle and at the end": Damage(
        lambda data: flipped(data[:-1], (B + 8) * 8), (0, 2), "corrupt"
    ),
    # A valid block stands nowhere but at its own offset, so with bytes missing in the middle nothing after
    # them is valid any more. Only the durable size tells this from a torn tail.
    "a block missing in the middle": Damage(lambda data: data[:B] + data[C:], (0,), "torn"),
    "blocks in another order": Damage(lambda data: data[:B] + data[C:D] + data[B:C], (0,), "torn"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_survives_damage_and_what_it_is_called(name: str) -> None:
    damage, surviving, verdict, durable_verdict = DAMAGES[name]
    data = damage(SMALL.data)
    disk = disk_with(data)
    found = scan(disk, PATH, deep=True)
    assert found.verdict == verdict
    assert [header.offset for header in found.blocks] == [SMALL.offsets[index] for index in surviving]
    assert [read_back(disk, PATH, header) for header in found.blocks] == [
        SMALL.drafts[index] for index in surviving
    ]
    assert scan(disk, PATH, deep=True, durable_size=END).verdict == durable_verdict
    assert disk.files() == {PATH: data}


@settings(deadline=None)
@given(any_samples, st.data())
def test_any_damage_leaves_only_blocks_that_were_written(made: Sample, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(made.data)))
    limit = data.draw(st.integers(start, len(made.data)))
    damaged = made.data[:start] + data.draw(st.binary(max_size=200)) + made.data[limit:]
    disk = disk_with(damaged)
    found = scan(disk, PATH, deep=True)
    written = dict(zip(made.offsets, made.drafts, strict=False))
    for header in found.blocks:
        assert read_back(disk, PATH, header) == written[header.offset]
    if start >= made.offsets[0]:
        before = [offset for offset in made.offsets[1:] if offset <= start]
        assert [header.limit_offset for header in found.blocks][: len(before)] == before
        assert found.good_size >= max(before, default=made.offsets[0])
    if found.verdict == "clean":
        assert damaged == made.data[: len(damaged)]


@settings(deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_a_file_of_junk_is_torn_and_has_no_blocks(junk: bytes, with_identity: bool) -> None:
    found = scanned(encode_identity(IDENTITY) * with_identity + junk, deep=True)
    assert found.verdict == ("torn" if junk or not with_identity else "clean")
    assert found.blocks == []
    assert found.good_size == (START if with_identity else 0)


def test_blocks_found_again_may_be_far_behind_the_damage() -> None:
    """The search reads the file in pieces of 1 MiB; a header may lie across their edge."""
    for gap in range(1 << 20, (1 << 20) + 110):
        data = encode_identity(IDENTITY)
        far = len(data) + gap
        salt = bytes.fromhex(IDENTITY.salt)
        block = encode_block(EMPTY._replace(first_seq=9), salt=salt, offset=far, compressor=COMPRESSOR)
        found = scanned(data + bytes(gap) + block)
        assert found.verdict == "corrupt"
        assert [header.offset for header in found.blocks] == [far]


def test_the_search_after_damage_passes_over_a_block_whose_payload_is_damaged() -> None:
    found = scanned(flipped(flipped(SMALL.data, (A + 70) * 8), C * 8 - 1))
    assert (found.verdict, found.damaged_at) == ("corrupt", [A])
    assert [header.offset for header in found.blocks] == [C, D]


def test_starts_of_blocks_are_counted_once_across_the_edge_of_a_search_window() -> None:
    start = SMALL.block(0)[:12]
    for gap in range((1 << 20) - 24, (1 << 20) + 1):
        assert scanned(bytes(gap) + start + bytes(200)).verdict == "torn", gap
        assert scanned(bytes(gap) + start + b"x" + start).verdict == "corrupt", gap


def test_the_scan_can_end_early_and_begin_late() -> None:
    disk = disk_with(SMALL.data)
    early = scan(disk, PATH, limit=D)
    assert (early.verdict, early.file_size, len(early.blocks)) == ("clean", D, 3)
    cut = scan(disk, PATH, limit=D - 1)
    assert (cut.verdict, cut.good_size, len(cut.blocks)) == ("torn", C, 2)
    late = scan(disk, PATH, start=C)
    assert (late.verdict, late.good_size) == ("clean", E)
    assert [header.offset for header in late.blocks] == [C, D]
    end = scan(disk, PATH, start=E)
    assert (end.verdict, end.good_size, end.blocks) == ("clean", E, [])


def test_a_file_shorter_than_where_the_scan_begins_is_corrupt() -> None:
    found = scan(disk_with(SMALL.data[:C]), PATH, start=D)
    assert found.verdict == "corrupt"
    assert found.good_size <= C
    assert found.blocks == []


def test_a_block_out_of_sequence_is_not_valid() -> None:
    numbered = chained([events(1), events(2), events(3)])
    for wrong in (1, 3):
        data = encode_identity(IDENTITY)
        for draft in (numbered[0], numbered[1]._replace(first_seq=wrong), numbered[2]):
            salt = bytes.fromhex(IDENTITY.salt)
            data += encode_block(draft, salt=salt, offset=len(data), compressor=COMPRESSOR)
        found = scanned(data)
        assert found.verdict == "corrupt"
        assert [header.first_seq for header in found.blocks] == [1, 3]


def test_a_whole_last_block_out_of_sequence_is_no_torn_write() -> None:
    """A power cut can't make one, so it must not be cut off."""
    first, second = chained([events(1), events(2)])
    data = encode_identity(IDENTITY)
    for draft in (first, second._replace(first_seq=7)):
        salt = bytes.fromhex(IDENTITY.salt)
        data += encode_block(draft, salt=salt, offset=len(data), compressor=COMPRESSOR)
    found = scanned(data)
    assert found.verdict == "corrupt"
    assert [header.first_seq for header in found.blocks] == [1]
