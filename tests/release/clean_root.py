"""A Debian of its own in a directory, as debootstrap makes it, in which packages are installed and removed.

Each command runs there by ``chroot``, in a mount namespace with a ``/proc``, so that nothing stays mounted
behind a test that is killed. systemd is installed and doesn't run, as in a container; the daemon is started
as ``rrd.service`` says: user, command, limits and ``READY=1``.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port

SUITE = "bookworm"
CACHE = Path(__file__).parents[2] / f"build/debian-{SUITE}.tar"
"""What debootstrap made, for all tests that need a Debian."""
UNIT = "lib/systemd/system/rrd.service"


def need_tools() -> None:
    """Skip without root, debootstrap or mount namespaces; where tools are demanded, fail."""
    reason = None
    if os.geteuid() != 0:
        reason = "chroot needs root"
    elif not all(map(shutil.which, ("debootstrap", "unshare", "dpkg-buildpackage", "dh"))):
        reason = "debootstrap, unshare, dpkg-dev and debhelper are needed"
    elif subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0:
        reason = "this container makes no mount namespaces"
    if reason is None:
        return
    if os.environ.get("TESTS_REQUIRE_TOOLS") == "1":
        pytest.fail(f"TESTS_REQUIRE_TOOLS=1, but {reason}")
    pytest.skip(reason)


class CleanRoot:
    """A Debian in ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def bootstrapped(cls, path: Path, *, cache: Path) -> CleanRoot:
        """Make one of Debian's required packages and systemd; from the tar file ``cache`` if it is there."""
        if not cache.exists():
            fresh = path.with_name("bootstrap")
            subprocess.run(
                ["debootstrap", "--variant=minbase", "--include=systemd", SUITE, str(fresh)],
                check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            part = cache.with_suffix(".part")
            subprocess.run(["tar", "-C", str(fresh), "-cf", str(part), "."], check=True)
            part.rename(cache)
            shutil.rmtree(fresh)
        path.mkdir()
        subprocess.run(["tar", "-C", str(path), "-xf", str(cache)], check=True)
        # The machine's own way to the network.
        shutil.copy("/etc/resolv.conf", path / "etc/resolv.conf")
        return cls(path)

    def copy(self, path: Path) -> CleanRoot:
        subprocess.run(["cp", "-a", "--reflink=auto", str(self.path), str(path)], check=True)
        return CleanRoot(path)

    def run(self, command: str, *, code: int = 0) -> str:
        """Run a line of sh as root in it; return all that it printed."""
        done = subprocess.run(
            [*self._inside(), "sh", "-c", command],
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_ENVIRONMENT,
        )  # fmt: skip
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def install(self, package: Path, *options: str) -> str:
        """``apt install`` a package that is copied in."""
        shutil.copy(package, self.path / "root" / package.name)
        try:
            return self.run(
                f"cd /root && apt-get install -y {' '.join(options)} ./{shlex.quote(package.name)}"
            )
        finally:
            (self.path / "root" / package.name).unlink()

    def files(self, *, named: str = "*") -> set[str]:
        """Return all paths but those of apt's and dpkg's own bookkeeping."""
        own = "-path /proc -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o -path /var/log"
        found = self.run(f"find / \\( {own} \\) -prune -o -name {shlex.quote(named)} -print")
        return set(found.splitlines())

    def unit(self) -> configparser.SectionProxy:
        """Return the service part of the installed unit; a key that is there twice has its last value."""
        parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#", ";"))
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(self.path / UNIT)
        return parser["Service"]

    @contextlib.contextmanager
    def serving(self) -> Iterator[int]:
        """Run the daemon as its unit says; yield the port once it is ready, and stop it as systemd does."""
        unit, port = self.unit(), free_port()
        assert unit["Type"] == "notify"
        notify = self.path / "run/notify"
        as_user = (
            *("setpriv", f"--reuid={unit['User']}", f"--regid={unit['Group']}", "--init-groups"),
            *("--no-new-privs", "--bounding-set=-all"),
        )
        # A container may forbid a limit above its own.
        bounds = f"(ulimit -n {unit['LimitNOFILE']}) 2> /dev/null && ulimit -n {unit['LimitNOFILE']}"
        command = f"{bounds}; umask {unit['UMask']} && exec {shlex.join(as_user)} {unit['ExecStart']}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            supervisor.bind(str(notify))
            notify.chmod(0o777)
            supervisor.settimeout(60)
            with subprocess.Popen(
                [*self._inside(), "sh", "-c", command],
                env=_ENVIRONMENT
                | {"NOTIFY_SOCKET": "/run/notify", "RRD_PORT": str(port), "INVOCATION_ID": "1"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            ) as process:
                try:
                    _wait_for(supervisor, process)
                    yield port
                    process.terminate()
                    _, said = process.communicate(timeout=int(unit["TimeoutStopSec"]))
                    assert process.returncode == 0, said
                finally:
                    process.kill()
                    notify.unlink()

    def _inside(self) -> list[str]:
        return ["unshare", f"--mount-proc={self.path}/proc", "chroot", str(self.path)]


_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "DEBIAN_FRONTEND": "noninteractive",
    "LANG": "C.UTF-8",
}


def _wait_for(supervisor: socket.socket, process: subprocess.Popen[str]) -> None:
    try:
        while b"READY=1" not in supervisor.recv(4096).split(b"\n"):
            pass
    except TimeoutError:
        process.kill()
        _, said = process.communicate()
        raise AssertionError(f"the daemon never said that it is ready:\n{said}") from None
