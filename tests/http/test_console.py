"""The console's routes: none without a session, none where it is off; and no cookie counts anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rrd.http.app import make_app
from rrd.http.console import READS, REMOVALS
from tests.harness import LocalDaemon, running
from tests.http.signed_in import Person, a_person, check_closed
from tests.samples import new_id

OPEN = {"/console", "/console/stage", "/console/api", "/console/{name}"}
"""Page, stage and files: nothing of any recording."""

RECORDING = new_id()


def routes(daemon: LocalDaemon) -> Iterator[tuple[str, str]]:
    """Yield method and path of each route, with something in the place of its parameters."""
    for route in make_app(daemon.services).router.routes():
        assert route.resource is not None
        yield route.method, route.resource.canonical


def at(path: str) -> str:
    path = path.replace(":[^/]+", "")
    values = {"tenant": "acme", "recording": RECORDING, "property": "a", "value": "b", "name": "main.js"}
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path
    return path


async def test_each_route_but_page_stage_and_files_asks_who_is_there(person: Person) -> None:
    await person.record(RECORDING)
    key = person.daemon.key("all")
    tried = 0
    for method, path in routes(person.daemon):
        if (
            not path.startswith("/console")
            or path in OPEN
            or (method, path) == ("DELETE", "/console/session")
        ):
            continue
        for cookie in ("", "x", "x" * 43, new_id()):
            person.cookie = cookie
            # A key, or a signature, means nothing here.
            for extra in ("", f"?token={key}"):
                body = {"key": "x"} if path == "/console/session" else {"expiresInS": 60}
                reply = await person.ask(
                    method, at(path) + extra, body if method == "POST" else None,
                    headers={"Authorization": f"Bearer {key}", "X-Forwarded-For": f"192.0.2.{tried % 250}"},
                )  # fmt: skip
                assert reply.status == 401, (method, path)
                tried += 1
    assert tried > 8 * len(READS)


async def test_a_cookie_counts_below_the_console_alone(person: Person) -> None:
    """Each other route says the same with the cookie of an operator as without."""
    await person.record(RECORDING)
    await person.operate()
    tried = 0
    for method, path in routes(person.daemon):
        if path.startswith(("/console", "/-/", "/record.js", "/browser-client", "/openapi.json")):
            continue
        told = []
        for cookie in ("", f"rrd_console={person.cookie}"):
            headers = {"Cookie": cookie, "Rrd-Console": "1", "Sec-Fetch-Site": "same-origin"}
            async with person.session.request(
                method, person.daemon.url + at(path), headers=headers, allow_redirects=False
            ) as answer:
                told.append((answer.status, await answer.read()))
        assert told[0] == told[1], path
        assert told[0][0] in {302, 400, 401, 426}, path
        tried += 1
    assert tried > 20


async def test_a_session_may_do_through_the_console_what_its_keys_may(person: Person) -> None:
    """Each read needs the right to read, each removal that to erase: by tenant."""
    daemon = person.daemon
    await person.record(RECORDING)
    keys = {"read": daemon.key("read"), "erase": daemon.key("erase")}
    for right, key in keys.items():
        person.cookie = ""
        await person.sign_in(key=key)
        for method, paths in (("GET", READS), ("HEAD", READS), ("DELETE", REMOVALS)):
            needed = "erase" if method == "DELETE" else "read"
            for path in paths:
                # What is there, and what the session may not see, is answered alike.
                for tenant in ("shop", "nowhere", "..", "ACME"):
                    reply = await person.ask(method, at(path.replace("{tenant:[^/]+}", tenant)))
                    assert reply.status == 403
                reply = await person.ask(method, at(path))
                assert (reply.status == 403) == (right != needed), (method, path, reply.body)
    assert person.cookie


async def test_what_the_console_reads_is_what_the_api_reads(person: Person) -> None:
    await person.record(RECORDING)
    key = person.daemon.key("all")
    await person.sign_in(key=key)
    compared = 0
    for path in READS:
        query = "?meta[a]=b" if path.endswith("/replay") else "?key=a" if path.endswith("/metaValues") else ""
        reply = await person.ask("GET", at(path) + query)
        plain = at(path).removeprefix("/console/api/acme") + query
        async with person.session.get(
            person.daemon.url + plain, headers={"Authorization": f"Bearer {key}"}
        ) as answer:
            body = await answer.read()
            assert (reply.status, reply.body) == (answer.status, body), path
            assert reply.headers.get("ETag") == answer.headers.get("ETag")
            assert reply.status in {200, 503}  # Without npm there are no exports.
        compared += 1
    assert compared == len(READS)


async def test_pages_of_events_lead_to_the_next_below_the_console(person: Person) -> None:
    await person.record(RECORDING)
    await person.sign_in(key=person.daemon.key("read"))
    path: str | None = f"/console/api/acme/recordings/{RECORDING}/events?limit=2"
    seen = []
    while path is not None:
        reply = await person.ask("GET", path)
        seen += [event["sequenceId"] for event in reply.json()]
        link = reply.headers.get("Link")
        path = link.partition(">")[0].removeprefix("<") if link else None
    assert seen == [1, 2, 3]


async def test_a_recording_is_erased_with_a_receipt(person: Person) -> None:
    await person.record(RECORDING)
    await person.sign_in(key=person.daemon.key("erase"))
    reply = await person.ask("DELETE", f"/console/api/acme/recordings/{RECORDING}")
    assert (reply.status, reply.json()["recordings"]) == (200, 1)


@pytest.mark.parametrize("settings", [{}, {"console": False}, {"console": "auto", "host": "0.0.0.0"}])
async def test_where_it_is_off_nothing_lies_there(tmp_path: Path, settings: dict[str, Any]) -> None:
    """The test starts the daemon as no person does, so that "auto" is off."""
    async with running(tmp_path / "on", console=True) as daemon:
        paths = [(method, at(path)) for method, path in routes(daemon) if path.startswith("/console")]
    async with running(tmp_path / "off", **settings) as daemon, a_person(daemon) as person:
        assert daemon.services.desk is None
        for method, path in [*paths, ("OPTIONS", "/console/session")]:
            url = f"http://127.0.0.1:{daemon.port}{path}"
            async with person.session.request(method, url, headers={"Rrd-Console": "1"}) as answer:
                assert answer.status == 404
                assert not [name for name in answer.headers if name.startswith("Access-Control-")]
        assert not (tmp_path / "off/console.sqlite").exists()


async def test_a_link_for_people_leads_to_the_player(person: Person) -> None:
    url = f"{person.daemon.url}/recordings/{RECORDING.upper()}/preview"
    async with person.session.get(url, allow_redirects=False) as answer:
        assert answer.status == 302
        assert answer.headers["Location"] == f"/console/#/watch/-/{RECORDING}"
    async with person.session.get(
        f"{person.daemon.url}/recordings/a%0db/preview", allow_redirects=False
    ) as answer:
        assert answer.status == 400


@pytest.mark.parametrize(
    "path", ["/console/nothing", "/console/api/acme/nothing", "/%63onsole/session", "//console//session"]
)
async def test_what_is_not_there_is_as_closed_as_what_is(person: Person, path: str) -> None:
    reply = await person.ask("GET", path)
    assert reply.status in {401, 404}
    check_closed(reply)
