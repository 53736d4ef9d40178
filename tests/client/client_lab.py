"""What the tests of the published recorder use: a running daemon, a browser, and a tab in it.

The browser is driven by ``driver.mjs`` over a pipe, one JSON command a line.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RRD = [sys.executable, "-m", "rrd"]
Event = dict[str, Any]
T = TypeVar("T")

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 20.0


def missing_tools() -> list[str]:
    """Name what this machine lacks to run the tests; empty if nothing."""
    return [name for name in ("chromium", "node", "npm") if shutil.which(name) is None]


def install_packages(directory: Path = HERE) -> None:
    """Install what a lock file names, unless that was done since it last changed. Raises ``RuntimeError``."""
    # npm writes this file last, so a broken installation is not taken for a whole one.
    installed, lock = directory / "node_modules" / ".package-lock.json", directory / "package-lock.json"
    with lock.open() as held:
        # Test processes side by side: one installs, the others find it done.
        fcntl.flock(held, fcntl.LOCK_EX)
        if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
            return
        done = subprocess.run(["npm", "ci"], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"npm ci failed:\n{done.stdout}{done.stderr}")


def wait_for(look: Callable[[], T | None], *, deadline_s: float, what: str) -> T:
    """Call ``look`` until it returns something, and return that. TimeoutError after ``deadline_s``."""
    end = time.monotonic() + deadline_s
    while (found := look()) is None:
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline_s} s in vain for {what}")
        time.sleep(0.05)
    return found


class Daemon:
    """One data directory and the daemon that serves it: a process of its own, on a port of its own."""

    scheme = "http"
    """``https`` where a proxy that speaks TLS stands in front, and ``port`` is its own."""

    def __init__(self, directory: Path, **settings: object) -> None:
        """``settings`` are those of ``Config``, for this daemon; the others have their defaults."""
        self.settings = settings
        self.data_dir = directory / "data"
        self.log_path = directory / "log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.key = self.create_key()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def start(self) -> None:
        """Start the daemon; return when it listens. The second time it gets the port of the first."""
        started = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self.process = self._rrd_serve(log.fileno())

        def listening() -> int | None:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"the daemon ended by itself:\n{self.log}")
            lines = self.log_path.read_bytes()[started:].decode().splitlines(keepends=True)
            for line in lines:
                if "listening" in line and line.endswith("\n"):
                    fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
                    return int(fields["port"])
            return None

        try:
            self.port = wait_for(listening, deadline_s=START_TIMEOUT_S, what="the daemon's listening line")
        except TimeoutError:
            self.process.kill()
            self.process.wait()
            raise

    def stop(self) -> None:
        """Ask the daemon to stop, as a service manager does, and wait until it has."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
        assert code == 0, f"the daemon stopped with status {code}:\n{self.log}"

    def get(self, path: str) -> Any:
        """GET ``path`` and return the JSON in the answer, or None if it is 404."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.key}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 404:
                    raise RuntimeError(f"GET {path}: {error.code} {error.read()!r}") from None
            return None

    def events(self, recording_id: str) -> list[Event]:
        """Return the recording's events without the two fields that the server adds; none if unknown."""
        found: list[Event] = self.get(f"/recordings/{recording_id}/events") or []
        assert len({event["sequenceId"] for event in found}) == len(found)
        assert all(event["recordingId"] == recording_id for event in found)
        added = ("sequenceId", "recordingId")
        return [{key: value for key, value in event.items() if key not in added} for event in found]

    def metadata(self, recording_id: str) -> dict[str, str]:
        found = self.get(f"/recordings/{recording_id}") or []
        return {entry["key"]: entry["value"] for entry in found}

    def _rrd_serve(self, log: int) -> subprocess.Popen[bytes]:
        command = ["serve", "--data-dir", str(self.data_dir), "--host", "127.0.0.1", "--port", str(self.port)]
        return subprocess.Popen([*RRD, *command], cwd=ROOT, env=self.environment(), stdout=log, stderr=log)

    def environment(self) -> dict[str, str]:
        """Return the environment in which a command has this daemon's settings."""
        return _environment() | {f"RRD_{name.upper()}": str(value) for name, value in self.settings.items()}

    def create_key(self, tenant: str = "t", scope: str = "all") -> str:
        """Make a key and return it. A daemon that runs already learns of it a little later."""
        command = ["keys", "create", "--data-dir", str(self.data_dir), "--tenant", tenant, "--scope", scope]
        done = subprocess.run(
            [*RRD, *command], cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def _environment() -> dict[str, str]:
    """Return the environment without settings of rrd, so that the daemon has its defaults."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RRD_")}


class Driver:
    """``driver.mjs`` with the Chromium that it drives."""

    def __init__(self, scratch: str) -> None:
        """Start it. ``scratch`` is a directory for what browsers leave behind when they are killed."""
        self._process = subprocess.Popen(
            ["node", "driver.mjs", str(shutil.which("chromium"))],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TMPDIR": scratch},
        )
        self.page_port: int = self._answer()["port"]

    def do(self, command: str, **fields: object) -> Any:
        """Carry out one command and return its value. RuntimeError with the driver's words if it fails."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **fields}).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(STOP_TIMEOUT_S)

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the driver ended; its words are above")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]


@dataclass(frozen=True)
class Seen:
    """What a person would see in the developer tools."""

    console: list[dict[str, str]]
    """``{"type", "text"}`` of each message."""
    errors: list[str]
    """Uncaught errors of the page."""
    posts: list[dict[str, Any]]
    """``{"url", "status", "size"}`` of each answered POST, size in UTF-16 units."""
    sockets: list[dict[str, Any]]
    """``{"url", "sent", "received", "closed"}`` of each socket, refused ones too."""

    def complaints(self, *expected: str) -> list[str]:
        """Return console lines and errors, less the lines that hold one of the ``expected`` texts."""
        lines = [f"{message['type']}: {message['text']}" for message in self.console]
        return self.errors + [line for line in lines if not any(text in line for text in expected)]


class Tab:
    """One tab of an empty browser profile, on a page of another origin than the daemon's."""

    def __init__(self, driver: Driver, name: str, host: str) -> None:
        self._driver = driver
        self._name = name
        self.origin = f"http://{host}:{driver.page_port}"

    def do(self, command: str, **fields: object) -> Any:
        return self._driver.do(command, tab=self._name, **fields)

    def visit(self, page: str = "page.html", *, autostart: dict[str, object] | None = None) -> None:
        """Go to the recorded page. With ``autostart`` the script tag holds that and starts by itself."""
        self.do("goto", url=f"{self.origin}/{page}", autostart=autostart)

    def call(self, name: str, *args: object) -> Any:
        """Call a function of the page's ``lab``."""
        return self.do("call", name=name, args=args)

    def wait(self, expression: str) -> None:
        """Wait until an expression is true in the page."""
        self.do("wait", expression=expression)

    def recording_id(self) -> str:
        return str(self.call("recordingId"))

    def settle(self) -> None:
        """Wait until nothing has been emitted for a while: mouse moves come half a second late."""
        self.wait("Date.now() - lab.emittedAt > 700")

    def emitted(self, recording_id: str) -> list[Event]:
        """Return what the recorder emitted for a recording so far, in all pages of this tab.

        ``recording-meta`` events, which are no part of the stream, are left out.
        """
        rows = self.do("emitted", url=f"{self.origin}/empty.html")
        events = [json.loads(text) for owner, text in rows if owner == recording_id]
        return [event for event in events if not is_metadata(event)]

    def seen(self) -> Seen:
        """Return what the developer tools show of this tab so far."""
        return Seen(**self.do("seen"))

    @contextlib.contextmanager
    def opened(
        self,
        *,
        cookies: dict[str, str],
        mortal: bool,
        is_public: bool = False,
        has_profile: bool = False,
        flags: Sequence[str] = (),
    ) -> Iterator[Tab]:
        """The tab while it is open; with ``mortal`` in a browser of its own, for ``do("kill")``.

        With ``is_public`` (``mortal`` only) its pages come from the public Internet, as the browser sees it.
        With ``has_profile`` the browser is no private one: it preconnects. ``flags`` (``mortal`` only) are
        Chromium's.
        """
        jar = [{"name": name, "value": value, "url": self.origin} for name, value in cookies.items()]
        self.do(
            "open", cookies=jar, mortal=mortal, isPublic=is_public, hasProfile=has_profile, flags=[*flags]
        )
        try:
            yield self
        finally:
            self.do("forget")


OpenTab = Callable[..., Tab]
"""What the fixture ``open_tab`` gives."""


def is_metadata(event: Event) -> bool:
    return bool(event["type"] == 5 and event["data"]["tag"] == "recording-meta")
