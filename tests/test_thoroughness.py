"""What is tried by default of a large table."""

from __future__ import annotations

import itertools

import pytest

from tests.thoroughness import is_usual


@pytest.mark.parametrize("kinds", range(3, 40))
def test_each_kind_is_tried_in_one_of_three_places_and_each_place_in_its_turn(kinds: int) -> None:
    rows = itertools.product(range(kinds), range(3))
    usual = [row for number, row in enumerate(rows) if is_usual(number)]
    assert usual[0] == (0, 0)
    assert [kind for kind, _ in usual] == list(range(kinds))
    counts = [sum(place == each for _, place in usual) for each in range(3)]
    assert min(counts) >= kinds // 3 - 1
