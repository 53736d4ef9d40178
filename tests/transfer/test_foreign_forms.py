"""The forms in which people have events: each gives the same events, and the same id where it names none."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.config import Config
from rrd.ids import RecordingIdForm, parse_recording_id
from rrd.transfer.content_ids import ContentIds
from rrd.transfer.documents import Owner, is_intended
from rrd.transfer.reading import Piece, Source, limits_of, read_pieces
from rrd.transfer.recognise import KINDS, description_of

LIMITS = limits_of(Config())
ID = "3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e6f"
NANOID = "V1StGXR8_Z5jdHi6B-myT"

Lines = Sequence[bytes]


def joined(lines: Lines) -> bytes:
    return b",".join(lines)


def in_string(data: bytes) -> bytes:
    return json.dumps(data.decode()).encode()


# Each holds all events of one recording, and says no id.
FORMS: dict[str, Callable[[Lines], bytes]] = {
    "lines": b"\n".join,
    "lines, CRLF": b"\r\n".join,
    "lines that end with commas": lambda lines: b",\n".join(lines) + b",\n",
    "lines that end with commas, CRLF": b",\r\n".join,
    "array": lambda lines: b"[" + joined(lines) + b"]",
    "nested arrays": lambda lines: b"[[" + joined(lines[:2]) + b"],[],[[" + joined(lines[2:]) + b"]]]",
    "arrays, one a line": lambda lines: b"".join(b"[%s]\n" % line for line in lines),
    "wrapper": lambda lines: b'{"events":[' + joined(lines) + b"]}",
    "wrapper with a type": lambda lines: b'{"type":"batch","events":[' + joined(lines) + b"]}",
    "wrapper with a type behind": lambda lines: b'{"events":[' + joined(lines) + b'],"type":"batch"}',
    "snapshots": lambda lines: b'{"snapshots":[' + joined(lines) + b"]}",
    "wrappers, one a line": lambda lines: b"".join(b'{"events":[%s]}\n' % line for line in lines),
    "array in a string": lambda lines: in_string(b"[" + joined(lines) + b"]"),
    "arrays in strings, one a line": lambda lines: b"\n".join(in_string(b"[%s]" % line) for line in lines),
    "events in strings, one a line": lambda lines: b"\n".join(map(in_string, lines)),
    "events in strings in an array": lambda lines: b"[" + joined([*map(in_string, lines)]) + b"]",
}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": partial(gzip.compress, mtime=0),
    "zlib": zlib.compress,
    "UTF-8 with a mark": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16, little": lambda data: data.decode().encode("utf-16-le"),
    "UTF-16, little, with a mark": lambda data: b"\xff\xfe" + data.decode().encode("utf-16-le"),
    "UTF-16, big": lambda data: data.decode().encode("utf-16-be"),
    "UTF-16, big, with a mark, gzip": lambda data: gzip.compress(
        b"\xfe\xff" + data.decode().encode("utf-16-be")
    ),
}


def event(number: int, text: str = "ä") -> bytes:
    return b'{"type":3,"timestamp":%d,"data":{"text":"%s"}}' % (number, text.encode())


def pieces(data: bytes, *, form: RecordingIdForm = "uuid", step: int = 0) -> list[Piece]:
    chunks = [data[at : at + step] for at in range(0, len(data), step)] if step else [data]
    parse = partial(parse_recording_id, form=form)
    return list(read_pieces(chunks, Source("file", parse), LIMITS))


def owned(data: bytes, *, form: RecordingIdForm = "uuid", step: int = 0) -> dict[Owner, list[bytes]]:
    found: dict[Owner, list[bytes]] = {}
    for piece in pieces(data, form=form, step=step):
        assert not piece.batch.rejected, piece.batch.rejected
        lines = found.setdefault(Owner(piece.recording, piece.window), [])
        lines += [line.rstrip(b"\r") for line in piece.batch.payload.split(b"\n")[:-1]]
    return found


_text = st.text(st.characters(codec="utf-8", exclude_characters='"\\', exclude_categories=["Cc"]), max_size=9)


@given(
    st.lists(st.builds(event, st.integers(0, 99), _text), min_size=3, max_size=8),
    st.sampled_from(sorted(FORMS)),
    st.sampled_from(sorted(PACKED)),
    st.integers(1, 60),
)
def test_every_form_gives_the_same_events_and_the_same_id(
    lines: list[bytes], form: str, packed: str, step: int
) -> None:
    data = PACKED[packed](FORMS[form](lines))
    assert owned(data, step=step) == {Owner(): lines}
    ids, plain = ContentIds(pieces(data)), ContentIds(pieces(b"\n".join(lines)))
    assert ids.id_of(Owner()) == plain.id_of(Owner())
    assert parse_recording_id(ids.id_of(Owner())) is not None


def test_other_events_give_another_id() -> None:
    ids = {ContentIds(pieces(event(number))).id_of(Owner()) for number in range(50)}
    assert len(ids) == 50


WINDOWS: dict[str, Callable[[Lines, Lines], bytes]] = {
    "pairs in an array": lambda a, b: (
        b"[" + joined([b'["a",%s],["b",%s]' % pair for pair in zip(a, b, strict=True)]) + b"]"
    ),
    "pairs, one a line": lambda a, b: b"".join(
        b'["a",%s]\n["b",%s]\n' % pair for pair in zip(a, b, strict=True)
    ),
    "a line for each window": lambda a, b: (
        b'{"window_id":"a","data":[%s]}\n{"window_id":"b","data":[%s]}' % (joined(a), joined(b))
    ),
}


@pytest.mark.parametrize("form", WINDOWS)
def test_each_window_has_a_recording_of_its_own(form: str) -> None:
    first, second = [event(n) for n in range(0, 6, 2)], [event(n) for n in range(1, 7, 2)]
    data = WINDOWS[form](first, second)
    assert owned(data) == owned(data, step=7) == {Owner(None, "a"): first, Owner(None, "b"): second}
    ids = ContentIds(pieces(data))
    assert len({ids.id_of(Owner(None, "a")), ids.id_of(Owner(None, "b"))}) == 2


def test_a_recording_with_an_id_keeps_it_where_it_has_one_window_alone() -> None:
    one = b'{"version":"2023-04-28","data":{"id":"%s","person":{"events":"no"},"snapshots":[%s]}}'
    ids = ContentIds(pieces(one % (ID.encode(), event(1))))
    assert ids.id_of(Owner(ID)) == ID
    lines = [b'{"type":3,"timestamp":%d,"windowId":"%s"}' % (n, b"ab"[n % 2 : n % 2 + 1]) for n in range(4)]
    data = one % (ID.encode(), joined(lines))
    assert set(owned(data, step=11)) == {Owner(ID, "a"), Owner(ID, "b")}
    ids = ContentIds(pieces(data))
    assert len({ID, *(ids.id_of(Owner(ID, window)) for window in "ab")}) == 3


def latin(part: object) -> str:
    return gzip.compress(json.dumps(part).encode()).decode("latin-1")


def test_what_posthog_compressed_is_as_rrweb_made_it() -> None:
    full = {"type": 2, "timestamp": 1, "data": {"node": {"id": 1}, "initialOffset": {"left": 0, "top": 0}}}
    parts: dict[str, object] = {
        "texts": [{"id": 1, "value": "ä"}],
        "attributes": [],
        "removes": [],
        "adds": [1],
    }
    change = {"type": 3, "timestamp": 2, "data": {"source": 0, **parts}}
    sent = [
        {**full, "data": latin(full["data"]), "cv": "2024-10"},
        {**change, "data": {"source": 0, **{k: latin(v) for k, v in parts.items()}}, "cv": "2024-10"},
    ]
    data = json.dumps([["w", event] for event in sent]).encode()
    (lines,) = owned(data).values()
    assert [json.loads(line) for line in lines] == [full, change]


def test_a_compressed_part_beyond_the_limit_leaves_the_event_as_it_is() -> None:
    bomb = {"type": 2, "timestamp": 1, "data": latin("x" * 3_000_000), "cv": "2024-10"}
    limits = LIMITS._replace(event_bytes_max=1_000_000)
    (piece,) = read_pieces([json.dumps(bomb).encode()], Source("file", parse_recording_id), limits)
    assert json.loads(piece.batch.payload) == bomb


def test_the_web_extension_s_session_becomes_id_and_metadata() -> None:
    session = {"id": NANOID, "name": "My rec", "tags": ["a"], "createTimestamp": 7, "recorderVersion": "2"}
    data = json.dumps({"session": session, "events": [{"type": 0, "timestamp": 8}]}, indent=2).encode()
    named, unnamed = pieces(data, form="any"), pieces(data)
    assert {piece.recording for piece in named} == {NANOID}
    assert {piece.recording for piece in unnamed} == {None}
    (metadata,) = [meta for piece in named for meta in piece.batch.metadata]
    assert metadata.values == {"sessionId": NANOID, "name": "My rec", "tags": '["a"]'}


@pytest.mark.parametrize(
    "name", ["snapshots", "recording", "recordings", "export-2024", "my_events", "user-1234"]
)
def test_a_word_names_no_recording(name: str) -> None:
    assert not is_intended(name)
    data = b'{"%s":[%s],"events":[%s]}' % (name.encode(), event(1), event(2))
    assert {owner.recording for owner in owned(data, form="any")} == {None}


@pytest.mark.parametrize("name", [ID, ID.upper(), NANOID])
def test_an_id_names_its_recording(name: str) -> None:
    assert is_intended(name)
    assert set(owned(b'{"%s":[%s]}' % (name.encode(), event(1)), form="any")) == {
        Owner(parse_recording_id(name, "any"))
    }


def test_any_id_of_an_export_is_marked_as_one() -> None:
    assert set(owned(b'{\t"user-1234":[%s]}' % event(1), form="any")) == {Owner("user-1234")}


REFUSED = {
    "an HTML page": b"<!DOCTYPE html><html>",
    "a video": b"\0\0\0\x20ftypisom",
    "a HAR file": b'{"log":{"version":"1.2","entries":[]}}',
    "a tar archive": bytes(257) + b"ustar",
    "a list of recordings, without their events": b'{"recordings":[{"recordingId":"1","links":{}}]}',
    "an error message": b'{"error":{"code":"x"}}',
    "CSV": b"time,type,url\n1,2,3\n",
    "JSON without rrweb events": b'{"hello":[1]}',
    "a SQLite database": b"SQLite format 3\0",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_is_named(kind: str) -> None:
    assert f"this looks like {kind}:" in description_of(REFUSED[kind])
    assert len({kind.name for kind in KINDS}) == len(KINDS)
