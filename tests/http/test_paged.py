"""Pages of a recording's events, walked by their links, and replays that begin in the middle."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from rrd.access.signing import sign
from tests.harness import LocalDaemon, running
from tests.http.api import JSON, NDJSON, Api, Reply, decompress, visiting
from tests.http.test_reads_from_objects import closing, elsewhere, roll_up
from tests.http.test_reads_of_damage import DAMAGE, filled
from tests.samples import an_event, by_time, dump, ndjson, new_id, some_events

_LINK = re.compile(r'<([^<>"\s]+)>; rel="next"')


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[LocalDaemon]:
    """A daemon that seals at once what is closed, and otherwise rolls up when it is told to."""
    async with running(tmp_path, seal_closed_s=0, rollup_delay_s=86_400, rollup_level=1) as local:
        yield local


@pytest.fixture
async def api(daemon: LocalDaemon) -> AsyncIterator[Api]:
    async with visiting(daemon) as visitor:
        yield visitor


def next_of(reply: Reply) -> str | None:
    """Return the path and query that the link of a page leads to; None if it has none."""
    if "Link" not in reply.headers:
        return None
    found = _LINK.fullmatch(reply.headers["Link"])
    assert found is not None, reply.headers["Link"]
    return found[1]


async def walk(api: Api, recording_id: str, query: str, **more: Any) -> list[list[bytes]]:
    """Return the lines of all pages."""
    pages = []
    target: str | None = f"/recordings/{recording_id}/events?{query}"
    while target is not None:
        reply = await api.get(target, headers={"Accept": NDJSON}, **more)
        assert reply.status == 200, reply.body
        pages.append(reply.body.splitlines())
        target = next_of(reply)
    return pages


def page_load(at: int, n: int) -> list[bytes]:
    """A page's Meta event, its snapshot and two changes."""
    return [
        dump({"type": 4, "timestamp": at, "data": {"href": f"https://example.org/{n}"}}),
        dump({"type": 2, "timestamp": at + 1, "data": {"node": {"id": n}}}),
        an_event(at + 10, n=n),
        an_event(at + 20, n=n),
    ]


@pytest.mark.parametrize("limit", [1, 7, 100, 10_000])
async def test_pages_hold_together_what_one_answer_holds(api: Api, limit: int) -> None:
    recording_id, chance = new_id(), random.Random(3)
    count = 30 if limit == 1 else 300
    sent = [an_event(chance.randrange(50), n=n) for n in range(count)]
    for start in range(0, count, 50):
        await api.post(recording_id, ndjson(sent[start : start + 50]))
    whole = await api.get(f"/recordings/{recording_id}/events", headers={"Accept": NDJSON})
    pages = await walk(api, recording_id, f"limit={limit}")
    assert [line for page in pages for line in page] == whole.body.splitlines()
    assert [len(page) for page in pages] == [min(limit, count - at) for at in range(0, count, limit)]
    arrived = await walk(api, recording_id, f"after=0&limit={limit}")
    assert [json.loads(line)["sequenceId"] for page in arrived for line in page] == list(range(1, count + 1))
    rest = await walk(api, recording_id, f"after={count - 5}")
    assert [[json.loads(line)["sequenceId"] for line in page] for page in rest] == [
        [*range(count - 4, count + 1)]
    ]


async def test_bytes_are_soft_by_one_event(api: Api) -> None:
    recording_id = new_id()
    sent = [an_event(1, text="x" * 300_000), *(an_event(2, n=n, text="y" * 20_000) for n in range(20))]
    await api.post(recording_id, ndjson(sent))
    pages = await walk(api, recording_id, "maxBytes=65536")
    assert [len(page) for page in pages] == [1, 4, 4, 4, 4, 4]


async def test_an_empty_range_is_one_empty_page(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3, start=1)))
    for query in ("limit=1&from=100", "limit=1&from=2&to=2", "after=3&limit=1", "after=99", "at=0&to=0"):
        reply = await api.get(f"/recordings/{recording_id}/events?{query}")
        assert (reply.status, reply.json(), next_of(reply)) == (200, [], None)


async def test_a_walk_is_as_of_its_beginning_wherever_the_events_go(api: Api) -> None:
    """Events arrive between pages, late ones too; segments are sealed, rolled up and evicted."""
    recording_id, chance = new_id(), random.Random(11)
    sent = [an_event(chance.randrange(100), n=n) for n in range(120)]
    await api.post(recording_id, ndjson([*sent[:60], closing(0)]))
    await api.post(recording_id, ndjson(sent[60:]))
    whole = await api.get(f"/recordings/{recording_id}/events", headers={"Accept": NDJSON})
    expected = whole.body.splitlines()
    found: list[bytes] = []
    target: str | None = f"/recordings/{recording_id}/events?limit=10"
    for number in range(99):
        assert target is not None
        reply = await api.get(target, headers={"Accept": NDJSON})
        found += reply.body.splitlines()
        target = next_of(reply)
        if target is None:
            break
        # Early and late, before and behind where the walk is.
        more = [an_event(chance.randrange(-20, 120), late=number, n=n) for n in range(5)]
        await api.post(recording_id, ndjson([*more, closing(number + 1)]))
        if number % 4 == 1:
            await roll_up(api.daemon, recording_id)
    assert found == expected
    again = [line for page in await walk(api, recording_id, "limit=50") for line in page]
    assert len(again) > len(expected)
    assert set(expected) <= set(again)


@pytest.mark.parametrize("query", ["limit=5", "at=1000&maxBytes=65536&limit=2", "after=2&limit=3", "at=1000"])
async def test_forms_compressions_tags_and_heads(api: Api, query: str) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson([*page_load(0, 1), *page_load(1000, 2), *some_events(9, start=2000)]))
    target = f"/recordings/{recording_id}/events?{query}"
    plain = await api.get(target, headers={"Accept": NDJSON})
    assert plain.headers["ETag"]
    assert "Link" in plain.headers["Access-Control-Expose-Headers"]
    assert "ETag" in plain.headers["Access-Control-Expose-Headers"]
    tags = {plain.headers["ETag"]}
    for form in (JSON, NDJSON):
        for encoding in ("identity", "gzip", "br", "zstd"):
            headers = {"Accept": form, "Accept-Encoding": encoding}
            reply = await api.get(target, headers=headers)
            text = decompress(encoding, reply.body)
            events = json.loads(text) if form == JSON else [json.loads(line) for line in text.splitlines()]
            assert events == [json.loads(line) for line in plain.body.splitlines()]
            assert next_of(reply) == next_of(plain)
            tags.add(reply.headers["ETag"])
            head = await api.request("HEAD", target, headers=headers)
            assert (head.status, head.body) == (200, b"")
            assert next_of(head) == next_of(reply)
            assert head.headers["ETag"] == reply.headers["ETag"]
            same = await api.get(target, headers=headers | {"If-None-Match": reply.headers["ETag"]})
            assert (same.status, same.body) == (304, b"")
    assert len(tags) == 8
    # Another page is another answer.
    following = next_of(plain)
    if following is not None:
        assert (await api.get(following, headers={"Accept": NDJSON})).headers["ETag"] not in tags


async def test_a_page_keeps_its_tag_while_more_arrives(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(9)))
    second = next_of(await api.get(f"/recordings/{recording_id}/events?limit=3"))
    assert second is not None
    tag = (await api.get(second)).headers["ETag"]
    await api.post(recording_id, ndjson(some_events(9, start=5)))
    assert (await api.get(second, headers={"If-None-Match": tag})).status == 304


async def test_links_keep_what_lets_the_caller_in(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(9)))
    row = api.daemon.signing_key()
    expires_s = api.daemon.services.clock.now_ms() // 1000 + 60
    signed = sign(
        secret=row.secret, key_id=row.key_id, tenant="acme", method="GET",
        scope_path=f"/recordings/{recording_id}", expires_s=expires_s,
    )  # fmt: skip
    for key in (signed, f"token={api.key}"):
        pages = await walk(api, recording_id, f"limit=4&{key}", key="")
        assert [len(page) for page in pages] == [4, 4, 1]


@pytest.mark.parametrize("far", [False, True])
async def test_a_replay_begins_with_the_page_that_is_shown(api: Api, far: bool) -> None:
    recording_id = new_id()
    sent = [an_event(-50), *(line for n in range(5) for line in page_load(n * 1000, n)), an_event(4500)]
    await api.post(recording_id, ndjson([*sent, closing()]))
    if far:
        await roll_up(api.daemon, recording_id)
    for at, start in ((3000, 2000), (3001, 3000), (3999.5, 3000), (4012, 4000), (-1e9, 0), (0, 0)):
        for more in ("", "&to=4015", "&limit=2", "&maxBytes=65536"):
            pages = await walk(api, recording_id, f"at={at:.1f}{more}")
            stamps = [json.loads(line)["timestamp"] for page in pages for line in page]
            limit = 4015 if "to" in more else 9e9
            assert stamps == [
                stamp
                for stamp in sorted(json.loads(line)["timestamp"] for line in [*sent, closing()])
                if start <= stamp < limit
            ]


async def test_without_a_snapshot_a_replay_begins_at_the_start(api: Api) -> None:
    recording_id = new_id()
    sent = some_events(5, start=100)
    await api.post(recording_id, ndjson(sent))
    assert [len(page) for page in await walk(api, recording_id, "at=103&to=104")] == [4]


async def test_senders_of_every_kind_are_told_of(api: Api) -> None:
    """However events come, the header of their block says whether a page begins in it."""
    meta, snapshot, change, later = page_load(1000, 1)
    packed = json.dumps([json.loads(line) for line in (snapshot, change)]).encode()
    for body, kind in (
        (ndjson([snapshot, change]), NDJSON),
        (packed, JSON),
        (b'{"events":' + packed + b"}", JSON),
        (snapshot + change + b"\n", NDJSON),
    ):
        recording_id = new_id()
        await api.post(recording_id, ndjson([an_event(1)]))
        await api.post(recording_id, ndjson([meta]))
        await api.post(recording_id, body, kind=kind)
        await api.post(recording_id, ndjson([later]))
        [page] = await walk(api, recording_id, "at=1015")
        assert [json.loads(line)["type"] for line in page] == [4, 2, 3, 3], body
    recording_id = new_id()
    socket = await api.socket(recording_id, ack="true")
    for count, line in enumerate((an_event(1), meta, snapshot, later), 1):
        await socket.send_text(line)
        while (await socket.next_json())["successful_rows"] < count:
            pass
    [page] = await walk(api, recording_id, "at=1015")
    assert [json.loads(line)["type"] for line in page] == [4, 2, 3]
    await socket.finish()


async def test_order_is_by_time_across_pages(api: Api) -> None:
    recording_id, chance = new_id(), random.Random(5)
    sent = [an_event(chance.choice([1, 2, 2.5, 3, 1e12, -5]), n=n) for n in range(90)]
    await api.post(recording_id, ndjson(sent[:45]))
    await api.post(recording_id, ndjson(sent[45:]))
    lines = [json.loads(line) for page in await walk(api, recording_id, "limit=8") for line in page]
    assert [one["data"]["n"] for one in lines] == [json.loads(line)["data"]["n"] for line in by_time(sent)]


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_pages_of_a_damaged_recording_are_refused_or_salvaged_as_the_whole(
    api: Api, damage: Callable[[Path], set[int]]
) -> None:
    recording_id, path, lines = await filled(api.daemon, api)
    missing = damage(path)
    for walk_query in ("limit=7", "limit=7&at=0", "limit=7&after=0"):
        found: list[int] = []
        target: str | None = f"/recordings/{recording_id}/events?salvage=true&{walk_query}"
        while target is not None:
            reply = await api.get(target, headers={"Accept": NDJSON})
            assert reply.status == 200
            assert int(reply.headers["Rrd-Missing-Events"]) in {0, len(missing)}
            found += [json.loads(line)["sequenceId"] for line in reply.body.splitlines()]
            target = next_of(reply)
        assert found == [seq for seq in range(1, len(lines) + 1) if seq not in missing]
        # Without it, no page leaves one out in silence.
        whole = await api.get(f"/recordings/{recording_id}/events?{walk_query.replace('7', '10000')}")
        assert (whole.status, whole.error["code"]) == (500, "recording_damaged")


async def test_a_store_that_is_away_is_told_of(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson([*page_load(0, 1), closing()]))
    await roll_up(api.daemon, recording_id)
    async with elsewhere(api.daemon) as (store, _):
        for query in ("limit=1", "at=5", "at=5&limit=1", "after=0&limit=1"):
            store.fail()
            reply = await api.get(f"/recordings/{recording_id}/events?{query}")
            assert (reply.status, reply.error["code"]) == (503, "object_store_away")
            assert reply.headers["Retry-After"]
