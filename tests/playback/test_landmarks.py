"""Where a replay begins in the middle of a recording, against a slow reference."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.objects.files import ObjectFiles
from rrd.playback.landmarks import TOGETHER_MS, Landmark, find_start
from rrd.playback.table import ALWAYS, plan
from rrd.segment.format import BlockDraft
from tests.objects.file_lab import files_of
from tests.objects.memory_store import MemoryStore
from tests.playback import recordings
from tests.playback.recordings import DATA, Line, Run, Segment, any_block_bytes, any_runs, draft, spread
from tests.simdisk import SimDisk
from tests.thoroughness import examples

META, SNAPSHOT = 4, 2


class Seen(NamedTuple):
    """An event as the reference sees it. They compare in playback order."""

    timestamp: float
    seq: int
    type: int


def event(kind: int, timestamp: float) -> Line:
    return Line(b'{"type":%d,"timestamp":%r,"data":{"type":2}}' % (kind, timestamp), timestamp)


def reference(segments: list[Segment], at_ms: float) -> tuple[float, int] | None:
    """The rule of the module, by going through all events in playback order."""
    lines = [line for blocks in segments for block in blocks for line in block]
    seen = sorted(
        Seen(line.timestamp, seq, int(line.raw.split(b":")[1].split(b",")[0]))
        for seq, line in enumerate(lines, 1)
    )
    snapshots = [one for one in seen if one.type == SNAPSHOT]
    if not snapshots:
        return None
    earlier = [one for one in snapshots if one.timestamp <= at_ms]
    snapshot = earlier[-1] if earlier else snapshots[0]
    passed = False
    for one in reversed(seen[: seen.index(snapshot)]):
        is_near = snapshot.timestamp - one.timestamp <= TOGETHER_MS
        if one.type == META and (is_near or not passed):
            return one[:2]
        if one.type == META or (one.type == SNAPSHOT and not is_near):
            break
        passed = passed or one.type == SNAPSHOT
    return snapshot[:2]


_EVENTS = st.builds(
    event,
    st.sampled_from([2, 2, 3, 3, 3, 4, 4, 5, 6]),
    st.one_of(st.integers(0, 12).map(float), st.sampled_from([5000.0, 10_004.0, 10_005.0, 20_000.0, 1e12])),
)
_RECORDINGS = st.lists(st.lists(st.lists(_EVENTS, max_size=5), max_size=4), min_size=1, max_size=4)
_AT = st.one_of(st.integers(-1, 13).map(float), st.sampled_from([0.5, 9999.0, 10_005.0, 1e13]))


def honest(types_known: bool) -> object:
    def made(block: recordings.Block, first_seq: int) -> BlockDraft:
        types = [line.raw[8:9] for line in block]
        if not types_known:
            return draft(block, first_seq)
        return draft(block, first_seq)._replace(
            types_known=True, has_snapshot=b"2" in types, has_meta=b"4" in types
        )

    return made


@pytest.mark.parametrize("types_known", [True, False])
@settings(deadline=None, max_examples=examples(200))
@given(segments=_RECORDINGS, at_ms=_AT, runs=any_runs, block_bytes=any_block_bytes)
def test_a_replay_begins_where_the_reference_says(
    types_known: bool, segments: list[Segment], at_ms: float, runs: list[Run], block_bytes: int
) -> None:
    """From segments, objects, files of before, and all of them mixed."""
    with pytest.MonkeyPatch.context() as patch:
        # What a committer says of a block, or said before headers had flags for it.
        patch.setattr(recordings, "draft", honest(types_known))
        disk, store = SimDisk(), MemoryStore()
        holdings = spread(disk, store, segments, runs, block_bytes=block_bytes)
    with files_of(store) as files:
        found = find_start(plan(disk, files, DATA, holdings), at_ms)
    assert (found and found[:2]) == reference(segments, at_ms)


@given(segments=_RECORDINGS, at_ms=_AT, data=st.data())
def test_events_that_came_later_do_not_count(
    files: ObjectFiles, segments: list[Segment], at_ms: float, data: st.DataObject
) -> None:
    lines = [line for blocks in segments for block in blocks for line in block]
    as_of = data.draw(st.integers(0, len(lines)))
    disk = SimDisk()
    holdings = recordings.put(disk, segments)
    table = plan(disk, files, DATA, holdings, between=ALWAYS._replace(limit_seq=as_of + 1))
    found = find_start(table, at_ms)
    assert (found and found[:2]) == reference([[lines[:as_of]]], at_ms)


@pytest.mark.parametrize(
    ("events", "at_ms", "start"),
    [
        # The page shown, from its Meta event on.
        ([(4, 0), (2, 1), (3, 5), (4, 100), (2, 101), (3, 200)], 150, 4),
        ([(4, 0), (2, 1), (3, 5), (4, 100), (2, 101), (3, 200)], 100, 1),
        # Before the first snapshot: the first one.
        ([(3, 0), (4, 10), (2, 11)], 5, 2),
        # No Meta event; one of an earlier page is not its own.
        ([(3, 0), (2, 11)], 20, 2),
        ([(4, 0), (2, 1), (3, 5), (2, 50_000)], 60_000, 4),
        # Its Meta event long before, as after a laptop slept.
        ([(4, 0), (3, 5), (2, 50_000)], 60_000, 1),
        # Two tabs that load at once.
        ([(4, 0), (4, 1), (2, 2), (2, 3)], 10, 2),
        ([(3, 0), (3, 1)], 1, None),
        ([], 1, None),
    ],
)
def test_rule_by_example(
    files: ObjectFiles, events: list[tuple[int, float]], at_ms: float, start: int | None
) -> None:
    disk = SimDisk()
    holdings = recordings.put(disk, [[[event(kind, float(time))] for kind, time in events]])
    found = find_start(plan(disk, files, DATA, holdings), at_ms)
    assert (found and found.seq) == start


def test_only_blocks_with_landmarks_are_decoded(files: ObjectFiles) -> None:
    reads: list[str] = []

    class Counting(SimDisk):
        def read(self, path: str, offset: int, size: int) -> bytes:
            reads.append(path)
            return super().read(path, offset, size)

    disk = Counting()
    pages = [[event(4, n), event(2, n + 1)] if n % 100 == 0 else [event(3, n)] for n in range(500)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recordings, "draft", honest(types_known=True))
        holdings = recordings.put(disk, [pages])
    table = plan(disk, files, DATA, holdings)
    reads.clear()
    assert find_start(table, 450) == Landmark(400.0, 405, is_meta=True)
    assert len(reads) == 1
