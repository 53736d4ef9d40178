"""How deep an event may nest: to the level that the setting says, on every way in and out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.exchange.lines import own_recording
from rrd.nesting import PIECE_LEVELS, TooDeep, is_too_deep, outermost, parser_takes, pieces
from rrd.playback.bodies import take_apart
from rrd.segment.format import BlockHeader
from rrd.segment.lines import look_at_lines
from rrd.wire.events import check_lines, check_messages
from rrd.wire.limits import Limits
from tests.wire.packer import pack
from tests.wire.wire_lab import JSON_VALUES, LIMITS, Outcome, decode, json_text, outcome, verdict

SHAPES = {
    "arrays": ("[", "]"),
    "objects": ('{"a":', "}"),
    "page": ('{"type":2,"attributes":{"style":"]}"},"childNodes":[', '],"id":4}'),
    "leaves": ('[{"]":"}"},', ",[]]"),
}
LIMITED = (1_000, 4_096, 10_000)


def event(levels: int, shape: str = "arrays", *, members: str = "") -> bytes:
    """An event of exactly so many levels."""
    opening, closing = SHAPES[shape]
    inside = levels - 1
    if shape == "leaves":
        inside -= 1  # A leaf adds a level to the innermost array.
    each = 2 if shape == "page" else 1
    middle = "[0]" * (inside % each) or "0"
    times = inside // each
    return f'{{"type":3,"timestamp":1,{members}"data":{opening * times}{middle}{closing * times}}}'.encode()


def lines_in(*lines: bytes, limits: Limits) -> Outcome:
    return outcome([check_lines(list(lines), limits, first_line=1)], None)


WAYS_IN: dict[str, Callable[..., Outcome]] = {
    "lines": lines_in,
    "messages": lambda *lines, limits: outcome([check_messages(lines, limits, first_line=1)], None),
    "ndjson": lambda *lines, limits: decode([b"\n".join(lines)], limits=limits),
    "array": lambda *lines, limits: decode([b"[" + b",".join(lines) + b"]"], kind="json", limits=limits),
    "events": lambda *lines, limits: decode(
        [b'{"events":[' + b",".join(lines) + b"]}"], kind="json", limits=limits
    ),
    "binary messages": lambda *lines, limits: decode(lines, limits=limits, messages=True),
    "packed": lambda *lines, limits: lines_in(*map(pack, lines), limits=limits),
}


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize("nesting_max", LIMITED)
def test_the_limit_is_exact_and_the_same_on_every_way_in(way: str, nesting_max: int) -> None:
    limits = LIMITS._replace(nesting_max=nesting_max)
    for shape in SHAPES:
        for members in ("", '"text":"\\ud83d",'):
            fits, over = (event(nesting_max + more, shape, members=members) for more in (0, 1))
            found = WAYS_IN[way](fits, over, limits=limits)
            assert found.events == [fits], (shape, members)
            assert [bad.reason for bad in found.rejected] == ["too_deep"]


def _header(line: bytes) -> BlockHeader:
    return BlockHeader(0, 0, 1, 1, 1.0, 1.0, 1, 0, 0, len(line), 0, 0, 0, 0, 1)


WAYS_OUT: dict[str, Callable[[bytes], object]] = {
    "playback": lambda line: take_apart(line + b"\n", _header(line + b"\n"), timed=True).bodies[0],
    "roll-up": lambda line: look_at_lines(line + b"\n")[0].timestamp,
    "export": own_recording,
}


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("levels", [500, 1_032, 4_096, 10_000, 1_000_000])
def test_whatever_is_taken_can_be_read_on_every_way_out(way: str, levels: int) -> None:
    expected = {"roll-up": 1.0, "export": "mine"}
    for members in ('"recordingId":"mine",', '"recordingId":"mine","text":"\\ud83d",'):
        line = event(levels, members=members)
        assert WAYS_OUT[way](line) == expected.get(way, line[:-1])


@pytest.mark.parametrize("levels", range(880, 1_010, 3))
def test_around_what_the_parser_takes_no_stack_makes_a_difference(levels: int) -> None:
    line = event(levels)
    with ThreadPoolExecutor(1) as pool:
        for frames in (0, 60):
            assert pool.submit(deep, frames, lambda: len(check_lines([line], LIMITS, first_line=1).payload))
            for way in WAYS_OUT.values():
                pool.submit(deep, frames, lambda way=way: way(line)).result()  # type: ignore[misc]


def deep(frames: int, call: Callable[[], object]) -> object:
    """Call from so much deeper a stack."""
    return deep(frames - 1, call) if frames else call()


def test_the_greatest_setting_is_safe_in_a_thread() -> None:
    limits = LIMITS._replace(nesting_max=1_000_000)
    fits, over = event(1_000_000), event(1_000_001)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(lines_in, fits, over, limits=limits).result()
    assert (found.events, [bad.reason for bad in found.rejected]) == ([fits], ["too_deep"])


@pytest.mark.parametrize("nesting_max", [1_000, 3_000])
def test_a_parser_that_takes_more_than_the_setting_changes_nothing(nesting_max: int) -> None:
    # As other interpreters do by themselves.
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        assert parser_takes(nesting_max)
        test_the_limit_is_exact_and_the_same_on_every_way_in("lines", nesting_max)
        test_the_limit_is_exact_and_the_same_on_every_way_in("array", nesting_max)
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.parametrize(
    "inner", [b"[1,]", b'{"a" 1}', b"[}", b'"\\x"', b"01", b"{[]:1}", b"1[]", b"-[0]", b'"a"{}', b"{},", b""]
)
@pytest.mark.parametrize("levels", [PIECE_LEVELS - 2, PIECE_LEVELS, 1_500])
def test_damage_at_any_depth_is_no_json(inner: bytes, levels: int) -> None:
    for nested in (inner, b"[[1]," + inner + b",2]"):
        line = b'{"type":3,"timestamp":1,"data":' + b"[" * levels + nested + b"]" * levels + b"}"
        found = lines_in(line, limits=LIMITS)
        # Nothing between the innermost brackets is an empty array.
        assert not found.events or nested == b""
        assert all(bad.reason == "not_json" for bad in found.rejected)


def test_deep_metadata_is_read_in_full() -> None:
    payload = b'{"userId":"u-1","deep":' + b"[" * 1_500 + b"]" * 1_500 + b"}"
    line = b'{"type":5,"timestamp":1,"d\\u0061ta":{"payload":%s,"tag":"recording-meta"}}' % payload
    found = lines_in(line, limits=LIMITS)
    assert [each.values for each in found.metadata] == [{"userId": "u-1", "deep": "[" * 1_500 + "]" * 1_500}]
    close = b'{"type":5,"timestamp":1,"data":{"tag":"close-permanent","x":' + payload + b"}}"
    assert check_lines([close], LIMITS, first_line=1).closes


@given(JSON_VALUES.flatmap(json_text), st.integers(0, 3), st.integers(0, 450))
def test_pieces_are_valid_exactly_if_the_text_is(value: bytes, cut: int, levels: int) -> None:
    text = b"[" * levels + b'{"a":' + value + b"}" + b"]" * levels
    text = text[: len(text) - cut] if cut else text
    try:
        for piece in pieces(text):
            msgspec.json.decode(piece.replace(b"\\ud", b"\\u0"), type=msgspec.Raw)
        is_valid = True
    except ValueError:
        is_valid = False
    assert is_valid == (verdict(text.replace(b"\\ud", b"\\u0")) != "not_json")


@given(JSON_VALUES.flatmap(json_text), st.integers(2, 1_200))
def test_levels_are_counted_to_the_one(value: bytes, levels: int) -> None:
    text = b"[" * levels + value + b"]" * levels
    depth = open_at_once(text)
    assert not is_too_deep(text, depth)
    if depth > 1 and len(text) > 2 * (depth - 1):
        assert is_too_deep(text, depth - 1)
    list(pieces(text, nesting_max=depth))
    with pytest.raises(TooDeep):
        list(pieces(text, nesting_max=depth - 1))
    assert open_at_once(outermost(text)) <= PIECE_LEVELS + 2


def open_at_once(text: bytes) -> int:
    """How many brackets outside strings are open at once, at most: byte by byte."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in text:
        if in_string:
            in_string, escaped = escaped or byte != ord('"'), not escaped and byte == ord("\\")
        elif byte == ord('"'):
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest
