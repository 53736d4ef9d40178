"""Threads for blocking work, with a fair queue in front: one tenant's work never holds up all of another's.

``lane`` gives each caller an ``Executor`` of its own, for ``run_in_executor``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
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

    def lane(self, who: Who) -> Executor:
        """Return an executor whose work is done for ``who``."""
        return _Lane(self, Who(who.tenant, who.key))

    def submit(self, who: Who, work: _Work) -> None:
        with self._lock:
            self._waiting.push(who, work)
            self._start()

    def close(self) -> None:
        """Start nothing any more; what runs comes to its end."""
        with self._lock:
            for work in self._waiting.drain():
                work.future.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        """Start what may start. The lock is held."""
        ledger = self._ledger
        while self._waiting and ledger.free:
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
            with self._lock:
                self._ledger.give_back(who)
                self._start()


class _Lane(Executor):
    def __init__(self, threads: FairThreads, who: Who) -> None:
        self._threads = threads
        self._who = who

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._threads.submit(self._who, _Work(future, lambda: fn(*args, **kwargs)))
        return future
