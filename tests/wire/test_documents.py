"""A JSON document → its events."""

from __future__ import annotations

import json
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.corpus import recordings
from rrd.wire.documents import split_document
from rrd.wire.events import check_lines
from tests.wire.packer import pack
from tests.wire.wire_lab import JSON_VALUES, LIMITS, MIB, event, events_of, good_lines, json_text

LONE = b'{"type":3,"timestamp":1,"data":"\\ud83d}],{[\\""}'
"""With a lone surrogate, which the parser for whole documents refuses."""

WRAPPERS = {
    "array": b"[%s]",
    "array in space": b" \n[ %s ]\r\n",
    "events": b'{"events":[%s]}',
    "events among others": b'{"session":{"type":[]},"events":[%s],"more":"\\"]}"}',
    "events in space": b' { "events" : [ %s ] } ',
    "events behind a lone surrogate": b'{"a":"\\ud83d","events":[%s]}',
    "events before a lone surrogate": b'{"events":[%s],"a":["\\ud83d"]}',
}


def split(document: bytes) -> list[bytes]:
    lines = list(split_document(document))
    assert not any(b"\n" in line for line in lines)
    return lines


@pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("separator", [b",", b" , ", b",\r\n\t"])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_every_shape_gives_its_events_untouched(wrapper: bytes, separator: bytes, count: int) -> None:
    events = [LONE, event(1), pack(event(2)), b'{"events":[1],"type":3,"timestamp":1}', event(3)][:count]
    assert split(wrapper % separator.join(events)) == events
    assert split(wrapper % separator.join(events[1:])) == events[1:]


@given(st.lists(good_lines() | JSON_VALUES.flatmap(json_text), max_size=5), st.data())
def test_elements_are_those_of_a_plain_parser(elements: list[bytes], data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(list(WRAPPERS.values()))).replace(b"%s", b",".join(elements))
    lines = split(document)
    assert lines == [element.strip() for element in elements]
    parsed = json.loads(document)
    assert list(map(json.loads, lines)) == (parsed if isinstance(parsed, list) else parsed["events"])


@pytest.mark.parametrize("name", recordings())
def test_recordings_come_out_of_an_array_untouched(name: str) -> None:
    lines = recordings()[name]
    body = b",".join(lines)
    assert split(b"[" + body + b"]") == lines
    # One lone surrogate, and the whole document takes the other way.
    assert split(b"[" + LONE + b",\n" + body + b"]") == [LONE, *lines]
    assert split(b'{"events":[' + body + b"," + LONE + b"]}") == [*lines, LONE]


SINGLE = {
    "event": event(1),
    "event with a lone surrogate": LONE,
    "event with events": b'{"type":3,"timestamp":1,"events":[{"a":1}]}',
    "event with events first": b'{"events":[{"a":1}],"type":3,"timestamp":1}',
    "event with events first and a lone surrogate": b'{"events":["\\ud83d"],"type":3,"timestamp":1}',
    "events are no array": b'{"events":{"a":1}}',
    "events are an escape away": b'{"event\\u0073":"\\ud83d"}',
    "packed": pack(event(1)),
    "number": b"1",
    "null": b"null",
    "junk": b"junk, [1,2]",
}


@pytest.mark.parametrize("document", SINGLE.values(), ids=SINGLE)
def test_single_value_is_one_line(document: bytes) -> None:
    assert split(document) == [document]
    assert split(b"\n " + document + b"\r\n") == [document]


@pytest.mark.parametrize("text", [b'{\n "type": 3,\r\n "timestamp": 1\n}\n', b'{\n"a":"\\ud83d",\n"type":3}'])
def test_pretty_printed_event_becomes_one_line(text: bytes) -> None:
    assert split(text) == [text.strip().replace(b"\n", b" ")]
    assert split(b"[\n" + text + b",\n" + text + b"]") == split(text) * 2


@pytest.mark.parametrize("document", [b"", b" \n", b"[]", b"[ ]", b'{"events":[]}', b"[,]", b"["])
def test_empty_document_has_no_events(document: bytes) -> None:
    assert split(document) == []


def test_lines_under_the_name_of_json_are_lines() -> None:
    lines = [event(1), LONE, b"junk", pack(event(2)), b'{"cut":', event(3)]
    assert split(b"\n".join(lines)) == lines
    assert split(b"\n".join(lines[3:]) + b"\n") == lines[3:]


def test_documents_run_together_are_told_apart() -> None:
    document = b'[{"a":1},[2]]\n{"events":[3],"x":"\\ud83d"}[4][]{"events":[5]}'
    more = [event(6), LONE, pack(event(7)), event(8)]
    assert split(document + b"".join(more)) == [b'{"a":1}', b"[2]", b"3", b"4", b"5", *more]
    assert split(b"".join(more) + document) == [*more, b'{"a":1}', b"[2]", b"3", b"4", b"5"]


# Damage

EVENTS = [event(1, text=']},{[\\"'), LONE, event(3), event(4)]


@pytest.mark.parametrize("opening", [b"[", b'{"events":[', b'{"a":1,"events": ['])
@given(st.data())
def test_array_cut_off_anywhere_gives_the_whole_events_before_the_cut(
    opening: bytes, data: st.DataObject
) -> None:
    document = opening + b",".join(EVENTS)
    limit = data.draw(st.integers(len(opening), len(document)))
    lines = split(document[:limit])
    whole = [index for index in range(4) if len(opening + b",".join(EVENTS[: index + 1])) <= limit]
    assert lines[: len(whole)] == EVENTS[: len(whole)]
    rest = document[len(opening + b",".join(EVENTS[: len(whole)])) : limit].lstrip(b",").strip()
    assert lines[len(whole) :] == [rest] * bool(rest)


@pytest.mark.parametrize(
    "document", [b"{", b'{"', b'{"events"', b'{"events":', b'{"a":1,"events" : ', b'{"type":']
)
def test_object_cut_off_before_a_value_is_one_line(document: bytes) -> None:
    assert split(document) == [document.strip()]


DAMAGE = {
    "a word": (b"junk", [b"junk"]),
    "words": (b"junk junk", [b"junk", b"junk"]),
    "not a number": (b"NaN", [b"NaN"]),
    "no comma": (event(9) + event(8), [event(9), event(8)]),
    "no element": (b",", []),
    "brackets of two kinds": (b'{"a":[1}}', [b'{"a":[1}}']),
    "an unknown escape": (b'{"a":"\\x"}', [b'{"a":"\\x"}']),
    "a control character": (b'"\x01"', [b'"\x01"']),
    "invalid UTF-8": (b'"\xff"', [b'"\xff"']),
    "a line break in a string": (b'{"a":"x\ny"}', [b'{"a":"x\vy"}']),
    "too deep": (b"[" * 3000 + b"]" * 3000, [b"[" * 3000 + b"]" * 3000]),
}


@pytest.mark.parametrize(("damaged", "lines"), DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("wrapper", [b"[%s]", b'{"events":[%s]}'])
def test_damaged_element_does_not_lose_its_neighbours(
    wrapper: bytes, damaged: bytes, lines: list[bytes]
) -> None:
    found = split(wrapper % b",".join([event(1), damaged, LONE]))
    assert found == [event(1), *lines, LONE]
    batch = check_lines(found, LIMITS, first_line=1)
    assert {event(1), LONE} <= set(events_of(batch))


def test_element_that_does_not_end_takes_the_rest_along() -> None:
    rest = b'{"type":3,"data":[,' + event(2) + b"]"
    assert split(b"[" + event(1) + b"," + rest) == [event(1), rest]


UNFINISHED = st.lists(st.sampled_from([b'{"a":[', b'{"a":{', b'{"cut":', b'{"type":3,"data":{', b"1,", b""]))


@given(UNFINISHED, UNFINISHED, UNFINISHED)
def test_lines_that_do_not_end_are_one_line_up_to_the_next_that_is_whole(
    first: list[bytes], second: list[bytes], third: list[bytes]
) -> None:
    cut = b'{"cut":['
    lines = [cut, *first, event(1), cut, *second, cut, event(2), cut, *third]
    found = split(b"\n".join(lines))
    assert len(found) == 5
    assert found[1::2] == [event(1), event(2)]


TOKENS = st.sampled_from([b"[", b"]", b"{", b"}", b",", b'"', b":", b"1", b"\\", b"\n", b'"events"', b"\xff"])


@given(st.binary(max_size=60) | st.lists(TOKENS).map(b"".join))
def test_junk_raises_nothing_and_nothing_is_invented(document: bytes) -> None:
    lines = split(document)
    assert sum(map(len, lines)) <= len(document)
    stored = check_lines(lines, LIMITS, first_line=1).payload.split(b"\n")[:-1]
    assert all(event in document for event in stored), "the tokens may spell an event"


def test_events_are_taken_out_as_they_are_asked_for() -> None:
    # More commas than the parser may make objects of.
    document = b"[" + b"0," * (2 * MIB) + b"1]"
    assert list(islice(split_document(document), 3)) == [b"0"] * 3
