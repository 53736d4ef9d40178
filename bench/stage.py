"""Where a comparison plays: cores, processes, and everyone in turn.

Servers have one core to themselves, the load another, each in a process of its own; whoever isn't being
measured is idle. A round lets each *lane* do the same work once, one after the other, so that a slow moment
of the machine hits all of them, and ratios are taken round by round.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, ParamSpec, TypeVar

from bench.daemon import cpu_s
from bench.result import Check, Rate, rate, ratio

ANSWER_TIMEOUT_S = 300.0
"""For one order: the largest takes some ten seconds."""

_BUSY_SHARE = 0.9

_spawn = multiprocessing.get_context("spawn")
_P = ParamSpec("_P")
_T = TypeVar("_T")


# Cores


def cores() -> tuple[int, int] | None:
    """Return the servers' core and the load's; None if there is only one, and nothing is pinned."""
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else None


def server_core() -> int | None:
    """Return the core that all servers share, or None for any."""
    chosen = cores()
    return chosen[0] if chosen else None


def client_core() -> int | None:
    """Return the core of the load, or None for any."""
    chosen = cores()
    return chosen[1] if chosen else None


# Processes


class Server(NamedTuple):
    """Where a server listens on 127.0.0.1, and whose processor time is its own."""

    port: int
    pid: int


class Worker:
    """A process that calls functions for us. What they cache stays with it."""

    def __init__(self, pipe: Connection, pid: int) -> None:
        self._pipe = pipe
        self.pid = pid

    def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function of some module over there, and return or raise what it does.

        Raises ``RuntimeError`` if the process is gone, or takes longer than ``ANSWER_TIMEOUT_S``.
        """
        self._pipe.send((function, args, kwargs))
        result, error = _receive(self._pipe)
        if error is not None:
            raise error
        answer: _T = result
        return answer


@contextlib.contextmanager
def worker(core: int | None) -> Iterator[Worker]:
    """Start a process that carries out calls on one core, and end it on leaving."""
    with _process(_work, core) as (pipe, pid):
        yield Worker(pipe, pid)


@contextlib.contextmanager
def server(serve: Callable[[Callable[[int], None]], None], core: int | None) -> Iterator[Server]:
    """Run ``serve`` in a process of its own until left; it calls what it is given with its port."""
    with _process(_announce, core, serve) as (pipe, pid):
        yield Server(_receive(pipe), pid)


@contextlib.contextmanager
def _process(
    target: Callable[..., None], core: int | None, *args: object
) -> Iterator[tuple[Connection, int]]:
    ours, theirs = _spawn.Pipe()
    process = _spawn.Process(target=_pinned, args=(core, target, theirs, *args), daemon=True)
    process.start()
    theirs.close()  # So that its end shows at ours.
    assert process.pid is not None
    try:
        yield ours, process.pid
    finally:
        ours.close()
        process.terminate()
        process.join()


def _pinned(core: int | None, target: Callable[..., None], *args: object) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    target(*args)


def _work(pipe: Connection) -> None:
    while True:
        try:
            function, args, kwargs = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((function(*args, **kwargs), None))
        except Exception as error:  # noqa: BLE001  # It is raised where the call came from.
            pipe.send((None, error))


def _announce(pipe: Connection, serve: Callable[[Callable[[int], None]], None]) -> None:
    serve(pipe.send)


def _receive(pipe: Connection) -> Any:
    if not pipe.poll(ANSWER_TIMEOUT_S):
        raise RuntimeError(f"no answer within {ANSWER_TIMEOUT_S:.0f} s")
    try:
        return pipe.recv()
    except EOFError:
        raise RuntimeError("the process ended without an answer; its last words are above") from None


# Rounds


class Turn(NamedTuple):
    """What one lane did in one round."""

    wall_s: float
    client_s: float = 0.0
    """Processor time of the load meanwhile."""


class Lane(NamedTuple):
    """One of those that are compared."""

    name: str
    pid: int
    """Whose processor time is counted."""
    amount: float
    """What a round carries: events, or MB."""
    go: Callable[[], Turn]
    """Do a round's work once. Raises if not everything arrived."""


class Lap(NamedTuple):
    """What a lane did in all rounds, in its unit a second."""

    wall: list[float]
    busy: list[float]
    """By the processor time that the server used, all its threads."""
    client: list[float]
    """The load's share of its core."""


def in_turn(lanes: Sequence[Lane], *, rounds: int, warm_up: bool = True) -> dict[str, Lap]:
    """Let the lanes go one after the other, ``rounds`` times (and once before that to warm up)."""
    laps = {lane.name: Lap([], [], []) for lane in lanes}
    for number in range(-1 if warm_up else 0, rounds):
        for lane in lanes:
            used_before = cpu_s(lane.pid)
            turn = lane.go()
            used = cpu_s(lane.pid) - used_before
            if number >= 0:
                lap = laps[lane.name]
                lap.wall.append(lane.amount / turn.wall_s)
                # A clock as coarse as the work is short can say that it took no time.
                lap.busy.append(lane.amount / max(used, 1e-6))
                lap.client.append(turn.client_s / turn.wall_s)
    return laps


def rates(laps: dict[str, Lap], unit: str) -> list[Rate]:
    """Return everyone's rate by the clock, then by processor time; ``unit`` is that of the amounts."""
    by_clock = [rate(name, f"{unit}/s", lap.wall) for name, lap in laps.items()]
    by_processor = [
        rate(f"{name}, by processor time", f"{unit}/s of a core", lap.busy) for name, lap in laps.items()
    ]
    return by_clock + by_processor


def compare(
    laps: dict[str, Lap], ours: str, theirs: str, what: str, *, bar: float | None = None, unit: str = "%"
) -> list[Check]:
    """Hold ``ours`` against ``theirs``: by the clock, with the bar, and by processor time, stated."""
    return [
        ratio(what, laps[ours].wall, laps[theirs].wall, bar=bar, unit=unit),
        ratio(f"{what}, by processor time", laps[ours].busy, laps[theirs].busy, unit=unit),
    ]


def notes(laps: dict[str, Lap]) -> list[str]:
    """Say what a reader of the figures must know about the stage: cores, and how busy the load was."""
    found = core_note()
    name, share = max(((name, max(lap.client)) for name, lap in laps.items()), key=lambda pair: pair[1])
    found.append(f"The load used at most {share:.0%} of its core (against {name}).")
    limited = [name for name, lap in laps.items() if max(lap.client) > _BUSY_SHARE]
    if limited:
        found.append(f"The load was the limit for {', '.join(limited)}: they could have been faster.")
    return found


def core_note() -> list[str]:
    """Say so if there was but one core."""
    return [] if cores() else ["There was only one core: servers and load shared it."]


def disk_note(directory: str) -> list[str]:
    """Say so if ``directory`` lies in memory, where a sync costs nothing."""
    with open("/proc/mounts") as file:
        mounts = [line.split()[1:3] for line in file]
    real = os.path.realpath(directory) + "/"
    inside = [mount for mount in mounts if real.startswith(mount[0].rstrip("/") + "/")]
    kind = max(inside, key=lambda mount: len(mount[0]), default=["", ""])[1]
    if kind in {"tmpfs", "ramfs"}:
        return [f"Data lay in memory ({kind}), where syncs cost nothing; TMPDIR chooses another place."]
    return []
