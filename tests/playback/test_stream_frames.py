"""Frames: what a page takes them for, and how large they are."""

from __future__ import annotations

import json
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from rrd.playback.frames import FRAME_BYTES, LINES, SERVER_SENT, Framer, closes_at
from rrd.segment.format import BlockDraft
from tests.http.watchers import Parser
from tests.samples import an_event, dump, ndjson

_SPACES = st.sampled_from(["", " ", "\r", " \r ", "\t"])
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.just("x" * 40_000)


@st.composite
def _lines(draw: st.DrawFn) -> list[bytes]:
    lines = []
    for number in range(draw(st.integers(1, 12))):
        gap = draw(_SPACES)
        data = json.dumps(draw(_TEXTS), ensure_ascii=draw(st.booleans()))
        lines.append(f'{gap}{{{gap}"type":3,{gap}"timestamp":{number},"data":{data}{gap}}}{gap}'.encode())
    return lines


@given(lines=_lines(), skipped=st.integers(0, 11))
def test_a_page_gets_each_event_whatever_its_bytes_are(lines: list[bytes], skipped: int) -> None:
    skipped = min(skipped, len(lines) - 1)
    found = {}
    for form in (SERVER_SENT, LINES):
        draft = BlockDraft(5, len(lines), ndjson(lines), 0.0, 11.0, True, False, 1, 0)
        frames = Framer("r", form).arrived(draft.payload, draft, next_seq=5 + skipped)
        assert [frame.limit_seq for frame in frames] == sorted({frame.limit_seq for frame in frames})
        assert frames[-1].limit_seq == 5 + len(lines)
        found[form.name] = frames
    parser = Parser()
    for frame in found["sse"]:
        parser.feed(frame.data)
        told = parser.told[-1]
        assert told.last_id == str(frame.limit_seq - 1)
        assert len(told.lines) == 1 or len(frame.data) <= FRAME_BYTES + 16 * len(told.lines)
    told_lines = [line for told in parser.told for line in told.lines]
    raw_lines = b"".join(frame.data for frame in found["lines"]).split(b"\n")[:-1]
    for got in (told_lines, raw_lines):
        assert [json.loads(line) for line in got] == [
            {**json.loads(line), "sequenceId": 5 + number, "recordingId": "r"}
            for number, line in enumerate(lines)
            if number >= skipped
        ]


def test_the_end_of_a_page_is_found_whatever_stands_around_it() -> None:
    def close(timestamp: float, tag: str = "close-permanent", kind: int = 5) -> bytes:
        return dump({"type": kind, "timestamp": timestamp, "data": {"tag": tag, "payload": {}}})

    assert closes_at(ndjson([an_event(1), close(5), an_event(7), close(3)])) == 5
    assert closes_at(ndjson([close(2)])) == 2
    assert closes_at(b"") == -inf
    assert closes_at(ndjson([close(2, "close-temporary"), close(3, kind=3)])) == -inf
    assert (
        closes_at(ndjson([an_event(1, text='"close-permanent"'), an_event(2, tag="close-permanent")])) == -inf
    )
