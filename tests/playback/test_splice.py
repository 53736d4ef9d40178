"""Members spliced into events."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.playback.splice import JSON_ARRAY, NDJSON, OWN_RECORDING, OWN_SEQUENCE, Splicer

BODY = b'{"type":3,"timestamp":1.50'


@pytest.mark.parametrize(
    ("marks", "line"),
    [
        (0, BODY + b',"sequenceId":7,"recordingId":"r-1"}\n'),
        (OWN_SEQUENCE, BODY + b',"recordingId":"r-1"}\n'),
        (OWN_RECORDING, BODY + b',"sequenceId":7}\n'),
        (OWN_SEQUENCE | OWN_RECORDING, BODY + b"}\n"),
    ],
)
def test_only_members_that_an_event_does_not_have_are_added(marks: int, line: bytes) -> None:
    assert b"".join(Splicer("r-1", NDJSON).splice([BODY], [7], bytes([marks]))) == line


def test_events_without_marks_get_both_members() -> None:
    pieces = Splicer("r-1", NDJSON).splice([BODY, b'{"a":1'], range(7, 9), None)
    assert b"".join(pieces) == (
        BODY + b',"sequenceId":7,"recordingId":"r-1"}\n{"a":1,"sequenceId":8,"recordingId":"r-1"}\n'
    )


@given(st.text(), st.sampled_from([0, OWN_SEQUENCE]))
def test_any_recording_id_comes_out_as_itself(recording_id: str, marks: int) -> None:
    line = b"".join(Splicer(recording_id, NDJSON).splice([BODY], [1], bytes([marks])))
    assert json.loads(line)["recordingId"] == recording_id


@given(st.integers(1, 4))
def test_a_closed_array_is_valid_json(count: int) -> None:
    splicer = Splicer("r-1", JSON_ARRAY)
    pieces = [JSON_ARRAY.opening, *splicer.splice([BODY] * count, range(1, count + 1), None)]
    splicer.close(pieces)
    assert [event["sequenceId"] for event in json.loads(b"".join(pieces))] == list(range(1, count + 1))


def test_closed_ndjson_ends_with_one_line_feed() -> None:
    splicer = Splicer("r-1", NDJSON)
    pieces = splicer.splice([BODY, BODY], [1, 2], None)
    splicer.close(pieces)
    text = b"".join(pieces)
    assert text.count(b"\n") == 2
    assert text.endswith(b"}\n")
