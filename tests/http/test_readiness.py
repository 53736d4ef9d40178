"""``/-/ready`` while writes fail: what breaks × what it says × how it gets well, on a real disk.

As root: the kinds need mounts, attributes and another user's directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.harness import DEADLINE_S, DaemonProcess
from tests.samples import an_event, new_id

pytestmark = [
    pytest.mark.disk,  # A file system in memory has no such attributes.
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and set attributes"),
]

Breaks = Callable[[Path], AbstractContextManager[None]]


def run(*argv: str | Path) -> None:
    done = subprocess.run([*map(str, argv)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"can't be done here: {' '.join(map(str, argv))}: {done.stderr.strip()}")


def immutable(name: str) -> Breaks:
    @contextlib.contextmanager
    def breaks(data: Path) -> Iterator[None]:
        run("chattr", "+i", data / name)
        try:
            yield
        finally:
            run("chattr", "-i", data / name)

    return breaks


@contextlib.contextmanager
def read_only_mount(data: Path) -> Iterator[None]:
    active = data / "active"
    run("mount", "--bind", active, active)
    try:
        run("mount", "-o", "remount,bind,ro", active)
        yield
    finally:
        run("umount", active)


@contextlib.contextmanager
def gone(data: Path) -> Iterator[None]:
    (data / "active").rename(data / "away")
    yield
    (data / "away").rename(data / "active")


@contextlib.contextmanager
def full(data: Path) -> Iterator[None]:
    ballast = data / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    yield
    ballast.unlink()


@contextlib.contextmanager
def nearly_full(data: Path) -> Iterator[None]:
    status = os.statvfs(data)
    ballast = data / "ballast"
    ballast.write_bytes(bytes(status.f_bavail * status.f_frsize - (2 << 20)))
    yield
    ballast.unlink()


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(data / "index.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


class Kind(NamedTuple):
    breaks: Breaks
    status: int
    """What a POST is answered."""
    reason: str
    """Part of what ``/-/ready`` says."""
    reserve_bytes: int = 0


KINDS = {
    "active/ immutable": Kind(immutable("active"), 500, "active/ in the data directory can't be written"),
    "active/ read-only": Kind(read_only_mount, 500, "mounted read-only"),
    "active/ gone": Kind(gone, 500, "active/ in the data directory is not there"),
    "index immutable": Kind(immutable("index.sqlite-wal"), 500, "the index can't be written"),
    "index locked": Kind(locked, 503, ""),
    "disk full": Kind(full, 507, "the disk is full"),
    "disk full, with a reserve": Kind(full, 507, "the disk is full", reserve_bytes=1 << 20),
}


@pytest.fixture
def place(tmp_path: Path, kind: str) -> Iterator[Path]:
    """A directory on a file system that can be broken as ``kind`` is; a small one if it is to be filled."""
    if "full" not in kind:
        yield tmp_path
        return
    run("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", tmp_path)
    try:
        yield tmp_path
    finally:
        run("umount", tmp_path)


class Visitor:
    def __init__(self, daemon: DaemonProcess) -> None:
        self._daemon = daemon
        self._key = daemon.key(tenant="acme")

    def ask(self, target: str, body: bytes | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/x-ndjson"}
        request = urllib.request.Request(self._daemon.url + target, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def send(self, recording_id: str) -> int:
        """Send something that doesn't fit into what a full disk has left in half a page."""
        body = b"\n".join(an_event(n, text=os.urandom(3000).hex()) for n in range(20))
        return self.ask(f"/recordings/{recording_id}/ingest", body)[0]

    def ready(self) -> tuple[int, str]:
        status, body = self.ask("/-/ready")
        if status == 503:
            assert body["error"]["code"] == "not_ready"
            return status, body["error"]["message"]
        return status, body["status"]

    def wait_until_ready(self) -> None:
        end = time.monotonic() + DEADLINE_S
        while (told := self.ready()) != (200, "ready"):
            assert time.monotonic() < end, told
            time.sleep(0.02)


@pytest.mark.table
@pytest.mark.parametrize(("seen", "heals"), [("by a write", "by a probe"), ("by a probe", "by a write")])
@pytest.mark.parametrize("kind", KINDS)
def test_not_ready_while_writes_fail_and_ready_again_after(
    place: Path, kind: str, seen: str, heals: str
) -> None:
    breaks, status, reason, reserve_bytes = KINDS[kind]
    daemon = DaemonProcess(place, disk_reserve_bytes=reserve_bytes)
    (place / "data").mkdir(mode=0o700)
    visitor = Visitor(daemon)  # Its key counts from the start.
    with daemon:
        kept = [new_id()]
        assert visitor.send(kept[0]) == 200
        if seen == "by a write":
            assert visitor.ready() == (200, "ready")
        with breaks(Path(daemon.data_dir)):
            if seen == "by a write":
                assert visitor.send(new_id()) == status
            told, said = visitor.ready()
            assert told == 503
            assert reason in said
            assert ": " in said or "; " in said, f"{said!r} doesn't say what to do"
            assert daemon.data_dir not in said
            assert visitor.ask("/-/healthy")[0] == 200
        if heals == "by a write":
            # The disk's guard looks anew after a moment, and until then refuses what is sent.
            end = time.monotonic() + DEADLINE_S
            while visitor.send(recording_id := new_id()) != 200:
                assert time.monotonic() < end
            kept.append(recording_id)
            if kind != "index locked":  # A probe may still be waiting for the lock.
                assert visitor.ready() == (200, "ready")
        visitor.wait_until_ready()
        assert not (Path(daemon.data_dir) / "active" / ".write-probe").exists()
        for recording_id in kept:
            found, events = visitor.ask(f"/recordings/{recording_id}/events")
            assert (found, len(events)) == (200, 20)
        assert daemon.stop() == 0


@pytest.mark.parametrize("kind", ["disk nearly full"])
def test_the_reserve_of_the_disk_is_a_warning(place: Path, kind: str) -> None:
    """New events are refused, and the daemon is still wanted: for reading, and for erasing."""
    daemon = DaemonProcess(place, disk_reserve_bytes=4 << 20)
    (place / "data").mkdir(mode=0o700)
    visitor = Visitor(daemon)
    with daemon:
        assert visitor.send(new_id()) == 200
        with nearly_full(Path(daemon.data_dir)):
            assert visitor.send(new_id()) == 507
            status, body = visitor.ask("/-/ready")
            assert (status, body["status"]) == (200, "ready")
            assert "the disk is nearly full" in body["warning"]
        visitor.wait_until_ready()
        end = time.monotonic() + DEADLINE_S
        while visitor.ask("/-/ready") != (200, {"status": "ready"}):
            assert time.monotonic() < end
