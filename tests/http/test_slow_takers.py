"""Answers that nobody takes: others read all the same, and who takes nothing is given up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rrd.http.services import Bounds
from tests.harness import LocalDaemon, running, until
from tests.http.api import Api, visiting
from tests.http.raw_client import untaken
from tests.samples import an_event, by_time, ndjson, new_id

_EVENTS = [an_event(1_700_000_000_000 + number, text="x" * 100_000) for number in range(120)]
"""12 MB: more than the kernel holds for a client with a small window."""


async def _store(api: Api, key: str) -> str:
    recording_id = new_id()
    reply = await api.post(recording_id, ndjson(_EVENTS), key=key)
    assert reply.status == 200, reply.body
    return recording_id


@pytest.mark.parametrize("query", ["", "?salvage=true"])
async def test_readers_that_take_nothing_hold_up_no_other(api: Api, daemon: LocalDaemon, query: str) -> None:
    other = daemon.key("all", tenant="other")
    theirs, mine = await _store(api, api.key), await _store(api, other)
    async with untaken(daemon.port, api.key, f"/recordings/{theirs}/events{query}", 30):
        await until(lambda: daemon.services.read_room.free < 200 << 20, what="the answers to begin")
        async with asyncio.timeout(20):
            reply = await api.get(f"/recordings/{mine}/events{query}", key=other)
        assert reply.status == 200
    await until(lambda: daemon.services.read_room.free == daemon.config.read_bytes_max, what="all to end")


async def test_a_few_slow_readers_do_not_hold_up_their_own_tenant(api: Api, daemon: LocalDaemon) -> None:
    recording_id = await _store(api, api.key)
    async with untaken(daemon.port, api.key, f"/recordings/{recording_id}/events", 10):
        await until(lambda: daemon.services.read_room.free < 200 << 20, what="the answers to begin")
        async with asyncio.timeout(20):
            reply = await api.get(f"/recordings/{recording_id}/events")
        assert len(reply.json()) == len(by_time(_EVENTS))


async def test_a_taker_below_the_least_rate_is_given_up(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, bounds=Bounds(taken_interval_s=0.2)) as daemon, visiting(daemon) as api:
        recording_id = await _store(api, api.key)
        async with untaken(daemon.port, api.key, f"/recordings/{recording_id}/events", 3):
            refusals = daemon.services.refusals
            await until(lambda: refusals.account().totals, what="one to be given up")
            await until(
                lambda: daemon.services.read_room.free == daemon.config.read_bytes_max, what="the room"
            )
            assert [(row.code, row.count) for row in refusals.account().totals] == [("taker_too_slow", 3)]


async def test_a_taker_that_takes_enough_gets_all_of_it(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, bounds=Bounds(taken_interval_s=0.2)) as daemon, visiting(daemon) as api:
        recording_id = await _store(api, api.key)
        async with untaken(daemon.port, api.key, f"/recordings/{recording_id}/events", 1) as (connection,):
            size = 0
            head = await connection.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            while not (await connection.reader.readexactly(64_000)).endswith(b"\r\n0\r\n\r\n"):
                size += 64_000
                if size > 11_000_000:
                    break
                await asyncio.sleep(0.002)
            assert size > 11_000_000
