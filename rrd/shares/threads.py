"""Threads for blocking work, with a fair queue in front: one tenant's work never holds up all of another's.

``lane`` gives each caller an ``Executor`` of its own, for ``run_in_executor``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from rrd.shares.queue import FairQueue, Who
from rrd.shares.room import Ledger, Times

_TIMES = Times(tenant=3, key=3, address=0)
"""Of eight threads a tenant that is alone gets six: what the others do waits for none of these."""


class _Work(NamedTuple):
    future: Future[Any]
    call: Callable[[], Any]


class FairThreads:
    """So many threads, taken in turn by tenants and by their keys. Safe to use from several threads."""

    def __init__(self, count: int, *, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._ledger = Ledger(count, _TIMES)
        self._waiting: FairQueue[_Work] = FairQueue()
        self._is_closed = False

    def lane(self, who: Who) -> Executor:
        """Return an executor whose work is done for ``who``."""
        return _Lane(self, Who(who.tenant, who.key))

    def try_take(self, who: Who) -> bool:
        """Take a thread, if one may be had at once; ``give_back`` is owed.

        Raises ``RuntimeError`` if this is closed.
        """
        with self._lock:
            if self._is_closed:
                raise RuntimeError("these threads take no more work")
            return not self._waiting.count and self._ledger.try_take(who)

    def give_back(self, who: Who) -> None:
        """Take in that a thread is free again."""
        with self._lock:
            self._ledger.give_back(who)
            if self._waiting.count:
                self._start()

    def start(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Start work for which a thread was taken."""
        return self._pool.submit(call, *args, **kwargs)

    def line_up(self, who: Who, work: _Work) -> None:
        """Let work wait for its turn. Raises ``RuntimeError`` if closed."""
        with self._lock:
            if self._is_closed:
                raise RuntimeError("these threads take no more work")
            self._waiting.push(who, work)
            self._start()

    def close(self) -> None:
        """Start nothing any more; what runs comes to its end."""
        with self._lock:
            self._is_closed = True
            for work in self._waiting.drain():
                work.future.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        """Start what may start. The lock is held."""
        ledger = self._ledger
        while self._waiting.count and ledger.free:
            found = self._waiting.pop(lambda who, _: ledger.may_take(who))
            if found is None:
                return
            ledger.take(found[0])
            self._pool.submit(self._run, *found)

    def _run(self, who: Who, work: _Work) -> None:
        try:
            if work.future.set_running_or_notify_cancel():
                try:
                    result = work.call()
                except BaseException as error:  # noqa: BLE001  # told to the one who waits, whatever it is
                    work.future.set_exception(error)
                else:
                    work.future.set_result(result)
        finally:
            # The result may be large, and this frame may wait for its thread's next work.
            del work
            self.give_back(who)


class _Lane(Executor):
    def __init__(self, threads: FairThreads, who: Who) -> None:
        self._threads = threads
        self._who = who

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        threads = self._threads
        if not threads.try_take(self._who):
            future: Future[Any] = Future()
            threads.line_up(self._who, _Work(future, partial(fn, *args, **kwargs)))
            return future
        try:
            # As a rule nothing waits: then the pool's own future will do, which tells when it is done.
            future = threads.start(fn, *args, **kwargs)
        except BaseException:
            threads.give_back(self._who)
            raise
        future.add_done_callback(self._on_done)
        return future

    def _on_done(self, _: Future[Any]) -> None:
        self._threads.give_back(self._who)
