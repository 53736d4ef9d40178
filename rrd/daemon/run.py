"""The daemon: builds the parts, starts them in order, and stops them in the reverse.

Start: hold the data directory, open keys and index, listen, ask the object store whose it is, recover, ready.
Stop (SIGTERM, SIGINT): not ready, listen no more, say goodbye to the sockets, finish the bodies under way,
flush everything, close the index. A second signal ends it at once; nothing acked is lost either way.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn, TypeVar

import aiohttp
import msgspec
import uvloop
from aiohttp import http_writer
from isal import isal_zlib

from rrd import __version__, layout
from rrd.access.keys import KeyStore
from rrd.config import Config
from rrd.config.checks import is_console_on, warnings
from rrd.daemon.assembly import bring_up_to_date, make_parts, start_tasks, watch_keys
from rrd.daemon.fitting import Fitted, fit
from rrd.daemon.greeting import greet, greet_console, mint_first_keys
from rrd.daemon.inherited import settings_of, take_passed
from rrd.daemon.listening import listen
from rrd.daemon.memory import set_up_malloc, trim_malloc_in_time
from rrd.daemon.metrics_listener import listen_for_scrapes
from rrd.daemon.notify import notify
from rrd.daemon.reload import Reloader
from rrd.daemon.watchdog import life_of, start_life
from rrd.errors import IndexDamaged
from rrd.handles import handles_allowed, take_handles
from rrd.http.control import serve_control
from rrd.index import home
from rrd.log import emit, on_loop_error
from rrd.ownership import check_writable
from rrd.startup.recovery import lock_data_dir

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SWITCH_INTERVAL_S = 0.0005
"""A thread that comes back from the disk waits so long for the interpreter while the loop is busy.
The default of 5 ms, for each of a group's writes, would hold up every ack."""

GC_THRESHOLDS = (20_000, 5, 5)
"""A busy second holds thousands of objects for a moment, and each open socket a hundred while it lasts.
By the default (700, 10, 10) the collector takes them for old ones, and walks everything again and again: with
5,000 sockets ten times while they open, for up to 0.4 s, and whoever waits for the loop waits for it. So it
does at a start that has much to take up."""


def run(config: Config, *, read_again: Callable[[], Config], person_looks_on: bool) -> int:
    """Serve until told to stop. Returns the exit code. Raises ``ConfigError``.

    ``config`` are checked settings; ``read_again`` returns those of a reload, checked, too, or raises.
    ``person_looks_on``: standard output is read by a person, so keys may be shown there.
    """
    as_read = config
    passed = take_passed()
    config = settings_of(config, passed)
    is_on = is_console_on(config, person_looks_on=person_looks_on)
    if config.console == "auto" and person_looks_on and not is_on:
        emit(
            logger, logging.INFO, "console_off", host=config.host,
            next_step="console = true (RRD_CONSOLE=true) opens it to all who reach this host and have a key",
        )  # fmt: skip
    config = msgspec.structs.replace(config, console=is_on)
    for warning in warnings(config, handles_max=handles_allowed()):
        emit(logger, logging.WARNING, "odd_settings", text=warning)
    check_writable(config)
    faulthandler.enable()  # So that a watchdog's SIGABRT tells where each thread hangs.
    os.umask(0o077)  # Recordings show what visitors did: nobody else on the machine reads them.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    set_up_malloc()
    gc.set_threshold(*GC_THRESHOLDS)
    # aiohttp decompresses permessage-deflate with this one: three times as fast as zlib.
    aiohttp.set_zlib_backend(isal_zlib)
    # aiohttp copies what it is to write in one go, since asyncio's writelines, before Python 3.12.9, doesn't
    # tell when to pause (CVE-2024-12254). uvloop's does, and a long answer costs a tenth less to write so.
    http_writer.SKIP_WRITELINES = False
    handles = take_handles()
    fitted = fit(config, handles)

    def serve() -> int:
        reloader = Reloader(read_again, as_read, handles)
        return uvloop.run(_serve(fitted, reloader, passed, person_looks_on=person_looks_on))

    with lock_data_dir(config.data_dir):
        try:
            return serve()
        except IndexDamaged as error:
            # Damage that shows only when recovery reads it. Files are the truth: begin again without it.
            home.set_aside(config.data_dir, error)
            return serve()
        finally:
            # Python would put back what ends a process, and it would be as if rrd had failed.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def _serve(
    fitted: Fitted, reloader: Reloader, passed: Sequence[socket.socket], *, person_looks_on: bool
) -> int:
    started, config = time.monotonic(), fitted.config
    stop = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(on_loop_error)
    _listen_to_signals(stop, reloader)
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(KeyStore(layout.keys_path(config.data_dir)))
        parts = await make_parts(config, store, stack)
        services = parts.services
        services.connections_max, services.backlog = fitted.connections_max, fitted.backlog
        await serve_control(services, stack)
        await listen_for_scrapes(config, services, stack)
        port = await listen(config, services, stack, passed)
        keys = asyncio.create_task(watch_keys(services), name="keys")
        stack.push_async_callback(_cancel, keys)
        life = start_life(services)
        for task in life:
            stack.push_async_callback(_cancel, task)
        recovered = await _unless_stopped(bring_up_to_date(parts), stop)
        if recovered is None:
            return 0
        emit(
            logger, logging.INFO, "recovered", segments=recovered.segments, blocks=recovered.blocks,
            torn=recovered.torn, corrupt=recovered.corrupt, missing=recovered.missing,
        )  # fmt: skip
        writing = await services.registry.start()
        others = {
            "malloc": trim_malloc_in_time(),
            "garbage": services.garbage.collect_in_time(services.sockets),
            "reload": reloader.run(parts),
        }
        tasks = [keys, *life, *start_tasks(parts)]
        tasks += [asyncio.create_task(work, name=name) for name, work in others.items()]
        # Not before: a start that fails, since its port is in use, would make keys that it never shows.
        first_keys = await asyncio.to_thread(mint_first_keys, store, services.gate) if person_looks_on else []
        services.ready.set()
        # What lives as long as the process needn't be walked by the collector again and again.
        gc.freeze()
        services.garbage.is_on = True
        notify(life_of(services))
        emit(
            logger, logging.INFO, "listening", host=config.host, port=port, version=__version__,
            data_dir=config.data_dir, took_ms=round((time.monotonic() - started) * 1000),
        )  # fmt: skip
        if person_looks_on:
            greet(config, port, first_keys)
            await greet_console(services, port)
        await _until_told(config, stop, [*writing, *tasks])
        notify("STOPPING=1")
        emit(logger, logging.INFO, "stopping", sockets=len(services.sockets))
        services.is_stopping = True
        services.on_stopping()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    emit(logger, logging.INFO, "stopped")
    return 0


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _unless_stopped(work: Coroutine[Any, Any, T], stop: asyncio.Event) -> T | None:
    """Return what ``work`` returns; None if the signal to stop comes first, which cancels it."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return None


async def _until_told(config: Config, stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for the signal to stop."""
    waiting = asyncio.create_task(stop.wait(), name="signal")
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            # None of them should ever end. What is on disk is consistent at any moment, and a
            # fresh start knows how to go on from there; a daemon without this task doesn't.
            _end(config, task)


def _end(config: Config, task: asyncio.Task[None]) -> NoReturn:
    """End the process, whatever else fails: where memory ran out, even a line of the log may."""
    try:
        problem = task.exception()
        emit(logger, logging.CRITICAL, "task_failed", task=task.get_name(), error=repr(problem))
        if isinstance(problem, IndexDamaged):
            home.set_aside(config.data_dir, problem)  # So that the next start makes it anew.
        logging.shutdown()
    finally:
        os._exit(1)


def _listen_to_signals(stop: asyncio.Event, reloader: Reloader) -> None:
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(130)  # The second Ctrl-C: whoever sends it doesn't want to wait.
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    # A hang-up of the terminal ends what runs in it, unless by nohup(1), and elsewhere SIGHUP is the habit of
    # asking a daemon to read its settings again. Asked now: a terminal that is gone isn't one.
    ends = _has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    on_hangup = on_signal if ends else reloader.ask

    def hang_up(*_: object) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed already.
            loop.call_soon_threadsafe(on_hangup)

    # Not by the loop, which would put the default back when it closes.
    signal.signal(signal.SIGHUP, hang_up)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # ``rrd serve`` has blocked it until now.


def _has_terminal() -> bool:
    try:
        return os.isatty(0)
    except OSError:
        return False
