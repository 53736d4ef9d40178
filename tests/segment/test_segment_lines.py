"""What packing sees of an event is what the standard library sees, however the line is written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.segment.lines import look_at_lines

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
EVENTS = st.fixed_dictionaries(
    {"type": st.integers(0, 99), "timestamp": st.integers(-(2**53), 2**53) | st.floats(-1e15, 1e15)},
    optional={"data": VALUES, "sequenceId": VALUES, "recordingId": VALUES, "surrogate": st.just("\ud800")},
)


@settings(deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=5), st.booleans(), st.sampled_from(["", " ", "\t "]))
def test_every_line_is_seen_as_it_is(events: list[dict[str, object]], compact: bool, space: str) -> None:
    separators = (",", ":") if compact else None
    lines = [space + json.dumps(event, separators=separators) + space + "\n" for event in events]
    found = look_at_lines("".join(lines).encode())
    assert [(seen.type, seen.timestamp, seen.own_ids) for seen in found] == [
        (event["type"], event["timestamp"], bool(event.keys() & {"sequenceId", "recordingId"}))
        for event in events
    ]


def test_numbers_of_any_length_pass_beside_a_lone_surrogate() -> None:
    line = b'{"type":4,"timestamp":1.5,"x":"\\ud800","y":' + b"1" * 10_000 + b"}\n"
    [seen] = look_at_lines(line)
    assert (seen.type, seen.timestamp, seen.own_ids) == (4, 1.5, False)


NO_EVENTS = {
    "nothing": b"\n",
    "a number": b"5\n",
    "an array": b"[]\n",
    "no timestamp": b'{"type":3}\n',
    "no type": b'{"timestamp":3}\n',
    "a type that is no number": b'{"type":"3","timestamp":3}\n',
    "a time that is no number": b'{"type":3,"timestamp":"3"}\n',
    "a time that is true": b'{"type":3,"timestamp":true,"x":"\\ud800"}\n',
    "cut off": b'{"type":3,"timestamp":3\n',
    "not UTF-8": b'{"type":3,"timestamp":3,"x":"\xff\\ud800"}\n',
    "two on a line and a bad one": b'{"type":3,"timestamp":3}{}\n',
}


@pytest.mark.parametrize("line", NO_EVENTS.values(), ids=NO_EVENTS)
def test_what_is_no_event_is_refused(line: bytes) -> None:
    good = b'{"type":3,"timestamp":3}\n'
    try:
        found = look_at_lines(good + line + good)
    except ValueError:
        return
    # The library passes over empty lines; who counts them notices.
    assert len(found) == 2
    assert line == b"\n"
