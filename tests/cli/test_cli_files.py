"""The commands that read recordings' files: inspect, reindex, quarantine."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
import zstandard

from rrd import layout
from rrd.cli import main
from rrd.disk.disk import OsDisk
from rrd.layout import SegmentName
from rrd.segment.format import BlockDraft, Identity, QuarantineNote
from rrd.segment.writer import SegmentWriter

RECORDING = "3f2b8c1e-5d4a-4f6b-9c7d-1a2b3c4d5e6f"
STORED_MS = 1_795_400_000_000
EVENT = b'{"type":3,"timestamp":1795400000000,"data":{}}\n'
BAD_LINES = (
    QuarantineNote(2, "no_type", STORED_MS, b'{"timestamp":1}'),
    QuarantineNote(5, "not_utf8", STORED_MS + 1, b"\xff\xfe"),
)


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RRD_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def make_segment(
    data_dir: Path, tenant: str, *drafts: BlockDraft, recording_id: str = RECORDING, sealed: bool = True
) -> Path:
    """Write a segment of one recording, block by block, as the daemon leaves it behind."""
    disk, name = OsDisk(), SegmentName(tenant, recording_id, 1)
    path = (layout.sealed_path if sealed else layout.active_path)(str(data_dir), name)
    disk.make_dirs(os.path.dirname(path))
    identity = Identity(
        tenant=tenant,
        recording_id=recording_id,
        number=1,
        salt=os.urandom(16).hex(),
        created_ms=STORED_MS,
        first_seq=1,
        previous_size=0,
    )
    writer = SegmentWriter(disk, path, identity, size=0, compressor=zstandard.ZstdCompressor(level=1))
    for draft in drafts:
        writer.write(draft)
        writer.sync()
        writer.synced()
    writer.close()
    return Path(path)


def block(first_seq: int, quarantine: tuple[QuarantineNote, ...] = ()) -> BlockDraft:
    return BlockDraft(
        first_seq=first_seq,
        event_count=1,
        payload=EVENT,
        first_ts=STORED_MS,
        last_ts=STORED_MS,
        ordered=True,
        own_ids=False,
        source=1,
        stored_ms=STORED_MS + first_seq,
        quarantine=quarantine,
    )


def out(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    code = main(argv)
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    return captured.out


def reindex(capsys: pytest.CaptureFixture[str]) -> str:
    """Run ``rrd reindex``, which also logs what it does; return what it printed."""
    assert main(["reindex"]) == 0
    return capsys.readouterr().out


def error(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    code = main(argv)
    captured = capsys.readouterr()
    assert (code, captured.out) == (1, "")
    assert captured.err.startswith("rrd: ")
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize("sealed", [True, False])
def test_quarantined_lines_are_found_again_after_a_reindex(
    capsys: pytest.CaptureFixture[str], data_dir: Path, sealed: bool
) -> None:
    make_segment(data_dir, "acme", block(1), block(2, BAD_LINES), block(3), sealed=sealed)
    make_segment(data_dir, "other", block(1, BAD_LINES[:1]))
    make_segment(data_dir, "clean", block(1))
    assert "3 recordings" in reindex(capsys)

    head, *rows = out(capsys, "quarantine", "list").splitlines()
    assert head.split() == ["TENANT", "RECORDING", "SEGMENT", "STORED", "LINES"]
    assert sorted((row.split()[0], row.split()[1], row.split()[4]) for row in rows) == [
        ("acme", RECORDING, "2"),
        ("other", RECORDING, "1"),
    ]
    (row,) = out(capsys, "quarantine", "list", "--tenant", "acme").splitlines()[1:]
    assert row.split()[0] == "acme"
    assert out(capsys, "quarantine", "list", "--tenant", "clean").splitlines()[1:] == []

    shown = [
        json.loads(line)
        for line in out(capsys, "quarantine", "show", RECORDING, "--tenant", "acme").splitlines()
    ]
    where = {"tenant": "acme", "recording": RECORDING, "segment": 1}
    assert shown == [
        where | {"line": 2, "reason": "no_type", "at_ms": STORED_MS, "raw": '{"timestamp":1}'},
        where
        | {
            "line": 5,
            "reason": "not_utf8",
            "at_ms": STORED_MS + 1,
            "raw_base64": base64.b64encode(b"\xff\xfe").decode(),
        },
    ]
    assert len(out(capsys, "quarantine", "show", RECORDING).splitlines()) == 3


def test_a_recording_without_quarantined_lines_is_an_error_with_advice(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    make_segment(data_dir, "acme", block(1))
    reindex(capsys)
    assert "`rrd quarantine list`" in error(capsys, "quarantine", "show", RECORDING)


def test_quarantine_without_an_index_says_so_and_makes_nothing(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    for argv in (["list"], ["show", RECORDING]):
        assert "`rrd reindex`" in error(capsys, "quarantine", *argv)
    assert not data_dir.exists()


def test_a_damaged_index_is_an_error_with_advice_and_reindex_is_the_cure(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    make_segment(data_dir, "acme", block(1, BAD_LINES))
    (data_dir / "index.sqlite").write_bytes(b"no database" * 1000)
    assert "`rrd reindex`" in error(capsys, "quarantine", "list")
    reindex(capsys)
    assert "acme" in out(capsys, "quarantine", "list")


def test_quarantined_lines_in_a_damaged_block_are_an_error_that_says_where(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    path = make_segment(data_dir, "acme", block(1, BAD_LINES), block(2))
    reindex(capsys)
    data = bytearray(path.read_bytes())
    at = data.index(b"rrdb") + 96
    data[at] ^= 0xFF
    path.write_bytes(data)
    said = error(capsys, "quarantine", "show", RECORDING)
    assert str(path) in said
    assert "at byte" in said


def test_inspect_tells_what_a_segment_holds(capsys: pytest.CaptureFixture[str], data_dir: Path) -> None:
    path = make_segment(data_dir, "acme", block(1), block(2, BAD_LINES))
    before = path.read_bytes()
    told = out(capsys, "inspect", str(path))
    assert RECORDING in told
    assert "acme" in told
    assert path.read_bytes() == before


def test_inspect_of_an_absent_file_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "absent.ndjson.zst" in error(capsys, "inspect", str(tmp_path / "absent.ndjson.zst"))
