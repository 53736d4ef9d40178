"""Root beside a daemon of another user: the files stay the daemon's, and a start tells which are not."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rrd.config import Config
from rrd.ownership import handing_over, sandbox_hint, why_absent
from tests.harness import PYTHONPATH, DaemonProcess, Launch

UID = 65534
"""nobody, which owns nothing here."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's files")

RECORDING = "5e9f6a52-6c1b-4c39-8a56-2f4ab0e5b8aa"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of ``UID`` that it can reach, which pytest's own isn't."""
    path = Path(tempfile.mkdtemp(prefix="rrd-test-"))
    try:
        path.chmod(0o755)
        (path / "data").mkdir(mode=0o700)
        for each in (path, path / "data"):
            os.chown(each, UID, UID)
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture(scope="module")
def python() -> str:
    """A Python that any user may run: this one may lie in root's own directory."""
    for path in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        with contextlib.suppress(OSError):
            done = subprocess.run(
                [path, "-c", "import rrd.daemon.run"], user=UID, env={"PYTHONPATH": PYTHONPATH}, check=False
            )
            if done.returncode == 0:
                return path
    pytest.skip("no Python that another user may run")


def _rrd(place: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rrd", *argv, "--data-dir", str(place / "data")],
        env={"PYTHONPATH": PYTHONPATH, "RRD_CONFIG": "", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=place,
    )


def _send(rrd: DaemonProcess, key: str, timestamp: int, recording_id: str = RECORDING) -> int:
    request = urllib.request.Request(
        f"{rrd.url}/recordings/{recording_id}/ingest",
        data=json.dumps([{"type": 5, "timestamp": timestamp, "data": {"tag": "t", "payload": {}}}]).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return int(answer.status)


def _foreign(place: Path) -> list[Path]:
    return [path for path in (place / "data").rglob("*") if path.lstat().st_uid != UID]


COMMANDS: list[list[str]] = [
    ["keys", "create", "--tenant", "acme", "--scope", "read"],
    ["signing-keys", "create", "--tenant", "acme"],
    ["reindex"],
    ["verify", "--mend"],
    ["doctor", RECORDING],
    ["retention"],
    ["quarantine", "list"],
    ["export", RECORDING],
    ["erase", RECORDING, "--tenant", "acme", "--yes"],
]


KEY = COMMANDS[0]

LOST = [
    *((argv, "") for argv in COMMANDS),
    *((argv, "lock") for argv in COMMANDS if argv[0] in {"reindex", "doctor", "verify", "erase"}),
    *((argv, "index.sqlite") for argv in COMMANDS if argv[0] in {"reindex", "export"}),
    (COMMANDS[0], "keys.sqlite"),
    (["erase", RECORDING, "--tenant", "acme", "--yes"], "tombstones.sqlite"),
]


@pytest.mark.table
@pytest.mark.parametrize(
    ("argv", "without"), LOST, ids=lambda each: each if isinstance(each, str) else each[0]
)
def test_what_a_command_of_roots_makes_belongs_to_the_owner_of_the_directory(
    place: Path, python: str, argv: list[str], without: str
) -> None:
    rrd = DaemonProcess(place, Launch(uid=UID, python=python))
    key = rrd.key(tenant="acme")
    with rrd:
        assert _send(rrd, key, 1_700_000_000_000) < 300
        assert rrd.stop() == 0
        if without:
            (place / "data" / without).unlink()
        _rrd(place, *argv)
        assert _foreign(place) == []
        key = rrd.key(tenant="acme")
        rrd.start()
        for number in range(2):
            other = f"00000000-0000-4000-8000-00000000000{number}"
            assert _send(rrd, key, 1_700_000_000_001 + number, other) < 300
        assert rrd.stop() == 0


@pytest.mark.parametrize(
    ("name", "kind", "argv"),
    [
        *((name, kind, KEY) for name in ("audit.ndjson", "keys.sqlite")
          for kind in ("to nothing", "to an empty file", "to a file")),
        *(("index.sqlite", kind, ["reindex"]) for kind in ("to an empty file", "to a file")),
        ("index.sqlite", "to nothing", ["doctor"]),
        # From a database the kernel alone keeps it away (fs.protected_hardlinks).
        ("audit.ndjson", "hard link", KEY),
    ],
)  # fmt: skip
def test_a_command_of_roots_writes_and_gives_nothing_that_a_link_of_the_owners_leads_to(
    place: Path, name: str, kind: str, argv: list[str]
) -> None:
    outside, link = place / "of-root", place / "data" / name
    if kind != "to nothing":
        outside.write_text("" if kind != "to a file" else "root's\n")
    before = (outside.read_bytes(), outside.stat()) if outside.exists() else None
    if kind == "hard link":
        link.hardlink_to(outside)
    else:
        link.symlink_to(outside)
        os.chown(link, UID, UID, follow_symlinks=False)
    done = _rrd(place, *argv)
    if argv == KEY:
        assert link.name in done.stderr
    if before is None:
        assert not outside.exists()
    else:
        assert outside.read_bytes() == before[0]
        assert (outside.stat().st_uid, outside.stat().st_mode) == (before[1].st_uid, before[1].st_mode)


def test_what_is_handed_over_is_found_by_handles_and_not_by_links_put_in_its_place(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, outside = place / "data", place / "of-root"
    outside.mkdir()
    (outside / "made").write_text("root's")
    config = Config(data_dir=str(data))
    with handing_over(config):
        (data / "torn").mkdir()
        (data / "torn" / "made").write_text("rrd's")
    assert (data / "torn" / "made").stat().st_uid == UID
    (data / "torn" / "made").unlink()
    (data / "torn" / "made").write_text("rrd's")
    real = os.chown

    def swapping(path: Any, uid: int, gid: int, **options: Any) -> None:
        (data / "torn").rename(data / "away")
        (data / "torn").symlink_to(outside)
        real(path, uid, gid, **options)

    monkeypatch.setattr(os, "chown", swapping)
    with handing_over(config):
        pass
    assert (data / "torn").is_symlink() and (data / "away" / "made").stat().st_uid == UID
    assert (outside / "made").stat().st_uid == 0


def test_a_data_directory_behind_a_link_is_handed_over(place: Path) -> None:
    (place / "link").symlink_to(place / "data")
    with handing_over(Config(data_dir=str(place / "link"))):
        (place / "data" / "made").touch()
    assert _foreign(place) == []


def _as_root(path: Path) -> None:
    os.chown(path, 0, 0)
    path.chmod(0o755 if path.is_dir() else 0o600)


def _with_sealed(data: Path) -> Path:
    path = data / "sealed" / "acme"
    path.mkdir(parents=True, mode=0o700)
    for each in (data / "sealed", path):
        os.chown(each, UID, UID)
    path = path / "aa"
    path.mkdir()
    return path


def _with_file(name: str) -> Callable[[Path], Path]:
    def make(data: Path) -> Path:
        path = data / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if path.parent != data:
            os.chown(path.parent, UID, UID)
        path.touch()
        return path

    return make


def _with_directory(name: str) -> Callable[[Path], Path]:
    def make(data: Path) -> Path:
        path = data / name
        path.mkdir(exist_ok=True)
        return path

    return make


FOREIGN = {
    "data_dir": _with_directory("."),
    **{name: _with_file(name) for name in ("lock", "index.sqlite", "keys.sqlite", "tombstones.sqlite")},
    **{name: _with_file(name) for name in ("index.sqlite-wal", "index.sqlite-shm", "refusals.json")},
    **{name: _with_directory(name) for name in ("active", "sealed", "torn", "rolling", "objects")},
    "sealed-below": _with_sealed,
    "segment": _with_file(f"active/acme.{RECORDING}.000001.ndjson.zst"),
}


@pytest.mark.table
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_start_tells_which_place_cant_be_written_and_what_to_run(
    place: Path, python: str, kind: str
) -> None:
    path = FOREIGN[kind](place / "data")
    _as_root(path)
    rrd = DaemonProcess(place, Launch(uid=UID, python=python))
    with pytest.raises(RuntimeError) as told:
        rrd.start()
    said = str(told.value)
    assert "Traceback" not in said
    assert f"{os.path.normpath(path)} belongs to root" in said
    command = f"chown -R nobody: {place / 'data'}"
    assert command in said
    subprocess.run(command.split(), check=True)
    if path.is_dir():
        with rrd:
            assert rrd.stop() == 0


def test_a_service_is_told_what_its_unit_forbids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOCATION_ID", "tests")
    assert "ReadWritePaths=/srv/rrd " in sandbox_hint("/srv/rrd")
    assert "ProtectHome" in sandbox_hint("/home/me/rrd") and "ProtectHome" in sandbox_hint("/root/x")
    assert sandbox_hint("/srv/rrd", hidden_only=True) == ""
    monkeypatch.delenv("INVOCATION_ID")
    assert sandbox_hint("/home/me/rrd") == ""


@pytest.mark.parametrize(
    "argv", ["keys list", "verify", "retention", "doctor " + RECORDING, "export --all", "quarantine list"]
)
def test_a_command_of_another_user_says_that_it_may_not_look_and_not_that_nothing_is_there(
    place: Path, python: str, argv: str
) -> None:
    assert _rrd(place, "keys", "create", "--tenant", "shop", "--scope", "read").returncode == 0
    done = subprocess.run(
        [python, "-m", "rrd", *argv.split(), "--data-dir", str(place / "data")],
        env={"PYTHONPATH": PYTHONPATH, "RRD_CONFIG": ""}, user=UID - 1, group=UID - 1, extra_groups=[],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"may not look into {place / 'data'}. Run it as root (sudo), or as " in done.stderr
    assert "there is no" not in done.stderr
    assert "there are no" not in done.stderr


def test_what_is_not_there_is_not_blamed_on_permissions(tmp_path: Path) -> None:
    assert why_absent(str(tmp_path / "no" / "keys.sqlite"), "none here") == "none here"
