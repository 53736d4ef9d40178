"""What is tried of a large table."""

from __future__ import annotations

import itertools

import pytest

from tests.thoroughness import is_tried


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("kinds", range(3, 40))
def test_each_kind_is_tried_in_as_many_places_as_the_level_says_and_each_place_in_its_turn(
    kinds: int, level: int
) -> None:
    rows = itertools.product(range(kinds), range(3))
    tried = [row for number, row in enumerate(rows) if is_tried(number, level=level)]
    assert tried[0] == (0, 0)
    assert [kind for kind, _ in tried] == [kind for kind in range(kinds) for _ in range(level + 1)]
    counts = [sum(place == each for _, place in tried) for each in range(3)]
    assert min(counts) >= (level + 1) * (kinds // 3 - 1)
