"""What a command makes as root, under any umask: for the data directory's owner, and no other's eyes."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rrd.cli import make_parser
from tests.harness import PYTHONPATH, Keys, running
from tests.http.api import visiting
from tests.samples import ndjson, new_id, some_events

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's files")

UID = 65534
"""nobody, which owns nothing here."""

RECORDING = new_id()
SIGNED = ["--tenant", "acme", "--key-id", "signer", "--method", "GET"]

WAYS: dict[str, list[str]] = {
    "console": ["console"],
    "keys create": ["keys", "create", "--tenant", "acme", "--scope", "read"],
    "keys list": ["keys", "list"],
    "keys edit": ["keys", "edit", "KEY_ID", "--label", "shop"],
    "keys rotate": ["keys", "rotate", "KEY_ID"],
    "keys revoke": ["keys", "revoke", "KEY_ID"],
    "signing-keys create": ["signing-keys", "create", "--tenant", "acme"],
    "signing-keys list": ["signing-keys", "list"],
    "signing-keys edit": ["signing-keys", "edit", "signer", "--label", "links"],
    "signing-keys rotate": ["signing-keys", "rotate", "signer"],
    "signing-keys revoke": ["signing-keys", "revoke", "signer"],
    "sign": ["sign", *SIGNED, "--recording", RECORDING],
    "check-config": ["check-config"],
    "export to a file": ["export", RECORDING, "--output", "events"],
    "export to a directory": ["export", "--all", "--format", "dir", "--output", "events"],
    "export what is intact": ["export", RECORDING, "--salvage", "--output", "events"],
    "backup": ["backup", "copy"],
    "erase": ["erase", RECORDING, "--tenant", "acme", "--yes"],
    "retention": ["retention", "--list"],
    "doctor": ["doctor", RECORDING],
    "verify": ["verify", "--deep", "--mend"],
    "reindex": ["reindex"],
    "vacuum": ["vacuum"],
    "inspect": ["inspect", "SEGMENT"],
    "quarantine list": ["quarantine", "list"],
    "quarantine show": ["quarantine", "show", RECORDING],
    "adopt-store": ["adopt-store"],
}
ELSEWHERE = {"serve", "setup", "import", "restore", "status", "top"}
"""A daemon is not run as root, and for an import it must run; restore and setup have tests of their own."""


@pytest.fixture(scope="module")
def filled() -> Iterator[Path]:
    """A data directory of ``UID`` with a recording."""
    path = Path(tempfile.mkdtemp(prefix="rrd-test-"))
    try:
        _fill(path / "data")
        yield path / "data"
    finally:
        shutil.rmtree(path)


def _fill(data: Path) -> None:
    import asyncio

    async def fill() -> None:
        async with running(data) as daemon, visiting(daemon) as api:
            assert (await api.post(RECORDING, ndjson(some_events(3)) + b"\nnone\n")).status == 200

    with asyncio.Runner() as runner:
        runner.run(fill())
    Keys(str(data)).signing_key(tenant="acme", key_id="signer")
    _own(data)


def _own(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        os.chown(path, UID, UID)


@pytest.fixture
def place(filled: Path, tmp_path: Path) -> Path:
    """A directory with a copy of ``filled`` as ``data``, and an empty one for temporary files."""
    subprocess.run(["cp", "-a", filled, tmp_path / "data"], check=True)
    (tmp_path / "temporary").mkdir()
    return tmp_path


def rrd(place: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rrd", *argv, "--data-dir", str(place / "data")],
        env={
            "PYTHONPATH": PYTHONPATH,
            "RRD_CONFIG": "",
            "PATH": os.environ["PATH"],
            "TMPDIR": str(place / "temporary"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=place,
        umask=0,
    )


def check(place: Path, known: set[Path]) -> None:
    """Fail for what others could read, and for what isn't the owner's in the data directory."""
    for path in sorted(place.rglob("*")):
        status = path.lstat()
        if path not in known:
            assert stat.S_IMODE(status.st_mode) & 0o077 == 0, path
        if path.is_relative_to(place / "data"):
            assert status.st_uid == UID, path


def test_each_command_is_tried() -> None:
    (commands,) = [action.choices for action in make_parser()._actions if action.choices]
    assert set(commands) == {argv[0] for argv in WAYS.values()} | ELSEWHERE


@pytest.mark.table
@pytest.mark.parametrize("lost", [False, True], ids=["", "new files"])
@pytest.mark.parametrize("way", WAYS)
def test_what_a_command_makes_is_private_and_the_owners(place: Path, way: str, lost: bool) -> None:
    """``lost``: files that any command may have to make anew aren't there."""
    data = place / "data"
    (segment,) = [*data.rglob("*.ndjson.zst")]
    listed = rrd(place, "keys", "list").stdout.splitlines()
    words = {"SEGMENT": str(segment), "KEY_ID": listed[1].split()[0]}
    if lost:
        for path in [*data.glob("lock"), *data.glob("tombstones.sqlite*"), *data.glob("refusals*")]:
            path.unlink()
    known = {*place.rglob("*")}
    done = rrd(place, *(words.get(word, word) for word in WAYS[way]))
    assert done.returncode == 0, done.stderr
    check(place, known)


@pytest.mark.parametrize("argv", [["retention", "--confirm"], ["inspect", "acme/an/object"]], ids=str)
def test_a_command_that_fails_leaves_nothing_of_roots(place: Path, argv: list[str]) -> None:
    """The directory of objects is made by the way where it is missing."""
    for name in ("objects", "identity"):
        subprocess.run(["rm", "-r", place / "data" / name], check=True)
    known = {*place.rglob("*")}
    assert rrd(place, *argv).returncode == 1
    check(place, known)


def test_a_restore_is_private_and_the_owners(place: Path) -> None:
    assert rrd(place, "backup", "copy").returncode == 0
    shutil.rmtree(place / "data")
    (place / "data").mkdir(mode=0o700)
    _own(place / "data")
    known = {place / "temporary"}
    done = rrd(place, "restore", "copy")
    assert done.returncode == 0, done.stderr
    check(place, known)
    assert place.joinpath("data").stat().st_uid == UID
