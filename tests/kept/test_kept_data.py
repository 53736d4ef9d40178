"""Data directories of earlier days: each starts, reads back byte for byte, rolls up, and verifies clean.

``make`` wrote them with the daemon of the day that an archive is named after, up to ``kill -9``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from tests.exchange.exchange_lab import Client
from tests.harness import DEADLINE_S, ROOT, DaemonProcess
from tests.kept.answers import TENANTS, answers

ARCHIVES = sorted(Path(__file__).parent.glob("*.tar.xz"))
ERASED = "00000000-0000-4000-8000-000000000005"


def _without_sizes(told: dict[str, Any]) -> dict[str, Any]:
    """Return what doesn't depend on how the events are stored."""
    return {tenant: told[tenant] | {"statistics": None} for tenant in TENANTS}


def _segments(data: Path) -> list[Path]:
    return [path for place in ("active", "sealed") for path in (data / place).rglob("*.ndjson.zst")]


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.partition(".")[0])
def test_data_of_an_earlier_day_reads_back_rolls_up_and_verifies_clean(archive: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(archive, tmp_path)
    expected = json.loads((tmp_path / "expected.json").read_text())
    data = tmp_path / "data"
    objects = {path: path.read_bytes() for path in (data / "objects").rglob("*.ndjson.zst")}
    early: dict[str, object] = {"flush_age_ms": 10, "seal_idle_s": 1, "seal_closed_s": 0, "rollup_delay_s": 0}

    with DaemonProcess(tmp_path, flush_age_ms=10, rollup_delay_s=10**9) as daemon:
        assert answers(daemon) == expected
        with pytest.raises(urllib.error.HTTPError) as refused:
            Client(daemon, TENANTS[1]).post(ERASED, [b'{"type":3,"timestamp":1,"data":{}}'])
        refused.value.close()
        assert refused.value.code == 410
        assert daemon.stop() == 0
        daemon.settings = early
        daemon.start()
        end = time.monotonic() + DEADLINE_S
        while _segments(data):
            assert time.monotonic() < end, _segments(data)
            time.sleep(0.05)
        assert _without_sizes(answers(daemon)) == _without_sizes(expected)
        assert daemon.stop() == 0

    assert {path: path.read_bytes() for path in objects} == objects
    verified = subprocess.run(
        [sys.executable, "-m", "rrd", "verify", "--deep", "--data-dir", str(data)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
