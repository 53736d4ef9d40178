"""Lanes of the comparisons: rrd, floors and peers, each doing the same work once when told.

Each checks what it is told in the end: rrd and the peers must have counted every event, nginx must have the
files.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Literal, NamedTuple

from bench import blast
from bench.daemon import Daemon
from bench.floors import append, loop
from bench.floors.nginx import STORE, Nginx
from bench.payloads import Bodies, Compressed, Texts, size_of
from bench.peers import END, Peer
from bench.stage import Lane, Server, Turn, Worker

Unit = Literal["events", "MB"]


class Work(NamedTuple):
    """What a round carries over one socket."""

    payload: Texts | Compressed
    times: int
    events: int
    raw_mb: float
    unit: Unit

    @property
    def amount(self) -> float:
        return self.events if self.unit == "events" else self.raw_mb


def socket_work(
    client: Worker,
    payload: Texts | Compressed,
    unit: Unit,
    *,
    times: int | None = None,
    events_min: int | None = None,
) -> Work:
    """Let the client build a payload; it is sent ``times`` times, or until there are ``events_min``."""
    size = client.call(size_of, payload)
    times = times or -(-(events_min or 1) // size.events)
    return Work(payload, times, times * size.events, times * size.raw_mb, unit)


def rrd_socket(name: str, client: Worker, daemon: Daemon, work: Work) -> Lane:
    """rrd as shipped: the clock stops when its summary says that every event is on disk."""
    kind = ""
    if isinstance(work.payload, Compressed):
        kind = f"&contentType=application/x-ndjson&contentEncoding={work.payload.encoding}"

    def go() -> Turn:
        path = f"/recordings/{uuid.uuid4()}/ingest/ws?token={daemon.key}{kind}"
        sent = client.call(blast.over_socket, daemon.port, path, work.payload, work.times)
        return _checked("rrd", sent, work.events)

    return Lane(name, _pid(daemon), work.amount, go)


def bare_socket(name: str, client: Worker, receiver: Server, path: str, work: Work) -> Lane:
    """A bare receiver; the clock stops when it answers our close, so it has read everything."""

    def go() -> Turn:
        sent = client.call(blast.over_socket, receiver.port, path, work.payload, work.times)
        return Turn(sent.wall_s, sent.client_s)

    return Lane(name, receiver.pid, work.amount, go)


def peer_socket(client: Worker, peer: Peer, work: Work) -> Lane:
    """A peer; the clock stops when it says how many events it wrote."""

    def go() -> Turn:
        path = peer.path_of(str(uuid.uuid4()))
        sent = client.call(blast.over_socket, peer.port, path, work.payload, work.times, last_text=END)
        for file in peer.data_dir.iterdir():
            file.unlink()
        return _checked(peer.name, sent, work.events)

    return Lane(peer.name, peer.pid, work.amount, go)


class Uploads(NamedTuple):
    """What a round POSTs: all of a payload's bodies to each path; a connection has ``passes`` paths."""

    payload: Bodies
    connections: int
    passes: int
    events: int
    """Of all of a round."""
    raw_mb: float
    bodies: int
    body_mb: float
    """As they are sent, compressed or not."""

    def paths(self, make: Callable[[], str]) -> list[list[str]]:
        return [[make() for _ in range(self.passes)] for _ in range(self.connections)]


def uploads(client: Worker, payload: Bodies, *, connections: int, passes: int) -> Uploads:
    """Let the client build bodies, and say how much a round of them is."""
    size, times = client.call(size_of, payload), connections * passes
    return Uploads(
        payload, connections, passes, times * size.events, times * size.raw_mb, times * size.pieces,
        times * size.wire_mb,
    )  # fmt: skip


def rrd_uploads(name: str, client: Worker, daemon: Daemon, work: Uploads) -> Lane:
    """rrd as shipped. A recording gets each body once, since it would find out that another is a repeat."""
    target = blast.Target(daemon.port, headers=(f"Authorization: Bearer {daemon.key}",))

    def go() -> Turn:
        paths = work.paths(lambda: f"/recordings/{uuid.uuid4()}/ingest")
        return _checked("rrd", client.call(blast.over_connections, target, paths, work.payload), work.events)

    return Lane(name, _pid(daemon), work.raw_mb, go)


def bare_uploads(name: str, client: Worker, receiver: Server, path: str, work: Uploads) -> Lane:
    """A bare receiver, which reads bodies as they come and answers at their end."""
    target = blast.Target(receiver.port)

    def go() -> Turn:
        sent = client.call(blast.over_connections, target, work.paths(lambda: path), work.payload)
        return Turn(sent.wall_s, sent.client_s)

    return Lane(name, receiver.pid, work.raw_mb, go)


def nginx_uploads(name: str, client: Worker, nginx: Nginx, work: Uploads) -> Lane:
    """nginx, which writes each body to a file of its own; they go after the clock has stopped."""
    target = blast.Target(nginx.port)

    def go() -> Turn:
        sent = client.call(blast.over_connections, target, work.paths(lambda: STORE), work.payload)
        count, size = nginx.stored()
        if (count, size) != (work.bodies, round(work.body_mb * 1e6)):
            raise RuntimeError(f"nginx stored {count} bodies of {work.bodies}, {size} bytes")
        nginx.clear()
        return Turn(sent.wall_s, sent.client_s)

    return Lane(name, nginx.pid, work.raw_mb, go)


def bare_loop(
    name: str, looper: Worker, payload: Compressed | Bodies, raw_mb: float, *, times: int = 1
) -> Lane:
    """The same bytes in a bare loop; ``raw_mb`` is what ``times`` passes of the payload carry."""
    return Lane(name, looper.pid, raw_mb, lambda: looper.call(loop.work, payload, times))


def bare_append(name: str, looper: Worker, *, times: int, events_max: int | None) -> Lane:
    """The encoded blocks appended and synced, in MB of the events in them."""
    raw_bytes = looper.call(append.blocks_raw_bytes, events_max)
    return Lane(
        name, looper.pid, times * raw_bytes / 1e6, lambda: looper.call(append.append, times, events_max)
    )


def _checked(who: str, sent: blast.Sent, events: int) -> Turn:
    if sent.counted != events:
        raise RuntimeError(f"sent {events} events, and {who} counts {sent.counted}")
    return Turn(sent.wall_s, sent.client_s)


def _pid(daemon: Daemon) -> int:
    assert daemon.pid is not None
    return daemon.pid
