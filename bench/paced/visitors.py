"""The sockets of a load process: how they open, what they hear, how they close.

Raw sockets that never block, and one epoll. Nothing is allocated for a socket that hears nothing.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time

import msgspec

from bench.frames import (
    CLOSE,
    OFFER_AS_CHROMIUM,
    PING,
    PONG,
    TEXT,
    Agreed,
    FrameReader,
    frame,
    handshake,
)
from bench.load.outcome import LATE_S, PROBLEMS_MAX, Latencies
from bench.load.senders import QUOTED_CHARS, counts_in
from bench.paced.frames import Stream
from bench.paced.order import Order

_CONNECTING, _ASKED, _OPEN, _ENDED = range(4)
_IP_BIND_ADDRESS_NO_PORT = 24
"""linux/in.h: the port is chosen by connect, which may take one that another address uses."""
_READ_BYTES = 64 << 10
_AT_ONCE = 256
"""What is taken from epoll, and what is opened, before the other has its turn."""
_POLL_S = 0.001
_IDLE_S = 0.02


class Visitors:
    """All visitors of a turn, by number."""

    def __init__(self, order: Order, stream: Stream) -> None:
        count = order.visitors
        self.fds = [-1] * count
        """Where to write; -1 where a write has to wait, or can't be any more."""
        self.acked = [0] * count
        self.bad: dict[int, int] = {}
        """Visitor → events that the server took for repeats, or put into quarantine."""
        self.asking = range(0, count, order.ack_every or count)
        """Those that ask for acks; the first one if none does."""
        self.latencies = Latencies()
        self.problems: list[str] = []
        self.opened = self.failed = self.stuck = 0
        self.late_s, self.late = 0.0, 0
        """How late the load itself was when it connected, at most, and how often by more than ``LATE_S``."""
        self.heard = 0
        """Visitors of which the first events are all settled."""
        self.pongs = 0
        self._order = order
        self._stream = stream
        self._sockets: list[socket.socket | None] = [None] * count
        self._phases = bytearray(count)
        self._meant = [0.0] * count
        self._numbers: dict[int, int] = {}
        self._heads: dict[int, bytes] = {}
        self._readers: dict[int, FrameReader] = {}
        self._waiting: dict[int, bytearray] = {}
        self._ended = 0
        self._is_closing = False
        self._epoll = select.epoll()
        self._starts_at = 0.0
        self._counts_from = self._counts_until = 0.0
        self._requests = [self._request(number) for number in range(count)]

    # Opening

    def open(self, timeout_s: float = 60.0) -> float:
        """Open all, spread over the ramp; return how long it took."""
        order, next_number = self._order, 0
        begin = time.monotonic()
        while self.opened + self.failed < order.visitors:
            elapsed_s = time.monotonic() - begin
            if elapsed_s > order.ramp_s + timeout_s:
                for number in range(order.visitors):
                    if self._phases[number] < _OPEN:
                        self._fail(number, "not open in time")
                break
            due = order.visitors
            if order.ramp_s and elapsed_s < order.ramp_s:
                due = min(due, int(elapsed_s / order.ramp_s * due) + 1)
            for number in range(next_number, min(due, next_number + _AT_ONCE)):
                meant = self._meant[number] = begin + order.ramp_s * number / order.visitors
                late_s = time.monotonic() - meant
                self.late_s = max(self.late_s, late_s)
                self.late += late_s > LATE_S
                self._connect(number)
                next_number = number + 1
            is_all = next_number == order.visitors
            self.poll(_IDLE_S if is_all else 0 if next_number < due else _POLL_S)
        return time.monotonic() - begin

    def _connect(self, number: int) -> None:
        order = self._order
        new = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        new.setblocking(False)
        new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[number] = new
        self._numbers[new.fileno()] = number
        if order.host.startswith("127."):
            new.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            new.bind((f"127.1.{order.source // 250 % 250}.{order.source % 250 + 1}", 0))
        failure = new.connect_ex((order.host, order.port))
        if failure == errno.EINPROGRESS:
            self._epoll.register(new.fileno(), select.EPOLLOUT)
        elif failure:
            self._fail(number, f"not connected: {os.strerror(failure)}")
        else:
            self._epoll.register(new.fileno(), select.EPOLLIN)
            self._ask(number, new)

    def _ask(self, number: int, new: socket.socket) -> None:
        if failure := new.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._fail(number, f"not connected: {os.strerror(failure)}")
            return
        self._epoll.modify(new.fileno(), select.EPOLLIN)
        self._phases[number] = _ASKED
        new.send(self._requests[number])

    def _request(self, number: int) -> bytes:
        order = self._order
        path = order.path
        if "%s" in path:
            path %= order.recording_id(number)
            path += "?ack=true" if self.asks_for_acks(number) else ""
        offer = OFFER_AS_CHROMIUM if order.deflate else ""
        return handshake(f"{order.host}:{order.port}", path, offer=offer, headers=order.headers)

    def asks_for_acks(self, number: int) -> bool:
        return bool(self._order.ack_every) and number % self._order.ack_every == 0

    def _take_answer(self, number: int, data: bytes) -> bytes:
        """Take a part of the answer to the handshake; return what comes behind it."""
        whole = self._heads.pop(number, b"") + data
        head, end, rest = whole.partition(b"\r\n\r\n")
        if not end:
            self._heads[number] = whole
            return b""
        if not head.startswith(b"HTTP/1.1 101 "):
            self._fail(number, f"refused: {whole.decode(errors='replace')[:QUOTED_CHARS]}")
            return b""
        if wrong := self._stream.agree(Agreed.in_head(head)):
            self._fail(number, wrong)
            return b""
        connection = self._sockets[number]
        assert connection is not None
        self._phases[number] = _OPEN
        self.fds[number] = connection.fileno()
        self.opened += 1
        if first := self._order.first_events:
            self.write(number, b"".join(self._stream.frames[:first]))
        return rest

    # Sending

    def write(self, number: int, data: bytes) -> None:
        """Send, or keep what there is no room for until there is."""
        fd, written = self.fds[number], 0
        if fd >= 0:
            try:
                written = os.write(fd, data)
            except BlockingIOError:
                pass
            except OSError as error:
                self._fail(number, f"cut: {error!r}")
                return
        if written < len(data):
            self.keep(number, data[written:])

    def keep(self, number: int, rest: bytes) -> None:
        """Send ``rest`` as soon as there is room; until then nothing else is written."""
        if self._phases[number] == _OPEN:
            self.fds[number] = -1
            self.stuck += 1
            self._waiting.setdefault(number, bytearray()).extend(rest)

    def push(self) -> None:
        """Try again to send what waits."""
        for number, rest in list(self._waiting.items()):
            connection = self._sockets[number]
            if connection is None:
                continue
            try:
                del rest[: connection.send(rest)]
            except BlockingIOError:
                continue
            except OSError as error:
                self._fail(number, f"cut: {error!r}")
                continue
            if not rest:
                del self._waiting[number]
                self.fds[number] = connection.fileno()

    def ping(self) -> None:
        """Ask those of ``asking`` for a pong."""
        for number in self.asking:
            self.write(number, frame(b"", opcode=PING))

    # Hearing

    def count_latencies(self, starts_at: float, since: float, until: float) -> None:
        """Take latencies of events that are due from ``since`` to ``until``; pace begins at ``starts_at``."""
        self._starts_at, self._counts_from, self._counts_until = starts_at, since, until

    def poll(self, timeout_s: float) -> None:
        """Hear what there is to hear; wait for it that long."""
        for fd, what in self._epoll.poll(timeout_s, _AT_ONCE):
            number = self._numbers[fd]
            connection = self._sockets[number]
            if connection is None:
                continue
            try:
                if self._phases[number] == _CONNECTING:
                    self._ask(number, connection)
                elif what & ~select.EPOLLOUT:
                    self._hear(number, connection.recv(_READ_BYTES))
            except BlockingIOError:
                continue
            except OSError as error:
                self._fail(number, f"cut: {error!r}")

    def _hear(self, number: int, data: bytes) -> None:
        if not data:
            self._fail(number, "cut without a word")
            return
        if self._phases[number] == _ASKED:
            data = self._take_answer(number, data)
        if not data or self._phases[number] != _OPEN:
            return
        reader = self._readers.get(number) or self._readers.setdefault(number, FrameReader())
        for opcode, payload in reader.feed(data):
            if opcode == TEXT:
                self._take_summary(number, payload)
            elif opcode == PING:
                self.write(number, frame(payload, opcode=PONG))
            elif opcode == PONG:
                self.pongs += 1
            elif opcode == CLOSE:
                code = int.from_bytes(payload[:2], "big")
                self._end(number) if self._is_closing and code == 1000 else self._fail(
                    number, f"closed by the server, {code} {payload[2:].decode(errors='replace')}"
                )

    def _take_summary(self, number: int, payload: bytes) -> None:
        try:
            counts = counts_in(payload)
        except msgspec.DecodeError:
            counts = None
        if counts is None or not counts.ok or counts.successful_rows is None:
            self._note(number, payload.decode(errors="replace")[:QUOTED_CHARS])
            return
        before, acked = self.acked[number], counts.successful_rows
        settled = self.settled(number)
        if self.asks_for_acks(number) and not self._is_closing:
            now, first = time.monotonic(), self._order.first_events
            for event in range(before, acked):
                meant = self._meant[number] if event < first else self._due_at(number, event - first)
                if self._counts_from <= meant < self._counts_until:
                    self.latencies.add(max(0.0, now - meant))
        self.acked[number] = acked
        if bad := counts.quarantined_rows + counts.duplicate_rows:
            self.bad[number] = bad
            self._note(number, f"{counts.quarantined_rows} quarantined, {counts.duplicate_rows} repeats")

        self.heard += settled < self._order.first_events <= self.settled(number)

    def settled(self, number: int) -> int:
        """Return how many events of a visitor the server has said anything about."""
        return self.acked[number] + self.bad.get(number, 0)

    def _due_at(self, number: int, event: int) -> float:
        order = self._order
        return self._starts_at + (event + number / order.visitors) / order.rate

    # Ending

    def close(self, timeout_s: float = 60.0) -> None:
        """Say goodbye on all sockets, and wait for the server's."""
        self._is_closing = True
        goodbye = frame((1000).to_bytes(2, "big"), opcode=CLOSE)
        for number in range(self._order.visitors):
            if self._phases[number] == _OPEN:
                self.write(number, goodbye)
            if not number % _AT_ONCE:
                self.poll(0)
        give_up_at = time.monotonic() + timeout_s
        while self._ended < self._order.visitors and time.monotonic() < give_up_at:
            self.push()
            self.poll(_IDLE_S)
        for number in range(self._order.visitors):
            if self._phases[number] != _ENDED:
                self._fail(number, "no goodbye from the server")
        self._epoll.close()

    def _end(self, number: int) -> None:
        connection, self._sockets[number] = self._sockets[number], None
        if connection is not None:
            connection.close()
        if self._phases[number] != _ENDED:
            self._ended += 1
        self._phases[number] = _ENDED
        self.fds[number] = -1
        self._waiting.pop(number, None)

    def _fail(self, number: int, problem: str) -> None:
        if self._phases[number] == _OPEN:
            self.opened -= 1
        self.failed += self._phases[number] != _ENDED
        self._note(number, problem)
        self._end(number)

    def _note(self, number: int, problem: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(f"visitor {number}: {problem}")
