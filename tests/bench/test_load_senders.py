"""A recording over a connection: what counts as an ack, and what as a problem."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.frames import masked
from bench.load import Plan, Target
from bench.load.answers import AnswerReader, NoAnswer
from bench.load.events import Events
from bench.load.messages import Workshop
from bench.load.posts import PostSender
from bench.load.senders import Journal
from bench.load.sockets import SocketSender

START_MS = 1_795_399_704_824
EVENTS = Events("small", seed=5, start_ms=START_MS)
RUN = "f3b4bf5e-3f0e-4b8e-9f0d-0f6a8f4f8f11"
TARGET = Target("http://127.0.0.1:1", "a-key")


# Senders


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


def socket_sender(journal: Journal, **changes: Any) -> tuple[SocketSender, Wire]:
    sender, wire = SocketSender(9, TARGET, RUN, Workshop(Plan(**changes), EVENTS), journal), Wire()
    sender.connection_made(wire)
    sender.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    return sender, wire


def summary(**changes: object) -> bytes:
    counts = {"ok": True, "final": False, "successful_rows": 0, "quarantined_rows": 0, "duplicate_rows": 0}
    payload = json.dumps({"type": "upstream-result"} | counts | changes).encode()
    return bytes((0x81, 126)) + len(payload).to_bytes(2, "big") + payload


CLOSE_1000 = b"\x88\x02\x03\xe8"


async def test_an_event_counts_from_when_it_was_meant_to_be_sent() -> None:
    journal = Journal()
    journal.started_at = time.monotonic() - 10
    sender, _ = socket_sender(journal)
    sender.send(1, time.monotonic() - 5)
    sender.send(2, time.monotonic() - 4)
    sender.send(3, time.monotonic())
    sender.data_received(summary(successful_rows=2))
    assert (sender.acked, sender.unacked) == (2, [(2, 3)])
    assert journal.latencies.count == 2
    assert 3990 < journal.latencies.ms(1) < 4990 < journal.latencies.ms(100)
    assert sum(journal.acked_by_second.values()) == 2


async def test_an_ack_may_end_within_a_write() -> None:
    journal = Journal()
    sender, _ = socket_sender(journal)
    sender.send(10, time.monotonic())
    for rows, unacked in ((4, [(4, 10)]), (4, [(4, 10)]), (10, [])):
        sender.data_received(summary(successful_rows=rows))
        assert sender.unacked == unacked
    assert journal.latencies.count == 10


async def test_a_socket_ends_well_with_a_last_summary() -> None:
    sender, wire = socket_sender(Journal())
    sender.send(1, time.monotonic())
    sender.close()
    sender.data_received(summary(successful_rows=1, final=True) + CLOSE_1000)
    assert (sender.problem, sender.ended.done(), wire.is_closed) == ("", True, True)


@pytest.mark.parametrize(
    "said",
    [
        summary(successful_rows=3),
        summary(quarantined_rows=1),
        summary(successful_rows=1, duplicate_rows=1),
        summary(ok=False),
        b"\x81\x02{}",
        b"\x81\x03no!",
        CLOSE_1000,
        b"\x88\x02\x03\xf4",
    ],
)
async def test_what_a_server_should_not_say_is_a_problem(said: bytes) -> None:
    sender, _ = socket_sender(Journal())
    sender.send(2, time.monotonic())
    sender.data_received(said)
    assert sender.problem


async def test_a_close_without_a_summary_is_a_problem() -> None:
    sender, _ = socket_sender(Journal())
    sender.close()
    sender.data_received(CLOSE_1000)
    assert "summary" in sender.problem


async def test_a_refused_socket_says_why() -> None:
    sender = SocketSender(9, TARGET, RUN, Workshop(Plan(), EVENTS), Journal())
    sender.connection_made(Wire())
    sender.data_received(b"HTTP/1.1 503 Full\r\n\r\nno more")
    assert sender.opened.done()
    assert sender.problem == "refused: HTTP/1.1 503 Full no more"


async def test_pings_are_answered() -> None:
    sender, wire = socket_sender(Journal())
    before = len(wire.written)
    sender.data_received(b"\x89\x02hi")
    pong = wire.written[before:]
    assert pong[:2] == b"\x8a\x82"
    assert masked(pong[6:], pong[2:6]) == b"hi"


async def test_a_closed_loop_keeps_to_its_window() -> None:
    sender, _ = socket_sender(Journal(), is_closed=True, window=3, batch=2)
    sender.pump(time.monotonic() + 60)
    for _ in range(20):
        await asyncio.sleep(0)
    assert sender.sent == 6
    sender.data_received(summary(successful_rows=3))
    for _ in range(20):
        await asyncio.sleep(0)
    assert sender.sent == 8, "a message of which one event is acked is still under way"


async def test_a_closed_loop_stops_while_the_connection_is_full() -> None:
    sender, _ = socket_sender(Journal(), is_closed=True)
    sender.pause_writing()
    sender.pump(time.monotonic() + 60)
    await asyncio.sleep(0)
    assert sender.sent == 0
    sender.resume_writing()
    await asyncio.sleep(0)
    assert sender.sent > 0


async def test_a_body_that_is_refused_leaves_a_gap_in_the_acks() -> None:
    journal = Journal()
    sender, wire = PostSender(9, TARGET, RUN, Workshop(Plan(is_post=True, window=3), EVENTS), journal), Wire()
    sender.connection_made(wire)
    for limit in (2, 5, 6):
        sender.send(limit, time.monotonic())
    assert not sender.has_room
    taken = b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"successful_rows": 2}'
    refused = b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno"
    sender.data_received(taken.replace(b"21", b"22") + refused)
    assert (sender.acked, sender.refused, sender.unacked) == (2, 3, [(2, 5), (5, 6)])
    assert sender.problem.startswith("503")
    sender.close()
    assert not sender.ended.done()
    sender.data_received(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert sender.ended.done()
    assert (sender.acked, sender.unacked, journal.latencies.count) == (3, [(2, 5)], 3)


# Answers

_OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 4\r\n\r\n{"a"'
_CHUNKED = b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
_TRAILER = b"HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nz\r\n0\r\nA: b\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_EMPTY = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


@given(cuts=st.lists(st.integers(0, 500), max_size=5))
def test_answers_do_not_depend_on_where_the_bytes_are_cut(cuts: list[int]) -> None:
    data = _OK + _CHUNKED + _TRAILER + _CONTINUE + _EMPTY
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    reader = AnswerReader()
    answers = []
    for start, end in itertools.pairwise(edges):
        answers += reader.feed(data[start:end])
    assert answers == [
        (200, b'{"a"', False),
        (500, b"abcde", False),
        (201, b"z", False),
        (204, b"", True),
    ]


@pytest.mark.parametrize(
    "junk",
    [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200\r\n" + b"a" * 70_000, _CHUNKED.replace(b"3\r\nabc", b"no\r\nabc")],
)
def test_what_is_no_http_is_noticed(junk: bytes) -> None:
    with pytest.raises(NoAnswer):
        AnswerReader().feed(junk)
