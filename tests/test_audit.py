"""The audit log: a line for each change, in a bounded number of files, and nothing secret in any."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rrd import audit, layout
from rrd.disk.ring import append_line
from tests.access.test_keys import SetClock


def lines(data: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (data / "audit.ndjson").read_text().splitlines()]


def test_a_line_says_when_what_and_who(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    audit.note(
        str(tmp_path),
        "key_made",
        {"who": "user:ann", "key": "ab12cd34", "tenant": "t", "by": None},
        clock=SetClock(),
    )
    assert lines(tmp_path) == [
        {
            "at": "2026-11-23T02:13:20.000Z",
            "event": "key_made",
            "who": "user:ann",
            "key": "ab12cd34",
            "tenant": "t",
        }
    ]
    assert stat.S_IMODE((tmp_path / "audit.ndjson").stat().st_mode) == 0o600
    assert caplog.messages == ["audit event=key_made who=user:ann key=ab12cd34 tenant=t"]


def test_what_cannot_be_written_is_told_and_raises_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audit.note(str(tmp_path / "none"), "key_made", {"who": "user:ann"})
    assert "audit_not_kept" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_who_runs_a_command_is_a_user_and_who_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    told = audit.user()
    assert list(told) == ["who"] and str(told["who"]).startswith("user:")
    monkeypatch.setenv("SUDO_USER", "ann")
    assert audit.user() == told | ({"sudo": "ann"} if os.geteuid() == 0 else {})
    monkeypatch.setenv("SUDO_USER", "x\ny")
    assert audit.user() == told


def test_the_log_stays_bounded(tmp_path: Path) -> None:
    for number in range(60):
        audit.note(str(tmp_path), "erased", {"who": "key:ab12cd34", "recordings": number}, bytes_max=300)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"audit.ndjson", *(f"audit.{number}.ndjson" for number in range(1, audit.FILES_KEPT + 1))}
    assert max(path.stat().st_size for path in tmp_path.iterdir()) <= 300
    # The youngest lines are there, in order.
    told = [
        json.loads(line)["recordings"]
        for number in range(audit.FILES_KEPT, -1, -1)
        for line in Path(layout.audit_path(str(tmp_path), number)).read_text().splitlines()
    ]
    assert told == list(range(60 - len(told), 60))


def test_several_may_append_at_once_and_no_line_is_lost_or_torn(tmp_path: Path) -> None:
    paths = [str(tmp_path / str(number)) for number in range(100)]

    def append(number: int) -> None:
        append_line(paths, f"{number:04d}\n".encode(), bytes_max=50)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(append, range(200)))
    told = [line for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    assert sorted(told) == [f"{number:04d}" for number in range(200)]


def test_a_line_that_was_torn_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    path.write_bytes(b'{"at":"2026')
    audit.note(str(tmp_path), "restored", {"who": "user:ann"})
    torn, whole = path.read_text().splitlines()
    assert (torn, json.loads(whole)["event"]) == ('{"at":"2026', "restored")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_the_file_belongs_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 54321)
    audit.note(str(tmp_path), "key_made", {"who": "user:root"})
    status = (tmp_path / "audit.ndjson").stat()
    assert (status.st_uid, status.st_gid) == (12345, 54321)
