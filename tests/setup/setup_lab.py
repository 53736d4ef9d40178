"""``rrd setup`` as a person calls it, in a directory of its own or as the service's on a machine of its own.

``ServiceMachine`` is this machine with another ``/etc`` and ``/var/lib``, in a mount namespace: what setup
makes there, users too, is gone with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rrd import layout
from rrd.access.keys import KeyRow, KeyStore
from tests.harness import PYTHONPATH
from tests.ports import free_port

TIMEOUT_S = 120
PUBLIC = re.compile(r"public_key_rr_[\w-]{43}")
PRIVATE = re.compile(r"secret_key_rr_[\w-]{43}")
NAME = "rrd.example.com"
ORIGIN = "https://shop.example"


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a command, without settings of this one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RRD_", "JOURNAL_"))}
    # No reserve: a test machine whose disk happens to be nearly full is not what is tested.
    return {**kept, "RRD_DISK_RESERVE_BYTES": "0", "PYTHONPATH": PYTHONPATH, **more}


class Tried:
    """A directory in which rrd is tried, on a port of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "rrd.toml"
        self.data_dir = directory / "data"
        self.port = free_port()
        self.command = [sys.executable, "-m", "rrd", "setup", "--config", str(self.config)]

    def settings(self) -> dict[str, str]:
        return environment(RRD_PORT=str(self.port))

    def run(self, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *argv], env=self.settings() | more, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip

    def keys(self) -> list[KeyRow]:
        with KeyStore(layout.keys_path(str(self.data_dir)), create=False) as store:
            return store.list_keys()

    def live_keys(self) -> list[KeyRow]:
        return [row for row in self.keys() if row.revoked_ms is None]


def steps_of(printed: str, word: str) -> list[str]:
    """Return what setup tells of steps that ended with a word: ``done``, ``same``, ``works``, ``note``."""
    return [line.partition(": ")[2] for line in printed.splitlines() if line.startswith(f"{word}: ")]


class ServiceMachine:
    """A machine for a service, made of this one: root is root there, and changes nothing here."""

    def __init__(self, directory: Path, python: str) -> None:
        self.directory = directory
        self.python = python
        for name in ("etc", "work", "lib"):
            (directory / name).mkdir()
            (directory / name).chmod(0o755)  # Whatever the umask is.

    def run(self, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script there. ``$RRD`` is the command. What an earlier script has made is there."""
        etc = f"lowerdir=/etc,upperdir={self.directory}/etc,workdir={self.directory}/work"
        around = f"""
            set -eu; umask 022
            mount -t overlay overlay -o {etc} /etc
            mount --bind {self.directory}/lib /var/lib
            cd /
            {script}
        """
        return subprocess.run(
            ["unshare", "--mount", "--", "sh", "-c", around],
            env=environment(RRD=f"{self.python} -m rrd", RRD_PORT=str(free_port()), **more),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip


@contextlib.contextmanager
def service_machine(python: str) -> Iterator[ServiceMachine]:
    """Make a machine for a test. An overlay can't lie in pytest's own directory where that is one itself."""
    directory = Path(tempfile.mkdtemp(prefix="rrd-machine-"))
    directory.chmod(0o755)
    try:
        yield ServiceMachine(directory, python)
    finally:
        shutil.rmtree(directory)


def can_make_machines() -> bool:
    """Tell whether this process may make mounts of its own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    with service_machine(sys.executable) as machine:
        return machine.run("true").returncode == 0


def public_and_private(printed: str) -> tuple[set[str], set[str]]:
    """Return the keys that were printed."""
    return set(PUBLIC.findall(printed)), set(PRIVATE.findall(printed))


def any_users_python() -> str:
    """Return a Python that each user may run: the tests' own may lie in root's directory."""
    for path in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        with contextlib.suppress(OSError):
            done = subprocess.run(
                [path, "-c", "import rrd.daemon.run"], user=65534, env={"PYTHONPATH": PYTHONPATH}, check=False
            )
            if done.returncode == 0:
                return path
    pytest.skip("no Python that another user may run")
