"""Peers: what somebody would write instead in an hour, to compare with.

``fastapi_peer``  FastAPI, uvicorn and ``websockets``
``node_peer``     Node and ``ws``

``python -m bench.peers install`` installs what they need, pinned, out of the way of rrd's own packages. One
whose needs aren't there is left out of a comparison; ``missing`` says why. ``README.md`` tells how to start
one by hand.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from bench.stage import server_core

Name = Literal["FastAPI", "Node"]
NAMES: tuple[Name, ...] = ("FastAPI", "Node")

END = "end"
"""The text message after which a peer answers with its count."""

_HERE = Path(__file__).parent
_FASTAPI, _NODE = _HERE / "fastapi_peer", _HERE / "node_peer"
_VENV = _HERE.parent.parent / ".venv-peers"
_NODE_MODULES = _NODE / "node_modules"

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 10.0
_LISTENING = re.compile(r"http://127\.0\.0\.1:(\d+)")


class Peer(NamedTuple):
    """A running peer."""

    name: Name
    port: int
    pid: int
    data_dir: Path

    def path_of(self, recording_id: str, *, socket: bool = True) -> str:
        """Return the path that takes a recording's events, over a WebSocket or by POST."""
        return f"/recordings/{recording_id}/events" + ("/ws" if socket else "")


def missing(name: Name) -> str | None:
    """Return a sentence about what a peer lacks; None if it can be run."""
    if name == "Node" and shutil.which("node") is None:
        return "The Node peer was left out: Node isn't installed (Debian: nodejs, npm)."
    directory, files = (_VENV, _fastapi_files()) if name == "FastAPI" else (_NODE_MODULES, _node_files())
    if _is_current(directory, files):
        return None
    return f"The {name} peer was left out: run `python -m bench.peers install` first."


@contextlib.contextmanager
def peer(name: Name) -> Iterator[Peer]:
    """Run a peer on the servers' core, with its data in a temporary directory. Raises ``RuntimeError``."""
    if reason := missing(name):
        raise RuntimeError(reason)
    with tempfile.TemporaryDirectory(prefix="rrd-bench-") as directory:
        data_dir, log_path = Path(directory) / "data", Path(directory) / "log"
        command = {
            "FastAPI": [str(_VENV / "bin" / "uvicorn"), "app:app", "--port", "0", "--no-access-log"],
            "Node": [shutil.which("node") or "node", "server.js"],
        }[name]
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=_FASTAPI if name == "FastAPI" else _NODE,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"DATA_DIR": str(data_dir), "PORT": "0", "NODE_ENV": "production"},
            )
        try:
            core = server_core()
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            yield Peer(name, _port(process, log_path), process.pid, data_dir)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _port(process: subprocess.Popen[bytes], log_path: Path) -> int:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if found := _LISTENING.search(log_path.read_text(errors="replace")):
            return int(found[1])
        time.sleep(0.02)
    raise RuntimeError(f"the peer doesn't listen:\n{log_path.read_text(errors='replace')[-2000:]}")


# Installing


def install() -> list[str]:
    """Install what the peers need, where it isn't there yet; return what could not be, as sentences.

    Uses pip and npm as they are set up. Raises ``subprocess.CalledProcessError`` if one of them fails.
    """
    if not _is_current(_VENV, _fastapi_files()):
        shutil.rmtree(_VENV, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(_VENV)], check=True)
        pip = [str(_VENV / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(_FASTAPI / "requirements.txt")], check=True)
        _mark(_VENV, _fastapi_files())
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return ["The Node peer was not installed: Node or npm is missing (Debian: nodejs, npm)."]
    if not _is_current(_NODE_MODULES, _node_files()):
        subprocess.run([npm, "ci", "--silent", "--no-audit", "--no-fund"], cwd=_NODE, check=True)
        _mark(_NODE_MODULES, _node_files())
    return []


def _fastapi_files() -> list[Path]:
    return [_FASTAPI / "requirements.txt"]


def _node_files() -> list[Path]:
    return [_NODE / "package.json", _NODE / "package-lock.json"]


def _is_current(directory: Path, files: list[Path]) -> bool:
    """Tell whether ``directory`` was installed from these files as they are now."""
    stamp = directory / "installed"
    return stamp.exists() and stamp.read_text() == _digest(files)


def _mark(directory: Path, files: list[Path]) -> None:
    (directory / "installed").write_text(_digest(files))


def _digest(files: list[Path]) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
