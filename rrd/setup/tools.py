"""Commands of the system that ``rrd setup`` calls, each with an end to its patience."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import NamedTuple

from rrd.errors import RrdError

_ROOTS_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Behind the caller's: ``su`` leaves root with a user's PATH, where useradd and nginx are missing."""


class SetupFailed(RrdError):
    """A step could not be done. ``str(error)`` says why and what to do next."""

    code = "setup_failed"


class ToolAnswer(NamedTuple):
    """How a command ended, and what it said, both streams together."""

    code: int
    said: str

    @property
    def last_line(self) -> str:
        lines = self.said.strip().splitlines()
        return lines[-1] if lines else f"exit code {self.code}"


def find_tool(name: str) -> str | None:
    """Return where a command is; None if it isn't installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_ROOTS_PATH}")


def run_tool(*command: str, timeout_s: float) -> ToolAnswer:
    """Run a command to its end. Raises ``SetupFailed`` if it isn't installed, or takes too long."""
    name, *arguments = command
    path = find_tool(name)
    if path is None:
        raise SetupFailed(f"{name} is not installed. Install it, and run rrd setup again")
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and names that rrd chose
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SetupFailed(
            f"`{' '.join(command)}` did not end within {timeout_s:g} s. Run it by hand to see why, then rrd "
            "setup again"
        ) from None
    return ToolAnswer(done.returncode, done.stdout)
