"""Whether events can be stored now: what became of the last writes, and a small write of our own.

The committer tells each outcome. A write that failed counts until one has succeeded, or for ``_HOLD_S``; from
then on a *probe* decides, which does what a commit does: it makes a file in ``active/``, writes, syncs and
removes it, and writes to the index. Nothing runs by itself: a probe is made when a supervisor asks, at most
every ``_FRESH_S`` while all is well, so an idle daemon that is not asked leaves the disk alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os

from rrd import layout
from rrd.clock import Clock
from rrd.disk.disk import Disk
from rrd.errors import DiskFull, RefusedError, RrdError, StorageFailed
from rrd.index.contract import Index
from rrd.log import emit
from rrd.segment.commit import SyncMode

_HOLD_S = 2.0
"""A failed write counts so long if none succeeds: a probe may do well where larger or other writes fail."""

_FRESH_S = 5.0
"""A probe that did well counts so long, unless a write fails."""

_PATIENCE_S = 2.0
"""How long a supervisor waits for a probe. Most give up after a few seconds."""

_PROBE_BYTES = 64 << 10
"""As much as a usual block, so that a disk with room for less doesn't pass."""

logger = logging.getLogger(__name__)


class Writes:
    """The outcome of writes to one data directory. For the event loop only."""

    def __init__(self, data_dir: str, disk: Disk, index: Index, clock: Clock, *, sync: SyncMode) -> None:
        self._directory = layout.active_dir(data_dir)
        self._disk = disk
        self._index = index
        self._clock = clock
        self.sync: SyncMode = sync
        self._reason: str | None = None
        """Why writes fail, for people; None while they don't."""
        self._failed_at = float("-inf")
        """When the last write failed, monotonic seconds, if none has succeeded since."""
        self._failures = 0
        self._probed_at = float("-inf")
        self._probe: asyncio.Task[None] | None = None

    def failed(self, error: Exception) -> None:
        """Take in that a write has failed with ``error``."""
        self._failures += 1
        self._failed_at = self._clock.monotonic()
        reason = _explain(error)
        if self._reason is None:
            emit(
                logger, logging.ERROR, "not_ready", reason=reason, error=error,
                next_step="events are refused; ready again by itself once writes succeed",
            )  # fmt: skip
        self._reason = reason

    def succeeded(self) -> None:
        """Take in that a write has succeeded. Others may still fail, so a probe decides next."""
        self._failed_at = float("-inf")

    async def problem(self, *, anew: bool = False, tries: bool = True) -> str | None:
        """Return why events can't be stored now, in a sentence for people without paths; None if they can.

        ``anew``: that a probe did well a moment ago doesn't count. Without ``tries`` a probe is made only
        where the last write has failed: to be asked often costs an idle disk nothing.
        """
        now = self._clock.monotonic()
        if self._reason is not None and now - self._failed_at < _HOLD_S:
            return self._reason
        if self._reason is None and not (tries and (anew or now - self._probed_at >= _FRESH_S)):
            return None
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._try())
        done, _ = await asyncio.wait([self._probe], timeout=_PATIENCE_S)
        if not done:
            return (
                f"a write to the disk has not ended after {_PATIENCE_S:g} s; see whether the disk hangs"
                " (dmesg, iostat)"
            )
        self._probe.result()
        return self._reason

    async def close(self) -> None:
        """Wait for a probe under way. Call it before the index closes."""
        if self._probe is not None:
            await asyncio.wait([self._probe])

    async def _try(self) -> None:
        failures = self._failures
        try:
            await asyncio.to_thread(self._write)
            await self._index.try_write()
        except (OSError, RrdError) as error:
            self.failed(error)
            self._failed_at = float("-inf")  # Nothing is held for: the next one to ask has it tried again.
            return
        if failures == self._failures:  # No write has failed meanwhile.
            if self._reason is not None:
                emit(logger, logging.INFO, "ready_again")
            self._reason = None
            self._probed_at = self._clock.monotonic()

    def _write(self) -> None:
        path = f"{self._directory}/{layout.PROBE_NAME}"
        try:
            handle = self._disk.open_append(path, create=True)
        except FileExistsError:
            # Left by a daemon that was killed.
            self._disk.unlink(path)
            handle = self._disk.open_append(path, create=True)
        try:
            # Random, since some file systems compress what they are given.
            self._disk.write(handle, os.urandom(_PROBE_BYTES))
            self._disk.sync(handle)
            self._disk.sync_dir(self._directory)
            if self.sync != "each":
                self._disk.sync_all(self._directory)
        finally:
            with contextlib.suppress(OSError):  # What closing could report is about bytes that go.
                self._disk.close(handle)
            self._disk.unlink(path)


def refusal_of(error: Exception) -> RefusedError:
    """Return what senders are told of a write that failed with ``error``."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull("no space left on the disk; nothing of this was kept")
    return StorageFailed("writing to disk failed; nothing of this is safe")


_FULL = "the disk is full; events are refused until there is room: add disk, or see rrd retention"
_FORBIDDEN = "active/ in the data directory can't be written; see its owner, mode and attributes"
_GONE = "active/ in the data directory is not there; put it back, or restart rrd"
_SENTENCES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: (
        "the data directory is on a file system that is mounted read-only; mount it for writing, and see"
        " dmesg for what made the system do so"
    ),
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.ENOENT: _GONE,
    errno.ENOTDIR: _GONE,
}


def _explain(error: Exception) -> str:
    if isinstance(error, DiskFull):
        return _FULL
    if isinstance(error, OSError):
        other = f"writing to active/ in the data directory failed: {error.strerror}; see dmesg"
        return _SENTENCES.get(error.errno or 0, other)
    # The message names the path, which is for the log. The cause is SQLite's own sentence.
    said = f": {error.__cause__}" if error.__cause__ is not None else ""
    return f"the index can't be written{said}; see the log for its path, then the file's owner and mode"
