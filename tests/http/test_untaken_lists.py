"""Lists and metadata whose size senders decide: in pieces, and nobody's memory while nobody takes them."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.harness import DaemonProcess, LocalDaemon, running
from tests.http.api import Api, visiting
from tests.http.raw_client import untaken
from tests.samples import dump

_RECORDINGS, _KEYS = 60, 90


def _value(number: int) -> str:
    # Some of it takes six bytes for one as JSON.
    return chr(1 + number % 5) * 300 + str(number).rjust(3700, "v")


def _metadata(number: int) -> dict[str, str]:
    return {f"k{key:02}": _value(number * _KEYS + key) for key in range(_KEYS)}


def _id(number: int) -> str:
    return str(uuid.UUID(int=number + 1, version=4))


async def _fill(url: str, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for number in range(_RECORDINGS):
            body = dump(_metadata(number))
            async with session.post(f"{url}/recordings/{_id(number)}/meta", data=body) as answer:
                assert answer.status == 200


def _rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_large_list_comes_in_pieces_and_is_whole(api: Api, daemon: LocalDaemon) -> None:
    await _fill(daemon.url, api.key)
    reply = await api.get("/recordings?limit=100")
    listed = {item["recordingId"]: item["metadata"] for item in reply.json()["recordings"]}
    assert listed == {_id(number): _metadata(number) for number in range(_RECORDINGS)}
    assert "Content-Length" not in reply.headers
    for method in ("HEAD", "GET"):
        again = await api.request(method, "/recordings?limit=2&offset=1")
        assert again.status == 200
    assert [item["recordingId"] for item in again.json()["recordings"]] == [
        item["recordingId"] for item in reply.json()["recordings"][1:3]
    ]
    metadata = await api.get(f"/recordings/{_id(3)}?shape=object")
    assert metadata.json()["metadata"] == _metadata(3)
    assert daemon.services.read_room.free == daemon.config.read_bytes_max


@pytest.mark.slow
@pytest.mark.parametrize("target", ["/recordings?limit=100", f"/recordings/{_id(3)}"])
async def test_answers_that_nobody_takes_hold_little_and_others_go_on(tmp_path: Path, target: str) -> None:
    rrd = DaemonProcess(tmp_path)
    key, other = rrd.key(), rrd.key(tenant="other")
    with rrd:
        await _fill(rrd.url, key)
        before = _rss_bytes(rrd.pid)
        async with untaken(rrd.port, key, target, 60), aiohttp.ClientSession() as session:
            for _ in range(20):
                headers = {"Authorization": f"Bearer {other}"}
                async with (
                    asyncio.timeout(20),
                    session.get(f"{rrd.url}/recordings", headers=headers) as answer,
                ):
                    assert json.loads(await answer.read()) == {"recordings": []}
            assert _rss_bytes(rrd.pid) - before < 160 << 20


async def test_a_recording_that_goes_while_the_list_is_made_is_left_out(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        await _fill(daemon.url, api.key)
        index = daemon.services.index
        more: dict[str, Any] = {"encode": lambda found: found.recording_id.encode(), "bytes_max": 1}
        piece = await index.begin_list("acme", filters=[], limit=100, offset=0, **more)
        seen = [*piece.items]
        while piece.rest:
            if len(seen) == 5:
                row = await index.recording("acme", _id(10))
                assert row is not None
                await index.remove("acme", _id(10))
            piece = await index.continue_list(piece.rest, **more)
            seen += piece.items
        assert len(seen) == _RECORDINGS - 1
        assert len(set(seen)) == len(seen)
        assert _id(10).encode() not in seen
