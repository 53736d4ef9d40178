"""Beginnings are held within bounds, and say the same in any order."""

from __future__ import annotations

import random

from rrd.summary.pieces import BEGINNINGS_MAX, PIECES_MAX, Beginning, Beginnings


def test_the_first_beginnings_are_held_whatever_order_they_came_in() -> None:
    told = [
        Beginning((number // 2, number), number % 2 == 0, f"u{number}")
        for number in range(3 * BEGINNINGS_MAX)
    ]
    mixed = list(told)
    random.Random(1).shuffle(mixed)
    found = [Beginnings(), Beginnings()]
    for beginnings, order in zip(found, (told, mixed), strict=True):
        for each in order:
            beginnings.add(each)
    pieces = [beginnings.pieces() for beginnings in found]
    assert [piece.start for piece in pieces[0].all] == [piece.start for piece in pieces[1].all]
    assert len(pieces[0].all) == PIECES_MAX + 1
    assert pieces[0].last.is_end
