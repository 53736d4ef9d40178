"""``rrd serve`` as a person types it: its streams, its first keys, a start that fails."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def serve(data_dir: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "rrd", "serve", "--data-dir", str(data_dir), "--port", "0"],
        cwd=ROOT,
        env=os.environ | {"RRD_CONFIG": ""} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return line
    raise AssertionError(f"the daemon ended without saying {word!r}")


def failed_start(data_dir: Path, *flags: str) -> str:
    """Return what a start says that ends by itself with 1."""
    process = subprocess.run(
        [sys.executable, "-m", "rrd", "serve", "--data-dir", str(data_dir), *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    return process.stderr
