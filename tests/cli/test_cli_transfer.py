"""``rrd export`` and ``rrd import`` beside a daemon that runs, and without one."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from bench.corpus import NAMES, lines_of
from rrd.access.keys import KeyStore
from rrd.cli import main
from rrd.layout import keys_path
from tests.exchange.exchange_lab import Client, event
from tests.harness import DEADLINE_S, DaemonProcess
from tests.samples import by_time, ndjson, new_id

pytestmark = pytest.mark.table

ODD = [
    b'{"type":3,"timestamp":5,"data":"lone \\ud83d"}\t',
    b'  {"timestamp" : 4.5 , "type":3 ,"sequenceId":"mine"}\t',
    b'{"type":3,"timestamp":5,"data":"lone \\ud83d"}\t',
    b'{"type":3,"timestamp":5,"recordingId":"who knows","data":1}',
    b'{"type":99,"timestamp":-3,"sequenceId":7,"recordingId":"3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e6f"}',
]
"""Among them are two equal ones: of one body, both count."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("daemon"), flush_age_ms=20) as process:
        yield process


@pytest.fixture(scope="module")
def corpus(daemon: DaemonProcess) -> dict[str, list[bytes]]:
    """The recordings of tenant ``corpus``: real ones, and one of odd lines that came in two bodies."""
    client = Client(daemon, "corpus")
    sent = {new_id(): list(lines_of(name)) for name in NAMES}
    for recording_id, lines in sent.items():
        client.post(recording_id, lines)
        client.tell(recording_id, userId="ä\ud83d", first=recording_id)
        client.tell(recording_id, userId="user 7")
    odd = new_id()
    client.post(odd, ODD[:3])
    client.post(odd, ODD[3:])
    return sent | {odd: ODD}


@pytest.fixture(autouse=True)
def _settings(daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RRD_DATA_DIR", daemon.data_dir)
    monkeypatch.setenv("RRD_PORT", str(daemon.port))


def rrd(*argv: str, code: int = 0) -> None:
    if argv[:2] == ("import", "--tenant"):
        # A tenant is known by its keys.
        with KeyStore(keys_path(os.environ["RRD_DATA_DIR"])) as store:
            store.create_key(tenant=argv[2], scope="ingest", origins=())
    assert main(argv) == code


def exported(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1]


def wait_until(look: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not look():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def unpacked(path: Path) -> list[bytes]:
    with zstandard.open(path, "rb") as file:
        data: bytes = file.read()
    return data.split(b"\n")[:-1]


def test_an_export_is_what_the_senders_wrote_byte_for_byte(
    corpus: dict[str, list[bytes]], tmp_path: Path
) -> None:
    for recording_id, lines in corpus.items():
        rrd("export", recording_id, "--output", str(tmp_path / "out"))
        assert exported(tmp_path / "out") == by_time(lines)


def test_an_export_to_stdout_says_nothing_but_events(
    corpus: dict[str, list[bytes]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    recording_id, lines = next(iter(corpus.items()))
    rrd("export", recording_id)
    assert capfdbinary.readouterr() == (ndjson(by_time(lines)), b"")


def test_ids_are_added_as_the_api_does(
    corpus: dict[str, list[bytes]], daemon: DaemonProcess, tmp_path: Path
) -> None:
    client = Client(daemon, "corpus")
    for recording_id in corpus:
        rrd("export", recording_id, "--with-ids", "--output", str(tmp_path / "out"))
        answer = client.call("GET", f"/recordings/{recording_id}/events")
        found = [json.loads(line) for line in exported(tmp_path / "out")]
        for line in found:
            assert line.pop("inRecording", recording_id) == recording_id
        assert found == answer


@pytest.mark.parametrize(
    "how",
    [
        ["--format", "ndjson"],
        pytest.param(["--format", "json"], marks=pytest.mark.slow),
        ["--format", "json", "--with-ids"],
        ["--format", "dir"],
    ],
    ids=" ".join,
)
def test_what_was_exported_can_be_imported_and_is_the_same(
    how: list[str],
    corpus: dict[str, list[bytes]],
    daemon: DaemonProcess,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tenant = "copy-" + "".join(how).replace("--", "-")
    rrd("export", "--all", "--tenant", "corpus", "--output", str(tmp_path / "out"), *how)
    rrd("import", "--tenant", tenant, str(tmp_path / "out"))
    capsys.readouterr()
    again = Client(daemon, tenant)
    metadata = {recording_id: again.metadata(recording_id) for recording_id in corpus}
    for recording_id, lines in corpus.items():
        rrd("export", recording_id, "--tenant", tenant, "--output", str(tmp_path / "again"))
        # White space around an element of an array is nobody's.
        is_array = "json" in how
        expected = [line.strip() if is_array else line for line in by_time(lines)]
        assert exported(tmp_path / "again") == expected
        if how == ["--format", "dir"] and lines is not ODD:
            assert metadata[recording_id] == {"userId": ("user 7", 1), "first": (recording_id, 1)}

    rrd("import", "--tenant", tenant, str(tmp_path / "out"))
    events = sum(map(len, corpus.values()))
    assert (
        capsys.readouterr().out.splitlines()[-1] == f"{len(corpus)} recordings: 0 stored, {events} repeated"
    )
    assert {recording_id: again.metadata(recording_id) for recording_id in corpus} == metadata
    assert sorted(again.recordings()) == sorted(corpus)


def test_a_stopped_daemon_s_recordings_are_exported_just_so(tmp_path: Path) -> None:
    recording_id, lines = new_id(), by_time(lines_of("data_grid"))
    with DaemonProcess(tmp_path, flush_age_ms=20) as other:
        Client(other, "t").post(recording_id, lines)
        other.stop()
    rrd("export", recording_id, "--data-dir", other.data_dir, "--output", str(tmp_path / "out"))
    assert exported(tmp_path / "out") == lines


def test_what_lies_in_objects_alone_is_exported_just_so(tmp_path: Path) -> None:
    recording_id, lines = new_id(), list(lines_of("code_editor"))
    soon = {"seal_idle_s": 1, "rollup_delay_s": 0, "keep_local_s": 0, "flush_age_ms": 20}
    with DaemonProcess(tmp_path, disk_reserve_bytes=0, **soon) as other:
        Client(other, "t").post(recording_id, lines)
        data_dir = Path(other.data_dir)
        wait_until(
            lambda: (
                any((data_dir / "objects").rglob("*.zst"))
                and not any((data_dir / "sealed").rglob("*.zst"))
                and not any((data_dir / "active").iterdir())
            )
        )
        for how in (["--with-ids"], []):
            rrd("export", recording_id, "--data-dir", other.data_dir, "--output", str(tmp_path / "out"), *how)
    assert exported(tmp_path / "out") == by_time(lines)


def test_a_directory_has_two_files_a_recording_that_plain_tools_read(
    corpus: dict[str, list[bytes]], tmp_path: Path
) -> None:
    rrd("export", *corpus, "--tenant", "corpus", "--format", "dir", "--output", str(tmp_path))
    assert {path.name for path in (tmp_path / "corpus").iterdir()} == {
        recording_id + suffix for recording_id in corpus for suffix in (".ndjson.zst", ".meta.json")
    }
    for recording_id, lines in corpus.items():
        assert unpacked(tmp_path / "corpus" / f"{recording_id}.ndjson.zst") == by_time(lines)
        about = json.loads((tmp_path / "corpus" / f"{recording_id}.meta.json").read_bytes())
        assert (about["tenant"], about["recording"], about["events"]) == ("corpus", recording_id, len(lines))
        values = {row["key"]: row["value"] for row in about["metadata"]}
        assert values == ({} if lines is ODD else {"userId": "user 7", "first": recording_id})


def test_resuming_leaves_alone_what_is_whole_and_makes_the_rest(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    client, recordings = Client(daemon, "resumed"), [new_id() for _ in range(4)]
    for recording_id in recordings:
        client.post(recording_id, [event(1)])
    argv = [
        "export",
        "--all",
        "--tenant",
        "resumed",
        "--format",
        "dir",
        "--output",
        str(tmp_path),
        "--resume",
    ]
    rrd(*argv)
    same, grown, told, cut = [tmp_path / "resumed" / f"{name}.ndjson.zst" for name in recordings]
    before = {path: path.stat().st_ino for path in (same, grown, told, cut)}
    client.post(recordings[1], [event(2)])
    client.tell(recordings[2], key="value")
    cut.write_bytes(cut.read_bytes()[:-1])
    rrd(*argv)
    assert {path for path, inode in before.items() if path.stat().st_ino == inode} == {same}
    assert unpacked(grown) == [event(1), event(2)]
    assert unpacked(cut) == [event(1)]


def test_a_range_of_time_is_half_open(daemon: DaemonProcess, tmp_path: Path) -> None:
    client, recording_id = Client(daemon, "ranged"), new_id()
    client.post(recording_id, [event(number) for number in (30, 10, 20, 40)])
    rrd("export", recording_id, "--from", "20", "--to", "40", "--output", str(tmp_path / "out"))
    assert exported(tmp_path / "out") == [event(20), event(30)]


def test_metadata_chooses_recordings(daemon: DaemonProcess, tmp_path: Path) -> None:
    client, mine, other = Client(daemon, "chosen"), new_id(), new_id()
    for recording_id, user in ((mine, "u=1"), (other, "u=2")):
        client.post(recording_id, [event(1)])
        client.tell(recording_id, userId=user, plan="free")
    rrd(
        *("export", "--tenant", "chosen", "--meta", "userId=u=1", "--meta", "plan=free"),
        *("--format", "json", "--output", str(tmp_path / "out")),
    )
    assert list(json.loads((tmp_path / "out").read_bytes())) == [mine]


def test_a_damaged_recording_is_told_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, good_too = sorted(new_id() for _ in range(3))
    with DaemonProcess(tmp_path, flush_age_ms=20) as other:
        client = Client(other, "t")
        for recording_id in (good, bad, good_too):
            client.post(recording_id, [event(1), event(2)])
        other.stop()
    (segment,) = Path(other.data_dir).rglob(f"*{bad}*.zst")
    data = segment.read_bytes()
    segment.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    common = ["export", "--all", "--data-dir", other.data_dir, "--output"]
    for how in ("ndjson", "json", "dir"):
        rrd(*common, str(tmp_path / how), "--format", how, code=1)
        assert bad in capsys.readouterr().err
    lines = [json.loads(line) for line in exported(tmp_path / "ndjson")]
    assert sorted(line["recordingId"] for line in lines) == sorted([good, good, good_too, good_too])
    assert set(json.loads((tmp_path / "json").read_bytes())) == {good, good_too}
    assert {path.name.partition(".")[0] for path in (tmp_path / "dir" / "t").iterdir()} == {good, good_too}
    rrd("export", bad, "--data-dir", other.data_dir, "--output", str(tmp_path / "bad"), code=1)
    assert not list(tmp_path.glob("bad*"))


def test_recordings_of_several_tenants_do_not_share_a_stream(
    corpus: dict[str, list[bytes]],
    daemon: DaemonProcess,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Client(daemon, "another").post(new_id(), [event(1)])
    rrd("export", "--all", "--output", str(tmp_path / "out"), code=1)
    assert "--tenant" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    rrd("export", "--all", "--format", "dir", "--output", str(tmp_path / "out"))
    assert {"another", "corpus"} <= {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(
    "argv",
    [
        ["export"],
        ["export", "--all", "--meta", "a=b"],
        ["export", "--all", "--format", "dir"],
        ["export", "no-uuid"],
        ["export", "0b1c7a52-3d44-4c8e-9a51-6d1f5a1f9e11"],
        ["export", "--all", "--tenant", "corpus", "--resume"],
        ["import", "/nowhere/at/all"],
        ["import", "--key", "k", "-"],
        ["import", "--recording", "no-uuid", "-"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused_with_a_reason(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rrd(*argv, code=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rrd: ")


# Import


def test_the_file_s_name_tells_the_recording(daemon: DaemonProcess, tmp_path: Path) -> None:
    recording_id = new_id()
    (tmp_path / f"{recording_id}.json").write_bytes(b"[" + event(1) + b"]")
    (tmp_path / f"{recording_id}.more.ndjson.gz").write_bytes(gzip.compress(event(2)))
    (tmp_path / "notes.txt").write_bytes(b"not looked at")
    rrd("import", "--tenant", "named", str(tmp_path))
    rrd("export", recording_id, "--output", str(tmp_path / "out"))
    assert exported(tmp_path / "out") == [event(1), event(2)]
    assert Client(daemon, "named").recordings() == [recording_id]


def test_events_that_nothing_tells_about_get_an_id_that_is_said(
    daemon: DaemonProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "events.json").write_bytes(b'{"events":[' + event(1) + b"]}")
    rrd("import", "--tenant", "fresh", str(tmp_path / "events.json"))
    (recording_id,) = Client(daemon, "fresh").recordings()
    assert recording_id in capsys.readouterr().err


def test_stdin_is_a_file_as_any_other(daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    recording_id = new_id()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(event(1)))))
    rrd("import", "--tenant", "piped", "--recording", recording_id.upper(), "-")
    assert Client(daemon, "piped").recordings() == [recording_id]


def test_lines_that_are_no_events_are_told_and_not_sent(
    daemon: DaemonProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"{new_id()}.ndjson"
    path.write_bytes(b"\n".join([event(1), b"junk", event(2), b'{"type":"x","timestamp":1}']))
    rrd("import", "--tenant", "refusing", str(path), code=1)
    out, err = capsys.readouterr()
    assert "line 2 is no event: not_json" in err
    assert "line 4 is no event: bad_type" in err
    assert out.splitlines()[-1] == "1 recordings: 2 stored, 0 repeated, 2 refused"
    rrd("quarantine", "list", "--tenant", "refusing")
    assert path.name.partition(".")[0] not in capsys.readouterr().out


def test_equal_events_of_one_file_are_both_kept(tmp_path: Path) -> None:
    recording_id = new_id()
    (tmp_path / f"{recording_id}.ndjson").write_bytes(ndjson([event(1), event(1)]))
    for _ in range(2):
        rrd("import", "--tenant", "twins", str(tmp_path / f"{recording_id}.ndjson"))
    rrd("export", recording_id, "--output", str(tmp_path / "out"))
    assert exported(tmp_path / "out") == [event(1), event(1)]


def test_the_key_of_an_import_is_good_for_nothing_afterwards(daemon: DaemonProcess, tmp_path: Path) -> None:
    (tmp_path / f"{new_id()}.ndjson").write_bytes(event(1))
    rrd("import", "--tenant", "keyed", str(tmp_path))
    rrd("import", "--tenant", "keyed", str(tmp_path / "absent"), code=1)
    with KeyStore(keys_path(daemon.data_dir)) as store:
        rows = [row for row in store.list_keys("keyed") if row.label == "rrd import"]
    assert len(rows) == 1
    assert all(row.scope == "ingest" and row.revoked_ms is not None for row in rows)


def test_a_key_of_one_s_own_goes_to_any_daemon(daemon: DaemonProcess, tmp_path: Path) -> None:
    recording_id = new_id()
    (tmp_path / f"{recording_id}.ndjson").write_bytes(event(1))
    key = daemon.key("ingest", tenant="remote")
    rrd(
        *("import", "--url", daemon.url + "/", "--key", key, str(tmp_path)),
        *("--data-dir", str(tmp_path / "no-data")),
    )
    assert Client(daemon, "remote").recordings() == [recording_id]


def test_nobody_there_is_said_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / f"{new_id()}.ndjson").write_bytes(event(1))
    rrd("import", str(tmp_path), "--url", "http://127.0.0.1:1", "--key", "k", code=1)
    assert "rrd serve" in capsys.readouterr().err


def test_an_importer_s_address_is_nobody_s_metadata(daemon: DaemonProcess, tmp_path: Path) -> None:
    client, recording_id = Client(daemon, "private"), new_id()
    client.post(recording_id, [event(1)])
    client.tell(recording_id, includePii="true", ipAddress="203.0.113.7", userAgent="Theirs")
    client.tell(recording_id, ipAddress="203.0.113.7", userAgent="Theirs")
    rrd("export", recording_id, "--format", "dir", "--output", str(tmp_path / "out"))
    rrd("import", "--tenant", "private-copy", str(tmp_path / "out"))
    found = {key: value for key, (value, _) in Client(daemon, "private-copy").metadata(recording_id).items()}
    assert found == {"includePii": "true", "ipAddress": "203.0.113.7", "userAgent": "Theirs"}


def test_an_export_that_lost_its_tail_is_read_as_far_as_it_goes(
    corpus: dict[str, list[bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording_id, lines = max(corpus.items(), key=lambda item: len(item[1]))
    rrd("export", recording_id, "--tenant", "corpus", "--format", "dir", "--output", str(tmp_path / "out"))
    path = tmp_path / "out" / "corpus" / f"{recording_id}.ndjson.zst"
    shutil.copy(path, tmp_path / "whole")
    os.truncate(path, path.stat().st_size // 2)
    rrd("import", "--tenant", "torn", str(tmp_path / "out"), code=1)
    assert "ends before" in capsys.readouterr().err
    rrd("export", recording_id, "--tenant", "torn", "--output", str(tmp_path / "again"))
    found = exported(tmp_path / "again")
    assert found == by_time(lines)[: len(found)]
    assert found
