"""The forms in which people have events: each gives the same events, and the same id where it names none."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from rrd.config import Config
from rrd.exchange.foreign import ForeignFile
from rrd.exchange.origins import is_random, window_id
from rrd.exchange.reading import Input, file_limits_of, read_pieces
from rrd.exchange.spool import BodySpool, Bundle
from rrd.ids import RecordingIdForm, parse_recording_id

LIMITS = file_limits_of(Config())
ID = "3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e6f"
WINDOW, OTHER_WINDOW = "0190c1d2-aaaa-7bbb-8ccc-0123456789ab", "0190c1d2-bbbb-7bbb-8ccc-0123456789ab"
NANOID = "V1StGXR8_Z5jdHi6B-myT"

Lines = Sequence[bytes]
Events = list[dict[str, Any]]


def joined(lines: Lines) -> bytes:
    return b",".join(lines)


def in_string(data: bytes) -> bytes:
    return json.dumps(data.decode()).encode()


def packed(line: bytes) -> bytes:
    marked = line[:-1] + b',"v":"v1"}'
    return json.dumps(zlib.compress(marked).decode("latin-1"), ensure_ascii=False).encode()


def spread_out(lines: Lines) -> bytes:
    return json.dumps([json.loads(line) for line in lines], indent=2, ensure_ascii=False).encode()


def with_blanks(lines: Lines) -> bytes:
    return json.dumps([json.loads(line) for line in lines], ensure_ascii=False).encode()


# Each holds all events of one recording, and says no id.
FORMS: dict[str, Callable[[Lines], bytes]] = {
    "lines": b"\n".join,
    "lines, CRLF": b"\r\n".join,
    "lines that end with commas": lambda lines: b",\n".join(lines) + b",\n",
    "lines that end with commas, CRLF": b",\r\n".join,
    "lines run together": b"".join,
    "lines in brackets": lambda lines: b"[\n" + b",\n".join(lines) + b"\n]",
    "array": lambda lines: b"[" + joined(lines) + b"]",
    "array, spread out for people": spread_out,
    "array with a serialiser's blanks": with_blanks,
    "array with a comma too many": lambda lines: b"[" + joined(lines) + b",]",
    "nested arrays": lambda lines: b"[[" + joined(lines[:2]) + b"],[],[[" + joined(lines[2:]) + b"]]]",
    "arrays, one a line": lambda lines: b"".join(b"[%s]\n" % line for line in lines),
    "wrapper": lambda lines: b'{"events":[' + joined(lines) + b"]}",
    "wrapper with a type": lambda lines: b'{"type":"batch","events":[' + joined(lines) + b"]}",
    "wrapper with a type behind": lambda lines: b'{"events":[' + joined(lines) + b'],"type":"batch"}',
    "wrapper of an unknown name": lambda lines: b'{"stuff":[1],"whatever":[' + joined(lines) + b"]}",
    "wrapper in wrappers": lambda lines: b'{"result":{"recording":{"events":[' + joined(lines) + b"]}}}",
    "snapshots": lambda lines: b'{"snapshots":[' + joined(lines) + b"]}",
    "wrappers, one a line": lambda lines: b"".join(b'{"events":[%s]}\n' % line for line in lines),
    "events in an object, one a line": lambda lines: b"\n".join(b'{"event":%s}' % line for line in lines),
    "array in a string": lambda lines: in_string(b"[" + joined(lines) + b"]"),
    "array in a string in a wrapper": lambda lines: (
        b'{"events":' + in_string(b"[" + joined(lines) + b"]") + b"}"
    ),
    "arrays in strings, one a line": lambda lines: b"\n".join(in_string(b"[%s]" % line) for line in lines),
    "events in strings, one a line": lambda lines: b"\n".join(map(in_string, lines)),
    "events in strings in an array": lambda lines: b"[" + joined([*map(in_string, lines)]) + b"]",
    "packed events": lambda lines: b"\n".join(map(packed, lines)),
    "packed events in an array": lambda lines: b"[" + joined([*map(packed, lines)]) + b"]",
    "a segment of Sentry": lambda lines: b'{"segment_id":0}\n[' + joined(lines) + b"]",
    "segments of Sentry, as its API gives them": lambda lines: (
        b"[[" + joined(lines[:2]) + b"],[" + joined(lines[2:]) + b"]]"
    ),
    "segments of Sentry, as they are kept": lambda lines: b"".join(
        b'{"segment_id":%d}\n' % number + zlib.compress(b"[" + joined(part) + b"]")
        for number, part in enumerate((lines[:2], lines[2:]))
    ),
}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": partial(gzip.compress, mtime=0),
    "gzip in gzip": lambda data: gzip.compress(gzip.compress(data)),
    "zlib": zlib.compress,
    "zstd": zstandard.compress,
    "brotli": lambda data: bytes(brotli.compress(data)),
}
ENCODED: dict[str, Callable[[bytes], bytes]] = {
    "UTF-8": bytes,
    "UTF-8 with a mark": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16, little": lambda data: data.decode().encode("utf-16-le"),
    "UTF-16, little, with a mark": lambda data: b"\xff\xfe" + data.decode().encode("utf-16-le"),
    "UTF-16, big": lambda data: data.decode().encode("utf-16-be"),
    "UTF-16, big, with a mark": lambda data: b"\xfe\xff" + data.decode().encode("utf-16-be"),
    "UTF-32": lambda data: data.decode().encode("utf-32"),
}


def event(number: int, text: str = "ä") -> bytes:
    return b'{"type":3,"timestamp":%d,"data":{"text":"%s"}}' % (number, text.encode())


class Taken:
    """What an import makes of a file."""

    def __init__(
        self,
        data: bytes,
        *,
        form: RecordingIdForm = "uuid",
        step: int = 0,
        name: str = "file",
        named: str | None = None,
    ) -> None:
        parse = partial(parse_recording_id, form=form)
        chunks = [data[at : at + step] for at in range(0, len(data), step)] if step else [data]
        self.refused: list[bytes] = []
        self.lines: dict[str, list[bytes]] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        with BodySpool() as spool:
            for piece in read_pieces(chunks, Input(name, parse, named=named), LIMITS):
                self.refused += [bad.raw for bad in piece.batch.rejected]
                spool.add(piece.owner, piece.batch)
            for bundle in spool.bundles(parse, session=named):
                self._keep(bundle, spool)

    def _keep(self, bundle: Bundle, spool: BodySpool) -> None:
        assert bundle.recording_id not in self.lines
        text = b"".join(spool.lines(frame) for frame in bundle.frames if not frame.is_metadata)
        self.lines[bundle.recording_id] = text.split(b"\n")[:-1]
        self.metadata[bundle.recording_id] = dict(bundle.metadata)


_text = st.text(st.characters(codec="utf-8", exclude_characters='"\\', exclude_categories=["Cc"]), max_size=9)


@given(
    st.lists(st.builds(event, st.integers(0, 99), _text), min_size=3, max_size=8),
    st.sampled_from(sorted(FORMS)),
    st.sampled_from(sorted(PACKED)),
    st.sampled_from(sorted(ENCODED)),
    st.integers(1, 60),
)
def test_every_form_gives_the_same_events_and_the_same_id(
    lines: list[bytes], form: str, how: str, encoding: str, step: int
) -> None:
    data = FORMS[form](lines)
    if "as they are kept" not in form:  # Binary already.
        data = ENCODED[encoding](data)
    name = "file.br" if how == "brotli" else "file"
    found = Taken(PACKED[how](data), step=step, name=name)
    assert found.refused == []
    assert found.lines == Taken(b"\n".join(lines)).lines
    ((recording_id, kept),) = found.lines.items()
    assert kept == lines
    assert parse_recording_id(recording_id) == recording_id


def test_other_events_give_another_id() -> None:
    ids = {recording_id for number in range(50) for recording_id in Taken(event(number)).lines}
    assert len(ids) == 50
    assert set(Taken(event(1)).lines) != set(Taken(event(1) + b"\n" + event(1)).lines)


def test_a_half_of_a_surrogate_pair_survives_utf_16() -> None:
    text = '{"type":3,"timestamp":1,"data":"\ud83d"}'
    (lines,) = Taken(text.encode("utf-16-le", "surrogatepass")).lines.values()
    assert lines == [b'{"type":3,"timestamp":1,"data":"\\ud83d"}']


@pytest.mark.parametrize("member", ["data", "payload"])
def test_an_event_is_one_whatever_is_in_it_and_wherever_its_type_stands(member: str) -> None:
    inside = {
        "events": [{"type": 4, "timestamp": 1}],
        "snapshots": [[{"type": 2, "timestamp": 1, "data": 1}]],
    }
    line = json.dumps({member: inside, "timestamp": 5, "type": 5}, separators=(",", ":")).encode()
    for data in (line, b"[" + line + b"]", b'{"events":[' + line + b"]}"):
        (lines,) = Taken(data, step=5).lines.values()
        assert lines == [line]


# Windows

WINDOWS: dict[str, Callable[[Lines, Lines], bytes]] = {
    "pairs in an array": lambda a, b: (
        b"[" + joined([b'["w1",%s],["w2",%s]' % pair for pair in zip(a, b, strict=True)]) + b"]"
    ),
    "pairs with numbers": lambda a, b: (
        b"[" + joined([b"[1,%s],[2,%s]" % pair for pair in zip(a, b, strict=True)]) + b"]"
    ),
    "pairs, one a line": lambda a, b: b"".join(
        b'["w1",%s]\n["w2",%s]\n' % pair for pair in zip(a, b, strict=True)
    ),
    "a line for each window": lambda a, b: (
        b'{"window_id":"w1","data":[%s]}\n{"data":[%s],"window_id":"w2"}' % (joined(a), joined(b))
    ),
}


@pytest.mark.parametrize("form", WINDOWS)
def test_each_window_has_a_recording_of_its_own(form: str) -> None:
    first, second = [event(n) for n in range(0, 6, 2)], [event(n) for n in range(1, 7, 2)]
    for step in (0, 7):
        found = Taken(WINDOWS[form](first, second), step=step)
        assert list(found.lines.values()) == [first, second]
        assert len({known["windowId"] for known in found.metadata.values()}) == 2


@pytest.mark.parametrize("form", WINDOWS)
def test_windows_with_equal_events_are_two_recordings_all_the_same(form: str) -> None:
    lines = [event(n) for n in range(3)]
    assert list(Taken(WINDOWS[form](lines, lines)).lines.values()) == [lines, lines]


def posthog(events: Events, *, session: str = ID, version: str = "2023-04-28") -> bytes:
    return json.dumps(
        {"version": version, "data": {"id": session, "person": {}, "snapshots": events}}
    ).encode()


def of_windows(*windows: str) -> Events:
    return [{"windowId": window, "type": 3, "timestamp": n, "data": {}} for n, window in enumerate(windows)]


def test_a_session_keeps_its_id_for_its_first_window_however_many_follow() -> None:
    one = Taken(posthog(of_windows(WINDOW)))
    more = Taken(posthog(of_windows(WINDOW, OTHER_WINDOW, WINDOW)), step=11)
    assert list(one.lines) == [ID]
    assert list(more.lines) == [ID, window_id(ID, OTHER_WINDOW)]
    assert [len(lines) for lines in more.lines.values()] == [2, 1]
    assert {known["sessionId"] for known in more.metadata.values()} == {ID}


def test_an_older_export_of_posthog_has_an_array_for_each_window() -> None:
    data = {"version": "2022-12-02", "data": {"person": None, "snapshotsByWindowId": {
        WINDOW: [json.loads(event(1))], OTHER_WINDOW: [json.loads(event(2))],
    }}}  # fmt: skip
    assert list(Taken(json.dumps(data).encode(), step=3).lines) == [WINDOW, OTHER_WINDOW]


def test_a_window_of_several_files_is_one_recording() -> None:
    parts = [b'{"window_id":"%s","data":[%s]}' % (WINDOW.encode(), event(n)) for n in range(2)]
    assert [list(Taken(part).lines) for part in parts] == [[WINDOW], [WINDOW]]


def test_events_whose_recording_is_known_are_not_parted_by_their_windows() -> None:
    lines = [json.dumps(one).encode() for one in of_windows("a", "b", "a")]
    assert Taken(b"\n".join(lines), named=ID).lines == {ID: lines}


@pytest.mark.parametrize("levels", [600, 5000])
def test_a_deep_page_is_in_its_window_as_any_other(levels: int) -> None:
    deep = b'{"a":' * levels + b"1" + b"}" * levels
    line = b'{"windowId":"%s","type":2,"timestamp":1,"data":%s}'
    first, second = (line % (window.encode(), deep) for window in (WINDOW, OTHER_WINDOW))
    data = b'{"version":"2023-04-28","data":{"id":"%s","snapshots":[%s,%s]}}' % (ID.encode(), first, second)
    for text in (data, data.replace(b":", b" : ").replace(b",", b" , ")):
        found = Taken(text)
        assert found.refused == []
        assert found.lines == {ID: [first], window_id(ID, OTHER_WINDOW): [second]}


# Exports that say more


def latin(part: object) -> str:
    return gzip.compress(json.dumps(part, separators=(",", ":")).encode()).decode("latin-1")


def all_latin(parts: dict[str, object]) -> dict[str, str]:
    return {name: latin(part) for name, part in parts.items()}


FULL = {"type": 2, "timestamp": 1, "data": {"node": {"id": 1}, "initialOffset": {"left": 0, "top": 0}}}
PARTS: dict[str, object] = {"texts": [{"id": 1, "value": "ä"}], "attributes": [], "removes": [], "adds": [1]}
RULE: dict[str, object] = {"adds": [{"rule": "a{}"}], "removes": []}


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({**FULL, "data": latin(FULL["data"]), "cv": "2024-10"}, FULL),
        (
            {"type": 3, "cv": "2024-10", "timestamp": 2, "data": {"source": 0, **all_latin(PARTS)}},
            {"type": 3, "timestamp": 2, "data": {"source": 0, **PARTS}},
        ),
        (
            {"cv": "2024-10", "type": 3, "timestamp": 2, "data": {"source": 8, **all_latin(RULE)}},
            {"type": 3, "timestamp": 2, "data": {"source": 8, **RULE}},
        ),
        ({**FULL, "data": "no gzip", "cv": "2024-10"}, {**FULL, "data": "no gzip", "cv": "2024-10"}),
        ({**FULL, "cv": "2031-01"}, {**FULL, "cv": "2031-01"}),
    ],
)  # fmt: skip
def test_what_posthog_compressed_is_as_rrweb_made_it(sent: dict[str, Any], meant: dict[str, Any]) -> None:
    for data in ([["w", sent]], [sent]):
        (lines,) = Taken(json.dumps(data).encode()).lines.values()
        assert [json.loads(line) for line in lines] == [meant]


def test_a_compressed_part_beyond_the_limit_leaves_the_event_as_it_is() -> None:
    bomb = {"type": 2, "timestamp": 1, "data": latin("x" * 3_000_000), "cv": "2024-10"}
    limits = LIMITS._replace(event_bytes_max=1_000_000)
    (piece,) = read_pieces([json.dumps(bomb).encode()], Input("file", parse_recording_id), limits)
    assert json.loads(piece.batch.payload) == bomb


@pytest.mark.parametrize(
    ("tag", "timestamp", "ms"),
    [
        ("performanceSpan", "1670837008.634", 1670837008634),
        ("breadcrumb", "1670837008", 1670837008000),
        ("breadcrumb", "1670837008634", 1670837008634),
        ("other", "1670837008.634", 1670837008.634),
    ],
)
def test_sentry_s_seconds_are_milliseconds_as_all_others(tag: str, timestamp: str, ms: float) -> None:
    line = b'{"type":5,"timestamp":%s,"data":{"tag":"%s"}}' % (timestamp.encode(), tag.encode())
    (lines,) = Taken(b"[[" + line + b"]]").lines.values()
    assert json.loads(lines[0])["timestamp"] == ms


@pytest.mark.parametrize("is_sorted", [False, True], ids=["session first", "session behind its events"])
def test_the_web_extension_s_session_becomes_id_and_metadata(is_sorted: bool) -> None:
    session = {"id": NANOID, "name": "My rec", "tags": ["a"], "createTimestamp": 7, "recorderVersion": "2"}
    export = {"session": session, "events": [{"type": 0, "timestamp": 8}]}
    data = json.dumps(export, indent=2, sort_keys=is_sorted).encode()
    named, unnamed = Taken(data, form="any", step=13), Taken(data)
    assert list(named.lines) == [NANOID]
    line = json.dumps(export["events"], sort_keys=is_sorted).encode()
    assert list(unnamed.lines) == list(Taken(line).lines)
    for found in (named, unnamed):
        (metadata,) = found.metadata.values()
        assert metadata["sessionId"] == NANOID
        assert (metadata["name"], metadata["tags"]) == ("My rec", '["a"]')


def test_documents_run_together_are_told_apart() -> None:
    def export(number: int) -> bytes:
        session = {"id": f"{number}{NANOID[1:]}", "name": f"n{number}", "recorderVersion": "2"}
        return json.dumps({"session": session, "events": [{"type": 0, "timestamp": number}]}).encode()

    found = Taken(export(1) + b"\n" + export(2), form="any")
    assert [known["name"] for known in found.metadata.values()] == ["n1", "n2"]
    assert len(found.lines) == 2


# What counts as an id


@pytest.mark.parametrize(
    "name",
    [
        "snapshots",
        "recording",
        "recordings",
        "export-2024",
        "export-2024-recording",
        "my_events",
        "user-1234",
    ],
)
def test_a_word_names_no_recording(name: str) -> None:
    assert not is_random(name)
    data = b'{"%s":[%s],"events":[%s]}' % (name.encode(), event(1), event(2))
    assert Taken(data, form="any").lines == Taken(event(1) + event(2)).lines
    export = {"session": {"id": name, "recorderVersion": "2"}, "events": [{"type": 0, "timestamp": 1}]}
    assert name not in Taken(json.dumps(export).encode(), form="any").lines


@pytest.mark.parametrize("name", [ID, ID.upper(), NANOID])
def test_an_id_names_its_recording(name: str) -> None:
    found = Taken(b'{"%s":[%s]}' % (name.encode(), event(1)), form="any")
    assert list(found.lines) == [parse_recording_id(name, "any")]


def test_any_id_of_an_export_is_marked_as_one() -> None:
    assert list(Taken(b'{\t"user-1234":[%s]}' % event(1), form="any").lines) == ["user-1234"]


# What is refused

REFUSED = {
    "a page (HTML or XML)": b"<!DOCTYPE html><html>",
    "a video": b"\0\0\0\x20ftypisom",
    "a HAR file": b'{"log":{"version":"1.2","entries":[]}}',
    "a HAR file,": b'{\n  "log": {\n    "creator": {}, "entries": []}}',
    "an archive": bytes(257) + b"ustar" + bytes(300),
    "a list of recordings, without their events": b'{"recordings":[{"recordingId":"1","links":{}}]}',
    "an error that an API answered with": b'{"error":{"code":"x"}}',
    "a table (CSV)": b"time,type,url\n1,2,3\n",
    "JSON without rrweb events": b'{"hello":[1]}',
    "an SQLite database": b"SQLite format 3\0",
    "a performance trace of Chrome": b'{"traceEvents":[{"ph":"X","ts":1}]}',
    "PostHog's list of a recording's snapshots": b'{"sources":[{"source":"blob_v2","blob_key":"0"}]}',
    "an envelope of Sentry's SDK": b'{"event_id":"1"}\n{"type":"replay_event"}\n{}',
    "JavaScript": b"export default [\n",
    "text that is no JSON": b"hello\nworld\n",
    "a binary file": bytes(range(9)) * 20,
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_is_named(kind: str) -> None:
    with pytest.raises(ForeignFile, match="this looks like") as caught:
        Taken(REFUSED[kind])
    assert f"this looks like {kind}" in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"events":[]}', b'{"%s":[]}' % ID.encode(), b"\n\n", b"[[]]"]
)
def test_a_file_without_events_is_not_refused(text: bytes) -> None:
    assert Taken(text).lines == {}
