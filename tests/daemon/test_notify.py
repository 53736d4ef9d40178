"""What systemd is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from rrd.daemon.notify import notify
from tests.samples import new_id
from tests.serving import serve


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(20)
        with serve(tmp_path / "data", NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
            assert supervisor.recv(100).startswith(b"STATUS=starting: ")
            assert supervisor.recv(100) == b"READY=1\nSTATUS=ready: 0 sockets, 0 recordings open"
            process.terminate()
            while (told := supervisor.recv(100)) != b"STOPPING=1":
                assert told.startswith(b"READY=1\n")
            process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "@rrd-tests-nobody-listens"])
def test_a_supervisor_that_is_not_there_stops_nothing(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert notify("READY=1") is None  # type: ignore[func-returns-value]


def test_a_supervisor_that_reads_nothing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        for _ in range(2000):  # More than net.unix.max_dgram_qlen.
            notify("WATCHDOG=1")
        assert supervisor.recv(100) == b"WATCHDOG=1"


def test_an_abstract_address_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"rrd-tests-{new_id()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(f"\0{name}")
        notify("READY=1")
        assert supervisor.recv(100) == b"READY=1"
