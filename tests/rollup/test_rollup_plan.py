"""Which segments become which objects, by table and by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.extent import nothing
from rrd.index.rows import ObjectRow, ObjectState, RecordingRow, SegmentRow, SegmentState
from rrd.rollup.plan import runs

STATES: dict[str, SegmentState] = {"a": "active", "s": "sealed", "r": "rolled"}


def segments(states: str, *, size: int = 10) -> tuple[SegmentRow, ...]:
    """One letter a segment, numbered from 1; a dot is a number without one."""
    return tuple(
        SegmentRow(number, STATES[letter], size, None, None)
        for number, letter in enumerate(states, 1)
        if letter != "."
    )


def an_object(first: int, last: int, state: ObjectState = "planned") -> ObjectRow:
    return ObjectRow(first, last, 10, 1, 1, 1, 1, 1, None, None, state, 0, True)


def recording(found: tuple[SegmentRow, ...], *objects: ObjectRow) -> RecordingRow:
    return RecordingRow(1, "t", "r", 0, nothing(1), True, frozenset(), found, objects)


TABLE = {
    # what there is → (segments, objects, runs; a star is planned)
    "nothing": ("", [], []),
    "active alone": ("a", [], []),
    "one sealed": ("s", [], ["1-1"]),
    "a run": ("sss", [], ["1-3"]),
    "and an active one": ("ssa", [], ["1-2"]),
    "an active one in between": ("sas", [], ["1-1", "3-3"]),
    "a number whose first write failed": ("s.s", [], ["1-1", "3-3"]),
    "after an object": ("rrss", [an_object(1, 2, "published")], ["3-4"]),
    "after an object that was evicted": ("..ss", [an_object(1, 2, "published")], ["3-4"]),
    "planned": ("ss", [an_object(1, 2)], ["1-2*"]),
    "planned, and sealed since": ("sss", [an_object(1, 2)], ["1-2*", "3-3"]),
    "sealed before and after what is planned": ("ssss", [an_object(2, 3)], ["1-1", "2-3*", "4-4"]),
    "more than goes into one object": ("s" * 7, [], ["1-3", "4-6", "7-7"]),
}


@pytest.mark.parametrize("name", TABLE)
def test_runs(name: str) -> None:
    states, objects, expected = TABLE[name]
    found = runs(recording(segments(states), *objects), bytes_max=30)
    assert [f"{run.first_number}-{run.last_number}{'*' * run.is_planned}" for run in found] == expected
    assert not any(run.missing for run in found)


def test_a_segment_larger_than_an_object_gets_one_of_its_own() -> None:
    found = runs(recording(segments("ss", size=100)), bytes_max=30)
    assert [run.size for run in found] == [100, 100]


def test_a_planned_run_tells_what_is_missing() -> None:
    (run,) = runs(recording(segments("s.a"), an_object(1, 3)))
    assert run.missing == (2, 3)


@given(st.text("sar.", max_size=30), st.integers(1, 100))
def test_each_sealed_segment_is_in_one_run_and_nothing_else_is(states: str, bytes_max: int) -> None:
    found = runs(recording(segments(states)), bytes_max=bytes_max)
    taken = [segment.number for run in found for segment in run.segments]
    assert taken == [number for number, letter in enumerate(states, 1) if letter == "s"]
    for run in found:
        assert [segment.number for segment in run.segments] == [*range(run.first_number, run.last_number + 1)]
        assert run.size <= bytes_max or len(run.segments) == 1
