"""What systemd is told."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.serving import serve


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(20)
        with serve(tmp_path / "data", NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
            assert supervisor.recv(100) == b"READY=1"
            process.terminate()
            assert supervisor.recv(100) == b"STOPPING=1"
            process.communicate(timeout=20)
    assert process.returncode == 0
