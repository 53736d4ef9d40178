"""A backup of a data directory in use, and what a daemon makes of it: a pair."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.error import HTTPError

import msgspec
import pytest

from rrd.backup.backup import run_backup
from rrd.backup.manifest import Manifest
from rrd.backup.restore import Damaged, Restored, run_restore
from rrd.config import Config
from rrd.errors import BadRequest, NotFound
from rrd.progress import Progress
from rrd.tombstones import Tombstones
from tests.exchange.exchange_lab import Client
from tests.harness import DEADLINE_S, DaemonProcess, copy_data
from tests.samples import new_id

pytestmark = pytest.mark.table

QUIET = Progress(quiet=True)
BUSY = {
    "flush_age_ms": 10,
    "seal_idle_s": 1,
    "seal_closed_s": 0,
    "rollup_delay_s": 0,
    "keep_local_s": 0,
    "segment_bytes_max": 1 << 20,
    "disk_reserve_bytes": 0,
}
"""Segments are sealed, rolled up and evicted as soon as can be."""

START_MS = 1_700_000_000_000


def settings(data_dir: Path | str) -> Config:
    return msgspec.convert({"data_dir": str(data_dir)}, Config)


def back_up(data_dir: Path | str, target: Path, *, with_objects: bool = True) -> Manifest:
    return asyncio.run(run_backup(settings(data_dir), str(target), QUIET, with_objects=with_objects))


def restore(source: Path, data_dir: Path, *, tombstones: Path | None = None) -> Restored:
    newer = str(tombstones) if tombstones is not None else None
    return asyncio.run(run_restore(settings(data_dir), str(source), QUIET, tombstones=newer))


def numbered(numbers: range, *, pad: int = 0) -> list[bytes]:
    return [
        json.dumps({"type": 3, "timestamp": START_MS + n, "data": {"n": n, "pad": "x" * pad}}).encode()
        for n in numbers
    ]


def daemon_in(place: Path, **settings: object) -> DaemonProcess:
    place.mkdir(exist_ok=True)
    return DaemonProcess(place, **settings)


@contextlib.contextmanager
def restored(backup: Path, place: Path, **settings: object) -> Iterator[DaemonProcess]:
    """Serve what is in a backup."""
    restore(backup, place / "data")
    with daemon_in(place, **settings) as daemon:
        yield daemon


class Load:
    """Senders that go on and on, each to recordings of its own, and a person who erases some of them.

    Method. Events of a recording count up from 0, so what is read tells at once what is missing, doubled or
    made up. ``acked`` is how many are safe, noted after each answer; ``sent`` is noted before each request.
    """

    def __init__(self, daemon: DaemonProcess, *, senders: int, seed: int) -> None:
        self.client = Client(daemon, "busy")
        self.sent: dict[str, int] = defaultdict(int)
        self.acked: dict[str, int] = defaultdict(int)
        self.erased: set[str] = set()
        self._stopping = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed} {number}"),))
            for number in range(senders)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        assert not self._errors, self._errors

    def wait(self, *, recordings: int, objects_in: Path) -> None:
        """Return when so many more recordings have begun, and something was rolled up."""
        wanted, end = len(self.acked) + recordings, time.monotonic() + DEADLINE_S
        while len(self.acked) < wanted or not any(objects_in.rglob("*.zst")):
            assert not self._errors, self._errors
            assert time.monotonic() < end, "nothing is rolled up"
            time.sleep(0.01)

    def _run(self, chance: random.Random) -> None:
        try:
            while not self._stopping.is_set():
                recording_id = new_id()
                for _ in range(chance.randrange(1, 6)):
                    self._send(recording_id, chance.randrange(1, 200), pad=chance.choice([0, 100, 3000]))
                if chance.random() < 0.3:
                    self._send(recording_id, 1, closing=True)
                if chance.random() < 0.3:
                    self.erased.add(recording_id)
                    self.client.erase(recording_id)
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            self._errors.append(error)

    def _send(self, recording_id: str, count: int, *, pad: int = 0, closing: bool = False) -> None:
        first = self.sent[recording_id]
        self.sent[recording_id] += count
        lines = numbered(range(first, first + count), pad=pad)
        if closing:
            lines[-1] = json.dumps(
                {"type": 5, "timestamp": START_MS + first, "data": {"n": first, "tag": "close-permanent"}}
            ).encode()
        self.client.post(recording_id, lines)
        self.acked[recording_id] += count


@pytest.mark.slow
def test_a_backup_under_load_has_all_that_was_acked_before_once_and_nothing_else(tmp_path: Path) -> None:
    backups = []
    with daemon_in(tmp_path / "a", **BUSY) as daemon, Load(daemon, senders=3, seed=1) as load:
        for number in range(3):
            load.wait(recordings=12, objects_in=Path(daemon.data_dir, "objects"))
            acked, erased = dict(load.acked), set(load.erased)
            manifest = back_up(daemon.data_dir, tmp_path / f"backup-{number}")
            assert manifest.missing == []
            backups.append((tmp_path / f"backup-{number}", acked, erased))
    assert not list(Path(daemon.data_dir).glob("backing-up*"))
    for number, (backup, acked, erased) in enumerate(backups):
        with restored(backup, tmp_path / f"restored-{number}", **BUSY) as again:
            client = Client(again, "busy")
            there = set(client.recordings())
            assert there <= set(load.sent), "made up"
            for recording_id in there | set(acked):
                found = client.numbers(recording_id)
                assert sorted(found) == list(range(len(found))), "missing in the middle, or doubled"
                assert len(found) <= load.sent[recording_id]
                if recording_id in erased:
                    assert not found, "erased before the backup began"
                elif found:
                    # Raises if it is refused: a recording is either there or erased.
                    client.post(recording_id, numbered(range(len(found))))
                if recording_id not in load.erased:
                    assert len(found) >= acked.get(recording_id, 0), "acked before the backup began"
            again.stop()
            assert "corrupt=0 missing=0" in again.log()
    shutil.rmtree(tmp_path)


class Origin(NamedTuple):
    """A data directory that no daemon serves any more, and a backup that was made while one did."""

    data_dir: Path
    recordings: list[str]
    backup: Path


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """Three recordings of ten events: rolled up, sealed or active, as it happened."""
    place = tmp_path_factory.mktemp("origin")
    with DaemonProcess(place, **BUSY) as daemon:
        client, recordings = Client(daemon, "acme"), [new_id() for _ in range(3)]
        for recording_id in recordings:
            client.post(recording_id, numbered(range(10)))
            client.tell(recording_id, userId="u")
        back_up(daemon.data_dir, place / "backup")
        daemon.kill()
    return Origin(place / "data", recordings, place / "backup")


@pytest.fixture
def backup(origin: Origin, tmp_path: Path) -> Path:
    """A copy of the backup, to be spoilt."""
    return Path(shutil.copytree(origin.backup, tmp_path / "backup"))


@pytest.fixture
def daemon(origin: Origin, tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon on a copy of the data directory."""
    copy_data(origin.data_dir, tmp_path / "a" / "data")
    with DaemonProcess(tmp_path / "a", **BUSY) as process:
        yield process


def test_a_stopped_daemon_is_backed_up_as_well(origin: Origin, tmp_path: Path) -> None:
    assert back_up(origin.data_dir, tmp_path / "backup").recordings == 3
    with restored(tmp_path / "backup", tmp_path / "b") as again:
        client = Client(again, "acme")
        assert {recording_id: client.numbers(recording_id) for recording_id in origin.recordings} == {
            recording_id: list(range(10)) for recording_id in origin.recordings
        }
        assert client.metadata(origin.recordings[0]) == {"userId": ("u", 1)}
        client.post(origin.recordings[0], numbered(range(12)))
        assert client.numbers(origin.recordings[0]) == list(range(12))


def test_blocks_that_a_power_cut_took_out_of_the_index_are_backed_up(tmp_path: Path) -> None:
    with daemon_in(tmp_path / "a", flush_age_ms=10) as daemon:
        client, known, new = Client(daemon, "acme"), new_id(), new_id()
        client.post(known, numbered(range(5)))
        before = tmp_path / "index-before"
        back_up(daemon.data_dir, before)
        client.post(known, numbered(range(5, 9)))
        client.post(new, numbered(range(3)))
        daemon.kill()
    for left in Path(daemon.data_dir).glob("index.sqlite*"):
        left.unlink()
    shutil.copy(before / "data" / "index.sqlite", daemon.data_dir)
    back_up(daemon.data_dir, tmp_path / "backup")
    with restored(tmp_path / "backup", tmp_path / "b") as again:
        client = Client(again, "acme")
        assert client.numbers(known) == list(range(9))
        assert client.numbers(new) == list(range(3))


def test_keys_and_what_was_erased_come_along(origin: Origin, daemon: DaemonProcess, tmp_path: Path) -> None:
    client = Client(daemon, "acme")
    client.erase(origin.recordings[0])
    back_up(daemon.data_dir, tmp_path / "backup")
    with restored(tmp_path / "backup", tmp_path / "b") as again:
        client.daemon = again
        assert sorted(client.recordings()) == sorted(origin.recordings[1:])
        with pytest.raises(HTTPError, match="410"):
            client.post(origin.recordings[0], numbered(range(1)))


@pytest.mark.parametrize("how", ["a file", "in place"])
def test_what_was_erased_after_the_backup_stays_erased_with_newer_tombstones(
    how: str, origin: Origin, daemon: DaemonProcess, tmp_path: Path
) -> None:
    client, never_backed_up = Client(daemon, "acme"), new_id()
    client.erase(origin.recordings[0])
    client.post(never_backed_up, numbered(range(1)))
    client.erase(never_backed_up)
    daemon.stop()
    newer = Path(daemon.data_dir, "tombstones.sqlite")
    place = tmp_path / "b" / "data"
    if how == "in place":
        place.mkdir(parents=True)
        shutil.copy(newer, place)
    assert restore(origin.backup, place, tombstones=newer if how == "a file" else None).buried == 1
    with daemon_in(tmp_path / "b") as again:
        client = Client(again, "acme")
        assert sorted(client.recordings()) == sorted(origin.recordings[1:])
        for recording_id in (origin.recordings[0], never_backed_up):
            with pytest.raises(HTTPError, match="410"):
                client.post(recording_id, numbered(range(1)))
        assert not list(place.rglob(f"*{origin.recordings[0]}*"))


def test_a_backup_can_be_checked_with_plain_tools(origin: Origin) -> None:
    checked = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"],
        cwd=origin.backup,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {str(path.relative_to(origin.backup)) for path in origin.backup.rglob("*") if path.is_file()}
    listed = {line.partition(": ")[0] for line in checked.stdout.splitlines()}
    assert found == listed | {"SHA256SUMS", "manifest.json"}
    assert json.loads((origin.backup / "manifest.json").read_bytes())["files"] == len(listed)
    others = 0o077
    assert not [path for path in origin.backup.rglob("*") if path.stat().st_mode & others]


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a byte is another": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
    "a file is cut off": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a file is missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("where", ["*.zst", "index.sqlite", "keys.sqlite", "SHA256SUMS"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_backup_is_not_restored(where: str, damage: str, backup: Path, tmp_path: Path) -> None:
    DAMAGE[damage](next(backup.rglob(where)))
    with pytest.raises((Damaged, FileNotFoundError)):
        restore(backup, tmp_path / "b")
    assert set(os.listdir(tmp_path / "b")) <= {"lock"}


def test_a_backup_that_was_not_finished_is_none(backup: Path, tmp_path: Path) -> None:
    (backup / "manifest.json").unlink()
    with pytest.raises(BadRequest, match="never finished"):
        restore(backup, tmp_path / "b")


def test_checksums_lead_nowhere_out_of_the_backup(backup: Path, tmp_path: Path) -> None:
    sums = backup / "SHA256SUMS"
    sums.write_text(sums.read_text() + "0" * 64 + "  data/../../victim\n")
    manifest = json.loads((backup / "manifest.json").read_bytes())
    manifest["sums_sha256"] = hashlib.sha256(sums.read_bytes()).hexdigest()
    (backup / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadRequest, match="victim"):
        restore(backup, tmp_path / "b")


def test_nothing_is_written_over(origin: Origin, backup: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in origin.data_dir.rglob("*.zst")}
    with pytest.raises(BadRequest, match="not empty"):
        back_up(origin.data_dir, backup)
    with pytest.raises(BadRequest, match="not empty"):
        restore(backup, origin.data_dir)
    assert {path: path.stat().st_mtime_ns for path in origin.data_dir.rglob("*.zst")} == before


def test_what_was_done_with_a_directory_before_stays_told_after_a_restore(
    origin: Origin, backup: Path, tmp_path: Path
) -> None:
    place = tmp_path / "b"
    place.mkdir()
    (place / "audit.ndjson").write_text("{}\n")
    (origin.data_dir / "audit.ndjson").write_text('{"of":"another machine"}\n')
    restore(backup, place)
    assert (place / "audit.ndjson").read_text() == "{}\n"


def test_a_directory_without_an_index_is_not_backed_up(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no index"):
        back_up(tmp_path, tmp_path / "backup")


def test_what_a_killed_backup_left_behind_goes_with_the_next(origin: Origin, tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    stale = origin.data_dir / f"backing-up.{gone.pid}"
    stale.mkdir()
    (stale / "link").write_bytes(b"x")
    back_up(origin.data_dir, tmp_path / "backup")
    assert not list(origin.data_dir.glob("backing-up*"))


def test_objects_may_be_left_out_and_the_manifest_says_so(origin: Origin, tmp_path: Path) -> None:
    manifest = back_up(origin.data_dir, tmp_path / "backup", with_objects=False)
    assert manifest.objects == "left out"
    assert not (tmp_path / "backup" / "data" / "objects").exists()


def _began_ms(backup: Path, recording_id: str) -> int:
    with contextlib.closing(sqlite3.connect(backup / "data" / "index.sqlite")) as db:
        (found,) = db.execute("SELECT created_ms FROM recording WHERE name = ?", (recording_id,)).fetchone()
        return int(found)


@pytest.mark.parametrize("reason", ["erased", "expired"])
@pytest.mark.parametrize("when", ["before it began anew", "after"])
def test_a_restore_buries_only_what_a_tombstone_covers(
    reason: Literal["erased", "expired"], when: str, origin: Origin, tmp_path: Path
) -> None:
    """A recording that was removed and then recorded anew is another; what was removed doesn't come back."""
    recording_id, newer, place = origin.recordings[0], tmp_path / "newer.sqlite", tmp_path / "b" / "data"
    began_ms = _began_ms(origin.backup, recording_id)
    created_ms, at_ms = (began_ms - 2000, began_ms - 1000) if when != "after" else (began_ms, began_ms + 1000)
    with Tombstones(str(newer)) as stones:
        laid = stones.bury("acme", recording_id, created_ms=created_ms, reason=reason, at_ms=at_ms)
        stones.done(laid, events=1, size=1, objects=0)
    is_covered = when == "after"
    assert restore(origin.backup, place, tombstones=newer).buried == int(is_covered)
    with daemon_in(tmp_path / "b") as again:
        client = Client(again, "acme")
        assert client.numbers(recording_id) == ([] if is_covered else list(range(10)))
        if not is_covered:
            client.post(recording_id, numbered(range(10, 12)))
            assert client.numbers(recording_id) == list(range(12))


def test_a_removal_that_was_not_done_is_finished_after_a_restore(origin: Origin, tmp_path: Path) -> None:
    newer, place = tmp_path / "newer.sqlite", tmp_path / "b" / "data"
    with Tombstones(str(newer)) as stones:
        stones.bury("acme", new_id(), created_ms=START_MS, reason="erased", at_ms=START_MS + 1)
    restore(origin.backup, place, tombstones=newer)
    with Tombstones(str(place / "tombstones.sqlite")) as stones:
        assert len(stones.pending()) == 1


def test_a_backup_beside_a_bucket_needs_no_credentials(origin: Origin, tmp_path: Path) -> None:
    settings = {"object_store": "s3", "s3_bucket": "b", "s3_prefix": "p/", "s3_credentials_file": "/nowhere"}
    config = msgspec.convert({"data_dir": str(origin.data_dir), **settings}, Config)
    backup = run_backup(config, str(tmp_path / "backup"), QUIET, with_objects=True)
    assert asyncio.run(backup).objects == "s3://b/p"
