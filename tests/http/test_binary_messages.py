"""A socket's binary messages: no decoder before the first, and what is kept of the last."""

from __future__ import annotations

from rrd.http.binary_messages import BinaryMessages
from tests.wire.wire_lab import LIMITS

EVENT = b'{"type":3,"timestamp":1}'


def _messages() -> BinaryMessages:
    return BinaryMessages(kind="ndjson", encoding="identity", limits=LIMITS)


def test_before_the_first_there_is_nothing_to_decode_hold_or_end() -> None:
    binary = _messages()
    binary.finish()
    binary.give_up()
    binary.forget_head()
    assert binary.decoder is None
    assert binary.held() == (0, 0)
    assert not binary.has_waiting


def test_all_come_out_of_one_decoder_and_the_beginning_goes_with_the_last_of_them() -> None:
    binary = _messages()
    decoder = binary.feed(EVENT + b"\n")
    assert binary.feed(EVENT) is decoder
    assert decoder.next_batch(pace="quick") is None  # They wait for more.
    assert binary.has_waiting
    binary.forget_head()
    assert binary.head == EVENT
    batch = decoder.next_batch(flush=True)
    assert batch is not None
    assert batch.event_count == 2
    binary.forget_head()
    assert binary.head == b""
