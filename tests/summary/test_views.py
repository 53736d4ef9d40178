"""Which pieces are page views, which are checkpoints, and what nothing shows."""

from __future__ import annotations

from rrd.summary.gather import summary_of
from rrd.summary.views import Views, views_of
from tests.samples import dump
from tests.summary.events import blocks_of

A, B = "https://a.example/", "https://b.example/"


def views(*told: object) -> Views:
    """What is told of events, 10 ms apart: an address is a Meta event, a number an event of that type."""
    lines = []
    for number, each in enumerate(told):
        kind, data = (4, {"href": each}) if each in {A, B} else (each, {})
        if isinstance(each, str) and each not in {A, B}:
            kind, data = 5, {"tag": each}
        lines.append(dump({"type": kind, "timestamp": 10 * number, "data": data}))
    return views_of(summary_of(1, lambda: blocks_of(lines, [3])).pieces)


def kinds(*told: object) -> str:
    return "".join("P" if view.is_page else "c" for view in views(*told).all)


def test_a_snapshot_in_the_midst_of_a_page_is_a_checkpoint() -> None:
    assert kinds(A, 2, 3, A, 2, 3) == "Pc"
    assert kinds(A, 2, 3, B, 2, 3, A, 2) == "PPP"
    for mark in (0, 1, "pageview-meta", "close-permanent", "close-temporary"):
        assert kinds(A, 2, 3, mark, A, 2, 3, A, 2) == "PPc"
        assert kinds(A, 2, mark, 3, A, 2) == "PP"
    assert kinds(A, 2, 3, "page-hidden", A, 2) == "Pc"


def test_a_snapshot_alone_begins_what_can_be_shown() -> None:
    found = views(3, 3, 2, 3, 2, 3)
    assert (found.before, [view.is_page for view in found.all]) == (2, [True, False])
    assert [(view.start, view.until, view.snapshot) for view in found.all] == [
        ((20, 3), 40, 20),
        ((40, 5), 50, 40),
    ]


def test_a_page_without_a_snapshot_counts_for_the_one_before() -> None:
    found = views(A, 3, B, 2, A, 3, 3, B, 2)
    assert found.before == 2
    assert [view.counted.events for view in found.all] == [5, 2]
    assert [view.counted.url for view in found.all] == [B, B]
    # It was elsewhere in between.
    assert all(view.is_page for view in found.all)


def test_without_a_snapshot_nothing_can_be_shown() -> None:
    assert views(A, 3, 3) == Views(3, [], 0, closed=False)
    assert views() == Views(0, [], 0, closed=False)


def test_a_page_that_said_that_it_is_over_is_closed_until_another_begins() -> None:
    assert views(A, 2, "close-permanent").closed
    assert not views(A, 2, "close-permanent", A, 2).closed
