"""Signing in to the console, and out of it: what a session may do, for how long, and what is kept of it."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rrd import __version__
from rrd.access.keys import Scope
from rrd.console.sessions import SIGN_IN_AGE_MS
from rrd.console.tries import ADDRESS_TRIES_MAX
from rrd.daemon.assembly import Seams
from tests.harness import Keys, running
from tests.http.signed_in import Person, ShiftedClock, a_person
from tests.http.watchers import watching
from tests.samples import new_id

LIST = "/console/api/acme/recordings"


async def test_a_key_signs_in_to_its_tenant_with_the_rights_that_a_session_may_have(person: Person) -> None:
    table: list[tuple[Scope, list[str]]] = [("read", ["read"]), ("all", ["read"]), ("erase", ["erase"])]
    for scope, rights in table:
        person.cookie = ""
        told = await person.sign_in(key=person.daemon.key(scope, tenant="shop"))
        assert told["tenants"] == [{"name": "shop", "rights": rights}]
        assert (told["operator"], told["version"]) == (False, __version__)
        age_ms = told["expires"] - person.daemon.services.clock.now_ms()
        assert 0 < age_ms <= 1000 * person.daemon.config.console_session_s
        assert (await person.ask("GET", "/console/session")).json() == told


async def test_the_cookie_is_out_of_reach_for_scripts_other_sites_and_other_paths(person: Person) -> None:
    await person.operate()
    assert re.fullmatch(
        r"rrd_console=[\w-]{43}; HttpOnly; Max-Age=43(200|199); Path=/console/; SameSite=Strict",
        person.set_cookie,
    )


async def test_a_key_that_may_only_write_does_not_sign_in(person: Person) -> None:
    reply = await person.ask("POST", "/console/session", {"key": person.daemon.key("ingest")})
    assert (reply.status, reply.error["code"]) == (403, "forbidden")
    assert person.cookie == ""


async def test_a_key_that_is_bound_to_a_site_does_not_sign_in_elsewhere(person: Person) -> None:
    key = person.daemon.key("all", origins=["https://shop.example"])
    reply = await person.ask("POST", "/console/session", {"key": key})
    assert (reply.status, reply.error["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key": ""},
        {"key": 5},
        {"key": "a", "signIn": "b"},
        {"signIn": None},
        {"kez": "a"},
        [],
        "key",
        b"{",
    ],
)
async def test_what_is_no_sign_in_is_told_so(person: Person, body: object) -> None:
    reply = await person.ask("POST", "/console/session", body, headers={"Content-Type": "application/json"})
    assert (reply.status, reply.error["code"]) == (400, "bad_request")


async def test_a_body_that_is_no_sign_in_by_its_size_is_refused(person: Person) -> None:
    reply = await person.ask("POST", "/console/session", {"key": "x" * 20_000})
    assert (reply.status, reply.error["code"]) == (413, "too_large")


async def test_keys_add_up_in_one_session_under_a_new_token(person: Person) -> None:
    """A session that another page has planted in the browser is worth nothing to that page afterwards."""
    daemon = person.daemon
    before = await person.sign_in(key=daemon.key("read", tenant="acme"))
    planted = person.cookie
    await person.sign_in(key=daemon.key("erase", tenant="acme"))
    told = await person.sign_in(key=daemon.key("read", tenant="shop"))
    assert told["tenants"] == [
        {"name": "acme", "rights": ["read", "erase"]}, {"name": "shop", "rights": ["read"]}
    ]  # fmt: skip
    assert told["expires"] == before["expires"]
    person.cookie = planted
    assert (await person.ask("GET", "/console/session")).status == 401


async def test_an_operator_signs_in_once_with_an_address_to_all_tenants(person: Person) -> None:
    person.daemon.key("ingest", tenant="shop")
    person.daemon.key("read", tenant="acme")
    token = person.one_time()
    told = await person.sign_in(signIn=token)
    assert told["operator"]
    assert told["tenants"] == [{"name": name, "rights": ["read", "erase"]} for name in ("acme", "shop")]
    person.cookie = ""
    reply = await person.ask("POST", "/console/session", {"signIn": token})
    assert (reply.status, reply.error["code"]) == (401, "unauthenticated")
    assert "rrd console" in reply.error["message"]


async def test_an_operator_is_told_of_tenants_that_never_had_a_key(person: Person) -> None:
    await person.record(new_id(), tenant="shop")
    gate = person.daemon.services.gate
    gate._snapshot = replace(gate._snapshot, keys={}, rows={})
    told = await person.operate()
    assert [tenant["name"] for tenant in told["tenants"]] == ["shop"]


async def test_of_two_who_open_an_address_at_once_one_gets_in(person: Person) -> None:
    token = person.one_time()
    tries = [person.ask("POST", "/console/session", {"signIn": token}, with_cookie=False) for _ in range(5)]
    assert sorted(reply.status for reply in await asyncio.gather(*tries)) == [200, 401, 401, 401, 401]


async def test_an_address_is_good_for_a_while(tmp_path: Path) -> None:
    clock = ShiftedClock()
    async with (
        running(tmp_path, console=True, seams=Seams(clock=clock)) as daemon,
        a_person(daemon) as person,
    ):
        token = person.one_time()
        clock.shift_ms = SIGN_IN_AGE_MS
        reply = await person.ask("POST", "/console/session", {"signIn": token})
        assert reply.status == 401


async def test_a_session_ends_in_time(tmp_path: Path) -> None:
    clock = ShiftedClock()
    async with (
        running(tmp_path, console=True, seams=Seams(clock=clock)) as daemon,
        a_person(daemon) as person,
    ):
        recording_id = new_id()
        await person.record(recording_id)
        await person.operate()
        headers = {"Cookie": f"rrd_console={person.cookie}"}
        async with watching(f"{daemon.url}/console/api/acme", recording_id, "", headers=headers) as watcher:
            await watcher.has(3)
            clock.shift_ms = 1000 * daemon.config.console_session_s
            for path in ("/console/session", LIST):
                assert (await person.ask("GET", path)).status == 401
            # What is under way ends as well, when it next has something to send.
            await person.record(recording_id)
            await watcher.ends()


async def test_signing_out_ends_the_session_and_what_is_under_way(person: Person) -> None:
    recording_id = new_id()
    await person.record(recording_id)
    await person.operate()
    cookie = person.cookie
    headers = {"Cookie": f"rrd_console={cookie}"}
    url = f"{person.daemon.url}/console/api/acme"
    async with watching(url, recording_id, "", headers=headers) as watcher:
        await watcher.has(3)
        reply = await person.ask("DELETE", "/console/session")
        assert (reply.status, person.cookie) == (204, "")
        await watcher.ends()
    person.cookie = cookie
    for path in ("/console/session", LIST):
        assert (await person.ask("GET", path)).status == 401
    # Nobody is signed in: signing out is done already.
    assert (await person.ask("DELETE", "/console/session")).status == 204


async def test_a_key_that_is_revoked_leaves_the_session(person: Person) -> None:
    daemon, recording_id = person.daemon, new_id()
    await person.record(recording_id)
    read, erase = daemon.key("read"), daemon.key("erase", tenant="shop")
    await person.sign_in(key=read)
    await person.sign_in(key=erase)
    headers = {"Cookie": f"rrd_console={person.cookie}"}
    async with watching(f"{daemon.url}/console/api/acme", recording_id, "", headers=headers) as watcher:
        await watcher.has(3)
        Keys(daemon.data_dir).revoke(read)  # As another process does.
        await watcher.ends()
    reply = await person.ask("GET", LIST)
    assert (reply.status, reply.error["code"]) == (403, "forbidden")
    told = (await person.ask("GET", "/console/session")).json()
    assert told["tenants"] == [{"name": "shop", "rights": ["erase"]}]
    daemon.revoke(erase)
    assert (await person.ask("GET", "/console/session")).status == 401


async def test_a_session_outlives_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path, console=True) as daemon, a_person(daemon) as person:
        told = await person.sign_in(key=daemon.key("read"))
        cookie = person.cookie
    async with running(tmp_path, console=True) as daemon, a_person(daemon) as person:
        person.cookie = cookie
        assert (await person.ask("GET", "/console/session")).json() == told


async def test_neither_key_nor_token_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path, console=True) as daemon, a_person(daemon) as person:
        await person.sign_in(key=daemon.key("read"))
        await person.operate()
        unused = person.one_time()
        secrets = [secret.encode() for secret in daemon.secrets]
        assert unused.encode() in secrets
        files = [Path(place, name) for place, _, names in os.walk(tmp_path) for name in names]
        assert any(path.name == "console.sqlite" for path in files)
        assert not [path for path in files for secret in secrets if secret in path.read_bytes()]
        modes = {path.stat().st_mode & 0o777 for path in files if path.name.startswith("console.sqlite")}
        assert modes == {0o600}


# Guessing


async def test_wrong_keys_are_slowed_down_by_address_and_the_right_one_comes_in_later(tmp_path: Path) -> None:
    clock = ShiftedClock()
    async with (
        running(tmp_path, console=True, seams=Seams(clock=clock)) as daemon,
        a_person(daemon) as person,
    ):
        key = daemon.key("read")
        wrong = [{"key": "guess"}, {"signIn": "guess"}]
        for number in range(ADDRESS_TRIES_MAX):
            reply = await person.ask("POST", "/console/session", wrong[number % 2])
            assert reply.status == 401
        for secret in (*wrong, {"key": key}):
            reply = await person.ask("POST", "/console/session", secret)
            assert (reply.status, reply.error["code"]) == (429, "too_many_tries")
        wait_s = int(reply.headers["Retry-After"])
        assert 0 < wait_s <= 60
        # Another address goes on meanwhile, and so does this one later.
        elsewhere = {"X-Forwarded-For": "198.51.100.4"}
        reply = await person.ask("POST", "/console/session", {"key": key}, headers=elsewhere)
        assert reply.status == 200
        clock.shift_ms += 1000 * wait_s
        person.cookie = ""
        await person.sign_in(key=key)


async def test_good_keys_are_never_slowed_down(person: Person) -> None:
    key = person.daemon.key("read")
    for _ in range(2 * ADDRESS_TRIES_MAX):
        person.cookie = ""
        await person.sign_in(key=key)
    assert person.cookie


async def test_a_refused_sign_in_is_no_refused_event(person: Person) -> None:
    await person.ask("POST", "/console/session", {"key": "guess"})
    assert person.daemon.services.refusals.account().totals == []
