"""Where JSON values end."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.wire.values import leading_values, members, one_line, value_end
from tests.wire.wire_lab import JSON_VALUES, MIB, json_text

VALUES = JSON_VALUES.flatmap(json_text)
CONTAINERS = (
    st.lists(JSON_VALUES, max_size=4) | st.dictionaries(st.text(), JSON_VALUES, max_size=4)
).flatmap(json_text)


@given(CONTAINERS, st.sampled_from([b"", b"}", b"]", b"{", b"[", b'"', b",", b" x", b"\\"]))
def test_container_ends_at_its_bracket_whatever_follows(text: bytes, behind: bytes) -> None:
    assert value_end(b"," + text + behind, 1) == len(text) + 1


@given(CONTAINERS | st.text().flatmap(json_text), st.data())
def test_value_cut_off_does_not_end(text: bytes, data: st.DataObject) -> None:
    limit = data.draw(st.integers(1, len(text) - 1))
    assert value_end(text[:limit], 0) is None


@given(st.binary(min_size=1))
def test_any_bytes_have_an_end_that_moves_on_or_none(text: bytes) -> None:
    limit = value_end(text, 0)
    assert limit is None or 0 < limit <= len(text)


@given(
    st.lists(CONTAINERS), st.sampled_from([b"", b" ", b"\r\n\t"]), st.sampled_from([b"", b"1", b"{", b"x{}"])
)
def test_leading_values_stop_at_what_is_no_whole_one(
    values: list[bytes], between: bytes, rest: bytes
) -> None:
    text = between.join([*values, rest])
    assert [text[start:limit] for start, limit in leading_values(text, b"{[")] == values


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=5), st.data())
def test_members_are_those_of_the_object(value: dict[str, object], data: st.DataObject) -> None:
    text = b"[" + data.draw(json_text(value)) + b"]"
    found = list(members(text, 1))
    assert {
        json.loads(b'"' + member.name + b'"'): json.loads(text[member.value : member.limit])
        for member in found
    } == value
    # Each begins where the one before it ended.
    assert [member.start for member in found] == [2, *(member.limit for member in found)][: len(found)]


@given(VALUES, st.data())
def test_one_line_is_the_same_value(text: bytes, data: st.DataObject) -> None:
    broken = text.replace(b",", data.draw(st.sampled_from([b",\n", b"\r\n,", b"\n,\n"])))
    if data.draw(st.booleans()):
        broken = b"\n" + broken + b"\r\n "
    line = one_line(broken)
    assert b"\n" not in line
    try:
        expected = json.loads(broken)
    except ValueError:
        # The comma stood in a string.
        with pytest.raises(json.JSONDecodeError):
            json.loads(line)
    else:
        assert json.loads(line) == expected


CUT_OFF: dict[bytes, list[int | None]] = {
    b"{": [],
    b'{"': [],
    b'{"a"': [],
    b'{"a":': [None],
    b'{"a":[1': [None],
    b'{"a":1,': [6],
    b'{"a":1,"b":': [6, None],
}


@pytest.mark.parametrize(("text", "limits"), CUT_OFF.items())
def test_members_end_with_one_that_is_cut_off(text: bytes, limits: list[int | None]) -> None:
    assert [member.limit for member in members(text, 0)] == limits


HOSTILE = {
    "opening brackets": b"[" * (8 * MIB),
    "objects in objects": b'{"a":' * MIB,
    "an open string at the end of many": b'["' + b'a","' * (2 * MIB),
    "escaped quotes": b'["' + b'\\"' * (4 * MIB),
    "arrays that never end": b"[" + b"[]," * (2 * MIB),
    "brackets with junk between": b"[0" * (512 << 10),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_looked_at_a_fixed_number_of_times(text: bytes) -> None:
    assert value_end(text, 0) is None
