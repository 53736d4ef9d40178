"""Whatever ends a socket on the beat, and when: what had come by then is stored, once and in order.

Many sockets at once stand for all points of the beat, since their looks are spread over it. The beat is at
its ceiling and longer than it takes to send, so most of what is sent waits in the kernel when the end comes.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.harness import DEADLINE_S, ON_ASYNCIO, DaemonProcess, Launch
from tests.http.test_socket_ends import CLOSE, PONG, TEXT, Client, Script, frame, stored
from tests.samples import new_id

_SOCKETS = 24
_BEFORE, _MORE = 2, 3
_LOOPS = ["uvloop", "asyncio"]


def _daemon(directory: Path, loop: str, *, beat_ms: int = 700) -> DaemonProcess:
    launch = Launch(environment={"TESTS_BEAT_AT_CEILING": "1"})
    daemon = DaemonProcess(directory, launch, flush_age_ms=beat_ms, read_beat_ms=beat_ms)
    if loop == "asyncio":
        daemon.program = ON_ASYNCIO
    return daemon


class _Running(NamedTuple):
    daemon: DaemonProcess
    key: str
    doomed_key: str


@pytest.fixture(scope="module", params=_LOOPS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Running]:
    daemon = _daemon(tmp_path_factory.mktemp("daemon"), request.param)
    running = _Running(daemon, daemon.key("all"), daemon.key("all"))
    with daemon:
        yield running
        assert "Traceback" not in daemon.log()


class _Visitor:
    """One socket of a recording of its own."""

    def __init__(self, daemon: DaemonProcess, key: str, query: str = "", *, deflate: bool = False) -> None:
        self.recording_id, self._deflate = new_id(), deflate
        path = f"/recordings/{self.recording_id}/ingest/ws{query}"
        self.client = Client(daemon, key, path, deflate=deflate)
        self.script = Script()

    def say(self, count: int = 1) -> None:
        """Send some events, a message each."""
        for _ in range(count):
            start = len(self.script.data)
            self.script.message(TEXT, self.script.event(50), parts=1, compressed=self._deflate)
            self.client.socket.sendall(self.script.data[start:])

    def has_all_of_it_taken(self) -> bool:
        """Wait until the daemon's kernel has told that it has all that was sent; tell whether it has."""
        end = time.monotonic() + DEADLINE_S
        while (waiting := self.client.unacknowledged()) and time.monotonic() < end:
            pass
        return not waiting


@contextlib.contextmanager
def _on_the_beat(daemon: DaemonProcess, key: str, query: str = "") -> Iterator[list[_Visitor]]:
    """Yield visitors whose first events are stored, whose sockets are on the beat, and who have sent more.

    Each second one compresses what it sends.
    """
    with contextlib.ExitStack() as stack:
        visitors = [_Visitor(daemon, key, query, deflate=number % 2 == 1) for number in range(_SOCKETS)]
        for visitor in visitors:
            stack.callback(visitor.client.socket.close)
            stack.callback(visitor.client.reader.close)
        for count in range(1, 1 + _BEFORE):  # The first few, until it is known how much each sends.
            for visitor in visitors:
                visitor.say()
            for visitor in visitors:
                assert stored(daemon, key, visitor.recording_id, count) == visitor.script.events
        for visitor in visitors:
            visitor.say(_MORE)
        assert all(visitor.has_all_of_it_taken() for visitor in visitors)
        yield visitors


def _check_stored(daemon: DaemonProcess, key: str, visitors: list[_Visitor]) -> None:
    for visitor in visitors:
        assert stored(daemon, key, visitor.recording_id, _BEFORE + _MORE) == visitor.script.events


def _check_last_words(visitor: _Visitor, *, code: int, answers: bool = False) -> None:
    """The last summary counts all, and the close frame says ``code``."""
    *_, (opcode, summary), close = [
        message for message in visitor.client.rest(answers=answers) if message[0] != PONG
    ]
    assert opcode == TEXT
    assert json.loads(summary)["successful_rows"] == _BEFORE + _MORE
    assert close[0] == CLOSE
    assert int.from_bytes(close[1][:2], "big") == code


def test_silence(running: _Running) -> None:
    daemon, key, _ = running
    with _on_the_beat(daemon, key) as visitors:
        _check_stored(daemon, key, visitors)
        for visitor in visitors:
            visitor.client.end("fin")


def test_a_reset(running: _Running) -> None:
    daemon, key, _ = running
    with _on_the_beat(daemon, key) as visitors:
        for visitor in visitors:
            visitor.client.end("reset")
        _check_stored(daemon, key, visitors)


def test_a_reset_while_the_server_writes(running: _Running) -> None:
    """A write to a connection that was reset ends it before anything was read of it."""
    daemon, key, _ = running
    with _on_the_beat(daemon, key, "?ack=true") as visitors:
        linger = struct.pack("ii", 1, 0)
        for visitor in visitors:
            visitor.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            visitor.client.end("fin")
        _check_stored(daemon, key, visitors)


def test_a_half_close(running: _Running) -> None:
    daemon, key, _ = running
    with _on_the_beat(daemon, key) as visitors:
        for visitor in visitors:
            visitor.client.end("half-close")
        for visitor in visitors:
            _check_last_words(visitor, code=1000)
        _check_stored(daemon, key, visitors)


def test_a_close(running: _Running) -> None:
    daemon, key, _ = running
    with _on_the_beat(daemon, key) as visitors:
        for visitor in visitors:
            visitor.client.socket.sendall(frame(CLOSE, (1000).to_bytes(2, "big")))
        for visitor in visitors:
            _check_last_words(visitor, code=1000)
        _check_stored(daemon, key, visitors)


def test_a_key_that_is_revoked(running: _Running) -> None:
    daemon, other, key = running
    with _on_the_beat(daemon, key) as visitors:
        daemon.revoke(key)
        for visitor in visitors:
            _check_last_words(visitor, code=1008, answers=True)
        _check_stored(daemon, other, visitors)


@pytest.mark.parametrize("loop", _LOOPS)
def test_a_stop(tmp_path: Path, loop: str) -> None:
    daemon = _daemon(tmp_path, loop, beat_ms=3000)
    key = daemon.key("all")
    with daemon, _on_the_beat(daemon, key) as visitors:
        assert daemon.process is not None
        daemon.process.terminate()
        for visitor in visitors:
            _check_last_words(visitor, code=1012, answers=True)
        assert daemon.wait() == 0
        daemon.start()
        _check_stored(daemon, key, visitors)


@pytest.mark.parametrize("loop", _LOOPS)
def test_a_kill_takes_nothing_that_was_acked(tmp_path: Path, loop: str) -> None:
    daemon = _daemon(tmp_path, loop)
    key = daemon.key("all")
    with daemon, _on_the_beat(daemon, key, "?ack=true") as visitors:
        acked = 0
        end = time.monotonic() + DEADLINE_S
        while acked < _SOCKETS // 2:  # Of about half, what was sent last is acked; of the others, it is not.
            acked = sum(1 for visitor in visitors if _acked(visitor) == _BEFORE + _MORE)
            assert time.monotonic() < end
        told = [_acked(visitor) for visitor in visitors]
        daemon.kill()
        daemon.start()
        for visitor, count in zip(visitors, told, strict=True):
            found = stored(daemon, key, visitor.recording_id, count)
            assert len(found) >= count
            assert found == visitor.script.events[: len(found)]


def _acked(visitor: _Visitor) -> int:
    """Return how many events the server has told to be stored, as far as can be read without waiting."""
    client = visitor.client.socket
    client.setblocking(False)
    try:
        told = client.recv(1 << 16, socket.MSG_PEEK)
    except BlockingIOError:
        return 0
    finally:
        client.settimeout(DEADLINE_S)
    counts = [int(part.split(b",")[0].split(b"}")[0]) for part in told.split(b'"successful_rows":')[1:]]
    return max(counts, default=0)
