"""Sums of extents, against sums over all their events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.extent import Extent, nothing, total
from rrd.index.rows import RECORDING_COLUMNS
from rrd.segment.format import BlockDraft, BlockHeader

COUNTS = st.integers(0, 2**40)
BLOCKS = st.lists(
    st.tuples(st.lists(st.integers(-5, 5), max_size=3), COUNTS, COUNTS, COUNTS, COUNTS), max_size=6
)
"""Timestamps of each block's events, and its other numbers."""


@given(BLOCKS, st.integers(1, 100))
def test_a_sum_is_that_of_all_events(blocks: list[tuple[list[int], int, int, int, int]], first: int) -> None:
    extents: list[Extent] = []
    seq = first
    for times, *numbers in blocks:
        extents.append(Extent(seq, len(times), min(times, default=None), max(times, default=None), *numbers))
        seq += len(times)
    whole = total(extents, nothing(first))
    times = [time for each, *_ in blocks for time in each]
    assert whole == Extent(
        first_seq=first,
        event_count=len(times),
        first_ts=min(times, default=None),
        last_ts=max(times, default=None),
        raw_size=sum(each.raw_size for each in extents),
        stored_ms=max((each.stored_ms for each in extents), default=0),
        duplicate_count=sum(each.duplicate_count for each in extents),
        quarantine_count=sum(each.quarantine_count for each in extents),
    )
    assert whole.limit_seq == seq
    for at in range(len(extents)):
        # However they are put together, in their order.
        parts = total(extents[:at], nothing(first)), total(extents[at:], nothing(first + len(times)))
        assert (parts[0] + parts[1])._replace(first_seq=first) == whole


@pytest.mark.parametrize("count", [0, 3])
def test_that_of_a_draft_is_that_of_its_header(count: int) -> None:
    draft = BlockDraft(
        first_seq=7, event_count=count, payload=b"{}\n" * count, first_ts=1.5, last_ts=2.5, ordered=True,
        own_ids=False, source=1, stored_ms=9, duplicate_count=4,
    )  # fmt: skip
    header = BlockHeader(
        offset=0, payload_crc=0, event_count=count, first_seq=7, first_ts=1.5, last_ts=2.5, source=1,
        stored_ms=9, data_size=1, raw_size=len(draft.payload), notes_size=0, notes_raw_size=0,
        duplicate_count=4, quarantine_count=0, flags=0,
    )  # fmt: skip
    assert draft.extent == header.extent
    assert (draft.extent.first_ts, draft.extent.last_ts) == ((1.5, 2.5) if count else (None, None))


def test_the_index_keeps_all_that_adds_up() -> None:
    assert set(nothing(1).counts) <= RECORDING_COLUMNS.keys() <= set(Extent._fields)
    added = Extent._make([1] * len(Extent._fields))
    assert {name for name, value in (added + added)._asdict().items() if value == 2} == {
        "event_count",
        *added.counts,
    }
