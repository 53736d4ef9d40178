"""However a socket ends, every complete message that had reached the daemon's kernel by then is stored.

What had reached it: the bytes that the client's kernel holds an acknowledgement for (``TIOCOUTQ`` tells the
others), counted right before the end. A message is complete if all of its frames are among them and no close
frame comes before it. More may be stored, in order: after an orderly close the kernel goes on sending.

A reset (``SO_LINGER`` of 0) discards what the client's kernel had not sent yet. What had arrived stays
readable on Linux: ``recv`` gives all of it first, and ``ECONNRESET`` or the end after it. Only a write sees
the reset at once, and the event loops answer an error on writing by closing, whatever is still unread. The
daemon has to read that all the same. So each example puts pings, which have to be answered, among its data,
and lets the daemon stand (SIGSTOP) while everything piles up in its kernel; when it wakes, data, pings and
the end are all there at once. With little room for messages, it also has to stop reading on the way.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import http.client
import json
import os
import signal
import socket
import struct
import termios
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.harness import ON_ASYNCIO, DaemonProcess
from tests.samples import an_event, meta_event, ndjson, new_id
from tests.thoroughness import examples

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_DEADLINE_S = 20.0
_MASK = b"\x11\x22\x33\x44"


def frame(opcode: int, data: bytes, *, final: bool = True, compressed: bool = False) -> bytes:
    """Return one masked frame (RFC 6455, 5.2)."""
    first = (0x80 if final else 0) | (0x40 if compressed else 0) | opcode
    size = len(data)
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 1 << 16:
        head = bytes([first, 0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, 0x80 | 127]) + size.to_bytes(8, "big")
    pad = (_MASK * (size // 4 + 1))[:size]
    masked = (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
    return head + _MASK + masked


@dataclass
class Script:
    """What one client sends: bytes, and where in them messages are complete."""

    data: bytearray = field(default_factory=bytearray)
    ends: list[tuple[int, int]] = field(default_factory=list)
    """Offset after a message, and how many events there are up to it."""
    events: list[bytes] = field(default_factory=list)
    deflate: zlib._Compress = field(default_factory=lambda: zlib.compressobj(wbits=-15))

    def event(self, size: int) -> bytes:
        line = an_event(1_700_000_000_000 + len(self.events), n=len(self.events), text="x" * size)
        self.events.append(line)
        return line

    def control(self, opcode: int, payload: bytes = b"") -> None:
        self.data += frame(opcode, payload)

    def message(self, opcode: int, data: bytes, *, parts: int, compressed: bool) -> None:
        """One message, in fragments with a ping between them if ``parts`` is more than 1."""
        if compressed:
            data = (self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
        step = len(data) // parts + 1
        pieces = [data[start : start + step] for start in range(0, len(data), step)]
        for number, piece in enumerate(pieces):
            if number:
                self.control(PING, b"between fragments")
            self.data += frame(
                opcode if number == 0 else CONTINUATION,
                piece,
                final=number == len(pieces) - 1,
                compressed=compressed and number == 0,
            )
        self.ends.append((len(self.data), len(self.events)))

    def complete(self, size: int) -> int:
        """How many events are in messages that are complete within the first ``size`` bytes."""
        return max((count for end, count in self.ends if end <= size), default=0)


Step = tuple[str, int, int]

_sizes = st.sampled_from([0, 10, 300, 5000, 70_000])
_steps: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.tuples(st.just("text"), _sizes, st.just(1)),
        st.tuples(st.just("texts"), st.sampled_from([0, 60]), st.integers(2, 800)),
        st.tuples(st.just("fragments"), _sizes, st.integers(2, 5)),
        st.tuples(st.just("binary"), _sizes, st.integers(1, 5)),
        st.tuples(st.just("ping"), st.integers(0, 125), st.integers(1, 3)),
        st.tuples(st.just("pong"), st.integers(0, 125), st.integers(1, 3)),
    ),
    min_size=1,
    max_size=12,
)
_ends = st.sampled_from(["fin", "reset", "half-close", "close", "close, then more", "close and reset"])


def script_of(steps: list[Step], *, compressed: bool, recording_id: str | None) -> Script:
    """``recording``: the id that the first message tells, where the path has none."""
    script = Script()
    if recording_id is not None:
        script.control(PING)
        first = meta_event(1, recordingId=recording_id)
        script.message(TEXT, first, parts=1, compressed=compressed)
    for kind, size, count in steps:
        if kind in {"text", "texts"}:
            for _ in range(count):
                script.message(TEXT, script.event(size), parts=1, compressed=compressed)
        elif kind == "fragments":
            script.message(TEXT, script.event(size), parts=count, compressed=compressed)
        elif kind == "binary":
            lines = [script.event(size // count) for _ in range(count)]
            script.message(BINARY, ndjson(lines), parts=1, compressed=compressed)
        else:
            for _ in range(count):
                script.control(PING if kind == "ping" else PONG, b"p" * size)
    return script


class Client:
    """One WebSocket over a plain, blocking socket."""

    def __init__(self, daemon: DaemonProcess, key: str, target: str, *, deflate: bool) -> None:
        self.daemon = daemon
        self.socket = socket.create_connection(("127.0.0.1", daemon.port), timeout=_DEADLINE_S)
        head = (
            f"GET {target} HTTP/1.1\r\nHost: rrd.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer {key}\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            + ("Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else "")
        )
        self.socket.sendall(head.encode() + b"\r\n")
        self.reader = self.socket.makefile("rb")
        status = self.reader.readline()
        assert b" 101 " in status, status
        while self.reader.readline().strip():
            pass

    def send(self, data: bytes) -> None:
        """Send to a daemon that stands; let it run where nothing more fits into its kernel."""
        rest = memoryview(data)
        self.socket.settimeout(0)
        while rest:
            try:
                rest = rest[self.socket.send(rest) :]
            except BlockingIOError:
                self.daemon.go_on()
                self.socket.settimeout(_DEADLINE_S)
                rest = rest[self.socket.send(rest) :]
                self.socket.settimeout(0)
                self.daemon.pause()
        self.socket.settimeout(_DEADLINE_S)

    def unacknowledged(self) -> int:
        """Bytes that the daemon's kernel has not taken, once the connection is at rest."""
        before, end = -1, time.monotonic() + _DEADLINE_S
        while time.monotonic() < end:
            answer = fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0\0\0\0")
            now = struct.unpack("i", answer)[0]
            if now in (0, before):
                return int(now)
            before = now
            time.sleep(0.001)  # A kernel at rest says the same twice; a busy one just goes on.
        raise TimeoutError("the connection never came to rest")

    def end(self, how: str) -> None:
        if how in {"close", "close, then more", "close and reset"}:
            self.send(frame(CLOSE, (1000).to_bytes(2, "big")))
        if how == "close, then more":
            more = frame(TEXT, an_event(1, n="after the close"))
            self.send(more + frame(PING, b"after the close") + more)
        if how == "half-close":
            self.socket.shutdown(socket.SHUT_WR)
        if how in {"reset", "close and reset"}:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if how in {"fin", "reset", "close and reset"}:
            self.reader.close()
            self.socket.close()

    def rest(self, *, answers: bool = False) -> list[tuple[int, bytes]]:
        """The frames that the server still sends, until it closes the connection: opcode and payload.

        ``answers``: its close frame is answered.
        """
        frames, inflater = [], zlib.decompressobj(wbits=-15)
        with contextlib.closing(self.socket), contextlib.closing(self.reader):
            while head := self.reader.read(2):
                size = head[1]
                if size >= 126:
                    size = int.from_bytes(self.reader.read(2 if size == 126 else 8), "big")
                payload = self.reader.read(size)
                if head[0] & 0x40:
                    payload = inflater.decompress(payload + b"\x00\x00\xff\xff")
                frames.append((head[0] & 0x0F, payload))
                if answers and frames[-1][0] == CLOSE:
                    self.socket.sendall(frame(CLOSE, payload[:2]))
        return frames


def read(daemon: DaemonProcess, key: str, recording_id: str) -> list[bytes]:
    """Return a recording's events without what the server adds; none if there is no recording."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=_DEADLINE_S)
    with contextlib.closing(connection):
        path = f"/recordings/{recording_id}/events"
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        reply = connection.getresponse()
        events = json.loads(reply.read())
        if reply.status == 404:
            return []
        assert reply.status == 200, events
    for event in events:
        del event["sequenceId"], event["recordingId"]
    return [json.dumps(event, separators=(",", ":")).encode() for event in events]


def stored(daemon: DaemonProcess, key: str, recording_id: str, count: int) -> list[bytes]:
    """Wait until so many events are stored, but not forever; return those that are."""
    end = time.monotonic() + _DEADLINE_S
    while len(events := read(daemon, key, recording_id)) < count and time.monotonic() < end:
        time.sleep(0.005)
    return events


@dataclass
class Running:
    daemon: DaemonProcess
    key: str


@pytest.fixture(
    scope="module",
    params=[(loop, room) for loop in ("uvloop", "asyncio") for room in ("much room", "little room")],
    ids=" ".join,
)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    loop, room = request.param
    little = {"recording_buffer_bytes_max": 64 << 10, "flush_bytes": 4096} if room == "little room" else {}
    directory: Path = tmp_path_factory.mktemp("daemon")
    daemon = DaemonProcess(directory, flush_age_ms=20, **little)
    if loop == "asyncio":
        daemon.program = ON_ASYNCIO
    key = daemon.key("all")
    with daemon:
        yield Running(daemon, key)
        assert "Traceback" not in daemon.log()


@given(
    steps=_steps,
    compressed=st.booleans(),
    query=st.sampled_from(["", "?ack=true", "?debug=true"]),
    has_id=st.booleans(),
    pauses=st.lists(st.floats(0, 1), max_size=3),
    cut=st.one_of(st.just(1.0), st.floats(0, 1)),
    how=_ends,
)
@settings(
    max_examples=examples(100),
    deadline=None,
    # Shrinking would wait for lost events again and again.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_message_that_arrived_before_the_end_is_stored(
    running: Running,
    steps: list[Step],
    compressed: bool,
    query: str,
    has_id: bool,
    pauses: list[float],
    cut: float,
    how: str,
) -> None:
    daemon, key = running.daemon, running.key
    recording_id = new_id()
    script = script_of(steps, compressed=compressed, recording_id=None if has_id else recording_id)
    data = bytes(script.data)
    if how not in {
        "close",
        "close, then more",
        "close and reset",
    }:  # A close frame must not be cut into another.
        data = data[: round(len(data) * cut)]
    path = f"/recordings/{recording_id}/ingest/ws" if has_id else "/ingest/ws"
    client = Client(daemon, key, path + query, deflate=compressed)
    daemon.pause()
    try:
        start = 0
        for offset in sorted(round(len(data) * part) for part in pauses):
            client.send(data[start:offset])
            start = offset
            daemon.go_on()
            read(daemon, key, recording_id)  # It has run for a while when it answers.
            daemon.pause()
        client.send(data[start:])
        arrived = len(data) - client.unacknowledged()
        client.end(how)
    finally:
        daemon.go_on()
    said = client.rest() if how in {"half-close", "close", "close, then more"} else None
    expected = script.complete(arrived)
    found = stored(daemon, key, recording_id, expected)
    assert found == script.events[: len(found)]
    assert len(found) >= expected
    if said is not None:
        *_, (opcode, summary), close = [message for message in said if message[0] != PONG]
        rows = json.loads(summary).get("successful_rows", 0)
        assert opcode == TEXT
        assert rows == len(found) + (not has_id and len(data) >= script.ends[0][0])  # Metadata counts.
        assert close == (CLOSE, (1000).to_bytes(2, "big"))


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_more_than_one_read_takes_is_stored_when_a_pong_cannot_be_sent(running: Running, how: str) -> None:
    daemon, key, recording_id, script = running.daemon, running.key, new_id(), Script()
    client = Client(daemon, key, f"/recordings/{recording_id}/ingest/ws", deflate=False)
    # The kernel gives a connection as much room as its reader turns out to use.
    for _ in range(1500):
        script.message(TEXT, script.event(2000), parts=1, compressed=False)
    client.socket.sendall(script.data)
    stored(daemon, key, recording_id, len(script.events))
    start = len(script.data)
    for _ in range(20):
        script.control(PING)
        for _ in range(100):
            script.message(TEXT, script.event(1000), parts=1, compressed=False)
    daemon.pause()
    try:
        client.send(bytes(script.data[start:]))
        arrived = len(script.data) - client.unacknowledged()
        client.end(how)
    finally:
        daemon.go_on()
    expected = script.complete(arrived)
    assert arrived > start
    assert len(stored(daemon, key, recording_id, expected)) >= expected


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_what_arrived_before_the_daemon_was_told_to_stop_is_stored(tmp_path: Path, loop: str) -> None:
    daemon, recording_id, script = DaemonProcess(tmp_path, flush_age_ms=60_000), new_id(), Script()
    if loop == "asyncio":
        daemon.program = ON_ASYNCIO
    key = daemon.key("all")
    for number in range(300):
        script.message(TEXT, script.event(60), parts=1 + number % 2, compressed=False)
        script.control(PING)
    with daemon:
        client = Client(daemon, key, f"/recordings/{recording_id}/ingest/ws", deflate=False)
        daemon.pause()
        client.send(bytes(script.data))
        assert client.unacknowledged() == 0
        os.kill(daemon.pid, signal.SIGTERM)
        daemon.go_on()
        *_, close = [message for message in client.rest(answers=True) if message[0] != PONG]
        assert close[0] == CLOSE
        assert close[1][:2] == (1012).to_bytes(2, "big")
        assert daemon.wait() == 0
        daemon.start()
        assert read(daemon, key, recording_id) == script.events


def test_pongs_that_are_never_read_do_not_keep_events_from_being_read(running: Running) -> None:
    # More pongs than the kernels and the transport take in together.
    recording_id = new_id()
    client = Client(running.daemon, running.key, f"/recordings/{recording_id}/ingest/ws", deflate=False)
    client.socket.settimeout(_DEADLINE_S)
    pings = frame(PING, b"p" * 125) * 1000
    for _ in range(80):
        client.socket.sendall(pings)
    event = an_event(1)
    client.socket.sendall(frame(TEXT, event))
    assert stored(running.daemon, running.key, recording_id, 1) == [event]
    client.end("reset")
