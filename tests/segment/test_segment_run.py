"""Runs of segments: all that is read is checked, and nothing that isn't whole comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import pytest

from rrd.errors import CorruptSegment
from rrd.segment.format import BlockDraft
from rrd.segment.run import PackInput, read_blocks, read_identities
from tests.segment.samples import (
    EMPTY,
    IDENTITY,
    NOTES,
    Sample,
    an_object,
    event,
    events,
    put_run,
    run_of,
    sample,
    with_raw_notes,
)
from tests.simdisk import SimDisk

RUN = run_of([events(1, 2), NOTES], [events(4, 3)._replace(metadata=NOTES.metadata)], [], [EMPTY, events(5)])


def read(disk: SimDisk, sources: Sequence[PackInput]) -> list[bytes]:
    identities = read_identities(disk, sources)
    assert [identity.number for identity in identities] == sorted(identity.number for identity in identities)
    return [block.raw for block in read_blocks(disk, sources)]


def read_run(run: Sequence[Sample]) -> list[bytes]:
    disk = SimDisk()
    return read(disk, put_run(disk, run))


def test_all_blocks_come_in_order_with_what_they_hold() -> None:
    disk = SimDisk()
    blocks = list(read_blocks(disk, put_run(disk, RUN)))
    drafts = [draft for segment in RUN for draft in segment.drafts]
    assert [block.raw for block in blocks] == [draft.payload for draft in drafts]
    assert [block.header.first_seq for block in blocks] == [draft.first_seq for draft in drafts]
    assert [seen.timestamp for block in blocks for seen in block.events] == [1, 2, 4, 3, 5]
    assert [block.notes.count(b"\n") for block in blocks] == [0, 3, 2, 0, 0]


def test_every_flipped_bit_of_a_segment_is_noticed() -> None:
    made = run_of([events(1, 2), NOTES])
    disk = SimDisk()
    [source] = put_run(disk, made)
    for bit in range(len(made[0].data) * 8):
        damaged = bytearray(made[0].data)
        damaged[bit // 8] ^= 1 << bit % 8
        disk.put(source.path, bytes(damaged))
        with pytest.raises(CorruptSegment) as caught:
            read(disk, [source])
        assert caught.value.path == source.path


def test_every_cut_of_a_segment_is_noticed() -> None:
    made = run_of([events(1, 2), NOTES])
    disk = SimDisk()
    [source] = put_run(disk, made)
    for size in range(source.size):
        disk.put(source.path, made[0].data[:size])
        with pytest.raises(CorruptSegment):
            read(disk, [source])
        disk.put(source.path, made[0].data)
        if size not in made[0].offsets:
            with pytest.raises(CorruptSegment):
                read(disk, [PackInput(source.path, size)])


def test_what_lies_beyond_the_durable_size_is_not_read() -> None:
    made = run_of([events(1, 2), NOTES])
    disk = SimDisk()
    [source] = put_run(disk, made)
    disk.put(source.path, made[0].data + b"never acked")
    assert read(disk, [source]) == [events(1, 2).payload, b""]


def test_large_blocks_among_small_ones_are_read_whole() -> None:
    large = events(*range(20_000))
    drafts = [events(1), large, events(2), NOTES, events(3), large, large, events(4)]
    assert read_run(run_of(drafts)) == [draft.payload for draft in drafts]


def test_a_number_may_be_missing_where_a_first_write_failed() -> None:
    first, second = run_of([events(1)]), run_of([events(2)], number=3, first_seq=2)
    assert read_run([*first, *second]) == [event(1), event(2)]


def of_another_recording(made: Sample) -> Sample:
    return sample(*made.drafts, identity=msgspec.structs.replace(made.identity, recording_id="another"))


def changed(made: Sample, **fields: int) -> Sample:
    return sample(*made.drafts, identity=msgspec.structs.replace(made.identity, **fields))


TWO = run_of([events(1), NOTES], [events(2)])
WRONG_RUNS: dict[str, Callable[[], Sequence[Sample]]] = {
    "in another order": lambda: TWO[::-1],
    "one twice": lambda: [TWO[0], TWO[0]],
    "one of another recording": lambda: [TWO[0], of_another_recording(TWO[1])],
    "one missing": lambda: [RUN[0], RUN[3]],
    "events missing": lambda: [TWO[0], changed(TWO[1], first_seq=3)],
    "another size before": lambda: [TWO[0], changed(TWO[1], previous_size=TWO[0].offsets[1])],
    "the same number": lambda: [TWO[0], changed(TWO[1], number=1)],
}


@pytest.mark.parametrize("run", WRONG_RUNS.values(), ids=WRONG_RUNS)
def test_segments_that_do_not_belong_together_are_refused(run: Callable[[], Sequence[Sample]]) -> None:
    with pytest.raises(CorruptSegment):
        read_run(run())


def test_a_segment_read_shorter_than_the_next_one_says_is_refused() -> None:
    """Blocks of notes alone would be lost without a gap in the sequence."""
    disk = SimDisk()
    first, second = put_run(disk, TWO)
    with pytest.raises(CorruptSegment, match="what should stand before"):
        read(disk, [first._replace(size=TWO[0].offsets[1]), second])


def test_an_object_is_no_segment() -> None:
    disk = SimDisk()
    [source] = put_run(disk, run_of([events(1)]))
    data = an_object([events(1)])
    disk.put(source.path, data)
    with pytest.raises(CorruptSegment, match="no segment begins"):
        read(disk, [PackInput(source.path, len(data))])


def test_an_absent_segment_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        read(SimDisk(), [PackInput("/absent", 100)])


WRITTEN_WRONG = {
    "a line too many": events(1, 2)._replace(event_count=1),
    "a line too few": events(1)._replace(event_count=2),
    "no LF at the end": events(1)._replace(payload=event(1) + b"{}"),
    "white space for an event": events(1)._replace(payload=b" \n"),
    "events where none are counted": events(1)._replace(event_count=0, payload=b" "),
    "a line that is no event": events(1, 2)._replace(payload=event(1) + b'{"type":3}\n'),
    "a line of nothing but brackets": events(1)._replace(payload=b"[" * 5000 + b"]" * 5000 + b"\n"),
    "no events, though some are counted": EMPTY._replace(event_count=1),
}


@pytest.mark.parametrize("draft", WRITTEN_WRONG.values(), ids=WRITTEN_WRONG)
def test_a_block_that_was_written_wrong_is_refused_though_its_checksums_are_right(draft: BlockDraft) -> None:
    with pytest.raises(CorruptSegment) as caught:
        read_run([sample(NOTES, draft, identity=IDENTITY)])
    assert caught.value.offset == sample(NOTES).offsets[1]


def test_other_notes_than_counted_are_refused() -> None:
    with pytest.raises(CorruptSegment, match="no event or note"):
        read_run([with_raw_notes(b"{junk\n", events(1))])
    quarantined = b'{"quarantine":{"line":1,"reason":"not_json","at_ms":1,"raw":"AA=="}}\n'
    assert read_run([with_raw_notes(quarantined, events(1), quarantine_count=1)]) == [event(1)]
    for count in (0, 2):
        with pytest.raises(CorruptSegment, match="than counted"):
            read_run([with_raw_notes(quarantined, events(1), quarantine_count=count)])
