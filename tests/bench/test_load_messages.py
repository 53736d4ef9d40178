"""What the load generator sends, and when."""

from __future__ import annotations

import gzip
import itertools
import json
import math
import zlib
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bench.corpus import recordings, small_events
from bench.frames import BINARY, TEXT, Agreed, masked
from bench.load import Plan, Target
from bench.load.events import Events, numbered_id
from bench.load.messages import Packer, Workshop
from bench.load.schedule import due_times

START_MS = 1_795_399_704_824
EVENTS = Events("small", seed=5, start_ms=START_MS)
RUN = "f3b4bf5e-3f0e-4b8e-9f0d-0f6a8f4f8f11"
TARGET = Target("http://127.0.0.1:1", "a-key")


# Events


@pytest.mark.parametrize("which", ["small", "all"])
def test_events_are_the_corpus_with_other_timestamps(which: Any) -> None:
    events = Events(which, seed=3, start_ms=START_MS)
    corpus = small_events() if which == "small" else [line for each in recordings().values() for line in each]
    assert events.count == len(corpus)
    offset = events.offset(4)
    for n in (0, 1, 17, events.count - 1, events.count, 3 * events.count + 5):
        ours, theirs = json.loads(events.event(4, n)), json.loads(corpus[(offset + n) % len(corpus)])
        del ours["timestamp"], theirs["timestamp"]
        assert ours == theirs


def test_timestamps_rise_over_rounds_and_name_the_event() -> None:
    limit = 2 * EVENTS.count + 10
    stamps = [json.loads(line)["timestamp"] for line in EVENTS.ndjson(7, 0, limit).splitlines()]
    assert len(stamps) == limit
    assert all(before < after for before, after in itertools.pairwise(stamps))
    assert [EVENTS.find(7, stamp) for stamp in stamps] == list(range(limit))
    assert abs(stamps[0] - START_MS) < 20_000


@pytest.mark.parametrize("timestamp", [None, "1795399704824", 1.5, True, 0, START_MS - 10**9])
def test_what_no_event_has_names_none(timestamp: object) -> None:
    assert EVENTS.find(0, timestamp) is None


def test_a_timestamp_between_rounds_names_none() -> None:
    last = EVENTS.count - 1 - EVENTS.offset(0)
    stamp = json.loads(EVENTS.event(0, last))["timestamp"]
    assert EVENTS.find(0, stamp) == last
    assert EVENTS.find(0, stamp + 1) is None


def test_events_are_a_function_of_seed_and_number() -> None:
    again = Events("small", seed=5, start_ms=START_MS)
    assert again.ndjson(3, 0, 100) == EVENTS.ndjson(3, 0, 100)
    assert EVENTS.ndjson(3, 0, 100) != EVENTS.ndjson(4, 0, 100)
    assert Events("small", seed=6, start_ms=START_MS).ndjson(3, 0, 100) != EVENTS.ndjson(3, 0, 100)


@given(first=st.integers(0, 5000), size=st.integers(1, 4500))
def test_a_run_is_its_events_one_behind_the_other(first: int, size: int) -> None:
    lines = EVENTS.ndjson(2, first, first + size).split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == size
    for n in {0, size // 2, size - 1}:
        assert lines[n] == EVENTS.event(2, first + n)


def test_recordings_of_a_run_differ_and_runs_never_meet() -> None:
    other = "0b1c0000-0000-4000-8000-000000000000"
    ids = {numbered_id(run, number) for run in (RUN, other) for number in range(50)}
    assert len(ids) == 100


# Messages


def unframed(data: bytes) -> list[tuple[int, bool, bytes]]:
    """Return a client's messages: opcode, whether compressed, payload."""
    messages = []
    at = 0
    while at < len(data):
        first, size = data[at], data[at + 1] & 0x7F
        assert data[at + 1] & 0x80, "a client masks"
        at += 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size = int.from_bytes(data[at : at + width], "big")
            at += width
        payload = masked(data[at + 4 : at + 4 + size], data[at : at + 4])
        assert len(payload) == size
        messages.append((first & 0x0F, bool(first & 0x40), payload))
        at += 4 + size
    return messages


def packer(agreed: Agreed | None = None, **changes: Any) -> Packer:
    return Workshop(Plan(**changes), EVENTS).for_socket(9, agreed)


def events_of(first: int, limit: int) -> list[bytes]:
    return [EVENTS.event(9, n) for n in range(first, limit)]


@given(first=st.integers(0, 5000), size=st.integers(1, 4500))
def test_text_frames_made_in_advance_are_the_events(first: int, size: int) -> None:
    messages = unframed(TEXTS.pack(first, first + size))
    assert len(messages) == size
    assert {message[:2] for message in messages} == {(TEXT, False)}
    for n in {0, size // 2, size - 1}:
        assert messages[n][2] == EVENTS.event(9, first + n)


TEXTS = packer()


def test_large_events_are_framed_too() -> None:
    events = Events("all", seed=0, start_ms=START_MS)
    texts = Workshop(Plan(events="all"), events).for_socket(0, None)
    messages = unframed(texts.pack(0, events.count))
    assert [message[2] for message in messages] == events.ndjson(0, 0, events.count).splitlines()
    assert max(len(message[2]) for message in messages) > 1 << 16


def test_a_batch_in_a_text_message_is_lines() -> None:
    messages = unframed(packer(batch=4).pack(2, 8))
    assert messages == [
        (TEXT, False, b"\n".join(events_of(2, 6))),
        (TEXT, False, b"\n".join(events_of(6, 8))),
    ]


DECODERS: dict[str, Any] = {
    "identity": lambda data: data,
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompress(data),
}


@pytest.mark.parametrize("encoding", DECODERS)
def test_each_binary_message_is_a_stream(encoding: Any) -> None:
    messages = unframed(packer(batch=3, is_binary=True, encoding=encoding).pack(0, 6))
    assert {message[:2] for message in messages} == {(BINARY, False)}
    assert [DECODERS[encoding](message[2]).splitlines() for message in messages] == [
        events_of(0, 3),
        events_of(3, 6),
    ]


STREAM_DECODERS: dict[str, Any] = {
    "gzip": lambda: zlib.decompressobj(wbits=31).decompress,
    "br": lambda: brotli.Decompressor().process,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
}


@pytest.mark.parametrize("encoding", STREAM_DECODERS)
def test_one_stream_is_flushed_where_a_message_ends(encoding: Any) -> None:
    one = packer(batch=3, encoding=encoding, stream="one")
    decode = STREAM_DECODERS[encoding]()
    for first in (0, 3, 6):
        ((opcode, is_deflated, payload),) = unframed(one.pack(first, first + 3))
        assert (opcode, is_deflated) == (BINARY, False)
        assert decode(payload).splitlines() == events_of(first, first + 3)


def test_permessage_deflate_goes_on_from_message_to_message() -> None:
    deflating = packer(Agreed(takeover=True, window_bits=15), deflate="takeover")
    inflater = zlib.decompressobj(wbits=-15)
    messages = unframed(deflating.pack(0, 5))
    assert {message[:2] for message in messages} == {(TEXT, True)}
    assert [inflater.decompress(message[2] + b"\x00\x00\xff\xff") for message in messages] == events_of(0, 5)


@pytest.mark.parametrize("encoding", DECODERS)
def test_a_body_says_its_size_and_holds_the_batch(encoding: Any) -> None:
    bodies = Workshop(Plan(is_post=True, encoding=encoding, batch=3), EVENTS).for_posts(
        9, b"POST /x HTTP/1.1\r\n"
    )
    head, _, body = bodies.pack(0, 3).partition(b"\r\n\r\n")
    assert head == b"POST /x HTTP/1.1\r\nContent-Length: %d" % len(body)
    assert DECODERS[encoding](body).splitlines() == events_of(0, 3)


# When


def test_an_even_schedule() -> None:
    plan = Plan(recordings=4, rate=2, for_s=3, batch=2)
    dues = [list(due_times(plan, EVENTS, number)) for number in range(4)]
    assert dues[0] == [0.0, 1.0, 2.0]
    assert dues[1] == [0.25, 1.25, 2.25], "recordings are spread over the interval"


def test_the_last_message_may_be_smaller() -> None:
    assert len(list(due_times(Plan(recordings=1, rate=1, for_s=5, batch=2), EVENTS, 0))) == 3


def test_a_ramp_lets_recordings_begin_one_after_the_other() -> None:
    plan = Plan(recordings=4, rate=1000, for_s=1, ramp_s=8)
    begins = [next(due_times(plan, EVENTS, number)) for number in range(4)]
    assert begins == pytest.approx([0, 2, 4, 6], abs=0.01)


def test_thinking_makes_bursts_and_keeps_the_rate() -> None:
    plan = Plan(recordings=3, rate=2, for_s=500, thinks=True, seed=4)
    dues = list(due_times(plan, EVENTS, 1))
    assert dues == list(due_times(plan, EVENTS, 1))
    assert dues != list(due_times(plan, EVENTS, 2))
    assert len(dues) == plan.events_each == 1000
    gaps = [after - before for before, after in itertools.pairwise(dues)]
    assert min(gaps) >= 0
    assert sum(gap < 0.05 for gap in gaps) > 500, "most events are in a burst"
    assert max(gaps) > 5, "and there are pauses"
    assert dues[-1] == pytest.approx(plan.for_s, rel=0.1)


def test_thinking_in_batches_sends_every_event() -> None:
    plan = Plan(recordings=1, rate=2, for_s=50, thinks=True, batch=7)
    assert len(list(due_times(plan, EVENTS, 0))) == math.ceil(100 / 7)
