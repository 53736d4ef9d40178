"""A daemon whose ground is taken away: nothing is acked that is not kept, and nothing ends that can go on."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import DEADLINE_S, ROOT, DaemonProcess
from tests.samples import an_event, new_id


class Sender:
    def __init__(self, daemon: DaemonProcess, key: str) -> None:
        self._daemon = daemon
        self._key = key

    def ask(self, target: str, body: bytes | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/x-ndjson"}
        request = urllib.request.Request(self._daemon.url + target, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def send(self, recording_id: str, number: int) -> int:
        return self.ask(f"/recordings/{recording_id}/ingest", an_event(number))[0]


@pytest.fixture
def daemon(tmp_path: Path) -> Any:
    process = DaemonProcess(tmp_path)
    (tmp_path / "data").mkdir(mode=0o700)
    with process:
        yield process


@pytest.fixture
def sender(daemon: DaemonProcess) -> Sender:
    made = Sender(daemon, daemon.key(tenant="acme"))
    end = time.monotonic() + DEADLINE_S
    while made.ask("/recordings")[0] != 200:  # The gate takes a moment to know a new key.
        assert time.monotonic() < end
        time.sleep(0.02)
    return made


def deleted(data: Path) -> None:
    shutil.rmtree(data)


def emptied(data: Path) -> None:
    for entry in data.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def moved(data: Path) -> None:
    data.rename(data.parent / "away")


def replaced(data: Path) -> None:
    moved(data)
    shutil.copytree(data.parent / "away", data)


@pytest.mark.table
@pytest.mark.parametrize("takes_away", [deleted, emptied, moved, replaced])
def test_nothing_is_acked_into_a_data_directory_that_is_gone(
    daemon: DaemonProcess, sender: Sender, takes_away: Callable[[Path], None]
) -> None:
    recordings = [new_id() for _ in range(4)]
    for recording_id in recordings:
        assert sender.send(recording_id, 1) == 200
    takes_away(Path(daemon.data_dir))
    # Those whose files are open, and a new one.
    assert {sender.send(recording_id, 2) for recording_id in (*recordings, new_id())} <= {503, 500}
    status, body = sender.ask("/-/ready")
    assert status == 503
    assert "not the one that was opened" in body["error"]["message"]
    assert daemon.data_dir not in body["error"]["message"]
    daemon.wait_for_log("data_dir_gone")
    status, body = sender.ask(f"/recordings/{recordings[0]}/ingest", an_event(3))
    assert (status, body["error"]["code"]) == (503, "data_dir_gone")


def test_a_data_directory_that_comes_back_is_written_to_again(daemon: DaemonProcess, sender: Sender) -> None:
    data, recording_id = Path(daemon.data_dir), new_id()
    assert sender.send(recording_id, 1) == 200
    data.rename(data.parent / "away")
    assert sender.send(recording_id, 2) in {500, 503}
    assert sender.ask("/-/ready")[0] == 503
    daemon.wait_for_log("data_dir_gone")
    (data.parent / "away").rename(data)
    end = time.monotonic() + DEADLINE_S
    while sender.send(recording_id, 2) != 200:
        assert time.monotonic() < end
    daemon.wait_for_log("data_dir_back")
    _, events = sender.ask(f"/recordings/{recording_id}/events")
    assert [event["timestamp"] for event in events] == [json.loads(an_event(n))["timestamp"] for n in (1, 2)]
    assert daemon.stop() == 0
    # What was not acked, and came again, is there once, even to a start that knows nothing but the files.
    (data / "index.sqlite").unlink()
    daemon.start()
    assert sender.ask(f"/recordings/{recording_id}/events") == (200, events)


def test_a_segment_that_is_deleted_while_it_is_open_takes_no_ack(
    daemon: DaemonProcess, sender: Sender
) -> None:
    recording_id = new_id()
    assert sender.send(recording_id, 1) == 200
    (segment,) = (Path(daemon.data_dir) / "active").glob(f"*{recording_id}*")
    segment.unlink()
    assert sender.send(recording_id, 2) == 500
    assert sender.send(recording_id, 2) == 200
    assert list((Path(daemon.data_dir) / "active").glob(f"*{recording_id}.000002*"))
    assert daemon.stop() == 0


def test_a_locked_index_is_waited_for(daemon: DaemonProcess, sender: Sender) -> None:
    # SQLite itself gives up after 5 s, which ended the daemon.
    recording_id, answers = new_id(), []
    assert sender.send(recording_id, 1) == 200
    with contextlib.closing(
        sqlite3.connect(Path(daemon.data_dir) / "index.sqlite", isolation_level=None)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        sending = threading.Thread(target=lambda: answers.append(sender.send(recording_id, 2)))
        sending.start()
        daemon.wait_for_log("index_locked")
        assert not answers
        other.execute("ROLLBACK")
        sending.join(DEADLINE_S)
    assert answers == [200]
    assert "task_failed" not in daemon.log()
    assert daemon.stop() == 0


_ENDS = """
import asyncio
from rrd.config import Config
from rrd.daemon.run import _until_told

class NoMemory(MemoryError):
    def __repr__(self):
        raise MemoryError

async def fail():
    raise NoMemory

async def main():
    try:
        await _until_told(Config(), asyncio.Event(), [asyncio.create_task(fail())])
    finally:
        await asyncio.Event().wait()  # As a stop that waits for what the failed task owes.

asyncio.run(main())
"""


def test_a_daemon_whose_task_has_failed_ends_even_if_it_cannot_say_so() -> None:
    done = subprocess.run([sys.executable, "-c", _ENDS], cwd=ROOT, timeout=DEADLINE_S, check=False)
    assert done.returncode == 1
