"""Exactly once: what clients send again is stored once, and what they mean twice is stored twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from pathlib import Path
from typing import Any

import pytest

from tests.harness import running
from tests.http.api import Api, visiting
from tests.samples import an_event, by_time, meta_event, ndjson, new_id, some_events

KEEPALIVE_LIMIT = 65_000
"""UTF-16 units: what the client puts into one batch at least."""


async def post_data(
    api: Api, recording_id: str, buffer: deque[bytes], *, batches_max: int = 10**6
) -> Counter[str]:
    """POST a buffer as @rrweb/browser-client 2.1.0 does: what was sent stays on the list, and goes again.

    Stops after ``batches_max`` batches, as if the page had gone. Returns the counts of all replies, added up.
    """
    sent: list[bytes] = []
    total: Counter[str] = Counter()
    done = False
    while not done and batches_max > 0:
        size, done = 0, True
        while buffer:
            sent.append(buffer.popleft())
            size += len(sent[-1])
            if size > KEEPALIVE_LIMIT:
                done = False
                break
        reply = await api.post(recording_id, b"\n".join(sent))
        assert reply.status == 200, reply.body
        total.update(reply.json())
        batches_max -= 1
    return total


def a_session(count: int) -> list[bytes]:
    """Events of the size that real ones have, several in a millisecond."""
    return [an_event(1_700_000_000_000 + n // 3, n=n, text="x" * 1_550) for n in range(count)]


async def check(api: Api, recording_id: str, sent: list[bytes]) -> None:
    """Each event is there once, numbered in the order of ``sent``."""
    assert [line for _, line in sorted(await api.numbered(recording_id))] == sent
    assert await api.events(recording_id) == by_time(sent)


@pytest.mark.parametrize(("count", "times"), [(100, 2), (400, 5), (2000, 24)])
async def test_cumulative_batches_are_stored_once(api: Api, count: int, times: int) -> None:
    recording_id, sent = new_id(), a_session(count)
    total = await post_data(api, recording_id, deque(sent))
    # It did send each many times over, or this would prove nothing.
    assert total["successful_rows"] == count
    assert total["duplicate_rows"] >= (times - 1) * count
    await check(api, recording_id, sent)


@pytest.mark.parametrize("count", [100, 400])
async def test_what_was_posted_may_come_again_over_a_socket(api: Api, count: int) -> None:
    recording_id, sent = new_id(), a_session(count)
    fresh = [an_event(1_700_000_100_000 + n, fresh=n) for n in range(50)]
    await post_data(api, recording_id, deque(sent))
    socket = await api.socket(recording_id)
    await socket.send_text(*sent, *fresh)
    last = (await socket.finish()).last
    assert (last["successful_rows"], last["duplicate_rows"]) == (50, count)
    await check(api, recording_id, sent + fresh)


async def test_what_came_over_a_socket_may_come_again_by_post(api: Api) -> None:
    recording_id, sent = new_id(), a_session(200)
    socket = await api.socket(recording_id)
    await socket.send_text(*sent[:150])
    await socket.drop()
    # Nothing told the client what was taken.
    total = await post_data(api, recording_id, deque(sent))
    assert total["successful_rows"] <= 200
    found = await api.numbered(recording_id)
    assert sorted(line for _, line in found) == sorted(sent)
    assert sorted(number for number, _ in found) == list(range(1, 201))


async def test_repeats_are_known_after_a_restart(tmp_path: Path) -> None:
    recording_id, sent = new_id(), a_session(400)
    more = {"n": 0}
    first = meta_event(1_699_999_999_999, page="start")
    for batches in (2, 5, 10**6, 10**6):
        async with running(tmp_path) as daemon, visiting(daemon) as api:
            total = await post_data(api, recording_id, deque([first, *sent]), batches_max=batches)
            more["n"] += total["successful_rows"]
            rows = (await api.get(f"/recordings/{recording_id}")).json()
            assert [(row["key"], row["version"]) for row in rows] == [("page", 1)]
    assert more["n"] == 401
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        socket = await api.socket(recording_id)
        await socket.send_text(first, *sent)
        last = (await socket.finish()).last
        assert (last["successful_rows"], last["duplicate_rows"]) == (0, 401)
        await check(api, recording_id, sent)


async def test_repeats_are_known_in_sealed_segments(tmp_path: Path) -> None:
    recording_id, noise = new_id(), random.Random(1)
    sent = [an_event(n, text=noise.randbytes(1000).hex()) for n in range(2000)]
    limits: dict[str, Any] = {"segment_bytes_max": 1 << 20, "recordings_max": 1}
    async with running(tmp_path, **limits) as daemon, visiting(daemon) as api:
        for start in range(0, 2000, 500):
            assert (await api.post(recording_id, ndjson(sent[start : start + 500]))).status == 200
        # With room for one open recording, another one makes the daemon let go of the first.
        assert (await api.post(new_id(), ndjson(some_events(1)))).status == 200
        segments = [path for path in daemon.segments("sealed") if recording_id in path.name]
        assert len(segments) >= 2
        counts = (await api.post(recording_id, ndjson([*sent, an_event(3000)]))).json()
        assert (counts["successful_rows"], counts["duplicate_rows"]) == (1, 2000)
        assert await api.events(recording_id) == [*sent, an_event(3000)]


async def test_equal_lines_in_one_body_are_events_of_their_own(api: Api) -> None:
    recording_id, line = new_id(), an_event(5, same=True)
    other = an_event(6)
    reply = await api.post(recording_id, ndjson([line, line, other, line]))
    assert reply.json() == {"successful_rows": 4, "quarantined_rows": 0, "duplicate_rows": 0}
    reply = await api.post(recording_id, ndjson([line, line, other, line]))
    assert reply.json() == {"successful_rows": 0, "quarantined_rows": 0, "duplicate_rows": 4}
    # Whoever sends it more often than anybody before means the rest.
    reply = await api.post(recording_id, ndjson([line] * 5))
    assert reply.json() == {"successful_rows": 2, "quarantined_rows": 0, "duplicate_rows": 3}
    assert await api.events(recording_id) == [line] * 5 + [other]


async def test_equal_lines_over_one_socket_are_events_of_their_own(api: Api) -> None:
    recording_id, line = new_id(), an_event(5, same=True)
    socket = await api.socket(recording_id, ack="true")
    for count in (1, 2, 3):
        await socket.send_text(line)
        while (await socket.next_json())["successful_rows"] < count:
            pass
    assert (await socket.finish()).last["duplicate_rows"] == 0
    assert await api.events(recording_id) == [line] * 3


async def test_almost_equal_lines_are_not_repeats(api: Api) -> None:
    recording_id = new_id()
    lines = [
        b'{"type":3,"timestamp":1,"data":{}}',
        b'{"type":3,"timestamp":1,"data":{} }',
        b'{"type":3,"timestamp":1.0,"data":{}}',
        b'{"timestamp":1,"type":3,"data":{}}',
    ]
    for line in lines:
        assert (await api.post(recording_id, line)).json()["successful_rows"] == 1
    assert await api.events(recording_id) == lines


async def test_repeats_beside_a_socket_that_goes_on(api: Api) -> None:
    """Buffered events come by POST, again and again, while a new socket delivers younger ones."""
    recording_id = new_id()
    old = a_session(300)
    young = [an_event(1_700_000_000_050 + n, young=n) for n in range(300)]
    socket = await api.socket(recording_id)

    async def go_on() -> None:
        for start in range(0, 300, 10):
            await socket.send_text(*young[start : start + 10])
            await asyncio.sleep(0)

    total, _ = await asyncio.gather(post_data(api, recording_id, deque(old)), go_on())
    last = (await socket.finish()).last
    assert (last["successful_rows"], last["duplicate_rows"]) == (300, 0)
    assert total["successful_rows"] == 300
    found = await api.numbered(recording_id)
    assert [line for _, line in found] == sorted(
        (line for _, line in sorted(found)),
        key=lambda line: int(line.split(b'"timestamp":')[1].split(b",")[0]),
    )
    in_arrival = [line for _, line in sorted(found)]
    assert [line for line in in_arrival if b"young" in line] == young
    assert [line for line in in_arrival if b"young" not in line] == old


async def test_two_tabs_that_both_repeat_themselves(api: Api) -> None:
    recording_id = new_id()
    tabs = [
        [an_event(1_700_000_000_000 + n, tab=tab, n=n, text="x" * 1500) for n in range(200)] for tab in (1, 2)
    ]
    totals = await asyncio.gather(*(post_data(api, recording_id, deque(tab)) for tab in tabs))
    assert [total["successful_rows"] for total in totals] == [200, 200]
    in_arrival = [line for _, line in sorted(await api.numbered(recording_id))]
    for number, tab in enumerate(tabs, 1):
        assert [line for line in in_arrival if b'"tab":%d' % number in line] == tab


async def test_the_same_body_sent_at_the_same_time_is_stored_once(api: Api) -> None:
    recording_id, sent = new_id(), a_session(300)
    replies = await asyncio.gather(*(api.post(recording_id, ndjson(sent)) for _ in range(6)))
    assert sum(reply.json()["successful_rows"] for reply in replies) == 300
    assert sum(reply.json()["duplicate_rows"] for reply in replies) == 1500
    await check(api, recording_id, sent)


async def test_a_late_large_event_takes_its_place_by_time(api: Api) -> None:
    """An event too large for the socket goes by POST, alone, and may arrive after younger ones."""
    recording_id = new_id()
    meta = b'{"type":4,"timestamp":1000,"data":{"href":"https://shop.example/"}}'
    snapshot = an_event(1000, html="x" * 2_000_000).replace(b'"type":3', b'"type":2')
    younger = [an_event(1000 + n, n=n) for n in range(1, 50)]
    socket = await api.socket(recording_id)
    await socket.send_text(meta, *younger)
    await socket.finish()
    for _ in range(2):
        await api.post(recording_id, snapshot)
    assert await api.events(recording_id) == [meta, snapshot, *younger]


# Kept out of the events, each with the number of pieces in quarantine.
REFUSED = {
    "junk": (b"junk", 1),
    "bad type": (b'{"type":"x","timestamp":1}', 1),
    "no pair": (meta_event(1, **{"": "x", "url": "x" * 5000}), 2),
    "no object": (b'{"type":5,"timestamp":1,"data":{"tag":"recording-meta","payload":[1]}}', 1),
    "no room": (meta_event(1, fourth="x", fifth="y"), 2),
    "cut off": (b'{"type":3,"times', 1),
}


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_is_kept_once_and_told_each_time(
    tmp_path: Path, name: str, *, is_restarted: bool
) -> None:
    line, pieces = REFUSED[name]
    recording_id, sent = new_id(), [meta_event(1, one=1, two=2, three=3), *some_events(2)]
    body = ndjson(sent) + line
    async with running(tmp_path, metadata_keys_max=3) as daemon, visiting(daemon) as api:
        first = (await api.post(recording_id, body)).json()
        assert first == {"successful_rows": 3, "quarantined_rows": pieces, "duplicate_rows": 0}
        if not is_restarted:
            await check_refused_again(api, recording_id, body, pieces)
    if is_restarted:
        async with running(tmp_path, metadata_keys_max=3) as daemon, visiting(daemon) as api:
            await check_refused_again(api, recording_id, body, pieces)


async def check_refused_again(api: Api, recording_id: str, body: bytes, pieces: int) -> None:
    for _ in range(2):
        again = (await api.post(recording_id, body)).json()
        assert again == {"successful_rows": 0, "quarantined_rows": pieces, "duplicate_rows": 3}
        socket = await api.socket(recording_id)
        await socket.send_text(*body.split(b"\n"))
        assert (await socket.finish()).last["quarantined_rows"] == pieces
    assert await quarantined(api, recording_id) == pieces
    # What one sender says twice is kept twice.
    await api.post(recording_id, b"twice\ntwice")
    assert await quarantined(api, recording_id) == pieces + 2


async def quarantined(api: Api, recording_id: str) -> int:
    rows = await api.daemon.services.index.quarantine(tenant="acme", recording_id=recording_id)
    return sum(row.line_count for row in rows)


async def test_metadata_by_itself_is_refused_again_and_kept_once(tmp_path: Path) -> None:
    recording_id = new_id()
    async with running(tmp_path, metadata_keys_max=1) as daemon, visiting(daemon) as api:
        await api.request("POST", f"/recordings/{recording_id}/meta", body=b'{"one":1}')
        for _ in range(3):
            path = f"/recordings/{recording_id}/meta"
            reply = await api.request("POST", path, body=b'{"":1,"two":2,"three":[]}')
            assert (reply.status, reply.error["quarantined_keys"]) == (400, 3)
        assert await quarantined(api, recording_id) == 3
