"""Seconds and slots add up in any order, within their bounds."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rrd.summary.activity import SLOTS_MAX, WORDS_MAX, ActivityLine, Seconds, active_ms, add_seconds, words_of

SECONDS = st.lists(st.one_of(st.integers(-100, 100), st.integers(-(10**6), 10**6)), max_size=30)


@given(st.lists(SECONDS, max_size=5))
def test_a_line_is_the_same_in_whatever_parts_it_came(parts: list[list[int]]) -> None:
    line, joined = ActivityLine(), ActivityLine()
    everything = [second for part in parts for second in part]
    line.add(Counter(everything))
    for part in parts:
        other = ActivityLine()
        other.add(Counter(part))
        joined.add(other.counts, other.power)
    assert joined == line
    assert len(line.levels()) <= SLOTS_MAX
    assert sum(line.counts.values()) == len(everything)
    assert len(line.sparkline(64)) <= 64
    assert active_ms(words_of(everything)) == 1000 * len(set(everything))


def test_slots_are_as_narrow_as_fits() -> None:
    line = ActivityLine()
    line.add({0: 1, 999: 300})
    assert (line.slot_ms, len(line.levels()), line.levels()[-1]) == (1000, 1000, 255)
    line.add({1000: 1})
    assert (line.slot_ms, len(line.levels()), line.first_ms) == (2000, 501, 0)


def test_what_a_set_has_no_room_for_is_told() -> None:
    seconds: Seconds = {}
    assert add_seconds(seconds, words_of(range(0, 32 * WORDS_MAX, 32)))
    assert not add_seconds(seconds, words_of([32 * WORDS_MAX]))
    assert active_ms(seconds) == 1000 * WORDS_MAX
