"""Lists that are sorted, or narrowed by what happened and by what is going on, over the API."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rrd.http.wanted import LIVE_S, SORTS, WANTED_PARAMETERS
from rrd.index.rows import SummaryRow
from rrd.index.sqlite import summaries
from rrd.index.sqlite.index import SqliteIndex
from tests.harness import LocalDaemon, running
from tests.http.api import Api, visiting
from tests.http.test_reads_from_objects import post_and_roll_up
from tests.samples import an_event, ndjson, new_id, some_events

MORE = {
    "first", "last", "duration", "events", "bytes", "live", "activeTime", "clicks", "inputs", "errors",
    "rageBursts", "url", "activity",
}  # fmt: skip
A_SUMMARY = SummaryRow(4000, 3, 2, 0, 1, "https://a.example/", ("https://a.example/",), b"\x00\x09", b"")


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[LocalDaemon]:
    """A daemon that seals at once what is closed, and otherwise rolls up when it is told to."""
    async with running(tmp_path, seal_closed_s=0, rollup_delay_s=86_400, rollup_level=1) as local:
        yield local


@pytest.fixture
async def api(daemon: LocalDaemon) -> AsyncIterator[Api]:
    async with visiting(daemon) as visitor:
        yield visitor


async def summarize(daemon: LocalDaemon, recording_id: str, summary: SummaryRow) -> None:
    """Tell the index what happened in a recording that is rolled up."""
    index = daemon.services.index
    assert isinstance(index, SqliteIndex)
    row = await index.recording("acme", recording_id)
    assert row is not None
    row_id = row.row_id
    await index._db.write_with(lambda db: summaries.put(db, row_id, summary), synced=False)


async def items(api: Api, query: str) -> list[dict[str, Any]]:
    reply = await api.get(f"/recordings?{query}")
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json()["recordings"]
    return found


async def ids(api: Api, query: str) -> list[str]:
    return [item["recordingId"] for item in await items(api, query)]


def lasting(seconds: int) -> list[bytes]:
    return [an_event(1_000_000), an_event(1_000_000 + 1000 * seconds, pad="x" * 10 * seconds)]


@pytest.fixture
async def three(api: Api) -> list[str]:
    """Return three recordings, oldest first: two of them rolled up, the last one running."""
    first = await post_and_roll_up(api, lasting(50))
    second = await post_and_roll_up(api, lasting(70))
    third = new_id()
    await api.post(third, ndjson(lasting(90)))
    await summarize(api.daemon, first, A_SUMMARY._replace(active_ms=9000))
    urls = ("https://b.example/cart", "https://a.example/")
    await summarize(api.daemon, second, A_SUMMARY._replace(errors=2, urls=urls, first_url=urls[0]))
    return [first, second, third]


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ("sort=newest", [2, 1, 0]),
        ("sort=duration", [1, 0, 2]),
        ("sort=bytes", [1, 0, 2]),
        ("sort=active", [0, 1, 2]),
        ("sort=errors", [1, 0, 2]),
        ("sort=errors&offset=1&limit=1", [0]),
        ("hasErrors=true", [1]),
        ("hasErrors=false", [2, 1, 0]),
        ("minActive=9000", [0]),
        ("minActive=4000.5", [0]),
        ("minDuration=1060000&sort=active", [1]),
        ("minDuration=0", [1, 0]),
        ("url=https://a.example/", [1, 0]),
        ("url=https://a.example", []),
        ("url=https://a.example*", [1, 0]),
        ("url=https%3A%2F%2Fb.example%2Fc*&sort=duration", [1]),
        ("url=*", [1, 0]),
        ("live=true", [2]),
        ("live=true&sort=active&summary=true", [2]),
        ("live=true&url=*", []),
        ("from=0", [2, 1, 0]),
        ("to=0", []),
        ("from=-5&to=9999999999999.5&sort=errors", [1, 0, 2]),
        ("hasErrors=true&meta[none]=x", []),
    ],
)
async def test_a_list_holds_what_is_wanted_in_its_order(
    api: Api, three: list[str], query: str, places: list[int]
) -> None:
    assert await ids(api, query) == [three[place] for place in places]


async def test_when_a_recording_began_is_its_timestamp(api: Api, three: list[str]) -> None:
    began = {item["recordingId"]: item["timestamp"] for item in await items(api, "")}
    for recording_id, at in began.items():
        assert recording_id in await ids(api, f"from={at}&to={at + 1}")
        assert recording_id not in await ids(api, f"from={at + 1}")
        assert recording_id not in await ids(api, f"to={at}")


async def test_items_tell_what_is_known(api: Api, three: list[str]) -> None:
    third, second, _ = await items(api, "summary=true")
    assert {name: second[name] for name in MORE - {"events", "bytes"}} == {
        "first": 1,  # Of the event that closes it.
        "last": 1_070_000,
        "duration": 1_069_999,
        "live": False,
        "activeTime": 4000,
        "clicks": 3,
        "inputs": 2,
        "errors": 2,
        "rageBursts": 1,
        "url": "https://b.example/cart",
        "activity": base64.b64encode(b"\x00\x09").decode(),
    }
    assert second["events"] == 3
    unknown = {"activeTime", "clicks", "inputs", "errors", "rageBursts", "url", "activity"}
    assert {name for name in MORE if third[name] is None} == unknown
    size = sum(map(len, lasting(90)))
    assert (third["first"], third["last"], third["duration"]) == (1_000_000, 1_090_000, 90_000)
    assert (third["events"], third["live"]) == (2, True)
    assert 0 < third["bytes"] <= size + 2


async def test_calls_of_before_have_the_members_of_before(api: Api, three: list[str]) -> None:
    for query in ("", "limit=3&offset=0", "includeSignedUrls=false", "summary=false", "utm_source=x"):
        found = await items(api, query)
        assert [item["recordingId"] for item in found] == three[::-1]
        assert all(set(item) == {"recordingId", "timestamp", "links", "metadata"} for item in found)
    wanted = await items(api, "summary=true")
    assert all(set(item) == {"recordingId", "timestamp", "links", "metadata"} | MORE for item in wanted)
    plain = [{name: item[name] for name in item if name not in MORE} for item in wanted]
    assert plain == await items(api, "")


async def test_times_with_a_fraction_are_told_to_the_last_digit(api: Api) -> None:
    recording_id = new_id()
    first, last = 1_732_342_000_000.123, 1_732_342_000_777.877
    await api.post(recording_id, ndjson([an_event(first), an_event(last)]))
    (item,) = await items(api, "summary=true")
    assert (item["first"], item["last"], item["duration"]) == (first, last, last - first)


@pytest.mark.parametrize(
    "query",
    [
        *("sort=", "sort=Newest", "sort=oldest", "sort=newest&sort=newest", "sort=duration%20"),
        *("from=", "from=x", "from=1e3", "from=%2B1", "to=12345678901234567", "to=1,5", "from=2&to=1"),
        *("minDuration=-1", "minDuration=", "minDuration=1s", "minActive=-0.5", "minActive=NaN"),
        *("hasErrors=1", "hasErrors=", "hasErrors=True", "live=yes", "summary=1", "live=true&live=true"),
        *("url=", "url=https://a/?q=1", "url=https://a/%23x", f"url={'x' * 4097}"),
        *("Sort=active", "minduration=5", "HASERRORS=true", "minActive%20=5"),
    ],
)
async def test_what_is_out_of_bounds_is_named(api: Api, query: str) -> None:
    reply = await api.get(f"/recordings?{query}")
    assert reply.status == 400
    name = query.partition("=")[0].replace("%20", " ")
    assert reply.error["parameter"] == name
    known = {parameter.lower(): parameter for parameter in WANTED_PARAMETERS}
    assert known[name.strip().lower()] in reply.error["message"]


async def test_a_url_with_a_star_that_too_many_begin_with_is_refused(api: Api) -> None:
    for number in range(2):
        recording_id = await post_and_roll_up(api, some_events(1))
        urls = tuple(f"https://a.example/{number}/{place}" for place in range(30))
        await summarize(api.daemon, recording_id, A_SUMMARY._replace(urls=urls))
    reply = await api.get("/recordings?url=https://a.example/*")
    assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, "too_many_urls", "url")
    assert len(await ids(api, "url=https://a.example/1/*")) == 1


async def test_a_recording_is_live_while_it_is_held_open_and_a_minute_after(api: Api) -> None:
    recording_id, closed = new_id(), new_id()
    socket = await api.socket(recording_id, ack="true")
    await socket.send_text(*some_events(3))
    assert (await socket.next_json())["successful_rows"] > 0
    over = b'{"type":5,"timestamp":1,"data":{"tag":"close-permanent","payload":{}}}'
    await api.post(closed, ndjson([*some_events(1), over]))
    assert await ids(api, "live=true") == [recording_id]
    # Nothing more of it comes, and its sender stays.
    (recording,) = [
        each for each in api.daemon.services.registry.opened() if each.recording_id == recording_id
    ]
    recording.used_at -= LIVE_S + 1
    assert await ids(api, "live=true") == [recording_id]
    await socket.finish()
    recording.used_at -= LIVE_S + 1
    assert await ids(api, "live=true") == []
    assert [item["live"] for item in await items(api, "summary=true")] == [False, False]


async def test_a_long_list_in_pieces_tells_all_of_each(api: Api) -> None:
    for _ in range(3):
        recording_id = new_id()
        values = {f"k{place}": "v" * 4000 for place in range(45)}
        await api.request("POST", f"/recordings/{recording_id}/meta", body=json.dumps(values).encode())
    found = await items(api, "sort=bytes")
    assert len(found) == 3
    assert all(set(item) > MORE for item in found)


def test_every_sort_is_told_by_its_name() -> None:
    assert SORTS == ("newest", "duration", "active", "errors", "bytes")
