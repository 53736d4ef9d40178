"""NDJSON cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.errors import TooLarge
from rrd.wire.lines import LineSplitter
from tests.wire.wire_lab import KIB, MIB, cuts, event

BYTES_MAX = 8
TEXT = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\n\n", b"\r\n", b"0123456"]), max_size=30).map(
    b"".join
)


def split(pieces: list[bytes], bytes_max: int) -> tuple[list[bytes], bool]:
    """Return the lines, the last one ended at the end, and whether one was too large."""
    splitter = LineSplitter(line_bytes_max=bytes_max)
    whole = b""
    try:
        for piece in pieces:
            splitter.feed(piece)
            if len(piece) % 2:
                whole += splitter.take()
            assert splitter.whole_bytes + splitter.partial_bytes <= sum(map(len, pieces))
        splitter.end_line()
    except TooLarge:
        return (whole + splitter.take()).split(b"\n")[:-1], True
    assert splitter.partial_bytes == 0
    return (whole + splitter.take()).split(b"\n")[:-1], False


@given(st.data())
def test_lines_do_not_depend_on_cuts(data: st.DataObject) -> None:
    text = data.draw(TEXT)
    expected = text.split(b"\n") if text[-1:] not in {b"", b"\n"} else text.split(b"\n")[:-1]
    too_large = [index for index, line in enumerate(expected) if len(line) > BYTES_MAX]
    pieces = data.draw(cuts(text))
    assert split(pieces, 10**6) == (expected, False)
    assert split(pieces, BYTES_MAX) == (expected[: too_large[0]] if too_large else expected, bool(too_large))


@pytest.mark.parametrize("ending", [b"", b"\n", b"\nmore"])
def test_line_may_be_as_long_as_the_limit_and_no_longer(ending: bytes) -> None:
    good = b"good\n" * 3
    assert split([good + b"x" * 100 + ending], 100)[1] is False
    assert split([good + b"x" * 101 + ending], 100) == ([b"good"] * 3, True)


def test_refused_line_is_not_held() -> None:
    splitter = LineSplitter(line_bytes_max=100)
    with pytest.raises(TooLarge):
        splitter.feed(b"good\n" + b"x" * 101)
    assert splitter.take() == b"good\n"
    splitter.drop_partial()
    assert splitter.partial_bytes == 0


@pytest.mark.timeout(60)  # With a join for each piece it is hours.
def test_line_in_a_million_pieces_costs_no_more_than_its_bytes() -> None:
    splitter = LineSplitter(line_bytes_max=MIB)
    for _ in range(MIB):
        splitter.feed(b"x")
    splitter.feed(b"\n")
    assert splitter.take() == b"x" * MIB + b"\n"


def test_whole_values_end_lines_and_the_rest_waits() -> None:
    splitter = LineSplitter(line_bytes_max=KIB)
    splitter.feed(event(1) + b'"packed"' + event(2) + b" " + event(3)[:-1])
    splitter.end_values()
    assert splitter.take().split(b"\n") == [event(1), b'"packed"', event(2), b""]
    splitter.feed(b"}")
    splitter.end_values()
    assert splitter.take() == event(3) + b"\n"
    assert splitter.partial_bytes == 0


@pytest.mark.parametrize("text", [b"12", b"tru", b"[1]", b"junk {}", b'{"a":1', b'"a', b"\\"])
def test_what_does_not_show_its_end_is_left_alone(text: bytes) -> None:
    splitter = LineSplitter(line_bytes_max=KIB)
    splitter.feed(text)
    splitter.end_values()
    assert splitter.take() == b""
    assert splitter.drop_partial() == text
