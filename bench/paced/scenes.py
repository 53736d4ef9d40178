"""Servers and turns: each turn of rrd has a daemon of its own, so that no turn pays for another's recordings.

Data directories stay until a scene is over: ext4 makes new files slowly for minutes after many were deleted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator

from bench import stage
from bench.daemon import daemon
from bench.floors.receivers import RECEIVE, receiver
from bench.paced import readback, work
from bench.paced.order import Order, Seen
from bench.stage import Worker
from rrd.config import Config

P99_MORE_MS = 50
"""By how much the p99 of an ack may exceed ``flush_age_ms``."""
_READ_BACK = 10
"""Recordings of a turn."""
_STEP = 1.25
_FINE_SHARE = 0.05
_RATE_SHARE = 0.98
"""Of the events that were to be sent in the time: with fewer a turn shows nothing."""
_SOURCES = 62_500

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Scene:
    """Who comes, and to what kind of a daemon."""

    visitors: int = 1000
    rate: float = 20.0
    for_s: float = 10.0
    rounds: int = 3
    deflate: bool = False
    warm_up_s: float = 3.0
    ramp_s: float = 3.0
    first_events: int = 0
    ack_every: int = 50
    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    """The daemon's environment."""

    @property
    def flush_age_ms(self) -> float:
        return float(self.settings.get("RRD_FLUSH_AGE_MS", Config().flush_age_ms))


class Turns:
    """A load process, and servers by turns."""

    def __init__(self, client: Worker, home: str) -> None:
        self._client = client
        self._home = home
        self._source = os.getpid()
        self._cores = frozenset(stage.cores() or (min(os.sched_getaffinity(0)),))

    def rrd(self, scene: Scene) -> Seen:
        """Let a scene's visitors come to a daemon of their own, and read some recordings back."""
        data_dir = tempfile.mkdtemp(dir=self._home)
        with daemon(scene.settings, core=stage.server_core(), data_dir=data_dir) as target:
            assert target.pid is not None
            order = self._order(scene, target.host, target.port, target.pid)._replace(
                path="/recordings/%s/ingest/ws", headers=f"Authorization: Bearer {target.key}\r\n"
            )
            seen: Seen = self._client.call(work.visit, order, self._cores)
            chosen = range(0, scene.visitors, max(1, scene.visitors // _READ_BACK))
            wrong = readback.wrong(target, map(order.recording_id, chosen), order.events)
        return seen._replace(problems=[*seen.problems, *wrong])

    def bare(self, scene: Scene) -> Seen:
        """Let them come to a bare receiver, which discards what it has read."""
        # For small messages zlib is the faster inflater, by far, so that this is the stronger receiver.
        with receiver(inflater="zlib") as target:
            order = self._order(scene, "127.0.0.1", target.port, target.pid)
            return self._client.call(work.visit, order._replace(is_counted=False), self._cores)

    def _order(self, scene: Scene, host: str, port: int, pid: int) -> Order:
        self._source += 1
        return Order(
            host, port, pid, RECEIVE, scene.visitors, rate=scene.rate, warm_up_s=scene.warm_up_s,
            for_s=scene.for_s, ramp_s=scene.ramp_s, deflate=scene.deflate, first_events=scene.first_events,
            ack_every=scene.ack_every, flush_age_s=scene.flush_age_ms / 1000,
            source=self._source % _SOURCES, run=str(uuid.uuid4()),
        )  # fmt: skip


@contextlib.contextmanager
def turns() -> Iterator[Turns]:
    """Set the stage: a load process on its core, a directory for all data."""
    with (
        tempfile.TemporaryDirectory(prefix="rrd-paced-") as home,
        stage.worker(stage.client_core()) as client,
    ):
        yield Turns(client, home)


def against_receiver(scene: Scene, say: Say, *, alone: bool = False) -> tuple[list[Seen], list[Seen]]:
    """Let rrd and a bare receiver take turns; return what came of rrd's and of the receiver's."""
    ours: list[Seen] = []
    theirs: list[Seen] = []
    with turns() as each:
        for _ in range(scene.rounds):
            if not alone:
                theirs.append(each.bare(scene))
                say(f"bare  {line(theirs[-1])}")
            ours.append(each.rrd(scene))
            say(f"rrd   {line(ours[-1])}")
    return ours, theirs


@dataclasses.dataclass
class Climb:
    """How many visitors a daemon takes."""

    most: int = 0
    """The greatest number with which all was well."""
    best: Seen | None = None
    """Of that number."""
    too_many: int = 0
    """The least number with which it wasn't; 0 if there was none."""
    reason: str = ""
    """What was wrong then."""
    is_loads_limit: bool = False
    """The load could not send more then: the server could perhaps take more."""


def climb(scene: Scene, say: Say, *, most: int) -> Climb:
    """Look for the greatest number of visitors, up from the scene's, ``most`` at most, within 5 %.

    A step that doesn't go well is tried once more: the machine has other guests.
    """
    found, count = Climb(), min(scene.visitors, most)
    with turns() as each:
        while count:
            step, reason = dataclasses.replace(scene, visitors=count), ""
            for _ in range(2):
                seen = each.rrd(step)
                reason = what_is_wrong(seen, step)
                say(f"{count:6,} visitors: {reason or 'all well'}; {line(seen)}")
                if not reason:
                    break
            if reason:
                found.too_many, found.reason, found.is_loads_limit = count, reason, bool(seen.limits)
            else:
                found.most, found.best = count, seen
            count = _next(found, count, most)
    return found


def _next(found: Climb, count: int, most: int) -> int:
    """Return the number to try next; 0 if the answer is known well enough."""
    if not found.too_many:
        return min(int(count * _STEP), most) if count < most else 0
    if found.too_many - found.most <= max(1, _FINE_SHARE * found.too_many):
        return 0
    return (found.too_many + found.most) // 2


def what_is_wrong(seen: Seen, scene: Scene) -> str:
    """Return why a turn did not go well; nothing if it did.

    A load that is late or busy does no harm as long as all arrived, at the rate and with acks in time, since
    latencies count from when an event was meant to be sent. Where that is not so, it may be the cause.
    """
    p99_max_ms, wanted_s = scene.flush_age_ms + P99_MORE_MS, scene.rate * scene.visitors
    reason = ""
    if not seen.is_whole:
        reason = f"{seen.lost} lost, {seen.doubled} doubled, {seen.refused} refused: {seen.problems[:1]}"
    elif (events_s := seen.window.events / max(seen.window.seconds, 1e-9)) < _RATE_SHARE * wanted_s:
        reason = f"{events_s:,.0f} events a second were sent, and not {wanted_s:,.0f}"
    elif not seen.p99_ms <= p99_max_ms:
        reason = f"p99 of an ack {seen.p99_ms:,.0f} ms, {p99_max_ms:,.0f} at most"
    if reason and seen.limits:
        reason += f" (the load was the limit: {'; '.join(seen.limits)})"
    return reason


def stay(scene: Scene, say: Say) -> list[Seen]:
    """Let visitors stay a while, quiet as the client is but for those that ask for acks."""
    return _alone(scene, say)


def storm(scene: Scene, say: Say) -> list[Seen]:
    """Let all visitors come within the ramp; each sends its first events as soon as its socket is open."""
    first = max(1, scene.first_events)
    return _alone(
        dataclasses.replace(scene, rate=0, warm_up_s=0, for_s=0, first_events=first, ack_every=1), say
    )


def _alone(scene: Scene, say: Say) -> list[Seen]:
    found = []
    with turns() as each:
        for _ in range(scene.rounds):
            found.append(each.rrd(scene))
            say(line(found[-1]))
    return found


def line(seen: Seen) -> str:
    """Return what came of a turn, in a line."""
    window, kib = seen.window, 1024 * max(1, seen.opened)
    parts = [
        f"{seen.event_us:.2f} µs an event, {seen.core_share:.0%} of a core",
        f"{(seen.used_bytes - seen.idle_bytes) / kib:.1f} KiB a socket"
        f" ({(seen.open_bytes - seen.idle_bytes) / kib:.1f} when opened)",
        f"ack p50 {seen.p50_ms:,.0f} p99 {seen.p99_ms:,.0f} max {seen.max_ms:,.0f} ms of {seen.acks:,}"
        if seen.acks
        else "no acks",
        f"opened {seen.opened:,} in {seen.opening_s:.1f} s with"
        f" {1000 * seen.opening_server_s / max(1, seen.opened):.2f} ms each",
        f"lost {seen.lost} doubled {seen.doubled} refused {seen.refused}, stuck {seen.stuck},"
        f" drained in {seen.drained_s:.2f} s",
        f"load {window.load_s / max(window.seconds, 1e-9):.0%} of its core, late {window.late_share:.1%}"
        f" up to {window.late_s * 1000:.0f} ms; others {window.others_share:.0%} of both cores",
        *(f"LIMIT: {limit}" for limit in seen.limits),
        *(f"PROBLEM: {problem}" for problem in seen.problems[:3]),
    ]
    return " | ".join(parts)
