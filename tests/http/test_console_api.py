"""What the console does beyond the API: links that share one recording, keys for a site's snippet."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from rrd.http.console_api import SHARE_S_MAX, SHARE_S_MIN
from tests.http.signed_in import Person
from tests.samples import ndjson, new_id, some_events


async def status_of(person: Person, path: str, *, method: str = "GET") -> int:
    """Return what the API answers to a caller without key and cookie."""
    async with person.session.request(method, person.daemon.url + path) as answer:
        return answer.status


async def shared(person: Person, recording_id: str, age_s: int = 3600) -> str:
    path = f"/console/api/acme/recordings/{recording_id}/share"
    reply = await person.ask("POST", path, {"expiresInS": age_s})
    assert reply.status == 200, reply.body
    query: str = reply.json()["query"]
    person.daemon.secrets.append(parse_qs(query)["signature"][0])
    return query


async def test_a_shared_recording_is_read_without_a_session_and_no_other_is(person: Person) -> None:
    one, other = new_id(), new_id()
    for recording_id in (one, other):
        await person.record(recording_id)
    await person.sign_in(key=person.daemon.key("read"))
    query = await shared(person, one)
    for path in ("", "/events", "/pages"):
        assert await status_of(person, f"/recordings/{one}{path}?{query}") == 200
        assert await status_of(person, f"/recordings/{other}{path}?{query}") == 401
    assert await status_of(person, f"/recordings?{query}") == 401
    assert await status_of(person, f"/recordings/{one}?{query}", method="DELETE") == 403
    assert await status_of(person, f"/recordings/{one}/ingest?{query}", method="POST") == 401
    # A signature stands for no session.
    reply = await person.ask("GET", f"/console/api/acme/recordings/{one}/events?{query}", with_cookie=False)
    assert reply.status == 401


async def test_a_link_is_signed_with_the_tenants_key_made_if_there_is_none(person: Person) -> None:
    recording_id = new_id()
    await person.record(recording_id)
    await person.operate()
    first, second = [parse_qs(await shared(person, recording_id)) for _ in range(2)]
    (key,) = person.desk.keys.list_signing_keys()
    person.daemon.secrets.append(key.secret)
    assert first["keyId"] == second["keyId"] == [key.key_id]
    assert key.tenant == "acme"


async def test_a_link_ends_when_it_was_said_to(person: Person) -> None:
    recording_id = new_id()
    await person.record(recording_id)
    await person.operate()
    now_s = person.daemon.services.clock.now_ms() // 1000
    for age_s in (SHARE_S_MIN, SHARE_S_MAX):
        expires_s = int(parse_qs(await shared(person, recording_id, age_s))["expires"][0])
        assert 0 <= expires_s - now_s - age_s <= 20


@pytest.mark.parametrize(
    "body",
    [{}, {"expiresInS": 0}, {"expiresInS": SHARE_S_MAX + 1}, {"expiresInS": "3600"}, {"expiresInS": True},
     {"expiresInS": 3600.5}, {"expiresInS": None}, {"expiresInS": 3600, "tenant": "shop"}],
)  # fmt: skip
async def test_how_long_a_link_lasts_is_a_number_within_bounds(person: Person, body: object) -> None:
    recording_id = new_id()
    await person.record(recording_id)
    await person.operate()
    reply = await person.ask("POST", f"/console/api/acme/recordings/{recording_id}/share", body)
    assert (reply.status, reply.error["code"]) == (400, "bad_request")
    assert reply.error["parameter"]
    assert person.desk.keys.list_signing_keys() == []


async def test_what_a_session_may_not_read_it_may_not_share(person: Person) -> None:
    recording_id = new_id()
    await person.record(recording_id)
    await person.record(recording_id, tenant="shop")
    await person.sign_in(key=person.daemon.key("erase"))
    await person.sign_in(key=person.daemon.key("read", tenant="blog"))
    for tenant, status in (("acme", 403), ("shop", 403), ("blog", 404)):
        path = f"/console/api/{tenant}/recordings/{recording_id}/share"
        reply = await person.ask("POST", path, {"expiresInS": 3600})
        assert reply.status == status
    assert person.desk.keys.list_signing_keys() == []


@pytest.mark.parametrize(
    ("origin", "bound"), [(None, ()), ("https://Shop.example/", ("https://shop.example",))]
)
async def test_an_operator_makes_a_public_key_for_a_site(
    person: Person, origin: str | None, bound: tuple[str, ...]
) -> None:
    await person.operate()
    reply = await person.ask("POST", "/console/api/acme/keys", {"origin": origin})
    assert reply.status == 201
    key = reply.json()["key"]
    person.daemon.secrets.append(key)
    assert key.startswith("public_key_rr_")
    (row,) = person.desk.keys.list_keys()
    assert (row.tenant, row.scope, row.origins) == ("acme", "ingest", bound)
    # It counts at once.
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    headers |= {"Origin": bound[0]} if bound else {}
    url = f"{person.daemon.url}/recordings/{new_id()}/ingest"
    async with person.session.post(url, data=ndjson(some_events(1)), headers=headers) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("origin", ["nonsense", "https://*.example", 5, ["https://a.example"]])
async def test_what_is_no_origin_makes_no_key(person: Person, origin: object) -> None:
    await person.operate()
    reply = await person.ask("POST", "/console/api/acme/keys", {"origin": origin})
    assert (reply.status, reply.error["code"]) == (400, "bad_request")
    assert person.desk.keys.list_keys() == []


async def test_a_session_of_a_key_makes_no_keys(person: Person) -> None:
    await person.sign_in(key=person.daemon.key("all"))
    reply = await person.ask("POST", "/console/api/acme/keys", {"origin": None})
    assert (reply.status, reply.error["code"]) == (403, "forbidden")
    assert len(person.desk.keys.list_keys()) == 1
