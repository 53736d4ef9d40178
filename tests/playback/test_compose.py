"""Page views found, ordered and moved."""

from __future__ import annotations

from decimal import Decimal

import pytest

from rrd.playback.compose import (
    CHANGE,
    LEADING,
    META,
    OTHER,
    SNAPSHOT,
    Group,
    Grouping,
    compose,
    exact,
    json_number,
    kind_of,
    total,
)


def cut(kinds: str) -> list[str]:
    """Cut a recording of events of these kinds, in this order; groups that are not kept are left out."""
    grouping = Grouping(0)
    groups = [grouping.take((float(at), at), kind.encode()) for at, kind in enumerate(kinds)]
    groups.append(grouping.finish())
    return [kinds[group.first[1] : group.last[1] + 1] for group in groups if group is not None]


@pytest.mark.parametrize(
    ("kinds", "groups"),
    [
        ("msc", ["msc"]),
        ("mscmsc", ["msc", "msc"]),
        ("mscllmsc", ["msc", "llmsc"]),
        ("mscoms", ["msco", "ms"]),  # What says how a page ended is that page's.
        ("mscolms", ["msco", "lms"]),
        ("msclolms", ["msclo", "lms"]),
        ("mscll", ["mscll"]),
        ("cclmsc", ["cclmsc"]),  # All before the first Meta.
        ("scsc", ["sc", "sc"]),  # A snapshot without a Meta stands for one.
        ("mslsc", ["msl", "sc"]),
        ("csms", ["cs", "ms"]),
        ("mmsc", ["msc"]),  # Nothing is left of a Meta alone,
        ("momsc", ["mo", "msc"]),  # but of what is said of its page,
        ("llmms", ["llm", "ms"]),
        ("ccc", []),
        ("cco", ["cco"]),
        ("", []),
    ],
)
def test_a_recording_is_cut_into_page_views(kinds: str, groups: list[str]) -> None:
    assert cut(kinds) == groups


@pytest.mark.parametrize(
    ("event_type", "tag", "kind"),
    [
        (0, "", LEADING),
        (1, "", LEADING),
        (2, "", SNAPSHOT),
        (3, "", CHANGE),
        (4, "", META),
        (5, "pageview-meta", LEADING),
        (5, "page-hidden", OTHER),
        (5, "close-temporary", OTHER),
        (5, "", LEADING),
        (6, "", OTHER),
        (7, "", CHANGE),
        (8, "", LEADING),
        (9, "", OTHER),
        (-1, "", OTHER),
    ],
)
def test_the_kind_of_an_event(event_type: int, tag: str, kind: bytes) -> None:
    assert kind_of(event_type, tag) == kind


def group(recording: int, start: float, end: float, *, began: float | None = None, seq: int = 1) -> Group:
    at = start if began is None else began
    return Group(recording, (start, seq), (end, seq + 1), (at, seq), True, start, end)


def test_gaps_are_kept_within_bounds() -> None:
    groups = [group(0, 100, 200), group(0, 250, 300), group(1, 260, 270), group(0, 5000, 5001)]
    assert [placed.shift for placed in compose(groups, ["a", "b"])] == [-100, -100, -59, -3789]
    assert [placed.shift for placed in compose(groups, ["a", "b"], gap_max_ms=20)][1] == -130


def test_ties_go_by_the_id_of_the_recording_and_then_by_number() -> None:
    groups = [group(0, 1, 2), group(1, 1, 2, seq=5), group(1, 1, 2, seq=3)]
    order = [placed.group for placed in compose(groups, ["b", "a"])]
    assert order == [groups[2], groups[1], groups[0]]


def test_the_meta_and_not_what_stands_before_it_orders_groups() -> None:
    groups = [group(0, 1, 9, began=8), group(1, 2, 3)]
    assert [placed.group.recording for placed in compose(groups, ["a", "b"])] == [1, 0]


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (1700000000000.1, -1700000000000.0, b"0.1"),
        (0.1, 0.2, b"0.3"),
        (8.64e15, 5e-324, None),
        (-0.0, 0.0, b"0"),
        (1e15, 0.5, b"1000000000000000.5"),
        (2.5, 2.5, b"5"),
        (10.0, 0.0, b"10"),
    ],
)
def test_times_are_added_without_rounding(one: float, other: float, text: bytes | None) -> None:
    found = json_number(total(exact(one), exact(other)))
    assert b"e" not in found.lower()
    if text is None:
        assert Decimal(found.decode()) - Decimal(repr(one)) != 0
    else:
        assert found == text
