"""What browsers run, built if it has to be: tests of it skip where npm is not installed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def built_assets() -> None:
    """Run ``make assets``, one test process after the other: it does nothing if all is up to date."""
    if shutil.which("npm") is None:
        if os.environ.get("TESTS_REQUIRE_TOOLS") == "1":
            pytest.fail("TESTS_REQUIRE_TOOLS=1, but npm is not installed")
        pytest.skip("not installed: npm")
    with (ROOT / "assets/package-lock.json").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = subprocess.run(
            ["make", "--silent", "assets"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
