"""A page of another origin can neither read below ``/console`` nor change anything there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.harness import running
from tests.http.signed_in import Person, a_person
from tests.samples import new_id

# What browsers say of a page that asks, and how: headers in place of those of the console's own page.
FOREIGN: Mapping[str, Mapping[str, str | None]] = {
    "another site": {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    "another site, without saying so": {"Sec-Fetch-Site": None, "Origin": "https://evil.example"},
    "another port of this machine": {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:9999"},
    "another port, without saying so": {"Sec-Fetch-Site": None, "Origin": "http://127.0.0.1:9999"},
    "a sister of this name": {"Sec-Fetch-Site": "same-site", "Origin": None},
    "another scheme": {"Sec-Fetch-Site": None, "Origin": "https://127.0.0.1:{port}"},
    "the stage": {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:{port}"},
    "a sandbox": {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
    "a sandbox, without saying so": {"Sec-Fetch-Site": None, "Origin": "null"},
    "an odd word": {"Sec-Fetch-Site": "Same-Origin"},
}
RECORDING = new_id()
# Everything that looks at the cookie.
GUARDED = [
    ("GET", "/console/session", None),
    ("POST", "/console/session", {"key": "{key}"}),
    ("DELETE", "/console/session", None),
    ("GET", "/console/api/acme/recordings", None),
    ("GET", f"/console/api/acme/recordings/{RECORDING}/events", None),
    ("DELETE", f"/console/api/acme/recordings/{RECORDING}", None),
    ("DELETE", "/console/api/acme/recordings?meta[a]=b", None),
    ("POST", f"/console/api/acme/recordings/{RECORDING}/share", {"expiresInS": 3600}),
    ("POST", "/console/api/acme/keys", {"origin": None}),
]
CHANGES = [row for row in GUARDED if row[0] != "GET"]


def filled(headers: Mapping[str, str | None], person: Person) -> dict[str, str | None]:
    port = str(person.daemon.port)
    return {name: value and value.replace("{port}", port) for name, value in headers.items()}


async def signed_in_with_a_recording(person: Person) -> str:
    """Sign an operator in, store ``RECORDING``, and return a private key."""
    await person.record(RECORDING)
    await person.operate()
    return person.daemon.key("all")


async def is_untouched(person: Person) -> bool:
    """Tell whether the session and the recording are as they were, with no key that was made meanwhile."""
    session = await person.ask("GET", "/console/session")
    events = await person.ask("GET", f"/console/api/acme/recordings/{RECORDING}/events")
    return (session.status, events.status, len(person.desk.keys.list_keys())) == (200, 200, 2)


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=list(FOREIGN))
async def test_a_page_of_another_origin_reads_and_changes_nothing(
    person: Person, foreign: Mapping[str, str | None]
) -> None:
    key = await signed_in_with_a_recording(person)
    headers, cookie = filled(foreign, person), person.cookie
    for method, path, body in GUARDED:
        sent = {"key": key} if body == {"key": "{key}"} else body
        reply = await person.ask(method, path, sent, headers=headers)
        assert (reply.status, reply.error["code"]) == (403, "forbidden"), path
        assert "Set-Cookie" not in reply.headers
        person.cookie = cookie
    assert await is_untouched(person)


@pytest.mark.parametrize("header", [None, "", "0", "true"])
async def test_a_change_needs_a_header_that_no_form_can_send(person: Person, header: str | None) -> None:
    await signed_in_with_a_recording(person)
    for method, path, body in CHANGES:
        for site in ("same-origin", None):
            headers = {"Rrd-Console": header, "Sec-Fetch-Site": site}
            reply = await person.ask(method, path, body, headers=headers)
            assert (reply.status, reply.error["code"]) == (403, "forbidden"), path
            assert "Rrd-Console" in reply.error["message"]
    assert await is_untouched(person)


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", None, ""]
)
async def test_a_body_as_forms_send_it_is_refused(person: Person, kind: str | None) -> None:
    await signed_in_with_a_recording(person)
    for method, path, body in CHANGES:
        if method == "POST":
            reply = await person.ask(method, path, body, headers={"Content-Type": kind})
            assert (reply.status, reply.error["code"]) == (415, "unsupported_type"), path
    assert await is_untouched(person)


async def test_a_preflight_of_another_page_is_refused(person: Person) -> None:
    await signed_in_with_a_recording(person)
    for _, path, _ in GUARDED:
        reply = await person.ask(
            "OPTIONS", path,
            headers={
                "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site",
                "Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "rrd-console",
            },
        )  # fmt: skip
        assert reply.status == 405  # Without any header of CORS, which each reply here is checked for.


@pytest.mark.parametrize("site", ["same-origin", "none", None])
async def test_the_consoles_own_page_and_an_address_that_is_typed_are_served(
    person: Person, site: str | None
) -> None:
    await signed_in_with_a_recording(person)
    for origin in (person.daemon.url, None):
        headers = {"Sec-Fetch-Site": site, "Origin": origin}
        reply = await person.ask("GET", "/console/api/acme/recordings", headers=headers)
        assert reply.status == 200


# Names

STRANGE_NAMES = [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "rrd.example.com",
    "a b",
    "",
]


@pytest.mark.parametrize("host", STRANGE_NAMES)
async def test_under_a_foreign_name_there_is_no_console(person: Person, host: str) -> None:
    """DNS rebinding: a page of that name would be of the console's origin."""
    await person.operate()
    headers = {"Host": host, "Origin": f"http://{host}"}
    for path in ("/console/", "/console/stage", "/console/main.js", "/console/session"):
        reply = await person.ask("GET", path, headers=headers)
        assert (reply.status, reply.error["code"]) == (421, "host_not_admitted")
        assert "link_hosts" in reply.error["message"]


@pytest.mark.parametrize(
    "host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "192.0.2.7", "x.localhost"]
)
async def test_addresses_and_names_of_this_machine_are_its_own(person: Person, host: str) -> None:
    await person.operate()
    host = host.replace("{port}", str(person.daemon.port))
    reply = await person.ask("GET", "/console/session", headers={"Host": host, "Origin": f"http://{host}"})
    assert reply.status == 200


async def test_behind_a_proxy_the_page_is_known_by_public_url_or_by_what_the_proxy_says(
    tmp_path: Path,
) -> None:
    settings: dict[str, Any] = {
        "public_url": "https://rrd.example.com", "link_hosts": ("other.example.com",)
    }  # fmt: skip
    told, unsaid = {"X-Forwarded-Proto": "https"}, {"X-Forwarded-Proto": None}
    # Host, what the proxy says, origin of the page → what it gets.
    table: list[tuple[str, dict[str, str | None], str, int]] = [
        ("rrd.example.com", {**unsaid}, "https://rrd.example.com", 200),
        ("rrd.example.com:443", {**unsaid}, "https://rrd.example.com", 200),
        ("rrd.example.com", {**told}, "https://rrd.example.com", 200),
        ("rrd.example.com", {**told}, "http://rrd.example.com", 403),
        ("other.example.com", {**told}, "https://other.example.com", 200),
        ("other.example.com", {**unsaid}, "http://other.example.com", 200),
        ("other.example.com", {**unsaid}, "https://other.example.com", 403),
        ("other.example.com", {**told}, "https://rrd.example.com", 403),
    ]
    async with running(tmp_path, console=True, **settings) as daemon, a_person(daemon) as person:
        for host, proxy, origin, status in table:
            person.cookie = ""
            key = daemon.key("read")
            headers = {"Host": host, "Origin": origin, **proxy}
            reply = await person.ask("POST", "/console/session", {"key": key}, headers=headers)
            assert reply.status == status, (host, proxy, origin)
            if status == 200:
                assert ("; Secure" in person.set_cookie) == origin.startswith("https:")


async def test_https_is_believed_of_a_trusted_proxy_alone(tmp_path: Path) -> None:
    async with running(tmp_path, console=True, trusted_proxies=()) as daemon, a_person(daemon) as person:
        key = daemon.key("read")
        reply = await person.ask(
            "POST", "/console/session", {"key": key}, headers={"X-Forwarded-Proto": "https"}
        )
        assert reply.status == 200
        assert "Secure" not in person.set_cookie
