"""Blocks merged: order, budget, and how little is done for blocks that lie apart."""

from __future__ import annotations

from array import array
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.playback.bodies import Events
from rrd.playback.order import EVENT_OVERHEAD, Merge

BODY = b"body"
COST = len(BODY) + EVENT_OVERHEAD


class Blocks:
    """Blocks given by their timestamps. Counts what is asked for, and measures what is held.

    Method. ``load`` sorts as the real one does; a body says nothing, so an event is known by its number.
    """

    def __init__(self, *blocks: list[float]) -> None:
        self.blocks = blocks
        self.first_seqs = [1 + sum(map(len, blocks[:index])) for index in range(len(blocks))]
        self.loads: Counter[int] = Counter()
        self.timed_loads: Counter[int] = Counter()

    def load(self, block: int, *, timed: bool) -> Events:
        self.loads[block] += 1
        self.timed_loads[block] += timed
        first_seq = self.first_seqs[block]
        pairs = sorted((ts, seq) for seq, ts in enumerate(self.blocks[block], first_seq))
        return Events(
            [BODY] * len(pairs),
            [seq for _, seq in pairs],
            None,
            array("d", [ts for ts, _ in pairs]) if timed else (),
        )

    def cost_of(self, block: int) -> int:
        return len(self.blocks[block]) * COST

    def merge(self, bytes_max: int = 1 << 30) -> Merge:
        return Merge(
            [min(times) for times in self.blocks],
            [max(times) for times in self.blocks],
            load=self.load,
            cost_of=self.cost_of,
            bytes_max=bytes_max,
        )

    def in_order(self) -> list[int]:
        """The arrival numbers of all events as a reader must get them."""
        times = [ts for times in self.blocks for ts in times]
        return sorted(range(1, len(times) + 1), key=lambda seq: (times[seq - 1], seq))


def read(merge: Merge) -> list[int]:
    return [seq for run in merge.runs() for seq in run.seqs]


# Few different times, so that blocks overlap and tie; a scale, so that some lie apart.
_times = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=12)
_blocks = st.lists(
    st.tuples(_times, st.sampled_from([0.0, 5.0, 9.0, 20.0, 40.0])).map(
        lambda drawn: [ts + drawn[1] for ts in drawn[0]]
    ),
    max_size=12,
)


@given(_blocks, st.sampled_from([1, COST, 5 * COST, 20 * COST, 50 * COST, 1 << 30]))
def test_order_does_not_depend_on_the_budget(drawn: list[list[float]], bytes_max: int) -> None:
    blocks = Blocks(*drawn)
    assert read(blocks.merge(bytes_max)) == blocks.in_order()


@given(_blocks, st.sampled_from([1, 5 * COST, 20 * COST, 50 * COST]))
def test_no_more_is_held_than_the_budget_or_one_block(drawn: list[list[float]], bytes_max: int) -> None:
    blocks = Blocks(*drawn)
    merge = blocks.merge(bytes_max)
    bound = max(bytes_max, *map(blocks.cost_of, range(len(drawn))), 0)
    for run in merge.runs():
        assert len(run.bodies) * COST <= merge.held_bytes <= bound
    assert merge.held_bytes == 0


@given(_blocks)
def test_within_the_budget_each_block_is_loaded_once(drawn: list[list[float]]) -> None:
    blocks = Blocks(*drawn)
    read(blocks.merge())
    assert blocks.loads == Counter(range(len(drawn)))


@given(
    _blocks,
    st.integers(0, 50),
    st.integers(0, 50),
    st.booleans(),
    st.sampled_from([1, 5 * COST, 20 * COST, 1 << 30]),
)
def test_bounds_may_be_wide_and_blocks_may_turn_out_to_be_empty(
    drawn: list[list[float]], one: int, other: int, clipped: bool, bytes_max: int
) -> None:
    least, greatest = min(one, other) - 0.5, max(one, other) + 0.5
    blocks = Blocks(*drawn)

    def load(block: int, *, timed: bool) -> Events:
        events = blocks.load(block, timed=True)
        kept = [at for at, ts in enumerate(events.times) if least <= ts <= greatest]
        return Events(
            [BODY] * len(kept),
            [events.seqs[at] for at in kept],
            None,
            array("d", [events.times[at] for at in kept]) if timed else (),
        )

    merge = Merge(
        [max(min(times), least) if clipped else min(times) for times in drawn],
        [min(max(times), greatest) if clipped else max(times) for times in drawn],
        load=load,
        cost_of=blocks.cost_of,
        bytes_max=bytes_max,
    )
    wanted = [times for block in drawn for times in block]
    assert read(merge) == [seq for seq in blocks.in_order() if least <= wanted[seq - 1] <= greatest]
    assert merge.held_bytes == 0


def test_blocks_that_lie_apart_go_through_whole() -> None:
    blocks = Blocks([5, 6, 6], [6, 7], [9], [1, 2])
    runs = [list(run.seqs) for run in blocks.merge().runs()]
    assert runs == [[7, 8], [1, 2, 3], [4, 5], [6]]
    assert not +blocks.timed_loads, "nobody needed their timestamps"


def test_a_block_that_ends_where_an_older_one_begins_is_merged() -> None:
    # The younger block's event at 5 arrived after the older's, so it can't go before it.
    blocks = Blocks([5, 6], [4, 5])
    assert [list(run.seqs) for run in blocks.merge().runs()] == [[3], [1], [4], [2]]


def test_a_late_block_cuts_only_the_blocks_that_it_falls_into() -> None:
    young = [[10.0 * block + index for index in range(10)] for block in range(20)]
    blocks = Blocks(*young, [52.5, 55.5, 55.6])
    runs = [list(run.seqs) for run in blocks.merge().runs()]
    assert [seq for run in runs for seq in run] == blocks.in_order()
    assert len(runs) == 19 + 5
    assert set(+blocks.timed_loads) == {5, 20}


def test_a_block_is_not_loaded_before_its_time_has_come() -> None:
    blocks = Blocks([0, 100], [50, 150], [99, 160])
    runs = blocks.merge().runs()
    next(runs)
    assert set(blocks.loads) == {0}
    next(runs)
    assert set(blocks.loads) == {0, 1}


def test_a_stray_timestamp_in_each_block_costs_one_more_load() -> None:
    blocks = Blocks(
        *([float(block), *(1000.0 * block + 1000 + index for index in range(50))] for block in range(100))
    )
    assert read(blocks.merge(300 * COST)) == blocks.in_order()
    assert max(blocks.loads.values()) <= 2


@pytest.mark.parametrize("held_blocks", [4, 10])
def test_blocks_mixed_at_random_are_loaded_in_slices(held_blocks: int) -> None:
    # 40 blocks of 100 events dealt out like cards. With room for a tenth, a block is loaded about 10 times
    # at best; dropping whole blocks would load it for nearly each of its 100 events.
    blocks = Blocks(
        *([float(index * 40 + (block * 7 + index * 11) % 40) for index in range(100)] for block in range(40))
    )
    assert read(blocks.merge(held_blocks * 100 * COST)) == blocks.in_order()
    assert max(blocks.loads.values()) <= 4 * 40 // held_blocks
