"""Pages as deep as an HTML parser makes them, and deeper: in and out on every way, byte for byte."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import ROOT, running, until
from tests.http.api import COMPRESS, JSON, NDJSON, Api, visiting
from tests.playback.frames import frames_of
from tests.samples import dump, ndjson, new_id
from tests.wire.packer import pack

HTML_ELEMENTS_MAX = 513
"""How deep HTML parsers nest elements."""

LEVELS_MAX = 10_000
"""The default of ``nesting_max``."""


def page(elements: int, timestamp: int, *, text: bytes = b"x") -> bytes:
    """A full snapshot with so many elements inside each other."""
    opening = b'{"type":2,"tagName":"div","attributes":{},"childNodes":['
    node = b'{"type":3,"textContent":"%s","id":9}' % text
    nested = opening * elements + node + b'],"id":4}' * elements
    head = b'{"type":2,"timestamp":%d,"data":{"node":{"type":0,"childNodes":[' % timestamp
    return head + nested + b'],"id":1},"initialOffset":{"left":0,"top":0}}}'


def flat(levels: int, timestamp: int) -> bytes:
    return b'{"type":3,"timestamp":%d,"data":' % timestamp + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


# Not in order, so that reading has to sort them by their timestamps.
PAGES = [
    page(HTML_ELEMENTS_MAX, 1_500),
    flat(LEVELS_MAX, 1_400),
    page(1_000, 1_300, text=b"\\ud83d"),
    flat(960, 1_200),
    page(2, 1_100),
]
TOO_DEEP = flat(LEVELS_MAX + 1, 1_600)
SENT = [*PAGES, TOO_DEEP]


async def by_post(api: Api, recording_id: str) -> int:
    reply = await api.post(recording_id, ndjson(SENT))
    return int(reply.json()["quarantined_rows"])


async def by_array(api: Api, recording_id: str) -> int:
    reply = await api.post(recording_id, b"[" + b",\n".join(SENT) + b"]", kind=JSON)
    return int(reply.json()["quarantined_rows"])


async def by_packed_post(api: Api, recording_id: str) -> int:
    reply = await api.post(recording_id, ndjson(map(pack, SENT)))
    return int(reply.json()["quarantined_rows"])


async def by_messages(api: Api, recording_id: str) -> int:
    socket = await api.socket(recording_id)
    await socket.send_text(*SENT)
    return int((await socket.finish()).last["quarantined_rows"])


async def by_compressed_messages(api: Api, recording_id: str) -> int:
    socket = await api.socket(recording_id, contentEncoding="zstd")
    await socket.send_binary(*(COMPRESS["zstd"](line) for line in SENT))
    return int((await socket.finish()).last["quarantined_rows"])


WAYS_IN: tuple[Callable[[Api, str], Awaitable[int]], ...] = (
    by_post,
    by_array,
    by_packed_post,
    by_messages,
    by_compressed_messages,
)


async def check(api: Api, recordings: list[str]) -> None:
    """Read on every way that the API knows."""
    in_order = sorted(PAGES, key=lambda line: line[:30].partition(b'"timestamp":')[2])
    for recording_id in recordings:
        assert await api.events(recording_id) == in_order
        part = await api.get(f"/recordings/{recording_id}/events?from=1200&to=1401")
        assert part.body.count(b'"sequenceId"') == 3
        lines = await api.get(f"/recordings/{recording_id}/events", headers={"Accept": NDJSON})
        assert lines.body.count(b"\n") == len(PAGES)
        stored = await api.get(
            f"/recordings/{recording_id}/events?form=stored", headers={"Accept-Encoding": "zstd"}
        )
        assert sorted(b"".join(frames_of(stored.body)).split(b"\n")[:-1]) == sorted(PAGES)


@pytest.mark.parametrize("rolled_up", [False, True], ids=["segments", "objects"])
async def test_in_on_every_way_and_out_on_every_way(tmp_path: Path, rolled_up: bool) -> None:
    settings: dict[str, Any] = {"seal_closed_s": 0, "seal_idle_s": 1, "rollup_delay_s": 0, "keep_local_s": 0}
    settings = settings if rolled_up else {}
    data_dir = tmp_path / "data"
    recordings = [new_id() for _ in WAYS_IN]
    async with running(data_dir, **settings) as daemon, visiting(daemon) as api:
        for way, recording_id in zip(WAYS_IN, recordings, strict=True):
            assert await way(api, recording_id) == 1
            again = await api.post(recording_id, ndjson(PAGES))
            assert again.json()["duplicate_rows"] == len(PAGES)
        if rolled_up:
            await until(
                lambda: not daemon.segments("active") and not daemon.segments("sealed"), what="roll-up"
            )
        await check(api, recordings)
    verified = await command(data_dir, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    for path in data_dir.glob("index.sqlite*"):
        path.unlink()
    assert (await command(data_dir, "reindex")).returncode == 0
    out = tmp_path / "out"
    done = await command(
        data_dir, "export", "--all", "--tenant", "acme", "--format", "dir", "--output", str(out)
    )
    assert done.returncode == 0, done.stderr
    async with running(data_dir, **settings) as daemon, visiting(daemon) as api:
        await check(api, recordings)
    other = tmp_path / "other"
    async with running(other) as daemon, visiting(daemon) as api:
        done = await command(other, "import", "--tenant", "acme", str(out), port=daemon.port)
        assert done.returncode == 0, done.stdout + done.stderr
        await check(api, recordings)


async def command(data_dir: Path, *argv: str, port: int = 1) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "rrd", *argv, "--data-dir", str(data_dir)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RRD_PORT": str(port)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


async def test_the_setting_counts(tmp_path: Path) -> None:
    async with running(tmp_path, nesting_max=1_500) as daemon, visiting(daemon) as api:
        recording_id = new_id()
        reply = await api.post(
            recording_id, ndjson([flat(1_500, 1), flat(1_501, 2), page(HTML_ELEMENTS_MAX, 3)])
        )
        assert reply.json() == {"successful_rows": 2, "quarantined_rows": 1, "duplicate_rows": 0}
        assert len(dump(await api.metadata(recording_id))) == 2
