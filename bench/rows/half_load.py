"""Ingest that goes on beside what is measured: at half of what the daemon can take.

Small events of the corpus over a few sockets, one a message, each socket into a new recording with metadata.
First as fast as the daemon takes them, which tells its maximum; then at a rate. The functions are meant for a
``stage.worker`` on the load's core. Each checks that the daemon's last words count every event.
"""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from typing import NamedTuple

from bench.corpus import small_events
from bench.frames import CLOSE, TEXT, FrameReader, frame, handshake

HOST = "127.0.0.1"
SOCKETS = 8

_CHUNK_EVENTS = 350  # Some 64 kB: what the daemon reads at once is worth half a millisecond of its time.
_TIMEOUT_S = 60.0
_READ_BYTES = 65536


class Paced(NamedTuple):
    """What became of a load at a rate."""

    events_s: float
    """Events a second that were sent."""
    late_s: float
    """The greatest delay of a chunk of events, from the moment when it was meant to be sent."""
    client_share: float
    """Of a core, used by the load."""


def greatest_rate(port: int, key: str, metadata: Mapping[str, str], seconds: float) -> float:
    """Send as fast as the daemon takes it; return the events a second that were stored."""
    chunk = _chunk()
    connections = [_open(port, key, metadata) for _ in range(SOCKETS)]
    counts = [0] * SOCKETS
    started = time.perf_counter()

    def send(index: int) -> None:
        while time.perf_counter() - started < seconds:
            connections[index].sendall(chunk)
            counts[index] += _CHUNK_EVENTS

    threads = [threading.Thread(target=send, args=(index,)) for index in range(SOCKETS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _close(connections, counts)
    return sum(counts) / (time.perf_counter() - started)


def keep_rate(port: int, key: str, metadata: Mapping[str, str], events_s: float, seconds: float) -> Paced:
    """Send ``events_s`` events a second, over all sockets together, on schedule."""
    chunk = _chunk()
    connections = [_open(port, key, metadata) for _ in range(SOCKETS)]
    counts = [0] * SOCKETS
    interval_s = _CHUNK_EVENTS / events_s
    started, used = time.perf_counter(), time.process_time()
    late_s = 0.0
    for number in range(max(1, int(seconds / interval_s))):
        meant_at = started + number * interval_s
        if (wait_s := meant_at - time.perf_counter()) > 0:
            time.sleep(wait_s)
        late_s = max(late_s, time.perf_counter() - meant_at)
        connections[number % SOCKETS].sendall(chunk)
        counts[number % SOCKETS] += _CHUNK_EVENTS
    took_s, used_s = time.perf_counter() - started, time.process_time() - used
    _close(connections, counts)
    return Paced(sum(counts) / took_s, late_s, used_s / took_s)


def _chunk() -> bytes:
    events = small_events()
    return b"".join(frame(events[index % len(events)]) for index in range(_CHUNK_EVENTS))


def _open(port: int, key: str, metadata: Mapping[str, str]) -> socket.socket:
    """Open a socket into a new recording, and say its metadata as the client does."""
    connection = socket.create_connection((HOST, port), _TIMEOUT_S)
    connection.sendall(handshake(HOST, f"/recordings/{uuid.uuid4()}/ingest/ws?token={key}"))
    answer = b""
    # Nothing follows the answer before we have sent something.
    while b"\r\n\r\n" not in answer:
        data = connection.recv(_READ_BYTES)
        if not data:
            raise RuntimeError("the daemon closed the connection")
        answer += data
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise RuntimeError(answer.decode(errors="replace"))
    event = {
        "type": 5,
        "timestamp": int(time.time() * 1000),
        "data": {"tag": "recording-meta", "payload": dict(metadata)},
    }
    connection.sendall(frame(json.dumps(event).encode()))
    return connection


def _close(connections: list[socket.socket], counts: list[int]) -> None:
    """Close all, and hold the daemon's last words against what was sent."""
    for connection in connections:
        connection.sendall(frame((1000).to_bytes(2, "big"), opcode=CLOSE))
    for connection, count in zip(connections, counts, strict=True):
        with connection:
            stored = _stored(connection)
        # The event with the metadata counts as well.
        if stored != count + 1:
            raise RuntimeError(f"sent {count + 1} events, and the daemon says that it stored {stored}")


def _stored(connection: socket.socket) -> int:
    reader = FrameReader()
    while data := connection.recv(_READ_BYTES):
        for opcode, payload in reader.feed(data):
            if opcode == TEXT and (word := json.loads(payload)).get("final"):
                stored: int = word["successful_rows"]
                return stored
    raise RuntimeError("the daemon closed a socket without its last word")
