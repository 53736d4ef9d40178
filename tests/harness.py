"""A daemon for tests, in two forms, and what is needed to talk to it.

``running`` builds the same parts as ``rrd serve`` on the test's own loop: fast to start, and its parts are
within reach (``daemon.services``). ``DaemonProcess`` is ``rrd serve`` itself: for signals, ``kill -9``, and
the log. Both make their keys with ``key``, and both fail a test in which a turn of the daemon's event loop
took more than 50 ms of processor time (``tests.loop_watch``). Nothing here sleeps for a fixed time: ``until``
and ``eventually`` poll with a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import msgspec

from rrd import layout
from rrd.access.keys import KeyStore, Scope, SigningKeyRow
from rrd.config import Config
from rrd.daemon import assembly
from rrd.daemon import run as daemon
from rrd.daemon.listening import listen
from rrd.http.beat import Beat
from rrd.http.services import Bounds
from rrd.startup.recovery import lock_data_dir
from tests.loop_watch import as_daemon, long_turns_of, watched

ROOT = Path(__file__).parents[1]
PYTHONPATH = os.pathsep.join((str(ROOT), sysconfig.get_path("purelib")))
"""The packages, too: what runs as another user may need another interpreter than this environment's."""
DEADLINE_S = 20.0
BEAT_IS_AT_CEILING = bool(os.environ.get("TESTS_BEAT_AT_CEILING"))
"""Daemons read sockets on the longest beat that there is, however idle they are."""

T = TypeVar("T")


async def until(look: Callable[[], T | None], *, what: str, deadline_s: float = DEADLINE_S) -> T:
    """Call ``look`` until it returns something true, and return that. ``TimeoutError`` says ``what``."""
    end = time.monotonic() + deadline_s
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline_s} s in vain for {what}")
        await asyncio.sleep(0.005)
    return found


async def eventually(
    look: Callable[[], Awaitable[T | None]], *, what: str, deadline_s: float = DEADLINE_S
) -> T:
    """``until`` for a ``look`` that has to be awaited."""
    end = time.monotonic() + deadline_s
    while not (found := await look()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline_s} s in vain for {what}")
        await asyncio.sleep(0.005)
    return found


class Keys:
    """Mints keys for a data directory, as ``rrd keys`` does, whether a daemon runs on it or not.

    ``secrets`` holds everything that was minted, for tests that search logs and files for it.
    """

    def __init__(self, data_dir: str) -> None:
        self._path = layout.keys_path(data_dir)
        self.secrets: list[str] = []

    def key(self, scope: Scope = "all", *, tenant: str = "acme", origins: Sequence[str] = ()) -> str:
        with KeyStore(self._path) as store:
            _, key = store.create_key(tenant=tenant, scope=scope, origins=origins)
        self.secrets.append(key)
        return key

    def revoke(self, key: str) -> None:
        with KeyStore(self._path) as store:
            store.revoke_key(key)

    def signing_key(self, *, tenant: str = "acme", key_id: str | None = None) -> SigningKeyRow:
        with KeyStore(self._path) as store:
            row = store.create_signing_key(tenant=tenant, key_id=key_id)
        self.secrets.append(row.secret)
        return row

    def revoke_signing_key(self, key_id: str) -> None:
        with KeyStore(self._path) as store:
            store.revoke_signing_key(key_id)


class LocalDaemon(Keys):
    """A daemon on the test's own loop. Use ``running``.

    Keys count at once: minting and revoking refresh the gate; ``Keys(daemon.data_dir)`` doesn't do so.
    """

    def __init__(self, parts: assembly.Parts, port: int) -> None:
        super().__init__(parts.services.config.data_dir)
        self.parts = parts
        self.config = parts.services.config
        self.services = parts.services
        self.port = port

    @property
    def data_dir(self) -> str:
        return self.config.data_dir

    @property
    def url(self) -> str:
        return f"http://{self.config.host}:{self.port}"

    def segments(self, place: str) -> list[Path]:
        """The segment files in ``active`` or ``sealed``."""
        return sorted(Path(self.data_dir, place).rglob("*.ndjson.zst"))

    def key(self, scope: Scope = "all", *, tenant: str = "acme", origins: Sequence[str] = ()) -> str:
        key = super().key(scope, tenant=tenant, origins=origins)
        self.services.gate.refresh()
        return key

    def revoke(self, key: str) -> None:
        super().revoke(key)
        self.services.gate.refresh()

    def signing_key(self, *, tenant: str = "acme", key_id: str | None = None) -> SigningKeyRow:
        row = super().signing_key(tenant=tenant, key_id=key_id)
        self.services.gate.refresh()
        return row

    def revoke_signing_key(self, key_id: str) -> None:
        super().revoke_signing_key(key_id)
        self.services.gate.refresh()


@contextlib.asynccontextmanager
async def running(
    data_dir: Path | str,
    *,
    before_recovery: Callable[[LocalDaemon], Any] | None = None,
    bounds: Bounds | None = None,
    seams: assembly.Seams | None = None,
    **settings: Any,
) -> AsyncIterator[LocalDaemon]:
    """Serve ``data_dir`` on a free port until the block ends; then stop as SIGTERM would have it.

    ``settings`` are those of ``Config``; flushes come early by default, so that tests needn't wait.
    ``before_recovery`` is called, and awaited if need be, when the daemon listens but is not ready yet.
    """
    # No reserve: a test machine whose disk happens to be nearly full is not what is tested.
    settings = {"flush_age_ms": 20, "port": 0, "data_dir": str(data_dir), "disk_reserve_bytes": 0} | settings
    config = msgspec.convert(settings, Config)
    with lock_data_dir(config.data_dir), watched() as long_turns:
        async with contextlib.AsyncExitStack() as stack:
            with as_daemon():
                store = stack.enter_context(KeyStore(layout.keys_path(config.data_dir)))
                parts = await assembly.make_parts(config, store, stack, seams)
                services = parts.services
                services.bounds = bounds or services.bounds
                port = await listen(config, services, stack)
                keys = asyncio.create_task(assembly.watch_keys(services))
                stack.push_async_callback(daemon._cancel, keys)
            local = LocalDaemon(parts, port)
            if before_recovery is not None:
                waiting = before_recovery(local)
                if asyncio.iscoroutine(waiting):
                    await waiting
            with as_daemon():
                await assembly.bring_up_to_date(parts)
                tasks = await services.registry.start()
                mine = [keys, *assembly.start_tasks(parts)]
                services.ready.set()
            try:
                yield local
            finally:
                ended = [task for task in (*tasks, *mine) if task.done()]
                services.is_stopping = True
                for task in mine:
                    task.cancel()
                await asyncio.gather(*mine, return_exceptions=True)
                assert not ended, f"a task of the daemon ended by itself: {ended}"
    assert not long_turns, long_turns


if BEAT_IS_AT_CEILING:
    Beat.adapts = False

ON_ASYNCIO = [
    "-c",
    "import asyncio, runpy, uvloop; uvloop.run = asyncio.run; "
    "import os; from rrd.http.beat import Beat; Beat.adapts = not os.environ.get('TESTS_BEAT_AT_CEILING'); "
    "runpy.run_module('rrd', run_name='__main__', alter_sys=True)",
]


def copy_data(source: str | Path, target: str | Path) -> None:
    """Copy a data directory, also one that a process which was killed left: a socket can't be copied."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.sock"))


class Launch(NamedTuple):
    """How a process is started."""

    stdin: int = subprocess.DEVNULL
    handles_max: int | None = None
    """The hard limit of open files (RLIMIT_NOFILE); None: that of the test."""
    uid: int | None = None
    """As whom it runs, where the test runs as root."""
    python: str = sys.executable
    """One that this user may run."""
    passed: socket.socket | None = None
    """A listening socket that it is given as by systemd (sd_listen_fds(3))."""
    environment: Mapping[str, str] = MappingProxyType({})


_LIMITED = 'ulimit -n "$0" && exec "$@"'
PASSED = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); "
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); os.execv(sys.argv[2], sys.argv[2:])"
)
"""Passes the descriptor in its first argument to the program in the others, as systemd would."""


_USUAL = Launch()


class DaemonProcess(Keys):
    """``rrd serve`` as a process of its own, on a free port that it keeps over restarts.

    ``settings`` become ``RRD_*`` variables. What it logs is in ``log()``. Blocking; end it with ``stop``,
    ``kill`` or the ``with`` statement. With ``program = ON_ASYNCIO`` it runs on asyncio's loop, not uvloop's.
    """

    def __init__(self, directory: Path, launch: Launch = _USUAL, /, **settings: object) -> None:
        super().__init__(str(directory / "data"))
        self.program = ["-m", "tests.watched_daemon"]
        self._launch = launch
        self.data_dir = str(directory / "data")
        self.log_path = directory / "rrd.log"
        self.settings = settings
        self.config_file: Path | None = None
        """Settings that ``settings`` don't name."""
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *, deadline_s: float = DEADLINE_S) -> None:
        """Start it; return when it listens and is ready."""
        assert self.process is None
        log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        # INVOCATION_ID keeps it from minting keys and printing them, which a service doesn't do.
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RRD_")},
            "RRD_DISK_RESERVE_BYTES": "0",
            **{f"RRD_{name.upper()}": str(value) for name, value in self.settings.items()},
            "RRD_CONFIG": str(self.config_file or ""),  # Not that of a service on this machine.
            "INVOCATION_ID": "tests",
            "PYTHONPATH": PYTHONPATH,
            **self._launch.environment,
        }
        passed = self._launch.passed
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    # ulimit sets both limits, and exec keeps the process id.
                    *(
                        ()
                        if self._launch.handles_max is None
                        else ("sh", "-c", _LIMITED, str(self._launch.handles_max))
                    ),
                    *(() if passed is None else (sys.executable, "-c", PASSED, str(passed.fileno()))),
                    *(self._launch.python, *self.program, "serve"),
                    *("--data-dir", self.data_dir, "--port", str(self.port)),
                ],
                stdin=self._launch.stdin,
                pass_fds=() if passed is None else (passed.fileno(),),
                user=self._launch.uid,
                group=self._launch.uid,
                extra_groups=None if self._launch.uid is None else [],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=environment,
            )
        end = time.monotonic() + deadline_s
        while True:
            told = self.log_path.read_bytes()[log_start:].decode()
            if found := re.search(r" listening .*port=(\d+)", told):
                self.port = int(found[1])
                return
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"rrd serve did not start:\n{told}")
            time.sleep(0.01)

    def stop(self, *, number: int = signal.SIGTERM, timeout_s: float = DEADLINE_S) -> int:
        """Ask it to stop and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.wait(timeout_s=timeout_s)

    def wait(self, *, timeout_s: float = DEADLINE_S) -> int:
        """Return its exit code once it has ended."""
        assert self.process is not None
        code = self.process.wait(timeout_s)
        self.process = None
        self.check_turns()
        return code

    def pause(self) -> None:
        """Stop it where it is (SIGSTOP); return when it stands."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def go_on(self) -> None:
        """Let it run again after ``pause``."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """``kill -9``, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def check_turns(self) -> None:
        """Fail if a turn of its loop took too long so far."""
        long_turns = long_turns_of(self.log())
        assert not long_turns, long_turns

    def log(self) -> str:
        return self.log_path.read_text()

    def wait_for_log(self, word: str, *, deadline_s: float = DEADLINE_S) -> str:
        """Return the log once it holds ``word``."""
        end = time.monotonic() + deadline_s
        while word not in (told := self.log()):
            assert time.monotonic() < end, f"waited {deadline_s} s in vain for {word!r} in the log:\n{told}"
            time.sleep(0.01)
        return told

    def __enter__(self) -> DaemonProcess:
        if self.process is None:
            self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.kill()
        if kind is None:
            self.check_turns()
