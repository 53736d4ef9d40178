"""SIGHUP to ``rrd serve``: the file is read again, checked, and counts, or is refused with key and line."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.harness import DaemonProcess, Launch

NOTHING = 'log_level = "info"\n'


def ready(daemon: DaemonProcess) -> dict[str, object]:
    with urllib.request.urlopen(f"{daemon.url}/-/ready") as answer:
        found: dict[str, object] = json.load(answer)
    return found


class Reloaded:
    """A daemon with a settings file that changes."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon
        assert daemon.config_file is not None
        self.file = daemon.config_file

    def reload(self, text: str, word: str) -> str:
        """Write these settings, send SIGHUP, and return what is logged then, up to a line with ``word``."""
        start = len(self.daemon.log())
        self.file.write_text(text)
        os.kill(self.daemon.pid, signal.SIGHUP)
        end = time.monotonic() + 20
        while True:
            told = self.daemon.log()[start:]
            if any(word in line for line in told.split("\n")[:-1]):
                return told
            assert time.monotonic() < end, f"no {word!r} in {told}"
            time.sleep(0.01)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Reloaded]:
    daemon = DaemonProcess(tmp_path)
    daemon.config_file = tmp_path / "rrd.toml"
    daemon.config_file.write_text(NOTHING)
    with daemon:
        yield Reloaded(daemon)


def test_the_file_is_read_again_and_the_daemon_goes_on(served: Reloaded) -> None:
    told = served.reload('log_level = "debug"\nseal_idle_s = 60\n', " reloaded ")
    assert " info reloaded changed=seal_idle_s,log_level\n" in told
    assert ready(served.daemon) == {"status": "ready"}
    assert served.daemon.stop() == 0


def test_the_log_level_counts_at_once(served: Reloaded) -> None:
    # At "warning" nothing says that it was reloaded, but that something waits; then at "info" again.
    told = served.reload('log_level = "warning"\nconsole = true\n', "needs_restart")
    assert "needs_restart settings=console " in told
    assert " reloaded " not in told
    assert " reloaded changed=log_level\n" in served.reload(NOTHING, " reloaded ")


BAD = [
    ("seal_idle_s = 5\nwatchers_max = 0\n", "watchers_max (set in {file}, line 2): Expected `int` >= 1"),
    ("seal_idle_s = 5\n\nseal_idle = 5\n", "there is no setting 'seal_idle' (found in {file}, line 3)"),
    ('seal_idle_s = 5\nretention_age = "soon"\n', "retention_age (set in {file}, line 2): 'soon' is no age"),
    ('trusted_proxies = [\n "10.0.0.1/8"\n]\n', "trusted_proxies (set in {file}, line 1): '10.0.0.1/8'"),
    ("seal_idle_s = 5\nmemory_max = 1\n", "memory_max (set in {file}, line 2): 1 is too little"),
    ("seal_idle_s = 5\nport =\n", "{file}: not valid TOML: Invalid value (at line 2, column 7)"),
    ('seal_idle_s = 5\n[log]\nlevel = "info"\n', "there is no setting 'log' (found in {file}, line 2)"),
]


def test_what_cannot_be_used_is_refused_with_key_and_line_and_the_former_settings_count(
    served: Reloaded,
) -> None:
    for text, words in BAD:
        told = served.reload(text, "reload_refused").replace('\\"', '"')
        assert words.format(file=served.file) in told, told
        assert "next_step=" in told
        assert " error reload_refused " in told
        assert "Traceback" not in told
    os.rename(served.file, served.file.with_suffix(".away"))
    os.kill(served.daemon.pid, signal.SIGHUP)
    assert "can't be read: No such file or directory" in served.daemon.wait_for_log("No such file")
    assert ready(served.daemon) == {"status": "ready"}
    # Nothing of all that was taken.
    assert "changed=seal_closed_s\n" in served.reload("seal_closed_s = 9\n", " reloaded ")


def test_what_waits_for_a_restart_is_told_until_it_is_taken_back(served: Reloaded) -> None:
    told = served.reload("console = true\nseal_idle_s = 5\n", "needs_restart")
    assert " reloaded changed=seal_idle_s\n" in told
    assert "needs_restart settings=console next_step=" in told
    assert "needs_restart" in served.reload("console = true\n", "needs_restart")
    assert "needs_restart" not in served.reload(NOTHING, " reloaded ")


def test_signals_that_come_together_end_with_the_last_state_of_the_file(served: Reloaded) -> None:
    for seconds in range(1, 40):
        served.file.write_text(f"seal_idle_s = {seconds}\n")
        os.kill(served.daemon.pid, signal.SIGHUP)
    # Whatever was read in between: when it says so for the last time, it is at the last state.
    told = served.reload("seal_idle_s = 40\nseal_closed_s = 1\n", "seal_closed_s")
    assert told.count("reload_refused") == 0
    assert "changed=nothing" in served.reload("seal_idle_s = 40\nseal_closed_s = 1\n", "changed=nothing")


def test_systemd_is_told_that_settings_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def told(word: str) -> dict[str, str]:
            """Return the next thing that says this; signs of life come at any time."""
            while True:
                lines = dict(line.split("=", 1) for line in supervisor.recv(400).decode().splitlines())
                if word in lines:
                    return lines

        with DaemonProcess(tmp_path) as daemon:
            assert told("READY")["READY"] == "1"
            before_us = time.monotonic_ns() // 1000
            os.kill(daemon.pid, signal.SIGHUP)
            reloading = told("RELOADING")
            assert before_us <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            assert told("READY")["READY"] == "1"


def test_a_daemon_that_a_hangup_shall_not_end_reloads_though_it_has_a_terminal(tmp_path: Path) -> None:
    master, terminal = os.openpty()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # As nohup(1) starts it.
    try:
        with DaemonProcess(tmp_path, Launch(stdin=terminal)) as daemon:
            os.kill(daemon.pid, signal.SIGHUP)
            daemon.wait_for_log(" reloaded ")
            assert daemon.stop() == 0
    finally:
        signal.signal(signal.SIGHUP, before)
        os.close(terminal)
        os.close(master)


def test_one_that_comes_before_the_daemon_looks_is_done_once_it_is_ready(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    daemon.config_file = tmp_path / "rrd.toml"
    daemon.config_file.write_text(NOTHING)
    with ThreadPoolExecutor(1) as thread:
        started = thread.submit(daemon.start)
        until_true(lambda: daemon.process is not None and takes_hangups(daemon.pid))
        os.kill(daemon.pid, signal.SIGHUP)
        started.result()
    with daemon:
        daemon.wait_for_log(" reloaded ")
        assert daemon.stop() == 0


def test_those_that_come_during_a_stop_change_nothing_of_it(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        process = daemon.process
        assert process is not None
        process.terminate()
        while process.poll() is None:
            process.send_signal(signal.SIGHUP)
            time.sleep(0.001)  # Otherwise it would do nothing but take signals.
        assert daemon.wait() == 0
        assert " stopped\n" in daemon.log()


def takes_hangups(pid: int) -> bool:
    """Tell whether SIGHUP ends this process no more: it is blocked, or there is a handler."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = re.findall(r"^Sig(?:Blk|Cgt):\s*([0-9a-f]+)$", status, re.MULTILINE)
    return any(int(mask, 16) & 1 for mask in masks)


def until_true(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)
