"""``rrd top`` beside a real daemon: a page for scripts, and a terminal that is as before however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from rrd.cli import main
from tests.harness import DEADLINE_S, PYTHONPATH, DaemonProcess
from tests.samples import ndjson, new_id, some_events


def send(daemon: DaemonProcess, key: str) -> str:
    recording_id = new_id()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    url = f"{daemon.url}/recordings/{recording_id}/ingest"
    with urllib.request.urlopen(urllib.request.Request(url, ndjson(some_events(20)), headers)) as answer:
        assert json.loads(answer.read())["successful_rows"] == 20
    return recording_id


class Terminal:
    """``rrd top`` on a terminal of 24 lines of 80 characters."""

    def __init__(self, data_dir: str) -> None:
        self.handle, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.text = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rrd", "top", "--data-dir", data_dir],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={"PYTHONPATH": PYTHONPATH, "RRD_CONFIG": "", "TERM": "xterm"},
        )  # fmt: skip

    def until(self, word: str) -> None:
        end = time.monotonic() + DEADLINE_S
        while word not in self.text:
            assert time.monotonic() < end, f"waited in vain for {word!r} in {self.text!r}"
            if select.select([self.handle], [], [], 0.1)[0]:
                self.text += os.read(self.handle, 65536).decode()

    def type(self, keys: bytes) -> None:
        os.write(self.handle, keys)

    def end(self) -> int:
        """Return its exit code, once all that it wrote is read and the terminal is as it was."""
        code = self.process.wait(DEADLINE_S)
        while select.select([self.handle], [], [], 0.1)[0]:
            self.text += os.read(self.handle, 65536).decode()
        assert termios.tcgetattr(self.theirs) == self.before
        assert self.text.endswith("\033[?25h\033[?1049l")
        return code


@contextlib.contextmanager
def terminal(data_dir: str) -> Iterator[Terminal]:
    found = Terminal(data_dir)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.process.kill()
        found.process.wait()
        os.close(found.handle)
        os.close(found.theirs)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("top")) as process:
        yield process


def test_a_page_for_scripts_needs_no_terminal(
    daemon: DaemonProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", "--once", "--data-dir", daemon.data_dir]) == 0
    text = capsys.readouterr().out
    assert "events" in text and "\033" not in text
    assert max(map(len, text.splitlines())) <= 80 and len(text.splitlines()) <= 24


def test_what_is_written_to_is_shown_while_it_is(daemon: DaemonProcess) -> None:
    key = daemon.key(tenant="acme")
    with terminal(daemon.data_dir) as screen:
        screen.until("no recording is written to")
        end = time.monotonic() + DEADLINE_S
        recording_id = "-"
        while recording_id not in screen.text:
            assert time.monotonic() < end
            with contextlib.suppress(urllib.error.HTTPError):  # The key may not count yet.
                recording_id = send(daemon, key)
            screen.until("\033[J")
            screen.text += (
                ""
                if not select.select([screen.handle], [], [], 1.2)[0]
                else os.read(screen.handle, 65536).decode()
            )
        assert key not in screen.text and "127.0.0.1" not in screen.text
        screen.type(b"xq")
        assert screen.end() == 0


@pytest.mark.parametrize(
    ("how", "code"),
    [(b"\x03", 130), (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 128 + signal.SIGHUP)],
)
def test_the_terminal_is_as_before_whatever_ends_it(
    daemon: DaemonProcess, how: bytes | int, code: int
) -> None:
    with terminal(daemon.data_dir) as screen:
        screen.until("rrd ")
        screen.until("\033[J")
        if isinstance(how, bytes):
            screen.process.send_signal(signal.SIGINT)  # As a terminal does for Ctrl-C.
        else:
            screen.process.send_signal(how)
        assert screen.end() == code


def test_a_daemon_that_goes_is_waited_for(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as process, terminal(process.data_dir) as screen:
        screen.until("ready")
        process.kill()
        screen.until("no answer; q quits")
        screen.text = ""
        process.start()
        screen.until("ready")
        screen.type(b"q")
        assert screen.end() == 0


def test_no_daemon_is_told_on_the_usual_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--data-dir", str(tmp_path)]) == 3
    assert "no daemon runs on" in capsys.readouterr().err
