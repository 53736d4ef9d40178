"""A watch on the event loop: no turn takes more than 50 ms of its thread's processor time.

A turn is one callback: a step of a task, bytes handed to a protocol, a timer. While it lasts, every other
connection waits. The thread's own clock is read (``time.thread_time``), since a wall clock would measure the
machine even more. ``watched`` watches the daemon's turns on asyncio's loop in a test's process;
``WatchedLoop`` and ``watch_protocols`` watch all turns of a process on uvloop (``tests.watched_daemon``).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvloop

TURN_MAX_S = 0.05
TURN_ONCE_MAX_S = 2 * TURN_MAX_S
"""How long one turn in a process's life may take. The thread's clock also runs while the machine's host
provides memory that is touched for the first time, or gives the core to others. A fault of the code comes
back."""
MARK = "turn_too_long"

REASONS = {
    "task _serve,": "a start makes the parts and imports what they need before it listens",
}
"""Turns that may take longer: a part of a turn's name, and why."""

_PROTOCOL_METHODS = (
    *("connection_made", "data_received", "eof_received", "connection_lost"),
    *("pause_writing", "resume_writing"),
)


class Watch:
    """Collects what took too long."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._is_within = False
        self._thread = threading.get_ident()
        self._collecting_since = self._collected_s = 0.0

    def on_collection(self, phase: str, _: object) -> None:
        """Called by ``gc``: a collection falls to whatever turn it begins in, and is no work of that turn."""
        if threading.get_ident() != self._thread:
            return
        if phase == "start":
            self._collecting_since = time.thread_time()
        else:
            self._collected_s += time.thread_time() - self._collecting_since

    def call(self, callback: Callable[..., Any], *args: Any) -> Any:
        """Call, and tell if it takes too long. A turn within a turn is a part of the outer one."""
        if self._is_within:
            return callback(*args)
        self._is_within = True
        began, collected_s = time.thread_time(), self._collected_s
        try:
            return callback(*args)
        finally:
            self._is_within = False
            self.judge(time.thread_time() - began - (self._collected_s - collected_s), callback)

    def judge(self, took_s: float, callback: Callable[..., Any]) -> None:
        if took_s > TURN_MAX_S:
            name = name_of(callback)
            if not any(part in name for part in REASONS):
                self._tell(f"{MARK} {took_s * 1000:.0f} ms of processor time: {name}")


def long_turns_of(log: str) -> list[str]:
    """Return the turns in a process's log that took too long; none if there is one, and not by much."""
    found = [line for line in log.splitlines() if line.startswith(MARK)]
    if len(found) == 1 and int(found[0].split()[1]) <= TURN_ONCE_MAX_S * 1000:
        return []
    return found


def name_of(callback: Callable[..., Any]) -> str:
    """Say whose turn it was. A task's name holds where it waits now: the turn ended there."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        coroutine: Any = owner.get_coro()
        return f"task {coroutine.__qualname__}, which then {_place(coroutine)}"
    return str(getattr(callback, "__qualname__", repr(callback)))


def _place(coroutine: Any) -> str:
    places = []
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        places.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
        coroutine = coroutine.cr_await
    return "waits in " + " > ".join(places) if places else "has ended"


# In a test's own process

_is_daemon: contextvars.ContextVar[bool] = contextvars.ContextVar("is_daemon", default=False)


@contextlib.contextmanager
def as_daemon() -> Iterator[None]:
    """What begins within the block is the daemon's; tasks and connections pass that on to theirs."""
    token = _is_daemon.set(True)
    try:
        yield
    finally:
        _is_daemon.reset(token)


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """Watch the daemon's turns on asyncio's loop; return what took too long.

    A collection of garbage is not counted: it walks what pytest and the test hold, too.
    """
    found: list[str] = []
    watch = Watch(found.append)
    collected_s = began_collecting = 0.0

    def on_collection(phase: str, _: object) -> None:
        nonlocal collected_s, began_collecting
        if phase == "start":
            began_collecting = time.thread_time()
        else:
            collected_s += time.thread_time() - began_collecting

    plain: Any = asyncio.Handle._run

    @functools.wraps(plain)
    def run(handle: Any) -> None:
        callback, context = handle._callback, handle._context
        if not context.get(_is_daemon):
            plain(handle)
            return
        collected_before, began = collected_s, time.thread_time()
        plain(handle)
        took_s = time.thread_time() - began - (collected_s - collected_before)
        if context.get(_is_daemon):  # Still: a step of the test itself may begin in ``as_daemon``.
            watch.judge(took_s, callback)

    gc.callbacks.append(on_collection)
    asyncio.Handle._run = run  # type: ignore[method-assign, assignment]
    try:
        yield found
    finally:
        asyncio.Handle._run = plain  # type: ignore[method-assign]
        gc.callbacks.remove(on_collection)


# In a process of its own


class _Timed:
    """A callback whose turns are watched."""

    __slots__ = ("callback", "watch")

    def __init__(self, watch: Watch, callback: Callable[..., Any]) -> None:
        self.watch = watch
        self.callback = callback

    def __call__(self, *args: Any) -> Any:
        return self.watch.call(self.callback, *args)

    def __repr__(self) -> str:
        return repr(self.callback)


class WatchedLoop(uvloop.Loop):
    """uvloop's loop, each of whose callbacks is watched. Its protocols are called without it."""

    watch: Watch

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        return super().call_soon(_Timed(self.watch, callback), *args, context=context)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        return super().call_soon_threadsafe(_Timed(self.watch, callback), *args, context=context)

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        return super().call_later(delay, _Timed(self.watch, callback), *args, context=context)

    def add_reader(self, fileobj: Any, callback: Any, *args: Any) -> Any:  # type: ignore[override]
        return super().add_reader(fileobj, _Timed(self.watch, callback), *args)

    def add_writer(self, fileobj: Any, callback: Any, *args: Any) -> Any:  # type: ignore[override]
        return super().add_writer(fileobj, _Timed(self.watch, callback), *args)


def watch_protocols(watch: Watch, *protocols: type) -> None:
    """Watch what uvloop calls on connections by itself."""
    for protocol in protocols:
        for name in _PROTOCOL_METHODS:
            if (plain := getattr(protocol, name, None)) is not None:
                setattr(protocol, name, _timed_method(watch, plain))


def _timed_method(watch: Watch, plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)
    def method(*args: Any) -> Any:
        return watch.call(plain, *args)

    return method
