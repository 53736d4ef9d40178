"""Events moved in time, byte by byte."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from rrd.playback.retime import Retimer
from rrd.playback.splice import JSON_ARRAY, NDJSON

TAIL = b',"sequenceId":7,"recordingId":"r"}\n'


def moved(body: bytes, shift: int | Decimal = -10, *, own: bool = False) -> bytes:
    return b"".join(Retimer("r", NDJSON, shift).splice([body], [7], b"\3" if own else None))


@pytest.mark.parametrize(
    ("body", "out"),
    [
        (b'{"type":3,"data":{"a":[1]},"timestamp":15', b'{"type":3,"data":{"a":[1]},"timestamp":5'),
        (b'{"type":3,"timestamp":15,"data":{}', b'{"type":3,"timestamp":5,"data":{}'),
        (b'{"timestamp":15,"type":3', b'{"timestamp":5,"type":3'),
        (b'{"data":"\\\\","timestamp":15', b'{"data":"\\\\","timestamp":5'),
        # By a walk: spaces, nested or quoted names, escapes.
        (b'{"type":3 , "timestamp" : 15 , "x":1', b'{"type":3,"timestamp" : 5,"x":1'),
        (b'{"data":{"timestamp":1},"timestamp":15', b'{"data":{"timestamp":1},"timestamp":5'),
        (b'{"data":"\\"timestamp\\":1","timestamp":15', b'{"data":"\\"timestamp\\":1","timestamp":5'),
        (b'{"data":"\\ud83d","\\u0074imestamp":15', b'{"data":"\\ud83d","\\u0074imestamp":5'),
        (b'{"a":{"timestamp":1},"timestamp":15,"b":2', b'{"a":{"timestamp":1},"timestamp":5,"b":2'),
    ],
)
def test_other_members_keep_their_bytes(body: bytes, out: bytes) -> None:
    assert moved(body) == out + b',"originalTimestamp":15' + TAIL


@pytest.mark.parametrize(
    ("text", "shift", "new"),
    [
        (b"15.5", -10, b"5.5"),
        (b"1.5e1", -10, b"5"),
        (b"1700000000000.1", -1700000000000, b"0.1"),
        (b"-3", 3, b"0"),
        (b"-0", 1, b"1"),
        (b"2", Decimal("0.3"), b"2.3"),
    ],
)
def test_numbers_are_moved_exactly_and_kept_as_they_were_written(
    text: bytes, shift: int | Decimal, new: bytes
) -> None:
    for body in (b'{"type":3,"timestamp":%b', b'{"timestamp":%b,"type":3'):
        assert moved(body % text, shift) == body % new + b',"originalTimestamp":' + text + TAIL


@pytest.mark.parametrize(
    "members",
    [
        [b'"originalTimestamp":1'],
        [b'"originalTimestamp":1', b'"original\\u0054imestamp":{"a":"}"}'],
        [b'"timestamp":1'],
        [b'"sequenceId":1', b'"sequenceId":[2]'],
        [b'"recordingId":"x"', b'"sequence\\u0049d":null', b'"recordingId":"y"'],
        [b'"\\u0074imestamp":3', b'"data":' + b'{"a":[' * 2500 + b"]}" * 2500],
    ],
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_each_member_of_ours_comes_out_once(members: list[bytes], at: int) -> None:
    others = [b'"type":3', b'"x":1']
    body = b"{" + b", ".join([*others[:at], *members, *others[at:], b'"timestamp":15'])
    line = moved(body, own=True).replace(b'{"a":[' * 2500, b"0").replace(b"]}" * 2500, b"")
    found = json.loads(line, object_pairs_hook=lambda pairs: pairs)
    names = [name for name, _ in found]
    assert len(set(names)) == len(names)
    event = dict(found)
    assert (event["timestamp"], event["originalTimestamp"], event["type"], event["x"]) == (5, 15, 3, 1)
    assert event["sequenceId"] == ([2] if b'"sequenceId":[2]' in members else event["sequenceId"])
    assert event["recordingId"] == ("y" if b'"recordingId":"y"' in members else "r")


def test_a_large_event_is_not_copied() -> None:
    body = b'{"type":2,"data":"' + b"x" * 1_000_000 + b'","timestamp":15'
    pieces = Retimer("r", NDJSON, -10).splice([body], [7], None)
    assert sum(len(piece) for piece in pieces if isinstance(piece, bytes)) < 200
    assert b"".join(pieces) == body[:-2] + b'5,"originalTimestamp":15' + TAIL


def test_events_that_are_not_kept_leave_nothing() -> None:
    retimer = Retimer("r", JSON_ARRAY, 0, keeps=lambda line: b"no" not in line)
    body = b'{"type":3,"data":"%b","timestamp":1'
    assert retimer.splice([body % b"no"], [1], None) == []
    pieces = [JSON_ARRAY.opening, *retimer.splice([body % b"no", body % b"yes"], [1, 2], None)]
    retimer.close(pieces)
    (found,) = json.loads(b"".join(pieces))
    assert found["sequenceId"] == 2
