"""The peers take what rrd takes, write it down, and count it; what they need is installed once."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import blast, peers
from bench.payloads import Bodies, Texts, joined, lines
from bench.peers import Peer

EVENTS = 400


@pytest.fixture(scope="module", params=peers.NAMES)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    if reason := peers.missing(request.param):
        pytest.skip(reason)
    with peers.peer(request.param) as running:
        yield running


def test_a_socket_s_events_are_written_and_counted(peer: Peer) -> None:
    recording_id = str(uuid.uuid4())
    payload = Texts("all", EVENTS)
    sent = blast.over_socket(peer.port, peer.path_of(recording_id), payload, times=2, last_text=peers.END)
    assert sent.counted == 2 * EVENTS
    assert (peer.data_dir / f"{recording_id}.ndjson").read_bytes() == 2 * joined(lines("all", EVENTS))


def test_bodies_are_written_and_counted(peer: Peer) -> None:
    recording_id = str(uuid.uuid4())
    path = peer.path_of(recording_id, socket=False)
    sent = blast.over_connections(blast.Target(peer.port), [[path]], Bodies("identity", EVENTS))
    assert sent.counted == EVENTS
    assert (peer.data_dir / f"{recording_id}.ndjson").read_bytes() == joined(lines("all", EVENTS))


# Installing


class _Commands:
    """Stands in for ``subprocess.run``: notes the commands, and makes what they would make."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def run(self, command: list[str], *, check: bool, cwd: Path | None = None) -> None:
        assert check
        self.seen.append(command)
        if command[1:3] == ["-m", "venv"]:
            Path(command[3]).mkdir()
        if command[1] == "ci":
            assert cwd is not None
            (cwd / "node_modules").mkdir(exist_ok=True)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _Commands:
    """Both peers as copies below ``tmp_path``, not installed, with pip and npm that only seem to work."""
    for name, files in (("fastapi", ["requirements.txt"]), ("node", ["package.json", "package-lock.json"])):
        source = Path(peers.__file__).parent / f"{name}_peer"
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_bytes((source / file).read_bytes())
    monkeypatch.setattr(peers, "_FASTAPI", tmp_path / "fastapi")
    monkeypatch.setattr(peers, "_NODE", tmp_path / "node")
    monkeypatch.setattr(peers, "_VENV", tmp_path / "venv")
    monkeypatch.setattr(peers, "_NODE_MODULES", tmp_path / "node" / "node_modules")
    tools: dict[str, str | None] = {"node": "/bin/node", "npm": "/bin/npm"}
    monkeypatch.setattr(shutil, "which", tools.get)
    fake = _Commands()
    monkeypatch.setattr(subprocess, "run", fake.run)
    return fake


def test_installing_twice_does_nothing_the_second_time(commands: _Commands) -> None:
    assert all(peers.missing(name) for name in peers.NAMES)
    assert peers.install() == []
    assert [command[1] for command in commands.seen] == ["-m", "install", "ci"]
    assert [peers.missing(name) for name in peers.NAMES] == [None, None]
    peers.install()
    assert len(commands.seen) == 3


def test_changed_versions_are_installed_anew(commands: _Commands, tmp_path: Path) -> None:
    peers.install()
    (tmp_path / "fastapi" / "requirements.txt").write_text("fastapi==0.1\n")
    assert "install` first" in (peers.missing("FastAPI") or "")
    assert peers.missing("Node") is None
    peers.install()
    assert [command[1] for command in commands.seen[3:]] == ["-m", "install"]


def test_without_node_the_other_peer_is_installed(
    commands: _Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent: dict[str, Any] = {}
    monkeypatch.setattr(shutil, "which", absent.get)
    assert "Node or npm is missing" in peers.install()[0]
    assert peers.missing("FastAPI") is None
    assert "isn't installed" in (peers.missing("Node") or "")


def test_versions_are_pinned_and_name_no_place_to_fetch_from() -> None:
    here = Path(peers.__file__).parent
    requirements = (here / "fastapi_peer" / "requirements.txt").read_text().splitlines()
    assert requirements
    assert all("==" in line for line in requirements)
    assert "resolved" not in (here / "node_peer" / "package-lock.json").read_text()
    assert os.path.exists(here / "README.md")
