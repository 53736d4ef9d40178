"""What a load process is asked to do, and what it has seen."""

from __future__ import annotations

import math
import uuid
from typing import NamedTuple

from bench.load.outcome import BUSY_SHARE, LATE_S, LATE_SHARE_MAX


class Order(NamedTuple):
    """One turn of a load process."""

    host: str
    port: int
    pid: int
    """Of the server: its processor time and memory are read."""
    path: str
    """``%s`` in it stands for the recording's id."""
    visitors: int
    headers: str = ""
    """Further lines of the handshake, each ending in CRLF."""
    rate: float = 20.0
    """Events a second, each visitor. 0: none but the first ones."""
    warm_up_s: float = 3.0
    """How long events are sent before anything is measured."""
    for_s: float = 10.0
    ramp_s: float = 3.0
    """The visitors come spread over this time."""
    deflate: bool = False
    first_events: int = 0
    """Sent as soon as a socket is open, as one piece."""
    ack_every: int = 0
    """Each of so many visitors asks for acks, and its latencies count; 0: none does."""
    is_counted: bool = True
    """The server says in the end how many events it has stored; a bare receiver doesn't."""
    flush_age_s: float = 1.0
    """Of the server: how long an event may wait until it is stored."""
    source: int = 0
    """Which of the addresses of 127.0.0.0/8 visitors come from: a new one for each turn, since the ports of
    sockets that were just closed are not free."""
    run: str = ""
    """UUID: recordings' ids follow from it."""

    @property
    def paced_events(self) -> int:
        """Events of each visitor at its rate."""
        return math.ceil(self.rate * (self.warm_up_s + self.for_s))

    @property
    def events(self) -> int:
        """Events of each visitor in all."""
        return self.first_events + self.paced_events

    def recording_id(self, number: int) -> str:
        return str(uuid.uuid5(uuid.UUID(self.run), str(number)))


class Window(NamedTuple):
    """What went on while it was measured."""

    seconds: float
    events: int
    server_s: float
    """Processor time of the server."""
    load_s: float
    """The same of the load."""
    others_share: float
    """Of the servers' and the load's cores together: what neither of them used, and was not idle."""
    waited_share: float
    """Of the time: the load wanted to run, and others had its core."""
    late_s: float
    """The greatest delay of an event by the load itself."""
    late_share: float
    """Of events that the load itself sent more than ``LATE_S`` late."""


class Seen(NamedTuple):
    """What came of a turn."""

    window: Window
    opened: int
    refused: int
    """Sockets that were not taken, or were cut."""
    lost: int
    """Events sent and not counted as stored in the end."""
    doubled: int
    """Events that the server took for repeats, or put into quarantine."""
    acks: int
    """Events whose latency is known."""
    p50_ms: float
    p99_ms: float
    max_ms: float
    drained_s: float
    """From the last event until the server had read, or stored if it says so, all of those who ask."""
    opening_s: float
    """From the first connect until the last socket was open."""
    idle_bytes: int
    """The server's memory before the first visitor came."""
    open_bytes: int
    """The same with all sockets open and their first events sent."""
    used_bytes: int
    """The same in the end, all still open."""
    opening_server_s: float
    """Processor time of the server from the first connect until all first events had their acks."""
    stuck: int
    """Writes that the kernel had no room for: the server had not read for long."""
    problems: list[str]

    @property
    def event_us(self) -> float:
        """Processor time of the server for an event, in µs."""
        return 1e6 * self.window.server_s / max(1, self.window.events)

    @property
    def core_share(self) -> float:
        """Of a core, what the server used."""
        return self.window.server_s / max(1e-9, self.window.seconds)

    @property
    def limits(self) -> list[str]:
        """In which way the load was the limit; empty if it wasn't."""
        window, found = self.window, []
        if window.seconds and window.load_s / window.seconds > BUSY_SHARE:
            found.append(f"the load used {window.load_s / window.seconds:.0%} of its core")
        if window.late_share > LATE_SHARE_MAX:
            found.append(
                f"the load sent {window.late_share:.1%} of the events more than {LATE_S * 1000:.0f} ms late, "
                f"up to {window.late_s:.3f} s (others had its core for {window.waited_share:.0%} of the time)"
            )
        return found

    @property
    def is_whole(self) -> bool:
        """Nothing was lost, doubled or refused."""
        return not (self.lost or self.doubled or self.refused or self.problems)
