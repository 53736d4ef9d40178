"""``/pages``: the same answer wherever a recording lies, and whatever order it arrived in."""

from __future__ import annotations

import base64
import json
import os
import random
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rrd.http.services import Bounds
from rrd.index.rows import RecordingRow
from tests.harness import LocalDaemon, eventually, running
from tests.http.api import Api, visiting
from tests.http.test_reads_of_damage import blocks_of, filled, flip
from tests.samples import dump, ndjson, new_id, some_events
from tests.summary.reference import told

START = 1_700_000_000_000
_VOLATILE = ("live",)


def page(at: int, url: str) -> list[bytes]:
    """A page view: a Meta event, its snapshot, and what a visitor does on it."""
    user = [
        {"source": 1, "positions": []},
        {"source": 2, "type": 2, "id": 3, "x": 10, "y": 10},
        {"source": 2, "type": 2, "id": 3, "x": 11, "y": 10},
        {"source": 2, "type": 2, "id": 3, "x": 12, "y": 10},
        {"source": 5, "id": 4, "text": "a"},
        {"source": 5, "id": 4, "text": "ab"},
    ]
    console = {"plugin": "rrweb/console@1", "payload": {"level": "error"}}
    return [
        dump({"type": 4, "timestamp": at, "data": {"href": url, "width": 800, "height": 600}}),
        dump({"type": 2, "timestamp": at + 5, "data": {"node": {"id": 1}, "initialOffset": {}}}),
        *(dump({"type": 3, "timestamp": at + 100 * n, "data": data}) for n, data in enumerate(user, 1)),
        dump({"type": 6, "timestamp": at + 900, "data": console}),
        dump({"type": 5, "timestamp": at + 950, "data": {"tag": "$exception", "payload": {"at": at}}}),
    ]  # fmt: skip


def a_visit() -> list[bytes]:
    """Three pages, one of them loaded twice, and a checkpoint."""
    load = dump({"type": 1, "timestamp": START + 29_000, "data": {}})
    return [
        *some_events(2, start=START - 1000),
        *page(START, "https://a.example/?token=secret"),
        *page(START + 10_000, "https://a.example/?token=secret"),
        *page(START + 20_000, "https://a.example/b#part"),
        load,
        *page(START + 30_000, "https://a.example/b#part"),
        *page(START + 40_000, "https://a.example/c"),
    ]


def late(lines: list[bytes], seed: int) -> list[bytes]:
    """The same, some of them minutes late and out of order."""
    mixed = list(lines)
    chosen = random.Random(seed)
    for _ in range(6):
        mixed.append(mixed.pop(chosen.randrange(len(mixed))))
    return mixed


async def pages(api: Api, recording_id: str) -> dict[str, Any]:
    reply = await api.get(f"/recordings/{recording_id}/pages")
    assert reply.status == 200, reply.body
    answer: dict[str, Any] = reply.json()
    return answer


def check(answer: dict[str, Any], recording_id: str, lines: list[bytes]) -> None:
    """Hold an answer against what looking at each event says."""
    expected = told(lines)
    times = [json.loads(line)["timestamp"] for line in lines]
    assert answer["recordingId"] == recording_id
    assert (answer["asOf"], answer["events"]) == (len(lines), len(lines))
    assert (answer["first"], answer["last"]) == (min(times), max(times))
    assert answer["bytes"] == len(ndjson(lines))
    for name in ("clicks", "inputs", "errors"):
        assert answer[name] == expected[name]
        assert sum(page[name] for page in answer["pages"]) <= expected[name]
    assert answer["rageBursts"] == expected["bursts"]
    assert answer["activeMs"] == 1000 * len(expected["seconds"])
    shown = [piece for piece in expected["pieces"] if piece["snapshot"]]
    assert [page["snapshot"] for page in answer["pages"]] == [piece["snapshot"][0] for piece in shown]
    assert [page["from"] for page in answer["pages"]] == [piece["start"][0] for piece in shown]
    assert answer["beforeFirstSnapshot"] + sum(page["events"] for page in answer["pages"]) == len(lines)
    line = answer["activity"]
    levels = base64.b64decode(line["levels"])
    assert (line["from"], line["slotMs"], levels) == expected["line"]
    assert line["to"] == line["from"] + line["slotMs"] * len(levels)


async def row_of_recording(daemon: LocalDaemon, recording_id: str) -> RecordingRow:
    row = await daemon.services.index.recording("acme", recording_id)
    assert row is not None
    return row


async def roll_up(daemon: LocalDaemon, recording_id: str) -> None:
    """Have all events of a recording in objects, and nowhere else."""

    async def look() -> bool:
        await daemon.services.registry.seal_idle()
        await daemon.parts.rollup.drain()
        await daemon.parts.evictor.evict_now(everything=True)
        row = await row_of_recording(daemon, recording_id)
        return not row.segments and bool(row.objects)

    await eventually(look, what="a recording to be rolled up and evicted")


def closing(number: int) -> bytes:
    return dump({"type": 5, "timestamp": START + 50_000 + number, "data": {"tag": "close-permanent"}})


def steady(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in _VOLATILE}


async def test_a_visit_is_told_page_by_page(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(a_visit()))
    answer = await pages(api, recording_id)
    check(answer, recording_id, a_visit())
    assert answer["live"]
    assert not answer["closed"]
    assert answer["beforeFirstSnapshot"] == 2
    first, checkpoint, second, loaded, last = answer["pages"]
    assert [each["kind"] for each in answer["pages"]] == ["page", "checkpoint", "page", "page", "page"]
    assert first == {
        "from": START, "to": START + 10_000, "snapshot": START + 5, "kind": "page", "sequenceId": 3,
        "url": "https://a.example/?token=secret", "width": 800, "height": 600, "events": 10,
        "bytes": len(ndjson(page(START, "https://a.example/?token=secret"))),
        "clicks": 3, "inputs": 1, "errors": 2, "activeMs": 1000,
    }  # fmt: skip
    assert checkpoint["url"] == first["url"]
    assert second["url"] == loaded["url"] == "https://a.example/b#part"
    assert (last["to"], answer["pagesCut"]) == (answer["last"], 0)
    assert answer["rageBursts"] == 5


async def test_a_recording_without_a_snapshot_says_so(api: Api) -> None:
    recording_id = new_id()
    lines = [
        *some_events(5),
        dump({"type": 4, "timestamp": START + 9, "data": {"href": "https://a.example/"}}),
    ]
    await api.post(recording_id, ndjson(lines))
    answer = await pages(api, recording_id)
    assert (answer["pages"], answer["beforeFirstSnapshot"], answer["events"]) == ([], 6, 6)


async def test_a_recording_of_metadata_alone_has_no_pages(api: Api) -> None:
    recording_id = new_id()
    await api.request("POST", f"/recordings/{recording_id}/meta", body=b'{"a":"1"}')
    answer = await pages(api, recording_id)
    assert (answer["first"], answer["last"], answer["events"], answer["pages"]) == (None, None, 0, [])
    assert answer["activity"]["levels"] == ""


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
@pytest.mark.parametrize("parts", [1, 3])
async def test_the_answer_is_the_same_open_sealed_rolled_up_evicted_and_reindexed(
    tmp_path: Path, seed: int | None, parts: int
) -> None:
    sent = a_visit() if seed is None else late(a_visit(), seed)
    step = -(-len(sent) // parts)
    groups = [[*sent[at : at + step], closing(at)] for at in range(0, len(sent), step)]
    lines = [line for group in groups for line in group]
    open_id, far = new_id(), new_id()
    sealing: dict[str, Any] = {"seal_closed_s": 0, "rollup_delay_s": 86_400, "rollup_level": 1}
    async with running(tmp_path, **sealing) as daemon, visiting(daemon) as api:
        for group in groups:
            await api.post(open_id, ndjson(group))
        near = await pages(api, open_id)
        check(near, open_id, lines)
        for group in groups:
            await api.post(far, ndjson(group))
            # Rolled up, and a tail that grows.
            check(
                await pages(api, far),
                far,
                [line for each in groups[: groups.index(group) + 1] for line in each],
            )
            await roll_up(daemon, far)
        daemon.services.summaries = type(daemon.services.summaries)()
        answer = await pages(api, far)
        check(answer, far, lines)
        assert steady(answer) == steady(near) | {"recordingId": far}
        known = await daemon.services.index.summary((await row_of_recording(daemon, far)).row_id)
        assert known is not None
        assert (known.clicks, known.inputs, known.errors) == (
            answer["clicks"],
            answer["inputs"],
            answer["errors"],
        )
        assert (known.active_ms, known.rage_bursts) == (answer["activeMs"], answer["rageBursts"])
        assert list(known.urls) == told(lines)["urls"]
        assert known.first_url == known.urls[0]
        assert 0 < len(known.activity) <= 64
    for name in os.listdir(tmp_path):
        if name.startswith("index.sqlite"):
            os.unlink(tmp_path / name)
    async with running(tmp_path, rollup_delay_s=86_400) as daemon, visiting(daemon) as api:
        again = await daemon.services.index.summary((await row_of_recording(daemon, far)).row_id)
        assert again == known
        check(await pages(api, far), far, lines)
        check(await pages(api, open_id), open_id, lines)


async def test_a_growing_recording_is_counted_where_it_grew(api: Api) -> None:
    recording_id, sent = new_id(), []
    for number in range(4):
        group = page(START + 10_000 * number, f"https://a.example/{number}")
        sent += group
        await api.post(recording_id, ndjson(group))
        check(await pages(api, recording_id), recording_id, sent)
    assert len(api.daemon.services.summaries._kept) == 1


async def test_an_answer_that_takes_long_begins_before_all_is_counted(tmp_path: Path) -> None:
    recording_id = new_id()
    async with running(tmp_path, bounds=Bounds(pages_wait_s=0)) as daemon, visiting(daemon) as api:
        await api.post(recording_id, ndjson(a_visit()))
        url = f"/recordings/{recording_id}/pages"
        reply = await api.get(url)
        assert "Content-Length" not in reply.headers
        check(reply.json(), recording_id, a_visit())
        # Counted already.
        check(await pages(api, recording_id), recording_id, a_visit())
        assert (await api.request("HEAD", url)).headers["ETag"] == reply.headers["ETag"]


async def test_damage_found_late_breaks_the_connection(tmp_path: Path) -> None:
    async with running(tmp_path, bounds=Bounds(pages_wait_s=0)) as daemon, visiting(daemon) as api:
        recording_id, path, _ = await filled(daemon, api)
        flip(path, blocks_of(path)[1][1])
        with pytest.raises(aiohttp.ClientError):
            await api.get(f"/recordings/{recording_id}/pages")


async def test_etags_name_what_was_counted(api: Api) -> None:
    recording_id = new_id()
    url = f"/recordings/{recording_id}/pages"
    await api.post(recording_id, ndjson(a_visit()))
    first = await api.get(url)
    assert (await api.get(url, headers={"If-None-Match": first.headers["ETag"]})).status == 304
    head = await api.request("HEAD", url)
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", first.headers["ETag"])
    await api.post(recording_id, ndjson(page(START + 60_000, "https://a.example/d")))
    again = await api.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.json()["asOf"]) == (200, len(a_visit()) + 10)


@pytest.mark.parametrize("query", ["from=1", "limit=3", "page=2", "Token=x", "meta[a]=b"])
async def test_unknown_parameters_are_refused_by_name(api: Api, query: str) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(a_visit()))
    reply = await api.get(f"/recordings/{recording_id}/pages?{query}")
    assert (reply.status, reply.error["parameter"]) == (400, query.partition("=")[0])


async def test_a_recording_that_is_not_there_is_not_found(api: Api) -> None:
    assert (await api.get(f"/recordings/{new_id()}/pages")).status == 404


async def test_damage_is_refused_or_counted_without(api: Api) -> None:
    recording_id, path, lines = await filled(api.daemon, api)
    flip(path, blocks_of(path)[1][1])
    refused = await api.get(f"/recordings/{recording_id}/pages")
    assert (refused.status, refused.error["code"], refused.error["missingEvents"]) == (
        500,
        "recording_damaged",
        10,
    )
    salvaged = await api.get(f"/recordings/{recording_id}/pages?salvage=true")
    assert (salvaged.status, salvaged.headers["Rrd-Missing-Events"]) == (200, "10")
    assert (salvaged.json()["events"], salvaged.json()["asOf"]) == (20, len(lines))
    assert "ETag" not in salvaged.headers
