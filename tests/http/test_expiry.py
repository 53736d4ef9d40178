"""A key expires: what came before is stored, what is under way ends, and nothing begins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pytest

from rrd.access.keys import KeyEdit, KeyStore
from rrd.access.signing import sign
from rrd.daemon.assembly import Seams
from rrd.layout import keys_path
from tests.harness import LocalDaemon, running, until
from tests.http.api import Api, visiting
from tests.http.signed_in import Person, ShiftedClock, a_person
from tests.http.watchers import watching
from tests.samples import ndjson, new_id, some_events

HOUR_MS = 3_600_000


class Expiring(NamedTuple):
    """A daemon whose clock a test moves, with keys that end in an hour."""

    api: Api
    clock: ShiftedClock
    keys: dict[str, str]
    """By scope."""

    @property
    def daemon(self) -> LocalDaemon:
        return self.api.daemon

    def presigned(self, recording_id: str, *, method: str = "GET") -> str:
        row = self.daemon.services.gate.signing_key_rows()["ends"]
        return sign(
            secret=row.secret, key_id=row.key_id, tenant="acme",
            method="POST" if method == "POST" else "GET",
            scope_path=f"/recordings/{recording_id}", expires_s=self.clock.now_ms() // 1000 + 7200,
        )  # fmt: skip

    def expire(self) -> None:
        self.clock.shift_ms += HOUR_MS


@pytest.fixture
async def expiring(tmp_path: Path) -> AsyncIterator[Expiring]:
    clock = ShiftedClock()
    async with (
        running(tmp_path, console=True, seams=Seams(clock=clock)) as daemon,
        visiting(daemon) as api,
    ):
        yield Expiring(
            api, clock, await asyncio.to_thread(_make, daemon, clock.now_ms() // 1000 * 1000 + HOUR_MS)
        )


def _make(daemon: LocalDaemon, expires_ms: int) -> dict[str, str]:
    with KeyStore(keys_path(daemon.data_dir)) as store:
        keys = {
            scope: store.create_key(tenant="acme", scope=scope, expires_ms=expires_ms)[1]
            for scope in ("ingest", "read")
        }
        row = store.create_signing_key(tenant="acme", key_id="ends", expires_ms=expires_ms)
    daemon.secrets += [*keys.values(), row.secret]
    daemon.services.gate.refresh()
    return keys


async def _person(daemon: LocalDaemon, person: Person, key: str) -> dict[str, str]:
    await person.sign_in(key=key)
    return {"Cookie": f"rrd_console={person.cookie}"}


@pytest.mark.parametrize("by", ["key", "signing key"])
async def test_an_open_socket_ends_with_its_key_once_all_is_stored(expiring: Expiring, by: str) -> None:
    api, recording_id, sent = expiring.api, new_id(), some_events(3)
    if by == "key":
        socket = await api.socket(recording_id, key=expiring.keys["ingest"])
    else:
        query: dict[str, Any] = dict(parse_qsl(expiring.presigned(recording_id, method="POST")))
        socket = await api.socket(recording_id, key="", **query)
    bystander = await api.socket(new_id())
    await socket.send_text(*sent)
    await api.stored(recording_id, len(sent))
    expiring.expire()
    end = await socket.farewell()
    assert (end.code, end.reason) == (1008, "key revoked or expired")
    assert (end.last["final"], end.last["successful_rows"]) == (True, len(sent))
    assert await api.events(recording_id) == sent
    assert (await bystander.finish()).code == 1000


async def test_requests_are_refused_from_that_moment_on_and_told_why(expiring: Expiring) -> None:
    api, recording_id = expiring.api, new_id()
    assert (await api.post(recording_id, ndjson(some_events(2)), key=expiring.keys["ingest"])).status == 200
    query = expiring.presigned(recording_id)
    path = f"/recordings/{recording_id}/events"
    assert (await api.get(f"{path}?{query}", key="")).status == 200
    # Where the gate hasn't looked since, the answer is the same.
    expiring.expire()
    told = [
        await api.post(recording_id, ndjson(some_events(2)), key=expiring.keys["ingest"]),
        await api.get(path, key=expiring.keys["read"]),
        await api.get(f"{path}?{query}", key=""),
    ]
    assert [reply.status for reply in told] == [401, 401, 401]
    assert ["expired" in reply.json()["error"]["message"] for reply in told] == [True] * 3
    assert (await api.get(path)).status == 200


async def test_watchers_and_sessions_end_with_their_key(expiring: Expiring) -> None:
    api, recording_id = expiring.api, new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    url = expiring.daemon.url
    async with a_person(expiring.daemon) as person:
        cookie = await _person(expiring.daemon, person, expiring.keys["read"])
        async with (
            watching(url, recording_id, expiring.keys["read"]) as by_key,
            watching(f"{url}/console/api/acme", recording_id, "", headers=cookie) as by_session,
            watching(url, recording_id, api.key) as bystander,
        ):
            for watcher in (by_key, by_session, bystander):
                await watcher.has(3)
            expiring.expire()
            await by_key.ends()
            await by_session.ends()
            await api.post(recording_id, ndjson(some_events(1, start=1_800_000_000_000)))
            assert await bystander.has(4) == [1, 2, 3, 4]
            assert [len(by_key.numbers), len(by_session.numbers)] == [3, 3]
        assert (await person.ask("GET", "/console/session")).status == 401
        reply = await person.ask("POST", "/console/session", {"key": expiring.keys["read"]})
        assert (reply.status, "expired" in reply.error["message"]) == (401, True)


async def test_links_are_made_by_a_key_that_lives_as_long_as_they(expiring: Expiring) -> None:
    api, recording_id = expiring.api, new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    async with a_person(expiring.daemon) as person:
        await person.operate()

        async def shared(age_s: int) -> str:
            path = f"/console/api/acme/recordings/{recording_id}/share"
            reply = await person.ask("POST", path, {"expiresInS": age_s})
            assert reply.status == 200
            return str(dict(parse_qsl(reply.json()["query"]))["keyId"])

        assert await shared(600) == "ends"
        lasting = await shared(86_400)
        assert lasting != "ends"
        assert await shared(600) == lasting
    # The list's links are of the newest key that lives as long, and end with the only key there is.
    await asyncio.to_thread(_revoke, expiring.daemon, lasting)
    expiring.clock.shift_ms += HOUR_MS - 60_000
    reply = await api.get("/recordings?includeSignedUrls=true")
    signed = dict(parse_qsl(reply.json()["recordings"][0]["links"]["eventsSigned"].partition("?")[2]))
    row = expiring.daemon.services.gate.signing_key_rows()["ends"]
    assert row.expires_ms is not None
    assert (signed["keyId"], int(signed["expires"])) == ("ends", row.expires_ms // 1000)


def _revoke(daemon: LocalDaemon, key_id: str) -> None:
    daemon.revoke_signing_key(key_id)


async def test_a_key_in_use_is_noted_and_its_end_can_be_moved(expiring: Expiring) -> None:
    api, recording_id = expiring.api, new_id()
    socket = await api.socket(recording_id, key=expiring.keys["ingest"])
    await until(lambda: len(expiring.daemon.services.sockets) == 1, what="the socket to be open")

    def edit() -> tuple[str, dict[tuple[str, str], int]]:
        with KeyStore(keys_path(expiring.daemon.data_dir)) as store:
            row = store.edit_key(expiring.keys["ingest"], KeyEdit(expires_ms=expiring.clock.now_ms() * 2))[1]
            expiring.daemon.services.gate.refresh()
            expiring.expire()
            expiring.daemon.services.gate.refresh()
            expiring.daemon.services.gate.uses.keep()
            return row.id, store.uses()

    key_id, uses = await asyncio.to_thread(edit)
    used_ms = uses["keys", key_id]
    assert used_ms % 60_000 == 0
    # The socket was opened an hour ago by this clock, and is open.
    assert used_ms > expiring.clock.now_ms() - 120_000
    assert (await socket.finish()).code == 1000
