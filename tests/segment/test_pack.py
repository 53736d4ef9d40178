"""Objects hold what their segments held: the same lines, numbers, notes, in blocks that say what they hold.

The central property packs any run of segments and holds the object against it, with the standard library
as the judge of what an event says.
"""

from __future__ import annotations

import errno
import io
import json
import random
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import chain, pairwise

import google_crc32c
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.corpus import lines_of
from rrd.disk.disk import OsDisk
from rrd.errors import CorruptSegment
from rrd.extent import Extent
from rrd.segment.format import BlockDraft, BlockHeader, MetadataNote, QuarantineNote
from rrd.segment.pack import Packed, PackInput, object_identity, pack
from rrd.segment.scan import scan
from rrd.segment.table import read_table
from tests.segment.samples import (
    EMPTY,
    IDENTITY,
    NOTES,
    OBJECT_PATH,
    Sample,
    event,
    honest,
    put_run,
    read_back,
    run_of,
    with_raw_notes,
)
from tests.simdisk import PowerCut, SimDisk, When
from tests.thoroughness import examples

META = b'{"type":4,"timestamp":%d,"data":{"href":"https://example.org/"}}\n'
LINES = st.one_of(
    st.integers(0, 9).map(event),
    st.integers(0, 9).map(META.__mod__),
    st.integers(0, 300).map(lambda size: b'{"type":3,"timestamp":5,"data":"%s"}\n' % (b"x" * size)),
    st.sampled_from(
        [
            b' {"timestamp":-1e3,"type":4} \n',
            b'{"type":3,"timestamp":1.5,"sequenceId":7}\n',
            b'{"type":4,"timestamp":6,"data":"\\ud800"}\n',
            b'{"recordingId":"\\udc00","type":3,"timestamp":%d}\n' % 2**53,
            b'{"type":2,"timestamp":0,"x":"\\ud800","data":' + b"9" * 5000 + b"}\n",
        ]
    ),
)
_MILLISECONDS = st.integers(0, 2**43)
_METADATA = st.builds(
    MetadataNote,
    key=st.sampled_from(["user", "plan"]),
    value=st.text(max_size=30),
    at_ms=_MILLISECONDS,
    event=st.sampled_from(["", "0a" * 8]),
)
_QUARANTINE = st.builds(
    QuarantineNote,
    line=st.integers(1, 99),
    reason=st.sampled_from(["not_json", "no_type"]),
    at_ms=_MILLISECONDS,
    raw=st.binary(max_size=60),
)
DRAFTS = st.builds(
    honest,
    st.lists(LINES, max_size=6),
    source=st.integers(1, 3),
    stored_ms=_MILLISECONDS,
    duplicate_count=st.one_of(st.just(0), st.integers(0, 9), st.integers(2**31, 2**32 - 1)),
    metadata=st.lists(_METADATA, max_size=2).map(tuple),
    quarantine=st.lists(_QUARANTINE, max_size=2).map(tuple),
)
RUNS = st.builds(
    lambda segments, number, first_seq: run_of(*segments, number=number, first_seq=first_seq),
    st.lists(st.lists(DRAFTS, max_size=5), min_size=1, max_size=3),
    number=st.integers(1, 5),
    first_seq=st.integers(1, 2**40),
)
BLOCK_BYTES = st.sampled_from([1, 60, 200, 500, 2000, 1 << 20])


def packed(
    run: Sequence[Sample], block_bytes: int, keep_sources: Iterable[int] = (), *, level: int = 1
) -> tuple[SimDisk, Packed]:
    disk = SimDisk()
    sources = put_run(disk, run)
    made = pack(
        disk, sources, OBJECT_PATH, level=level, block_bytes=block_bytes, keep_sources=frozenset(keep_sources)
    )
    assert disk.open_handles == 0
    return disk, made


def drafts_of(run: Iterable[Sample]) -> list[BlockDraft]:
    return [draft for segment in run for draft in segment.drafts]


def lines_in(drafts: Iterable[BlockDraft]) -> list[bytes]:
    return list(chain.from_iterable(draft.payload.splitlines(keepends=True) for draft in drafts))


def blocks_of(disk: SimDisk, made: Packed) -> list[tuple[BlockHeader, BlockDraft]]:
    """Return each block as the table has it and as it reads back."""
    _, headers = read_table(disk, OBJECT_PATH, made.size)
    return [(header, read_back(disk, OBJECT_PATH, header)) for header in headers]


@settings(deadline=None, max_examples=examples(150))
@given(RUNS, BLOCK_BYTES, st.sets(st.integers(1, 3)))
def test_an_object_holds_what_its_segments_held(
    run: list[Sample], block_bytes: int, keep_sources: set[int]
) -> None:
    disk, made = packed(run, block_bytes, keep_sources)
    sources, blocks = drafts_of(run), blocks_of(disk, made)
    drafts = [draft for _, draft in blocks]
    # The same lines under the same numbers.
    assert lines_in(drafts) == lines_in(sources)
    next_seq = run[0].identity.first_seq
    for draft in drafts:
        assert (draft.first_seq, draft.payload.count(b"\n")) == (next_seq, draft.event_count)
        next_seq += draft.event_count
    # The same notes in the same order, and all counts.
    for kind in ("metadata", "quarantine"):
        assert list(chain(*(getattr(draft, kind) for draft in drafts))) == list(
            chain(*(getattr(draft, kind) for draft in sources))
        )
    assert sum(draft.duplicate_count for draft in drafts) == sum(draft.duplicate_count for draft in sources)
    # Nothing is left behind, and it is safe.
    disk.power_cut()
    assert set(disk.files()) == {OBJECT_PATH, *(f"/sealed/{index}" for index in range(len(run)))}
    found = scan(disk, OBJECT_PATH, deep=True, durable_size=made.size)
    assert (found.verdict, found.good_size, found.damaged_at) == ("clean", made.size, [])
    assert found.blocks == [header for header, _ in blocks]
    assert found.identity == object_identity(run[0].identity, run[-1].identity.number)


@settings(deadline=None, max_examples=examples(150))
@given(RUNS, BLOCK_BYTES, st.sets(st.integers(1, 3)))
def test_headers_say_what_is_in_their_blocks(
    run: list[Sample], block_bytes: int, keep_sources: set[int]
) -> None:
    disk, made = packed(run, block_bytes, keep_sources)
    origin = {
        draft.first_seq + index: draft for draft in drafts_of(run) for index in range(draft.event_count)
    }
    for header, draft in blocks_of(disk, made):
        lines = lines_in([draft])
        honestly = honest(lines)
        for name in ("first_ts", "last_ts", "ordered", "own_ids"):
            assert getattr(draft, name) == getattr(honestly, name), name
        assert header.page_view == bool(lines and json.loads(lines[0], parse_int=float)["type"] == 4)
        types = [json.loads(line, parse_int=float)["type"] for line in lines]
        assert (draft.types_known, draft.has_snapshot, draft.has_meta) == (True, 2 in types, 4 in types)
        assert header.flags < 64
        assert header.quarantine_count == len(draft.quarantine)
        assert header.raw_size <= block_bytes or header.event_count == 1
        members = [origin[seq] for seq in range(header.first_seq, header.limit_seq)]
        senders = {member.source for member in members}
        assert header.source in (0, *senders) or not senders
        assert header.source == 0 or senders <= {header.source}
        assert len(senders) < 2 or not senders & keep_sources
        if members:
            assert header.stored_ms >= max(member.stored_ms for member in members)
        assert header.stored_ms in {member.stored_ms for member in drafts_of(run)}


@settings(deadline=None, max_examples=examples(150))
@given(RUNS, BLOCK_BYTES)
def test_what_packing_returns_is_what_it_made(run: list[Sample], block_bytes: int) -> None:
    disk, made = packed(run, block_bytes)
    headers = [header for header, _ in blocks_of(disk, made)]
    data = disk.files()[OBJECT_PATH]
    with_events = [header for header in headers if header.event_count]
    assert made == Packed(
        size=len(data),
        crc32c=google_crc32c.value(data),
        extent=Extent(
            first_seq=run[0].identity.first_seq,
            event_count=sum(header.event_count for header in headers),
            first_ts=min((header.first_ts for header in with_events), default=None),
            last_ts=max((header.last_ts for header in with_events), default=None),
            raw_size=sum(header.raw_size for header in headers),
            stored_ms=max((draft.stored_ms for draft in drafts_of(run)), default=0),
            duplicate_count=sum(header.duplicate_count for header in headers),
            quarantine_count=sum(header.quarantine_count for header in headers),
        ),
        quarantine=tuple(
            (header.offset, header.stored_ms, header.quarantine_count)
            for header in headers
            if header.quarantine_count
        ),
        block_count=len(headers),
    )


@settings(deadline=None, max_examples=examples(100))
@given(RUNS, BLOCK_BYTES)
def test_any_zstd_prints_the_events_of_an_object(run: list[Sample], block_bytes: int) -> None:
    disk, _ = packed(run, block_bytes)
    data = io.BytesIO(disk.files()[OBJECT_PATH])
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        assert reader.read() == b"".join(lines_in(drafts_of(run)))


@settings(deadline=None, max_examples=examples(100))
@given(RUNS, BLOCK_BYTES, st.sets(st.integers(1, 3)))
def test_packing_again_makes_the_same_bytes(
    run: list[Sample], block_bytes: int, keep_sources: set[int]
) -> None:
    disk, made = packed(run, block_bytes, keep_sources)
    before = disk.files()
    sources = [PackInput(f"/sealed/{index}", len(segment.data)) for index, segment in enumerate(run)]
    again = pack(disk, sources, OBJECT_PATH, level=1, block_bytes=block_bytes, keep_sources=keep_sources)
    assert (again, disk.files()) == (made, before)


@settings(deadline=None, max_examples=examples(150))
@given(RUNS, BLOCK_BYTES)
def test_a_block_ends_only_for_want_of_room_or_where_a_page_view_begins(
    run: list[Sample], block_bytes: int
) -> None:
    run = run_of(*([draft._replace(duplicate_count=0) for draft in segment.drafts] for segment in run))
    disk, made = packed(run, block_bytes)
    for (before, left), (after, right) in pairwise(blocks_of(disk, made)):
        first_line = lines_in([right])[:1]
        full = before.raw_size >= block_bytes
        no_room = bool(first_line) and before.raw_size + len(first_line[0]) > block_bytes
        page_view = after.page_view and before.raw_size >= block_bytes // 4
        notes = before.notes_raw_size + after.notes_raw_size > block_bytes and left.metadata + left.quarantine
        assert full or no_room or page_view or notes


def small(*timestamps: int, source: int = 7) -> BlockDraft:
    return honest([event(timestamp) for timestamp in timestamps], source=source, stored_ms=timestamps[0])


def seqs_of(run: Sequence[Sample], block_bytes: int, keep_sources: Iterable[int] = ()) -> list[range]:
    disk, made = packed(run, block_bytes, keep_sources)
    return [range(header.first_seq, header.limit_seq) for header, _ in blocks_of(disk, made)]


def test_a_page_view_begins_a_block_once_the_one_before_is_a_quarter_full() -> None:
    page = [META % 1, *map(event, range(5))]
    run = run_of([honest(page * 3)], [honest(page)])
    size = sum(map(len, page))
    # All in one; two in one, since the first alone is no quarter; each its own.
    assert seqs_of(run, 100 * size) == [range(1, 25)]
    assert seqs_of(run, 4 * size + 4) == [range(1, 13), range(13, 25)]
    assert seqs_of(run, 4 * size) == [range(first, first + 6) for first in (1, 7, 13, 19)]


def test_blocks_of_senders_who_may_still_send_keep_their_source() -> None:
    run = run_of([small(1, source=5), small(2, source=6)], [small(3, source=5), small(4, source=8)])
    disk, made = packed(run, 1 << 20)
    assert [header.source for header, _ in blocks_of(disk, made)] == [0]
    disk, made = packed(run, 1 << 20, {6})
    assert [header.source for header, _ in blocks_of(disk, made)] == [5, 6, 0]
    disk, made = packed(run, 1 << 20, {5, 6, 8})
    assert [header.source for header, _ in blocks_of(disk, made)] == [5, 6, 5, 8]


def test_one_sender_stays_known() -> None:
    disk, made = packed(run_of([small(1), small(2)], [small(3)]), 1 << 20)
    assert [(header.source, header.event_count) for header, _ in blocks_of(disk, made)] == [(7, 3)]


NOTES_ALONE = {
    "metadata alone": EMPTY._replace(metadata=(MetadataNote("user", "u-1", 5),)),
    "quarantined lines alone": EMPTY._replace(quarantine=(QuarantineNote(1, "not_json", 5, b"\x00junk"),)),
    "repeats alone": EMPTY._replace(duplicate_count=9),
}


@pytest.mark.parametrize("draft", NOTES_ALONE.values(), ids=NOTES_ALONE)
def test_segments_without_events_are_packed(draft: BlockDraft) -> None:
    disk, made = packed(run_of([draft], [draft], first_seq=9), 1 << 20)
    assert made.extent[:4] == (9, 0, None, None)
    [(_, block)] = blocks_of(disk, made)
    assert block == draft._replace(
        first_seq=9,
        metadata=draft.metadata * 2,
        quarantine=draft.quarantine * 2,
        duplicate_count=draft.duplicate_count * 2,
        types_known=True,
    )


def test_segments_without_blocks_are_packed() -> None:
    disk, made = packed(run_of([], []), 1 << 20)
    assert (made.block_count, made.extent.stored_ms) == (0, 0)
    assert blocks_of(disk, made) == []
    assert scan(disk, OBJECT_PATH, deep=True).verdict == "clean"


def test_many_notes_do_not_gather_in_one_block() -> None:
    draft = EMPTY._replace(quarantine=(QuarantineNote(1, "not_json", 5, bytes(300)),))
    disk, made = packed(run_of([draft] * 20), 1000)
    assert {header.quarantine_count for header, _ in blocks_of(disk, made)} == {2}


def test_notes_of_kinds_not_known_here_are_kept() -> None:
    unknown = b'{"later":{"x":1}}\n{"metadata":{"key":"k","value":"v","at_ms":1}}'
    first = with_raw_notes(unknown, small(1))
    [second] = run_of([small(2)._replace(metadata=NOTES.metadata)], number=3, first_seq=2)
    disk, made = packed([first, second], 1 << 20)
    [(header, block)] = blocks_of(disk, made)
    assert block.metadata == (MetadataNote("k", "v", 1), *NOTES.metadata)
    data = disk.files()[OBJECT_PATH][header.notes_offset : header.data_offset]
    assert zstandard.decompress(data).startswith(unknown + b"\n")


def test_the_identity_is_the_first_segments_with_a_salt_made_of_it() -> None:
    run = run_of([small(1)], [small(2)], number=4, first_seq=7)
    disk, made = packed(run, 1 << 20)
    identity, _ = read_table(disk, OBJECT_PATH, made.size)
    first = run[0].identity
    salt = blake2b(bytes.fromhex(first.salt) + (5).to_bytes(8, "little"), digest_size=16).hexdigest()
    assert (identity.salt, identity.number, identity.last_number) == (salt, 4, 5)
    assert (identity.previous_size, identity.first_seq) == (0, 7)
    assert (identity.tenant, identity.recording_id) == (IDENTITY.tenant, IDENTITY.recording_id)
    assert identity.created_ms == IDENTITY.created_ms


def test_real_recordings_on_a_real_disk_come_out_whole_and_smaller(tmp_path: object) -> None:
    lines = [line + b"\n" for line in lines_of("docs_search")]
    drafts = [honest(lines[start : start + 40]) for start in range(0, len(lines), 40)]
    run = run_of(drafts[:5], drafts[5:])
    disk = OsDisk()
    sources = []
    for index, segment in enumerate(run):
        sources.append(PackInput(f"{tmp_path}/{index}", len(segment.data)))
        with open(sources[-1].path, "wb") as file:
            file.write(segment.data)
    target = f"{tmp_path}/new/directory/object"
    made = pack(disk, sources, target, level=9, block_bytes=1 << 20)
    assert disk.size(target) == made.size < 0.9 * sum(source.size for source in sources)
    identity, headers = read_table(disk, target, made.size)
    assert lines_in(read_back(disk, target, header) for header in headers) == lines
    assert scan(disk, target, deep=True).verdict == "clean"
    assert identity.last_number == 2
    assert all(header.raw_size <= 1 << 20 or header.event_count == 1 for header in headers)


@pytest.mark.parametrize("level", [1, 12, 19])
def test_frames_ask_no_reader_for_more_than_eight_mebibytes_of_window(level: int) -> None:
    """So much any decoder has (RFC 8878, section 3.1.1.1.2), whatever the size of a block or an event."""
    huge = b'{"type":2,"timestamp":1,"data":"%s"}\n' % (b"abcdefgh" * (5 << 18))
    disk, made = packed(run_of([honest([huge]), small(2)]), 64 << 20, level=level)
    [(header, _)] = blocks_of(disk, made)
    frame = disk.files()[OBJECT_PATH][header.data_offset : header.limit_offset]
    parameters = zstandard.get_frame_parameters(frame)
    assert parameters.content_size == header.raw_size > 10 << 20
    assert parameters.window_size <= 8 << 20


SMALL_RUN = run_of([small(1, 2), small(3)], [honest([META % 4, event(2)]), small(5)])


def test_a_disk_that_fails_leaves_no_file_and_it_can_be_done_again() -> None:
    disk, made = packed(SMALL_RUN, 100)
    whole, sealed = disk.files(), SimDisk()
    sources = put_run(sealed, SMALL_RUN)
    for operation in range(1, disk.operations):
        disk = SimDisk()
        put_run(disk, SMALL_RUN)
        disk.fail_at(operation, errno.ENOSPC)
        with pytest.raises(OSError, match="space"):
            pack(disk, sources, OBJECT_PATH, level=1, block_bytes=100)
        assert disk.files() == sealed.files(), disk.log[operation]
        assert disk.open_handles == 0
        assert pack(disk, sources, OBJECT_PATH, level=1, block_bytes=100) == made
        assert disk.files() == whole


@pytest.mark.parametrize("when", ["before", "halfway", "after"])
def test_a_power_cut_costs_only_the_time_to_do_it_again(when: When) -> None:
    disk, made = packed(SMALL_RUN, 100)
    whole = disk.files()
    for operation in range(1, disk.operations):
        disk = SimDisk(random.Random(f"{operation} {when}"))
        sources = put_run(disk, SMALL_RUN)
        disk.cut_at(operation, when=when)
        with pytest.raises(PowerCut):
            pack(disk, sources, OBJECT_PATH, level=1, block_bytes=100)
        disk.power_cut()
        assert pack(disk, sources, OBJECT_PATH, level=1, block_bytes=100) == made
        disk.power_cut()
        assert disk.files() == whole


def test_damaged_segments_make_no_object() -> None:
    disk = SimDisk()
    sources = put_run(disk, SMALL_RUN)
    data = bytearray(SMALL_RUN[1].data)
    data[-1] ^= 1
    disk.put(sources[1].path, bytes(data))
    before = disk.files()
    with pytest.raises(CorruptSegment):
        pack(disk, sources, OBJECT_PATH, level=1, block_bytes=100)
    assert disk.files() == before
