"""Floors, and the stage and load that they share with rrd: they do the work that they are said to do."""

from __future__ import annotations

import os
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import brotli
import pytest
import zstandard

from bench import blast, fetch, payloads, stage
from bench.floors import append, loop, receivers
from bench.floors import nginx as nginx_floor
from bench.floors.__main__ import run
from bench.lanes import socket_work
from bench.paced.order import Order
from bench.paced.work import visit
from bench.payloads import (
    Bodies,
    Compressed,
    Encoding,
    Pass,
    Texts,
    bodies,
    frames,
    grouped,
    joined,
    lines,
    messages,
)
from bench.result import Options
from bench.stage import Lane, Lap, Server, Turn

pytestmark = pytest.mark.table

EVENTS = 150

DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": lambda data: zlib.decompress(data, wbits=31),
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompress(data),
}
STREAMS: dict[str, Callable[[], Callable[[bytes], bytes]]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31).decompress,
    "br": lambda: lambda data: _all_of(brotli.Decompressor(), data),
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
}
ENCODINGS: list[Encoding] = ["gzip", "br", "zstd"]


def _all_of(decompressor: brotli.Decompressor, data: bytes) -> bytes:
    parts = [decompressor.process(data)]
    while parts[-1]:
        parts.append(decompressor.process(b""))
    return b"".join(parts)


# Payloads


def test_groups_keep_the_order_and_leave_a_large_event_alone() -> None:
    events = [b"a" * 40, b"b" * 40, b"c" * 40, b"d" * 100, b"e" * 10]
    assert grouped(events, 80) == [events[:2], events[2:3], events[3:4], events[4:]]
    assert grouped([], 80) == []


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_stream_a_message_holds_the_corpus(encoding: Encoding) -> None:
    made = messages(Compressed(encoding, events_max=EVENTS))
    texts = [DECODERS[encoding](piece) for piece in made.pieces]
    assert b"".join(texts) == joined(lines("all", EVENTS))
    assert [text.count(b"\n") for text in texts] == made.events
    assert made.raw_bytes == sum(map(len, texts))
    assert len(texts) > 1


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_one_stream_holds_the_corpus_again_and_again(encoding: Encoding) -> None:
    made = messages(Compressed(encoding, "one", times=2, events_max=EVENTS))
    text = STREAMS[encoding]()(b"".join(made.pieces))
    assert text == 2 * joined(lines("all", EVENTS))
    assert made.raw_bytes == len(text)
    # A second stream would begin as the first does.
    assert made.pieces[len(made.pieces) // 2] != made.pieces[0]


def _unmasked(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Masks and payloads of a client's frames (RFC 6455, 5.2)."""
    at = 0
    while at < len(data):
        size, at = data[at + 1] & 0x7F, at + 2
        if size > 125:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
        mask, at = data[at : at + 4], at + 4
        yield mask, bytes(byte ^ mask[number % 4] for number, byte in enumerate(data[at : at + size]))
        at += size


def test_frames_hold_each_event_under_a_mask_of_its_own() -> None:
    made = frames(Texts("small", events_max=EVENTS))
    found = list(_unmasked(b"".join(made.pieces)))
    assert [payload for _, payload in found] == lines("small", EVENTS)
    assert len({mask for mask, _ in found}) > EVENTS // 2
    assert made.events == [EVENTS]


def test_a_whole_pass_of_small_events_is_repeated_to_some_megabytes() -> None:
    with stage.worker(None) as worker:
        work = socket_work(worker, Texts("small"), "events", events_min=100_000)
    assert work.raw_mb * 1e6 / work.times >= 4 << 20
    assert work.events >= 100_000 > work.events - work.events / work.times


# The loop and the appending


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("stream", ["each", "one"])
def test_the_loop_finds_every_event(encoding: Encoding, stream: str) -> None:
    payload = Compressed(encoding, "one" if stream == "one" else "each", events_max=EVENTS)
    assert loop.work(payload, times=2).wall_s > 0


def test_the_loop_takes_plain_bodies() -> None:
    assert loop.work(Bodies("identity", EVENTS)).wall_s > 0
    assert set(loop.parts(Bodies("gzip", EVENTS))) == {"inflate", "check UTF-8", "parse", "compress"}


def test_the_loop_notices_a_missing_event(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_less(payload: Bodies) -> Pass:
        made = bodies(payload)
        return made._replace(pieces=[made.pieces[0].partition(b"\n")[2], *made.pieces[1:]])

    monkeypatch.setattr(loop, "bodies", one_less)
    with pytest.raises(RuntimeError, match=f"found {EVENTS - 1} events"):
        loop.work(Bodies("identity", EVENTS))


def test_the_loop_checks_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(payload: Bodies) -> Pass:
        return bodies(payload)._replace(pieces=[b'{"type":3,"timestamp":\xff}\n'])

    monkeypatch.setattr(loop, "bodies", cut)
    with pytest.raises(UnicodeDecodeError):
        loop.work(Bodies("identity", EVENTS))


def test_blocks_are_a_segments(tmp_path: Path) -> None:
    made = append.blocks(EVENTS)
    text = b""
    data = b"".join(made.encoded)
    while data:
        # Block headers are skippable frames (RFC 8878, 3.1.2), which a reader of several frames passes over.
        frame = zstandard.ZstdDecompressor().decompressobj()
        text += frame.decompress(data)
        data = frame.unused_data
    assert text == joined(lines("all", EVENTS))
    assert made.raw_bytes == len(text)


def test_each_block_is_appended_and_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    fdatasync = os.fdatasync

    def spy(handle: int) -> None:
        fdatasync(handle)
        sizes.append(os.fstat(handle).st_size)

    monkeypatch.setattr(os, "fdatasync", spy)
    append.append(times=2, events_max=EVENTS)
    encoded = [len(block) for block in append.blocks(EVENTS).encoded] * 2
    assert sizes == [sum(encoded[: count + 1]) for count in range(len(encoded))]


# Servers


@pytest.fixture(scope="module")
def receiver() -> Iterator[Server]:
    with receivers.receiver() as running:
        yield running


@pytest.mark.parametrize("path", [receivers.ASYNC_FOR, receivers.RECEIVE])
@pytest.mark.parametrize("payload", [Texts("all", EVENTS), Compressed("gzip", events_max=EVENTS)])
def test_receivers_read_to_the_close(receiver: Server, path: str, payload: Texts | Compressed) -> None:
    sent = blast.over_socket(receiver.port, path, payload, times=2)
    assert sent.wall_s > 0
    assert sent.counted is None


@pytest.mark.parametrize("inflater", ["isal", "zlib"])
def test_a_receiver_inflates_with_what_it_is_told_to(inflater: receivers.Inflater) -> None:
    order = Order(
        "127.0.0.1", 0, 0, receivers.RECEIVE, 2, rate=20, warm_up_s=0, for_s=0.2, ramp_s=0, deflate=True,
        is_counted=False, source=os.getpid() % 60_000,
    )  # fmt: skip
    with receivers.receiver(inflater=inflater) as running:
        seen = visit(order._replace(port=running.port, pid=running.pid), frozenset(os.sched_getaffinity(0)))
    assert (seen.opened, seen.refused, seen.problems) == (2, 0, [])


def test_receivers_take_bodies(receiver: Server) -> None:
    paths = [[receivers.POST, receivers.POST], [receivers.POST]]
    assert blast.over_connections(blast.Target(receiver.port), paths, Bodies("gzip", EVENTS)).counted is None


def test_a_refused_socket_is_an_error(receiver: Server) -> None:
    with pytest.raises(RuntimeError, match=r"refused: HTTP/1\.1 404"):
        blast.over_socket(receiver.port, "/nowhere", Texts("small", 1))


def test_a_refused_body_is_an_error(receiver: Server) -> None:
    with pytest.raises(RuntimeError, match=r"refused: HTTP/1\.1 404"):
        blast.over_connections(blast.Target(receiver.port), [["/nowhere"]], Bodies("identity", 1))


def _answers(*parts: bytes) -> int:
    """Answer one connection's first request like this; return the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(1 << 20)
            for part in parts:
                connection.sendall(part)
                time.sleep(0.02)  # So that they are read one by one.

    threading.Thread(target=serve, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def test_an_answer_in_pieces_is_waited_for() -> None:
    port = _answers(b"HTTP/1.1 200 OK\r\nContent-", b"Length: 11\r\n\r\n", b'{"count"', b":7}")
    assert blast.over_connections(blast.Target(port), [["/"]], Bodies("identity", 1)).counted == 7


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "without a length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "closed a connection"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "refused"),
    ],
)
def test_a_doubtful_answer_is_an_error(answer: bytes, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        blast.over_connections(blast.Target(_answers(answer)), [["/"]], Bodies("identity", 1))


@pytest.fixture(scope="module")
def nginx() -> Iterator[nginx_floor.Nginx]:
    if nginx_floor.find() is None:
        if os.environ.get("TESTS_REQUIRE_TOOLS") == "1":
            pytest.fail("TESTS_REQUIRE_TOOLS=1, but nginx isn't installed")
        pytest.skip("nginx isn't installed")
    with nginx_floor.nginx() as running:
        yield running


def test_nginx_stores_whole_bodies_in_files(
    nginx: nginx_floor.Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that a connection has several bodies, some of which don't fit into nginx's buffer.
    monkeypatch.setattr(payloads, "BODY_BYTES", 600_000)
    payload = Bodies("identity", 1000)
    paths = [[f"{nginx_floor.STORE}/a", nginx_floor.STORE], [nginx_floor.STORE]]
    blast.over_connections(blast.Target(nginx.port), paths, payload)
    pieces = bodies(payload).pieces
    assert len(pieces) > 1
    assert nginx.stored() == (3 * len(pieces), 3 * sum(map(len, pieces)))
    assert {file.read_bytes() for file in nginx.bodies.iterdir()} == set(pieces)
    nginx.clear()
    assert nginx.stored() == (0, 0)


def test_nginx_sends_files(nginx: nginx_floor.Nginx) -> None:
    (nginx.files / "some").write_bytes(b"some bytes")
    answer, body = fetch.fetch(nginx.port, fetch.request(f"{nginx_floor.FILES}/some", {}))
    assert (answer.status, body) == (200, b"some bytes")


# The stage


def test_lanes_go_in_turn_and_are_compared_round_by_round() -> None:
    order: list[str] = []
    seconds = {"slow": iter([9.0, 2.0, 4.0, 8.0]), "fast": iter([9.0, 1.0, 1.0, 1.0])}

    def lane(name: str) -> Lane:
        def go() -> Turn:
            order.append(name)
            return Turn(next(seconds[name]), client_s=0.5)

        return Lane(name, os.getpid(), 8.0, go)

    laps = stage.in_turn([lane("slow"), lane("fast")], rounds=3)
    assert order == ["slow", "fast"] * 4
    assert laps["slow"].wall == [4.0, 2.0, 1.0]
    assert laps["fast"].client == [0.5, 0.5, 0.5]
    by_clock, by_processor = stage.compare(laps, "slow", "fast", "of the fast one", bar=0.3)
    assert (by_clock.value, by_clock.least, by_clock.most) == (0.25, 0.125, 0.5)
    assert by_clock.is_met is False
    assert by_processor.bar is None
    assert [figure.median for figure in stage.rates(laps, "MB")[:2]] == [2.0, 8.0]


def test_notes_say_so_when_the_load_is_the_limit() -> None:
    laps = {"a": Lap([1.0], [1.0], [0.95]), "b": Lap([1.0], [1.0], [0.2])}
    assert any("the limit for a:" in note for note in stage.notes(laps))
    assert not any("the limit" in note for note in stage.notes({"b": laps["b"]}))


def _fail(message: str) -> None:
    raise ValueError(message)


def test_a_worker_returns_and_raises_what_the_function_does() -> None:
    with stage.worker(stage.client_core()) as worker:
        assert worker.call(os.getpid) == worker.pid
        core = stage.client_core()
        if core is not None:
            assert worker.call(os.sched_getaffinity, 0) == {core}
        with pytest.raises(ValueError, match="on the other side"):
            worker.call(_fail, "on the other side")
        assert worker.call(abs, -1) == 1


def test_a_worker_that_dies_is_an_error() -> None:
    with stage.worker(None) as worker, pytest.raises(RuntimeError, match="without an answer"):
        worker.call(os._exit, 3)


def test_a_disk_in_memory_is_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_mount():
        pytest.skip("no /dev/shm here")
    assert "tmpfs" in stage.disk_note(str(shared_memory))[0]
    assert stage.disk_note("/proc") == []


def test_the_command_prints_every_floor(capsys: pytest.CaptureFixture[str]) -> None:
    run(Options("smoke"))
    printed = capsys.readouterr().out
    for floor in (
        "`receive()`",
        "read and dropped",
        "fdatasync",
        "loop, gzip",
        "loop, br",
        "loop, zstd",
        "parse",
    ):
        assert floor in printed
    assert ("nginx" in printed) == (nginx_floor.find() is not None)
