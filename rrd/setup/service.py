"""A daemon to talk to: the system's service, one that runs already, or one of setup's own for as long as it
needs it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO
from urllib.parse import urlsplit

from rrd.config import Config
from rrd.disk.shared_files import make_shared_dirs, replace_shared
from rrd.errors import ConfigError
from rrd.setup.report import StepReport
from rrd.setup.settings_file import shipped
from rrd.setup.tools import SetupFailed, find_tool, run_tool
from rrd.setup.trial import wait_until_ready
from rrd.startup.recovery import is_held

UNIT = "rrd.service"
_OTHER_UNITS = ("rrd.socket", "rrd-backup.service", "rrd-backup.timer")

_UNITS = "/etc/systemd/system"
"""Where an administrator's units are (systemd.unit(5))."""
_SYSTEMCTL_TIMEOUT_S = 120.0
_READY_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 60.0
"""The unit's TimeoutStopSec: what is in memory is flushed."""
_SUPERVISORS = ("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")
"""Variables that are meant for this process, and for no daemon that it starts."""
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def has_service(report: StepReport) -> bool:
    """Tell whether systemd runs here (sd_booted(3)), and knows rrd's unit, which is made if it is missing.

    A package brings its own. An installation by pip has a command beside its interpreter.
    """
    if not os.path.isdir("/run/systemd/system") or find_tool("systemctl") is None:
        return False
    if _systemctl("cat", UNIT):
        return True
    command = os.path.join(os.path.dirname(sys.executable), "rrd")
    if not os.access(command, os.X_OK):
        return False
    make_shared_dirs(_UNITS)
    # The others are an administrator's to enable.
    for name in (*_OTHER_UNITS, UNIT):
        replace_shared(os.path.join(_UNITS, name), unit_for(name, command).encode())
    _require("daemon-reload")
    report.done(f"{os.path.join(_UNITS, UNIT)} made")
    return True


def unit_for(name: str, command: str) -> str:
    """Return a shipped unit for a command that is somewhere else than a package has it."""
    return re.sub(r"^(ExecStart=)\S+", rf"\g<1>{command}", shipped(name), flags=re.MULTILINE)


def url_of_daemon(config: Config) -> str:
    """Return where the daemon of these settings is reached on this machine. Raises ``ConfigError``."""
    if not config.port:
        raise ConfigError(
            "port = 0 is any port, and a page has to know which. Set a port, and run rrd setup again"
        )
    from rrd.exchange.posting import url_of  # noqa: PLC0415 - aiohttp

    return url_of(config.host, config.port)


def ensure_service(url: str, *, has_new_settings: bool, report: StepReport) -> None:
    """Have the system start rrd now and at each boot; restart it if its settings have changed."""
    was_active = _systemctl("is-active", "--quiet", UNIT)
    was_enabled = _systemctl("is-enabled", "--quiet", UNIT)
    if not (was_active and was_enabled):
        _require("enable", "--now", UNIT)
        report.done(f"{UNIT} enabled and started")
    elif has_new_settings:
        _require("restart", UNIT)
        report.done(f"{UNIT} restarted, for the changed settings")
    else:
        report.same(f"{UNIT} runs, and starts at each boot")
    wait_until_ready(url, lambda: True, timeout_s=_READY_TIMEOUT_S)


@contextlib.contextmanager
def a_daemon(
    config: Config, url: str, flags: Sequence[str], *, has_new_settings: bool, report: StepReport
) -> Iterator[bool]:
    """Have a daemon serve the data directory while the block runs: one that is there, or one for the block.

    Yields whether it goes on after the block.
    """
    if is_held(config.data_dir):
        report.same(f"a daemon serves {config.data_dir}")
        if has_new_settings:
            report.note("it runs with the settings of before: restart it")
        wait_until_ready(url, lambda: True, timeout_s=_READY_TIMEOUT_S)
        yield True
        return
    _require_free(config, url)
    with tempfile.TemporaryFile() as log, _running(config, flags, log) as process:
        wait_until_ready(url, lambda: process.poll() is None, timeout_s=_READY_TIMEOUT_S)
        if process.poll() is not None:
            raise SetupFailed(_last_words(log))
        report.works("a daemon starts, and runs for the trial alone")
        yield False


def _require_free(config: Config, url: str) -> None:
    """Raise ``SetupFailed`` where another program listens: a trial must not take it for the daemon."""
    parts = urlsplit(url)
    with contextlib.suppress(OSError), socket.create_connection((parts.hostname, parts.port), timeout=5):
        raise SetupFailed(
            f"another program listens on {config.host}:{config.port}. Stop it, or choose another port in the "
            "settings, and run rrd setup again"
        )


@contextlib.contextmanager
def _running(config: Config, flags: Sequence[str], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon as the owner of the data directory. It ends with the block, or with this process."""
    # -P: what lies in the current directory is no part of rrd.
    command = [sys.executable, "-P", "-m", "rrd", "serve", *flags]
    owner = os.stat(config.data_dir)
    is_other = os.geteuid() == 0 and owner.st_uid != 0
    try:
        process = subprocess.Popen(  # noqa: S603 - no shell, and our own interpreter
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=_environment(os.environ),
            user=owner.st_uid if is_other else None,
            group=owner.st_gid if is_other else None,
            extra_groups=[] if is_other else None,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - this process has one thread
        )
    except PermissionError:
        raise SetupFailed(
            f"user {owner.st_uid}, who owns {config.data_dir}, may not run {sys.executable}. Install rrd "
            "where each user may read it, like /opt/rrd"
        ) from None
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_parent() -> None:
    """Have the kernel stop the daemon if setup is killed: no daemon is left behind without a supervisor."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in inherited.items() if not name.startswith(_SUPERVISORS)}
    # As a service has it: such a daemon makes and prints no keys.
    return {**kept, "INVOCATION_ID": "rrd-setup"}


def _last_words(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").strip().splitlines()
    # The command line's own error names what to do next; a log line tells when and what.
    told = next(
        (line for line in reversed(lines) if line.startswith("rrd: ")), lines[-1] if lines else "no word"
    )
    return f"the daemon did not start: {told.removeprefix('rrd: ')}"


def _systemctl(*words: str) -> bool:
    return run_tool("systemctl", *words, timeout_s=_SYSTEMCTL_TIMEOUT_S).code == 0


def _require(*words: str) -> None:
    done = run_tool("systemctl", *words, timeout_s=_SYSTEMCTL_TIMEOUT_S)
    if done.code != 0:
        raise SetupFailed(
            f"`systemctl {' '.join(words)}` failed: {done.last_line}. `journalctl -u {UNIT} -n 20` says why"
        )
