"""The simplest load there is: bytes made in advance, plain sockets, as fast as the other side takes them.

One WebSocket, or a few connections that POST, each its next body when the answer to the last has come. The
functions are meant to be called in a ``stage.worker`` on a core of its own, where ``payloads`` keeps what it
has made; what is built is built before the clock starts. For rates, latencies and verification there is
``bench.load``.

Every wait ends after ``TIMEOUT_S``; an answer that isn't as it should be raises ``RuntimeError``.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from bench.frames import CLOSE, TEXT, FrameReader, frame, handshake
from bench.payloads import Bodies, Compressed, Texts, bodies, frames

HOST = "127.0.0.1"
TIMEOUT_S = 60

_READ_BYTES = 65536
_HEAD_END = b"\r\n\r\n"
_CLOSE_FRAME = frame((1000).to_bytes(2, "big"), opcode=CLOSE)


class Sent(NamedTuple):
    """What became of a blast."""

    wall_s: float
    """From the first byte sent until the last answer was read."""
    client_s: float
    """Processor time of this process meanwhile."""
    counted: int | None
    """How many events the server says it has; None if it doesn't say."""


# One socket


def over_socket(
    port: int, path: str, payload: Texts | Compressed, times: int = 1, *, last_text: str | None = None
) -> Sent:
    """Send a payload's messages ``times`` times over a new WebSocket, and wait for the server's last word.

    That is what it answers to our close (its final summary, or its close); with ``last_text``, what it
    answers to this message, for servers that can't say anything to a close.
    """
    made = frames(payload)
    end = _CLOSE_FRAME if last_text is None else frame(last_text.encode())
    with socket.create_connection((HOST, port), TIMEOUT_S) as connection:
        _wait_in_kernel(connection)
        rest = _open(connection, path)
        started, used = time.perf_counter(), time.process_time()
        for _ in range(times):
            for piece in made.pieces:
                connection.sendall(piece)
        connection.sendall(end)
        word = _last_word(connection, rest)
        return Sent(time.perf_counter() - started, time.process_time() - used, _count_in(word))


def _wait_in_kernel(connection: socket.socket) -> None:
    """Make waits end after ``TIMEOUT_S``; with a timeout of Python's own there is a poll before each send."""
    limit = struct.pack("ll", TIMEOUT_S, 0)
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)


def _open(connection: socket.socket, path: str) -> bytes:
    """Open a WebSocket; return what came behind the answer."""
    connection.sendall(handshake(HOST, path))
    answer = b""
    while _HEAD_END not in answer:
        data = connection.recv(_READ_BYTES)
        if not data:
            break
        answer += data
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise RuntimeError(f"the socket was refused: {answer[:500].decode(errors='replace')}")
    return answer.partition(_HEAD_END)[2]


def _last_word(connection: socket.socket, rest: bytes) -> dict[str, Any]:
    reader = FrameReader()
    data = rest
    while True:
        for opcode, payload in reader.feed(data):
            if opcode == TEXT:
                word: dict[str, Any] = json.loads(payload)
                return word
            if opcode == CLOSE:
                return {}
        data = connection.recv(_READ_BYTES)
        if not data:
            raise RuntimeError("the server closed the connection without a word")


def _count_in(answer: dict[str, Any]) -> int | None:
    """Return how many events an answer counts: rrd's ``successful_rows``, the peers' ``count``."""
    if answer.get("type") == "error" or answer.get("final") is False:
        raise RuntimeError(f"the server's last word was {answer}")
    count = answer.get("successful_rows", answer.get("count"))
    return count if isinstance(count, int) else None


# Bodies


class Target(NamedTuple):
    """Where bodies go to."""

    port: int
    method: str = "POST"
    headers: tuple[str, ...] = ()
    """Beside Content-Type, -Encoding and -Length."""


def over_connections(target: Target, paths: list[list[str]], payload: Bodies) -> Sent:
    """Send all of a payload's bodies to each of the paths, a connection for each list of them.

    A connection takes its paths one after the other, and the bodies of each in order.
    """
    made = bodies(payload)
    encoding = () if payload.encoding == "identity" else (f"Content-Encoding: {payload.encoding}",)
    lines = (f"Host: {HOST}", "Content-Type: application/x-ndjson", *encoding, *target.headers)
    queues = [
        deque(
            (_head(target.method, path, lines, len(body)), body) for path in own_paths for body in made.pieces
        )
        for own_paths in paths
    ]
    with selectors.DefaultSelector() as selector:
        connections = [_Connection(target.port, queue) for queue in queues]
        try:
            for connection in connections:
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            started, used = time.perf_counter(), time.process_time()
            _exchange(selector, connections)
            return Sent(
                time.perf_counter() - started,
                time.process_time() - used,
                _sum(c.counted for c in connections),
            )
        finally:
            for connection in connections:
                connection.socket.close()


def _head(method: str, path: str, lines: Iterable[str], size: int) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", *lines, f"Content-Length: {size}", "", "")).encode()


def _sum(counts: Iterable[int | None]) -> int | None:
    found = [count for count in counts if count is not None]
    return sum(found) if found else None


def _exchange(selector: selectors.BaseSelector, connections: list[_Connection]) -> None:
    for connection in connections:
        connection.next()
        _send(selector, connection)
    under_way = sum(not connection.is_done for connection in connections)
    while under_way:
        ready = selector.select(TIMEOUT_S)
        if not ready:
            raise RuntimeError(f"nothing came for {TIMEOUT_S} s")
        for key, events in ready:
            connection = key.data
            if events & selectors.EVENT_WRITE:
                _send(selector, connection)
            if events & selectors.EVENT_READ and connection.receive():
                connection.next()
                if connection.is_done:
                    selector.unregister(connection.socket)
                    under_way -= 1
                else:
                    _send(selector, connection)


def _send(selector: selectors.BaseSelector, connection: _Connection) -> None:
    wanted = selectors.EVENT_READ if connection.send() else selectors.EVENT_READ | selectors.EVENT_WRITE
    if wanted != connection.watched:
        connection.watched = wanted
        selector.modify(connection.socket, wanted, connection)


class _Connection:
    """A keep-alive connection with its requests, of which one is under way."""

    def __init__(self, port: int, requests: deque[tuple[bytes, bytes]]) -> None:
        self.socket = socket.create_connection((HOST, port), TIMEOUT_S)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.watched = selectors.EVENT_READ
        self.is_done = False
        self.counted: int | None = None
        self._requests = requests
        self._unsent: list[memoryview] = []
        self._answer = b""

    def next(self) -> None:
        """Take up the next request, or be done."""
        if self._requests:
            self._unsent = [memoryview(part) for part in self._requests.popleft()]
        else:
            self.is_done = True

    def send(self) -> bool:
        """Send what the kernel takes; return whether all of the request is sent."""
        while self._unsent:
            try:
                sent = self.socket.sendmsg(self._unsent)
            except BlockingIOError:
                return False
            while self._unsent and sent >= len(self._unsent[0]):
                sent -= len(self._unsent.pop(0))
            if self._unsent:
                self._unsent[0] = self._unsent[0][sent:]
        return True

    def receive(self) -> bool:
        """Read; return whether an answer is whole. Raises ``RuntimeError`` if it is no good one."""
        try:
            data = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            raise RuntimeError("the server closed a connection")
        self._answer += data
        head, separator, rest = self._answer.partition(_HEAD_END)
        if not separator:
            return False
        fields = dict(_field(line) for line in head.split(b"\r\n")[1:])
        status = head.split(b" ", 2)[1]
        if b"content-length" not in fields and status != b"204":
            raise RuntimeError(f"an answer without a length: {head[:500].decode(errors='replace')}")
        size = int(fields.get(b"content-length", b"0"))
        if len(rest) < size:
            return False
        if not status.startswith(b"2") or self._unsent:
            raise RuntimeError(f"a body was refused: {self._answer[:500].decode(errors='replace')}")
        self._answer = b""
        if size:
            count = _count_in(json.loads(rest))
            if count is not None:
                self.counted = (self.counted or 0) + count
        return True


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.strip().lower(), value.strip()
