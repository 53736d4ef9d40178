"""``clock=server``: a recording whose page's clock is off, with its times moved to the server's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rrd.clock import SystemClock
from tests.harness import LocalDaemon, running
from tests.http.api import NDJSON, Api, visiting
from tests.http.test_reads_from_objects import closing, roll_up
from tests.samples import dump, ndjson, new_id

HOUR_MS = 3_600_000


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[LocalDaemon]:
    """A daemon that seals at once what is closed, and otherwise rolls up when it is told to."""
    async with running(tmp_path, seal_closed_s=0, rollup_delay_s=86_400, rollup_level=1) as local:
        yield local


@pytest.fixture
async def api(daemon: LocalDaemon) -> AsyncIterator[Api]:
    async with visiting(daemon) as visitor:
        yield visitor


async def recorded(api: Api, off_ms: int) -> tuple[str, int]:
    """Store page views by a clock that is off in three blocks; return the recording and its first time."""
    recording_id = new_id()
    start = SystemClock().now_ms() + off_ms
    for number in range(3):
        at = start + 100 * number
        lines = [
            {"type": 4, "data": {"href": "x"}, "timestamp": at},
            {"type": 2, "data": {}, "timestamp": at + 1},
            # Out of order, with members of our names, and a fraction.
            {"type": 3, "timestamp": at - 0.5, "data": {"timestamp": 1}, "originalTimestamp": 7},
        ]
        await api.post(recording_id, ndjson(map(dump, lines)))
    return recording_id, start


async def events(api: Api, recording_id: str, query: str = "") -> list[dict[str, Any]]:
    reply = await api.get(f"/recordings/{recording_id}/events?{query}", headers={"Accept": NDJSON})
    assert reply.status == 200, reply.body
    return [json.loads(line) for line in reply.body.splitlines()]


@pytest.mark.parametrize("off_ms", [-2 * HOUR_MS, 48 * HOUR_MS])
async def test_times_are_moved_to_the_clock_of_the_server(api: Api, off_ms: int) -> None:
    recording_id, start = await recorded(api, off_ms)
    plain = await events(api, recording_id)
    moved = await events(api, recording_id, "clock=server")
    assert [event["sequenceId"] for event in moved] == [event["sequenceId"] for event in plain]
    shifts = {event["timestamp"] - event["originalTimestamp"] for event in moved}
    assert len(shifts) == 1
    assert abs(shifts.pop() + off_ms) < HOUR_MS // 2
    assert [event["originalTimestamp"] for event in moved] == [event["timestamp"] for event in plain]
    assert [event["data"] for event in moved] == [event["data"] for event in plain]
    # Ranges are by the page's clock.
    for query in (f"from={start + 100}&to={start + 200}", f"at={start + 150}", f"from={start + 5000}"):
        part = await events(api, recording_id, query)
        of_moved = await events(api, recording_id, f"{query}&clock=server")
        assert of_moved == [
            event for event in moved if event["sequenceId"] in {e["sequenceId"] for e in part}
        ]


async def test_a_clock_that_is_right_is_left_alone(api: Api) -> None:
    recording_id, _ = await recorded(api, -200_000)
    url = f"/recordings/{recording_id}/events"
    assert (await api.get(f"{url}?clock=server")).body == (await api.get(url)).body


async def test_what_is_known_is_told_by_tag(api: Api, daemon: LocalDaemon) -> None:
    recording_id, _ = await recorded(api, -HOUR_MS)
    url = f"/recordings/{recording_id}/events"
    plain, moved = await api.get(url), await api.get(f"{url}?clock=server")
    assert plain.headers["ETag"] != moved.headers["ETag"]
    for tag, status in ((moved.headers["ETag"], 304), (plain.headers["ETag"], 200)):
        reply = await api.get(f"{url}?clock=server", headers={"If-None-Match": tag})
        assert reply.status == status
    head = await api.request("HEAD", f"{url}?clock=server")
    assert (head.status, head.headers["ETag"]) == (200, moved.headers["ETag"])
    await api.post(recording_id, ndjson([closing()]))
    await roll_up(daemon, recording_id)
    found = await events(api, recording_id, "clock=server")
    assert len({event["timestamp"] - event["originalTimestamp"] for event in found}) == 1


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("clock=client", "clock"),
        ("clock=", "clock"),
        ("clock=server&clock=server", "clock"),
        ("clock=server&limit=5", "limit"),
        ("clock=server&maxBytes=100000", "maxBytes"),
        ("clock=server&cursor=x", "cursor"),
        ("clock=server&after=1", "after"),
        ("clock=server&form=stored", "clock"),
        ("clock=server&other=1", "other"),
    ],
)
async def test_what_makes_no_sense_beside_it_is_named(api: Api, query: str, parameter: str) -> None:
    recording_id, _ = await recorded(api, 0)
    reply = await api.get(f"/recordings/{recording_id}/events?{query}", headers={"Accept-Encoding": "zstd"})
    assert (reply.status, reply.error["parameter"]) == (400, parameter)
