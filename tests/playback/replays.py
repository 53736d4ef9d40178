"""What a composed replay must be, said the slow and simple way: all events in lists, rule by rule.

Method. Events are parsed by the standard library into lists of members, so that a member that comes twice is
seen. Numbers are fractions.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from tests.playback.recordings import Line, Segment

Members = dict[str, Any]
Numbered = tuple[float, int, Members]
"""Timestamp, sequenceId, and the event."""


def expected(recordings: Mapping[str, Sequence[Segment]], *, gap_max: int = 1000) -> list[Members]:
    """Return the events of a replay of these recordings, by id."""
    groups = []
    for recording_id, segments in recordings.items():
        for group in _groups(_in_order(segments)):
            metas = [event for event in group if event[2]["type"] == 4]
            began = (metas or group)[0]
            groups.append(((began[0], recording_id, began[1]), recording_id, _kept(group)))
    replay: list[Members] = []
    end = moved_end = None
    for _, recording_id, group in sorted(groups, key=lambda entry: entry[0]):
        if not group:
            continue
        start = _exact(group[0][0])
        moved = Fraction(0)
        if end is not None and moved_end is not None:
            moved = moved_end + min(max(start - end, Fraction(1)), Fraction(gap_max))
        for time, seq, event in group:
            replay.append(_moved(event, recording_id, seq, _exact(time) - start + moved))
        end = _exact(group[-1][0])
        moved_end = end - start + moved
    return replay


def parsed(line: bytes) -> Members:
    """Return an event as it was answered; each member must be there once."""
    pairs = json.loads(line, object_pairs_hook=lambda found: found, parse_float=Fraction)
    members = dict(pairs)
    assert len(members) == len(pairs), line
    members["timestamp"] = Fraction(members["timestamp"])
    return members


def _in_order(segments: Sequence[Segment]) -> list[Numbered]:
    lines = [line for blocks in segments for block in blocks for line in block]
    events: list[Numbered] = []
    for seq, line in enumerate(lines, 1):
        pairs = json.loads(line.raw, object_pairs_hook=lambda found: found, parse_float=Fraction)
        events.append((line.timestamp, seq, dict(pairs)))
    return sorted(events, key=lambda event: event[:2])


def _groups(events: list[Numbered]) -> list[list[Numbered]]:
    starts = []
    has_meta = False
    for index, (_, _, event) in enumerate(events):
        if event["type"] == 4:
            first = index
            while first and _leads(events[first - 1][2]):
                first -= 1
            starts.append(first)
            has_meta = True
        elif event["type"] == 2:
            if not has_meta:
                starts.append(index)
            has_meta = False
    starts = [0, *starts[1:], len(events)]
    return [events[start:limit] for start, limit in itertools.pairwise(starts) if start < limit]


def _leads(event: Members) -> bool:
    if event["type"] != 5:
        return event["type"] in {0, 1, 8}
    members: Members = dict(pair for pair in event.get("data") or () if isinstance(pair, tuple))
    return not str(members.get("tag", "")).startswith(("page-", "close-"))


def _kept(group: list[Numbered]) -> list[Numbered]:
    if any(event["type"] == 2 for _, _, event in group):
        return group
    return [entry for entry in group if entry[2]["type"] not in {3, 4, 7}]


def _moved(event: Members, recording_id: str, seq: int, time: Fraction) -> Members:
    ours = {"sequenceId": seq, "recordingId": recording_id}
    return {**ours, **event, "timestamp": time, "originalTimestamp": event["timestamp"]}


def _exact(time: float) -> Fraction:
    return Fraction(Decimal(repr(time)))


_TIMES = st.one_of(
    st.integers(0, 30).map(str),
    st.sampled_from(
        ["0.1", "3e0", "0.30E1", "-0", "7.25", "2.0000000000000004", "1700000000000.1", "5e-7", "8.64e15"]
    ),
)
_DATA = st.sampled_from(
    [
        '{"tag":"page-hidden"}',
        '{"tag":"close-permanent","payload":"\\ud83d"}',
        '{"tag":"pageview"}',
        '{"tag":7}',
        '{"tag":"pa\\u0067e-x"}',
        '{"timestamp":1,"x":"\\"timestamp\\":2"}',
        "null",
        "[[[]]]",
    ]
)
_EXTRA = st.sampled_from(
    ['"originalTimestamp":1', '"original\\u0054imestamp" : [2]', '"delay" :1', '"é":"😀"']
)
_OWN_IDS = st.sampled_from(['"sequenceId":3', '"sequence\\u0049d":{"a":[1]}', '"recordingId": "mine"'])


@st.composite
def _lines(draw: st.DrawFn, *, own: bool) -> Line:
    time = draw(_TIMES)
    event_type = draw(st.sampled_from([0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9]))
    members = [f'"type":{event_type}', f'"timestamp":{time}']
    if event_type == 5 or draw(st.booleans()):
        data = draw(_DATA)
        members.insert(draw(st.integers(0, 2)), f'"data":{data if event_type == 5 else "{}"}')
    if draw(st.integers(0, 3)) == 0:
        members.insert(draw(st.integers(0, len(members))), draw(_EXTRA))
    marks = draw(st.lists(_OWN_IDS, max_size=3)) if own else []
    for text in marks:
        members.insert(draw(st.integers(0, len(members))), text)
    if draw(st.integers(0, 5)) == 0:
        # Twice: the last one counts.
        members.insert(0, '"timestamp":99')
    comma, space = draw(st.sampled_from([",", " , "])), draw(st.sampled_from(["", "", " "]))
    raw = space + "{" + comma.join(members) + space + "}" + space
    return Line(
        raw.encode(),
        float(time),
        any('"sequence' in text for text in marks),
        any('"recordingId' in text for text in marks),
    )


@st.composite
def _blocks(draw: st.DrawFn) -> list[Line]:
    lines = draw(st.lists(_lines(own=draw(st.booleans())), max_size=8))
    return sorted(lines, key=lambda line: line.timestamp) if draw(st.booleans()) else lines


any_replay = st.lists(
    st.lists(st.lists(_blocks(), max_size=4), min_size=1, max_size=3), min_size=1, max_size=3
).map(lambda found: {f"00000000-0000-4000-8000-{number:012x}": each for number, each in enumerate(found)})
"""Recordings by id: segments of blocks of lines."""
