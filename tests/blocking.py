"""A watch on what blocks: no coroutine of rrd's calls the operating system for what may take long.

blockbuster knows which calls block: files, SQLite, sockets, sleep. It is told here of syncs and positioned
reads as well. What it finds is collected, since a call that raised could be taken for a disk's error. A call
counts where rrd's own coroutine or callback makes it on an event loop. A plain function that a test calls may
block: it is the test's turn then.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from blockbuster import BlockBuster, BlockBusterFunction

ROOT = Path(__file__).parents[1]
_OURS = f"{ROOT}{os.sep}rrd{os.sep}"
_MORE = ("fsync", "fdatasync", "sync", "open", "pread", "preadv", "ftruncate", "truncate", "utime", "link")
_LOOPS = ("asyncio/base_events.py", "asyncio/events.py", "asyncio/runners.py")
_LOGGING = "/logging/__init__.py"
"""A line goes to standard error, which the journal, or a file, takes at once."""
_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

_START = "a start makes its parts, and brings them up to date, before it takes an event"

REASONS = {
    "daemon/assembly.py make_parts": _START,
    "daemon/assembly.py bring_up_to_date": _START,
    "index/home.py open_index": _START,
    "startup/recovery.py recover": _START,
    "startup/rebuild.py rebuild": _START,
    "index/sqlite/connections.py _prepare_writer": _START,
    "objects/choose.py open_store": _START,
    "objects/choose.py open_bare_store": _START,
    "objects/identity.py confirm": "two small files, once in the life of a data directory",
    "objects/s3_client.py _connect": "where the system's certificates are, once for each client",
    "lifecycle/guard.py _identity": "a stat of the data directory, which is on a local disk",
    "lifecycle/guard.py free_bytes": "the same: statvfs",
    "lifecycle/holds.py is_confirmed": "a stat of one small file, once a minute",
    "disk.py read_now": "preadv2 with RWF_NOWAIT: it gives up where it would wait",
    "shares/admission.py _save": "on the loop only at the end of a stop",
    "care/refusals.py _save": "the same",
    "startup/recovery.py reindex": "a command, which has its loop to itself",
}
"""The end of a module's path and a function in it → why it may block the event loop."""

COMMANDS = (
    "cli/",
    "backup/",
    "exchange/",
    "care/examine.py",
    "care/verify.py",
    "care/doctor.py",
    "readonly.py",
)
"""What only commands run, which have their loop to themselves. The daemon calls what it needs of these in a
thread."""
_MAY_BLOCK = tuple(REASONS)


@contextlib.contextmanager
def watched(tell: Callable[[str], object]) -> Iterator[None]:
    """Tell of each call of rrd's coroutines that blocks, as long as the body lasts."""
    buster = BlockBuster()
    for name in [name for name in buster.functions if name.startswith("threading.")]:
        # Ours are held for a few lines; that none waits while it is held, no watch of calls can tell.
        del buster.functions[name]
    for name in _MORE:
        buster.functions.setdefault(f"os.{name}", BlockBusterFunction(None, f"os.{name}"))
    for name, function in buster.functions.items():
        function.can_block_predicate = _telling(name, function.can_block_predicate, tell)
    buster.activate()
    try:
        yield
    finally:
        buster.deactivate()


def _telling(name: str, may_block: Callable[..., bool], tell: Callable[[str], object]) -> Callable[..., bool]:
    def predicate(*args: object, **kwargs: object) -> bool:
        if not may_block(*args, **kwargs) and (place := _place(sys._getframe(2))) is not None:
            tell(f"{name} in {place}")
        return True

    return predicate


def _place(frame: FrameType | None) -> str | None:
    """Return where a coroutine of rrd's blocks; None if none does, or it has a reason."""
    inner = outermost = None
    may_block = False
    while frame is not None:
        file = frame.f_code.co_filename
        if file.endswith(_LOOPS):
            break
        if file.endswith(_LOGGING):
            return None
        if file.startswith(_OURS):
            inner = inner or frame
            outermost = frame
            place = f"{file.removeprefix(_OURS)} {frame.f_code.co_name}"
            may_block = may_block or place.startswith(COMMANDS) or place.endswith(_MAY_BLOCK)
        frame = frame.f_back
    if inner is None or outermost is None or may_block:
        return None
    called_by = outermost.f_back
    while called_by is not None and not called_by.f_code.co_filename.endswith(_LOOPS):
        if called_by.f_code.co_filename.startswith(str(ROOT)) and not outermost.f_code.co_flags & _COROUTINE:
            return None
        called_by = called_by.f_back
    stack = traceback.extract_stack(inner)
    ours = [entry for entry in stack if entry.filename.startswith(_OURS)]
    return " ← ".join(
        f"{entry.filename.removeprefix(_OURS)}:{entry.lineno} {entry.name}" for entry in reversed(ours[-4:])
    )
