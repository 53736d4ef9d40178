"""What the live view takes in, in Node: streams cut anywhere, events in any order, steps of its clock."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.console.units_lab import Units


@pytest.fixture(scope="module")
def units() -> Iterator[Units]:
    made = Units()
    yield made
    made.close()


def parts_of(data: bytes, cuts: list[int]) -> list[str]:
    """Return the data cut at these places, as ``units.mjs`` takes it."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [base64.b64encode(data[start:end]).decode() for start, end in itertools.pairwise(places)]


# A line of a value ends where the stream's line does; all else may be in it.
VALUES = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=12)
MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(["", "end", "overrun"]), st.lists(VALUES, min_size=1, max_size=3), st.booleans()
    ),
    max_size=5,
)
ENDS = ["\n", "\r", "\r\n"]


@given(data=st.data(), messages=MESSAGES, cuts=st.lists(st.integers(0, 500), max_size=12))
def test_a_stream_gives_the_same_messages_wherever_it_is_cut(
    units: Units, data: st.DataObject, messages: list[tuple[str, list[str], bool]], cuts: list[int]
) -> None:
    """All three ends of lines in one stream, a byte order mark, comments, unknown fields."""
    text, last = data.draw(st.sampled_from(["", "\ufeff"])), ""

    def line(words: str) -> str:
        return words + data.draw(st.sampled_from(ENDS))

    for number, (kind, values, has_id) in enumerate(messages, 1):
        text += line(": a comment") + line("retry: 2000") + line("unknown")
        text += line(f"event:{kind}") if kind else ""
        text += "".join(line(f"data: {value}") for value in values)
        text += line(f"id: {number}") if has_id else ""
        # An empty line ends it. What an end of a line followed by one would make of it is no end.
        text += "\n\n" if text.endswith("\n") else "\r\n"
        last = str(number) if has_id else last
    text += "id: 999\ndata: unfinished"
    found = units.do("sse", parts=parts_of(text.encode(), cuts))
    assert found["messages"] == [{"kind": kind or "message", "data": values} for kind, values, _ in messages]
    assert found["lastId"] == last


@pytest.mark.parametrize(
    ("text", "messages", "last"),
    [
        ("data\n\n", [{"kind": "message", "data": [""]}], ""),
        ("data:  two\ndata:x\n\n", [{"kind": "message", "data": [" two", "x"]}], ""),
        ("event: end\n\ndata: 1\n\n", [{"kind": "message", "data": ["1"]}], ""),
        ("id: 7\n\n", [], "7"),
        ("id: 7\ndata: a\n", [], ""),
        ("id: 7\0\n\n", [], ""),
        ("id: 7\n\nid\n\n", [], ""),
        ("event: x\r\rdata: b\r\r", [{"kind": "message", "data": ["b"]}], ""),
        ("id: 8\n\ndata: a\n\n", [{"kind": "message", "data": ["a"]}], "8"),
    ],
)  # fmt: skip
def test_fields_mean_what_the_standard_says(units: Units, text: str, messages: list[Any], last: str) -> None:
    assert units.do("sse", parts=parts_of(text.encode(), [])) == {"messages": messages, "lastId": last}


def event(kind: int, timestamp: float, **data: Any) -> dict[str, Any]:
    return {"type": kind, "timestamp": timestamp, "data": data}


def cut(units: Units, events: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = units.do("pieces", lines=[json.dumps(each) for each in events], options=options)
    return found


META, FULL = 4, 2


def test_a_piece_begins_at_its_meta_event_and_snapshot(units: Units) -> None:
    page = [event(5, 1, tag="early"), event(META, 2, href="https://a.example/"), event(FULL, 3), event(3, 4)]
    checkpoint = [event(META, 9, href="https://a.example/"), event(FULL, 9.5), event(3, 10)]
    other = [event(1, 11), event(META, 12, href="https://a.example/b"), event(3, 13), event(FULL, 12.5)]
    found = cut(units, page + checkpoint + other, keeps=True)
    kinds = [(piece["kind"], piece["from"], piece["snapshot"], piece["to"]) for piece in found["pieces"]]
    assert kinds == [("page", 2, 3, 4), ("checkpoint", 9, 9.5, 11), ("page", 12, 12.5, 13)]
    # A snapshot that arrived late stands behind its Meta event.
    assert found["events"][0] == [page[0], page[1], page[2], page[3]]
    assert found["events"][1] == [*checkpoint, other[0]]
    assert found["events"][2] == [other[1], other[3], other[2]]
    assert found["again"] == found["events"][0]


def test_a_meta_event_whose_snapshot_never_comes_is_the_running_pages(units: Units) -> None:
    first = [event(META, 0, href="a"), event(FULL, 1)]
    lost = [event(META, 10, href="a"), event(3, 11), event(3, 10_500), event(3, 10_600)]
    found = cut(units, first + lost, patienceMs=10_000)
    assert found["events"] == [first + lost]
    assert cut(units, lost, patienceMs=10_000)["pieces"] == []


def test_a_page_without_a_name_that_is_a_text_has_none(units: Units) -> None:
    """No text comes of this object; what a stranger sends must not end the view."""
    found = cut(units, [event(META, 0, href={"toString": 1, "valueOf": 1}), event(FULL, 1)])
    assert [piece["url"] for piece in found["pieces"]] == [""]


def test_there_are_no_more_pieces_than_a_page_can_list(units: Units) -> None:
    pages = [[event(META, 2 * n, href=str(n)), event(FULL, 2 * n + 1)] for n in range(1_002)]
    events = [each for page in pages for each in page]
    found = cut(units, events, keeps=True)
    assert len(found["pieces"]) == 1_000
    assert [each for piece in found["events"] for each in piece] == events


EVENTS = st.lists(
    st.tuples(st.sampled_from([META, FULL, 3, 5, 0]), st.integers(0, 60_000), st.integers(0, 3)), max_size=30
)


@given(rows=EVENTS, patience=st.sampled_from([10_000, 1e12]), keeps=st.booleans())
def test_no_event_behind_the_first_snapshot_is_lost_or_told_twice(
    units: Units, rows: list[tuple[int, int, int]], patience: float, keeps: bool
) -> None:
    events = [event(kind, now, n=n, pad="ö" * 50_000 * size) for n, (kind, now, size) in enumerate(rows)]
    found = cut(units, events, keeps=keeps, patienceMs=patience)
    told = [each["data"]["n"] for piece in found["events"] for each in piece]
    assert len(told) == len(set(told))
    for piece, each in zip(found["pieces"], found["events"], strict=True):
        # Each can be shown by itself.
        kinds = [one["type"] for one in each]
        assert piece["snapshot"] == each[kinds.index(FULL)]["timestamp"]
    if found["pieces"]:
        start = next(n for n, (kind, _, _) in enumerate(rows) if kind == FULL)
        waiting = [n for n, (kind, _, _) in enumerate(rows) if kind == META][-1:]
        expected = {n for n in range(start, len(rows)) if not waiting or n < waiting[0] or waiting[0] < start}
        assert expected <= set(told)
    assert all(piece["to"] >= piece["snapshot"] for piece in found["pieces"])


def test_the_clock_stays_behind_the_visitor_and_never_ahead(units: Units) -> None:
    def step(t: float, newest: float, target: float, *, playing: bool) -> Any:
        state = {"t": t, "newest": newest, "target": target, "isPlaying": playing}
        return units.do("step", state=state)

    # On its way, or a little late: it goes on evenly. Later than that, it jumps.
    assert step(0, 2000, 0, playing=True) is None
    assert step(0, 2000, 400, playing=True) is None
    assert step(0, 2000, 501, playing=True) == {"type": "play", "t": 501}
    # Nothing newer is there: it stands, and goes on with what comes, late or not.
    assert step(2000, 2000, 1900, playing=True) == {"type": "pause", "t": 2000}
    assert step(2000, 2000, 9000, playing=False) is None
    assert step(2000, 2100, 1900, playing=False) == {"type": "play", "t": 2000}
    assert step(2000, 60_000, 59_000, playing=False) == {"type": "play", "t": 59_000}
    assert step(2000, 60_000, 99_000, playing=False) == {"type": "play", "t": 60_000}
