"""Reading over HTTP as cheaply as can be: a plain socket, and one buffer for what is counted and dropped.

A body is framed by its length or comes in chunks (RFC 9112, 6); both are followed to their end, so that the
connection can carry the next request, and an answer that broke off is never taken for a whole one. Nothing
is decoded. To be called in a ``stage.worker`` on a core of its own.

Every wait ends after ``TIMEOUT_S``; an answer that isn't as it should be raises ``RuntimeError``.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

HOST = "127.0.0.1"
TIMEOUT_S = 60.0

_BUFFER_BYTES = 1 << 20
_HEAD_END = b"\r\n\r\n"
_HEAD_BYTES_MAX = 16 << 10
_BROKE_OFF = "the connection ended before the answer did"


class Answer(NamedTuple):
    """What was answered to one request."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body_bytes: int
    first_byte_s: float
    """From the request until the first byte of the body was there."""


class Reading(NamedTuple):
    """What became of the same request, made several times over one connection."""

    wall_s: float
    client_s: float
    """Processor time of this process meanwhile."""
    first_byte_s: list[float]
    """Of each request."""


def request(path: str, headers: Mapping[str, str]) -> bytes:
    """Return a GET request."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def read(port: int, asked: bytes, *, body_bytes: int, times: int) -> Reading:
    """Make a request ``times`` times, each when the answer to the last is complete; drop the bodies.

    Each answer must be 200 with a body of ``body_bytes``. The clock doesn't count connecting.
    """
    with socket.create_connection((HOST, port), TIMEOUT_S) as connection:
        reader = Reader(connection)
        first_byte_s = []
        started, used = time.perf_counter(), time.process_time()
        for _ in range(times):
            answer = reader.get(asked)
            if (answer.status, answer.body_bytes) != (200, body_bytes):
                raise RuntimeError(f"not 200 with {body_bytes:,} bytes: {answer}")
            first_byte_s.append(answer.first_byte_s)
        return Reading(time.perf_counter() - started, time.process_time() - used, first_byte_s)


def fetch(port: int, asked: bytes) -> tuple[Answer, bytes]:
    """Make one request; return the answer with its body, still compressed if it is."""
    body = bytearray()
    with socket.create_connection((HOST, port), TIMEOUT_S) as connection:
        answer = Reader(connection).get(asked, keep=body.extend)
    return answer, bytes(body)


class Reader:
    """One connection, over which one answer after the other is read."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))

    def get(self, asked: bytes, *, keep: Callable[[memoryview], object] | None = None) -> Answer:
        """Make a request and read all of its answer; ``keep`` is shown the body, piece by piece."""
        started = time.perf_counter()
        self._connection.sendall(asked)
        head, there = self._head()
        status, headers = _parse(head)
        frames: _Length | _Chunks
        if headers.get("transfer-encoding") == "chunked":
            frames = _Chunks()
        elif "content-length" in headers:
            frames = _Length(int(headers["content-length"]))
        else:
            raise RuntimeError(f"the answer doesn't say where it ends: {head!r}")
        body_bytes, first_byte_s = 0, 0.0
        while True:
            for piece in frames.feed(there):
                if not body_bytes:
                    first_byte_s = time.perf_counter() - started
                body_bytes += len(piece)
                if keep is not None:
                    keep(piece)
            if frames.is_over:
                return Answer(status, headers, body_bytes, first_byte_s)
            there = self._receive(0)

    def _head(self) -> tuple[bytes, memoryview]:
        """Return the head of an answer, and what came behind it."""
        size = 0
        while True:
            size += len(self._receive(size))
            head, end, _ = bytes(self._buffer[: min(size, _HEAD_BYTES_MAX)]).partition(_HEAD_END)
            if end:
                return head, self._buffer[len(head) + len(end) : size]
            if size >= _HEAD_BYTES_MAX:
                raise RuntimeError(f"no end of the answer's head: {head[:500]!r}")

    def _receive(self, offset: int) -> memoryview:
        count = self._connection.recv_into(self._buffer[offset:])
        if not count:
            raise RuntimeError(_BROKE_OFF)
        return self._buffer[offset : offset + count]


def _parse(head: bytes) -> tuple[int, dict[str, str]]:
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, text = line.partition(":")
        headers[name.lower()] = text.strip()
    return int(status_line.split(" ")[1]), headers


class _Length:
    """A body whose length was told in advance."""

    def __init__(self, body_bytes: int) -> None:
        self._left = body_bytes

    @property
    def is_over(self) -> bool:
        return self._left == 0

    def feed(self, data: memoryview) -> Iterator[memoryview]:
        """Yield what is body in ``data``."""
        if len(data) > self._left:
            raise RuntimeError(f"{len(data) - self._left} bytes more than the answer's length")
        self._left -= len(data)
        if data:
            yield data


class _Chunks:
    """A body in chunks, without extensions and trailers."""

    # The end of the chunk before, and the size of the next; 0 is the last one's, and ends with another line.
    _LINE = re.compile(rb"(?:\r\n)?(?:(0)\r\n\r\n|([1-9a-fA-F][0-9a-fA-F]*)\r\n)")
    _LINE_BYTES_MAX = 24

    def __init__(self) -> None:
        self._left = 0
        self._line = b""
        """The beginning of a line whose end hasn't come."""
        self.is_over = False

    def feed(self, data: memoryview) -> Iterator[memoryview]:
        """Yield what is body in ``data``."""
        at = 0
        while at < len(data):
            if self.is_over:
                raise RuntimeError(f"{len(data) - at} bytes behind the last chunk")
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                yield piece
            else:
                at += self._size(data[at : at + self._LINE_BYTES_MAX])

    def _size(self, data: memoryview) -> int:
        """Read the size of the next chunk; return how many bytes that took."""
        line = self._line + bytes(data)
        found = self._LINE.match(line)
        if found is None:
            if len(line) >= self._LINE_BYTES_MAX:
                raise RuntimeError(f"not the size of a chunk: {line!r}")
            self._line = line
            return len(data)
        taken = found.end() - len(self._line)
        self._line = b""
        self.is_over = found[1] is not None
        self._left = 0 if self.is_over else int(found[2], 16)
        return taken
