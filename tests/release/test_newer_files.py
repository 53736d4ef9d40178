"""What docs/upgrade.md promises of an rrd that finds the files of a newer one."""

from __future__ import annotations

import re
import sqlite3
import urllib.request
import uuid
from contextlib import closing
from pathlib import Path

import pytest

from rrd import tombstones
from rrd.access import schema
from rrd.console import sessions
from rrd.index.sqlite.migrations import FIRST_VERSION, scripts
from tests.harness import DaemonProcess

NEWER = 1000


def _started_once(directory: Path) -> tuple[DaemonProcess, str, str]:
    """Return a daemon that has stored an event and stopped, a key, and the path of its recording."""
    daemon = DaemonProcess(directory)
    key = daemon.key()
    daemon.start(deadline_s=60)
    path = f"/recordings/{uuid.uuid4()}"
    _ask(daemon, key, f"{path}/ingest", b'{"type":5,"timestamp":1,"data":{"tag":"t","payload":1}}\n')
    assert daemon.stop() == 0
    return daemon, key, path


def _ask(daemon: DaemonProcess, key: str, path: str, body: bytes | None = None) -> bytes:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    with urllib.request.urlopen(
        urllib.request.Request(daemon.url + path, body, headers), timeout=20
    ) as answer:
        return bytes(answer.read())


def _make_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {NEWER}")


@pytest.mark.parametrize("name", ["keys.sqlite", "tombstones.sqlite"])
def test_what_can_not_be_made_again_stops_the_start_and_stays_as_it_is(tmp_path: Path, name: str) -> None:
    daemon, _, _ = _started_once(tmp_path)
    path = tmp_path / "data" / name
    _make_newer(path)
    with pytest.raises(
        RuntimeError, match=rf"{name}: made by a newer rrd \(version {NEWER}.*docs/upgrade\.md"
    ):
        daemon.start()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchall() == [(NEWER,)]


def test_an_index_is_set_aside_and_made_again(tmp_path: Path) -> None:
    daemon, key, path = _started_once(tmp_path)
    before = _ask_after_start(daemon, key, path)
    _make_newer(tmp_path / "data/index.sqlite")
    assert _ask_after_start(daemon, key, path) == before
    assert "index_damaged" in daemon.log()
    assert list((tmp_path / "data").glob("index.sqlite.damaged-*"))


def _ask_after_start(daemon: DaemonProcess, key: str, path: str) -> bytes:
    daemon.start(deadline_s=60)
    try:
        return _ask(daemon, key, f"{path}/events")
    finally:
        daemon.stop()


def test_the_page_names_the_versions_that_there_are() -> None:
    page = (Path(__file__).parents[2] / "docs/upgrade.md").read_text("utf-8")
    named = dict(re.findall(r"^\| `(\w+)\.sqlite` \| (\d+) \|", page, re.MULTILINE))
    assert {name: int(version) for name, version in named.items()} == {
        "index": FIRST_VERSION + len(scripts()) - 1,
        "keys": schema.SCHEMA_VERSION,
        "tombstones": tombstones.SCHEMA_VERSION,
        "console": sessions._SCHEMA_VERSION,
    }
