"""A start asks the store whose it is: a few seconds long, and again before a change if there is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rrd.disk.disk import OsDisk
from rrd.errors import ConfigError
from rrd.objects.identity import MARKER_KEY, Marker, read_own
from tests.harness import DaemonProcess, LocalDaemon, copy_data, running, until
from tests.http.api import visiting
from tests.proof.test_bucket_round_trip import SOON, lose_index, nothing_local
from tests.s3_servers import S3Server, moto
from tests.samples import by_time, ndjson, new_id

LINES = [b'{"type":3,"timestamp":%d,"data":{"n":%d}}' % (number, number) for number in range(1, 101)]
_SOON: dict[str, Any] = SOON

pytestmark = pytest.mark.slow


@pytest.fixture
async def server() -> AsyncIterator[S3Server]:
    async with moto() as running_server:
        await running_server.make_bucket("recordings")
        yield running_server
        running_server.cont()


def patient(server: S3Server) -> dict[str, Any]:
    """Settings with which the client itself would wait for ten minutes."""
    return server.settings("recordings", s3_prefix="site", s3_timeout_s=600) | _SOON


async def has_lived(data_dir: Path, **settings: Any) -> None:
    """Make a data directory that has an index. One without waits for the store, which may have objects."""
    async with running(data_dir, **settings) as daemon, visiting(daemon) as api:
        assert (await api.post(new_id(), ndjson(LINES[:1]))).status == 200


async def marker(server: S3Server) -> Marker:
    async with server.client() as client:
        reply = await client.get_object(Bucket="recordings", Key=f"site/{MARKER_KEY}")
        return msgspec.json.decode(await reply["Body"].read(), type=Marker)


async def test_a_start_does_not_wait_for_a_store_that_is_silent(server: S3Server, tmp_path: Path) -> None:
    recording_id = new_id()
    await has_lived(tmp_path / "data", **patient(server))
    server.stop()
    async with asyncio.timeout(120):
        async with running(tmp_path / "data", **patient(server)) as daemon, visiting(daemon) as api:
            assert (await api.post(recording_id, ndjson(LINES))).status == 200
            server.cont()
            await nothing_local(daemon)
            assert await api.events(recording_id) == by_time(LINES)
    own = read_own(str(tmp_path / "data"), OsDisk())
    assert own is not None
    assert (await marker(server)).id == own.id


async def test_a_store_that_turns_out_to_be_another_s_is_not_changed(
    server: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path / "first", **patient(server)):
        pass
    mark = await marker(server)
    await has_lived(tmp_path / "second")
    server.stop()
    recording_id = new_id()
    async with running(tmp_path / "second", **patient(server)) as daemon, visiting(daemon) as api:
        assert (await api.post(recording_id, ndjson(LINES))).status == 200
        server.cont()
        await until(
            lambda: "belongs to another data directory" in caplog.text, what="the roll-up to be refused"
        )
        assert await api.events(recording_id) == by_time(LINES)
        assert [info.key async for info in daemon.parts.store.list()] == []
        assert daemon.segments("sealed")
    assert await marker(server) == mark


async def test_an_index_is_not_made_from_another_s_store(server: S3Server, tmp_path: Path) -> None:
    async with running(tmp_path / "first", **patient(server)) as daemon, visiting(daemon) as api:
        assert (await api.post(new_id(), ndjson(LINES))).status == 200
        await nothing_local(daemon)
    async with running(tmp_path / "second", objects_dir=str(tmp_path / "objects")):
        pass
    lose_index(tmp_path / "second")
    server.stop()

    def go_on(_: LocalDaemon) -> None:
        server.cont()

    with pytest.raises(ConfigError, match="adopt-store"):
        async with running(tmp_path / "second", before_recovery=go_on, **patient(server)):
            pass


@pytest.mark.parametrize(("place", "other"), [("directory", "new"), ("directory", "copy"), ("bucket", "new")])
async def test_of_two_daemons_one_is_refused_and_told_what_to_do(
    server: S3Server, tmp_path: Path, place: str, other: str
) -> None:
    settings = patient(server) if place == "bucket" else {"objects_dir": str(tmp_path / "objects"), **_SOON}
    first, second = DaemonProcess(tmp_path / "a", **settings), DaemonProcess(tmp_path / "b", **settings)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()

    def refusal(daemon: DaemonProcess) -> str:
        with pytest.raises(RuntimeError) as refused:
            daemon.start()
        return str(refused.value)

    with first:
        if other == "new":
            told = await asyncio.to_thread(refusal, second)
            assert "belongs to another data directory" in told
            assert "check data_dir, objects_dir, s3_bucket and s3_prefix" in told
            return
    copy_data(first.data_dir, second.data_dir)
    with first:
        told = await asyncio.to_thread(refusal, second)
        assert "Give each an objects_dir of its own, or stop the other" in told
