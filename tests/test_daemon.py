"""The process as its supervisor and its owner see it: signals, notifications, first keys, the unit file."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from rrd.cli.common import SYSTEM_CONFIG
from rrd.config import Config, load_config
from tests.harness import DaemonProcess, Launch
from tests.thoroughness import some

ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def _serve(data_dir: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "rrd", "serve", "--data-dir", str(data_dir), "--port", "0"],
        cwd=ROOT,
        env=os.environ | {"RRD_CONFIG": ""} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return line
    raise AssertionError(f"the daemon ended without saying {word!r}")


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(20)
        with _serve(tmp_path / "data", NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
            assert supervisor.recv(100) == b"READY=1"
            process.terminate()
            assert supervisor.recv(100) == b"STOPPING=1"
            process.communicate(timeout=20)
    assert process.returncode == 0


def test_the_curl_lines_of_the_first_start_work_as_they_are_printed(tmp_path: Path) -> None:
    with _serve(tmp_path) as process:
        _read_until(process, "listening")
        assert process.stdout is not None
        greeting = ""
        while "/events\n" not in greeting:
            greeting += process.stdout.readline()
        write, read = re.findall(r"curl (?:.|\\\n)+?/(?:ingest|events)$", greeting, re.MULTILINE)
        said = subprocess.run(["sh", "-c", write], capture_output=True, check=True).stdout
        assert said == b'{"successful_rows":1,"quarantined_rows":0,"duplicate_rows":0}'
        events = subprocess.run(["sh", "-c", read], capture_output=True, check=True).stdout
        assert events.startswith(b'[{"type":5,') and b'"sequenceId":1' in events
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_keys_are_shown_at_the_first_start_only(tmp_path: Path) -> None:
    for start in range(2):
        with _serve(tmp_path) as process:
            _read_until(process, "listening")
            process.terminate()
            told, _ = process.communicate(timeout=20)
        assert ("public_key_rr_" in told) == (start == 0)


@pytest.mark.parametrize("console", ["auto", "true"])
def test_a_service_prints_neither_keys_nor_an_address(tmp_path: Path, console: str) -> None:
    with _serve(tmp_path, INVOCATION_ID="0" * 32, RRD_CONSOLE=console) as process:
        _read_until(process, "listening")
        process.terminate()
        told, log = process.communicate(timeout=20)
    assert told == ""
    assert "sign-in" not in log
    assert (tmp_path / "console.sqlite").exists() == (console == "true")


def test_each_start_prints_an_address_that_signs_in_to_the_console(tmp_path: Path) -> None:
    for _ in range(2):
        with _serve(tmp_path) as process:
            line = _read_until(process, "listening")
            assert process.stdout is not None
            greeting = ""
            while not (
                found := re.search(r"http://127\.0\.0\.1:(\d+)/console/#/sign-in/([\w-]{43})\n", greeting)
            ):
                greeting += process.stdout.readline()
            port, token = found.groups()
            assert f"port={port} " in line
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/console/session",
                data=f'{{"signIn":"{token}"}}'.encode(),
                headers={"Rrd-Console": "1", "Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request) as answer:
                assert b'"operator":true' in answer.read()
            process.terminate()
            _, log = process.communicate(timeout=20)
        assert token not in log


def test_a_console_that_cannot_be_opened_keeps_no_event_out(tmp_path: Path) -> None:
    (tmp_path / "console.sqlite").write_bytes(b"no database, and some more" * 100)
    with _serve(tmp_path) as process:
        assert "console.sqlite" in _read_until(process, "console_off")
        _read_until(process, "listening")
        process.terminate()
        told, _ = process.communicate(timeout=20)
    assert "public_key_rr_" in told and "sign-in" not in told


def test_two_daemons_never_serve_one_data_directory(tmp_path: Path) -> None:
    with _serve(tmp_path) as first:
        _read_until(first, "listening")
        with _serve(tmp_path) as second:
            _, told = second.communicate(timeout=20)
    assert second.returncode == 1
    assert "is served by a running rrd already" in told and "Traceback" not in told


def test_an_index_that_is_damaged_anywhere_is_rebuilt_at_the_next_start(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with _serve(tmp_path / "first") as process:
        _read_until(process, "listening")
        process.terminate()
        process.communicate(timeout=20)
    whole = (tmp_path / "first" / "index.sqlite").read_bytes()
    page = int.from_bytes(whole[16:18], "big")
    for start in some(range(page, len(whole), page)):
        shutil.copytree(tmp_path / "first", data_dir)
        damaged = whole[:start] + b"\xff" * page + whole[start + page :]
        (data_dir / "index.sqlite").write_bytes(damaged)
        with _serve(data_dir) as process:
            _read_until(process, "listening")
            process.terminate()
            process.communicate(timeout=20)
        if process.returncode != 0:
            # The damage showed only while it served: it has ended, and its supervisor starts it again.
            with _serve(data_dir) as process:
                _read_until(process, "listening")
                process.terminate()
                process.communicate(timeout=20)
        assert process.returncode == 0
        shutil.rmtree(data_dir)


def _failed_start(data_dir: Path, *flags: str) -> str:
    """Return what a start says that ends by itself with 1."""
    process = subprocess.run(
        [sys.executable, "-m", "rrd", "serve", "--data-dir", str(data_dir), *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    return process.stderr


def test_a_port_that_is_taken_is_told_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = _failed_start(tmp_path, "--port", str(port))
    assert f"can't listen on 127.0.0.1:{port}" in said and "choose another port" in said


@pytest.mark.parametrize("host", ["192.0.2.1", "host.invalid"])  # RFC 5737, RFC 6761: never this machine's.
def test_an_address_that_is_not_of_this_machine_is_told_with_the_next_step(tmp_path: Path, host: str) -> None:
    said = _failed_start(tmp_path, "--host", host, "--port", "0")
    assert f"can't listen on {host}: " in said and "Set it to an address" in said


def test_the_data_directory_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    with _serve(tmp_path / "data") as process:
        _read_until(process, "listening")
        process.terminate()
        process.communicate(timeout=20)
    files = list((tmp_path / "data").rglob("*"))
    assert files
    for path in files:
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_unit_file_is_valid_and_starts_what_the_readme_installs(tmp_path: Path) -> None:
    unit = (ROOT / "systemd" / "rrd.service").read_text()
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"^ExecStart=(\S+)", unit, re.MULTILINE)
    assert command is not None
    assert command[1].removesuffix("/bin/rrd") in readme
    assert f"ln -sf {command[1]} /usr/local/bin/rrd" in readme
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        assert "TESTS_REQUIRE_TOOLS" not in os.environ
        pytest.skip("systemd-analyze is not installed")
    # The command must exist for systemd-analyze; everything else is checked as it is.
    (tmp_path / "rrd.service").write_text(unit.replace(command[1], "/bin/true"))
    told = subprocess.run(
        [analyze, "verify", str(tmp_path / "rrd.service")], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert "rrd.service" not in told.stderr


def _installed_config(tmp_path: Path) -> Path:
    """Return the settings file that README's install lines make."""
    line = re.search(
        r"^(sed .*) \| install -D -m 644 /dev/stdin (\S+)$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert line is not None
    assert line[2] == SYSTEM_CONFIG
    made = subprocess.run(["sh", "-c", line[1]], cwd=ROOT, capture_output=True, check=True).stdout
    (tmp_path / "rrd.toml").write_bytes(made)
    return tmp_path / "rrd.toml"


def test_the_installed_settings_name_the_directory_that_the_unit_makes(tmp_path: Path) -> None:
    unit = (ROOT / "systemd" / "rrd.service").read_text()
    state = re.search(r"^StateDirectory=(\S+)$", unit, re.MULTILINE)
    assert state is not None
    config = load_config(file=str(_installed_config(tmp_path)), environment={})
    assert config == Config(data_dir=f"/var/lib/{state[1]}")
    assert f"--config {SYSTEM_CONFIG}\n" in unit  # and no flag that commands would have to repeat


@pytest.mark.parametrize("times", [1, 3])
def test_sighup_doesnt_end_a_daemon_without_a_terminal(tmp_path: Path, times: int) -> None:
    with DaemonProcess(tmp_path) as rrd:
        for _ in range(times):
            os.kill(rrd.pid, signal.SIGHUP)
            rrd.wait_for_log("hangup_ignored")
        with urllib.request.urlopen(f"{rrd.url}/-/ready") as answer:
            assert answer.status == 200
        assert rrd.stop() == 0
    assert "restart rrd" in rrd.log()


def test_a_daemon_whose_terminal_closes_stops_cleanly(tmp_path: Path) -> None:
    master, terminal = os.openpty()
    with DaemonProcess(tmp_path, Launch(stdin=terminal)) as rrd:
        os.close(terminal)
        os.close(master)
        os.kill(rrd.pid, signal.SIGHUP)
        assert rrd.wait() == 0
    assert " stopped" in rrd.log()
