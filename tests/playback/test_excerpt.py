"""Pages of a walk, against the naive model: each event once and in order, wherever it is cut and lies."""

from __future__ import annotations

from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.objects.files import ObjectFiles
from rrd.playback.excerpt import Excerpt, read_excerpt
from rrd.playback.splice import JSON_ARRAY, NDJSON, Form
from rrd.playback.table import ALWAYS, Between, plan
from rrd.shelf.holdings import Holdings
from tests.objects.file_lab import files_of
from tests.objects.memory_store import MemoryStore
from tests.playback.recordings import (
    DATA,
    Line,
    Run,
    Segment,
    answer,
    any_block_bytes,
    any_range,
    any_recording,
    any_runs,
    block,
    line,
    longer_recording,
    put,
    spread,
)
from tests.simdisk import SimDisk
from tests.thoroughness import examples

PLENTY = 64 << 20


def page(
    disk: SimDisk,
    files: ObjectFiles,
    holdings: Holdings,
    between: Between,
    *,
    form: Form = NDJSON,
    events_max: int = 10_000,
    text_bytes: int = PLENTY,
    by_arrival: bool = False,
    bytes_max: int = PLENTY,
) -> Excerpt:
    table = plan(disk, files, DATA, holdings, between=between)
    return read_excerpt(
        table, form=form, bytes_max=bytes_max, events_max=events_max, text_bytes=text_bytes,
        by_arrival=by_arrival,
    )  # fmt: skip


def lines_of(segments: list[Segment]) -> list[Line]:
    return [line for blocks in segments for block in blocks for line in block]


def behind(last: tuple[float, int], between: Between) -> Between:
    return between._replace(start=last[0], start_seq=last[1] + 1)


@settings(deadline=None, max_examples=examples(200))
@given(
    longer_recording,
    st.lists(any_runs, min_size=1, max_size=3),
    any_block_bytes,
    any_range,
    st.integers(1, 7),
    st.sampled_from([1, 100, 1000, PLENTY]),
    st.sampled_from([1, 500, PLENTY]),
    st.data(),
)
def test_a_walk_gives_each_event_as_of_its_beginning_once_and_in_order(
    segments: list[Segment],
    places: list[list[Run]],
    block_bytes: int,
    between: Between,
    events_max: int,
    text_bytes: int,
    bytes_max: int,
    data: st.DataObject,
) -> None:
    """While more arrives, and what is there lies elsewhere at each page."""
    as_of = data.draw(st.integers(0, len(lines_of(segments))))
    between = between._replace(limit_seq=as_of + 1)
    expected = answer([[lines_of(segments)[:as_of]]], between)
    found: list[bytes] = []
    for number in range(len(expected) + 2):
        disk, store = SimDisk(), MemoryStore()
        holdings = spread(disk, store, segments, places[number % len(places)], block_bytes=block_bytes)
        with files_of(store) as files:
            got = page(
                disk, files, holdings, between,
                events_max=events_max, text_bytes=text_bytes, bytes_max=bytes_max,
            )  # fmt: skip
        lines = bytes(got.body).split(b"\n")[:-1]
        assert len(lines) == got.event_count <= events_max
        # Soft: only the last event passes the size.
        assert sum(len(line) + 1 for line in lines[:-1]) < text_bytes or len(lines) <= 1
        found += lines
        if not got.has_more:
            break
        assert got.last is not None
        between = behind(got.last, between)
    assert found == expected
    assert not got.has_more


@settings(deadline=None)
@given(
    any_recording,
    any_runs,
    any_block_bytes,
    st.integers(1, 7),
    st.integers(0, 30),
    st.sampled_from([1, 300, PLENTY]),
)
def test_pages_by_arrival_give_each_event_behind_a_number(
    segments: list[Segment], runs: list[Run], block_bytes: int, events_max: int, after: int, text_bytes: int
) -> None:
    disk, store = SimDisk(), MemoryStore()
    holdings = spread(disk, store, segments, runs, block_bytes=block_bytes)
    numbered = dict(zip_numbers(segments))
    expected = [numbered[seq] for seq in sorted(numbered) if seq > after]
    found: list[bytes] = []
    with files_of(store) as files:
        while True:
            got = page(
                disk, files, holdings, ALWAYS._replace(first_seq=after + 1),
                events_max=events_max, text_bytes=text_bytes, by_arrival=True,
            )  # fmt: skip
            found += bytes(got.body).split(b"\n")[:-1]
            if not got.has_more:
                break
            assert got.last is not None
            assert got.last[1] > after
            after = got.last[1]
    assert found == expected


def zip_numbers(segments: list[Segment]) -> list[tuple[int, bytes]]:
    """Each event as a reader gets it, with its number."""
    lines = lines_of(segments)
    order = sorted(range(len(lines)), key=lambda index: (lines[index].timestamp, index))
    return [(index + 1, text) for index, text in zip(order, answer(segments), strict=True)]


@given(any_recording, st.integers(1, 5))
def test_an_array_holds_what_the_lines_hold(
    files: ObjectFiles, segments: list[Segment], events_max: int
) -> None:
    disk = SimDisk()
    holdings = put(disk, segments)
    array = page(disk, files, holdings, ALWAYS, form=JSON_ARRAY, events_max=events_max)
    lines = page(disk, files, holdings, ALWAYS, events_max=events_max)
    assert (array.event_count, array.last, array.has_more) == lines[1:]
    assert bytes(array.body) == b"[" + b",\n".join(bytes(lines.body).split(b"\n")[:-1]) + b"]"


def test_a_large_event_comes_alone_and_only_what_is_needed_is_decoded(files: ObjectFiles) -> None:
    reads: list[int] = []

    class Counting(SimDisk):
        def read(self, path: str, offset: int, size: int) -> bytes:
            reads.append(size)
            return super().read(path, offset, size)

    disk = Counting()
    segments = [[[line(0, pad=2_000_000)], *(block(*range(n, n + 5), pad=50_000) for n in range(5, 500, 5))]]
    holdings = put(disk, segments)
    between = ALWAYS
    first = page(disk, files, holdings, between, text_bytes=65536)
    assert (first.event_count, first.last, first.has_more) == (1, (0.0, 1), True)
    assert first.last is not None
    table = plan(disk, files, DATA, holdings, between=behind((249.0, 246), between))
    reads.clear()
    got = read_excerpt(table, form=NDJSON, bytes_max=PLENTY, events_max=3, text_bytes=PLENTY)
    assert [number.split(b'"timestamp":')[1][:3] for number in bytes(got.body).split(b"\n")[:-1]] == [
        b"250", b"251", b"252",
    ]  # fmt: skip
    assert len(reads) <= 2


def test_blocks_that_arrived_later_are_not_in_the_table(files: ObjectFiles) -> None:
    disk = SimDisk()
    holdings = put(disk, [[block(1, 2), block(3), block(1.5)]])
    table = plan(disk, files, DATA, holdings, between=Between(-inf, inf, limit_seq=4))
    assert len(table) == 2
