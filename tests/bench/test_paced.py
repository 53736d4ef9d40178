"""Paced visitors: everyone sends what was made for all, loses nothing, and what goes wrong is told."""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import threading
import uuid
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from bench.daemon import Daemon, daemon
from bench.floors import receivers
from bench.frames import Agreed, frame
from bench.paced import __main__ as command
from bench.paced import readback, scenes
from bench.paced.frames import BYTES_MAX, BYTES_MIN, Stream, events
from bench.paced.order import Order, Seen, Window
from bench.paced.pace import Mark
from bench.paced.scenes import Scene
from bench.paced.visitors import Visitors
from bench.paced.work import visit

CORES = frozenset(os.sched_getaffinity(0))
START_MS = 1_790_000_000_000
_EMPTY_BLOCK = b"\x00\x00\xff\xff"


@pytest.fixture(scope="module")
def rrd() -> Iterator[Daemon]:
    with daemon({"RRD_FLUSH_AGE_MS": "50"}) as running:
        yield running


def order_for(target: Daemon, **changes: Any) -> Order:
    assert target.pid is not None
    order = Order(
        target.host, target.port, target.pid, "/recordings/%s/ingest/ws", 12,
        headers=f"Authorization: Bearer {target.key}\r\n", rate=10, warm_up_s=0.2, for_s=0.3, ramp_s=0.1,
        ack_every=3, source=os.getpid() % 60_000, run=str(uuid.uuid4()),
    )  # fmt: skip
    return order._replace(**changes)


def seen_of(**changes: Any) -> Seen:
    window = Window(
        seconds=1.0, events=1000, server_s=0.01, load_s=0.1, others_share=0.0, waited_share=0.0, late_s=0.0,
        late_share=0.0,
    )  # fmt: skip
    seen = Seen(
        window=window, opened=10, refused=0, lost=0, doubled=0, acks=5, p50_ms=500.0, p99_ms=1000.0,
        max_ms=1001.0, drained_s=0.1, opening_s=1.0, idle_bytes=1, open_bytes=2, used_bytes=3,
        opening_server_s=0.1, stuck=0, problems=[],
    )  # fmt: skip
    return seen._replace(**changes)


# What is sent


def test_each_event_of_a_visitor_has_its_own_time_and_the_right_size() -> None:
    lines = events(3000, rate=20, start_ms=START_MS)
    times = [json.loads(line)["timestamp"] for line in lines]
    assert times == [START_MS + 50 * number for number in range(3000)]
    assert all(BYTES_MIN <= len(line) <= BYTES_MAX for line in lines)


@pytest.mark.parametrize("rate", [0, 1, 3000])
def test_times_differ_at_every_rate(rate: float) -> None:
    times = [json.loads(line)["timestamp"] for line in events(50, rate=rate, start_ms=START_MS)]
    assert len(set(times)) == 50


@pytest.mark.parametrize("window_bits", [9, 12, 15])
def test_compressed_frames_are_one_stream_within_the_agreed_window(window_bits: int) -> None:
    lines = events(200, rate=20, start_ms=START_MS)
    stream = Stream(lines, deflate=True)
    assert stream.agree(Agreed(takeover=True, window_bits=window_bits)) == ""
    inflater = zlib.decompressobj(wbits=-window_bits)
    for made, line in zip(stream.frames, lines, strict=True):
        assert made[0] == 0xC1
        size, mask_at = made[1] & 0x7F, 2
        if size == 126:
            size, mask_at = int.from_bytes(made[2:4], "big"), 4
        mask, masked = made[mask_at : mask_at + 4], made[mask_at + 4 :]
        assert len(masked) == size
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
        assert inflater.decompress(payload + _EMPTY_BLOCK) == line


def test_what_cannot_be_sent_as_asked_is_said() -> None:
    lines = events(2, rate=20, start_ms=START_MS)
    takeover = Agreed(takeover=True, window_bits=15)
    assert "not had" in Stream(lines, deflate=True).agree(None)
    assert "not had" in Stream(lines, deflate=False).agree(takeover)
    assert "takeover" in Stream(lines, deflate=True).agree(takeover._replace(takeover=False))
    assert "8 bits" in Stream(lines, deflate=True).agree(takeover._replace(window_bits=8))
    stream = Stream(lines, deflate=True)
    assert stream.agree(takeover) == stream.agree(takeover) == ""
    assert "different" in stream.agree(takeover._replace(window_bits=10))


# Visits


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("first_events", [0, 4])
def test_visitors_lose_nothing_and_know_how_long_acks_take(
    rrd: Daemon, deflate: bool, first_events: int
) -> None:
    order = order_for(rrd, deflate=deflate, first_events=first_events)
    seen = visit(order, CORES)
    assert seen.is_whole, seen
    assert (seen.opened, order.events) == (12, first_events + 5)
    # Of the three events a second's third that are measured, each of the four that ask.
    assert seen.acks in range(8, 17)
    assert 0 < seen.p50_ms <= seen.p99_ms <= seen.max_ms < 60_000
    assert seen.window.events > 0
    assert readback.wrong(rrd, map(order.recording_id, range(12)), order.events) == []


def test_a_recording_that_lacks_events_is_told_of(rrd: Daemon) -> None:
    order = order_for(rrd, visitors=1)
    visit(order, CORES)
    assert "not 6" in readback.wrong(rrd, [order.recording_id(0)], 6)[0]
    assert "could not be read" in readback.wrong(rrd, [str(uuid.uuid4())], 1)[0]


def test_a_storm_counts_from_when_a_visitor_came(rrd: Daemon) -> None:
    order = order_for(rrd, rate=0, warm_up_s=0, for_s=0, first_events=1, ack_every=1, ramp_s=0)
    seen = visit(order, CORES)
    assert seen.is_whole, seen
    assert seen.acks == seen.window.events == 12


def test_repeats_are_counted(rrd: Daemon) -> None:
    """All send the same events to one recording, which then has each of them once."""
    path = f"/recordings/{uuid.uuid4()}/ingest/ws?ack=true"
    seen = visit(order_for(rrd, path=path, rate=0, warm_up_s=0, for_s=0, first_events=3, ack_every=1), CORES)
    assert seen.refused == 0
    assert seen.lost == 11 * 3
    assert seen.doubled == 11 * 3
    assert not seen.is_whole


def test_who_is_refused_is_told_of(rrd: Daemon) -> None:
    seen = visit(order_for(rrd, headers="Authorization: Bearer none\r\n"), CORES)
    assert (seen.opened, seen.refused) == (0, 12)
    assert "401" in seen.problems[0]


def test_nobody_there_is_told_of(rrd: Daemon) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        seen = visit(order_for(rrd, port=unused.getsockname()[1]), CORES)
    assert seen.refused == 12
    assert "not connected" in seen.problems[0]


def test_a_receiver_that_discards_has_lost_everything_unless_it_need_not_count() -> None:
    with receivers.receiver() as bare:
        order = order_for(Daemon("127.0.0.1", bare.port, "", bare.pid), path=receivers.RECEIVE, ack_every=0)
        assert visit(order, CORES).lost == 12 * 5
        seen = visit(order._replace(is_counted=False, ack_every=3), CORES)
    assert seen.is_whole, seen
    assert seen.acks == 0


def test_what_there_is_no_room_for_is_sent_later_and_in_order() -> None:
    """The server of this test reads nothing until the visitor has kept something back."""
    lines = events(20_000, rate=0, start_ms=START_MS)
    stream = Stream(lines, deflate=False)
    got = bytearray()
    may_read = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                while not got.endswith(b"\r\n\r\n"):
                    got.extend(connection.recv(1 << 16))
                got.clear()
                connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
                may_read.wait(30)
                while data := connection.recv(1 << 16):
                    got.extend(data)
                    if got.endswith(goodbye):
                        return

        goodbye = frame(b"the end", mask=b"1234")
        thread = threading.Thread(target=serve)
        thread.start()
        order = Order(
            "127.0.0.1", server.getsockname()[1], os.getpid(), "/", 1, rate=0, warm_up_s=0, for_s=0, ramp_s=0,
            first_events=len(lines), source=os.getpid() % 60_000,
        )  # fmt: skip
        visitors = Visitors(order, stream)
        visitors.open()
        assert visitors.stuck == 1
        visitors.write(0, goodbye)
        may_read.set()
        while thread.is_alive():
            visitors.push()
            visitors.poll(0.001)
        thread.join()
        visitors.close()
    assert bytes(got) == b"".join(stream.frames) + goodbye


# What is said of it


def test_a_window_is_what_went_on_between_two_marks() -> None:
    begin = Mark(10.0, 100, 1.0, 2.0, 0.5, 8.0, 0.0, 5)
    end = Mark(14.0, 1100, 2.0, 3.0, 0.7, 12.0, 0.03, 15)
    window = begin.until(end, cores=2)
    assert (window.seconds, window.events, window.server_s, window.load_s) == (4.0, 1000, 1.0, 1.0)
    assert window.others_share == pytest.approx(0.25)
    assert window.waited_share == pytest.approx(0.05)
    assert (window.late_s, window.late_share) == (0.03, 0.01)


LATE = seen_of().window._replace(late_share=0.5)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (seen_of(), ""),
        (seen_of(window=LATE), ""),
        (seen_of(window=LATE._replace(load_s=0.99)), ""),
        (seen_of(lost=3), "3 lost"),
        (seen_of(problems=["cut"]), "cut"),
        (seen_of(p99_ms=1051.0), "p99"),
        (seen_of(p99_ms=math.nan), "p99"),
        (seen_of(p99_ms=1051.0, window=LATE), "the load was the limit"),
        (seen_of(window=LATE._replace(seconds=1.03)), "events a second"),
    ],
)
def test_a_turn_goes_well_or_it_is_said_why_not(seen: Seen, words: str) -> None:
    said = scenes.what_is_wrong(seen, Scene(visitors=50, rate=20))
    assert words in said
    assert bool(said) == bool(words)


@pytest.mark.parametrize("limit", [1, 700, 2000, 5321, 9999, 10_000, 20_000])
def test_a_climb_finds_how_many_there_may_be(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def turn(_: object, scene: Scene) -> Seen:
        window = seen_of().window._replace(events=20 * scene.visitors)
        return seen_of(window=window, p99_ms=1000.0 if scene.visitors <= limit else 2000.0)

    monkeypatch.setattr(scenes.Turns, "rrd", turn)
    found = scenes.climb(Scene(visitors=2000), lambda _: None, most=10_000)
    assert found.most <= min(limit, 10_000)
    assert found.most >= 0.94 * min(limit, 10_000) - 1
    assert (found.best is None) == (found.most == 0)
    assert not found.is_loads_limit
    assert bool(found.too_many) == (limit < 10_000) == bool(found.reason)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["turns", "--visitors", "10", "--rounds", "1", "--for", "0.5", "--warm-up", "0.2"], "rrd is"),
        (["stay", "--visitors", "10", "--for", "1", "--ramp", "0.1", "--deflate"], "KiB a socket"),
        (["storm", "--visitors", "10", "--rounds", "1"], "p99 of the first ack"),
        (["climb", "--visitors", "10", "--most", "12", "--for", "1"], "visitors at 20/s"),
    ],
)
@pytest.mark.slow
def test_the_command_says_what_came_of_it(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["paced", *arguments, "--set", "RRD_FLUSH_AGE_MS=100"])
    command.main()
    printed = capsys.readouterr().out
    assert words in printed.splitlines()[-1]
    assert "PROBLEM" not in printed
