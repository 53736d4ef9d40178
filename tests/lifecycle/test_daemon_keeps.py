"""What others, and clocks, can make a daemon remove: the real process, from outside.

Method: ``rrd serve`` with a wall clock that is wrong by as much as a file says. A round of retention comes
at each start, so a restart stands for the minute between two rounds.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from pathlib import Path

import pytest

from tests.harness import DEADLINE_S, DaemonProcess
from tests.samples import an_event, new_id

SKEWED = [
    "-c",
    "import os, runpy, time; real = time.time_ns; path = os.environ['SKEW_FILE']; "
    "time.time_ns = lambda: real() + int(float(open(path).read()) * 1e9); "
    "runpy.run_module('rrd', run_name='__main__', alter_sys=True)",
]
DAY_S = 86_400


def ask(daemon: DaemonProcess, key: str, target: str, body: bytes | None = None) -> object:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    request = urllib.request.Request(daemon.url + target, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def listed(daemon: DaemonProcess, key: str) -> set[str]:
    found = ask(daemon, key, "/recordings?limit=100")
    assert isinstance(found, dict)
    return {row["recordingId"] for row in found["recordings"]}


def restart(daemon: DaemonProcess) -> None:
    assert daemon.stop() == 0, daemon.log()
    daemon.start()


def fill(daemon: DaemonProcess, key: str, count: int, *, size: int = 100) -> set[str]:
    ids = {new_id() for _ in range(count)}
    for recording_id in ids:
        ask(daemon, key, f"/recordings/{recording_id}/ingest", an_event(1, text=os.urandom(size // 2).hex()))
    return ids


def wait_for_more(daemon: DaemonProcess, word: str, count: int) -> None:
    """Wait until the log holds ``word`` ``count`` times."""
    end = time.monotonic() + DEADLINE_S
    while daemon.log().count(word) < count:
        assert time.monotonic() < end, daemon.log()
        time.sleep(0.01)


@pytest.fixture
def skew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "skew"
    set_skew(path, 0)
    monkeypatch.setenv("SKEW_FILE", str(path))
    return path


def set_skew(path: Path, seconds: int) -> None:
    """Put the clock ahead. The daemon reads the file at each look, and must never find it empty."""
    new = path.with_suffix(".new")
    new.write_text(str(seconds))
    new.replace(path)


def test_a_month_too_late_removes_nothing_until_it_is_confirmed(tmp_path: Path, skew: Path) -> None:
    daemon = DaemonProcess(tmp_path, retention_age="30d")
    daemon.program = SKEWED
    (tmp_path / "data").mkdir(mode=0o700)
    key = daemon.key(tenant="acme")
    with daemon:
        ids = fill(daemon, key, 20)
        restart(daemon)
        for number, days in enumerate((31, 400, 31), 1):
            set_skew(skew, days * DAY_S)
            restart(daemon)
            wait_for_more(daemon, "retention_held what=clock", number)
            assert listed(daemon, key) == ids
        set_skew(skew, 0)
        restart(daemon)
        daemon.wait_for_log("retention_not_held what=clock")
        assert listed(daemon, key) == ids
        assert daemon.stop() == 0


def test_a_flood_in_one_tenant_takes_nothing_from_another(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, retention_bytes_max=200_000, seal_idle_s=1)
    (tmp_path / "data").mkdir(mode=0o700)
    small, flood = daemon.key(tenant="small"), daemon.key(tenant="flood")
    with daemon:
        kept = fill(daemon, small, 20)
        flooding = fill(daemon, flood, 60, size=20_000)
        # What is still live stays: the first start after that has something to remove.
        while " expired recording=" not in daemon.log():
            assert daemon.log().count(" listening ") < 20
            restart(daemon)
            wait_for_more(daemon, " sealed segments=", 1)
        daemon.wait_for_log(" retention recordings=")
        assert listed(daemon, small) == kept
        assert len(listed(daemon, flood)) < len(flooding)
        assert daemon.stop() == 0
