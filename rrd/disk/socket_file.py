"""Unix sockets at a path: whoever may open the file may talk to the process behind it, and no network can.

The kernel takes 107 bytes of a path (unix(7)), and a data directory may lie deeper. So a longer path is named
through a handle of its directory, which takes a few bytes whatever the directory is called.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator

_PATH_BYTES_MAX = 107
"""What ``sun_path`` holds beside the zero at its end."""

_MODE = 0o600


def listen_at(path: str, *, backlog: int) -> socket.socket:
    """Return a socket that listens at ``path``, and that the owner alone (and root) may connect to.

    A socket file that is there already is replaced: the caller knows that no other process listens at it.
    Anything else there is left alone. Raises ``OSError``.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        remove_socket(path)
        # The file takes its mode from the socket's, so that there is no moment in which others may connect.
        os.fchmod(listening.fileno(), _MODE)
        with _short(path) as name:
            listening.bind(name)
        listening.listen(backlog)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def connect_to(path: str, *, timeout_s: float) -> socket.socket:
    """Return a socket that is connected to what listens at ``path``; reads and writes time out likewise.

    Raises ``FileNotFoundError``, ``PermissionError``, ``ConnectionRefusedError`` where nothing listens any
    more, ``TimeoutError`` where too many wait already, ``OSError``.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(timeout_s)
        with _short(path) as name:
            connection.connect(name)
    except BlockingIOError as error:  # A full queue of a Unix socket (connect(2), EAGAIN).
        connection.close()
        raise TimeoutError from error
    except BaseException:
        connection.close()
        raise
    return connection


def remove_socket(path: str) -> None:
    """Remove a socket file, if there is one. Raises ``OSError``."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)


@contextlib.contextmanager
def _short(path: str) -> Iterator[str]:
    """Yield a name of ``path`` that the kernel takes, for as long as the block lasts."""
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield path
        return
    directory, name = os.path.split(path)
    handle = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{name}"
    finally:
        os.close(handle)
