"""The frame decoder: whatever the cut, the coding and the shape, the same events, and errors after them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.corpus import recordings
from rrd.errors import BrokenEncoding, TooLarge, WireError
from rrd.wire.codings import CODINGS, Encoding
from rrd.wire.decoder import ContentKind, Decoder
from rrd.wire.events import Batch, check_lines
from tests.thoroughness import examples
from tests.wire import bombs
from tests.wire.packer import pack
from tests.wire.wire_lab import (
    ENCODINGS,
    KIB,
    KINDS,
    LIMITS,
    LINES,
    MIB,
    Compressor,
    Outcome,
    compress,
    cuts,
    decode,
    event,
    events_of,
    good_lines,
    outcome,
    pull,
)

pytestmark = pytest.mark.table

COMPRESSED = tuple(coding.name for coding in CODINGS)
Shape = Literal["array", "wrapper", "lines"]

every_encoding = pytest.mark.parametrize("encoding", ENCODINGS)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_recording = pytest.mark.parametrize("name", recordings())

ORDINARY = [
    event(1),
    event(2, text=']}\n{["é😀'),
    pack(event(3)),
    b'{"type":3,"timestamp":4,"data":"\\ud83d"}',
    event(5),
]
"""What most tests send, as it is received: the third is unpacked."""
RECEIVED = [*ORDINARY[:2], event(3), *ORDINARY[3:]]


def document(lines: Sequence[bytes], kind: ContentKind) -> bytes:
    return b"[" + b",".join(lines) + b"]" if kind == "json" else b"\n".join(lines) + b"\n"


def cut_at_random(body: bytes, seed: int, size_max: int = 70_000) -> list[bytes]:
    chance = random.Random(seed)
    chunks = []
    while body:
        size = chance.randint(1, size_max)
        chunks.append(body[:size])
        body = body[size:]
    return chunks


# Bodies


@every_encoding
@every_kind
@every_recording
def test_recordings_come_through_byte_for_byte(name: str, kind: ContentKind, encoding: Encoding) -> None:
    lines = recordings()[name]
    body = compress(encoding, document(lines, kind))
    found = decode(cut_at_random(body, seed=1), kind=kind, encoding=encoding)
    assert found == Outcome(lines, [], [], None)


@st.composite
def bodies(draw: st.DrawFn, kind: ContentKind) -> bytes:
    """Good and bad lines and blank ones, or a document of them, which may be damaged."""
    lines = draw(st.lists(LINES | good_lines() | st.builds(pack, good_lines().map(bytes.strip)), max_size=6))
    if kind == "json":
        wrapper = draw(st.sampled_from([b"[%s]", b'{"events":[%s]}', b'[%s],{"a":[', b"[%s", b"%s"]))
        return wrapper.replace(b"%s", b",".join(lines))
    ending = draw(st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
    return ending.join(lines) + draw(st.sampled_from([b"", b"\n"]))


def in_parts(encoding: Encoding, body: bytes, parts: list[bytes]) -> bytes:
    """``body`` as one stream, or as one for each part where that is possible."""
    if encoding in {"gzip", "zstd"}:
        return b"".join(compress(encoding, part) for part in parts)
    return compress(encoding, body)


@every_encoding
@every_kind
@settings(max_examples=examples(60))
@given(st.data())
def test_nothing_depends_on_cuts_or_coding(
    kind: ContentKind, encoding: Encoding, data: st.DataObject
) -> None:
    body = data.draw(bodies(kind))
    limits = LIMITS._replace(
        event_bytes_max=data.draw(st.sampled_from([40, 80, MIB])),
        body_bytes_max=data.draw(st.sampled_from([200, MIB])),
        document_bytes_max=data.draw(st.sampled_from([200, MIB])),
        batch_bytes=data.draw(st.sampled_from([1, 100, MIB])),
    )
    expected = decode([body], kind=kind, limits=LIMITS._replace(**limits._asdict() | {"batch_bytes": MIB}))
    encoded = in_parts(encoding, body, data.draw(cuts(body)))
    found = decode(data.draw(cuts(encoded)), kind=kind, encoding=encoding, limits=limits)
    assert found[:3] == expected[:3]
    assert (type(found.error), str(found.error)) == (type(expected.error), str(expected.error))


@given(st.lists(LINES, max_size=6))
def test_lines_are_numbered_from_the_first_to_the_last(lines: list[bytes]) -> None:
    body = b"\n".join(lines) + b"\n"
    expected = check_lines(lines, LIMITS, first_line=11)
    decoder = Decoder(
        kind="ndjson", encoding="identity", limits=LIMITS._replace(batch_bytes=1), first_line=11
    )
    batches: list[Batch] = []
    for at in range(len(body)):
        decoder.feed(body[at : at + 1])
        pull(decoder, batches)
    decoder.finish()
    pull(decoder, batches)
    assert outcome(batches, None).rejected == list(expected.rejected)
    assert all(batch.limit_line <= 11 + max(1, len(lines)) for batch in batches)


@every_encoding
@every_kind
def test_empty_body_holds_nothing(kind: ContentKind, encoding: Encoding) -> None:
    nothing = Outcome([], [], [], None)
    assert decode([], kind=kind, encoding=encoding) == nothing
    assert decode([b"", b""], kind=kind, encoding=encoding) == nothing
    assert decode([compress(encoding, b"")], kind=kind, encoding=encoding) == nothing
    assert decode([compress(encoding, b" \n\n ")], kind=kind, encoding=encoding) == nothing


def test_last_line_break_is_optional() -> None:
    for ending in (b"", b"\n", b"\r\n", b"\n\n\n"):
        found = decode([b"\n".join(ORDINARY) + ending])
        assert [line.strip() for line in found.events] == RECEIVED
        assert not found.rejected


@pytest.mark.parametrize("shape", [b"[%s]", b'{"events":[%s]}', b"%s"])
def test_documents_give_their_events(shape: bytes) -> None:
    lines = ORDINARY if b"[" in shape else ORDINARY[:1]
    assert decode([shape.replace(b"%s", b",".join(lines))], kind="json").events == RECEIVED[: len(lines)]


# Batches


def test_batch_is_handed_out_when_it_is_full_or_asked_for() -> None:
    limits = LIMITS._replace(batch_bytes=3 * len(event(1)))
    decoder = Decoder(kind="ndjson", encoding="identity", limits=limits)
    decoder.feed(event(1) + b"\n" + event(2) + b"\n" + event(3)[:5])
    assert decoder.next_batch() is None
    assert decoder.waiting_bytes == 2 * len(event(1)) + 2
    assert decoder.unfinished_bytes == 5
    flushed = decoder.next_batch(flush=True)
    assert flushed is not None
    assert events_of(flushed) == [event(1), event(2)]
    assert decoder.next_batch(flush=True) is None
    decoder.feed(event(3)[5:] + b"\n" + (event(4) + b"\n") * 3)
    full = decoder.next_batch()
    assert full is not None
    assert full.event_count == 4
    assert (decoder.waiting_bytes, decoder.unfinished_bytes) == (0, 0)


def test_chunks_may_be_fed_before_the_last_one_is_used_up() -> None:
    limits = LIMITS._replace(batch_bytes=1)
    decoder = Decoder(kind="ndjson", encoding="gzip", limits=limits)
    for number in range(5):
        decoder.feed(compress("gzip", event(number) * 3), ends_message=True)
        assert decoder.next_batch() is not None
    decoder.finish()
    batches: list[Batch] = []
    pull(decoder, batches)
    assert not outcome(batches, None).events


@every_encoding
@every_kind
def test_no_batch_is_much_larger_than_it_should_be(kind: ContentKind, encoding: Encoding) -> None:
    lines = [event(number) for number in range(40_000)]
    decoder = Decoder(kind=kind, encoding=encoding, limits=LIMITS)
    decoder.feed(compress(encoding, document(lines, kind)))
    decoder.finish()
    batches: list[Batch] = []
    pull(decoder, batches)
    assert sum(batch.event_count for batch in batches) == len(lines)
    assert max(len(batch.payload) for batch in batches) <= LIMITS.batch_bytes + 512 * KIB


def test_batch_of_junk_has_few_lines() -> None:
    decoder = Decoder(kind="ndjson", encoding="identity", limits=LIMITS)
    decoder.feed(b"x\n" * 100_000 + event(1) + b"\n")
    decoder.finish()
    batches: list[Batch] = []
    pull(decoder, batches)
    found = outcome(batches, None)
    assert max(len(batch.rejected) for batch in batches) <= 1 << 14
    assert [bad.line for bad in found.rejected] == list(range(1, 100_001))
    assert found.events == [event(1)]


@every_kind
def test_packed_events_do_not_make_a_batch_many_times_as_large(kind: ContentKind) -> None:
    large = [event(number, pad="x" * 600_000) for number in range(6)]
    body = document(list(map(pack, large)), kind)
    decoder = Decoder(kind=kind, encoding="identity", limits=LIMITS._replace(event_bytes_max=MIB))
    decoder.feed(body)
    assert decoder.next_batch() is None or kind == "ndjson"
    decoder.finish()
    batches: list[Batch] = []
    pull(decoder, batches)
    assert outcome(batches, None).events == large
    assert max(len(batch.payload) for batch in batches) <= 2 * MIB


# Messages


@st.composite
def message_bodies(draw: st.DrawFn) -> list[bytes]:
    return draw(st.lists(good_lines().map(bytes.strip), min_size=1, max_size=8))


def same(found: Outcome, lines: Sequence[bytes]) -> bool:
    """Tell whether it is what becomes of good lines. Space around them is left alone, and may differ."""
    expected = outcome([check_lines(lines, LIMITS, first_line=1)], None)
    return (
        [line.strip() for line in found.events] == expected.events
        and [(event.values, event.raw.strip()) for event in found.metadata]
        == [(event.values, event.raw) for event in expected.metadata]
        and [(reason, raw.strip()) for reason, raw in found.refusals()] == expected.refusals()
    )


@every_encoding
@given(lines=message_bodies(), breaks=st.booleans())
@settings(max_examples=examples(40))
def test_stream_a_message_ends_a_line_with_each(encoding: Encoding, lines: list[bytes], breaks: bool) -> None:
    messages = [compress(encoding, line + b"\n" * breaks) for line in lines]
    found = decode(messages, encoding=encoding, messages=True)
    assert found.error is None
    assert same(found, lines)


@pytest.mark.parametrize("encoding", COMPRESSED)
@pytest.mark.parametrize("separator", [b"\n", b"", b" "], ids=["lines", "nothing between", "space between"])
@given(lines=message_bodies(), finished=st.booleans(), data=st.data())
@settings(max_examples=examples(40))
def test_one_stream_over_all_messages(
    encoding: Encoding, separator: bytes, lines: list[bytes], finished: bool, data: st.DataObject
) -> None:
    stream = Compressor(encoding)
    messages = [stream.flushed(line + separator) for line in lines]
    ending = stream.finish() if finished else b""
    for pieces in ([*messages, ending], data.draw(cuts(b"".join(messages) + ending))):
        found = decode(pieces, encoding=encoding, messages=True, cut_off=not finished)
        assert isinstance(found.error, WireError) == (not finished)
        # Space behind a line is left alone.
        stripped = found._replace(
            events=[line.strip() for line in found.events],
            metadata=[event._replace(raw=event.raw.strip()) for event in found.metadata],
            rejected=[bad._replace(raw=bad.raw.strip()) for bad in found.rejected],
        )
        assert same(stripped, lines)


@pytest.mark.table
@pytest.mark.parametrize("encoding", COMPRESSED)
@pytest.mark.parametrize("separator", [b"\n", b""], ids=["lines", "nothing between"])
@every_recording
def test_recordings_come_through_in_one_stream(name: str, encoding: Encoding, separator: bytes) -> None:
    lines = recordings()[name]
    stream = Compressor(encoding)
    flushed = [stream.flushed(line + separator) for line in lines] + [stream.finish()]
    assert decode(flushed, encoding=encoding, messages=True) == Outcome(lines, [], [], None)
    anyhow = cut_at_random(b"".join(flushed), seed=2, size_max=3000)
    assert decode(anyhow, encoding=encoding, messages=True) == Outcome(lines, [], [], None)


@pytest.mark.parametrize("encoding", COMPRESSED)
@every_recording
def test_recordings_come_through_a_stream_a_message(name: str, encoding: Encoding) -> None:
    lines = recordings()[name]
    messages = [compress(encoding, line) for line in lines]
    assert decode(messages, encoding=encoding, messages=True) == Outcome(lines, [], [], None)


@every_encoding
@pytest.mark.parametrize("ending", [b"", b"\n"])
@every_kind
def test_flushed_event_is_there_when_its_message_is(
    encoding: Encoding, ending: bytes, kind: ContentKind
) -> None:
    stream = Compressor(encoding)
    decoder = Decoder(kind=kind, encoding=encoding, limits=LIMITS)
    for line in RECEIVED:
        decoder.feed(stream.flushed(line + ending), ends_message=True)
        batches: list[Batch] = []
        pull(decoder, batches, flush=True)
        assert outcome(batches, None).events == [line]


@pytest.mark.parametrize("encoding", COMPRESSED)
@every_kind
def test_events_do_not_pile_up_in_a_stream_without_line_breaks(encoding: Encoding, kind: ContentKind) -> None:
    stream = Compressor(encoding)
    lines = [event(number, pad="x" * 500) for number in range(2000)]
    body = b"".join(stream.flushed(line) for line in lines)
    decoder = Decoder(kind=kind, encoding=encoding, limits=LIMITS)
    batches: list[Batch] = []
    for message in cut_at_random(body, seed=3, size_max=200):
        decoder.feed(message, ends_message=True)
        pull(decoder, batches, flush=True)
        assert decoder.unfinished_bytes < 10_000
    assert outcome(batches, None).events == lines


def test_long_line_does_not_make_the_events_behind_it_wait() -> None:
    stream = Compressor("zstd")
    long = event(1, pad="x" * 10_000)
    decoder = Decoder(kind="ndjson", encoding="zstd", limits=LIMITS)
    for text, events in ((long[:-1], []), (b"}\n", [long]), (event(2), [event(2)]), (event(3), [event(3)])):
        decoder.feed(stream.flushed(text), ends_message=True)
        batches: list[Batch] = []
        pull(decoder, batches, flush=True)
        assert outcome(batches, None).events == events


@every_kind
def test_line_may_go_on_in_the_next_message_of_one_stream(kind: ContentKind) -> None:
    stream = Compressor("gzip")
    halves = [stream.flushed(event(1)[:20]), stream.flushed(event(1)[20:]), stream.finish()]
    assert decode(halves, kind=kind, encoding="gzip", messages=True).events == [event(1)]


def test_line_ends_with_a_plain_message() -> None:
    found = decode([event(1)[:20], event(1)[20:], event(2)], messages=True)
    assert found.events == [event(2)]
    assert [bad.reason for bad in found.rejected] == ["not_json", "not_json"]


@every_encoding
def test_document_a_message(encoding: Encoding) -> None:
    messages = [b"[" + event(1) + b"," + event(2) + b"]", event(3), b'{"events":[' + event(4) + b"]}", b"[]"]
    found = decode(
        [compress(encoding, message) for message in messages], kind="json", encoding=encoding, messages=True
    )
    assert found.events == [event(number) for number in (1, 2, 3, 4)]


@every_encoding
def test_documents_in_one_stream(encoding: Encoding) -> None:
    messages = [b"[" + event(1) + b"," + event(2) + b"]", event(3), b'{"events":[' + event(4) + b"]}", b"[]"]
    stream = Compressor(encoding)
    pieces = [stream.flushed(message) for message in messages] + [stream.finish()]
    assert decode(pieces, kind="json", encoding=encoding, messages=True).events == [
        event(n) for n in (1, 2, 3, 4)
    ]
    if encoding != "identity":
        anyhow = cut_at_random(b"".join(pieces), seed=4, size_max=20)
        assert decode(anyhow, kind="json", encoding=encoding, messages=True).events == [
            event(n) for n in (1, 2, 3, 4)
        ]


# Limits


def test_body_may_be_as_large_as_the_limit_and_no_larger() -> None:
    body = b"\n".join(RECEIVED) + b"\n"
    for encoding in ENCODINGS:
        chunks = [compress(encoding, body)]
        assert (
            decode(chunks, encoding=encoding, limits=LIMITS._replace(body_bytes_max=len(body))).error is None
        )
        for less in (1, 2, len(RECEIVED[-1]) + 1):
            found = decode(chunks, encoding=encoding, limits=LIMITS._replace(body_bytes_max=len(body) - less))
            assert isinstance(found.error, TooLarge)
            assert (
                found.events
                == (RECEIVED if less == 1 else RECEIVED[:-1])[: 5 if less == 0 else 4 + (less == 0)]
            )


def test_limit_of_a_body_holds_for_each_message_of_a_socket() -> None:
    limits = LIMITS._replace(body_bytes_max=len(event(1)))
    for encoding in ENCODINGS:
        stream = Compressor(encoding)
        messages = [stream.flushed(event(number)) for number in range(1, 9)]
        assert decode(messages, encoding=encoding, limits=limits, messages=True, cut_off=True).events == [
            event(number) for number in range(1, 9)
        ]
        found = decode(
            [*messages, stream.flushed(event(10))], encoding=encoding, limits=limits, messages=True
        )
        assert isinstance(found.error, TooLarge)


def test_event_may_be_as_large_as_the_limit_and_no_larger() -> None:
    lines = [event(1), event(2, pad="x" * 900), event(3)]
    size = len(lines[1])
    for ending in (b"\n", b""):
        body = b"\n".join(lines[: 2 + bool(ending)]) + ending
        assert decode([body], limits=LIMITS._replace(event_bytes_max=size)).error is None
        found = decode([body], limits=LIMITS._replace(event_bytes_max=size - 1))
        assert isinstance(found.error, TooLarge)
        assert (found.events, found.rejected) == ([lines[0]], [])


def test_document_may_be_as_large_as_the_limit_and_no_larger() -> None:
    body = document(ORDINARY, "json")
    assert (
        decode([body], kind="json", limits=LIMITS._replace(document_bytes_max=len(body))).events == RECEIVED
    )
    found = decode([body], kind="json", limits=LIMITS._replace(document_bytes_max=len(body) - 1))
    assert isinstance(found.error, TooLarge)
    assert "NDJSON" in str(found.error)
    assert (found.events, found.rejected) == ([], [])


def test_large_event_in_a_document_does_not_lose_its_neighbours() -> None:
    large = event(2, pad="x" * 900)
    found = decode(
        [document([event(1), large, event(3)], "json")],
        kind="json",
        limits=LIMITS._replace(event_bytes_max=500),
    )
    assert found.events == [event(1), event(3)]
    assert found.refusals() == [("too_large", large)]


def test_zstd_window_beyond_the_limit_is_refused() -> None:
    frame = bombs.zstd_frame([bombs.zstd_block(event(1), is_last=True)], window_log=22)
    for log, fits in ((22, True), (21, False)):
        found = decode([frame], encoding="zstd", limits=LIMITS._replace(zstd_window_bytes_max=1 << log))
        assert (found.events == [event(1)]) == fits
        assert isinstance(found.error, BrokenEncoding) == (not fits)


# Errors


@pytest.mark.parametrize("encoding", COMPRESSED)
@every_kind
def test_compressed_body_cut_off_gives_its_whole_events_then_an_error(
    encoding: Encoding, kind: ContentKind
) -> None:
    stream = Compressor(encoding)
    opening = b"[" if kind == "json" else b""
    separator = b"," if kind == "json" else b"\n"
    parts = [stream.flushed(opening)] + [stream.flushed(line + separator) for line in RECEIVED]
    body = b"".join(parts) + stream.finish()
    for limit in range(1, len(body)):
        found = decode([body[:limit]], kind=kind, encoding=encoding)
        assert isinstance(found.error, BrokenEncoding)
        whole = sum(len(b"".join(parts[: count + 2])) <= limit for count in range(len(RECEIVED)))
        assert found.events == RECEIVED[: len(found.events)]
        assert len(found.events) >= whole
        assert len(found.rejected) <= 1


@every_kind
def test_body_cut_off_gives_its_whole_events_then_an_error(kind: ContentKind) -> None:
    body = document(RECEIVED, kind)
    for limit in range(1, len(body)):
        found = decode([body[:limit]], kind=kind, cut_off=True)
        assert type(found.error) is WireError
        assert "cut off" in str(found.error)
        ends = [body.index(line) + len(line) for line in RECEIVED]
        whole = sum(end <= limit for end in ends)
        assert found.events == RECEIVED[:whole]
        rest = body[ends[whole - 1] if whole else int(kind == "json") : limit].lstrip(b",\n")
        assert [raw for _, raw in found.refusals()] == [rest.strip() if kind == "json" else rest] * bool(rest)


def test_rest_of_a_line_cut_off_is_set_aside_as_such() -> None:
    found = decode([event(1) + b"\n" + event(2) + event(3)[:9]], cut_off=True)
    assert found.events == [event(1), event(2)]
    assert [(bad.line, bad.reason, bad.raw) for bad in found.rejected] == [(3, "cut_off", event(3)[:9])]


def test_error_comes_again_with_every_call() -> None:
    decoder = Decoder(kind="ndjson", encoding="gzip", limits=LIMITS)
    decoder.feed(b"no gzip, this")
    for _ in range(3):
        with pytest.raises(BrokenEncoding):
            decoder.next_batch()
    decoder.finish()
    with pytest.raises(BrokenEncoding):
        decoder.next_batch(flush=True)


@every_encoding
@every_kind
@given(st.binary(max_size=300), st.data())
def test_junk_raises_only_wire_errors(
    kind: ContentKind, encoding: Encoding, junk: bytes, data: st.DataObject
) -> None:
    for body in (junk, compress(encoding, junk)):
        found = decode(
            data.draw(cuts(body)),
            kind=kind,
            encoding=encoding,
            messages=data.draw(st.booleans()),
            cut_off=data.draw(st.booleans()),
        )
        # Hypothesis tries the constants of the code, too: what is an event was sent as one.
        assert all(event in junk for event in found.events)


@pytest.mark.parametrize("encoding", COMPRESSED)
@every_kind
@given(st.data())
def test_damaged_streams_raise_only_wire_errors(
    kind: ContentKind, encoding: Encoding, data: st.DataObject
) -> None:
    body = bytearray(compress(encoding, document(ORDINARY, kind)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    decode(data.draw(cuts(bytes(body))), kind=kind, encoding=encoding, messages=data.draw(st.booleans()))


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@every_kind
@given(st.data())
def test_body_with_a_changed_byte_is_the_same_or_ends_in_an_error(
    kind: ContentKind, encoding: Encoding, data: st.DataObject
) -> None:
    body = bytearray(compress(encoding, document(ORDINARY, kind)))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    found = decode([bytes(body)], kind=kind, encoding=encoding)
    assert found.error is not None or found.events == RECEIVED


def test_events_before_damage_come_out_wherever_the_body_is_cut() -> None:
    good = document(RECEIVED, "ndjson")
    for encoding in COMPRESSED:
        body = compress(encoding, good)
        for chunks in ([body, b"junk junk junk"], [*cut_at_random(body, 5, 9), b"j", b"unk junk junk"]):
            found = decode(chunks, encoding=encoding)
            assert isinstance(found.error, BrokenEncoding)
            assert found.events == RECEIVED


# Hostile chunks


def shell(encoding: Encoding, text: bytes) -> list[bytes]:
    """One long stream that gives ``text`` a byte a message."""
    if encoding == "identity":
        return [text[at : at + 1] for at in range(len(text))]
    return [bombs.zstd_frame([]), *(bombs.zstd_block(text[at : at + 1]) for at in range(len(text)))]


TINY = {
    "an open event": b'{"type":3,"timestamp":1,"data":"' + b"x" * (120 * KIB),
    "brackets": b"[{" * (40 * KIB),
    "whole objects inside": b'{"type":3,"timestamp":1,"data":[' + b"{}," * (40 * KIB),
    "escapes": b'{"type":3,"timestamp":1,"data":"' + b"\\\\" * (40 * KIB),
}


@pytest.mark.table
@pytest.mark.timeout(60)  # If each piece costs what came before it, it is hours.
@pytest.mark.parametrize("text", TINY.values(), ids=TINY)
@pytest.mark.parametrize("encoding", ["identity", "zstd"])
@every_kind
def test_byte_a_chunk_or_a_message_costs_no_more_than_a_byte(
    kind: ContentKind, encoding: Encoding, text: bytes
) -> None:
    chunks = shell(encoding, text)
    found = decode(chunks, kind=kind, encoding=encoding, messages=encoding == "zstd", cut_off=True)
    assert not found.events
    assert len(found.rejected) == 1
