"""nginx as a floor: it stores bodies in files, unsynced, and sends files; no checking, no compressing.

One process, with its own configuration and directory. What it is given are Debian's defaults or better:
``sendfile``, no access log, buffers that take a body in few writes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.stage import server_core

STORE, FILES = "/store", "/files"
"""Paths: POST to the first (anything may follow it), GET of a file's name below the second."""

_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 10.0

# `return` would answer before the body is read, and a body that nobody reads isn't stored. So that nginx
# reads it, it is mirrored to a place that answers at once and doesn't look at it; then there is no
# file of this name, which leads to the answer. It is the cheapest way that nginx has to store a POST without
# another server behind it.
_CONFIG = """
daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 1000000;
    keepalive_timeout 120s;
    client_max_body_size 2g;
    client_body_buffer_size {buffer};
    client_body_temp_path bodies;
    proxy_temp_path unused; fastcgi_temp_path unused; uwsgi_temp_path unused; scgi_temp_path unused;
    server {{
        listen 127.0.0.1:{port};
        location {store} {{
            client_body_in_file_only on;
            mirror /mirrored;
            log_not_found off;
            error_page 404 = @stored;
        }}
        location = /mirrored {{ internal; return 204; }}
        location @stored {{ return 204; }}
        location {files}/ {{ alias {directory}/files/; }}
    }}
}}
"""


class Nginx(NamedTuple):
    """A running nginx."""

    port: int
    pid: int
    files: Path
    """What lies here is sent below ``FILES``."""
    bodies: Path
    """Where stored bodies lie."""

    def stored(self) -> tuple[int, int]:
        """Return how many bodies lie in files, and their bytes together."""
        sizes = [path.stat().st_size for path in self.bodies.iterdir()]
        return len(sizes), sum(sizes)

    def clear(self) -> None:
        """Remove the stored bodies."""
        for path in self.bodies.iterdir():
            path.unlink()


def find() -> str | None:
    """Return nginx's path; None if it isn't installed (Debian: ``nginx-light`` or ``nginx``)."""
    # A user's PATH often lacks this directory.
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


@contextlib.contextmanager
def nginx() -> Iterator[Nginx]:
    """Run nginx on the servers' core, in a temporary directory.

    Raises ``RuntimeError`` if it isn't installed, or doesn't listen in time.
    """
    binary = find()
    if binary is None:
        raise RuntimeError("nginx isn't installed")
    with tempfile.TemporaryDirectory(prefix="rrd-bench-") as name:
        directory = Path(name)
        (directory / "files").mkdir()
        port = _free_port()
        config = _CONFIG.format(port=port, directory=directory, store=STORE, files=FILES, buffer="512k")
        (directory / "nginx.conf").write_text(config)
        log_path = directory / "error.log"
        process = subprocess.Popen(
            [binary, "-p", name, "-c", "nginx.conf", "-e", "error.log"], stdin=subprocess.DEVNULL
        )
        try:
            core = server_core()
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            _wait_for(process, port, log_path)
            yield Nginx(port, process.pid, directory / "files", directory / "bodies")
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.02)
    log = log_path.read_text(errors="replace") if log_path.exists() else ""
    raise RuntimeError(f"nginx doesn't listen:\n{log[-2000:]}")
