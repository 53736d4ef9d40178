"""Files of events, in whatever form, as an import reads them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bench.corpus import lines_of
from rrd.config import Config
from rrd.errors import BrokenEncoding, TooLarge, WireError
from rrd.exchange.lines import _add
from rrd.exchange.reading import Ids, Input, file_limits_of, read_pieces
from rrd.ids import parse_recording_id
from rrd.wire.limits import Limits

LIMITS = file_limits_of(Config())
ID, OTHER = "3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e6f", "3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e70"


def source(
    name: str = "x", *, recording_id: str | None = None, named: str | None = None, ids: Ids = "auto"
) -> Input:
    return Input(name, parse_recording_id, recording_id, named, ids)


def event(number: int, *members: bytes) -> bytes:
    return b",".join([b'{"type":3,"timestamp":%d' % number, *members]) + b"}"


def read(data: bytes, how: Input, *, step: int = 0) -> list[tuple[str | None, bytes]]:
    """Return every event with its recording; what is no event, as b"line N: reason"."""
    chunks = [data[at : at + step] for at in range(0, len(data), step)] if step else [data]
    found: list[tuple[str | None, bytes]] = []
    for piece in read_pieces(chunks, how, LIMITS):
        found += [(piece.recording_id, line) for line in piece.batch.payload.split(b"\n")[:-1]]
        found += [(piece.recording_id, event.raw) for event in piece.batch.metadata]
        found += [
            (piece.recording_id, b"line %d: %s" % (bad.line, bad.reason.encode()))
            for bad in piece.batch.rejected
        ]
    return found


def events(data: bytes, how: Input | None = None, *, step: int = 0) -> list[bytes]:
    return [line for _, line in read(data, how or source(), step=step)]


def until_error(chunks: list[bytes], limits: Limits) -> tuple[list[bytes], WireError | None]:
    found: list[bytes] = []
    try:
        for piece in read_pieces(chunks, source(), limits):
            found += piece.batch.payload.split(b"\n")[:-1]
    except WireError as error:
        return found, error
    return found, None


FORMS: dict[str, Callable[[Sequence[bytes]], bytes]] = {
    "ndjson": lambda lines: b"".join(line + b"\n" for line in lines),
    "ndjson-without-its-last-line-break": b"\n".join,
    "array": lambda lines: b"[" + b",".join(lines) + b"]",
    "array-as-exported": lambda lines: b"[" + b",\n".join(lines) + b"]\n",
    "array-spread-out": lambda lines: b" [\n  " + b" ,\n  ".join(lines) + b"\n]\n",
    "wrapper": lambda lines: b'{"events":[' + b",".join(lines) + b'],"title":"t"}',
    "wrapper-spread-out": lambda lines: b'{\n  "events" : [\n' + b",\n".join(lines) + b"\n]\n}\n",
    "wrapper-with-its-title-first": lambda lines: b'{"title":["[{"],"events":[' + b",".join(lines) + b"]}",
    "arrays-run-together": lambda lines: b"".join(b"[" + line + b"]" for line in lines),
}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".br": lambda data: bytes(brotli.compress(data, quality=1)),
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("form", FORMS)
def test_real_events_come_out_of_every_form(form: str, suffix: str) -> None:
    lines = list(lines_of("data_grid"))[:120]
    assert events(PACKED[suffix](FORMS[form](lines)), source("file" + suffix)) == lines


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compression_shows_in_the_first_bytes_whatever_the_name(suffix: str) -> None:
    assert events(PACKED[suffix](event(1) + b"\n"), source("events.ndjson"), step=1) == [event(1)]


_member = st.sampled_from(
    [
        b'"data":{}',
        b'"data":{"a":[1,{"b":"]}"}]}',
        b'"text":"\\\\\\"[{,"',
        b'"n":-1.5e3',
        '"t":"ä😀"'.encode(),
    ]
)
_event = st.builds(event, st.integers(0, 999), _member, _member)


@given(st.lists(_event, max_size=8), st.sampled_from(sorted(FORMS)), st.integers(1, 40))
def test_events_do_not_depend_on_where_a_file_is_cut_into_chunks(
    lines: list[bytes], form: str, step: int
) -> None:
    data = FORMS[form](lines)
    assert events(data, step=step) == lines


@given(st.dictionaries(st.sampled_from([ID, OTHER]), st.lists(_event, max_size=4)), st.integers(1, 30))
def test_an_object_of_arrays_tells_whose_events_they_are(
    recordings: dict[str, list[bytes]], step: int
) -> None:
    members = [b'"%s":[%s]' % (name.encode(), b",\n".join(lines)) for name, lines in recordings.items()]
    data = b"{" + b",\n".join(members) + b"}\n"
    assert read(data, source(), step=step) == [
        (name, line) for name, lines in recordings.items() for line in lines
    ]


@pytest.mark.parametrize("text", [b"", b"\n", b"[]", b"{}\n", b'{"events":[]}', b"  ", b"\n\n\n"])
def test_a_file_without_events_has_none(text: bytes) -> None:
    assert events(text) == []


def test_a_byte_order_mark_is_no_part_of_the_first_event() -> None:
    assert events(b"\xef\xbb\xbf" + event(1)) == [event(1)]


def test_one_event_spread_over_many_lines_is_one() -> None:
    spread = json.dumps(json.loads(event(7, b'"data":{"a":1}')), indent=2).encode()
    (found,) = events(spread)
    assert json.loads(found) == json.loads(spread)


def test_lines_that_are_no_events_are_told_by_their_number() -> None:
    data = b"\n".join([event(1), b"junk", b"", event(2), b'{"type":3}', b""])
    found = [line for line in events(data) if line.startswith(b"line ")]
    assert found == [b"line 2: not_json", b"line 5: bad_timestamp"]


def test_elements_that_are_no_events_are_told_by_their_number() -> None:
    found = events(b"[" + event(1) + b', 17, "x",' + event(2) + b"]")
    assert found == [event(1), event(2), b"line 2: not_an_object", b"line 3: bad_packed_event"]


def test_an_array_that_is_cut_off_gives_up_its_whole_events() -> None:
    cut = b"[" + event(1) + b"," + event(2) + b',{"type":3,"timest'
    assert events(cut) == [event(1), event(2), b"line 3: not_json"]
    with pytest.raises(BrokenEncoding):
        events(b"[" + event(1))


def test_a_compressed_file_that_is_cut_off_gives_up_its_beginning() -> None:
    lines = [event(number) for number in range(1000)]
    packed = gzip.compress(FORMS["ndjson"](lines))[:-4]
    found, error = until_error([packed], LIMITS)
    assert isinstance(error, BrokenEncoding)
    assert found == lines[: len(found)]


@pytest.mark.parametrize("opening", [b"", b"["])
def test_an_event_over_its_limit_ends_the_file_and_those_before_it_count(opening: bytes) -> None:
    limits = LIMITS._replace(event_bytes_max=1000)
    data = opening + event(1) + b",\n"[not opening :] + event(2, b'"x":"%s"' % (b"y" * 2000))
    found, error = until_error([data[:500], data[500:1500], data[1500:]], limits)
    assert isinstance(error, TooLarge)
    assert found == [event(1)]


# Whose they are

MARKED = _add(event(1), b',"sequenceId":9,"recordingId":"%s"' % ID.encode())
OWN = event(1, b'"recordingId":"%s"' % ID.encode())


@pytest.mark.parametrize(
    ("line", "how", "expected"),
    [
        (event(1), source(), (None, event(1))),
        (event(1), source(named=OTHER), (OTHER, event(1))),
        (MARKED, source(), (ID, event(1))),
        (MARKED, source(named=OTHER), (ID, event(1))),
        (MARKED, source(recording_id=OTHER), (OTHER, event(1))),
        (MARKED, source(recording_id=OTHER, ids="keep"), (OTHER, MARKED)),
        (OWN, source(), (ID, OWN)),
        (OWN, source(named=OTHER), (OTHER, OWN)),
        (OWN, source(ids="strip"), (ID, event(1))),
        (event(1, b'"recordingId":7'), source(), (None, event(1, b'"recordingId":7'))),
        (event(1, b'"data":{"recordingId":"%s"}' % ID.encode()), source(), None),
        (_add(OWN, b',"sequenceId":3'), source(), (ID, OWN)),
        (_add(OWN, b',"sequenceId":3,"inRecording":"%s"' % OTHER.encode()), source(), (OTHER, OWN)),
        (_add(OWN, b',"inRecording":"%s"' % OTHER.encode()), source(named=ID), (OTHER, OWN)),
    ],
)
def test_whose_an_event_is(line: bytes, how: Input, expected: tuple[str | None, bytes] | None) -> None:
    assert read(line + b"\n", how) == [expected or (None, line)]


def test_an_event_that_says_nothing_belongs_to_the_one_before() -> None:
    other = event(3, b'"recordingId":"%s"' % OTHER.encode())
    found = read(b"\n".join([event(0), OWN, event(2), other, event(4)]), source())
    assert [name for name, _ in found] == [None, ID, ID, OTHER, OTHER]


_odd_line = st.builds(
    lambda front, body, back: front + body + back,
    st.sampled_from([b"", b" ", b"\t"]),
    st.builds(
        event,
        st.integers(0, 999),
        st.sampled_from([b'"data":{}', b'"sequenceId":7', b'"a":"\\t,\\"sequenceId\\":1}"', b'"x":1 ']),
        st.sampled_from(
            [b'"data":"\\ud83d"', b'"recordingId":"%s"' % ID.encode(), b'"recordingId":{}', b'"y":1\t']
        ),
    ),
    st.sampled_from([b"", b" ", b" \t"]),
)


@given(_odd_line, st.booleans(), st.booleans())
def test_what_an_export_adds_comes_off_again_and_nothing_else(
    line: bytes, with_sequence: bool, with_recording: bool
) -> None:
    added = b',"sequenceId":18446744073709551615' * with_sequence
    added += b',"recordingId":"%s"' % OTHER.encode() * with_recording
    exported = _add(line, added)
    assert json.loads(exported)["type"] == 3
    assert events(exported + b"\n", source(named=ID)) == [line]
