"""The rule of de-duplication against a naive model, and the bound on its memory."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rrd.recordings import repeats
from rrd.recordings.repeats import RECOGNISED_MAX, Recognised, find_new

SENDERS = range(4)
batches = st.lists(
    st.tuples(st.sampled_from(SENDERS), st.lists(st.integers(0, 5), min_size=1, max_size=8)), max_size=12
)


class Store:
    """Blocks of keys as they would be in the files, and each sender's memory."""

    def __init__(self) -> None:
        self.blocks: list[tuple[int, list[int]]] = []
        self.recognised = {sender: Recognised() for sender in SENDERS}

    def send(self, sender: int, keys: list[int]) -> list[bool]:
        verdicts = find_new(keys, iter(self.blocks), source=sender, recognised=self.recognised[sender])
        kept = [key for key, is_new in zip(keys, verdicts, strict=True) if is_new]
        if kept:
            self.blocks.append((sender, kept))
        return verdicts

    def held(self) -> Counter[int]:
        return Counter(key for _, keys in self.blocks for key in keys)


@given(batches)
def test_a_line_is_held_as_often_as_the_sender_that_sent_it_most_often(
    sent: list[tuple[int, list[int]]],
) -> None:
    store = Store()
    counts = {sender: Counter[int]() for sender in SENDERS}
    for sender, keys in sent:
        store.send(sender, keys)
        counts[sender].update(keys)
        expected: Counter[int] = Counter()
        for count in counts.values():
            expected |= count
        assert store.held() == expected


@given(batches, st.data())
def test_what_is_stored_does_not_depend_on_where_batches_are_cut(
    sent: list[tuple[int, list[int]]], data: st.DataObject
) -> None:
    whole, cut = Store(), Store()
    for sender, keys in sent:
        middle = data.draw(st.integers(0, len(keys)))
        expected = whole.send(sender, keys)
        found = [verdict for part in (keys[:middle], keys[middle:]) for verdict in cut.send(sender, part)]
        assert found == expected
    assert cut.held() == whole.held()


def test_equal_lines_of_one_sender_are_all_kept() -> None:
    store = Store()
    assert store.send(0, [7, 7]) == [True, True]
    assert store.send(0, [7]) == [True]


def test_cumulative_posts_store_each_line_once() -> None:
    blocks: list[tuple[int, list[int]]] = []
    for post in range(1, 30):
        keys = list(range(post))
        verdicts = find_new(keys, blocks, source=post, recognised=Recognised())
        assert verdicts == [False] * (post - 1) + [True]
        blocks.append((post, [post - 1]))


def test_a_line_meant_twice_is_stored_a_second_time_though_the_first_was_a_repeat() -> None:
    store = Store()
    store.send(0, [7])
    assert store.send(1, [7]) == [False]
    assert store.send(1, [7]) == [True]


def test_memory_of_recognised_lines_is_bounded_and_forgets_the_oldest() -> None:
    recognised = Recognised()
    for key in range(RECOGNISED_MAX + 10):
        recognised.add(key)
    assert len(recognised._counts) == RECOGNISED_MAX
    assert [recognised.count(key) for key in (0, 9, 10, RECOGNISED_MAX + 9)] == [0, 0, 1, 1]


def test_a_line_recognised_again_is_not_the_oldest_any_more() -> None:
    recognised = Recognised()
    recognised.add(1)
    for key in range(2, repeats.RECOGNISED_MAX + 1):
        recognised.add(key)
    recognised.add(1)
    recognised.add(0)
    assert (recognised.count(1), recognised.count(2)) == (2, 0)
