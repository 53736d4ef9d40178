"""``rrd import`` of files that other tools made, twice, and after it was broken off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rrd.access.keys import KeyStore
from rrd.cli import main
from rrd.layout import keys_path
from tests.exchange.exchange_lab import Client, event
from tests.harness import DEADLINE_S, ROOT, DaemonProcess
from tests.samples import ndjson, new_id

FIXTURE = b'{"snapshots":[{"type":4,"timestamp":0,"data":{"href":""}},%s]}'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    settings = {"flush_age_ms": 20, "recording_ids": "any"}
    with DaemonProcess(tmp_path_factory.mktemp("daemon"), **settings) as process:
        yield process


@pytest.fixture(autouse=True)
def _settings(daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RRD_DATA_DIR", daemon.data_dir)
    monkeypatch.setenv("RRD_PORT", str(daemon.port))
    monkeypatch.setenv("RRD_RECORDING_IDS", "any")


@pytest.fixture
def tenant(daemon: DaemonProcess) -> str:
    name = f"t-{new_id()}"
    with KeyStore(keys_path(daemon.data_dir)) as store:
        store.create_key(tenant=name, scope="ingest", origins=())
    return name


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def test_to_import_again_stores_nothing_whatever_the_file_is_called(
    daemon: DaemonProcess, tenant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    equal = [event(1), event(1), event(2)]
    (tmp_path / "first.ndjson").write_bytes(ndjson(equal))
    (tmp_path / "second.json").write_bytes(b"[" + b",".join(equal) + b"]")
    assert main(["import", "--tenant", tenant, str(tmp_path / "first.ndjson")]) == 0
    assert last_line(capsys) == "1 recordings: 3 stored, 0 repeated"
    for name in ("first.ndjson", "second.json"):
        assert main(["import", "--tenant", tenant, str(tmp_path / name)]) == 0
        assert last_line(capsys) == "1 recordings: 0 stored, 3 repeated"
    assert len(Client(daemon, tenant).recordings()) == 1


def test_an_import_that_was_killed_can_be_continued(
    daemon: DaemonProcess, tenant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [event(number // 3, "x" * 2000) for number in range(20_000)]
    path = tmp_path / "long.ndjson"
    path.write_bytes(ndjson(lines))
    argv = ["import", "--tenant", tenant, "--quiet", str(path)]
    client = Client(daemon, tenant)
    with subprocess.Popen(
        [sys.executable, "-m", "rrd", *argv], cwd=ROOT, stdout=subprocess.DEVNULL
    ) as process:
        end = DEADLINE_S / 0.01
        while not client.recordings() and process.poll() is None and (end := end - 1):
            pass
        os.kill(process.pid, signal.SIGKILL)
    assert main(argv) == 0
    (recording_id,) = client.recordings()
    assert last_line(capsys).startswith("1 recordings: ")
    assert len(client.call("GET", f"/recordings/{recording_id}/events")) == len(lines)


def test_files_of_the_same_words_do_not_merge(daemon: DaemonProcess, tenant: str, tmp_path: Path) -> None:
    for directory, number in (("a", 1), ("b", 2)):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "recording.json").write_bytes(FIXTURE % event(number))
    assert main(["import", "--tenant", tenant, str(tmp_path)]) == 0
    assert len(Client(daemon, tenant).recordings()) == 2


def test_the_members_of_a_zip_archive_are_files(daemon: DaemonProcess, tenant: str, tmp_path: Path) -> None:
    first = new_id()
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"deep/{first}.json", b"[" + event(1) + b"]")
        archive.writestr("second.ndjson", event(2))
        archive.writestr("README.txt", "not looked at")
    for _ in range(2):
        assert main(["import", "--tenant", tenant, str(tmp_path / "export.zip")]) == 0
    recordings = Client(daemon, tenant).recordings()
    assert len(recordings) == 2
    assert first in recordings


def test_a_file_without_events_says_what_it_looks_like(
    tenant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "traffic.json"
    path.write_bytes(b'{"log":{"version":"1.2","entries":[]}}')
    assert main(["import", "--tenant", tenant, str(path)]) == 1
    assert "this looks like a HAR file" in capsys.readouterr().err


def test_a_wrong_key_or_tenant_shows_before_anything_is_sent(
    daemon: DaemonProcess, tenant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.ndjson").write_bytes(event(1))
    assert main(["import", "--tenant", f"{tenant}x", str(tmp_path)]) == 1
    assert f"there is no tenant '{tenant}x' here" in capsys.readouterr().err
    assert main(["import", "--url", daemon.url, "--key", "public_key_rr_wrong", str(tmp_path)]) == 1
    assert "401" in capsys.readouterr().err
    assert Client(daemon, tenant).recordings() == []
