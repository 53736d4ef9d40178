"""Keys that live as long as the process that made them, were it killed.

A command that writes to the daemon makes itself a key, and revokes it in the end. ``kill -9`` leaves no time
for that, so the kernel keeps count: as long as a process uses such a key it holds a shared ``flock`` on the
data directory, which ends with the process. Where no process holds one, all such keys are left behind:
``revoke_left_behind`` revokes them. The daemon's gate asks that while it knows a live one, and so does the
next command that makes one.

Processes are not told apart: a key is revoked when the last of several imports has ended.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

from rrd.access.keys import KeyRow, KeyStore
from rrd.disk.lock import FileLock
from rrd.errors import RrdError

LABEL = "rrd import"
"""Marks such keys. A key that an operator makes can't have it."""


@contextlib.contextmanager
def temporary_key(path: str, tenant: str) -> Iterator[str]:
    """Make a key that may write for a tenant, in the store at ``path``, and revoke it in the end.

    Raises ``RrdError`` (``NotFound``: there is no store).
    """
    with KeyStore(path, create=False) as store:
        revoke_left_behind(store)
        # Waits for a sweep that is under way, which takes milliseconds: it must not see the new key.
        with _hold(path, shared=True):
            key_id, key = store.create_key(tenant=tenant, scope="ingest", label=LABEL)
            try:
                yield key
            finally:
                store.revoke_key(key_id)


def has_temporary(rows: Iterable[KeyRow]) -> bool:
    """Tell whether any live key is a temporary one."""
    return any(row.label == LABEL and row.scope == "ingest" and row.revoked_ms is None for row in rows)


def revoke_left_behind(store: KeyStore) -> int:
    """Revoke the temporary keys of processes that are gone; return how many. Raises ``RrdError``."""
    if not has_temporary(store.list_keys()):
        return 0
    try:
        with _hold(store.path, shared=False):
            left = [row for row in store.list_keys() if has_temporary([row])]
            for row in left:
                store.revoke_key(row.id)
            return len(left)
    except BlockingIOError:
        return 0  # An import is under way, or another sweep is.


def _hold(path: str, *, shared: bool) -> FileLock:
    """Lock the directory of ``path``; wait for a shared lock. Raises ``BlockingIOError`` and ``RrdError``."""
    directory = os.path.dirname(path) or "."
    try:
        return FileLock(directory, shared=shared, wait=shared)
    except BlockingIOError:
        raise
    except OSError as error:
        raise RrdError(f"{directory}: {error.strerror}. Check that you may read this directory") from error
