"""rrd's own wheel holds what is tracked below ``rrd/``, what runs in browsers, and nothing else."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.deb


def test_the_wheel_is_the_tracked_files_and_what_browsers_run(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "wheel", f"ARGS=--output {tmp_path}"],
        cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    tracked = subprocess.run(
        ["git", "ls-files", "rrd"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    built = (path for path in (ROOT / "rrd/assets/built").rglob("*") if path.is_file())
    with zipfile.ZipFile(done.stdout.splitlines()[-1]) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == {*tracked, *(str(path.relative_to(ROOT)) for path in built)}
