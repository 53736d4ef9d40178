"""Bodies on their way to a daemon."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from msgspec import structs

from rrd.config import Config
from rrd.errors import BadRequest
from rrd.exchange.files import InputFile, find_files
from rrd.exchange.intake import Choice, ImportOutcome, check_choice, run_import
from rrd.exchange.posting import Answer, Post, PostFailed, connected
from rrd.exchange.spool import BATCH_BYTES
from rrd.progress import Progress
from rrd.shares.queue import Who
from tests.exchange.exchange_lab import event
from tests.harness import LocalDaemon, running
from tests.samples import by_time, ndjson, new_id

QUIET = Progress(quiet=True)


async def stored(daemon: LocalDaemon, tenant: str, recording_id: str) -> int:
    row = await daemon.services.index.recording(tenant, recording_id)
    return row.next_seq - 1 if row is not None else 0


async def take_in(
    daemon: LocalDaemon, path: Path, *, batch_bytes: int = BATCH_BYTES, **choice: str
) -> ImportOutcome:
    if "tenant" in choice:
        daemon.key("ingest", tenant=choice["tenant"])  # A tenant is known by its keys.
    config = structs.replace(daemon.config, port=daemon.port)
    return await run_import(config, [InputFile(str(path))], Choice(**choice, batch_bytes=batch_bytes), QUIET)  # type: ignore[arg-type]


async def test_a_large_recording_goes_in_several_bodies_cut_where_equal_lines_are_not_parted(
    tmp_path: Path,
) -> None:
    recording_id = new_id()
    # Seven equal ones each: more than a body may hold, all together.
    lines = [event(number // 7, "x" * 500) for number in range(2100)]
    assert len(ndjson(lines)) > 1_000_000
    (tmp_path / f"{recording_id}.ndjson").write_bytes(ndjson(lines))
    async with running(tmp_path / "data", body_bytes_max=400_000) as daemon:
        outcome = await take_in(daemon, tmp_path / f"{recording_id}.ndjson", batch_bytes=3000, tenant="t")
        assert outcome.answers == {("t", recording_id): Answer(stored=2100)}
        again = await take_in(daemon, tmp_path / f"{recording_id}.ndjson", batch_bytes=3000, tenant="t")
        assert again.answers == {("t", recording_id): Answer(repeated=2100)}
        assert await stored(daemon, "t", recording_id) == len(by_time(lines))


async def test_a_recording_that_is_refused_does_not_keep_others_out(tmp_path: Path) -> None:
    first, erased, last = (new_id() for _ in range(3))
    for recording_id in (first, erased, last):
        line = b'{"type":3,"timestamp":%d,"recordingId":"%s"}'
        lines = [line % (number, recording_id.encode()) for number in range(2)]
        with (tmp_path / "all").open("ab") as file:
            file.write(ndjson(lines))
    async with running(tmp_path / "data") as daemon:
        assert (await take_in(daemon, tmp_path / "all", tenant="acme")).failed == 0
        bearer = {"Authorization": f"Bearer {daemon.key('erase')}"}
        async with aiohttp.request("DELETE", f"{daemon.url}/recordings/{erased}", headers=bearer) as response:
            assert response.status == 200
        outcome = await take_in(daemon, tmp_path / "all", tenant="acme")
    assert outcome.failed == 1
    assert outcome.answers == {("acme", first): Answer(repeated=2), ("acme", last): Answer(repeated=2)}


async def test_a_quota_that_has_room_again_soon_is_waited_for(tmp_path: Path) -> None:
    recordings = [new_id() for _ in range(3)]
    lines = [
        b'{"type":3,"timestamp":1,"recordingId":"%s"}' % recording_id.encode() for recording_id in recordings
    ]
    (tmp_path / "all").write_bytes(ndjson(lines))
    async with running(tmp_path / "data", recordings_per_min_tenant_max=60) as daemon:
        # The second is refused, and may come a second later.
        for _ in range(59):
            daemon.services.admission.quotas.begin_recording(Who("acme"))
        outcome = await take_in(daemon, tmp_path / "all", url=daemon.url, key=daemon.key("ingest"))
        refused = [row.code for row in daemon.services.refusals.account().totals]
    assert outcome.answers == {("", recording_id): Answer(stored=1) for recording_id in recordings}
    assert set(refused) == {"over_recordings_per_min_tenant_max"}


async def test_a_body_refused_in_its_middle_ends_at_once(tmp_path: Path) -> None:
    async def send_too_much(post: Post) -> None:
        for number in range(10_000):
            await post.put(event(number, "x" * 10_000) + b"\n")

    data_dir = tmp_path / "data"
    async with running(data_dir, body_bytes_max=1 << 20) as daemon, connected(daemon.url) as server:
        post = server.post(new_id(), daemon.key("ingest"))
        with pytest.raises(PostFailed) as caught:
            await send_too_much(post)
        # Whether the answer can still be read once the connection is closed is a matter of luck.
        assert caught.value.answered in {413, None}
        await post.cancel()


async def test_a_key_that_may_not_write_is_told_at_once(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as daemon, connected(daemon.url) as server:
        with pytest.raises(PostFailed) as caught:
            await server.admit(daemon.key("read"))
        assert caught.value.answered == 403


async def test_a_server_that_is_none_of_ours_is_told(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as daemon, connected(daemon.url + "/nowhere") as server:
        with pytest.raises(PostFailed, match="no_such_path"):
            await server.admit("key")


async def test_the_only_tenant_needs_no_name_and_of_two_one_must_be_named(tmp_path: Path) -> None:
    recording_id = new_id()
    (tmp_path / f"{recording_id}.ndjson").write_bytes(event(1))
    async with running(tmp_path / "data") as daemon:
        daemon.key("read", tenant="alone")
        outcome = await take_in(daemon, tmp_path / f"{recording_id}.ndjson")
        assert outcome.answers == {("alone", recording_id): Answer(stored=1)}
        daemon.key("read", tenant="other")
        with pytest.raises(BadRequest, match="--tenant"):
            await take_in(daemon, tmp_path / f"{recording_id}.ndjson")


def test_choices_that_make_no_sense_are_refused() -> None:
    with pytest.raises(BadRequest):
        check_choice(Choice(tenant="Not a tenant"), Config())
    with pytest.raises(BadRequest):
        check_choice(Choice(url="http://127.0.0.1:1"), Config())
    assert check_choice(Choice(recording_id=new_id().upper()), Config()).recording_id is not None


def test_below_a_directory_only_what_looks_like_events_counts(tmp_path: Path) -> None:
    names = [
        "b.ndjson",
        "a.JSON.gz",
        "c.jsonl.br",
        "d.ndjson.zst",
        "e.txt",
        ".f.ndjson",
        "g.meta.json",
        "h.zst",
    ]
    (tmp_path / "deep").mkdir()
    for name in names:
        (tmp_path / "deep" / name).write_bytes(b"")
    found = [Path(file.path).name for file in find_files([str(tmp_path)])]
    assert found == ["a.JSON.gz", "b.ndjson", "c.jsonl.br", "d.ndjson.zst"]
    assert [Path(file.path).name for file in find_files([str(tmp_path / "deep" / "e.txt")])] == ["e.txt"]
    with pytest.raises(FileNotFoundError):
        list(find_files([str(tmp_path / "absent")]))
