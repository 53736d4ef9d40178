"""A Debian 12 with a systemd of its own, booted in a container: rrd runs there as its units say.

Method
------
``debootstrap`` makes a root once, in ``build/`` (``tests.release.clean_root``). ``systemd-nspawn`` boots it
with an overlay in memory, so each boot begins with the same root, and with no network but loopback. The
checkout and the packages of this environment are bound into it, read-only; so are the units, as they are in
``systemd/``. Commands run inside by ``nsenter``; a client of the test itself enters the network alone.
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
import sysconfig
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests import scratch
from tests.harness import PYTHONPATH
from tests.release.clean_root import CACHE, CleanRoot

ROOT = Path(__file__).parents[2]
BASE = ROOT / "build" / "boot-root"
BOOT_S = 120.0
UNITS = ("rrd.service", "rrd.socket", "rrd-backup.service", "rrd-backup.timer")

_RRD = """\
#!/bin/sh
export PYTHONPATH=/opt/src:/opt/site PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 -m rrd "$@"
"""


SEND_THROUGH = """
    import asyncio, json, random, sys
    from tests.samples import new_id
    from tests.senders import PostSender, SocketSender, check, session_of
    async def main():
        rng = random.Random(1)
        recordings = [new_id() for _ in range(3)]
        senders = [SocketSender("a", recordings[0], rng), PostSender("b", recordings[1], rng),
                   PostSender("c", recordings[2], rng)]
        async with session_of(sys.argv[1]) as session, asyncio.TaskGroup() as tasks:
            async def keep_sending(sender):
                sender.may_stop = True
                while not (sender.draining and not sender.unacked):
                    await sender.run(session, "http://127.0.0.1:8787")
            sending = [tasks.create_task(keep_sending(sender)) for sender in senders]
            while line := await asyncio.to_thread(sys.stdin.readline):
                goal = {sender: len(sender.acked) + 50 for sender in senders}
                while any(len(sender.acked) < count for sender, count in goal.items()):
                    await asyncio.sleep(0.01)
                print("acked", flush=True)
            for sender in senders:
                sender.draining = True
            await asyncio.gather(*sending)
            stored = await check(session, "http://127.0.0.1:8787", senders, complete=True)
        print(json.dumps({"refused": sum(sender.refused for sender in senders), "stored": stored}))
    asyncio.run(main())
"""
"""Sends over sockets and by POST, all that was not acked again after each restart. For each line on standard
input it prints "acked" once 50 more lines of each sender are; at the end, how many connections were refused,
and how many lines are stored, after a look at whether each of them is, once."""


def missing_tools() -> str | None:
    """Return why no machine can be booted here; None if one can."""
    if os.geteuid() != 0:
        return "only root can boot a container"
    if sys.version_info[:2] != (3, 11):
        return "the packages of this environment are not for Debian 12's Python 3.11"
    tools = ("debootstrap", "systemd-nspawn", "nsenter")
    absent = [tool for tool in tools if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def need_machine() -> None:
    """Skip where none can be booted; where tools are demanded, fail."""
    reason = missing_tools()
    if reason is not None:
        if os.environ.get("TESTS_REQUIRE_TOOLS") == "1":
            pytest.fail(f"TESTS_REQUIRE_TOOLS=1, but {reason}")
        pytest.skip(reason)


def base_root() -> Path:
    """Return a Debian 12 with systemd and Python; made if it is not there yet."""
    BASE.parent.mkdir(exist_ok=True)
    with (BASE.parent / "boot-root.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not BASE.exists():
            part = BASE.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            made = CleanRoot.bootstrapped(part, cache=CACHE)
            made.run("apt-get update && apt-get install -y --no-install-recommends python3")
            part.rename(BASE)
    return BASE


class Machine:
    """A booted machine, from outside."""

    def __init__(self, leader: int) -> None:
        self._leader = str(leader)

    def run(self, *argv: str, check: bool = True) -> str:
        """Run a command inside, and return what it prints."""
        inside = ["nsenter", "-t", self._leader, "-m", "-p", "-n", "-u", "-i", "-C", "-r"]
        done = subprocess.run(
            [*inside, *argv],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_PAGER": "", "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=BOOT_S,
            check=False,
            cwd="/",
        )
        told = done.stdout + done.stderr
        if check and done.returncode != 0:
            # What systemctl says of a unit that failed is where to look.
            logs = [] if argv[0] == "journalctl" else [self.run("journalctl", "-n60", "-ocat", check=False)]
            pytest.fail("\n".join((f"{argv}: {told}", *logs)))
        return told

    @contextlib.contextmanager
    def client(self, code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run a program of the test, in the machine's network, until the block ends."""
        with subprocess.Popen(
            ["nsenter", "-t", self._leader, "-n", sys.executable, "-c", textwrap.dedent(code), *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": PYTHONPATH},
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        ) as client:
            try:
                yield client
            finally:
                client.kill()

    def show(self, unit: str, key: str) -> str:
        """Return a property of a unit (systemctl show)."""
        return self.run("systemctl", "show", "--value", "--property", key, unit).strip()

    def journal(self, unit: str = "rrd.service") -> str:
        """Return what a unit wrote to the journal since it was last started."""
        self.run("journalctl", "--sync")
        invocation = self.show(unit, "InvocationID")
        wanted = f"_SYSTEMD_INVOCATION_ID={invocation}" if invocation else f"--unit={unit}"
        return self.run("journalctl", "--output=cat", wanted)

    def key(self) -> str:
        """Make a key as root does, and return it."""
        return self.run("rrd", "keys", "create", "--tenant", "acme", "--scope", "all").split()[0]

    def wait_for(self, unit: str, state: str) -> None:
        """Return when a unit is in a state (ActiveState)."""
        end = time.monotonic() + BOOT_S
        while (now := self.show(unit, "ActiveState")) != state:
            assert time.monotonic() < end, f"{unit} is {now}, not {state}: {self.journal(unit)}"
            time.sleep(0.1)

    @contextlib.contextmanager
    def load(self, key: str) -> Iterator[Callable[[], None]]:
        """Send without a pause, until the block ends; then each line must be stored once, and none refused.

        What it yields returns once 50 more lines of each sender are acked.
        """
        with self.client(SEND_THROUGH, key) as client:
            assert client.stdin is not None and client.stdout is not None
            stdin, stdout, calls = client.stdin, client.stdout, 0

            def more_acked() -> None:
                nonlocal calls
                calls += 1
                stdin.write("\n")
                stdin.flush()
                assert stdout.readline() == "acked\n"

            yield more_acked
            told = told_by(client)
            assert told["refused"] == 0 and told["stored"] >= calls * 150, told

    @contextlib.contextmanager
    def unit(self, *lines: str, name: str = "rrd.service") -> Iterator[None]:
        """Change a unit as ``systemctl edit`` does, with these lines in [Service], until the block ends."""
        folder = f"/run/systemd/system/{name}.d"
        text = "\n".join(("[Service]", *lines, ""))
        self.run("sh", "-c", 'mkdir -p "$0"; printf %s "$1" > "$0/test.conf"', folder, text)
        self.run("systemctl", "daemon-reload")
        try:
            yield
        finally:
            self.run("rm", "-r", folder)
            self.run("systemctl", "daemon-reload")


@contextlib.contextmanager
def booted_from_checkout() -> Iterator[Machine]:
    """Boot a machine with rrd bound into it and its units stopped; power it off in the end."""
    with tempfile.TemporaryDirectory(prefix="rrd-boot-", dir=scratch.on_disk()) as name:
        place = Path(name)
        (place / "etc").mkdir()
        settings = (ROOT / "config" / "rrd.toml").read_text()
        (place / "etc" / "rrd.toml").write_text(
            settings.replace('data_dir = "data"', 'data_dir = "/var/lib/rrd"')
        )
        (place / "rrd").write_text(_RRD)
        (place / "rrd").chmod(0o755)
        (place / "sysusers.conf").write_text('u rrd - "rrd" /var/lib/rrd\n')
        bound = {
            ROOT: "/opt/src",
            Path(sysconfig.get_path("purelib")): "/opt/site",
            place / "rrd": "/usr/bin/rrd",
            place / "etc": "/etc/rrd",
            place / "sysusers.conf": "/usr/lib/sysusers.d/rrd.conf",
            **{ROOT / "systemd" / unit: f"/etc/systemd/system/{unit}" for unit in UNITS},
        }
        with booted(base_root(), bound) as machine:
            machine.run("systemd-sysusers")
            yield machine


@contextlib.contextmanager
def booted(root: Path, bound: Mapping[Path, str]) -> Iterator[Machine]:
    """Boot ``root``, which stays as it is, with files bound into it; power it off in the end."""
    with tempfile.TemporaryDirectory(prefix="rrd-boot-", dir=scratch.on_disk()) as name:
        console = Path(name) / "console"
        with console.open("wb") as said:
            process = subprocess.Popen(
                [
                    *("systemd-nspawn", "-D", str(root), f"--machine={Path(name).name.replace('_', '-')}"),
                    *("--boot", "--register=no", "--keep-unit", "--private-network", "--volatile=overlay"),
                    *(f"--bind-ro={source}:{target}" for source, target in bound.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        try:
            yield _up(process, console)
        finally:
            # systemd-nspawn has the machine power off at SIGTERM (systemd-nspawn(1)).
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _up(process: subprocess.Popen[bytes], console: Path) -> Machine:
    end = time.monotonic() + BOOT_S
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while time.monotonic() < end and process.poll() is None:
        leaders = children.read_text().split()
        # Before it has its own root, what is run "inside" would run here.
        if leaders and Path(f"/proc/{leaders[0]}/comm").read_text() == "systemd\n":
            machine = Machine(int(leaders[0]))
            if machine.run("systemctl", "is-system-running", check=False).strip() in {"running", "degraded"}:
                return machine
        time.sleep(0.1)
    raise RuntimeError(f"the machine did not boot:\n{console.read_text(errors='replace')}")


def told_by(client: subprocess.Popen[str]) -> dict[str, int]:
    """Return the JSON object that a client prints last."""
    out, _ = client.communicate(timeout=BOOT_S)
    assert client.returncode == 0, out
    told: dict[str, int] = json.loads(out.splitlines()[-1])
    return told


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine for all tests of a module: each leaves it as it was."""
    need_machine()
    with booted_from_checkout() as made:
        yield made
