"""``rrd erase``, beside a daemon and without one, and ``rrd retention``."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
import sqlite3
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rrd.access.keys import KeyStore
from rrd.cli import main
from rrd.extent import Extent
from rrd.index.rows import Commit
from rrd.index.sqlite.index import SqliteIndex
from tests.audit_log import audited
from tests.harness import DaemonProcess

pytestmark = pytest.mark.table

DAY_MS = 86_400_000


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DaemonProcess]:
    """A daemon that serves, on the data directory that the commands are told of."""
    monkeypatch.setenv("RRD_DATA_DIR", str(tmp_path / "data"))
    with DaemonProcess(tmp_path, flush_age_ms=10) as process:
        monkeypatch.setenv("RRD_PORT", str(process.port))
        yield process


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory in which no daemon has ever been."""
    monkeypatch.setenv("RRD_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def post(daemon: DaemonProcess, recording_id: str, key: str, **metadata: str) -> int:
    """Send three events and metadata; return the status."""
    lines: list[object] = [{"type": 3, "timestamp": 1000 + number} for number in range(3)]
    if metadata:
        lines.append({"type": 5, "timestamp": 1, "data": {"tag": "recording-meta", "payload": metadata}})
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    connection.request(
        "POST",
        f"/recordings/{recording_id}/ingest",
        body="".join(json.dumps(line) + "\n" for line in lines),
        headers={"Authorization": f"Bearer {key}"},
    )
    status = connection.getresponse().status
    connection.close()
    return status


def filled(daemon: DaemonProcess, count: int, *, tenant: str = "acme", **metadata: str) -> list[str]:
    """Make recordings of three events each."""
    key = daemon.key("all", tenant=tenant)
    names = [str(uuid.uuid4()) for _ in range(count)]
    deadline = time.monotonic() + 20
    for name in names:
        while (status := post(daemon, name, key, **metadata)) == 401 and time.monotonic() < deadline:
            time.sleep(0.05)  # The key is young.
        assert status == 200
    return names


def there(daemon_dir: str) -> set[str]:
    """The recordings that the index knows."""

    async def look() -> set[str]:
        index = await SqliteIndex.open(f"{daemon_dir}/index.sqlite")
        try:
            return {row.recording_id for row in await index.oldest(tenant=None, after_row_id=0, limit=1000)}
        finally:
            await index.close()

    return asyncio.run(look())


def run(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> tuple[str, str]:
    got = main(argv)
    captured = capsys.readouterr()
    assert got == code, captured
    assert "Traceback" not in captured.err
    return captured.out, captured.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# Erase


@pytest.mark.parametrize("served", [True, False])
def test_recordings_are_erased_beside_a_daemon_and_without_one(
    capsys: pytest.CaptureFixture[str], daemon: DaemonProcess, served: bool
) -> None:
    one, two, kept = filled(daemon, 3)
    if not served:
        daemon.stop()
    out, err = run(capsys, "erase", "--yes", one, two.upper())
    assert out.splitlines()[-1].startswith("erased 2 recordings: 6 events, ")
    assert err == ""
    if not served:
        daemon.start()
    key = daemon.key("all")
    assert there(daemon.data_dir) == {kept}
    deadline = time.monotonic() + 20
    while (status := post(daemon, one, key)) == 401 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (status, post(daemon, two, key), post(daemon, kept, key)) == (410, 410, 200)


@pytest.mark.parametrize("served", [True, False])
def test_all_recordings_with_some_metadata_are_erased(
    capsys: pytest.CaptureFixture[str], daemon: DaemonProcess, served: bool
) -> None:
    filled(daemon, 3, userId="u=1 &", shop="a")
    kept = filled(daemon, 1, userId="u=1 &", shop="b")
    if not served:
        daemon.stop()
    out, _ = run(capsys, "erase", "--yes", "--meta", "userId=u=1 &", "--meta", "shop=a")
    assert out.splitlines()[-1].startswith("erased 3 recordings: 9 events, ")
    erased = {"event": "erased", "tenant": "acme", "recordings": 3}
    if served:  # By a key of its own, which leads to the user who asked.
        made, told = audited(daemon.data_dir)
        assert (made["event"], made["label"]) == ("key_made", "rrd erase")
        assert told == erased | {"who": f"key:{made['key']}", "events": 9}
    else:
        assert audited(daemon.data_dir) == [erased]
    assert there(daemon.data_dir) == set(kept)


def test_the_key_that_it_makes_for_itself_is_revoked_in_the_end(
    capsys: pytest.CaptureFixture[str], daemon: DaemonProcess
) -> None:
    (name,) = filled(daemon, 1)
    run(capsys, "erase", "--yes", name)
    with KeyStore(f"{daemon.data_dir}/keys.sqlite") as store:
        (row,) = [row for row in store.list_keys() if row.scope == "erase"]
    assert (row.tenant, row.revoked_ms is not None) == ("acme", True)


@pytest.mark.parametrize("served", [True, False])
def test_a_dry_run_says_what_would_go_and_leaves_it(
    capsys: pytest.CaptureFixture[str], daemon: DaemonProcess, served: bool
) -> None:
    names = filled(daemon, 2, userId="u1")
    if not served:
        daemon.stop()
    for argv in ([*names], ["--meta", "userId=u1"]):
        out, _ = run(capsys, "erase", "--dry-run", *argv)
        assert all(name in out for name in names)
        assert "erased" not in out
    run(capsys, "erase", "--dry-run", "--meta", "userId=u2", code=1)
    assert there(daemon.data_dir) == set(names)


def test_what_a_killed_daemon_stored_is_found_as_well(
    capsys: pytest.CaptureFixture[str], daemon: DaemonProcess
) -> None:
    (name,) = filled(daemon, 1)
    daemon.kill()
    # As a power cut may leave it: the index lost, the events on disk.
    data = Path(daemon.data_dir)
    for path in data.glob("index.sqlite*"):
        path.unlink()

    async def empty() -> None:
        await (await SqliteIndex.open(str(data / "index.sqlite"))).close()

    asyncio.run(empty())
    run(capsys, "erase", "--yes", name)
    assert list(data.rglob("*.ndjson.zst")) == []


def test_it_asks_before_it_erases(
    capsys: pytest.CaptureFixture[str], daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = filled(daemon, 1)
    for answer in ("", "y\n", "no\n"):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        _, err = run(capsys, "erase", name, code=1)
        assert "Erase 1 recordings with 3 events for good?" in err
        assert "nothing was erased" in err
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    _, err = run(capsys, "erase", name, code=1)
    assert "--yes" in err
    assert there(daemon.data_dir) == {name}
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    run(capsys, "erase", name)
    assert there(daemon.data_dir) == set()


def test_whose_recording_is_meant_must_be_clear(
    capsys: pytest.CaptureFixture[str], daemon: DaemonProcess
) -> None:
    (mine,) = filled(daemon, 1, userId="u1")
    (theirs,) = filled(daemon, 1, tenant="other", userId="u1")
    assert post(daemon, mine, daemon.secrets[-1]) == 200
    for argv in (["--meta", "userId=u1"], [mine]):
        _, err = run(capsys, "erase", "--yes", *argv, code=1)
        assert "--tenant" in err
    # Known to one tenant only, so it is clear whose it is.
    run(capsys, "erase", "--yes", theirs)
    run(capsys, "erase", "--yes", "--tenant", "acme", "--meta", "userId=u1")
    assert (_of("acme", daemon.data_dir), _of("other", daemon.data_dir)) == (set(), {mine})


def _of(tenant: str, data_dir: str) -> set[str]:
    async def look() -> set[str]:
        index = await SqliteIndex.open(f"{data_dir}/index.sqlite")
        try:
            rows = await index.oldest(tenant=tenant, after_row_id=0, limit=100)
            return {row.recording_id for row in rows}
        finally:
            await index.close()

    return asyncio.run(look())


def test_an_unknown_recording_stops_it_before_anything_is_erased(
    capsys: pytest.CaptureFixture[str], daemon: DaemonProcess
) -> None:
    (name,) = filled(daemon, 1)
    unknown = str(uuid.uuid4())
    _, err = run(capsys, "erase", "--yes", name, unknown, code=1)
    assert unknown in err
    assert there(daemon.data_dir) == {name}


def test_a_daemon_that_is_elsewhere_than_the_settings_say_is_named_with_url(
    capsys: pytest.CaptureFixture[str], daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = filled(daemon, 1)
    monkeypatch.setenv("RRD_PORT", "1")
    for argv in ((), ("--url", "http://127.0.0.1:1/")):
        _, err = run(capsys, "erase", "--yes", name, *argv, code=1)
        assert "127.0.0.1:1" in err
        assert "--url" in err
    monkeypatch.setenv("RRD_PORT", "0")
    assert "--url" in run(capsys, "erase", "--yes", name, code=1)[1]
    run(capsys, "erase", "--yes", name, "--url", f"{daemon.url}/")
    assert there(daemon.data_dir) == set()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "--meta"),
        (["no-uuid"], "not a recording id"),
        (["3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e6f", "--meta", "a=b"], "--meta"),
        (["3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e6f"], "no index here"),
    ],
)
def test_what_makes_no_sense_is_refused_and_makes_nothing(
    capsys: pytest.CaptureFixture[str], data_dir: Path, argv: list[str], said: str
) -> None:
    assert said in run(capsys, "erase", "--yes", *argv, code=1)[1]
    assert not data_dir.exists()


@pytest.mark.parametrize("argv", [["--meta", "userId"], ["--meta", "=u1"], ["--tenant", "../x", "a"]])
def test_wrong_usage_is_2_of_the_lifecycle_commands(
    capsys: pytest.CaptureFixture[str], data_dir: Path, argv: list[str]
) -> None:
    assert "usage: rrd" in run(capsys, "erase", *argv, code=2)[1]
    assert not data_dir.exists()


# Retention


def stored(data_dir: Path, recordings: Sequence[tuple[str, float, int]]) -> None:
    """An index of recordings, each given as (tenant, age in days, size)."""

    async def fill() -> None:
        index = await SqliteIndex.open(str(data_dir / "index.sqlite"))
        now_ms = time.time_ns() // 1_000_000
        for number, (tenant, days, size) in enumerate(recordings, 1):
            at_ms = now_ms - int(days * DAY_MS)
            await index.apply(
                [
                    Commit(
                        row_id=number, tenant=tenant, recording_id=f"recording-{number}", created_ms=at_ms,
                        segment=1, segment_size=size, block_offset=0, block_size=size,
                        extent=Extent(1, 1, 1.0, 1.0, 10, at_ms, 0, 0), metadata=(),
                    )
                ]
            )  # fmt: skip
        await index.close()

    data_dir.mkdir()
    asyncio.run(fill())


def test_a_dry_run_of_retention_sums_up_what_would_go_and_why(
    capsys: pytest.CaptureFixture[str], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(
        data_dir,
        [
            ("acme", 9, 100),
            ("acme", 8, 100),
            ("shop", 7, 30),
            ("acme", 2, 50),
            ("shop", 1, 40),
            ("zoo", 1, 5),
        ],
    )
    monkeypatch.setenv("RRD_RETENTION_AGE", "8d")
    monkeypatch.setenv("RRD_RETENTION_BYTES_MAX_OF_TENANT", "shop=50")
    out, _ = run(capsys, "retention")
    assert [line.split(maxsplit=5) for line in out.splitlines()[1:]] == [
        ["acme", "3", "250", "2", "200", "age"],
        ["shop", "2", "70", "1", "30", "bytes of its tenant"],
        ["zoo", "1", "5", "0", "0", "-"],
    ]
    out, _ = run(capsys, "retention", "--list")
    listed = [line.split(maxsplit=5) for line in out.splitlines()[1:]]
    assert [[row[0], row[1], row[4], row[5]] for row in listed] == [
        ["acme", "recording-1", "100", "age"],
        ["acme", "recording-2", "100", "age"],
        ["shop", "recording-3", "30", "bytes of its tenant"],
    ]
    assert len(there(str(data_dir))) == 6


def test_without_limits_nothing_would_go(capsys: pytest.CaptureFixture[str], data_dir: Path) -> None:
    stored(data_dir, [("acme", 999, 100)])
    out, _ = run(capsys, "retention")
    assert out.splitlines()[1].split() == ["acme", "1", "100", "0", "0", "-"]


def test_retention_looks_while_a_daemon_serves(
    capsys: pytest.CaptureFixture[str], daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(daemon, 2)
    out, _ = run(capsys, "retention")
    assert out.splitlines()[1].split()[:2] == ["acme", "2"]
    assert daemon.stop() == 0


def test_an_age_that_cannot_be_read_is_told_with_its_setting(
    capsys: pytest.CaptureFixture[str], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(data_dir, [])
    monkeypatch.setenv("RRD_RETENTION_AGE", "a month")
    assert "retention_age" in run(capsys, "retention", code=1)[1]


def test_retention_without_an_index_says_so_and_makes_nothing(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    assert "no index here" in run(capsys, "retention", code=1)[1]
    assert not data_dir.exists()


def test_what_a_daemon_holds_is_told_everywhere_until_it_is_confirmed(
    capsys: pytest.CaptureFixture[str], data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RRD_RETENTION_AGE", "30d")
    stored(data_dir, [("acme", 999, 100)])
    assert "nothing to confirm" in run(capsys, "retention", "--confirm", code=1)[1]
    with DaemonProcess(tmp_path, retention_age="30d") as daemon:
        daemon.wait_for_log("retention_held what=age")
        with urllib.request.urlopen(f"{daemon.url}/-/ready") as answer:
            assert [text for text in json.load(answer)["held"] if "wall clock" in text]
        out, _ = run(capsys, "doctor")
        assert "held         the wall clock says" in out
        assert str(data_dir) not in out
        out, told = run(capsys, "retention")
        assert out.splitlines()[1].split()[:4] == ["acme", "1", "100", "1"]
        assert "rrd retention --confirm" in told
        out, _ = run(capsys, "retention", "--confirm")
        assert out.count("confirmed: ") == 2
        assert [line["event"] for line in audited(data_dir)] == ["retention_confirmed"] * 2
        daemon.wait_for_log("expired recording=")
        assert "retention_held" not in daemon.wait_for_log("retention recordings=1").partition("confirmed")[2]
        assert run(capsys, "retention")[1] == ""
        assert daemon.stop() == 0


def test_vacuum_leaves_no_scrap_of_what_was_removed_and_everything_else(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    assert "no index here" in run(capsys, "vacuum", code=1)[1]
    stored(data_dir, [("acme", age, 100) for age in range(300)])
    path = data_dir / "index.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as index, index:
        # As SQLite may leave it: freed, and not overwritten.
        index.execute("CREATE TABLE scraps (value)")
        index.execute("INSERT INTO scraps VALUES (?)", ("visitor-4711@example.net" * 500,))
        index.execute("PRAGMA secure_delete = OFF")
        index.execute("DROP TABLE scraps")
    size = path.stat().st_size
    assert b"visitor-4711" in path.read_bytes()
    out, _ = run(capsys, "vacuum")
    assert b"visitor-4711" not in path.read_bytes()
    assert path.stat().st_size < size
    assert f"{size:,}" in out
    assert len(there(str(data_dir))) == 300


def test_vacuum_refuses_while_a_daemon_serves(
    capsys: pytest.CaptureFixture[str], daemon: DaemonProcess
) -> None:
    assert "served by a running rrd" in run(capsys, "vacuum", code=1)[1]
    assert daemon.stop() == 0
