"""What a decoder says that it holds is what it holds: the budget of all senders rests on it."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from rrd.wire.codings import Encoding
from rrd.wire.decoder import ContentKind, Decoder
from tests.wire.wire_lab import ENCODINGS, KIB, KINDS, LIMITS, MIB, Compressor, event

_SLACK_BYTES = 96 * KIB
"""Objects of Python, and a window under way."""
_GROWTH = 1.2
"""A buffer that grows is given an eighth more than it needs."""


def _unfinished(kind: ContentKind, size: int) -> bytes:
    return (b"[" if kind == "json" else b"") + b'{"type":3,"timestamp":1,"data":"' + b"x" * size


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk_bytes", [1000, 64 * KIB, 256 * KIB])
def test_an_unfinished_event_takes_what_is_counted(kind: ContentKind, chunk_bytes: int) -> None:
    text = _unfinished(kind, 3 * MIB)
    tracemalloc.start()
    try:
        decoder = Decoder(kind=kind, encoding="identity", limits=LIMITS)
        for at in range(0, len(text), chunk_bytes):
            decoder.feed(text[at : at + chunk_bytes])
            assert decoder.next_batch() is None
        gc.collect()
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    held_bytes, unfinished_bytes = decoder.held()
    assert held_bytes >= unfinished_bytes >= 3 * MIB
    assert taken_bytes <= held_bytes * _GROWTH + _SLACK_BYTES


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_held_once_it_is_given_up(kind: ContentKind, encoding: Encoding) -> None:
    decoder = Decoder(kind=kind, encoding=encoding, limits=LIMITS)
    stream = Compressor(encoding)
    decoder.feed(stream.flushed(_unfinished(kind, 3 * MIB)))
    decoder.feed(stream.flushed(b"x" * MIB))
    assert decoder.next_batch() is None
    assert decoder.held()[0] >= 4 * MIB
    decoder.give_up()
    assert decoder.held() == (0, 0)
    assert decoder.next_batch() is None


def test_a_document_counts_until_its_last_event_was_taken() -> None:
    events = [event(number, text="x" * 40 * KIB) for number in range(100)]
    decoder = Decoder(kind="json", encoding="identity", limits=LIMITS)
    document = b"[" + b",".join(events) + b"]"
    for at in range(0, len(document), 64 * KIB):
        decoder.feed(document[at : at + 64 * KIB])
        assert decoder.next_batch() is None
    decoder.finish()
    batches = 0
    while (batch := decoder.next_batch()) is not None:
        batches += 1
        if batch.limit_line <= len(events):
            assert decoder.held()[0] >= len(document)
    assert batches > 1
    assert decoder.held() == (0, 0)
