"""Unix sockets at a path: who may connect, how deep the path may be, and what a kill leaves."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from rrd.disk.socket_file import connect_to, listen_at, remove_socket


def deep(directory: Path, size: int) -> Path:
    """Return a path below ``directory`` that has ``size`` bytes, its directories made."""
    while size - len(str(directory)) > 100:
        directory /= "d" * 60
    directory.mkdir(parents=True, exist_ok=True)
    return directory / ("s" * (size - len(str(directory)) - 1))


@pytest.mark.parametrize("size", [106, 107, 108, 109, 300, 1000])
def test_a_path_of_any_length_is_listened_at_and_connected_to(tmp_path: Path, size: int) -> None:
    path = str(deep(tmp_path, size))
    with listen_at(path, backlog=1) as listening, connect_to(path, timeout_s=5) as mine:
        other, _ = listening.accept()
        with other:
            mine.sendall(b"here")
            assert other.recv(10) == b"here"


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_the_owner_alone_may_connect_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "socket"
    before = os.umask(umask)
    try:
        listening = listen_at(str(path), backlog=1)
    finally:
        os.umask(before)
    with listening:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 & ~umask


def test_a_socket_that_a_kill_left_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listen_at(path, backlog=1).close()
    with pytest.raises(ConnectionRefusedError):
        connect_to(path, timeout_s=5)
    with listen_at(path, backlog=1):
        connect_to(path, timeout_s=5).close()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.write_bytes(b"precious")
    with pytest.raises(OSError, match="in use"):
        listen_at(str(path), backlog=1)
    remove_socket(str(path))
    assert path.read_bytes() == b"precious"
    remove_socket(str(tmp_path / "absent"))


def test_a_full_queue_is_waited_for_no_longer_than_asked(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    waiting: list[socket.socket] = []

    def connect_often() -> None:
        waiting.extend(connect_to(path, timeout_s=0.01) for _ in range(10))

    with listen_at(path, backlog=0), pytest.raises(TimeoutError):
        connect_often()
    assert waiting
    for each in waiting:
        each.close()
