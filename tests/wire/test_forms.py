"""Any form under any type that says nothing, in any encoding, cut anywhere: the same events."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.wire.codings import Encoding
from rrd.wire.decoder import ContentKind, Decoder
from rrd.wire.documents import split_document
from rrd.wire.events import Batch, check_lines, check_messages
from rrd.wire.forms import BOM, HEAD_BYTES, form_of
from tests.thoroughness import examples
from tests.wire.packer import pack
from tests.wire.wire_lab import (
    ENCODINGS,
    LIMITS,
    MIB,
    Compressor,
    Outcome,
    compress,
    cuts,
    decode,
    event,
    events_of,
    good_lines,
    pull,
)

pytestmark = pytest.mark.table

LONE = b'{"type":3,"timestamp":9,"data":"\\ud83d"}'


def pretty(indent: int | str) -> Callable[[Sequence[bytes]], bytes]:
    """An array as pretty-printers write it. (Events are re-written, so only some can be compared.)"""
    return lambda lines: json.dumps(list(map(json.loads, lines)), indent=indent).encode()


FORMS: dict[str, Callable[[Sequence[bytes]], bytes]] = {
    "lines": b"\n".join,
    "lines, the last ended": lambda lines: b"".join(line + b"\n" for line in lines),
    "lines ended by CRLF": lambda lines: b"".join(line + b"\r\n" for line in lines),
    "lines, CR at the end": lambda lines: b"\r\n".join(lines) + b"\r",
    "blank lines between": lambda lines: b"\n" + b"\n\r\n\n".join(lines),
    "array": lambda lines: b"[" + b",".join(lines) + b"]",
    "array in space": lambda lines: b" \n[ " + b" , ".join(lines) + b"\n]\n",
    "array on lines": lambda lines: b"[\r\n" + b",\r\n".join(lines) + b"\r\n]\r\n",
    "array, an event a line": lambda lines: b"[" + b",\n".join(lines) + b"]",
    "wrapper": lambda lines: b'{"events":[' + b",".join(lines) + b"]}",
    "wrapper in space": lambda lines: b'{ "events" : [\n' + b",\n".join(lines) + b"\n] }",
    "wrapper with a type of its own": lambda lines: b'{"type":"batch","events":[' + b",".join(lines) + b"]}",
    "wrapper with a type behind": lambda lines: b'{"events":[' + b",".join(lines) + b'],"type":{"a":1}}',
    "wrapper on lines": lambda lines: b'{\n "type": null,\n "events": [\n' + b",\n".join(lines) + b"\n ]\n}",
    "arrays, one a line": lambda lines: b"\n".join(b"[" + line + b"]" for line in lines),
    "wrappers among lines": lambda lines: b"\n".join(
        b'{"type":"x","events":[%s]}' % line if number % 2 else line for number, line in enumerate(lines)
    ),
    "lines ended by commas": lambda lines: b"".join(line + b",\n" for line in lines),
    "lines begun by commas": b"\n,".join,
    "one line, commas between": b", ".join,
    "array of arrays": lambda lines: b"[" + b",".join(b"[" + line + b"]" for line in lines) + b"]",
    "wrapper, another member first": lambda lines: (
        b'{"session":{"id":1},"events":[\n' + b",\n".join(lines) + b"]}"
    ),
    "wrapper, values on lines of their own": lambda lines: (
        b'{"session":\n{"id":1},\n"events":\n[' + b",\n".join(lines) + b"]}"
    ),
    "packed": lambda lines: b"\n".join(map(pack, lines)),
    "array of packed": lambda lines: b"[" + b",".join(map(pack, lines)) + b"]",
}
DOCUMENTS = [name for name in FORMS if "array" in name or "wrapper" in name]
GOOD = good_lines().map(bytes.strip).filter(lambda line: b"recording-meta" not in line)
KINDS: tuple[ContentKind, ...] = ("unstated", "ndjson", "json")


def alone(lines: Sequence[bytes]) -> list[bytes]:
    return events_of(check_lines(list(lines), LIMITS, first_line=1))


def takes(kind: ContentKind, form: str) -> bool:
    """Tell whether a type promises that the form is understood: NDJSON has no documents on several lines."""
    return (
        kind != "ndjson"
        or not (form in DOCUMENTS and b"\n" in FORMS[form]([b"", b""]).strip())
        or form
        in {
            "arrays, one a line",
            "wrappers among lines",
        }
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
@given(lines=st.lists(GOOD, min_size=1, max_size=5), bom=st.booleans(), data=st.data())
@settings(max_examples=examples(15))
def test_any_form_gives_the_same_events_wherever_it_is_cut(
    kind: ContentKind, form: str, lines: list[bytes], bom: bool, data: st.DataObject
) -> None:
    if not takes(kind, form):
        return
    body = BOM * bom + FORMS[form](lines)
    encoding = data.draw(st.sampled_from(ENCODINGS))
    declared = data.draw(st.sampled_from(declarations(encoding)))
    found = decode(data.draw(cuts(compress(encoding, body))), kind=kind, encoding=declared)
    assert (found.error, found.rejected) == (None, [])
    assert found.events == alone(lines)
    assert found == decode([body], kind=kind)


def declarations(encoding: Encoding) -> tuple[Encoding, ...]:
    """Encodings under whose name a stream is understood: all but that brotli must be declared."""
    if encoding == "br":
        return ("br",)
    if encoding == "identity":
        return ENCODINGS
    return ("identity", "gzip", "zstd")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@given(runs=st.lists(st.lists(GOOD, min_size=1, max_size=3), min_size=1, max_size=3), bom=st.booleans())
@settings(max_examples=examples(10))
def test_each_message_of_a_socket_may_have_a_form_of_its_own(
    encoding: Encoding, form: str, runs: list[list[bytes]], bom: bool
) -> None:
    lines = [line for run in runs for line in run]
    bodies = [BOM * bom + FORMS[form](run) for run in runs]
    bodies.insert(1, event(1))
    expected = [*alone(runs[0]), event(1), *alone([line for run in runs[1:] for line in run])]
    for declared in declarations(encoding):
        messages = [compress(encoding, body) for body in bodies]
        found = decode(messages, kind="unstated", encoding=declared, messages=True)
        assert (found.error, found.rejected, found.events) == (None, [], expected)
    # As text, in runs and alone.
    batch = check_messages(bodies, LIMITS, first_line=1)
    assert (batch.rejected, events_of(batch)) == ((), expected)
    assert len(lines) + 1 == len(expected)


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "br"])
@pytest.mark.parametrize("form", ["lines, the last ended", "array", "wrapper", "array on lines"])
def test_one_stream_over_messages_may_hold_documents(encoding: Encoding, form: str) -> None:
    runs = [[event(1), event(2)], [LONE], [event(3)]]
    stream = Compressor(encoding)
    messages = [stream.flushed(FORMS[form](run)) for run in runs]
    for declared in declarations(encoding):
        found = decode([*messages, stream.finish()], kind="unstated", encoding=declared, messages=True)
        assert (found.error, found.rejected) == (None, [])
        assert found.events == [event(1), event(2), LONE, event(3)]
        break


@pytest.mark.parametrize("first", ["gzip", "zstd"])
@pytest.mark.parametrize("second", ENCODINGS)
@given(data=st.data())
@settings(max_examples=examples(10))
def test_what_was_compressed_twice_is_decompressed_twice(
    first: Encoding, second: Encoding, data: st.DataObject
) -> None:
    lines = [event(1), LONE, event(2)]
    body = compress(second, compress(first, FORMS[data.draw(st.sampled_from(list(FORMS)))](lines)))
    found = decode(data.draw(cuts(body)), kind="unstated", encoding=second)
    assert (found.error, found.rejected, found.events) == (None, [], lines)


@given(st.lists(GOOD, max_size=4), st.sampled_from(ENCODINGS), st.data())
@settings(max_examples=examples(60))
def test_good_compression_is_never_taken_for_something_else(
    lines: list[bytes], encoding: Encoding, data: st.DataObject
) -> None:
    body = b"\n".join(lines) * data.draw(st.sampled_from([1, 1, 30, 3000]))
    stream = compress(encoding, body)
    found = decode(data.draw(cuts(stream)), kind="ndjson", encoding=encoding)
    plain = decode([body], kind="ndjson")
    assert found.error is None
    assert (found.events, found.refusals()) == (plain.events, plain.refusals())


@pytest.mark.parametrize("indent", [1, 2, "\t"])
def test_pretty_printed_documents_of_any_type_are_taken(indent: int | str) -> None:
    lines = [event(1, text="]},{"), event(2), event(3)]
    expected = list(map(json.loads, lines))
    single = json.dumps(expected[0], indent=indent).encode()
    wrapped = json.dumps({"session": {"id": 1}, "events": expected}, indent=indent).encode()
    for body, events in ((pretty(indent)(lines), expected), (single, expected[:1]), (wrapped, expected)):
        for text in (body, body.replace(b"\n", b"\r\n")):
            found = decode([text], kind="unstated")
            assert (list(map(json.loads, found.events)), found.rejected) == (events, [])
            batch = check_messages([event(7), text, event(8)], LIMITS, first_line=1)
            assert list(map(json.loads, events_of(batch)[1:-1])) == events


@pytest.mark.parametrize("bad", [b"{", b'{"a":', b"x", b'{"type":3,"timestamp":1', b'{"cut":"', b"}", b","])
def test_a_bad_first_line_does_not_take_the_others_along(bad: bytes) -> None:
    lines = [event(1), event(2), LONE]
    found = decode([bad + b"\n" + b"\n".join(lines)], kind="unstated")
    assert found.events == lines
    assert b"".join(raw for _, raw in found.refusals()) in {bad, b""}


def test_damaged_arrays_give_the_whole_events_before_the_damage() -> None:
    body = FORMS["array"]([event(1), LONE, event(2)])
    for size in range(len(body)):
        found = decode([body[:size]], kind="unstated", cut_off=True)
        assert found.events == [
            line for line in (event(1), LONE, event(2)) if body.index(line) + len(line) <= size
        ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body", [b"[]", b"[ ]\n", b'{"events":[]}', b'{"type":"batch","events":[\n]}', BOM + b"[]"]
)
def test_a_document_without_events_is_no_damage(kind: ContentKind, body: bytes) -> None:
    if kind != "ndjson" or b"\n]" not in body:
        found = decode([body], kind=kind)
        assert (found.error, found.events, found.rejected) == (None, [], [])
    batch = check_messages([event(1), body, event(2)], LIMITS, first_line=1)
    assert (events_of(batch), batch.rejected) == ([event(1), event(2)], ())


@pytest.mark.parametrize("end", [b"", b"\n", b",\n"])
def test_the_form_does_not_depend_on_the_cuts(end: bytes) -> None:
    """What begins beyond the bytes that decide never counts, even if it came with them."""
    for first in (
        b"[",
        b'{"a":',
        b'{"events":[',
        b'{"type":3,"events":[',
        b'{"type":"x","events":[',
        b'{"a":1,"type":4,',
    ):
        for size in (0, 1, HEAD_BYTES - 20, HEAD_BYTES, 2 * HEAD_BYTES):
            text = first + b'"' + b"x" * size + b'"' + end + b'"events":[' + b"1" * 2 * HEAD_BYTES
            forms = {form_of(text[:limit], is_whole=False) for limit in range(2, len(text), 97)}
            assert len(forms - {None}) == 1, (first, size)


# Copies


@given(st.lists(GOOD, min_size=1, max_size=4), st.data())
@settings(max_examples=examples(30))
def test_crlf_and_lf_copies_are_the_same_events(lines: list[bytes], data: st.DataObject) -> None:
    expected = alone(lines)
    for ending in (b"\n", b"\r\n", b"\r\r\n"):
        body = b"".join(line + ending for line in lines)
        for text in (body, body[:-1]):
            assert decode(data.draw(cuts(text)), kind="ndjson").events == expected
            assert events_of(check_messages([text], LIMITS, first_line=1)) == expected
    messages = [line + data.draw(st.sampled_from([b"", b"\r", b"\n", b"\r\n"])) for line in lines]
    batch = check_messages(messages, LIMITS, first_line=1)
    assert events_of(batch) == expected
    assert batch.payload == b"".join(line + b"\n" for line in expected)


def test_metadata_copies_are_one_line() -> None:
    line = b'{"type":5,"timestamp":1,"data":{"tag":"recording-meta","payload":{"a":1}}}'
    for text in (line, line + b"\r", BOM + line, BOM + line + b"\r"):
        assert check_lines([text], LIMITS, first_line=1).metadata[0].raw == line


# Bounds


def test_many_bad_events_of_one_line_are_set_aside_in_few_pieces() -> None:
    line = b"[" + b",".join([event(1), *[b"1"] * 200_000, event(2)]) + b"]"
    batch = check_lines([line], LIMITS, first_line=1)
    assert len(batch.rejected) < 20_000
    assert sum(bad.raw.count(b"1") for bad in batch.rejected) >= 200_000
    assert events_of(batch) == [event(1)] or events_of(batch) == [event(1), event(2)]
    assert [bad.raw for bad in check_lines([b"[1,1,1]"], LIMITS, first_line=1).rejected] == [b"[1,1,1]"]


def test_a_line_that_is_a_document_does_not_make_a_batch_many_times_as_large() -> None:
    lines = [event(number, pad="x" * 1000) for number in range(3000)]
    outcomes: list[Batch] = []
    decoder = Decoder(kind="ndjson", encoding="identity", limits=LIMITS)
    decoder.feed(b"".join(b"[" + b",".join(lines[at : at + 500]) + b"]\n" for at in range(0, 3000, 500)))
    decoder.finish()
    pull(decoder, outcomes)
    assert sum(batch.event_count for batch in outcomes) == 3000
    assert max(len(batch.payload) for batch in outcomes) < MIB


@pytest.mark.parametrize("unit", [b'{"a":[\n', b'{"a":"\n', b"[\n", b'{"events":[\n', b'"\n', b'{"a":1,\n'])
def test_damage_on_every_line_costs_no_more_than_its_bytes(unit: bytes) -> None:
    # Looked for the end of a value in vain on each line, this would take hours.
    count = examples(200_000)
    document = unit * count
    assert sum(1 for _ in split_document(document)) <= count
    assert sum(1 for _ in split_document(document + event(1))) <= count + 1


def test_the_form_shows_within_a_few_kilobytes() -> None:
    assert form_of(b" " * HEAD_BYTES, is_whole=False) == "ndjson"
    assert form_of(b'{"a":"' + b"x" * HEAD_BYTES, is_whole=False) == "ndjson"
    for head in (b"", b"\xef", b"\xef\xbb", BOM, BOM + b" ", b'{"eve', b'{"events" : '):
        assert form_of(head, is_whole=False) is None
    found: list[Outcome] = [decode([b"\n" * 300_000 + event(1)], kind="unstated")]
    assert found[0].events == [event(1)]
