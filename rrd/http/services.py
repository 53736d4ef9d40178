"""What request handlers work with, put together by the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from rrd.access.gate import Gate
from rrd.assets.files import BUILT
from rrd.care.refusals import Refusals
from rrd.clock import Clock
from rrd.config import Config
from rrd.config.changes import ReloadState
from rrd.console.box import Box
from rrd.console.desk import Desk
from rrd.disk.disk import Disk
from rrd.http.budget import Budget
from rrd.http.garbage import Garbage
from rrd.http.pulse import Pulse
from rrd.http.sockets import Sockets
from rrd.http.streams import Streams
from rrd.index.contract import Index
from rrd.lifecycle.removal import Remover
from rrd.measures import Measures
from rrd.objects.files import ObjectFiles
from rrd.objects.store import ObjectStore
from rrd.playback.recount import SummaryCache
from rrd.recordings.claims import Claims
from rrd.recordings.registry import Registry
from rrd.shares.admission import Admission
from rrd.shares.room import Room
from rrd.shares.threads import FairThreads
from rrd.wire.limits import Limits


class UnderWay:
    """Counts what is under way: use it as a context, and ``none`` to wait for the end of all."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def __enter__(self) -> None:
        self._count += 1
        self._none.clear()

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if self._count == 0:
            self._none.set()

    @property
    def count(self) -> int:
        """How many are under way."""
        return self._count

    async def none(self) -> None:
        """Return when nothing is under way."""
        await self._none.wait()


@dataclass(frozen=True, slots=True)
class WatchBounds:
    """Of ``follow=true``, in seconds."""

    ping_s: float = 15.0
    """Proxies take what is silent for a minute for dead."""
    probe_s: float = 0.5
    """How far apart the pings are that show whether a client is still there."""
    idle_s: float = 60.0
    """After so long without an event the watcher is told."""
    closed_s: float = 5.0
    """How long late events are waited for once the page has said that the recording is over."""
    patience_s: float = 30.0
    """How long a watcher may take nothing of what waits for it."""
    end_s: float = 5.0
    """How long it may take to take the end."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What no setting names. Tests give others."""

    ready_wait_s: float = 5.0
    """How long a request with a good key waits for a start to end."""
    head_s: float = 20.0
    """How long a request's head may take, and how long a new connection may say nothing. What a proxy keeps
    open between requests may stay so for longer."""
    taken_interval_s: float = 10.0
    """How often it is looked at whether a client takes what it is sent."""
    turn_bytes: int = 4 << 20
    """What connections bring in one turn before the others wait: some milliseconds of copying."""
    pages_wait_s: float = 0.1
    """How long ``/pages`` waits until all is counted. From then on an error can't have a status any more."""
    stop_wait_s: float = 20.0
    """How long a stop waits for requests under way."""
    cut_off_wait_s: float = 2.0
    """And then, for what came of their bodies to be stored."""
    scrape_s: float = 15.0
    """How long a connection to the metrics may last, from its beginning. Prometheus gives up after 10 s by
    default."""
    watch: WatchBounds = field(default_factory=WatchBounds)


@dataclass(slots=True)
class Services:
    """The parts behind the API. ``ready`` is set once recovery is done; requests with a key wait a moment."""

    config: Config
    """As of now: a reload replaces it. What is read from it for each request follows by itself."""
    clock: Clock
    disk: Disk
    gate: Gate
    limits: Limits
    index: Index
    registry: Registry
    sockets: Sockets
    streams: Streams
    """What inflates the messages of sockets with permessage-deflate."""
    unfinished: Budget
    """Memory for all that senders have sent and is not with a recording yet."""
    admission: Admission
    read_room: Room
    """``read_bytes_max``: for all answers that are being made, or wait for their takers."""
    decoding_threads: FairThreads
    """For what takes long to decode or to inflate: no tenant's bodies hold up another's."""
    reading_threads: FairThreads
    """For readers alone: none must hold up a commit."""
    object_threads: FairThreads
    """For those that read objects: one that waits for the object store must not hold up those that don't."""
    files: ObjectFiles
    claims: Claims
    remover: Remover
    refusals: Refusals
    measures: Measures
    """What no stage counts: measured when it is shown."""
    held: Callable[[], list[str]]
    """What waits for a person, a sentence each."""
    store: ObjectStore
    pulse: Pulse
    """How much happens now."""
    summaries: SummaryCache = field(default_factory=SummaryCache)
    """What happened in recordings that were asked for lately."""
    garbage: Garbage = field(default_factory=Garbage)
    requests: UnderWay = field(default_factory=UnderWay)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    is_stopping: bool = False
    listens: list[str] = field(default_factory=list)
    """Where it listens, for people: ``127.0.0.1:8787``."""
    on_stopping: Callable[[], None] = lambda: None
    """Called when a stop begins."""
    waits_for: str = "recovering"
    """What a start waits for, in words for people, while ``ready`` is not set."""
    connections_max: int = 1 << 31
    """Connections that may be open at once, sockets and others together."""
    backlog: int = 4096
    """Connections that the kernel holds until they are accepted."""
    bounds: Bounds = field(default_factory=Bounds)
    desk: Desk | None = None
    """Who may use the console; None: it is off."""
    box: Box | None = None
    """How the machine's rrd is, where the console is on."""
    reload_state: ReloadState = field(default_factory=ReloadState)
    """What became of the last reload of the settings."""
    assets_dir: str = BUILT
    """Where that lies which runs in browsers."""

    def end_waits(self) -> None:
        """Let requests that wait for the start be refused: it stops before it was ready."""
        self.is_stopping = True
        self.ready.set()
        self.registry.followers.stop()


SERVICES = web.AppKey("services", Services)
