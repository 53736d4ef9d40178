"""Events that ``@rrweb/packer`` has compressed."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.corpus import recordings
from rrd.wire.careful import Rejected
from rrd.wire.events import check_lines
from rrd.wire.packed import unpack
from tests.wire.packer import as_line, pack
from tests.wire.wire_lab import (
    JSON_VALUES,
    KIB,
    LIMITS,
    MIB,
    check_batch,
    event,
    events_of,
    good_lines,
    json_text,
)

MARKED = b'{"type":3,"timestamp":1,"v":"v1"}'


def packed(text: bytes) -> bytes:
    return as_line(zlib.compress(text))


def unpack_any(line: bytes) -> bytes | None:
    return unpack(line, bytes_max=64 * MIB)


@given(good_lines(), st.integers(0, 9))
def test_unpacked_event_is_the_packed_one_byte_for_byte(line: bytes, level: int) -> None:
    event = line.strip()
    assert unpack_any(pack(event, level=level)) == event


@pytest.mark.parametrize("name", recordings())
def test_recordings_come_through_packed(name: str) -> None:
    lines = recordings()[name]
    batch = check_lines([pack(line, level=1) for line in lines], LIMITS, first_line=1)
    assert events_of(batch) == lines


def test_packed_line_begins_as_documented() -> None:
    assert pack(event(1)).startswith(bytes.fromhex("2278c29c"))


@pytest.mark.parametrize("level", range(10))
def test_any_level_of_compression_will_do(level: int) -> None:
    assert unpack_any(pack(event(1), level=level)) == event(1)


def test_escapes_of_another_serializer_will_do() -> None:
    line = json.dumps(zlib.compress(MARKED).decode("latin-1")).encode()
    assert unpack_any(b" " + line + b"\r") == b'{"type":3,"timestamp":1}'


PLACES = {
    "last": (b'{"a":1,"v":"v1"}', b'{"a":1}'),
    "first": (b'{"v":"v1","a":1}', b'{"a":1}'),
    "in the middle": (b'{"a":1,"v":"v1","b":"\\ud83d"}', b'{"a":1,"b":"\\ud83d"}'),
    "alone": (b'{"v":"v1"}', b"{}"),
    "first with space": (b'{ "v" : "v1" , "a":1}', b'{ "a":1}'),
    "last with space": (b'{"a":1, "v" : "v1"\t}', b'{"a":1\t}'),
    "behind one like it inside": (b'{"a":{"v":"v1"},"v":"v1"}', b'{"a":{"v":"v1"}}'),
    "before one like it inside": (b'{"v":"v1","a":{"b":2,"v":"v1"}}', b'{"a":{"b":2,"v":"v1"}}'),
    "before one like it in text": (b'{"v":"v1","a":",\\"v\\":\\"v1\\"}"}', b'{"a":",\\"v\\":\\"v1\\"}"}'),
}


@pytest.mark.parametrize(("text", "expected"), PLACES.values(), ids=PLACES)
def test_mark_is_taken_out_and_nothing_else(text: bytes, expected: bytes) -> None:
    assert unpack_any(packed(text)) == expected


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=4), st.integers(0, 4), st.data())
def test_mark_is_found_among_any_members(values: dict[str, object], place: int, data: st.DataObject) -> None:
    values.pop("v", None)
    members = list(values.items())
    marked = dict([*members[:place], ("v", "v1"), *members[place:]])
    unpacked = unpack_any(packed(data.draw(json_text(marked))))
    assert unpacked is not None
    assert json.loads(unpacked) == values


def test_line_feeds_between_tokens_become_spaces() -> None:
    batch = check_lines([packed(b'{\n"type":3,\r\n"timestamp":1,\n"v":"v1"}')], LIMITS, first_line=1)
    check_batch(batch)
    assert events_of(batch) == [b'{ "type":3,\r "timestamp":1}']


BAD = {
    "plain text": b'"hello"',
    "empty": b'""',
    "characters beyond one byte": '"x\u009c\u0100"'.encode(),
    "lone surrogate": b'"\\ud83d"',
    "text not ended": b'"abc',
    "other JSON behind": pack(event(1)) + b"1",
    "not an object": packed(b'[{"type":3,"timestamp":1},"v1"]'),
    "no mark": packed(event(1)),
    "another version": packed(b'{"type":3,"timestamp":1,"v":"v2"}'),
    "mark inside": packed(b'{"type":3,"timestamp":1,"data":{"v":"v1","a":1}}'),
    "empty stream": as_line(zlib.compress(b"")),
    "gzip": as_line(zlib.compress(MARKED, wbits=31)),
    "raw deflate": as_line(zlib.compress(MARKED, wbits=-15)),
    "stream cut off": as_line(zlib.compress(MARKED)[:-1]),
    "wrong checksum": as_line(zlib.compress(MARKED)[:-1] + b"\x00"),
    "bytes behind the stream": as_line(zlib.compress(MARKED) + b"x"),
    "two streams": as_line(zlib.compress(MARKED) * 2),
    "bytes of UTF-16": '"ab"'.encode("utf-16-le"),
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD)
def test_bad_packed_event_is_set_aside_and_its_neighbours_kept(line: bytes) -> None:
    batch = check_lines([event(1), line, pack(event(2))], LIMITS, first_line=1)
    assert events_of(batch) == [event(1), event(2)]
    assert [(bad.line, bad.raw) for bad in batch.rejected] == [(2, line)]
    assert batch.rejected[0].reason in {"bad_packed_event", "not_json"}


INSIDE = {
    "bad_type": b'{"type":"x","timestamp":1,"v":"v1"}',
    "bad_timestamp": b'{"type":3,"v":"v1"}',
    "not_json": b'{"type":3,"timestamp":1,,"v":"v1"}',
    "invalid_utf8": b'{"type":3,"timestamp":1,"data":"\xff","v":"v1"}',
    "too_deep": b'{"type":3,"timestamp":1,"data":' + b"[" * 20_000 + b"]" * 20_000 + b',"v":"v1"}',
    "bad_metadata": b'{"type":5,"timestamp":1,"data":{"tag":"recording-meta","payload":1},"v":"v1"}',
}


@pytest.mark.parametrize(("reason", "text"), INSIDE.items())
def test_unpacked_event_is_checked_like_any_other(reason: str, text: bytes) -> None:
    line = packed(text)
    batch = check_lines([line, event(1)], LIMITS, first_line=1)
    assert events_of(batch) == [event(1)]
    assert batch.rejected == (Rejected(1, reason, line),)  # type: ignore[arg-type]  # a literal, in a table


def test_line_feed_inside_a_string_stays_invalid() -> None:
    line = packed(b'{"type":3,"timestamp":1,"data":"a\nb","v":"v1"}')
    assert check_lines([line], LIMITS, first_line=1).rejected == (Rejected(1, "not_json", line),)


def test_packed_metadata_is_metadata() -> None:
    text = b'{"type":5,"timestamp":1,"data":{"tag":"recording-meta","payload":{"a":1}}}'
    batch = check_lines([pack(text)], LIMITS, first_line=1)
    assert [(found.values, found.raw) for found in batch.metadata] == [({"a": "1"}, text)]


def test_packed_event_may_unpack_to_the_limit_and_no_further() -> None:
    limits = LIMITS._replace(event_bytes_max=4 * KIB)
    text = b'{"type":3,"timestamp":1,"data":"%s","v":"v1"}'
    fits, over = (packed(text % (b"x" * (size - len(text) + 2))) for size in (4 * KIB, 4 * KIB + 1))
    assert unpack(fits, bytes_max=limits.event_bytes_max) is not None
    batch = check_lines([fits, over, event(2)], limits, first_line=1)
    assert batch.event_count == 2
    assert batch.rejected == (Rejected(2, "bad_packed_event", over),)


@given(st.binary(max_size=60), st.data())
def test_mutated_packed_events_raise_nothing(noise: bytes, data: st.DataObject) -> None:
    stream = zlib.compress(MARKED)
    at = data.draw(st.integers(0, len(stream)))
    line = as_line(stream[:at] + noise + stream[at + data.draw(st.integers(0, 3)) :])
    unpacked = unpack_any(line)
    assert unpacked is None or unpacked == MARKED.replace(b',"v":"v1"', b"")


def test_many_packed_events_unpack_to_no_more_than_one_event_may_have() -> None:
    limits = LIMITS._replace(event_bytes_max=MIB)
    large = event(1, pad="x" * 600_000)
    lines = [pack(large)] * 5 + [event(2)]
    whole = check_lines(lines, limits, first_line=1)
    assert events_of(whole) == [large, large, event(2)]
    assert [(bad.line, bad.reason) for bad in whole.rejected] == [
        (3, "too_large"),
        (4, "too_large"),
        (5, "too_large"),
    ]
    early = check_lines(lines, limits, first_line=1, may_end_early=True)
    assert (events_of(early), early.rejected, early.limit_line) == ([large], (), 2)
    one_line = check_lines([b"".join(lines)], limits, first_line=1)
    assert events_of(one_line) == [large, large, event(2)]
    assert [bad.reason for bad in one_line.rejected] == ["too_large"] * 3
