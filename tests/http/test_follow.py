"""``follow=true``: history, then events as they come, each once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rrd import metrics
from rrd.http.services import Bounds, WatchBounds
from tests.harness import LocalDaemon, eventually, running, until
from tests.http.api import Api, visiting
from tests.http.watchers import Watcher, watching
from tests.samples import an_event, dump, ndjson, new_id, some_events

NOW = 1_700_000_000_000
CLOSE = dump({"type": 5, "timestamp": NOW + 99_000, "data": {"tag": "close-permanent", "payload": {}}})


def on(api: Api, recording_id: str, **more: Any) -> contextlib.AbstractAsyncContextManager[Watcher]:
    return watching(api.daemon.url, recording_id, more.pop("key", api.key), **more)


async def post(api: Api, recording_id: str, *lines: bytes) -> None:
    assert (await api.post(recording_id, ndjson(lines))).status == 200


@contextlib.asynccontextmanager
async def quick(path: Path, **bounds: float) -> AsyncIterator[Api]:
    """A daemon whose watchers wait for less."""
    async with running(path, bounds=Bounds(watch=WatchBounds(**bounds))) as daemon, visiting(daemon) as api:
        yield api


async def test_history_comes_first_and_then_each_event_as_it_is_stored(api: Api) -> None:
    recording_id = new_id()
    await post(api, recording_id, *some_events(3, start=NOW + 10))
    await post(api, recording_id, an_event(NOW))  # Late: a replayer wants it first.
    async with on(api, recording_id) as watcher:
        assert await watcher.has(4) == [4, 1, 2, 3]
        assert watcher.parser.last_id == "4"
        assert watcher.parser.retry_ms == 2000
        await post(api, recording_id, an_event(NOW + 20), an_event(NOW + 5))
        assert await watcher.has(6) == [4, 1, 2, 3, 5, 6]
        await until(lambda: watcher.parser.last_id == "6", what="its id")
        assert [event["timestamp"] for event in watcher.events[-2:]] == [NOW + 20, NOW + 5]
        assert {event["recordingId"] for event in watcher.events} == {recording_id}
        async with api.session.get(
            watcher.answer.url.with_query(""), headers={"Authorization": f"Bearer {api.key}"}
        ) as reply:
            assert sorted(map(str, await reply.json())) == sorted(map(str, watcher.events))


async def test_the_head_keeps_proxies_from_gathering_it(api: Api) -> None:
    recording_id = new_id()
    await post(api, recording_id, an_event(NOW))
    async with on(api, recording_id, headers={"Accept-Encoding": "gzip, zstd"}) as watcher:
        assert watcher.status == 200
        assert watcher.headers["Content-Type"] == "text/event-stream"
        assert watcher.headers["Cache-Control"] == "no-cache, no-transform"
        assert watcher.headers["X-Accel-Buffering"] == "no"
        assert watcher.headers["X-Content-Type-Options"] == "nosniff"
        assert {"Accept", "Authorization", "Origin"} <= set(watcher.headers["Vary"].split(", "))
        assert "Content-Encoding" not in watcher.headers


async def test_lines_are_for_tools(api: Api) -> None:
    recording_id = new_id()
    await post(api, recording_id, *some_events(2))
    async with on(api, recording_id, accept="application/x-ndjson") as watcher:
        assert watcher.headers["Content-Type"] == "application/x-ndjson"
        await post(api, recording_id, *some_events(2, start=NOW + 50))
        assert await watcher.has(4) == [1, 2, 3, 4]


@pytest.mark.parametrize("how", ["header", "query"])
async def test_a_stream_is_resumed_after_an_event(api: Api, how: str) -> None:
    recording_id = new_id()
    await post(api, recording_id, *some_events(3, start=NOW + 10))
    await post(api, recording_id, *some_events(2))
    more: dict[str, Any] = {"headers": {"Last-Event-ID": "2"}} if how == "header" else {"after": 2}
    async with on(api, recording_id, **more) as watcher:
        assert await watcher.has(3) == [3, 4, 5]
        await post(api, recording_id, an_event(NOW))
        assert await watcher.has(4) == [3, 4, 5, 6]


async def test_the_header_wins_since_the_url_of_a_page_stays_the_same(api: Api) -> None:
    recording_id = new_id()
    await post(api, recording_id, *some_events(5))
    async with on(api, recording_id, headers={"Last-Event-ID": "3"}, after=1) as watcher:
        assert await watcher.has(2) == [4, 5]


async def test_history_may_begin_with_the_page_that_is_shown(api: Api) -> None:
    """What comes later is told in any case, and a stream that is resumed needs no history."""
    recording_id = new_id()
    for page in range(3):
        start = NOW + 1000 * page
        meta, snapshot = ({"type": kind, "timestamp": start, "data": {"n": page}} for kind in (4, 2))
        await post(api, recording_id, dump(meta), dump(snapshot), *some_events(3, start=start + 1))
    async with (
        on(api, recording_id, at=NOW + 1500) as watcher,
        on(api, recording_id, at=NOW + 90_000) as newest,
    ):
        assert await watcher.has(10) == list(range(6, 16))
        assert await newest.has(5) == list(range(11, 16))
        await until(lambda: newest.parser.last_id == "15", what="its id")
        await post(api, recording_id, an_event(NOW + 5000), an_event(NOW + 50))
        assert (await watcher.has(12))[-2:] == [16, 17]
        assert (await newest.has(7))[-2:] == [16, 17]
    async with on(api, recording_id, at=NOW + 1500, headers={"Last-Event-ID": "16"}) as again:
        assert await again.has(1) == [17]


async def test_what_another_life_of_the_recording_told_is_told_from_the_beginning(api: Api) -> None:
    recording_id = new_id()
    await post(api, recording_id, *some_events(2))
    async with on(api, recording_id, headers={"Last-Event-ID": "77"}) as watcher:
        assert await watcher.has(2) == [1, 2]


@pytest.mark.parametrize(
    ("query", "headers", "parameter"),
    [
        ("follow=yes", {}, "follow"),
        ("follow=", {}, "follow"),
        ("follow=true&after=-1", {}, "after"),
        ("follow=true&after=x", {}, "after"),
        ("follow=true&after=1.5", {}, "after"),
        ("follow=true&after=9999999999999999", {}, "after"),
        ("follow=true&from=1", {}, "from"),
        ("follow=true&at=x", {}, "at"),
        ("follow=true&at=1&after=1", {}, "at"),
        ("follow=true&to=1", {}, "to"),
        ("follow=true&limit=1", {}, "limit"),
        ("follow=true&form=stored", {}, "form"),
        ("follow=true&salvage=true", {}, "salvage"),
        ("follow=true&_=1", {}, "_"),
        ("follow=true", {"Last-Event-ID": "x"}, "Last-Event-ID"),
        ("follow=true", {"Last-Event-ID": "1 2"}, "Last-Event-ID"),
    ],
)
async def test_what_is_asked_wrongly_is_named(
    api: Api, query: str, headers: dict[str, str], parameter: str
) -> None:
    recording_id = new_id()
    await post(api, recording_id, an_event(NOW))
    reply = await api.get(f"/recordings/{recording_id}/events?{query}", headers=headers)
    assert reply.status == 400
    assert reply.error["parameter"] == parameter


async def test_follow_false_is_a_read_like_any_other(api: Api) -> None:
    recording_id = new_id()
    await post(api, recording_id, an_event(NOW))
    reply = await api.get(f"/recordings/{recording_id}/events?follow=false")
    assert len(reply.json()) == 1


async def test_a_recording_that_is_not_there_is_not_found(api: Api) -> None:
    assert (await api.get(f"/recordings/{new_id()}/events?follow=true")).status == 404
    assert len(api.daemon.services.registry.followers) == 0


async def test_head_has_the_head_alone(api: Api) -> None:
    recording_id = new_id()
    await post(api, recording_id, an_event(NOW))
    url = f"{api.daemon.url}/recordings/{recording_id}/events?follow=true"
    async with api.session.head(url, headers={"Authorization": f"Bearer {api.key}"}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert await answer.read() == b""
    await until(lambda: len(api.daemon.services.registry.followers) == 0, what="no watcher")


async def test_events_of_any_bytes_arrive_as_they_are(api: Api) -> None:
    """A CR between members is a space to JSON and the end of a line to a page."""
    recording_id = new_id()
    lines = [
        b'{"type":3,\r"timestamp":%d,\r"data":{"a":"\\r\\n"} }\r' % NOW,
        '{"type":3,"timestamp":1700000000001,"data":{"a":"\u2028\u2029\x85\ufeff","b":"id: 9"}}'.encode(),
        b'{"type":3,"timestamp":1700000000002,"data":{"a":"\\ud83d"},"sequenceId":70,"recordingId":"x"}',
    ]
    await post(api, recording_id, *lines)
    async with on(api, recording_id) as first:
        await first.has(3)
        await post(api, recording_id, lines[0].replace(b"data", b'more":1,\r"data'))
        await first.has(4)
        async with on(api, recording_id, after=0) as second:
            await second.has(3)
            stored = (await api.get(f"/recordings/{recording_id}/events")).body
    for watcher in (first, second):
        assert watcher.parser.told[0].lines[2].endswith(b',"sequenceId":70,"recordingId":"x"}')
        for line in watcher.parser.told[0].lines:
            assert line in stored.replace(b"\r", b" ")
        assert first.parser.told[0].last_id == "3"


async def test_one_large_event_is_one_frame(api: Api) -> None:
    recording_id = new_id()
    await post(
        api,
        recording_id,
        an_event(NOW, text="x" * 3_000_000),
        *some_events(200, start=NOW + 1, pad="y" * 2000),
    )
    async with on(api, recording_id) as watcher:
        await watcher.has(201)
        await post(
            api,
            recording_id,
            an_event(NOW + 2000, text="z" * 3_000_000),
            *some_events(200, start=NOW + 3000, pad="y" * 2000),
        )
        assert await watcher.has(402) == list(range(1, 403))
        for told in watcher.parser.told:
            assert len(told.lines) == 1 or sum(map(len, told.lines)) <= 256_000
            assert int(told.last_id) == int(watcher_number(told.lines[-1]))


def watcher_number(line: bytes) -> bytes:
    return line.rpartition(b'"sequenceId":')[2].partition(b",")[0]


async def test_silence_is_told_once_and_the_stream_goes_on(tmp_path: Path) -> None:
    async with quick(tmp_path, idle_s=0.2, ping_s=0.1) as api:
        recording_id = new_id()
        await post(api, recording_id, an_event(NOW))
        async with on(api, recording_id) as watcher:
            await watcher.hears("idle")
            await until(lambda: len(watcher.parser.comments) >= 3, what="pings")
            assert watcher.others == [("end", "idle")]
            await post(api, recording_id, an_event(NOW + 1))
            await watcher.has(2)
            await until(lambda: len(watcher.others) == 2, what="it to be told anew")
            assert not watcher.is_over


async def test_lines_are_kept_alive_by_blank_ones(tmp_path: Path) -> None:
    async with quick(tmp_path, ping_s=0.05) as api:
        recording_id = new_id()
        await post(api, recording_id, an_event(NOW))
        async with on(api, recording_id, accept="application/x-ndjson") as watcher:
            await until(lambda: watcher.raw.endswith(b"}\n\n\n\n"), what="pings")
            assert len(watcher.events) == 1


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
async def test_the_end_of_a_page_ends_the_stream_once_late_events_had_their_time(
    tmp_path: Path, accept: str
) -> None:
    async with quick(tmp_path, closed_s=0.5) as api:
        recording_id = new_id()
        await post(api, recording_id, an_event(NOW))
        async with on(api, recording_id, accept=accept) as watcher:
            await post(api, recording_id, an_event(NOW + 1), CLOSE)
            await watcher.has(3)
            await post(api, recording_id, an_event(NOW + 2))
            await watcher.ends()
            assert watcher.numbers == [1, 2, 3, 4]
            assert watcher.broken is None
            assert watcher.others == ([] if watcher.raw else [("end", "closed")])
        # A page that comes back, as an EventSource does, hears that there is nothing to come back for.
        async with on(api, recording_id, headers={"Last-Event-ID": "4"}) as again:
            assert again.status == 204
        async with on(api, recording_id, headers={"Last-Event-ID": "2"}) as behind:
            await behind.ends()
            assert behind.numbers == [3, 4]
        async with on(api, recording_id) as late:
            await late.ends()
            assert late.numbers == [1, 2, 4, 3]
            assert late.others == [("end", "closed")]
        # It is not over after all.
        await post(api, recording_id, an_event(NOW + 99_500))
        async with on(api, recording_id, headers={"Last-Event-ID": "4"}) as again:
            assert await again.has(1) == [5]
            assert not again.is_over


async def test_a_watcher_hears_at_once_that_the_recording_is_erased(api: Api) -> None:
    recording_id, other = new_id(), new_id()
    for each in (recording_id, other):
        await post(api, each, an_event(NOW))
    async with (
        on(api, recording_id) as watcher,
        on(api, other) as bystander,
        on(api, recording_id, accept="application/x-ndjson") as lines,
    ):
        for there in (watcher, bystander, lines):
            await there.has(1)
        assert (
            await api.request("DELETE", f"/recordings/{recording_id}", key=api.daemon.key("erase"))
        ).status == 200
        await watcher.ends()
        await lines.ends()
        assert watcher.others == [("end", "erased")]
        assert watcher.broken is None
        assert lines.broken is not None
        await post(api, other, an_event(NOW + 1))
        await bystander.has(2)
    reply = await api.get(f"/recordings/{recording_id}/events?follow=true", headers={"Last-Event-ID": "1"})
    assert reply.status == 404


async def test_a_revoked_key_ends_the_stream(api: Api) -> None:
    recording_id, key = new_id(), api.daemon.key("read")
    await post(api, recording_id, an_event(NOW))
    async with on(api, recording_id, key=key) as watcher, on(api, recording_id) as other:
        await watcher.has(1)
        api.daemon.revoke(key)
        await post(api, recording_id, an_event(NOW + 1))
        await watcher.ends()
        assert await other.has(2) == [1, 2]
        assert watcher.numbers == [1]
        assert watcher.others == []


async def test_a_stream_lasts_no_longer_than_its_url(api: Api) -> None:
    from rrd.access.signing import sign

    recording_id = new_id()
    await post(api, recording_id, an_event(NOW))
    signing_key = api.daemon.signing_key()
    expires_s = api.daemon.services.clock.now_ms() // 1000 + 2
    query = sign(
        secret=signing_key.secret, key_id=signing_key.key_id, tenant="acme", method="GET",
        scope_path=f"/recordings/{recording_id}", expires_s=expires_s,
    )  # fmt: skip
    url = f"{api.daemon.url}/recordings/{recording_id}/events?follow=true&{query}"
    async with api.session.get(url) as answer:
        assert answer.status == 200
        watcher = Watcher(answer)
        await watcher.has(1)
        await watcher.ends()
        assert api.daemon.services.clock.now_ms() / 1000 >= expires_s
        await watcher.close()


async def test_a_stop_ends_streams_and_says_so(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with running(tmp_path) as daemon, visiting(daemon) as api:
            recording_id = new_id()
            await post(api, recording_id, an_event(NOW))
            watcher = await stack.enter_async_context(on(api, recording_id))
            await watcher.has(1)
        await watcher.ends()
        assert watcher.others == [("end", "shutdown")]
        assert watcher.parser.retry_ms == 1000
        assert watcher.broken is None


async def test_watchers_are_limited_for_each_recording_and_tenant_and_in_all(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"watchers_max": 5, "tenant_watchers_max": 3, "recording_watchers_max": 2}
    async with running(tmp_path, **limits) as daemon, visiting(daemon) as api:
        first, second = new_id(), new_id()
        other_key = daemon.key("all", tenant="other")
        for each in (first, second):
            await post(api, each, an_event(NOW))
            assert (await api.post(each, ndjson([an_event(NOW)]), key=other_key)).status == 200

        async def refused(recording_id: str, key: str) -> None:
            reply = await api.get(f"/recordings/{recording_id}/events?follow=true", key=key)
            assert reply.status == 503
            assert reply.error["code"] == "too_many_watchers"
            assert int(reply.headers["Retry-After"]) > 0

        async with contextlib.AsyncExitStack() as stack:
            for recording_id, key in [(first, api.key), (first, api.key), (second, api.key)]:
                await (await stack.enter_async_context(on(api, recording_id, key=key))).has(1)
            await refused(first, api.key)
            await refused(second, api.key)
            for recording_id in (first, second):
                await (await stack.enter_async_context(on(api, recording_id, key=other_key))).has(1)
            await refused(second, other_key)
            assert len(daemon.services.registry.followers) == 5
        # Those that left are noticed at once, and not with the next ping.
        await until(lambda: len(daemon.services.registry.followers) == 0, what="their places")
        async with on(api, first) as watcher:
            await watcher.has(1)


async def test_a_watcher_takes_no_request_and_keeps_no_recording(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "requests_max": 2,
        "seal_idle_s": 1,
        "rollup_delay_s": 0,
        "keep_local_s": 0,
        "seal_closed_s": 0,
    }
    async with running(tmp_path, **settings) as daemon, visiting(daemon) as api:
        recording_id = new_id()
        await post(api, recording_id, *some_events(3))
        async with contextlib.AsyncExitStack() as stack:
            watchers = [await stack.enter_async_context(on(api, recording_id)) for _ in range(3)]
            for watcher in watchers:
                await watcher.has(3)

            async def is_moved() -> bool:
                row = await daemon.services.index.recording("acme", recording_id)
                return row is not None and not row.segments and bool(row.objects)

            await eventually(is_moved, what="the recording to be sealed, rolled up and evicted")
            assert not daemon.services.registry._recordings
            # Opened anew, and followed as before.
            await post(api, recording_id, *some_events(3, start=NOW + 50))
            for watcher in watchers:
                assert await watcher.has(6) == [1, 2, 3, 4, 5, 6]
            async with on(api, recording_id, after=1) as other:
                assert await other.has(5) == [2, 3, 4, 5, 6]


async def test_figures_of_watchers(api: Api) -> None:
    def figure(name: str, label: str = "") -> float:
        return next((found.value for found in metrics.snapshot() if found[:2] == (name, label)), 0)

    recording_id = new_id()
    await post(api, recording_id, an_event(NOW))
    before, gone = figure("rrd_open_watchers"), figure("rrd_ended_watches_total", "gone")
    async with on(api, recording_id) as watcher:
        await watcher.has(1)
        assert figure("rrd_open_watchers") == before + 1
    await until(lambda: figure("rrd_open_watchers") == before, what="the watcher to leave")
    assert figure("rrd_ended_watches_total", "gone") == gone + 1


async def test_one_that_closes_its_side_alone_is_told_on(tmp_path: Path) -> None:
    async with quick(tmp_path, ping_s=0.2) as api:
        await _closes_its_side(api.daemon, api)


async def _closes_its_side(daemon: LocalDaemon, api: Api) -> None:
    recording_id = new_id()
    await post(api, recording_id, an_event(NOW))
    reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
    writer.write(
        f"GET /recordings/{recording_id}/events?follow=true HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {api.key}\r\n\r\n".encode()
    )
    writer.write_eof()
    await reader.readuntil(b"id: 1\n\n")
    await post(api, recording_id, an_event(NOW + 1))
    await reader.readuntil(b"id: 2\n\n")
    writer.close()
    await until(lambda: len(daemon.services.registry.followers) == 0, what="it to be gone")


async def test_what_is_damaged_is_refused_and_what_breaks_later_breaks_the_stream(api: Api) -> None:
    recording_id = new_id()
    await post(api, recording_id, an_event(NOW))
    api.daemon.services.registry.followers._recent_bytes_max = 0
    async with on(api, recording_id) as watcher:
        await watcher.has(1)
        path = api.daemon.segments("active")[0]
        await post(api, recording_id, an_event(NOW + 1))
        await watcher.has(2)
        path.write_bytes(path.read_bytes()[:300])
        for follower in next(iter(api.daemon.services.registry.followers._followed.values())).followers:
            follower._followed.limit_seq = 4
            follower.woken.set()
        await watcher.ends()
        assert watcher.broken is not None
        assert watcher.others == []
    reply = await api.get(f"/recordings/{recording_id}/events?follow=true")
    assert reply.status == 500
    assert reply.error["code"] == "recording_damaged"
