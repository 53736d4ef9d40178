"""The box, as the console asks for it: who may see it, and that its numbers follow what happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rrd.access.keys import Scope
from tests.harness import LocalDaemon, eventually, running
from tests.http.api import JSON, Api, visiting
from tests.http.watchers import watching
from tests.samples import ndjson, new_id, some_events


@dataclass
class Person:
    """Somebody who uses the console of a daemon."""

    api: Api
    cookie: str = ""

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        headers = {"Rrd-Console": "1", "Content-Type": JSON, "Cookie": self.cookie}
        url = f"{self.api.daemon.url}/console/{path}"
        async with self.api.session.request(method, url, headers=headers, **more) as reply:
            if cookie := reply.headers.get("Set-Cookie"):
                self.cookie = cookie.partition(";")[0]
            return reply.status, await reply.json()

    async def sign_in(self, **secret: str) -> None:
        status, told = await self.ask("POST", "session", json=secret)
        assert status == 200, told

    async def sign_in_as_operator(self) -> None:
        desk = self.api.daemon.services.desk
        assert desk is not None
        await self.sign_in(signIn=desk.sessions.new_sign_in())

    async def box(self) -> dict[str, Any]:
        status, told = await self.ask("GET", "api/box")
        assert status == 200, told
        found: dict[str, Any] = told
        return found


@pytest.fixture
async def with_console(tmp_path: Path) -> AsyncIterator[LocalDaemon]:
    async with running(tmp_path, console=True, held_bytes_max=4 << 20) as local:
        yield local


@pytest.fixture
async def person(with_console: LocalDaemon) -> AsyncIterator[Person]:
    async with visiting(with_console) as api:
        yield Person(api)


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ([], 401),
        ([("read", "acme")], 403),
        ([("read", "other")], 403),
        ([("read", "acme"), ("read", "other")], 200),
        ([("all", "acme"), ("read", "other")], 200),
        ([("read", "acme"), ("erase", "other")], 403),
    ],
)
async def test_it_is_for_those_who_may_read_all_tenants(
    person: Person, keys: list[tuple[Scope, str]], status: int
) -> None:
    daemon = person.api.daemon
    daemon.key("ingest", tenant="other")
    for scope, tenant in keys:
        await person.sign_in(key=daemon.key(scope, tenant=tenant))
    found, told = await person.ask("GET", "api/box")
    assert found == status
    assert "now" in told or told["error"]["message"]


async def test_it_is_for_operators(person: Person) -> None:
    person.api.daemon.key("ingest", tenant="other")
    await person.sign_in_as_operator()
    told = await person.box()
    assert told["now"]["memoryBytes"] > 0
    assert told["sentences"] == []


async def test_what_is_stored_of_a_tenant_whose_keys_are_revoked_still_counts(person: Person) -> None:
    daemon = person.api.daemon
    key = daemon.key("ingest", tenant="other")
    await person.sign_in(key=daemon.key("read"))
    await person.api.post(new_id(), ndjson(some_events(1)), key=key)
    daemon.revoke(key)
    assert (await person.ask("GET", "api/box"))[0] == 403


async def test_numbers_follow_what_happens(person: Person) -> None:
    api, recording_id = person.api, new_id()
    await person.sign_in_as_operator()
    three, bad = ndjson(some_events(3)), b"no event\n"

    async def grown(body: bytes, **more: Any) -> dict[str, int]:
        before = (await person.box())["now"]
        await api.post(recording_id, body, **more)
        now = (await person.box())["now"]
        names = ("events", "duplicates", "quarantined", "refused")
        return {name: now[name] - before[name] for name in names if now[name] != before[name]}

    for body, more, expected in (
        (three, {}, {"events": 3}),
        (three, {}, {"duplicates": 3}),
        (ndjson(some_events(5)), {}, {"events": 2, "duplicates": 3}),
        (ndjson(some_events(6)) + bad, {}, {"events": 1, "duplicates": 5, "quarantined": 1}),
        (bad + bad, {}, {"quarantined": 2, "refused": 1}),  # Nothing in it is an event.
        (three, {"key": "private_key_rr_nobody"}, {"refused": 1}),
        (three, {"kind": "image/png"}, {"refused": 1}),
    ):
        assert await grown(body, **more) == expected, (body, more)
    told = await person.box()
    assert {row["code"] for row in told["refusals"]} == {
        "no_valid_events", "unauthenticated", "unsupported_type",
    }  # fmt: skip
    assert all(row["count"] == 1 and row["lastMs"] > 0 for row in told["refusals"])
    assert [trouble["code"] for trouble in told["troubles"]] == ["refusals"]
    assert told["now"]["refusedInHour"] == 3
    assert "nobody" not in str(told)


async def test_what_is_open_is_told(person: Person) -> None:
    api, recording_id = person.api, new_id()
    await person.sign_in_as_operator()
    before = (await person.box())["now"]
    socket = await api.socket(recording_id)
    await socket.send_text(*some_events(1))
    await api.stored(recording_id, 1)
    async with watching(api.daemon.url, recording_id, api.key):

        async def is_told() -> bool:
            now = (await person.box())["now"]
            grown = {name: now[name] - before[name] for name in ("sockets", "watchers")}
            return grown == {"sockets": 1, "watchers": 1} and now["openRecordings"] > 0

        await eventually(is_told, what="socket, watcher and recording to be told")


async def test_a_curve_begins_with_the_daemon(person: Person) -> None:
    box = person.api.daemon.services.box
    assert box is not None
    await person.sign_in_as_operator()
    await person.api.post(new_id(), ndjson(some_events(3)))
    await box.sample()
    told = await person.box()
    assert len(told["series"]["at"]) >= 1
    assert told["startedAt"] <= told["series"]["at"][-1] <= told["at"]
    assert told["now"]["storedBytes"] > 0


async def test_without_a_console_nothing_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path, console=False) as daemon:
        assert daemon.services.box is None
        assert "box" not in {task.get_name() for task in asyncio.all_tasks()}
