"""An index lost while the store was another: what is in the right one stays, and can be added again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from rrd import layout
from rrd.cli import main
from rrd.objects.identity import MARKER_KEY
from tests.exchange.exchange_lab import Client, event
from tests.harness import DaemonProcess, LocalDaemon, running, until
from tests.http.api import visiting
from tests.samples import ndjson, new_id

EVENTS = [event(number) for number in range(100)]


def objects_below(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.ndjson.zst"))


async def lived(daemon: LocalDaemon, recording_id: str, lines: list[bytes]) -> None:
    """Send events, and wait until they are in an object."""
    store = Path(daemon.config.objects_dir)
    before = len(objects_below(store))
    async with visiting(daemon) as api:
        await api.post(recording_id, ndjson(lines))
    await until(lambda: len(objects_below(store)) > before, what="an object")
    await until(lambda: not (daemon.segments("active") or daemon.segments("sealed")), what="an eviction")


async def two_lives(tmp_path: Path, recording_id: str) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    data_dir = tmp_path / "data"
    async with running(data_dir, objects_dir=str(right), seal_idle_s=1, rollup_delay_s=0) as daemon:
        await lived(daemon, recording_id, EVENTS)
    # The index is lost and the directory is not mounted. Its mark is what would have stopped the start.
    for lost in (layout.identity_path(str(data_dir)), *map(str, data_dir.glob("index.sqlite*"))):
        os.unlink(lost)
    async with running(data_dir, objects_dir=str(wrong), seal_idle_s=1, rollup_delay_s=0) as daemon:
        await lived(daemon, recording_id, [event(200)])
    os.unlink(layout.identity_path(str(data_dir)))
    # The setting is put right, and the new life's objects are with the old one's.
    for path in objects_below(wrong):
        target = right / path.relative_to(wrong)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)
    (right / MARKER_KEY).unlink()


def test_objects_of_another_life_stay_and_their_events_can_be_added_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recording_id = new_id()
    asyncio.run(two_lives(tmp_path, recording_id))
    right = tmp_path / "right"
    before = {path: path.read_bytes() for path in objects_below(right)}
    assert len(before) == 2
    monkeypatch.setenv("RRD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("RRD_OBJECTS_DIR", str(right))
    for argv in (["verify"], ["verify", "--mend"], ["verify", "--deep", "--mend"]):
        assert main(argv) == 1
        told = capsys.readouterr().out
        assert "object-of-another-life" in told
        assert "it holds 100 events" in told
        assert {path: path.read_bytes() for path in objects_below(right)} == before
    old = max(before, key=lambda path: len(before[path]))
    with DaemonProcess(tmp_path, objects_dir=str(right)) as daemon:
        client = Client(daemon, "acme")
        monkeypatch.setenv("RRD_PORT", str(daemon.port))
        for stored in ("100 stored, 0 repeated", "0 stored, 100 repeated"):
            assert main(["import", "--tenant", "acme", "--recording", recording_id, str(old)]) == 0
            assert stored in capsys.readouterr().out
        found = client.call("GET", f"/recordings/{recording_id}/events")
    assert [each["timestamp"] for each in found] == [*range(100), 200]
