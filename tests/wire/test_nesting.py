"""How deep a line nests."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.wire.events import check_lines
from rrd.wire.nesting import nests_deeper_than
from tests.wire.wire_lab import KIB, LIMITS, MIB

SHAPES: dict[str, Callable[[int, str], str]] = {
    "arrays": lambda levels, core: "[" * levels + core + "]" * levels,
    "objects": lambda levels, core: '{"a":' * levels + core + "}" * levels,
    "mixed": lambda levels, core: (
        "[" * (levels % 2) + '[{"a":' * (levels // 2) + core + "}]" * (levels // 2) + "]" * (levels % 2)
    ),
    "mixed by runs": lambda levels, core: (
        "[" * (levels // 2) + '{"a":' * (levels - levels // 2) + core
        + "}" * (levels - levels // 2) + "]" * (levels // 2)
    ),
    "bushy": lambda levels, core: "[[],{}," * (levels - 1) + "[" + core + "]" + "]" * (levels - 1),
    "bushy behind": lambda levels, core: "[" * levels + core + "]" + ',{"b":0}]' * (levels - 1),
    "several as deep": lambda levels, core: (
        "[" + ("[" * (levels - 1) + core + "]" * (levels - 1) + ",") * 3 + "0]"
    ),
    "one deep among many": lambda levels, core: "[" + "[]," * 5000 + "[" * (levels - 1) + core + "]" * levels,
}  # fmt: skip
CORES = {
    "number": "0",
    "text": '"a"',
    "brackets that pair up": '"[[{{}}]]"',
    "opening brackets": '"[[[[{{{{"',
    "closing brackets": '"]]]]}}}}"',
    "an escaped quote": r'"\"[[[["',
    "an escaped backslash": r'"[[[[\\"',
    "an escaped backslash and quote": r'"\\\"[[[[]"',
    "thousands of opening brackets": '"' + "[" * 3000 + '"',
    "thousands of closing brackets": '"' + "]" * 3000 + '"',
}


@pytest.mark.parametrize("core", CORES.values(), ids=CORES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("levels", [2, 3, 9, 64, 512])
def test_limit_is_exact_and_strings_do_not_count(
    levels: int, shape: Callable[[int, str], str], core: str
) -> None:
    assert not nests_deeper_than(shape(levels, core).encode(), levels)
    assert nests_deeper_than(shape(levels + 1, core).encode(), levels)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_event_at_the_limit_is_kept_and_one_level_more_is_refused(shape: Callable[[int, str], str]) -> None:
    def event(levels: int) -> bytes:
        return b'{"type":3,"timestamp":1,"data":' + shape(levels - 1, '"]}"').encode() + b"}"

    batch = check_lines([event(512), event(513)], LIMITS, first_line=1)
    assert batch.payload == event(512) + b"\n"
    assert [(bad.line, bad.reason) for bad in batch.rejected] == [(2, "too_deep")]


def test_nesting_beyond_the_parser_is_refused_as_too_deep() -> None:
    line = b'{"type":3,"timestamp":1,"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    batch = check_lines([line], LIMITS, first_line=1)
    assert [bad.reason for bad in batch.rejected] == ["too_deep"]


def depth(value: object) -> int:
    inner = list(value.values()) if isinstance(value, dict) else value
    return 1 + max(map(depth, inner), default=0) if isinstance(inner, list) else 0


def nested(text: st.SearchStrategy[str]) -> st.SearchStrategy[object]:
    return st.recursive(
        st.integers() | text,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=40,
    )


@given(nested(st.text('a"\\', max_size=4)), st.integers(0, 8))
def test_it_is_the_depth_of_the_value(value: object, levels: int) -> None:
    assert nests_deeper_than(json.dumps(value).encode(), levels) == (depth(value) > levels)


@given(nested(st.text('a"\\[]{}', max_size=6)), st.integers(0, 8))
def test_strings_never_make_a_line_too_deep(value: object, levels: int) -> None:
    # The converse is not promised: closing brackets in strings may hide levels.
    if nests_deeper_than(json.dumps(value).encode(), levels):
        assert depth(value) > levels


HOSTILE = {
    "groups as deep as allowed": b"[" + b",".join([b"[" * 511 + b"]" * 511] * (16 * KIB)) + b"]",
    "a saw": b"[" + b"[[[[[[[[]]]]]]]]," * MIB + b"0]",
    "pairs": b"[" + b"{}," * (5 * MIB) + b"0]",
    "opening brackets in a string": b'["' + b"[" * (16 * MIB) + b'"]',
    "closing brackets in a string": b'["' + b"]" * (16 * MIB) + b'"]',
    "strings of one bracket": b"[" + b'"[",' * (4 * MIB) + b"0]",
}


@pytest.mark.timeout(60)  # With work by levels it is minutes.
@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_work_grows_with_the_length_alone(line: bytes) -> None:
    assert not nests_deeper_than(line, 512)
