"""Starting a daemon with a stopwatch, and killing it.

Ready is when ``/-/ready`` says so, asked every few milliseconds from the moment when the process begins; so
the interpreter's own start and all imports count. What the process has read until then is what the kernel
counted (``rchar`` in proc(5): every byte that came out of a read, cached or not, but not what is mapped).
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from bench.daemon import TENANT, cpu_s
from rrd import layout
from rrd.access.keys import KeyStore

HOST = "127.0.0.1"

_POLL_S = 0.01
_TIMEOUT_S = 300.0
_RECOVERED = re.compile(r" recovered (.*)")

# Nothing may be sealed, rolled up or refused meanwhile, so that what lies there stays.
_SETTINGS = {
    "RRD_SEAL_IDLE_S": "100000",
    "RRD_ROLLUP_DELAY_S": "100000",
    "RRD_DISK_RESERVE_BYTES": "0",
}


class Started(NamedTuple):
    """A daemon that is ready, and what that took."""

    process: subprocess.Popen[bytes]
    port: int
    key: str
    ready_s: float
    cpu_s: float
    read_bytes: int
    recovered: dict[str, int]
    """What the log says that it has found: ``segments``, ``blocks``, ``torn``, ``corrupt``, ``missing``."""


def start(data_dir: str, *, core: int | None) -> Started:
    """Start ``rrd serve`` on ``data_dir``, which is made if need be, and wait until it is ready.

    ``core`` is the only one that it may use. Owed then: ``stop_hard``. Raises ``RuntimeError`` with its log
    if it ends before, or takes longer than five minutes.
    """
    os.makedirs(data_dir, mode=0o700, exist_ok=True)
    with KeyStore(layout.keys_path(data_dir)) as store:
        _, key = store.create_key(tenant=TENANT, scope="all")
    port = _free_port()
    command = [sys.executable, "-m", "rrd", "serve", "--data-dir", data_dir, "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | _SETTINGS)
        try:
            if core is not None:
                # It has one thread yet; those that it starts later inherit this.
                os.sched_setaffinity(process.pid, {core})
            while not _is_ready(port):
                if process.poll() is not None or time.perf_counter() - begun > _TIMEOUT_S:
                    raise RuntimeError(f"the daemon didn't become ready:\n{_text(log.fileno())[-2000:]}")
                time.sleep(_POLL_S)
            took_s = time.perf_counter() - begun
            used_s, read_bytes = cpu_s(process.pid), _read_bytes(process.pid)
            recovered = _recovered(_text(log.fileno()))
        except BaseException:
            process.kill()
            process.wait()
            raise
    return Started(process, port, key, took_s, used_s, read_bytes, recovered)


def stop_hard(started: Started) -> None:
    """``kill -9``."""
    started.process.kill()
    started.process.wait()


def _free_port() -> int:
    """Return a port that nobody has: it must be known before the daemon listens, to be asked at once."""
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/-/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _read_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/io") as file:
        counts = dict(line.split(": ") for line in file)
    return int(counts["rchar"])


def _recovered(text: str) -> dict[str, int]:
    found = _RECOVERED.search(text)
    if found is None:
        raise RuntimeError(f"the daemon doesn't say what it has recovered:\n{text[-2000:]}")
    pairs = (pair.split("=") for pair in found[1].split())
    return {name: int(count) for name, count in pairs}


def _text(handle: int) -> str:
    return os.pread(handle, 1 << 24, 0).decode(errors="replace")
