"""Blocks taken apart."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.playback.bodies import is_plain, take_apart, view
from rrd.playback.splice import OWN_RECORDING, OWN_SEQUENCE
from rrd.segment.format import BlockHeader
from tests.playback.recordings import Block, Line, any_lines, block, draft, line, plain_lines


def header_of(lines: Block, first_seq: int = 1) -> BlockHeader:
    """The header that a block of these lines would have (where it lies in a file doesn't matter here)."""
    made = draft(lines, first_seq)
    return BlockHeader(
        offset=0,
        payload_crc=0,
        event_count=made.event_count,
        first_seq=first_seq,
        first_ts=made.first_ts,
        last_ts=made.last_ts,
        source=1,
        stored_ms=0,
        data_size=0,
        raw_size=len(made.payload),
        notes_size=0,
        notes_raw_size=0,
        duplicate_count=0,
        quarantine_count=0,
        flags=made.ordered * 1 + made.own_ids * 2,
    )


def raw_of(lines: Block) -> bytes:
    return draft(lines, 1).payload


@given(any_lines, st.booleans(), st.integers(1, 2**40))
def test_every_event_comes_once_in_order_with_its_number_and_marks(
    lines: Block, timed: bool, first_seq: int
) -> None:
    header = header_of(lines, first_seq)
    events = take_apart(raw_of(lines), header, timed=timed)
    ordered = sorted(enumerate(lines, first_seq), key=lambda item: item[1].timestamp)
    assert list(events.seqs) == [seq for seq, _ in ordered]
    assert events.bodies == [line.raw.strip()[:-1] for _, line in ordered]
    if header.own_ids:
        assert events.own == bytes(
            OWN_SEQUENCE * line.own_sequence + OWN_RECORDING * line.own_recording for _, line in ordered
        )
    else:
        assert events.own is None
    if timed:
        assert list(events.times) == [line.timestamp for _, line in ordered]


@given(plain_lines, st.integers(0, 300))
def test_views_are_what_copies_are(lines: Block, room: int) -> None:
    header = header_of(lines)
    assert is_plain(header)
    raw = raw_of(lines)
    # What a longer block before it left behind.
    events = view(bytearray(raw + b"{}\n" * room), header)
    assert events._replace(bodies=[bytes(body) for body in events.bodies]) == take_apart(
        raw, header, timed=False
    )


@pytest.mark.parametrize("count", [2, 4])
def test_viewed_lines_are_counted(count: int) -> None:
    lines = block(1, 2, 3)
    with pytest.raises(ValueError, match="header says"):
        view(bytearray(raw_of(lines)), header_of(lines)._replace(event_count=count))


@given(
    st.one_of(
        st.integers(-(864 * 10**13), 864 * 10**13).map(str),
        st.floats(-8.64e15, 8.64e15).map(repr),
        st.from_regex(r"-?[1-9][0-9]{0,14}\.[0-9]{1,25}", fullmatch=True),
    ),
    st.booleans(),
)
def test_timestamps_are_read_to_the_last_bit(text: str, surrogate: bool) -> None:
    tail = b',"a":"\\udfff"}' if surrogate else b"}"
    lines = [Line(b'{"type":3,"timestamp":' + text.encode() + tail, json.loads(text))]
    assert list(take_apart(raw_of(lines), header_of(lines), timed=True).times) == [float(text)]


def test_the_last_of_two_equal_members_counts() -> None:
    # RFC 8259 leaves it open (section 4); parsers agree on the last.
    lines = [
        Line(b'{"timestamp":5,"type":3,"timestamp":2}', 2),
        Line(b'{"type":3,"timestamp":1,"a":"\\ud800","timestamp":3}', 3),
    ]
    assert list(take_apart(raw_of(lines), header_of(lines), timed=True).times) == [2, 3]


def test_deeply_nested_events_are_read() -> None:
    nested = b'"data":' + b"[" * 511 + b"]" * 511
    lines = [
        Line(b'{"type":3,"timestamp":1,' + nested + b"}", 1),
        Line(b'{"type":3,"timestamp":2,"text":"\\ud83d",' + nested + b"}", 2),
    ]
    assert list(take_apart(raw_of(lines), header_of(lines), timed=True).times) == [1, 2]


@pytest.mark.parametrize(
    "changes",
    [{"event_count": 2}, {"event_count": 4}, {"first_ts": 0.5}, {"last_ts": 3.5}],
    ids=str,
)
@pytest.mark.parametrize("pad", [0, 5000])
def test_lines_that_are_not_what_the_header_says_are_refused(changes: dict[str, float], pad: int) -> None:
    lines = block(1, 2, 3, pad=pad)
    header = header_of(lines)._replace(**changes)  # type: ignore[arg-type]  # mixed types in one table
    with pytest.raises(ValueError, match="header says"):
        take_apart(raw_of(lines), header, timed=True)


@pytest.mark.parametrize(
    "bad", [b"", b"[1]", b"{}", b'{"timestamp":"1"}', b'{"timestamp":true}', b'{"timestamp":1', b"\xff"]
)
def test_a_line_that_is_no_event_is_refused(bad: bytes) -> None:
    lines = [line(1), Line(bad, 1)]
    with pytest.raises(ValueError):  # noqa: PT011  # json and UTF-8 errors are ValueErrors of their own
        take_apart(raw_of(lines), header_of(lines), timed=True)
