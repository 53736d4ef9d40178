"""Lines → batches: what is an event, what is metadata, what is refused, and why."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.corpus import recordings
from rrd.wire.careful import MetadataEvent, Rejected
from rrd.wire.documents import is_document
from rrd.wire.events import Batch, check_lines, check_messages
from rrd.wire.forms import begins_document
from tests.wire.packer import pack
from tests.wire.wire_lab import (
    KIB,
    LIMITS,
    LINES,
    MANY_LINES,
    MIB,
    TIME_MAX,
    check_batch,
    event,
    events_of,
    json_text,
    verdict,
)

CUSTOM = b'{"type":5,"timestamp":1,"data":{"tag":"a","payload":1}}'
"""An event that a batch takes the careful way for."""
SPACE = b" \t\r\n\v\f"


def check(*lines: bytes) -> Batch:
    batch = check_lines(lines, LIMITS, first_line=1)
    check_batch(batch)
    assert batch.limit_line == len(lines) + 1
    return batch


def metadata_event(payload: bytes) -> bytes:
    return b'{"type":5,"timestamp":7,"data":{"tag":"recording-meta","payload":%s}}' % payload


# Lines and batches


@given(LINES.filter(lambda line: not (line.lstrip()[:1] == b"[" or is_document(line))))
def test_line_is_what_a_plain_parser_says(line: bytes) -> None:
    batch = check(line)
    kept = events_of(batch)
    match verdict(line):
        case "event":
            assert (kept, batch.metadata, batch.rejected) == ([line], (), ())
        case "metadata":
            assert not kept
            if batch.rejected:
                assert batch.rejected == (Rejected(1, "bad_metadata", line),)
            else:
                assert [(found.line, found.raw) for found in batch.metadata] == [(1, line)]
        case "refused":
            assert not kept
            assert not batch.metadata
            assert [(bad.line, bad.raw) for bad in batch.rejected] == [(1, line)]
        case "not_json":
            # It may be several values, run together, or with commas. Then each is one or the other; nothing
            # but commas is lost.
            parts = [*kept, *(found.raw for found in batch.metadata), *(bad.raw for bad in batch.rejected)]
            passed_over = SPACE + b","
            assert sorted(b"".join(parts).translate(None, passed_over)) == sorted(
                line.translate(None, passed_over)
            )
            assert all(verdict(part) == "event" for part in kept)
            assert line not in kept


@given(MANY_LINES, st.integers(1, 1000))
def test_lines_do_not_affect_their_neighbours(lines: list[bytes], first_line: int) -> None:
    whole = check_lines(lines, LIMITS, first_line=first_line)
    check_batch(whole)
    alone = [check_lines([line], LIMITS, first_line=number) for number, line in enumerate(lines, first_line)]
    assert events_of(whole) == list(chain.from_iterable(map(events_of, alone)))
    assert whole.metadata == tuple(chain.from_iterable(batch.metadata for batch in alone))
    assert whole.rejected == tuple(chain.from_iterable(batch.rejected for batch in alone))
    assert whole.own_ids == any(batch.own_ids for batch in alone)
    assert whole.limit_line == first_line + len(lines)


@given(st.lists(LINES | st.builds(event, st.integers(0, 9)), max_size=8))
def test_fast_path_and_careful_path_agree(lines: list[bytes]) -> None:
    fast = check(*lines)
    careful = check(*lines, CUSTOM)
    assert [*events_of(fast), CUSTOM] == events_of(careful)
    assert fast.rejected == careful.rejected
    assert (fast.metadata, fast.own_ids) == (careful.metadata, careful.own_ids)


@given(MANY_LINES)
def test_payload_given_or_made_is_the_same(lines: list[bytes]) -> None:
    payload = b"".join(line + b"\n" for line in lines)
    batch = check_lines(lines, LIMITS, first_line=1)
    assert check_lines(lines, LIMITS, first_line=1, payload=payload) == batch


@pytest.mark.parametrize("name", recordings())
def test_recordings_pass_untouched(name: str) -> None:
    lines = recordings()[name]
    batch = check(*lines)
    assert events_of(batch) == lines
    assert batch.ordered
    assert (batch.own_ids, batch.metadata, batch.rejected) == (False, (), ())


def test_nothing_makes_an_empty_batch() -> None:
    assert check() == Batch(b"", 0, 0.0, 0.0, True, False, (), (), 1)


def test_blank_lines_are_no_events_but_are_counted() -> None:
    batch = check(b"", event(1), b" \t", b"\r", b"junk", event(2))
    assert events_of(batch) == [event(1), event(2)]
    assert [bad.line for bad in batch.rejected] == [5]


PAGE_EVENTS = st.sampled_from(
    [
        *(b'{"type":%d,"timestamp":1,"data":{"node":{"type":2}}}' % kind for kind in range(9) if kind != 5),
        b'{"data":{"type":4},"timestamp":1,"type":2}',
        b'{"type":2,"timestamp":1,"type":3}',
        b'{"type":3,"timestamp":1,"type":4}',
        b'{"typ\\u0065":2,"timestamp":1}',
        b'{"type":2,"timestamp":1,"sequenceId":3}',
        b'{"type":4,"timestamp":1,"data":"\\ud83d"}',
        b'{"type":2}',
        CUSTOM,
    ]
)


@given(
    st.lists(PAGE_EVENTS, max_size=6),
    st.sampled_from([0, 1, 120, 130, 300]),
    st.sampled_from([0, 1, 127, 128, 129]),
)
def test_batch_tells_whether_a_page_begins_in_it(lines: list[bytes], before: int, after: int) -> None:
    check(*[event(1)] * before, *lines, *[event(2)] * after)


@given(st.lists(st.integers(0, 5), min_size=1))
def test_batch_tells_whether_time_only_goes_forward(stamps: list[int]) -> None:
    batch = check(*map(event, stamps))
    assert (batch.first_ts, batch.last_ts) == (min(stamps), max(stamps))
    assert batch.ordered == (stamps == sorted(stamps))


# Single lines

KEPT = {
    "unknown type": b'{"type":99,"timestamp":1}',
    "negative type": b'{"type":-1,"timestamp":1}',
    "huge type": b'{"type":123456789012345678901234567890,"timestamp":1}',
    "fractional timestamp": b'{"type":3,"timestamp":1700000000000.123}',
    "whole fractional timestamp": b'{"type":3,"timestamp":1.0}',
    "timestamp with exponent": b'{"type":3,"timestamp":1.7e12}',
    "negative timestamp": b'{"type":3,"timestamp":-1}',
    "greatest timestamp": b'{"type":3,"timestamp":%d}' % TIME_MAX,
    "least timestamp": b'{"type":3,"timestamp":-%d}' % TIME_MAX,
    "greatest timestamp with a fraction": b'{"type":3,"timestamp":8640000000000000.0}',
    "no data": b'{"type":3,"timestamp":1}',
    "other members": b'{"type":3,"timestamp":1,"delay":1,"_sid":"x","events":[1]}',
    "space everywhere": b' { "type" : 3 ,\t\r"timestamp" : 1 }\t',
    "annotation": b'{"type":8,"timestamp":1,"data":{"text":"a caption"}}',
    "integer type and events": b'{"events":[{"type":3,"timestamp":2}],"type":3,"timestamp":1}',
    "escaped names": b'{"\\u0074ype":3,"timest\\u0061mp":1}',
    "duplicate members": b'{"type":3,"timestamp":1,"timestamp":2,"data":1,"data":2}',
    "lone high surrogate": b'{"type":3,"timestamp":1,"data":"\\ud83d"}',
    "lone low surrogate": b'{"type":3,"timestamp":1,"data":"\\uDE00"}',
    "surrogates in the wrong order": b'{"type":3,"timestamp":1,"data":"\\ude00\\ud83d"}',
    "high surrogate before a pair": b'{"type":3,"timestamp":1,"data":"\\ud83d\\ud83d\\ude00"}',
    "lone surrogate after a backslash": b'{"type":3,"timestamp":1,"data":"\\\\\\ud83d"}',
    "lone surrogate in a name": b'{"type":3,"timestamp":1,"\\ud83d":1}',
    "backslash and text like a surrogate": b'{"type":3,"timestamp":1,"data":"\\\\ud83d"}',
    "number beyond double range": b'{"type":3,"timestamp":1,"data":1e999}',
    "number of a thousand digits": b'{"type":3,"timestamp":1,"data":' + b"1" * 1000 + b"}",
    "nul escape": b'{"type":3,"timestamp":1,"data":"\\u0000"}',
    "delete character": b'{"type":3,"timestamp":1,"data":"\x7f"}',
    "line separator": b'{"type":3,"timestamp":1,"data":"\xe2\x80\xa8"}',
    "four-byte character": b'{"type":3,"timestamp":1,"data":"\xf0\x9f\x98\x80"}',
}


@pytest.mark.parametrize("line", KEPT.values(), ids=KEPT)
def test_event_is_kept_untouched(line: bytes) -> None:
    assert check(line)[:2] == (line + b"\n", 1)
    assert check(line, CUSTOM).payload == line + b"\n" + CUSTOM + b"\n"


REFUSED = {
    "type is a float": (b'{"type":3.0,"timestamp":1}', "bad_type"),
    "type has an exponent": (b'{"type":3e0,"timestamp":1}', "bad_type"),
    "type is a boolean": (b'{"type":true,"timestamp":1}', "bad_type"),
    "type is text": (b'{"type":"3","timestamp":1}', "bad_type"),
    "type is null": (b'{"type":null,"timestamp":1}', "bad_type"),
    "type beyond all integers": (b'{"type":1e999,"timestamp":1}', "bad_type"),
    "type of five thousand digits": (b'{"type":' + b"1" * 5000 + b',"timestamp":1}', "bad_type"),
    "no type": (b'{"timestamp":1}', "bad_type"),
    "one type of two is bad": (b'{"type":"x","type":3,"timestamp":1}', "bad_type"),
    "timestamp is text": (b'{"type":3,"timestamp":"1"}', "bad_timestamp"),
    "timestamp is a boolean": (b'{"type":3,"timestamp":false}', "bad_timestamp"),
    "timestamp is null": (b'{"type":3,"timestamp":null}', "bad_timestamp"),
    "timestamp too great": (b'{"type":3,"timestamp":%d}' % (TIME_MAX + 1), "bad_timestamp"),
    "timestamp too small": (b'{"type":3,"timestamp":-%d}' % (TIME_MAX + 1), "bad_timestamp"),
    "fractional timestamp too great": (b'{"type":3,"timestamp":8640000000000001.0}', "bad_timestamp"),
    "timestamp beyond 64 bits": (b'{"type":3,"timestamp":99999999999999999999}', "bad_timestamp"),
    "timestamp beyond double range": (b'{"type":3,"timestamp":1e999}', "bad_timestamp"),
    "no timestamp": (b'{"type":3}', "bad_timestamp"),
    "not a number": (b'{"type":3,"timestamp":NaN}', "not_json"),
    "infinity in data": (b'{"type":3,"timestamp":1,"data":Infinity}', "not_json"),
    "array of no events": (b"[1,2]", "not_an_object"),
    "array of what is nearly an event": (b'[{"type":3}]', "bad_timestamp"),
    "array of arrays of arrays": (b'[[[{"type":3,"timestamp":1}]]]', "not_an_object"),
    "array that opens": (b"[", "not_json"),
    "wrapper that opens": (b'{"events":[', "not_json"),
    "wrapper of no events": (b'{"events":[1]}', "not_an_object"),
    "number": (b"3", "not_an_object"),
    "null": (b"null", "not_an_object"),
    "junk": (b"junk", "not_json"),
    "half a byte order mark": (b'\xef\xbb{"type":3,"timestamp":1}', "invalid_utf8"),
    "byte order mark elsewhere": (b' \xef\xbb\xbf{"type":3,"timestamp":1}', "not_json"),
    "cut off": (b'{"type":3,"timestamp":1,"data":{"a":[', "not_json"),
    "comma at the end": (b'{"type":3,"timestamp":1,}', "not_json"),
    "junk behind": (b'{"type":3,"timestamp":1} x', "not_json"),
    "bracket behind": (b'{"type":3,"timestamp":1}]', "not_json"),
    "control character in text": (b'{"type":3,"timestamp":1,"data":"\x01"}', "not_json"),
    "tab in text": (b'{"type":3,"timestamp":1,"data":"\t"}', "not_json"),
    "vertical tab for space": (b'{"type":3,\v"timestamp":1}', "not_json"),
    "unknown escape": (b'{"type":3,"timestamp":1,"data":"\\x41"}', "not_json"),
    "half an escape": (b'{"type":3,"timestamp":1,"data":"\\ud8"}', "not_json"),
    "leading zero": (b'{"type":03,"timestamp":1}', "not_json"),
    "single quotes": (b"{'type':3,'timestamp':1}", "not_json"),
    "invalid UTF-8": (b'{"type":3,"timestamp":1,"data":"\xff"}', "invalid_utf8"),
    "UTF-8 cut off": (b'{"type":3,"timestamp":1,"data":"\xf0\x9f\x98"}', "invalid_utf8"),
    "surrogate in UTF-8": (b'{"type":3,"timestamp":1,"data":"\xed\xa0\xbd"}', "invalid_utf8"),
    "overlong UTF-8": (b'{"type":3,"timestamp":1,"data":"\xc0\xaf"}', "invalid_utf8"),
    "text that is not packed": (b'"hello"', "bad_packed_event"),
}


@pytest.mark.parametrize(("line", "reason"), REFUSED.values(), ids=REFUSED)
def test_bad_line_is_refused_with_its_reason_and_its_neighbours_are_kept(line: bytes, reason: str) -> None:
    batch = check(event(1), line, event(2))
    assert events_of(batch) == [event(1), event(2)]
    assert batch.rejected == (Rejected(2, reason, line),)  # type: ignore[arg-type]  # a literal, in a table


@pytest.mark.parametrize("member", [b'"sequenceId":7', b'"recordingId":"x"', b'"sequence\\u0049d":null'])
def test_events_with_ids_of_their_own_are_told_of(member: bytes) -> None:
    line = b'{"type":3,"timestamp":1,%s}' % member
    assert check(event(1), line).own_ids
    assert not check(event(1), b'{"type":3,"timestamp":1,"data":{%s}}' % member).own_ids


def test_event_may_be_as_large_as_the_limit_and_no_larger() -> None:
    limits = LIMITS._replace(event_bytes_max=500)
    line = event(1, pad="")
    fits, over = (line.replace(b'""', b'"%s"' % (b"x" * (size - len(line)))) for size in (500, 501))
    batch = check_lines([fits, over, event(2)], limits, first_line=1)
    assert events_of(batch) == [fits, event(2)]
    assert batch.rejected == (Rejected(2, "too_large", over),)


def test_utf8_is_checked_across_the_parts_of_a_large_event() -> None:
    for shift in range(4):
        text = b"x" * (MIB - shift - 34) + "😀".encode() * 10
        line = b'{"type":3,"timestamp":1,"data":"%s"}' % text
        assert check(line).event_count == 1
        assert check(line.replace("😀".encode(), b"\xf0\x9f\x98", 1)).rejected[0].reason == "invalid_utf8"


# Several values on a line


@given(
    st.lists(st.sampled_from([event(1), event(2), CUSTOM]), min_size=2), st.sampled_from([b"", b" ", b"\r\t"])
)
def test_events_run_together_are_told_apart(events: list[bytes], between: bytes) -> None:
    assert events_of(check(between.join(events))) == events


def test_run_together_with_lone_surrogates_metadata_packed_and_bad_ones() -> None:
    lone = b'{"type":3,"timestamp":1,"data":"}{\\ud83d"}'
    bad = b'{"type":"x","timestamp":1}'
    batch = check(lone + metadata_event(b'{"a":1}') + bad + pack(event(5)) + event(2))
    assert events_of(batch) == [lone, event(5), event(2)]
    assert [found.values for found in batch.metadata] == [{"a": "1"}]
    assert batch.rejected == (Rejected(1, "bad_type", bad),)


def test_last_of_several_may_be_cut_off() -> None:
    batch = check(event(1) + event(2)[:-1])
    assert events_of(batch) == [event(1)]
    assert batch.rejected == (Rejected(1, "not_json", event(2)[:-1]),)


@pytest.mark.parametrize("junk", [b",x,", b"]", b"x", b":1}", b"[1]"])
def test_line_with_anything_else_between_values_is_refused_as_a_whole(junk: bytes) -> None:
    line = event(1) + junk + event(2)
    assert check(line).rejected == (Rejected(1, "not_json", line),)


# Messages


@given(st.lists(st.lists(LINES | st.just(b""), max_size=4).map(b"\n".join), max_size=6), st.booleans())
def test_end_of_a_message_ends_a_line(messages: list[bytes], break_too: bool) -> None:
    if break_too:
        messages = [message if message.endswith(b"\n") else message + b"\n" for message in messages]
    lines = [line for message in messages for line in message.removesuffix(b"\n").split(b"\n")]
    assume(not any(map(begins_document, messages)))
    batch = check_messages(messages, LIMITS, first_line=3)
    check_batch(batch)
    expected = check_lines(lines, LIMITS, first_line=3)
    assert batch == expected


@pytest.mark.parametrize("name", recordings())
def test_recordings_pass_one_event_a_message(name: str) -> None:
    lines = recordings()[name]
    body = b"\n".join(lines)
    for messages in (lines, [line + b"\n" for line in lines], [body], [body + b"\n"]):
        batch = check_messages(messages, LIMITS, first_line=1)
        assert events_of(batch) == lines
        assert batch.limit_line == len(lines) + 1


# Metadata


def values_of(payload: bytes) -> dict[str, str]:
    batch = check(metadata_event(payload))
    assert not batch.rejected
    assert not batch.event_count
    return batch.metadata[0].values


VALUES = {
    b'"text"': "text",
    b'""': "",
    b"false": "false",
    b"true": "true",
    b"null": "null",
    b"1": "1",
    b"-0": "-0",
    b"1.5": "1.5",
    b"1.50": "1.50",
    b"1E+2": "1E+2",
    b"123456789012345678901234567890": "123456789012345678901234567890",
    b"1e999": "1e999",
    b'{"a": [1]}': '{"a": [1]}',
    b"[]": "[]",
    b'"\\u0041\\n"': "A\n",
    b'"\\ud83d\\ude00"': "😀",
    b'"\\ud83d"': "\ufffd",
    b'"a\\\\ud83d"': "a\\ud83d",
    b'"\xf0\x9f\x98\x80"': "😀",
}


@pytest.mark.parametrize(("value", "text"), VALUES.items())
def test_metadata_values_are_strings_and_numbers_keep_their_digits(value: bytes, text: str) -> None:
    assert values_of(b'{"k":%s}' % value) == {"k": text}
    assert values_of(b'{ "a":1, "k": %s , "z":"\\ud83d"}' % value) == {"a": "1", "k": text, "z": "\ufffd"}


@given(st.dictionaries(st.text(min_size=1, max_size=50), st.text(max_size=200), max_size=20), st.data())
def test_metadata_text_comes_through(values: dict[str, str], data: st.DataObject) -> None:
    assert values_of(data.draw(json_text(values))) == values


def test_metadata_is_kept_in_order_beside_the_events() -> None:
    first, second = metadata_event(b'{"a":1}'), metadata_event(b'{"a":2}')
    batch = check(event(1), first, event(2), second)
    assert events_of(batch) == [event(1), event(2)]
    assert batch.metadata == (MetadataEvent(2, {"a": "1"}, first), MetadataEvent(4, {"a": "2"}, second))


def test_lone_surrogates_elsewhere_do_not_lose_metadata() -> None:
    line = metadata_event(b'{"a":1}').replace(b"{", b'{"\\ud83d":"\\ude00",', 2)
    assert check(line).metadata == (MetadataEvent(1, {"a": "1"}, line),)


def test_tag_may_be_written_with_escapes() -> None:
    line = metadata_event(b'{"a":1}').replace(b"recording-meta", b"recording\\u002dmeta")
    assert check(line).metadata[0].values == {"a": "1"}


@pytest.mark.parametrize("payload", [b"null", b"1", b'"x"', b"[]", b"true"])
def test_metadata_that_is_no_object_is_set_aside(payload: bytes) -> None:
    line = metadata_event(payload)
    assert check(line).rejected == (Rejected(1, "bad_metadata", line),)


def test_metadata_without_a_payload_is_set_aside() -> None:
    line = b'{"type":5,"timestamp":7,"data":{"tag":"recording-meta"}}'
    assert check(line).rejected == (Rejected(1, "bad_metadata", line),)


ORDINARY = [
    b'{"type":5,"timestamp":7,"data":{"tag":"pageview-meta","payload":{"a":1}}}',
    b'{"type":5,"timestamp":7,"data":{"tag":"close-permanent","payload":{}}}',
    b'{"type":5,"timestamp":7,"data":{"tag":"Recording-Meta","payload":{}}}',
    b'{"type":5,"timestamp":7,"data":{"tag":5,"payload":{}}}',
    b'{"type":5,"timestamp":7,"data":{"tag":null}}',
    b'{"type":5,"timestamp":7,"data":{"payload":{"tag":"recording-meta"}}}',
    b'{"type":5,"timestamp":7,"data":{}}',
    b'{"type":5,"timestamp":7,"data":null}',
    b'{"type":5,"timestamp":7,"data":3}',
    b'{"type":5,"timestamp":7,"data":"recording-meta"}',
    b'{"type":5,"timestamp":7,"data":["recording-meta"]}',
    b'{"type":5,"timestamp":7,"tag":"recording-meta","payload":{}}',
    b'{"type":5,"timestamp":7}',
    b'{"type":3,"timestamp":7,"data":{"tag":"recording-meta","payload":{}}}',
    b'{"type":5,"timestamp":7,"data":{"tag":"\\ud83d"}}',
]


@pytest.mark.parametrize("line", ORDINARY)
def test_other_custom_events_are_ordinary(line: bytes) -> None:
    batch = check(line)
    assert (events_of(batch), batch.metadata, batch.rejected) == ([line], (), ())


# Junk


@given(st.lists(st.binary(max_size=30), max_size=5), st.integers(0, 64 * KIB))
def test_junk_is_refused_and_raises_nothing(junk: list[bytes], first_line: int) -> None:
    batch = check_messages([*junk, event(1)], LIMITS, first_line=first_line)
    check_batch(batch)
    assert events_of(batch)[-1] == event(1)
    # The same junk in a batch of its own says the same.
    assert check_messages(junk, LIMITS, first_line=first_line).rejected == batch.rejected


def test_values_run_together_and_values_cut_in_two_do_not_make_up_for_each_other() -> None:
    whole = b'{"type":3,"timestamp":1}'
    batch = check_lines([whole + whole, b'{"type":3,', b'"timestamp":1}'], LIMITS, first_line=1)
    assert (batch.payload, batch.event_count) == ((whole + b"\n") * 2, 2)
    assert [bad.line for bad in batch.rejected] == [2, 3]
