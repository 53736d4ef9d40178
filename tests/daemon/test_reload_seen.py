"""What clients see of settings that are read again while they are connected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from rrd.config import Config
from rrd.daemon.reload import Reloader
from tests.daemon.reload_lab import HANDLES
from tests.harness import LocalDaemon, eventually, running
from tests.http.api import Api, visiting
from tests.http.raw_client import Connection, Refused, Socket
from tests.samples import an_event, meta_event, ndjson, new_id, some_events


class Reloading:
    """A running daemon whose settings are read again."""

    def __init__(self, daemon: LocalDaemon) -> None:
        self._daemon = daemon
        self._config = daemon.config
        self._reloader = Reloader(lambda: self._config, daemon.config, HANDLES)

    async def set(self, **values: Any) -> None:
        """Change these settings, and reload."""
        self._config = msgspec.structs.replace(self._config, **values)
        await self._reloader.reload(self._daemon.parts)
        assert self._daemon.services.reload_state.error is None


async def _sockets(api: Api, opened: list[Socket]) -> int:
    """Open one socket more; return the status."""
    try:
        opened.append(await api.socket(new_id()))
    except Refused as refused:
        return refused.reply.status
    return 101


async def test_more_and_fewer_sockets_may_be_open_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, sockets_tenant_max=0, sockets_key_max=0) as daemon, visiting(daemon) as api:
        reloading, opened = Reloading(daemon), list[Socket]()
        assert [await _sockets(api, opened) for _ in range(3)] == [101] * 3
        await reloading.set(sockets_max=2)
        assert await _sockets(api, opened) == 503
        # Those that are open go on.
        for number, socket in enumerate(opened):
            await socket.send_text(an_event(1_700_000_000_000, n=number))
        assert [(await socket.finish()).last["ok"] for socket in opened] == [True] * 3
        opened.clear()
        assert await _sockets(api, opened) == 101
        await reloading.set(sockets_max=100, sockets_key_max=2)
        assert [await _sockets(api, opened) for _ in range(2)] == [101, 429]
        await reloading.set(sockets_key_max=0)
        assert await _sockets(api, opened) == 101
        for socket in opened:
            await socket.finish()


async def test_more_connections_may_be_open_than_at_the_start(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        reloading = Reloading(daemon)
        # With 256 that may always be there beside these.
        await reloading.set(sockets_max=1, requests_max=1, watchers_max=1)
        connections = []
        for _ in range(259):
            connections.append(await Connection.open(daemon.url))
            connections[-1].send_head("GET", "/-/healthy", {})
            assert (await connections[-1].reply()).status == 200
        one_more = await Connection.open(daemon.url)
        one_more.send_head("GET", "/-/healthy", {})
        assert (await one_more.reply()).status == 503
        await one_more.hang_up()
        await reloading.set(sockets_max=100)
        connections.append(await Connection.open(daemon.url))
        connections[-1].send_head("GET", "/-/healthy", {})
        assert (await connections[-1].reply()).status == 200
        for connection in connections:
            await connection.hang_up()


async def test_a_head_may_be_larger_on_connections_that_come_then(tmp_path: Path) -> None:
    async def status_of(connection: Connection) -> int:
        connection.send_head("GET", "/-/healthy", {"Cookie": "c" * 20_000})
        return (await connection.reply()).status

    async with running(tmp_path, head_bytes_max=8192) as daemon:
        reloading = Reloading(daemon)
        before, also_before = [await Connection.open(daemon.url) for _ in range(2)]
        assert await status_of(before) == 431
        await reloading.set(head_bytes_max=32768)
        after = await Connection.open(daemon.url)
        assert await status_of(after) == 200
        assert await status_of(also_before) == 431
        for connection in (before, also_before, after):
            await connection.hang_up()


async def test_what_a_socket_has_gathered_comes_of_age_by_the_new_setting(tmp_path: Path) -> None:
    async with running(tmp_path, flush_age_ms=60_000) as daemon, visiting(daemon) as api:
        reloading, recording_id, sent = Reloading(daemon), new_id(), some_events(3)
        socket = await api.socket(recording_id)
        await socket.send_text(sent[0])  # The first of all is stored at once.
        assert await api.stored(recording_id, 1) == sent[:1]
        await socket.send_text(sent[1])
        await eventually(
            lambda: _gathers(daemon), what="the event to be with the socket"
        )  # It would be stored in a minute.
        await reloading.set(flush_age_ms=20)
        assert await api.stored(recording_id, 2) == sent[:2]
        await reloading.set(flush_age_ms=60_000, flush_bytes=1 << 20)
        await socket.send_text(sent[2])
        assert (await socket.finish()).last["ok"]
        assert await api.stored(recording_id, 3) == sent


async def _gathers(daemon: LocalDaemon) -> bool:
    return bool(daemon.services.sockets._gathering)


async def test_an_idle_socket_is_pinged_by_the_new_interval_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, ping_interval_s=86_400) as daemon, visiting(daemon) as api:
        socket = await api.socket(new_id())
        await Reloading(daemon).set(ping_interval_s=1)
        await socket.next_ping()
        assert (await socket.finish()).code == 1000


@pytest.mark.parametrize(
    ("values", "statuses"),
    [
        ({"event_bytes_max": 1024, "message_bytes_max": 1024, "body_bytes_max": 1024}, (200, 413)),
        ({"recording_ids": "any"}, (200, 200)),
        # One is free: what was used of the former quota has come back since.
        ({"recordings_per_min_key_max": 1}, (200, 200, 429)),
        ({"quotas_of_tenant": ("acme.recordings_per_min=1",)}, (200, 200, 429)),
        ({"disk_reserve_bytes": 1 << 60}, (200, 507)),
        ({"requests_max": 1, "metadata_shape": "object"}, (200, 200)),
    ],
)
async def test_what_is_taken_follows_the_settings_there_and_back(
    tmp_path: Path, values: dict[str, Any], statuses: tuple[int, ...]
) -> None:
    body = ndjson([an_event(1_700_000_000_000, text="x" * 2000)])
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        reloading = Reloading(daemon)
        former = {name: getattr(daemon.config, name) for name in values}
        assert (await api.post(new_id(), body)).status == statuses[0]
        await reloading.set(**values)
        assert [(await api.post(new_id(), body)).status for _ in statuses[1:]] == list(statuses[1:])
        await reloading.set(**former)
        assert (await api.post(new_id(), body)).status == statuses[0]


async def test_what_is_answered_follows_the_settings(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        reloading, recording_id = Reloading(daemon), new_id()
        await api.post(recording_id, ndjson([meta_event(1_700_000_000_000, a="b")]))
        one = f"/recordings/{recording_id}"
        assert isinstance((await api.get(one)).json(), list)
        await reloading.set(metadata_shape="object", public_url="https://rrd.example.com")
        assert isinstance((await api.get(one)).json(), dict)
        assert "https://rrd.example.com/recordings/" in (await api.get("/recordings")).body.decode()
        await reloading.set(recording_ids="any")
        assert (await api.get("/recordings/any-of-these")).status == 404
        await reloading.set(recording_ids="uuid")
        assert (await api.get("/recordings/any-of-these")).status == 400


async def test_a_silent_recording_is_sealed_and_rolled_up_by_the_new_settings(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, visiting(daemon) as api:
        recording_id, sent = new_id(), some_events(3)
        await api.post(recording_id, ndjson(sent))
        assert daemon.config.seal_idle_s == Config().seal_idle_s
        await Reloading(daemon).set(seal_idle_s=1, rollup_delay_s=0, rollup_level=1, rollup_tasks=1)

        async def is_rolled_up() -> bool:
            row = await daemon.services.index.recording("acme", recording_id)
            return row is not None and bool(row.objects)

        await eventually(is_rolled_up, what="the object")
        assert await api.stored(recording_id, 3) == sent
