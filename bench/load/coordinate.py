"""A run as a whole: is the target there? Then start the load processes, lead them through the phases."""

from __future__ import annotations

import contextlib
import http.client
import multiprocessing
import os
import random
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Literal, TypeVar

from bench.load.outcome import Findings, Outcome, Part
from bench.load.plan import Plan, Target, WrongUse
from bench.load.worker import Share, work

Phase = Literal["opened", "sending", "sent", "closed", "verified"]

_LOOK_TIMEOUT_S = 10.0
_START_DELAY_S = 0.2
"""From the word until all begin at once."""
_JOIN_TIMEOUT_S = 10.0

_spawn = multiprocessing.get_context("spawn")
_T = TypeVar("_T")


def run(target: Target, plan: Plan, *, on_phase: Callable[[Phase], None] | None = None) -> Outcome:
    """Put the load of ``plan`` on ``target`` and return what came of it.

    ``on_phase`` is called between phases, in this process: ``opened`` when every connection is open
    (``idle_s`` begins), ``sending`` right before the first event, ``sent`` when the last acks are there and
    everything is still open, ``closed``, and ``verified`` if it was read back.

    Raises ``WrongUse`` if the plan makes no sense or the target can't be had. What goes wrong later is in the
    outcome.
    """
    plan.check()
    look(target, needs_reading=plan.verify)
    tell = on_phase or (lambda _: None)
    with _crew(target, plan) as crew:
        opened = [_hear(each, Part) for each in crew]
        if not any(part.opened for part in opened):
            problems = [problem for part in opened for problem in part.problems]
            raise WrongUse(f"no connection was taken; {problems[0]}")
        tell("opened")
        time.sleep(plan.idle_s)
        tell("sending")
        start = time.monotonic() + _START_DELAY_S
        _tell_all(crew, start)
        for each in crew:
            _hear(each, str)
        tell("sent")
        _tell_all(crew, "close")
        parts = [_hear(each, Part) for each in crew]
        for part, before in zip(parts, opened, strict=True):
            part.opened = before.opened
        tell("closed")
        findings = None
        if plan.verify:
            _tell_all(crew, "verify")
            findings = Findings()
            for each in crew:
                findings.add(_hear(each, Findings))
            tell("verified")
        _tell_all(crew, None)
    return Outcome.of(plan.recordings, parts, findings)


def processes_of(plan: Plan) -> int:
    """Return how many load processes there will be."""
    cores = plan.cpus if plan.cpus is not None else os.sched_getaffinity(0)
    return min(plan.processes or len(cores), plan.recordings)


@contextlib.contextmanager
def _crew(target: Target, plan: Plan) -> Iterator[list[Connection]]:
    """Start the load processes; see them out, or end them on an error."""
    run_id, start_ms = str(uuid.uuid4()), int(time.time() * 1000)
    count = processes_of(plan)
    pipes: list[Connection] = []
    processes: list[SpawnProcess] = []
    try:
        for index in range(count):
            ours, theirs = _spawn.Pipe()
            share = Share(target, plan, run_id, start_ms, index, count)
            process = _spawn.Process(target=work, args=(share, theirs), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        yield pipes
        for process in processes:
            process.join(_JOIN_TIMEOUT_S)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.terminate()
            process.join()


def _tell_all(crew: list[Connection], order: object) -> None:
    for each in crew:
        with contextlib.suppress(BrokenPipeError):  # It is missed as soon as it should answer.
            each.send(order)


def _hear(pipe: Connection, kind: type[_T]) -> _T:
    try:
        heard = pipe.recv()
    except (EOFError, ConnectionError):
        raise RuntimeError("a load process has died") from None
    assert isinstance(heard, kind), heard
    return heard


def look(target: Target, *, needs_reading: bool) -> None:
    """Ask whether the target is there and the keys are good. Raises ``WrongUse`` with what to do about it.

    Nothing is stored by it: an empty body is posted, and a recording that nobody has written is read.
    """
    recording_id = f"{target.path}/recordings/{uuid.UUID(int=random.getrandbits(128), version=4)}"
    status = _ask(target, "POST", f"{recording_id}/ingest", target.key)
    if status in {401, 403}:
        raise WrongUse(f"the key may not write there (it answers {status})")
    if status == 404:
        raise WrongUse(f"{target.url} doesn't know this API (POST …/ingest answers 404)")
    if not needs_reading:
        return
    status = _ask(target, "GET", f"{recording_id}/events", target.read_key or target.key)
    if status in {401, 403}:
        raise WrongUse(
            f"the key may not read there (it answers {status}), so that nothing could be verified: "
            "give one that may, or go without verification"
        )


def _ask(target: Target, method: str, path: str, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    if target.origin:
        headers["Origin"] = target.origin
    connection: http.client.HTTPConnection
    if target.is_tls:
        connection = http.client.HTTPSConnection(
            target.host, target.port, timeout=_LOOK_TIMEOUT_S, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(target.host, target.port, timeout=_LOOK_TIMEOUT_S)
    try:
        connection.request(method, path, body=b"" if method == "POST" else None, headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise WrongUse(f"{target.url} can't be reached: {error}") from None
    finally:
        connection.close()
