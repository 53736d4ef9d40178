"""The sources of a live view and of a whole visit, in Node, at a real daemon and through real proxies."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rrd.http.services import Bounds, WatchBounds
from tests.console.units_lab import Units
from tests.harness import DaemonProcess, eventually, running
from tests.http.api import Api, visiting
from tests.proxies.served import KINDS, make_proxy
from tests.samples import dump, meta_event, ndjson, new_id

NOW = 1_700_000_000_000


def an_event(kind: int, offset: float, **data: Any) -> bytes:
    return dump({"type": kind, "timestamp": NOW + offset, "data": data})


def a_page(offset: int, name: str, count: int = 2) -> list[bytes]:
    """Return a page: Meta, full snapshot, then events 100 ms apart."""
    return [
        an_event(4, offset, href=f"https://shop.example/{name}", width=800, height=600),
        an_event(2, offset + 1, node={"type": 0, "childNodes": [], "id": 1}),
        *(an_event(3, offset + 100 * (number + 1), source=3, name=name) for number in range(count)),
    ]


CLOSE = an_event(5, 90_000, tag="close-permanent", payload={})


@pytest.fixture
def units() -> Iterator[Units]:
    made = Units()
    yield made
    made.close()


class Source:
    """A source that takes all it can get, in a Node process; the loop stays free for the daemon."""

    def __init__(self, units: Units) -> None:
        self._units = units

    async def open(self, kind: str, url: str, token: str, **fields: Any) -> None:
        await asyncio.to_thread(
            functools.partial(self._units.do, "open", kind=kind, url=url, token=token, **fields)
        )

    async def taken(self) -> list[tuple[int, float]]:
        """Return piece and time of each event that came, from ``NOW`` on."""
        found = await asyncio.to_thread(self._units.do, "taken")
        return [(each["piece"], each["timestamp"] - NOW) for each in found]

    async def about(self) -> dict[str, Any]:
        found: dict[str, Any] = await asyncio.to_thread(self._units.do, "about")
        return found

    async def has(self, expected: list[tuple[int, float]]) -> None:
        async def look() -> bool:
            return await self.taken() == expected

        try:
            await eventually(look, what="these events")
        except TimeoutError:
            assert await self.taken() == expected

    async def stands(self, standing: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            found = await self.about()
            return found if found["standing"] == standing else None

        return await eventually(look, what=f"it to be {standing}")


async def post(api: Api, recording_id: str, lines: list[bytes]) -> None:
    assert (await api.post(recording_id, ndjson(lines))).status == 200


@contextlib.asynccontextmanager
async def quick(path: Path, **bounds: float) -> AsyncIterator[Api]:
    async with running(path, bounds=Bounds(watch=WatchBounds(**bounds))) as daemon, visiting(daemon) as api:
        yield api


async def test_it_begins_with_the_newest_page_and_goes_on_with_what_comes(
    units: Units, tmp_path: Path
) -> None:
    async with running(tmp_path / "data") as daemon, visiting(daemon) as api:
        recording_id = new_id()
        await post(api, recording_id, [*a_page(0, "one"), *a_page(1000, "two")])
        source = Source(units)
        await source.open("live", daemon.url, api.key, id=recording_id)
        await source.has([(0, 1000), (0, 1001), (0, 1100), (0, 1200)])
        await post(api, recording_id, [an_event(3, 1300, source=3)])
        await post(api, recording_id, a_page(2000, "three", 1))
        await source.has(
            [(0, 1000), (0, 1001), (0, 1100), (0, 1200), (0, 1300), (1, 2000), (1, 2001), (1, 2100)]
        )
        found = await source.about()
        assert found["standing"] == "live"
        assert [piece["url"][-5:] for piece in found["pieces"]] == ["e/two", "three"]
        await asyncio.to_thread(units.do, "close")


@pytest.mark.parametrize("kind", KINDS)
async def test_it_follows_through_a_proxy_and_over_a_restart_of_it(
    units: Units, tmp_path: Path, kind: str
) -> None:
    async with running(tmp_path / "data") as daemon, visiting(daemon) as api:
        proxy = make_proxy(kind, tmp_path, daemon.port, speaks_tls=False)
        recording_id, expected = new_id(), [(0, 0.0), (0, 1.0), (0, 100.0), (0, 200.0)]
        await post(api, recording_id, a_page(0, "one"))
        source = Source(units)
        async with proxy.running():
            await source.open("live", proxy.url, api.key, id=recording_id)
            await source.has(expected)
            await post(api, recording_id, [an_event(3, 300, source=3)])
            await source.has([*expected, (0, 300)])
        await source.stands("away")
        await post(api, recording_id, [an_event(3, 400, source=3)])
        async with proxy.running():
            await source.has([*expected, (0, 300), (0, 400)])
            assert (await source.about())["standing"] == "live"
            await asyncio.to_thread(units.do, "close")


async def test_a_restart_of_the_daemon_loses_nothing_and_tells_nothing_twice(
    units: Units, tmp_path: Path
) -> None:
    daemon = DaemonProcess(tmp_path, flush_age_ms=20)
    key = daemon.key()
    recording_id = new_id()

    def send(lines: list[bytes]) -> None:
        request = urllib.request.Request(
            f"{daemon.url}/recordings/{recording_id}/ingest", data=ndjson(lines), method="POST",
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"},
        )  # fmt: skip
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200

    stops: list[Callable[[], object]] = [daemon.stop, daemon.kill]
    daemon.start()
    try:
        await asyncio.to_thread(send, a_page(0, "one", 1))
        source, expected = Source(units), [(0, 0.0), (0, 1.0), (0, 100.0)]
        await source.open("live", daemon.url, key, id=recording_id)
        await source.has(expected)
        for number, stop in enumerate(stops, 1):
            await asyncio.to_thread(stop)
            await source.stands("away")
            await asyncio.to_thread(daemon.start)
            await asyncio.to_thread(send, [an_event(3, 1000 * number, source=3)])
            expected.append((0, 1000 * number))
            await source.has(expected)
            await source.stands("live")
        await asyncio.to_thread(units.do, "close")
    finally:
        daemon.kill()


async def test_it_waits_for_a_snapshot_where_there_is_none(units: Units, tmp_path: Path) -> None:
    async with running(tmp_path / "data") as daemon, visiting(daemon) as api:
        recording_id = new_id()
        await post(api, recording_id, [an_event(3, 0, source=3), an_event(3, 60_000, source=3)])
        source = Source(units)
        await source.open("live", daemon.url, api.key, id=recording_id)
        await source.stands("waiting")
        assert await source.taken() == []
        page = a_page(80_000, "late", 1)
        # The snapshot went its own way, and comes last.
        await post(api, recording_id, [page[0], page[2], page[1]])
        await source.has([(0, 80_000), (0, 80_001), (0, 80_100)])
        await asyncio.to_thread(units.do, "close")


async def test_it_hears_that_the_visit_is_over_and_that_nobody_is_there(units: Units, tmp_path: Path) -> None:
    async with quick(tmp_path / "data", closed_s=0.05, idle_s=0.1) as api:
        recording_id = new_id()
        await post(api, recording_id, a_page(0, "one"))
        source = Source(units)
        await source.open("live", api.daemon.url, api.key, id=recording_id)
        await source.stands("idle")
        await post(api, recording_id, [CLOSE])
        await source.stands("closed")
        assert (await source.taken())[-1] == (0, 90_000)
        # Who comes later sees the end of it, too.
        await source.open("live", api.daemon.url, api.key, id=recording_id)
        await source.stands("closed")


@pytest.mark.parametrize("how", ["erase", "revoke"])
async def test_an_erased_recording_and_a_lost_key_end_it_for_good(
    units: Units, tmp_path: Path, how: str
) -> None:
    async with quick(tmp_path / "data", ping_s=0.1) as api:
        daemon = api.daemon
        recording_id, key = new_id(), daemon.key("read")
        await post(api, recording_id, a_page(0, "one"))
        source = Source(units)
        await source.open("live", daemon.url, key, id=recording_id)
        await source.stands("live")
        if how == "erase":
            reply = await api.request("DELETE", f"/recordings/{recording_id}", key=daemon.key("erase"))
            assert reply.status in {200, 202, 204}
            await source.stands("erased")
        else:
            daemon.revoke(key)
            found = await source.stands("refused")
            assert found["problem"]["status"] == 401


async def test_what_is_not_there_is_told_at_once(units: Units, tmp_path: Path) -> None:
    async with running(tmp_path / "data") as daemon, visiting(daemon) as api:
        with pytest.raises(RuntimeError, match="404 not_found"):
            await Source(units).open("live", daemon.url, api.key, id=new_id())
        with pytest.raises(RuntimeError, match="401 unauthenticated"):
            await Source(units).open("live", daemon.url, "wrong", id=new_id())


async def test_a_whole_visit_is_the_pages_of_all_its_tabs(units: Units, tmp_path: Path) -> None:
    async with running(tmp_path / "data", replay_recordings_max=2) as daemon, visiting(daemon) as api:
        for offset, name in [(0, "one"), (5000, "two")]:
            session = meta_event(NOW, sessionId="s 1&2")
            await post(api, new_id(), [session, *a_page(offset, name), *a_page(offset + 400, name + "b")])
        source, params = Source(units), {"meta[sessionId]": "s 1&2"}
        await source.open("composed", daemon.url, api.key, params=params)
        found = await source.stands("whole")
        assert [piece["url"] for piece in found["pieces"]] == [
            f"https://shop.example/{name}" for name in ["one", "oneb", "two", "twob"]
        ]
        assert (found["first"], found["last"]) == (0, found["pieces"][-1]["to"])
        assert [piece["from"] for piece in found["pieces"]] == [0, 400, 1600, 2000]

        async def is_all() -> bool:
            return len(await source.taken()) == 16

        await eventually(is_all, what="all events")
        assert [piece for piece, _ in await source.taken()] == [number // 4 for number in range(16)]
        with pytest.raises(RuntimeError, match="404"):
            await source.open("composed", daemon.url, api.key, params={"meta[sessionId]": "none"})
        await post(api, new_id(), [meta_event(NOW, sessionId="s 1&2"), *a_page(9000, "three")])
        with pytest.raises(RuntimeError, match="400 too_many_recordings"):
            await source.open("composed", daemon.url, api.key, params=params)
