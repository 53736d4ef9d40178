"""A metadata object → good pairs and bad ones, each by itself."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.wire.events import check_lines
from rrd.wire.metadata import PAIRS_MAX, BadPair, read_metadata
from tests.wire.wire_lab import JSON_VALUES, LIMITS, event, events_of, json_text

GOOD = b'"a":1,"userId":"u"'


def key(text: str) -> bytes:
    return b'{"%s":1}' % text.encode()


def value(text: str) -> bytes:
    return b'{"k":%s}' % text.encode()


AT_THE_LIMIT = {
    "bytes of a key": (key("k" * 256), key("k" * 257), "metadata_key_too_long"),
    "bytes of a key, not characters": (key("é" * 128), key("é" * 128 + "k"), "metadata_key_too_long"),
    "bytes of a key, not escapes": (key("\\u0041" * 256), key("\\u0041" * 257), "metadata_key_too_long"),
    "bytes of a value": (value(f'"{"v" * 4096}"'), value(f'"{"v" * 4097}"'), "metadata_value_too_long"),
    "not characters": (value(f'"{"é" * 2048}"'), value(f'"{"é" * 2048}v"'), "metadata_value_too_long"),
    "bytes of a number": (value("1" * 4096), value("1" * 4097), "metadata_value_too_long"),
    "bytes of an array": (value(f"[{'1' * 4094}]"), value(f"[{'1' * 4095}]"), "metadata_value_too_long"),
    "an empty value, an empty key": (value('""'), key(""), "metadata_key_empty"),
}


@pytest.mark.parametrize(("fits", "over", "reason"), AT_THE_LIMIT.values(), ids=AT_THE_LIMIT)
def test_a_pair_at_a_limit_is_kept_and_one_beyond_it_set_aside_alone(
    fits: bytes, over: bytes, reason: str
) -> None:
    assert len(read_metadata(fits, LIMITS, flat=False).values) == 1
    for payload in (b"{" + GOOD + b"," + over[1:], over[:-1] + b"," + GOOD + b"}"):
        found = read_metadata(payload, LIMITS, flat=False)
        assert found.values == {"a": "1", "userId": "u"}
        assert [(bad.reason, bad.raw) for bad in found.bad] == [(reason, over)]
        assert json.loads(over).keys() == {found.bad[0].key}
        line = b'{"type":5,"timestamp":7,"data":{"tag":"recording-meta","payload":%s}}' % payload
        batch = check_lines([event(1), line], LIMITS, first_line=1)
        assert (events_of(batch), batch.rejected) == ([event(1)], ())
        assert [(each.line, each.values, each.raw, each.bad) for each in batch.metadata] == [
            (2, found.values, line, found.bad)
        ]


@pytest.mark.parametrize("spoilt", [b'"k":"\xff"', b'"k":{"a":"\xff"}', b'"k\xff":1'])
def test_bytes_that_are_no_utf8_lose_their_pair_alone(spoilt: bytes) -> None:
    line = b'{"type":5,"timestamp":7,"data":{"tag":"recording-meta","payload":{%s,%s}}}' % (spoilt, GOOD)
    batch = check_lines([line], LIMITS, first_line=1)
    assert batch.rejected == ()
    assert batch.metadata[0].values == {"a": "1", "userId": "u"}
    assert [bad.raw for bad in batch.metadata[0].bad] == [b"{" + spoilt + b"}"]


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":5,"timestamp":7,"data":{"tag":"recording-meta\xff","payload":{"a":1}}}',
        b'{"type":5,"timestamp":7,"data":{"tag":"close-permanent","payload":"\xff"}}',
    ],
)
def test_other_events_that_are_no_utf8_are_refused(line: bytes) -> None:
    batch = check_lines([line], LIMITS, first_line=1)
    assert [bad.reason for bad in batch.rejected] == ["invalid_utf8"]
    assert not batch.closes


def test_of_a_million_pairs_the_rest_is_set_aside_in_one_piece() -> None:
    payload = b"{" + b",".join(b'"k%d":1' % number for number in range(100_000)) + b"}"
    found = read_metadata(payload, LIMITS, flat=False)
    assert len(found.values) == PAIRS_MAX
    assert [(bad.key, bad.reason) for bad in found.bad] == [(f"k{PAIRS_MAX}", "too_many_metadata_keys")]
    assert len(json.loads(found.bad[0].raw)) == 100_000 - PAIRS_MAX


@pytest.mark.parametrize("text", ["x" * 4097, "é" * 3000, "a" + "é" * 3000, "😀" * 2000])
def test_a_long_value_is_cut_at_the_edge_of_a_character(text: str) -> None:
    limits = LIMITS._replace(metadata_value_too_long="cut")
    found = read_metadata(json.dumps({"k": text}).encode(), limits, flat=True)
    assert found.bad == ()
    assert text.startswith(found.values["k"])
    assert 4096 - 3 <= len(found.values["k"].encode()) <= 4096


@given(st.dictionaries(st.text(min_size=1, max_size=5), JSON_VALUES, max_size=4), st.data())
def test_posted_metadata_is_flat(values: dict[str, object], data: st.DataObject) -> None:
    payload = data.draw(json_text(values))
    nested = {name for name, value in values.items() if isinstance(value, (list, dict))}
    found, every = (read_metadata(payload, LIMITS, flat=flat) for flat in (True, False))
    assert {bad.key for bad in found.bad} == nested
    assert {bad.reason for bad in found.bad} <= {"metadata_value_not_flat"}
    assert found.values == {name: text for name, text in every.values.items() if name not in nested}


NO_METADATA = [
    b"",
    b"x",
    b"[]",
    b'"a"',
    b"null",
    b'{"a":1',
    b'{"a":1}x',
    b'{"a":1}{}',
    b"[" * 9999,
    b'{"a":' * 9999,
]


@pytest.mark.parametrize("payload", NO_METADATA, ids=range(len(NO_METADATA)))
def test_metadata_must_be_one_object(payload: bytes) -> None:
    with pytest.raises(ValueError, match="must be one JSON object"):
        read_metadata(payload, LIMITS, flat=True)


@given(st.binary(max_size=40) | JSON_VALUES.flatmap(json_text))
def test_junk_raises_only_value_errors(payload: bytes) -> None:
    with contextlib.suppress(ValueError):
        found = read_metadata(payload, LIMITS, flat=True)
        assert all(isinstance(text, str) for pair in found.values.items() for text in pair)
        assert all(isinstance(bad, BadPair) for bad in found.bad)
