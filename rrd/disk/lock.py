"""Locks between processes (flock(2)): each ends with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
from typing import Self


class FileLock:
    """A lock on a file or directory, held from ``__init__`` to ``release``, or to the end of its block."""

    def __init__(self, path: str, *, shared: bool = False, wait: bool = False, create: bool = False) -> None:
        """Take it. ``shared``: several may hold it together. ``create``: make the file if it is absent.

        Raises ``BlockingIOError`` if another holds it and this shall not ``wait``, ``OSError``.
        """
        flags = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
        self._handle = os.open(path, flags | os.O_CLOEXEC, 0o600)
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self._handle, kind if wait else kind | fcntl.LOCK_NB)
        except BaseException:
            self.release()
            raise

    def is_of(self, path: str) -> bool:
        """Tell whether ``path`` still names what is locked."""
        try:
            return os.path.samestat(os.fstat(self._handle), os.stat(path))
        except FileNotFoundError:
            return False

    def is_of_handle(self, handle: int) -> bool:
        """Tell whether an open file is what is locked."""
        return os.path.samestat(os.fstat(self._handle), os.fstat(handle))

    def release(self) -> None:
        """Let go of it. Idempotent."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
