"""The one budget for what senders make the daemon hold: who waits, who is refused, and who never is."""

from __future__ import annotations

import asyncio
import random
import zlib
from pathlib import Path

import brotli
import pytest
import zstandard

from rrd.errors import RrdError
from rrd.http.budget import (
    PATIENCE_S,
    READ_BYTES,
    STALLED_S,
    SWEEP_INTERVAL_S,
    Budget,
    TooMuchUnfinished,
    TooSlow,
)
from rrd.http.connection import Connection as ServerConnection
from rrd.http.hold import FREE_BYTES, Reservation
from rrd.http.services import Bounds
from tests.harness import LocalDaemon, eventually, running, until
from tests.http.api import visiting
from tests.http.raw_client import Connection

MIB = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Sender:
    """A connection of a tenant, with what it was told."""

    def __init__(self, budget: Budget, tenant: str, key: str = "k") -> None:
        self.hold = Reservation(budget, self)
        self.hold.belongs_to(tenant, key)
        self.is_held_back = False
        self.told: list[bool] = []
        """``is_held_back``, each time that it was told."""
        self.failure: RrdError | None = None
        self.is_open = True
        self.lets_go = True
        """What is dropped is let go at once: nothing else uses it."""

    def hold_back(self, is_full: bool) -> None:
        self.is_held_back = is_full
        self.told.append(is_full)

    def give_up(self, failure: RrdError) -> None:
        self.failure = failure
        if self.lets_go:
            self.hold.set_incoming(0)

    def is_open_to_sender(self) -> bool:
        return self.is_open and not self.is_held_back

    def holds(self, size: int) -> None:
        self.hold.set_incoming(size, received=size)


def test_what_is_free_is_not_counted_and_never_waits() -> None:
    budget = Budget(MIB, now=Clock())
    for _ in range(1000):
        Sender(budget, "a").holds(FREE_BYTES)
    assert (budget.held_bytes, budget.waiting_count) == (0, 0)


def test_one_tenant_may_use_nearly_all_and_leaves_a_tenth_to_those_that_hold_little() -> None:
    budget = Budget(100 * MIB, now=Clock())
    flood = [Sender(budget, "a") for _ in range(91)]
    for sender in flood:
        sender.holds(MIB)
    assert flood[-1].is_held_back
    assert not flood[0].is_held_back
    other = Sender(budget, "b")
    other.holds(2 * MIB)
    assert not other.is_held_back
    assert all(sender.failure is None for sender in flood)


def test_where_all_is_taken_the_tenant_that_holds_most_gives_at_once() -> None:
    clock = Clock()
    budget = Budget(100 * MIB, now=clock)
    flood = [Sender(budget, "a", key) for key in ("x", "x", "x", "y") for _ in range(24)]
    for sender in flood:
        sender.holds(MIB)
        clock.now += 0.01
    other = Sender(budget, "b")
    other.holds(5 * MIB)
    refused = [sender for sender in flood if sender.failure is not None]
    assert refused
    assert {sender.hold.key for sender in refused} == {"x"}, "not of the key that holds most"
    assert other.failure is None
    assert budget.held_bytes <= 100 * MIB


def test_who_waits_goes_on_as_soon_as_there_is_room() -> None:
    budget = Budget(10 * MIB, now=Clock())
    first, second = Sender(budget, "a"), Sender(budget, "a")
    first.holds(8 * MIB)
    second.holds(2 * MIB)
    assert second.is_held_back
    first.hold.release()
    assert not second.is_held_back
    assert budget.held_bytes == 2 * MIB


def test_a_sender_that_stalls_is_refused_before_one_that_sends() -> None:
    clock = Clock()
    budget = Budget(10 * MIB, now=clock)
    stalled, busy = Sender(budget, "a"), Sender(budget, "a")
    stalled.holds(2 * MIB)
    clock.now += STALLED_S
    busy.holds(7 * MIB + MIB // 2)
    assert busy.is_held_back
    budget.sweep()
    assert isinstance(stalled.failure, TooMuchUnfinished)
    assert busy.failure is None
    assert not busy.is_held_back


async def test_where_all_wait_one_is_refused_so_that_the_others_go_on() -> None:
    clock = Clock()
    budget = Budget(10 * MIB, now=clock)
    senders = [Sender(budget, "a") for _ in range(13)]
    for sender in senders:
        sender.holds(MIB * 3 // 4)
        sender.is_open = False  # None of them stalls: the server doesn't read.
    clock.now += PATIENCE_S
    for _ in range(12):
        budget.sweep()
    assert any(sender.failure is not None for sender in senders)
    going_on = [sender for sender in senders if sender.failure is None]
    assert going_on
    assert not any(sender.is_held_back for sender in going_on)
    refused = next(sender for sender in senders if sender.failure is not None)
    with pytest.raises(TooMuchUnfinished):
        await refused.hold.room()
    await refused.hold.room()  # It is told once: what is whole may still be taken in.


def test_where_none_gets_to_its_end_others_are_refused_soon_though_all_go_on_for_a_read() -> None:
    clock = Clock()
    budget = Budget(100 * MIB, now=clock)
    senders = [Sender(budget, "a") for _ in range(13)]
    for sender in senders:
        sender.holds(7 * MIB)
        sender.is_open = False  # None of them stalls: the server doesn't read.

    def left() -> list[Sender]:
        return [sender for sender in senders if sender.failure is None]

    began = clock.now
    while len(left()) > 4:
        for sender in left():
            if not sender.is_held_back:
                sender.holds(sender.hold.counted_bytes + READ_BYTES)
        clock.now += SWEEP_INTERVAL_S
        budget.sweep()
    assert clock.now - began < 7 * PATIENCE_S
    one_more = clock.now + PATIENCE_S - SWEEP_INTERVAL_S
    left()[0].hold.release()
    while clock.now < one_more:
        clock.now += SWEEP_INTERVAL_S
        budget.sweep()
    assert len(left()) == 4, "one has got to its end, so none had to give way"


def test_what_was_refused_counts_until_it_is_let_go() -> None:
    budget = Budget(10 * MIB, now=Clock())
    busy, waiting, more = (Sender(budget, "a") for _ in range(3))
    busy.lets_go = False  # A thread is decoding it.
    busy.holds(8 * MIB)
    waiting.holds(MIB + MIB // 2)
    more.hold.set_decoded(MIB, unfinished=0)
    assert isinstance(busy.failure, TooMuchUnfinished)
    assert budget.held_bytes == 10 * MIB + MIB // 2
    assert waiting.is_held_back, "there is no room before the refused one lets go"
    assert more.failure is None
    busy.hold.release()
    assert budget.held_bytes == 2 * MIB + MIB // 2
    assert not waiting.is_held_back


def test_no_more_are_refused_than_are_needed_where_they_do_not_let_go_at_once() -> None:
    clock = Clock()
    budget = Budget(10 * MIB, now=clock)
    stalled = [Sender(budget, "a") for _ in range(9)]
    for sender in stalled:
        sender.lets_go = False
        sender.holds(MIB - MIB // 16)
    clock.now += STALLED_S
    waiting = Sender(budget, "a")
    waiting.holds(MIB)
    assert waiting.is_held_back
    budget.sweep()
    assert sum(sender.failure is not None for sender in stalled) == 1


def test_none_goes_on_because_of_bytes_that_only_change_hands() -> None:
    budget = Budget(10 * MIB, now=Clock())
    first, waiting = Sender(budget, ""), Sender(budget, "a")
    first.holds(8 * MIB)
    waiting.holds(MIB + MIB // 2)
    assert waiting.is_held_back
    waiting.told.clear()
    first.hold.belongs_to("b", "k")  # Its key is known now.
    first.hold.set_incoming(0, taken=8 * MIB)  # It goes to the decoder,
    first.hold.set_decoded(8 * MIB, unfinished=8 * MIB)  # which has it.
    assert waiting.told == []
    assert budget.held_bytes == 9 * MIB + MIB // 2


def test_only_unfinished_input_must_come_at_the_least_rate() -> None:
    clock = Clock()
    budget = Budget(100 * MIB, rate_min=1024, grace_s=10, now=clock)
    slow, steady, idle, unread = (Sender(budget, "a") for _ in range(4))
    idle.hold.set_decoded(16 * MIB, unfinished=0)  # An open stream, and nothing unfinished.
    unread.is_open = False
    for second in range(60):
        slow.holds(MIB + second)
        slow.hold.incoming_bytes_seen = second
        steady.hold.set_incoming(2 * MIB + 2048 * second, received=2048)
        unread.hold.set_incoming(MIB)
        for _ in range(2):
            clock.now += 0.5
            budget.sweep()
    assert isinstance(slow.failure, TooSlow)
    assert [sender.failure for sender in (steady, idle, unread)] == [None] * 3


@pytest.mark.parametrize("seed", range(20))
def test_the_sum_is_right_and_bounded_and_no_wait_is_without_an_end(seed: int) -> None:
    chance, clock = random.Random(seed), Clock()
    budget = Budget(20 * MIB, now=clock)
    senders = [Sender(budget, f"t{number % 4}", f"k{number % 3}") for number in range(60)]
    for _ in range(2000):
        sender = chance.choice(senders)
        clock.now += chance.random() / 10
        if sender.failure is None and not sender.is_held_back:
            size = chance.choice((0, FREE_BYTES, READ_BYTES, sender.hold.counted_bytes + READ_BYTES))
            sender.hold.set_incoming(size, received=1)
        if chance.random() < 0.1:
            budget.sweep()
        assert budget.held_bytes == sum(each.hold.counted_bytes for each in senders)
        assert budget.held_bytes <= 20 * MIB
        assert budget.waiting_count == sum(each.is_held_back for each in senders)
    for _ in range(200):
        clock.now += 1.0
        budget.sweep()
    assert budget.waiting_count == 0
    for sender in senders:
        sender.hold.release()
    assert budget.held_bytes == 0


# The ways in. Each holds more than is free, and sends no more.

_ZEROS = b"\0" * (4 * MIB)
_HELD = MIB


def _brotli_window() -> bytes:
    packer = brotli.Compressor(quality=5, lgwin=22)
    return bytes(packer.process(b'{"type":3,"timestamp":1,"data":"' + _ZEROS) + packer.flush())


def _zstd_window() -> bytes:
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    whole = packer.compress(b"\n" * (4 * MIB)) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return bytes(whole)


def _masked(first: int, payload: bytes) -> bytes:
    return bytes((first, 0xFE)) + len(payload).to_bytes(2, "big") + b"\0" * 4 + payload


_WAYS = {
    "a frame that doesn't end": (
        "socket",
        {},
        b"\x81\xff" + (32 * MIB).to_bytes(8, "big") + b"\0" * 4 + b"x" * _HELD,
    ),
    "fragments that don't end": (
        "socket",
        {},
        (b"\x01\xff" + _HELD.to_bytes(8, "big") + b"\0" * 4 + b"x" * _HELD),
    ),
    "a body's unfinished line": ("body", {}, b"x" * _HELD),
    "a body's unfinished document": ("body", {"Content-Type": "application/json"}, b'["' + b"x" * _HELD),
    "a brotli window": ("body", {"Content-Encoding": "br"}, _brotli_window()),
    "a compressed message": (
        "socket",
        {"Sec-WebSocket-Extensions": "permessage-deflate"},
        _masked(0xC1, zlib.compress(_ZEROS[:_HELD], wbits=-15))
        + b"\x81\xff"
        + (_HELD * 2).to_bytes(8, "big")
        + b"\0" * 4
        + b"x" * _HELD,
    ),
    "a zstd window": ("body", {"Content-Encoding": "zstd"}, _zstd_window()),
}


async def _hold_much(daemon: LocalDaemon, key: str, way: str) -> Connection:
    kind, headers, data = _WAYS[way]
    connection = await Connection.open(daemon.url)
    path = "/recordings/0b1c7a52-3d44-4c8e-9a51-6d1f5a1f9e11/ingest"
    if kind == "socket":
        connection.send_head(
            "GET",
            f"{path}/ws?token={key}",
            {
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
                **headers,
            },
        )
    else:
        connection.send_head(
            "POST", path, {"Authorization": f"Bearer {key}", "Content-Length": str(1 << 30), **headers}
        )
    connection.writer.write(data)
    return connection


@pytest.mark.parametrize("way", _WAYS)
async def test_each_way_in_counts_waits_and_gives_way_to_the_neighbour(tmp_path: Path, way: str) -> None:
    bytes_max = 8 * MIB
    async with running(tmp_path, held_bytes_max=bytes_max, event_bytes_max=64 * MIB) as daemon:
        budget = daemon.services.unfinished
        key = daemon.key("ingest", tenant="flood")
        connections = [await _hold_much(daemon, key, way)]
        await until(lambda: budget.held_bytes >= _HELD, what="what it sent to be counted")
        connections += [await _hold_much(daemon, key, way) for _ in range(11)]
        async with visiting(daemon) as api:
            line = b'{"type":3,"timestamp":1,"data":"' + b"x" * (2 * MIB) + b'"}\n'
            reply = await api.post("11111111-3d44-4c8e-9a51-6d1f5a1f9e11", line)
            assert reply.status == 200, reply.body
            assert budget.held_bytes <= bytes_max
        for connection in connections:
            connection.writer.close()

        async def given_back() -> bool:
            return budget.held_bytes == 0

        await eventually(given_back, what="everything to be given back")


async def test_a_body_that_is_refused_as_more_comes_does_not_count_as_ended(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        budget = daemon.services.unfinished
        connection = await _hold_much(daemon, daemon.key("ingest"), "a body's unfinished line")
        await until(lambda: budget.held_bytes >= _HELD, what="what it sent to be counted")
        (holds,) = budget._holds.values()
        (hold,) = holds
        await until(lambda: hold._unfinished >= _HELD, what="what it sent to be decoded")
        inside = hold._holder
        assert isinstance(inside, ServerConnection)
        inside.data_received(b"x" * 1000)  # Wakes the handler, which has its turn only after this.
        budget._refuse(hold)
        assert budget.held_bytes == 0, "a thousand others may be read before the handler has its turn"
        reply = await connection.reply(method="POST")
        assert (reply.status, reply.json()["error"]["code"]) == (503, "too_much_unfinished")
        connection.writer.close()


async def test_a_body_that_dawdles_is_told_so_and_what_was_whole_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path, receive_rate_min=1 << 20, receive_grace_s=1) as daemon:
        key = daemon.key("ingest")
        connection = await Connection.open(daemon.url)
        path = "/recordings/0b1c7a52-3d44-4c8e-9a51-6d1f5a1f9e11/ingest"
        connection.send_head("POST", path, {"Authorization": f"Bearer {key}", "Content-Length": "1000"})
        connection.writer.write(b'{"type":3,"timestamp":1,"data":{}}\n{"type"')
        reply = await connection.reply(method="POST")
        assert (reply.status, reply.json()["error"]["code"]) == (408, "too_slow")
        assert reply.json()["error"]["successful_rows"] == 1
        connection.writer.close()


@pytest.mark.parametrize(
    "sent", [b"", b"GET /-/health HTTP/1.1\r\nHost: x\r\nX-Slow: "], ids=["nothing", "a part"]
)
async def test_a_head_that_does_not_come_ends_the_connection(tmp_path: Path, sent: bytes) -> None:
    async with running(tmp_path, bounds=Bounds(head_s=0.2)) as daemon:
        connection = await Connection.open(daemon.url)
        connection.writer.write(sent)
        if sent:
            reply = await connection.reply()
            assert (reply.status, reply.json()["error"]["code"]) == (408, "head_too_slow")
        assert await asyncio.wait_for(connection.reader.read(), 20) == b""
        connection.writer.close()
