"""An import that is done again, or goes on where it was broken off: nothing twice, and nothing lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from msgspec import structs
from pytest_aiohttp import AiohttpServer

from rrd.cli import main
from rrd.config import Config
from rrd.errors import BadRequest
from rrd.exchange.files import InputFile, find_files
from rrd.exchange.intake import Choice, ImportOutcome, check_choice, run_import
from rrd.exchange.posting import Answer, PostFailed, connected
from rrd.ids import RecordingIdForm
from rrd.progress import Progress
from tests.exchange.exchange_lab import Client, event
from tests.harness import DEADLINE_S, ROOT, DaemonProcess, LocalDaemon, running
from tests.samples import ndjson, new_id

QUIET = Progress(quiet=True)
MODES: list[RecordingIdForm] = ["uuid", "any"]


async def take_in(daemon: LocalDaemon, path: Path, **choice: str) -> ImportOutcome:
    if "key" not in choice:
        daemon.key("ingest", tenant="t")
        choice["tenant"] = "t"
    config = structs.replace(daemon.config, port=daemon.port)
    found = list(find_files([str(path)]))
    return await run_import(config, found, Choice(**choice), QUIET)  # type: ignore[arg-type]


async def lines_of(daemon: LocalDaemon, recording_id: str) -> int:
    row = await daemon.services.index.recording("t", recording_id)
    return row.next_seq - 1 if row is not None else 0


def spread_out(lines: list[bytes]) -> bytes:
    return json.dumps([json.loads(line) for line in lines], indent=2).encode()


@pytest.mark.parametrize("mode", MODES)
async def test_the_same_events_in_other_files_are_stored_once(tmp_path: Path, mode: RecordingIdForm) -> None:
    # Two of them are equal: sent once, in one file, they are two events.
    lines = [event(1), event(2), event(2), event(3)]
    files = {
        "recording.ndjson": ndjson(lines),
        "export-2024.json": b"[" + b",".join(lines) + b"]",
        "snapshots.json": b'{"snapshots":[' + b",".join(lines) + b"]}",
        "copy-of-a-recording.json": spread_out(lines),
    }
    async with running(tmp_path / "data", recording_ids=mode) as daemon:
        recordings = set()
        for number, (name, data) in enumerate(files.items()):
            (tmp_path / name).write_bytes(data)
            for again in (False, True):
                outcome = await take_in(daemon, tmp_path / name)
                ((_, recording_id),) = outcome.answers
                recordings.add(recording_id)
                is_new = not number and not again
                expected = Answer(stored=4) if is_new else Answer(repeated=4)
                assert outcome.answers == {("t", recording_id): expected}
        (recording_id,) = recordings
        assert await lines_of(daemon, recording_id) == 4


@pytest.mark.parametrize("mode", MODES)
async def test_unrelated_files_with_the_name_of_a_thing_stay_apart(
    tmp_path: Path, mode: RecordingIdForm
) -> None:
    for number in range(3):
        (tmp_path / "files" / str(number)).mkdir(parents=True)
        (tmp_path / "files" / str(number) / "recording.json").write_bytes(
            b'{"snapshots":[' + event(1) + b"," + event(number + 2) + b"]}"
        )
    async with running(tmp_path / "data", recording_ids=mode) as daemon:
        outcome = await take_in(daemon, tmp_path / "files")
    assert [answer.stored for answer in outcome.answers.values()] == [2, 2, 2]


TURNS: dict[str, Callable[[str, int], bytes]] = {
    "pairs": lambda name, number: b'["%s",%s]' % (name.encode(), event(number)),
    "own ids": lambda name, number: b'{"type":3,"timestamp":%d,"recordingId":"%s"}' % (number, name.encode()),
}


@pytest.mark.parametrize("form", TURNS)
async def test_equal_events_are_kept_though_a_file_deals_out_recordings_in_turns(
    tmp_path: Path, form: str
) -> None:
    names = [new_id(), new_id()]
    lines = [TURNS[form](name, number // 4) for number in range(40) for name in names]
    (tmp_path / "all.jsonl").write_bytes(ndjson(lines))
    async with running(tmp_path / "data") as daemon:
        await take_in(daemon, tmp_path / "all.jsonl")
        again = await take_in(daemon, tmp_path / "all.jsonl")
        counts = [await lines_of(daemon, recording_id) for recording_id in names]
    assert {answer.stored for answer in again.answers.values()} == {0}
    assert counts == [40, 40]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("daemon"), flush_age_ms=20) as process:
        yield process


@pytest.mark.slow
def test_an_import_that_was_killed_goes_on(daemon: DaemonProcess, tmp_path: Path) -> None:
    client = Client(daemon, "killed")
    lines = [event(number // 3, os.urandom(400).hex()) for number in range(60_000)]
    lines[1::10] = lines[::10]  # Some stand there twice.
    (tmp_path / "events.json").write_bytes(b'{"events":[' + b",\n".join(lines) + b"]}")
    argv = [sys.executable, "-m", "rrd", "import", "--tenant", "killed", str(tmp_path / "events.json")]
    environment = {
        **os.environ,
        "RRD_DATA_DIR": daemon.data_dir,
        "RRD_PORT": str(daemon.port),
        "PYTHONPATH": str(ROOT),
    }
    with subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + DEADLINE_S
        while not client.recordings():
            assert time.monotonic() < end, "waited in vain for the first block"
        process.send_signal(signal.SIGKILL)
    subprocess.run(argv, env=environment, stdout=subprocess.DEVNULL, check=True)
    done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, check=True)
    (recording_id,) = client.recordings()
    assert done.stdout.decode().splitlines()[-1] == f"1 recordings: 0 stored, {len(lines)} repeated"
    found = client.call("GET", f"/recordings/{recording_id}/events")
    texts = [one["data"]["text"] for one in found]
    assert sorted(texts) == sorted(json.loads(line)["data"]["text"] for line in lines)


async def test_a_pipe_is_read_once_and_from_its_beginning(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    lines = [event(number, "x" * 2000) for number in range(200)]
    writing = asyncio.create_task(asyncio.to_thread((tmp_path / "pipe").write_bytes, ndjson(lines)))
    async with running(tmp_path / "data") as daemon:
        outcome = await take_in(daemon, tmp_path / "pipe")
    await writing
    assert [answer.stored for answer in outcome.answers.values()] == [200]


def sidecar(tenant: str, recording_id: str, *, size: int) -> str:
    counts = {"created_ms": 1, "stored_events": 0, "events": 0, "raw_bytes": 0, "size": size}
    names = {"format": "rrd-export-1", "tenant": tenant, "recording": recording_id}
    return json.dumps({**names, **counts, "between": [None, None], "metadata": []})


def zipped(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def tarred(path: Path, members: dict[str, bytes]) -> None:
    plain = path.parent / "members"
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for number, (name, data) in enumerate(members.items()):
            plain.mkdir(exist_ok=True)
            (plain / str(number)).write_bytes(data)
            archive.add(plain / str(number), arcname=name)


ARCHIVES: dict[str, Callable[[Path, dict[str, bytes]], None]] = {
    "a.zip": zipped,
    "a.tar": tarred,
    "a.tgz": tarred,
}


@pytest.mark.parametrize("name", ARCHIVES)
async def test_an_archive_is_all_the_files_in_it(tmp_path: Path, name: str) -> None:
    named = new_id()
    members = {
        f"deep/{named}.json": b"[" + event(1) + b"]",
        "../../outside.ndjson": event(2),
        "__MACOSX/._outside.ndjson": b"not looked at",
        "README.md": b"neither",
        "broken.json": b"<html>",
    }
    ARCHIVES[name](tmp_path / name, members)
    async with running(tmp_path / "data") as daemon:
        outcome = await take_in(daemon, tmp_path / name)
        again = await take_in(daemon, tmp_path / name)
    assert outcome.failed == 1
    assert {answer.stored for answer in outcome.answers.values()} == {1}
    assert len(outcome.answers) == 2
    assert ("t", named) in outcome.answers
    assert {answer.stored for answer in again.answers.values()} == {0}


def test_an_export_in_an_archive_keeps_its_metadata(
    daemon: DaemonProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, recording_id = Client(daemon, "packed"), new_id()
    client.post(recording_id, [event(1)])
    client.tell(recording_id, userId="u")
    monkeypatch.setenv("RRD_DATA_DIR", daemon.data_dir)
    monkeypatch.setenv("RRD_PORT", str(daemon.port))
    out = tmp_path / "out"
    assert main(["export", recording_id, "--format", "dir", "--output", str(out)]) == 0
    zipped(
        tmp_path / "a.zip",
        {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()},
    )
    copy = Client(daemon, "packed-copy")
    assert main(["import", "--tenant", "packed-copy", str(tmp_path / "a.zip")]) == 0
    assert copy.metadata(recording_id) == {"userId": ("u", 1)}


async def test_an_export_cut_off_keeps_a_name_that_is_a_word(tmp_path: Path) -> None:
    """With `recording_ids` "any" it is the sidecar that says so, not the name."""
    (tmp_path / "checkout-flow.ndjson.zst").write_bytes(event(1))
    told = sidecar("t", "checkout-flow", size=10**6)
    (tmp_path / "checkout-flow.meta.json").write_text(told)
    async with running(tmp_path / "data", recording_ids="any") as daemon:
        outcome = await take_in(daemon, tmp_path / "checkout-flow.ndjson.zst")
    assert list(outcome.answers) == [("t", "checkout-flow")]


# What is wrong for all files is said before anything is sent


async def test_a_wrong_key_or_tenant_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / f"{new_id()}.ndjson").write_bytes(event(1))
    async with running(tmp_path / "data") as daemon:
        daemon.key("ingest", tenant="t")
        config = structs.replace(daemon.config, port=daemon.port)
        files = [InputFile(str(tmp_path / "absent")), *find_files([str(tmp_path)])]
        with pytest.raises(PostFailed, match="Nothing was sent"):
            await run_import(config, files, Choice(url=daemon.url, key="wrong"), QUIET)
        with pytest.raises(BadRequest, match="known: t"):
            await run_import(config, files, Choice(tenant="tt"), QUIET)
        with pytest.raises(BadRequest, match="its own tenant"):
            check_choice(Choice(tenant="t", url=daemon.url, key="k"), Config())
        assert not await daemon.services.index.tenants()


async def test_a_key_takes_no_exports_of_several_tenants(tmp_path: Path) -> None:
    for tenant in ("a", "b"):
        (tmp_path / "out" / tenant).mkdir(parents=True)
        recording_id = new_id()
        (tmp_path / "out" / tenant / f"{recording_id}.ndjson.zst").write_bytes(b"")
        told = sidecar(tenant, recording_id, size=0)
        (tmp_path / "out" / tenant / f"{recording_id}.meta.json").write_text(told)
    async with running(tmp_path / "data") as daemon:
        with pytest.raises(BadRequest, match="2 tenants"):
            await take_in(daemon, tmp_path / "out", url=daemon.url, key=daemon.key("ingest"))


async def test_a_server_that_does_not_tell_repeats_is_refused(aiohttp_server: AiohttpServer) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"successful_rows": 0, "quarantined_rows": 0})

    app = web.Application()
    app.router.add_post("/ingest", answer)
    old = await aiohttp_server(app)
    async with connected(str(old.make_url("/"))) as server:
        with pytest.raises(PostFailed, match="too old"):
            await server.admit("key")
