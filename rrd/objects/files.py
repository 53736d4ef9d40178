"""Objects as files to read from: blocking and thread-safe, for worker threads, over an async store.

An object is read in *windows*: ranges that begin at multiples of 64 KiB, each fetched with one request.
A window somewhere is small. One that follows another is twice as large as that, and while it is read the
next ones are on their way, so reading on and on costs hardly more than one plain GET of the whole object,
and what is fetched in vain stays in proportion to what was read. Threads that want the same wait for one
fetch. Windows stay in memory; the least recently used go first.

Memory: ``cache_bytes_max`` for all windows together, those on their way included. Where threads wait for
more than that at this moment (4 MiB each), it is as much more. With 0 nothing is kept, and nothing fetched
ahead.

Patience. A fetch has a deadline, and whoever waits for it gets ``StoreAway`` then. Once a fetch has ended so,
others fail at once for a few seconds, without asking the store; then one of them may try. A loop that is
closing or stuck doesn't hold up a thread for longer either.

Everything that a thread may see is under one lock, which nobody holds while waiting.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from rrd.errors import StoreAway
from rrd.objects.store import ObjectStore
from rrd.objects.window import PAGE_BYTES, Window

_T = TypeVar("_T")
_Ask = Callable[[], Coroutine[Any, Any, _T]]
_Settle = Callable[[BaseException | None], None]

_WINDOW_BYTES_MIN = 256 << 10
"""A store needs 10 to 50 ms to answer at all, in which 100 MB/s bring some MB: less wouldn't come sooner."""

_WINDOW_BYTES_MAX = 4 << 20

_AHEAD = 2
"""Windows on their way while a large one is read. With one alone, its answer would still be waited for."""

_AHEAD_S = 30.0
"""Windows fetched ahead so long ago are taken to be in vain: their reader has gone, or is in no hurry."""

_AWAY_S = 3.0
"""How long nobody is made to wait after the store was found away. A page that polls doesn't notice."""

_PATIENCE_S = 5.0
"""What a thread waits beyond the deadline, for a loop that is busy."""

_ENDS_MAX = 10_000
"""Objects of which the end is remembered, some 150 bytes each."""


class ObjectFiles:
    """A ``Readable`` (``disk.disk``) whose paths are keys of objects in ``store``.

    ``loop`` is the one that the store belongs to; ``read`` and ``size`` are called from any other thread,
    ``read_now`` on it, all else from anywhere. ``deadline_s``: how long one fetch may take.
    """

    def __init__(
        self,
        store: ObjectStore,
        loop: asyncio.AbstractEventLoop,
        *,
        cache_bytes_max: int,
        deadline_s: float,
        patience_s: float = _PATIENCE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.held_bytes = 0
        """Bytes of all windows, those on their way included."""
        self._store = store
        self._loop = loop
        self._deadline_s = deadline_s
        self._patience_s = patience_s
        self._monotonic = monotonic
        self._bound(cache_bytes_max)
        self._lock = threading.Lock()
        self._windows: OrderedDict[Window, None] = OrderedDict()
        self._pages: dict[tuple[str, int], Window] = {}
        self._ends: OrderedDict[str, int] = OrderedDict()
        self._away: StoreAway | None = None
        self._away_until = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    def reconfigure(self, cache_bytes_max: int) -> None:
        """Keep no more than so much from now on."""
        with self._lock:
            self._bound(cache_bytes_max)
            self._trim()

    def _bound(self, cache_bytes_max: int) -> None:
        self._bytes_max = cache_bytes_max
        # So that some readers with three windows each find room in the cache.
        share = cache_bytes_max // 16 // PAGE_BYTES * PAGE_BYTES
        self._window_max = min(max(share, PAGE_BYTES), _WINDOW_BYTES_MAX)

    def size(self, path: str) -> int:
        """Return an object's size in bytes, as the store has it now. Raises like ``read``."""
        with self._lock:
            self._refuse_if_away()
        future: Future[int] = Future()
        self._ask(lambda: self._store.size(path), future, self._note_answer)
        size = self._wait(future)
        self.expect(path, size)
        return size

    def expect(self, path: str, size: int) -> None:
        """Take note of an object's size, so that nothing beyond it is asked for."""
        with self._lock:
            self._ends[path] = size
            self._ends.move_to_end(path)
            if len(self._ends) > _ENDS_MAX:
                self._ends.popitem(last=False)

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Return ``size`` bytes of an object from ``offset``; fewer only at its end.

        Raises ``ObjectMissing``, ``StoreAway``, and the ``OSError`` of a local store.
        """
        found = self._read(path, offset, size, lambda window: self._wait(window.data, window))
        assert found is not None
        return found

    def read_directly(self, path: str, offset: int, size: int) -> bytes:
        """Return what ``read`` would, with one request for just these bytes, which are not kept.

        For damaged objects: a window around them may take in what can't be read. Raises like ``read``.
        """
        with self._lock:
            self._refuse_if_away()
        future: Future[bytes] = Future()
        self._ask(lambda: self._store.read(path, offset, size), future, self._note_answer)
        return self._wait(future)

    def read_now(self, path: str, offset: int, size: int) -> bytes | None:
        """Return what ``read`` would, or None if it would have to wait, or raise. Only on the loop.

        What is not at hand is being fetched then, for ``read`` to wait for.
        """
        try:
            return self._read(path, offset, size, lambda window: window.at_hand)
        except StoreAway:
            return None

    def _read(self, path: str, offset: int, size: int, get: Callable[[Window], bytes | None]) -> bytes | None:
        limit = offset + size
        parts: list[bytes] = []
        while offset < limit:
            window = self._window(path, offset, limit)
            if window is None:
                break
            data = get(window)
            if data is None:
                return None
            part = data[offset - window.start : limit - window.start]
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return b"".join(parts) if len(parts) != 1 else parts[0]

    def forget(self, prefix: str) -> None:
        """Drop all that is known of objects whose key begins with ``prefix``, fetches under way included."""
        with self._lock:
            for window in [window for window in self._windows if window.key.startswith(prefix)]:
                self._drop(window)
            for key in [key for key in self._ends if key.startswith(prefix)]:
                del self._ends[key]

    def close(self) -> None:
        """Fail all that wait, and whoever comes later. On the loop, before the store is closed."""
        with self._lock:
            self._is_closed = True
        for task in self._tasks:
            task.cancel()

    # Windows. The lock is held in all of these.

    def _window(self, path: str, offset: int, limit: int) -> Window | None:
        """Return the window over ``offset``, and see that those to be read next come. None beyond the end."""
        with self._lock:
            end = self._ends.get(path)
            if end is not None and offset >= end:
                return None
            window = self._pages.get((path, offset // PAGE_BYTES))
            if window is None:
                self._refuse_if_away()
                window = self._begin(path, offset, limit)
            # What was read to its end on the way through goes first when room is needed.
            self._windows.move_to_end(window, last=limit < window.limit or not window.follows)
            window.is_ahead = False
            self._read_ahead(window, limit)
            self._trim()
            return window

    def _read_ahead(self, window: Window, limit: int) -> None:
        since = self._monotonic() - _AHEAD_S
        ahead = sum(other.size for other in self._windows if other.is_ahead and other.begun_at > since)
        room = self._bytes_max // 2 - ahead
        end = self._ends.get(window.key)
        for _ in range(_AHEAD if window.size >= self._window_max else 1):
            if not (window.follows or window.limit < limit):
                return
            if end is not None and window.limit >= end:
                return
            following = self._pages.get((window.key, window.limit // PAGE_BYTES))
            if following is None:
                if self._away is not None or window.limit % PAGE_BYTES or room < self._window_max:
                    return
                following = self._begin(window.key, window.limit, limit)
                following.is_ahead = True
                room -= following.size
            window = following

    def _begin(self, path: str, offset: int, limit: int) -> Window:
        """Begin to fetch a window over ``offset``, up to ``limit`` if that isn't too far."""
        page = offset // PAGE_BYTES
        start = page * PAGE_BYTES
        before = self._pages.get((path, page - 1))
        usual = min(_WINDOW_BYTES_MIN if before is None else 2 * before.size, self._window_max)
        wanted = min(max(usual, limit - start), _WINDOW_BYTES_MAX)
        limit = start - -wanted // PAGE_BYTES * PAGE_BYTES
        for other in range(page + 1, limit // PAGE_BYTES):
            if (path, other) in self._pages:
                limit = other * PAGE_BYTES
                break
        limit = min(limit, self._ends.get(path, limit))
        window = Window(path, start, limit, follows=before is not None, begun_at=self._monotonic())
        self._ask(lambda: self._fetch(window), window.data, lambda error: self._settle(window, error))
        self._windows[window] = None
        self._pages.update(dict.fromkeys(window.pages, window))
        self.held_bytes += window.size
        return window

    def _trim(self) -> None:
        if self.held_bytes <= self._bytes_max:
            return
        excess = self.held_bytes - self._bytes_max
        victims = []
        for window in self._windows:
            # What is on its way can't be given back, and somebody waits for it.
            if window.data.done():
                victims.append(window)
                excess -= window.size
                if excess <= 0:
                    break
        for window in victims:
            self._drop(window)

    def _drop(self, window: Window) -> None:
        if window not in self._windows:
            return
        del self._windows[window]
        for page in window.pages:
            del self._pages[page]
        self.held_bytes -= window.size

    def _refuse_if_away(self) -> None:
        """Raise ``StoreAway`` if asking the store is of no use; let one caller pass now and then."""
        if self._away is None:
            return
        now = self._monotonic()
        if now < self._away_until:
            raise StoreAway(str(self._away))
        # Until the answer to this one, the others needn't try.
        self._away_until = now + self._deadline_s + self._patience_s

    def _note_answer(self, error: BaseException | None) -> None:
        """Learn from an answer whether the store is there. That there is no such object is an answer."""
        if isinstance(error, StoreAway):
            self._away = error
            self._away_until = self._monotonic() + _AWAY_S
        elif not isinstance(error, asyncio.CancelledError):
            self._away = None

    def _settle(self, window: Window, error: BaseException | None) -> None:
        self._note_answer(error)
        if error is not None:
            # Not kept: the next one who comes asks again.
            self._drop(window)

    # On the loop, and between it and the threads.

    def _ask(self, ask: _Ask[_T], future: Future[_T], settle: _Settle) -> None:
        """Have the loop await ``ask()``, call ``settle`` under the lock, and resolve ``future`` then."""
        if not self._is_closed:
            try:
                self._loop.call_soon_threadsafe(self._start, ask, future, settle)
            except RuntimeError:  # The loop is closed.
                self._is_closed = True
        if self._is_closed:
            raise StoreAway(f"{self._store.name} is not asked any more: rrd is stopping")

    def _start(self, ask: _Ask[_T], future: Future[_T], settle: _Settle) -> None:
        def finish(task: asyncio.Task[_T]) -> None:
            self._tasks.discard(task)
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            with self._lock:
                settle(error)
            if task.cancelled():
                future.set_exception(StoreAway(f"{self._store.name} is not asked any more: rrd is stopping"))
            elif error is not None:
                future.set_exception(error)
            else:
                future.set_result(task.result())
            with self._lock:
                self._trim()

        task = self._loop.create_task(self._bounded(ask))
        self._tasks.add(task)
        task.add_done_callback(finish)
        if self._is_closed:
            task.cancel()

    async def _bounded(self, ask: _Ask[_T]) -> _T:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await ask()
        except TimeoutError:
            raise StoreAway(f"{self._store.name} did not answer in {self._deadline_s:g} s") from None

    async def _fetch(self, window: Window) -> bytes:
        data = await self._store.read(window.key, window.start, window.size)
        if len(data) != window.size:
            # Only the object's end is a reason. Taken for one, a store's own mistake would pass for damage.
            end = await self._store.size(window.key)
            if len(data) != max(0, min(end, window.limit) - window.start):
                raise StoreAway(
                    f"{self._store.name} gave {len(data)} bytes of {window.key} from byte {window.start}, "
                    f"where {window.size} were asked for, and the object has {end}"
                )
            self.expect(window.key, end)
        return data

    def _wait(self, future: Future[_T], window: Window | None = None) -> _T:
        assert future.done() or not _is_on_a_loop(), "this would wait for the loop, on the loop"
        try:
            return future.result(self._deadline_s + self._patience_s)
        except TimeoutError:
            error = StoreAway(f"{self._store.name} was not asked in time: rrd is too busy, or stopping")
        with self._lock:
            self._note_answer(error)
            if window is not None:
                self._drop(window)
        raise error


class Directly:
    """Objects read byte by byte as they are asked for: no window, nothing kept. For damaged ones."""

    def __init__(self, files: ObjectFiles) -> None:
        self._files = files

    def size(self, path: str) -> int:
        return self._files.size(path)

    def read(self, path: str, offset: int, size: int) -> bytes:
        return self._files.read_directly(path, offset, size)


def _is_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
