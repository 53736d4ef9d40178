"""Events that a summary counts, and any others, for properties."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from rrd.summary.gather import EventBlock

URLS = st.sampled_from(
    ["https://a.example/", "https://a.example/?token=1", "https://a.example/#x", "https://b.example/p", ""]
)
TIMES = st.one_of(
    st.integers(0, 8),
    st.integers(1, 40).map(lambda step: step * 400),
    st.floats(0, 9_000).map(lambda time: round(time, 1)),
    st.sampled_from([-8.64e15, 8.64e15, -1, -1500.5]),
)
_TAGS = ("pageview-meta", "error", "$exception", "close-permanent", "close-temporary", "page-hidden")
_SNAPSHOT = {"node": {"type": 0, "childNodes": [], "id": 1}, "initialOffset": {"left": 0, "top": 0}}
_META = st.fixed_dictionaries({"href": URLS, "width": st.just(800), "height": st.just(600)})
_CLICK = st.fixed_dictionaries(
    {
        "source": st.just(2),
        "type": st.sampled_from([0, 2, 2, 2, 4]),
        "id": st.just(3),
        "x": st.sampled_from([1, 9.5, 40, 1e300]),
        "y": st.just(2),
    }
)
_INPUT = st.fixed_dictionaries({"source": st.just(5), "id": st.integers(1, 2), "text": st.just("…")})
_OTHER = st.fixed_dictionaries({"source": st.integers(0, 16), "adds": st.just([{"id": 1}])})
_CUSTOM = st.fixed_dictionaries({"tag": st.sampled_from(_TAGS), "payload": st.just({"a": "\ud800"})})
_CONSOLE = st.fixed_dictionaries(
    {
        "plugin": st.sampled_from(["rrweb/console@1", "other"]),
        "payload": st.sampled_from([{"level": "error"}, {"level": "log"}, [1], "error"]),
    }
)
_ODD = [(3, None), (3, "x"), (3, [1]), (3, {"source": "2"}), (99, 7), (4, None), (8, {"tag": "error"})]
DATA: st.SearchStrategy[tuple[int, Any]] = st.one_of(
    st.tuples(st.just(4), _META),
    st.just((2, _SNAPSHOT)),
    st.tuples(st.sampled_from([0, 1]), st.just({})),
    st.tuples(st.just(3), _CLICK),
    st.tuples(st.just(3), _INPUT),
    st.tuples(st.just(3), _OTHER),
    st.tuples(st.just(5), _CUSTOM),
    st.tuples(st.just(6), _CONSOLE),
    st.sampled_from(_ODD),
)
"""Type and data."""


def line_of(timestamp: float, told: tuple[int, Any]) -> bytes:
    """Return an event as one line, escaped as browsers write a lone surrogate."""
    kind, data = told
    return json.dumps({"type": kind, "timestamp": timestamp, "data": data}, separators=(",", ":")).encode()


@st.composite
def recordings(draw: st.DrawFn) -> list[bytes]:
    """Lines by arrival: in order of time, or some of them late, or in any order."""
    told = draw(st.lists(st.tuples(TIMES, DATA), max_size=40))
    order = draw(st.sampled_from(["any", "sorted", "some late"]))
    if order != "any":
        told.sort(key=lambda each: each[0])
    if order == "some late" and told:
        for _ in range(draw(st.integers(1, 3))):
            told.append(told.pop(draw(st.integers(0, len(told) - 1))))
    return [line_of(*each) for each in told]


def blocks_of(lines: list[bytes], sizes: list[int], first_seq: int = 1) -> list[EventBlock]:
    """Cut lines into blocks of these sizes, again and again."""
    blocks: list[EventBlock] = []
    at = 0
    while at < len(lines):
        part = lines[at : at + sizes[len(blocks) % len(sizes)]]
        times = [float(json.loads(line)["timestamp"]) for line in part]
        raw = b"".join(line + b"\n" for line in part)
        blocks.append(EventBlock(first_seq + at, min(times), max(times), raw))
        at += len(part)
    return blocks
