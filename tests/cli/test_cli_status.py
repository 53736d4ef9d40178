"""``rrd status`` and a daemon's own process: well, starting, full, gone, killed, hanging, another user's."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rrd import layout
from rrd.cli import main
from rrd.cli.asking import NoAnswer, ask
from rrd.config import Config
from rrd.disk.socket_file import listen_at
from rrd.http.troubles import LIMITS
from tests.harness import DEADLINE_S, PYTHONPATH, ROOT, DaemonProcess

pytestmark = pytest.mark.table

Capture = pytest.CaptureFixture[str]


def status(data_dir: str | Path, capsys: Capture) -> tuple[int, dict[str, Any], str]:
    """Return the exit code, what ``rrd status --json`` tells, and what it says on stderr."""
    code = main(["status", "--json", "--data-dir", str(data_dir)])
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err


def codes(told: dict[str, Any]) -> set[str]:
    return {trouble["code"] for trouble in told["troubles"]}


def wait_for(look: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not look():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def test_a_daemon_that_is_well(tmp_path: Path, capsys: Capture) -> None:
    daemon = DaemonProcess(tmp_path)
    with daemon:
        code, told, said = status(daemon.data_dir, capsys)
        assert (code, told["worst"], told["state"], said) == (0, "well", "ready", "")
        assert (told["pid"], told["listens"]) == (daemon.pid, [f"127.0.0.1:{daemon.port}"])
        assert told["store"]["answers"] is True
        assert main(["status", "--data-dir", daemon.data_dir]) == 0
        text = capsys.readouterr().out
        assert text.startswith("rrd ") and "ready, and well" in text and daemon.data_dir in text
        assert "\033" not in text
        top = ask(Config(data_dir=daemon.data_dir), "/top")
        assert {"now", "counted", "over_s", "recordings", "tenants"} <= top.keys()
        with pytest.raises(NoAnswer, match="does not know /elsewhere"):
            ask(Config(data_dir=daemon.data_dir), "/elsewhere")
        assert daemon.stop() == 0
    assert not Path(layout.control_path(daemon.data_dir)).exists()


def test_the_page_explains_each_name_and_each_trouble(tmp_path: Path, capsys: Capture) -> None:
    page = (ROOT / "docs/status.md").read_text("utf-8")
    with DaemonProcess(tmp_path) as daemon:
        told = status(daemon.data_dir, capsys)[1]
    named = set(re.findall(r"`(\w+)`", page))
    assert set(told) - named == set()
    source = (ROOT / "rrd/http/troubles.py").read_text("utf-8")
    codes_of_source = set(re.findall(r'Ailment\(\s*"(\w+)"', source))
    codes_of_source |= {f"{name}_nearly_full" for name in LIMITS}
    assert len(codes_of_source) > 20
    assert codes_of_source - named == set()


def test_a_start_that_waits_for_its_store_is_told(tmp_path: Path, capsys: Capture) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        daemon = DaemonProcess(
            tmp_path, object_store="s3", s3_bucket="b", s3_credentials_file=credentials, s3_timeout_s=1,
            s3_endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}",
        )  # fmt: skip
        starting = threading.Thread(target=daemon.start)
        starting.start()
        found: dict[str, Any] = {}

        def is_told() -> bool:
            with contextlib.suppress(NoAnswer):
                found.update(ask(Config(data_dir=daemon.data_dir), "/status"))
            return found.get("state") == "starting"

        wait_for(is_told, "the start to be told")
        assert found["worst"] == "bad"
        assert "object store" in found["reason"]
        assert codes(found) >= {"starting", "store_away"}
        starting.join()
        with daemon:
            # It has started without its store, and says so.
            code, told, _ = status(daemon.data_dir, capsys)
            assert (code, told["state"], told["store"]["answers"]) == (1, "ready", False)
            assert codes(told) >= {"store_away"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_full_disk_is_bad(tmp_path: Path, capsys: Capture) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode()}")
    try:
        with DaemonProcess(tmp_path, disk_reserve_bytes=1 << 20) as daemon:
            ballast = tmp_path / "ballast"
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    pass
            wait_for(lambda: "disk_full" in codes(status(daemon.data_dir, capsys)[1]), "the disk to be full")
            code, told, _ = status(daemon.data_dir, capsys)
            assert (code, told["state"]) == (2, "not_ready")
            assert codes(told) >= {"disk_full", "not_ready"}
            assert main(["status", "--data-dir", daemon.data_dir]) == 2
            assert "next: add disk" in capsys.readouterr().out
            ballast.unlink()
            wait_for(
                lambda: not codes(status(daemon.data_dir, capsys)[1]) & {"disk_full", "not_ready"}, "room"
            )
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_no_daemon_is_told_with_what_to_do(tmp_path: Path, capsys: Capture) -> None:
    code, told, said = status(tmp_path / "absent", capsys)
    assert (code, told["state"]) == (3, "no_answer")
    assert "there is no data directory here. Check --data-dir" in said
    daemon = DaemonProcess(tmp_path)
    with daemon:
        assert daemon.stop() == 0
    code, _, said = status(daemon.data_dir, capsys)
    assert code == 3
    assert "no daemon runs on" in said and "kill -9" not in said and "systemctl start rrd" in said
    daemon.start()
    daemon.kill()
    code, _, said = status(daemon.data_dir, capsys)
    assert code == 3
    assert "ended without a stop" in said


def test_what_a_kill_left_is_replaced_and_passed_over(tmp_path: Path, capsys: Capture) -> None:
    daemon = DaemonProcess(tmp_path)
    daemon.start()
    daemon.kill()
    left = Path(layout.control_path(daemon.data_dir))
    assert left.is_socket()
    for command in (["verify", "--deep"], ["backup", str(tmp_path / "backup")], ["reindex"], ["doctor"]):
        assert main([*command, "--data-dir", daemon.data_dir]) == 0, command
    told = capsys.readouterr()
    assert "control.sock" not in told.out + told.err
    assert not list((tmp_path / "backup").rglob("control.sock"))
    with daemon:
        assert status(daemon.data_dir, capsys)[0] == 0
        # A restored directory is a data directory like any other.
        assert main(["restore", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "restored")]) == 0


def test_a_second_daemon_does_not_take_the_socket(tmp_path: Path, capsys: Capture) -> None:
    with DaemonProcess(tmp_path) as daemon:
        second = subprocess.run(
            [sys.executable, "-m", "rrd", "serve", "--data-dir", daemon.data_dir, "--port", "0"],
            capture_output=True, env={"PYTHONPATH": PYTHONPATH, "RRD_CONFIG": ""}, check=False,
        )  # fmt: skip
        assert second.returncode == 1
        assert status(daemon.data_dir, capsys)[1]["pid"] == daemon.pid


def test_a_data_directory_that_lies_deep_has_a_socket_too(tmp_path: Path, capsys: Capture) -> None:
    place = tmp_path / ("d" * 100) / ("e" * 100)
    place.mkdir(parents=True)
    with DaemonProcess(place) as daemon:
        assert status(daemon.data_dir, capsys)[0] == 0
        assert daemon.stop() == 0


def test_a_daemon_that_hangs_is_waited_for_no_longer_than_said(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        daemon.pause()
        try:
            with pytest.raises(NoAnswer, match=rf"process {daemon.pid}\) gives no answer within 0.2 s"):
                ask(Config(data_dir=daemon.data_dir), "/status", wait_s=0.2)
        finally:
            daemon.go_on()
        assert ask(Config(data_dir=daemon.data_dir), "/status")["pid"] == daemon.pid


def test_no_answer_reaches_the_terminal_with_what_a_terminal_obeys(tmp_path: Path) -> None:
    """Root asks; the daemon, which is not root's, may have been taken over."""
    path = layout.control_path(str(tmp_path))
    body = json.dumps({"worst": "\033[2J", "troubles": [{"te\u202ext": "a\r\nb\x9b", "n": 1}]}).encode()

    def answer(listening: socket.socket) -> None:
        listening.setblocking(True)
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with listen_at(path, backlog=1) as listening:
        hostile = threading.Thread(target=answer, args=[listening])
        hostile.start()
        told = ask(Config(data_dir=str(tmp_path)), "/status")
        hostile.join()
    assert told == {"worst": "\ufffd[2J", "troubles": [{"te\ufffdxt": "a\ufffd\ufffdb\ufffd", "n": 1}]}


def test_what_holds_the_directory_without_a_socket_is_told(tmp_path: Path, capsys: Capture) -> None:
    with DaemonProcess(tmp_path) as daemon:
        Path(layout.control_path(daemon.data_dir)).unlink()
        code, _, said = status(daemon.data_dir, capsys)
        assert code == 3
        assert "is held by a command, or by a daemon that has no control socket" in said


def test_a_file_in_the_socket_s_place_is_left_alone_and_told(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    in_the_way = Path(layout.control_path(daemon.data_dir))
    in_the_way.parent.mkdir(mode=0o700)
    in_the_way.write_bytes(b"precious")
    with daemon:
        assert "control_socket_failed" in daemon.log()
        assert daemon.stop() == 0
    assert in_the_way.read_bytes() == b"precious"


@pytest.fixture
def for_all(tmp_path: Path) -> Path:
    """A directory that every user may enter."""
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    return tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_is_told_whom_to_ask_as(for_all: Path) -> None:
    uid = 65534
    with DaemonProcess(for_all) as daemon:
        # In a process that has given root up, since the interpreter may be root's alone.
        code = f"""
import os, sys
from rrd.cli import main
sys.argv = ["rrd"]
import rrd.cli.status, rrd.cli.asking, rrd.startup.recovery
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
sys.exit(main(["status", "--data-dir", {daemon.data_dir!r}]))
"""
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=False,
            env={"PYTHONPATH": PYTHONPATH, "RRD_CONFIG": ""},
        )  # fmt: skip
        assert done.returncode == 3, done.stderr
        assert "Run it as root, or as the user that rrd runs as: sudo -u root rrd status" in done.stderr
        assert daemon.stop() == 0


def test_a_settings_file_that_cannot_be_used_is_not_told_as_a_daemon_that_is_gone(
    tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "rrd.toml"
    file.write_text("port = 1\nport = 2\n")
    assert main(["status", "--config", str(file)]) == 3
    said = capsys.readouterr().err
    assert "a key is there twice (at line 2" in said
    assert "one that runs goes on as before." in said
