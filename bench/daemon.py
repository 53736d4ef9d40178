"""A daemon to measure: ``rrd serve`` as a process of its own, on a temporary directory and a free port."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

TENANT = "bench"

AS_INSTALLED = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""The environment that ``systemd/rrd.service`` gives the daemon."""

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 60.0
_LISTENING = re.compile(r"listening host=(\S+) port=(\d+)")


class Daemon(NamedTuple):
    """Where a daemon listens, and a key that may read and write."""

    host: str
    port: int
    key: str
    pid: int | None
    """None for one that somebody else started."""


@contextlib.contextmanager
def daemon(
    settings: dict[str, str] | None = None,
    *,
    core: int | None = None,
    data_dir: str | None = None,
    start_timeout_s: float = _START_TIMEOUT_S,
    program: Sequence[str] = ("-m", "rrd"),
) -> Iterator[Daemon]:
    """Start ``rrd serve`` and stop it on leaving.

    ``settings`` go into its environment (``RRD_FLUSH_AGE_MS`` and the like), with what the installed one has
    there (``AS_INSTALLED``). ``core`` is the only one that it may use; None leaves it those of the caller.
    ``data_dir`` may hold something already, and stays; None takes a directory that goes with the daemon.
    ``program`` is run in rrd's place. Raises ``RuntimeError`` with its log if it doesn't listen within
    ``start_timeout_s``, or doesn't stop cleanly.
    """
    with tempfile.TemporaryDirectory(prefix="rrd-bench-") as directory:
        data_dir, log_path = data_dir or f"{directory}/data", f"{directory}/log"
        rrd = [sys.executable, "-m", "rrd"]
        key = subprocess.check_output(
            [*rrd, "keys", "create", "--data-dir", data_dir, "--tenant", TENANT, "--scope", "all"],
            text=True,
            env=os.environ | (settings or {}),
        ).strip()
        with open(log_path, "wb") as log:
            process = subprocess.Popen(
                [sys.executable, *program, "serve", "--data-dir", data_dir, "--port", "0"],
                stdout=log,
                stderr=log,
                env=AS_INSTALLED | os.environ | (settings or {}),
            )
        try:
            if core is not None:
                # It has one thread yet; those that it starts later inherit this.
                os.sched_setaffinity(process.pid, {core})
            host, port = _address(process, log_path, start_timeout_s)
            yield Daemon(host, port, key, process.pid)
        finally:
            process.terminate()
            try:
                status = process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
        if status != 0:
            raise RuntimeError(f"the daemon ended with status {status}:\n{_read(log_path)[-2000:]}")


def _address(process: subprocess.Popen[bytes], log_path: str, timeout_s: float) -> tuple[str, int]:
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline:
        if found := _LISTENING.search(_read(log_path)):
            return found[1], int(found[2])
        time.sleep(0.02)
    status = process.poll()
    state = f"doesn't listen after {timeout_s:.0f} s" if status is None else f"ended with status {status}"
    raise RuntimeError(f"the daemon {state}:\n{_read(log_path)[-2000:]}")


def _read(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()


def cpu_s(pid: int) -> float:
    """Return the processor time that all threads of a process have used so far, in seconds."""
    # The id of another process's clock, as clock_getcpuclockid(3) makes it; Python only has the threads' one.
    return time.clock_gettime((~pid << 3) | 2)


def rss_bytes(pid: int) -> int:
    """Return a process's resident memory (proc(5))."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_rss_bytes(pid: int) -> int:
    """Return the most resident memory that a process has had (``VmHWM``, proc(5))."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
