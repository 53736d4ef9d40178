"""A data directory that can't be written to: a snapshot, a read-only mount, another user's copy.

Commands that only read must work there, too: they read copies of the databases, made in a temporary directory
(``TMPDIR``).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

from rrd import layout
from rrd.disk.sqlite_file import copied, explained
from rrd.index import home
from rrd.index.contract import Index
from rrd.tombstones import ADVICE, Tombstones


def is_read_only(data_dir: str) -> bool:
    """Tell whether nothing can be written to a data directory, or to its index."""
    path = home.index_path(data_dir)
    return not os.access(data_dir, os.W_OK) or (os.path.exists(path) and not os.access(path, os.W_OK))


def open_index(data_dir: str) -> AbstractAsyncContextManager[Index]:
    """Open the index to read it. Raises what ``home.opened`` raises."""
    return home.opened(data_dir, is_read_only=is_read_only(data_dir))


@contextlib.contextmanager
def open_tombstones(data_dir: str) -> Iterator[Tombstones]:
    """Open the tombstones to read them. Raises ``RrdError``, ``OSError``."""
    path = layout.tombstones_path(data_dir)
    with contextlib.ExitStack() as stack:
        place = path
        if is_read_only(data_dir):
            with explained(path, advice=ADVICE):
                place = stack.enter_context(copied(path))
        yield stack.enter_context(Tombstones(place))
