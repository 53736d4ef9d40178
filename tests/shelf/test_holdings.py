"""What there is of a recording, in order, against a model that looks at each segment number by itself."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rrd import layout
from rrd.extent import nothing
from rrd.index.rows import ObjectRow, ObjectState, RecordingRow, SegmentRow, SegmentState
from rrd.layout import SegmentName
from rrd.shelf.holdings import Holdings

Part = tuple[str, int, str]
"""What some segments became, how many they are, and which of an object's have a local copy."""

PARTS = st.lists(
    st.tuples(
        st.sampled_from(["active", "sealed", "planned", "published", "passed over"]),
        st.integers(1, 4),
        st.text("-c", min_size=4, max_size=4),
    ),
    max_size=8,
)


def row_of(parts: list[Part]) -> RecordingRow:
    """Return a row as an index may have it: each number is free, or in one segment or object."""
    segments: list[SegmentRow] = []
    objects: list[ObjectRow] = []
    first, seq = 1, 1
    for what, length, copies in parts:
        last = first + length - 1
        numbers = range(first, last + 1)
        if what in {"active", "sealed", "planned"}:
            state: SegmentState = "active" if what == "active" else "sealed"
            segments += [SegmentRow(number, state, 10 * number, None, None) for number in numbers]
        if what == "published":
            segments += [
                SegmentRow(number, "rolled", 10 * number, None, None)
                for number, copy in zip(numbers, copies, strict=False)
                if copy == "c"
            ]
        if what in {"planned", "published"}:
            made: ObjectState = "published" if what == "published" else "planned"
            is_made = made == "published"
            objects.append(
                ObjectRow(
                    first, last, 0, seq if is_made else 0, length if is_made else 0, 7, 0, 0, None, None,
                    made, 0, True,
                )
            )  # fmt: skip
            seq += length if is_made else 0
        first = last + 1
    return RecordingRow(
        1, "t", "recording", 86_400_000, nothing(seq), True, frozenset(), tuple(segments), tuple(objects)
    )


def covering(row: RecordingRow, number: int) -> list[ObjectRow]:
    published = [each for each in row.objects if each.state == "published"]
    return [each for each in published if each.first_number <= number <= each.last_number]


@given(PARTS)
def test_each_segment_is_in_one_holding_and_they_are_in_order(parts: list[Part]) -> None:
    row = row_of(parts)
    holdings = Holdings.of(row)
    found = list(holdings.in_order())
    assert [segment for holding in found for segment in holding.segments] == list(row.segments)
    assert [each.object for each in found if each.object] == [
        entry for entry in row.objects if entry.state == "published"
    ]
    for before, after in pairwise(found):
        assert before.last_number < after.first_number
    for holding in found:
        numbers = range(holding.first_number, holding.last_number + 1)
        assert all(segment.number in numbers for segment in holding.segments)
        if holding.object is None:
            assert len(holding.segments) == len(numbers) == 1
            assert holding.is_local
        else:
            assert (holding.first_number, holding.last_number) == holding.object[:2]
            here = {segment.number for segment in row.segments}
            assert holding.is_local == here.issuperset(numbers) == holdings.is_all_here(holding.object)
            assert holding.segments == tuple(holdings.copies(holding.object))


@given(PARTS)
def test_it_agrees_with_a_look_at_each_number(parts: list[Part]) -> None:
    row = row_of(parts)
    holdings = Holdings.of(row)
    last = max((each[1] for each in row.objects), default=0)
    for number in range(max([last, *(each.number for each in row.segments)]) + 2):
        found = holdings.covering(number)
        assert ([] if found is None else [found]) == covering(row, number)
    assert holdings.own() == [each for each in row.segments if not covering(row, each.number)]
    assert holdings.own() == [each for each in row.segments if each.state != "rolled"]
    assert sorted([*holdings.published, *holdings.planned]) == list(row.objects)
    assert holdings.is_local == all(
        any(segment.number == number for segment in row.segments)
        for entry in holdings.published
        for number in range(entry.first_number, entry.last_number + 1)
    )


@given(PARTS)
def test_keys_are_those_of_the_layout_and_differ(parts: list[Part]) -> None:
    holdings = Holdings.of(row_of(parts))
    keys = [holdings.key(entry) for entry in holdings.published]
    assert len(set(keys)) == len(keys)
    for key, entry in zip(keys, holdings.published, strict=True):
        assert key.startswith("t/1970/01/02/recording/")
        parsed = layout.parse_object_key(key)
        assert parsed is not None
        assert (parsed.first_seq, parsed.limit_seq) == (entry.first_seq, entry.first_seq + entry.event_count)
        assert holdings.name(entry.first_number) == SegmentName("t", "recording", entry.first_number)
