"""A closer look takes and refuses the same lines as a plain one, and sees what counts in any of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.segment.lines import look_at_lines
from rrd.summary.lines import details_of, level_of, look_closely

DEEP = b'{"type":3,"timestamp":5,"data":{"source":2,"type":2,"id":4,"x":7,"deep":%s}}' % (
    b"[" * 3000 + b"]" * 3000
)
LINES = [
    b'{"type":3,"timestamp":1,"data":{"source":2,"type":2,"id":4,"x":7,"y":8}}',
    b'{"timestamp":1.5,"data":null,"type":3,"sequenceId":4}',
    b'{"type":3,"timestamp":1,"data":"text"}',
    b'{"type":3,"timestamp":1,"data":{"source":"2","id":{}}}',
    b'{"type":3,"timestamp":1,"data":{"source":5,"text":"\\ud83d"}}',
    b'{"type":4,"timestamp":1,"data":{"href":"https://a.example/\\ud83d"}}',
    b' {"type":99,"timestamp":-1e3} ',
    DEEP,
]
BAD = [
    b'{"type":3}',
    b"[]",
    b"{",
    b'{"type":"x","timestamp":1}',
    b'{"type":3,"timestamp":1,"data":{"a":\xff"}}',
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("other", [LINES[0], DEEP])
def test_a_closer_look_sees_what_a_plain_one_sees(line: bytes, other: bytes) -> None:
    raw = line + b"\n" + other + b"\n"
    found, plain = look_closely(raw), look_at_lines(raw)
    assert [(event.type, event.timestamp, event.own_ids) for event in found] == [
        (event.type, event.timestamp, event.own_ids) for event in plain
    ]
    data = found[1].data
    assert data is not None
    assert (data.source, data.type, data.id, details_of(other).x) == (2, 2, 4, 7)


@pytest.mark.parametrize("line", BAD)
def test_both_refuse_what_is_no_event(line: bytes) -> None:
    for look in (look_closely, look_at_lines):
        with pytest.raises(ValueError):  # noqa: PT011 - of the parser, of UTF-8, of brackets
            look(line + b"\n")


NAMES = st.sampled_from(["source", "type", "href", "payload", "level", "x"])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
    )
)
def test_data_of_any_form_is_legal(data: object) -> None:
    line = json.dumps({"type": 5, "timestamp": 1, "data": data}).encode()
    (found,) = look_closely(line + b"\n")
    assert (found.type, found.timestamp) == (5, 1)
    assert isinstance(level_of(details_of(line).payload), str)


def test_the_data_of_odd_lines_counts_where_it_has_the_form() -> None:
    found = look_closely(LINES[4] + b"\n" + LINES[3] + b"\n")
    assert found[0].data is not None
    assert (found[0].data.source, found[1].data) == (5, None)
    assert details_of(LINES[5]).href.startswith("https://a.example/")
