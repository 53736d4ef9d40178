"""Real recordings go in, roll up to real object stores, leave the disk, and come back byte for byte."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from bench.corpus import recordings
from tests.harness import LocalDaemon, eventually, running, until
from tests.http.api import Api, visiting
from tests.s3_servers import S3Server, ceph, moto, swift
from tests.samples import by_time, ndjson, new_id

_ROOT = Path(__file__).parents[2]
_BODY_LINES = 400

# Sealed when silent for a second, rolled up at once, and nothing kept here.
SOON = {"seal_idle_s": 1, "seal_closed_s": 0, "rollup_delay_s": 0, "keep_local_s": 0}

_Server = Callable[[], AbstractAsyncContextManager[S3Server]]


@pytest.fixture(
    params=[
        pytest.param((None, False), id="local"),
        pytest.param((moto, False), id="moto"),
        pytest.param((ceph, False), id="ceph-http", marks=pytest.mark.s3),
        pytest.param((ceph, True), id="ceph-https", marks=pytest.mark.s3),
        pytest.param((swift, False), id="swift", marks=pytest.mark.s3),
    ]
)
async def store_settings(request: pytest.FixtureRequest) -> AsyncIterator[dict[str, Any]]:
    server: _Server | None
    server, tls = request.param
    if server is None:
        yield {}
        return
    async with server() as running_server:
        await running_server.make_bucket("recordings")
        yield running_server.settings("recordings", tls=tls, s3_prefix="site/one")


async def send_corpus(api: Api) -> dict[str, list[bytes]]:
    """POST each recording in several bodies; return id → lines in a replayer's order."""
    sent: dict[str, list[bytes]] = {}
    for name, lines in recordings().items():
        recording_id = new_id()
        sent[recording_id] = by_time(lines)
        for start in range(0, len(lines), _BODY_LINES):
            reply = await api.post(recording_id, ndjson(lines[start : start + _BODY_LINES]))
            assert reply.status == 200, reply.body
        meta = await api.request(
            "POST", f"/recordings/{recording_id}/meta", body=b'{"name":"%s"}' % name.encode()
        )
        assert meta.status == 200
    return sent


async def nothing_local(daemon: LocalDaemon) -> None:
    """Wait until every segment has been rolled up, and its local copy is gone."""
    await until(
        lambda: not daemon.segments("active") and not daemon.segments("sealed"),
        what="all segments to be rolled up and evicted",
        deadline_s=60,
    )


def lose_index(data_dir: Path) -> None:
    for path in data_dir.glob("index.sqlite*"):
        path.unlink()


async def check_all(api: Api, sent: dict[str, list[bytes]]) -> None:
    listed = (await api.get("/recordings?limit=100")).json()["recordings"]
    assert {entry["recordingId"] for entry in listed} == sent.keys()
    for recording_id, lines in sent.items():
        numbered = await api.numbered(recording_id)
        assert [line for _, line in numbered] == lines
        assert sorted(number for number, _ in numbered) == list(range(1, len(lines) + 1))
        assert (await api.metadata(recording_id))["name"] in recordings()


async def test_the_corpus_comes_back_byte_for_byte(tmp_path: Path, store_settings: dict[str, Any]) -> None:
    settings = SOON | store_settings
    async with running(tmp_path, **settings) as daemon, visiting(daemon) as api:
        sent = await send_corpus(api)
        await nothing_local(daemon)
        await check_all(api, sent)
        statistics = (await api.get("/statistics")).json()
        # What comes late goes on behind what is in the store, and a repeat is still a repeat.
        recording_id, lines = next(iter(sent.items()))
        late = b'{"type":3,"timestamp":1,"data":{"late":true}}'
        reply = await api.post(recording_id, ndjson([lines[0], late]))
        assert reply.json() == {"successful_rows": 1, "quarantined_rows": 0, "duplicate_rows": 1}
        sent[recording_id] = [late, *lines]
        await nothing_local(daemon)
        await check_all(api, sent)
    lose_index(tmp_path)
    # Lost index: the command line makes it anew from the store, and another start needs no more of it.
    environment = {f"RRD_{key.upper()}": str(value) for key, value in settings.items()}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "rrd", "reindex", "--data-dir", str(tmp_path)],
        env={**os.environ, **environment, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    async with running(tmp_path, **settings) as daemon, visiting(daemon) as api:
        api.key = daemon.key("all")
        await check_all(api, sent)
        again = (await api.get("/statistics")).json()
        assert again["totalRecordings"] == statistics["totalRecordings"]
    lose_index(tmp_path)
    # Lost again, and nobody runs a command: the start does it by itself.
    async with running(tmp_path, **settings) as daemon, visiting(daemon) as api:
        await check_all(api, sent)


@pytest.mark.slow
async def test_reads_of_what_is_in_a_bucket_that_is_away_say_so_and_all_else_goes_on(tmp_path: Path) -> None:
    async with moto() as server:
        await server.make_bucket("recordings")
        settings = SOON | server.settings("recordings", s3_timeout_s=2, object_cache_bytes_max=0)
        async with running(tmp_path, **settings) as daemon, visiting(daemon) as api:
            rolled, local = new_id(), new_id()
            lines = recordings()["docs_search"]
            assert (await api.post(rolled, ndjson(lines))).status == 200
            await nothing_local(daemon)
            server.stop()
            try:
                assert (await api.post(local, ndjson(lines))).status == 200
                assert await api.events(local) == by_time(lines)
                away = await api.get(f"/recordings/{rolled}/events")
                assert away.status == 503
                assert away.error["code"] == "object_store_away"
                assert (await api.get("/recordings")).status == 200
            finally:
                server.cont()
            await nothing_local(daemon)

            async def reads_again() -> bool:
                return (await api.get(f"/recordings/{rolled}/events")).status == 200

            await eventually(reads_again, what="the bucket to be asked again")
            await check_lines(api, {rolled: by_time(lines), local: by_time(lines)})


async def check_lines(api: Api, sent: dict[str, list[bytes]]) -> None:
    for recording_id, lines in sent.items():
        assert await api.events(recording_id) == lines
