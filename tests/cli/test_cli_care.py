"""``rrd verify``, ``doctor``, ``reindex``, ``quarantine``, ``inspect`` where recordings are in the store."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from rrd import layout
from rrd.care.refusals import Refusals
from rrd.cli import main
from rrd.clock import SystemClock
from rrd.disk.disk import OsDisk
from rrd.objects.local import LocalStore
from tests.audit_log import audited
from tests.care.care_lab import A, B, C, Life, delete_index, life
from tests.samples import event, metadata
from tests.wired import numbered_id


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RRD_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def lived(folder: Path, what: Callable[[Life], Awaitable[object]]) -> None:
    """One life with the store that the settings ask for: a directory."""

    async def run() -> None:
        store = LocalStore(layout.objects_dir(str(folder / "data")), OsDisk())
        async with life(folder, store) as now:
            await what(now)
        await store.close()

    asyncio.run(run())


async def filled(now: Life) -> None:
    """A in an object, and in an active segment; B sealed; C quarantined lines alone, in an object."""
    await now.send(metadata("user\x1b", "<1>"), event(1), event(2), b"no event", b"\xff\xfe")
    await now.send(b"junk", recording_id=C)
    await now.roll_up(evict=True)
    await now.send(event(1), recording_id=B, tenant="other")
    await now.rest()
    await now.send(event(2), event(3), b'{"timestamp":1}')


def run(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    """Return what a command printed."""
    assert main(argv) == code
    captured = capsys.readouterr()
    # A log line is for people, and comes on stderr; a progress bar would have a carriage return.
    assert "\r" not in captured.err
    assert "Traceback" not in captured.err
    return captured.out + (captured.err if code else "")


def object_of(data_dir: Path, recording_id: str) -> Path:
    return next((data_dir / "objects").rglob(f"{recording_id}/*.ndjson.zst"))


def key_of(data_dir: Path, recording_id: str) -> str:
    return str(object_of(data_dir, recording_id).relative_to(data_dir / "objects"))


def test_verify_says_that_all_is_well(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path
) -> None:
    lived(tmp_path, filled)
    for flags in ([], ["--deep"], ["--mend"], ["--deep", A]):
        told = run(capsys, "verify", *flags)
        assert "no difference" in told
        assert len(told.splitlines()) == 1


def test_verify_tells_each_difference_on_a_line_and_mends_what_it_can(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path
) -> None:
    lived(tmp_path, filled)
    stray = data_dir / "rolling" / f"t.{A}.000001.object"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"half")
    gone = object_of(data_dir, A)
    data = gone.read_bytes()
    gone.unlink()
    told = run(capsys, "verify", code=1).splitlines()
    assert [line.partition(":")[0] for line in told[:-1]] == [
        "object-missing", "rolling-leftover", "events-missing",
    ]  # fmt: skip
    assert str(stray) in told[1]
    assert "rrd verify --mend" in told[1]
    assert "events 1 to 2 (2 events" in told[2]
    assert "1 " in run(capsys, "verify", A, "--tenant", "t", code=1)
    assert stray.exists()
    assert "removed" in run(capsys, "verify", "--mend", code=1)
    assert not stray.exists()
    assert audited(data_dir) == [{"event": "mended", "differences": 1, "left": 2}]
    gone.parent.mkdir(parents=True, exist_ok=True)
    gone.write_bytes(data)
    run(capsys, "verify", "--deep")


def test_verify_works_beside_a_running_daemon_and_mends_only_without_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path
) -> None:
    lived(tmp_path, filled)
    with (data_dir / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run(capsys, "verify", "--deep")
        assert "served by a running rrd" in run(capsys, "verify", "--mend", code=1)
        run(capsys, "doctor", A)


def test_verify_without_an_index_says_what_makes_it(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    for command in (["verify"], ["doctor", A]):
        assert "`rrd reindex`" in run(capsys, *command, code=1)
    assert not data_dir.exists()


def test_mending_leaves_the_note_that_an_index_is_half_rebuilt(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path
) -> None:
    lived(tmp_path, filled)
    note = data_dir / "index.sqlite.rebuilding"
    note.touch()
    run(capsys, "verify", "--mend")
    assert note.exists(), "the next start rebuilds it"


def test_verify_of_an_unknown_recording_is_an_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lived(tmp_path, filled)
    assert "rrd doctor" in run(capsys, "verify", numbered_id(99), code=1)


def test_reindex_finds_segments_and_objects_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path
) -> None:
    lived(tmp_path, filled)
    before = run(capsys, "quarantine", "list")
    delete_index(tmp_path)
    assert main(["reindex"]) == 0
    assert "3 recordings, 2 segments, 2 blocks, 2 objects" in capsys.readouterr().out
    assert run(capsys, "quarantine", "list") == before
    assert "no difference" in run(capsys, "verify", "--deep")


def test_quarantined_lines_are_read_from_objects_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lived(tmp_path, filled)
    shown = [json.loads(line) for line in run(capsys, "quarantine", "show", A).splitlines()]
    assert [(line["segment"], line["line"], line["reason"]) for line in shown] == [
        (1, 4, "not_json"),
        (1, 5, "invalid_utf8"),
        (2, 3, "bad_type"),
    ]
    (line,) = run(capsys, "quarantine", "show", C).splitlines()
    assert json.loads(line)["raw"] == "junk"


def test_a_damaged_object_is_named_when_quarantined_lines_are_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path
) -> None:
    lived(tmp_path, filled)
    path = object_of(data_dir, A)
    data = bytearray(path.read_bytes())
    data[data.index(b"rrdb") + 100] ^= 1
    path.write_bytes(data)
    assert key_of(data_dir, A) in run(capsys, "quarantine", "show", A, code=1)
    assert "object-damaged" in run(capsys, "verify", "--deep", code=1)
    assert "DAMAGED" in run(capsys, "inspect", key_of(data_dir, A))


def test_inspect_takes_the_key_of_an_object(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path
) -> None:
    lived(tmp_path, filled)
    told = run(capsys, "inspect", key_of(data_dir, A))
    assert key_of(data_dir, A) in told
    assert "clean" in told
    assert told.splitlines()[2:] == run(capsys, "inspect", str(object_of(data_dir, A))).splitlines()[1:]
    absent = key_of(data_dir, A).replace(A, B)
    assert absent in run(capsys, "inspect", absent, code=1)


def test_doctor_tells_the_story_of_a_recording(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path
) -> None:
    lived(tmp_path, filled)
    told = run(capsys, "doctor", A)
    for said in (
        f"{A} of tenant t",
        "began        2023-11-14T22:13:20.000Z",
        "last stored  2023-11-14T22:46:40.000Z",
        "events       3, sequenceIds 1 to 3",
        "1 line came again",
        "3 lines\n",
        "1 for 'not_json'",
        "1 for 'invalid_utf8'",
        "1 for 'bad_type'",
        "'user\\x1b' = '<1>', version 1",
        f"events 1 to 2, 1970-01-01T00:00:00.001Z to 1970-01-01T00:00:00.002Z: object {key_of(data_dir, A)}",
        "events 3 to 3",
        layout.active_path(str(data_dir), layout.SegmentName("t", A, 2)),
        "damage       none",
    ):
        assert said in told
    assert "\x1b" not in told


def test_doctor_tells_why_there_is_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path
) -> None:
    lived(tmp_path, filled)
    assert "never seen" in run(capsys, "doctor", numbered_id(99), code=1)
    assert "not an id" in run(capsys, "doctor", "whatever!", code=1)
    assert "nothing but quarantined lines" in run(capsys, "doctor", C)
    assert "tenant other has a recording of this id" in run(capsys, "doctor", B, "--tenant", "t", code=1)

    async def erased(now: Life) -> None:
        await now.remover.erase("t", A)
        now.tombstones.count_late("t", A, 7)

    lived(tmp_path, erased)
    told = run(capsys, "doctor", A)
    assert "was erased" in told
    assert "with 3 events" in told
    assert "1 object went" in told
    assert "7 lines since" in told


def test_doctor_tells_what_was_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path
) -> None:
    data_dir.mkdir()
    assert "nothing that a sender sent" in run(capsys, "doctor")
    lived(tmp_path, filled)
    account = Refusals(str(data_dir), SystemClock())
    for _ in range(1001):
        account.count(code="too_large", status=413, tenant="t", recording_id=A)
    account.count(code="unauthenticated", status=401)
    account.count(code="disk_full", status=507, tenant="t", recording_id=numbered_id(99))
    saved = asyncio.run(_saved(account))
    assert saved.exists()
    told = run(capsys, "doctor")
    assert "1,001 times 413 too_large" in told
    assert "event_bytes_max" in told
    assert "1 time 401 unauthenticated" in told
    assert f"recording    {A} of tenant t: 1,001 times" in told
    assert "1,001 times 413 too_large" in run(capsys, "doctor", A)
    assert "507 disk_full" in run(capsys, "doctor", numbered_id(99), code=1)
    assert "nothing that a sender" in run(capsys, "doctor", "--tenant", "other")
    assert " 401 " not in run(capsys, "doctor", "--tenant", "t")


async def _saved(account: Refusals) -> Path:
    task = asyncio.create_task(account.run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return Path(account.path)


def test_doctor_tells_what_is_damaged(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path
) -> None:
    lived(tmp_path, filled)
    object_of(data_dir, A).unlink()
    told = run(capsys, "doctor", A)
    assert "damage       object-missing" in told
    assert "can't be read" in told


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_store_that_can_not_be_read_is_an_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path
) -> None:
    lived(tmp_path, filled)
    (data_dir / "objects").chmod(0)
    try:
        assert "rrd: " in run(capsys, "reindex", code=1)
    finally:
        (data_dir / "objects").chmod(0o700)


def test_a_reindex_of_an_empty_store_and_directory_makes_an_empty_index(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path
) -> None:
    data_dir.mkdir()
    assert main(["reindex"]) == 0
    capsys.readouterr()
    assert "nothing there: no difference" in run(capsys, "verify")
    shutil.rmtree(data_dir)


def test_doctor_tells_how_far_a_page_clock_is_off(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began_ms = 1_700_000_000_000

    async def send(now: Life) -> None:
        await now.send(event(began_ms - 7_200_000))
        await now.send(event(began_ms + 500), recording_id=B)
        await now.roll_up(evict=True)
        await now.send(event(began_ms), recording_id=B)

    lived(tmp_path, send)
    told = run(capsys, "doctor", A)
    assert "arrival      7,200.0 s after the time by its page's clock, in the median over 1 block\n" in told
    assert "that clock is off" in told
    told = run(capsys, "doctor", B)
    assert "arrival      0.5 s before the time by its page's clock, in the median over 2 blocks\n" in told
    assert "that clock is off" not in told
