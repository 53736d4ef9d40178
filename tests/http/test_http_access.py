"""Who gets in: every endpoint against every kind of caller, over the wire."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from rrd.access.signing import sign
from tests.harness import ROOT, Keys, LocalDaemon, eventually, until
from tests.http.api import Api
from tests.http.raw_client import Refused
from tests.samples import ndjson, new_id, some_events

pytestmark = pytest.mark.table

RECORDING = "0b9f6a1e-52f7-4b8e-9d57-1a2b3c4d5e6f"
ORIGIN = "https://shop.example"


class Endpoint(NamedTuple):
    """``scope`` is what a presigned URL for it is signed for."""

    method: str
    path: str
    right: str
    scope: str
    body: bytes | None = None


_ONE = f"/recordings/{RECORDING}"
ENDPOINTS = {
    "ingest": Endpoint("POST", f"{_ONE}/ingest", "ingest", _ONE, ndjson(some_events(1))),
    "alias": Endpoint("POST", f"{_ONE}/events", "ingest", _ONE, ndjson(some_events(1))),
    "query-id": Endpoint("POST", f"/events?recordingId={RECORDING}", "ingest", _ONE, ndjson(some_events(1))),
    "meta": Endpoint("POST", f"{_ONE}/meta", "ingest", _ONE, b'{"a":1}'),
    "socket": Endpoint("WS", f"{_ONE}/ingest/ws", "ingest", _ONE),
    "socket-alias": Endpoint("WS", f"{_ONE}/events/ws", "ingest", _ONE),
    "events": Endpoint("GET", f"{_ONE}/events", "read", _ONE),
    "pages": Endpoint("GET", f"{_ONE}/pages", "read", _ONE),
    "recording": Endpoint("GET", _ONE, "read", _ONE),
    "list": Endpoint("GET", "/recordings", "read", "/recordings"),
    "statistics": Endpoint("GET", "/statistics", "read", "/statistics"),
}


async def ask(
    api: Api, endpoint: Endpoint, *, authorization: str = "", origin: str = "", query: str = ""
) -> tuple[int, str]:
    """Return status and error code of what the caller gets."""
    headers = {}
    if authorization:
        headers["Authorization"] = authorization
    if origin:
        headers["Origin"] = origin
    path, _, given = endpoint.path.partition("?")
    target = path + "?" + "&".join(filter(None, [given, query]))
    if endpoint.method != "WS":
        reply = await api.request(endpoint.method, target, body=endpoint.body, key="", headers=headers)
        return reply.status, reply.error["code"] if reply.status >= 400 else ""
    try:
        socket = await api.socket(None, path=path, key="", headers=headers, **_pairs(query))
    except Refused as refused:
        answer = refused.reply
    else:
        await socket.send_text(*some_events(1))
        end = await socket.finish()
        assert end.code == 1000
        return 200, ""
    assert answer.headers["access-control-allow-origin"] == (origin or "*")
    return answer.status, answer.json()["error"]["code"]


def _pairs(query: str) -> dict[str, Any]:
    return dict(pair.split("=", 1) for pair in query.split("&") if pair)


@pytest.fixture(params=ENDPOINTS)
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    return ENDPOINTS[request.param]


OK, WHO, MAY_NOT = (200, ""), (401, "unauthenticated"), (403, "forbidden")


async def test_keys_open_what_they_are_for(api: Api, endpoint: Endpoint) -> None:
    daemon = api.daemon
    await api.post(RECORDING, ndjson(some_events(1)))
    revoked = daemon.key("all")
    daemon.revoke(revoked)
    keys = {
        daemon.key("all"): OK,
        daemon.key("ingest"): OK if endpoint.right == "ingest" else MAY_NOT,
        daemon.key("read"): OK if endpoint.right == "read" else MAY_NOT,
        daemon.key("all", origins=[ORIGIN]): MAY_NOT,
        revoked: WHO,
        "ak_wrong": WHO,
        "%C3%BCn%C3%AF": WHO,
    }
    for key, wanted in keys.items():
        assert await ask(api, endpoint, authorization=f"Bearer {key}") == wanted
        assert await ask(api, endpoint, authorization=f"bearer  {key}") == wanted
        assert await ask(api, endpoint, query=f"token={key}") == wanted


async def test_callers_without_a_key_are_told_so(api: Api, endpoint: Endpoint) -> None:
    await api.post(RECORDING, ndjson(some_events(1)))
    for authorization in ("", "Bearer", "Bearer ", "Basic dTpw"):
        assert await ask(api, endpoint, authorization=authorization) == WHO
    assert await ask(api, endpoint, query="token=") == WHO
    # An empty header, as the client sends it where it was given no key, leaves the query to decide.
    key = api.daemon.key("all")
    assert await ask(api, endpoint, authorization="Bearer ", query=f"token={key}") == OK


async def test_a_key_bound_to_origins_serves_their_pages_alone(api: Api, endpoint: Endpoint) -> None:
    await api.post(RECORDING, ndjson(some_events(1)))
    key = api.daemon.key("all", origins=[ORIGIN, "http://localhost:3000"])
    for origin, wanted in {
        ORIGIN: OK,
        "http://localhost:3000": OK,
        "https://shop.example.evil.example": MAY_NOT,
        "http://shop.example": MAY_NOT,
        "null": MAY_NOT,
    }.items():
        assert await ask(api, endpoint, origin=origin, query=f"token={key}") == wanted


async def test_presigned_urls_open_what_they_were_signed_for(api: Api, endpoint: Endpoint) -> None:
    daemon = api.daemon
    await api.post(RECORDING, ndjson(some_events(1)))
    key, stranger = daemon.signing_key(), daemon.signing_key(tenant="other")
    now_s = int(time.time())
    mine = "POST" if endpoint.right == "ingest" else "GET"

    def signed(**changed: object) -> str:
        settings = {
            "secret": key.secret,
            "key_id": key.key_id,
            "tenant": "acme",
            "method": mine,
            "scope_path": endpoint.scope,
            "expires_s": now_s + 60,
        }
        return sign(**(settings | changed))  # type: ignore[arg-type]

    good = signed()
    assert await ask(api, endpoint, query=good) == OK
    refused = {
        "other method": signed(method="GET" if mine == "POST" else "POST"),
        "other recording": signed(scope_path=f"/recordings/{new_id()}"),
        "path with more": signed(scope_path=f"{endpoint.scope}/events"),
        "other secret": signed(secret="0" * 64),
        "other tenant": signed(tenant="other"),
        "expired": signed(expires_s=now_s - 1),
        "later by hand": good.replace(f"expires={now_s + 60}", f"expires={now_s + 6000}"),
        "unknown key": signed(key_id="key-1970-01"),
        "a stranger's": signed(secret=stranger.secret),
        "upper case": good.replace("signature=", "signature=A"),
        "no expiry": good.replace("expires", "expired"),
        "milliseconds": signed(expires_s=(now_s + 60) * 1000),
    }
    for name, query in refused.items():
        assert (name, await ask(api, endpoint, query=query)) == (name, WHO)
    daemon.revoke_signing_key(key.key_id)
    assert await ask(api, endpoint, query=good) == WHO


async def test_the_command_line_signs_what_the_daemon_accepts(api: Api) -> None:
    recording_id, sent = new_id(), some_events(2)
    key = api.daemon.signing_key()
    arguments = ["sign", "--tenant", "acme", "--key-id", key.key_id, "--recording", recording_id]
    write = await _rrd(api.daemon, *arguments, "--method", "POST")
    read = await _rrd(api.daemon, *arguments, "--method", "GET", "--expires-in", "60")
    reply = await api.request("POST", f"/recordings/{recording_id}/ingest?{write}", body=ndjson(sent), key="")
    assert reply.status == 200
    reply = await api.get(f"/recordings/{recording_id}/events?{read}", key="")
    assert reply.status == 200
    assert len(reply.json()) == 2


async def _rrd(daemon: LocalDaemon, *argv: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rrd", *argv, "--data-dir", daemon.data_dir),
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().strip()


# Tenants


async def test_tenants_never_see_each_other(api: Api) -> None:
    recording_id = new_id()
    ours, theirs = some_events(3, whose="ours"), some_events(5, whose="theirs")
    other = api.daemon.key("all", tenant="other")
    await api.post(recording_id, ndjson(ours))
    for target in (f"/recordings/{recording_id}/events", f"/recordings/{recording_id}"):
        reply = await api.get(target, key=other)
        assert (reply.status, reply.error["code"]) == (404, "not_found")
    assert (await api.get("/recordings", key=other)).json() == {"recordings": []}
    empty = {"totalRecordings": 0, "recordingsThisMonth": 0, "totalStorageBytes": 0}
    assert (await api.get("/statistics", key=other)).json() == empty
    # The same id in two tenants: two recordings.
    await api.post(recording_id, ndjson(theirs), key=other)
    body = b'{"who":"them"}'
    await api.request("POST", f"/recordings/{recording_id}/meta", body=body, key=other)
    assert await api.numbered(recording_id) == list(enumerate(ours, 1))
    assert await api.numbered(recording_id, key=other) == list(enumerate(theirs, 1))
    assert await api.metadata(recording_id) == {}
    listed = (await api.get("/recordings?meta[who]=them")).json()["recordings"]
    assert listed == []


# Keys that come and go while the daemon runs


async def test_a_key_made_by_another_process_counts_within_a_second(api: Api) -> None:
    key = Keys(api.daemon.data_dir).key("all")

    async def answers(status: int) -> bool:
        return (await api.get("/recordings", key=key)).status == status

    await eventually(lambda: answers(200), what="the key to count")
    Keys(api.daemon.data_dir).revoke(key)
    await eventually(lambda: answers(401), what="the key to count no more")


@pytest.mark.parametrize("kind", ["key", "signing-key"])
async def test_an_open_socket_whose_key_is_revoked_is_closed(api: Api, kind: str) -> None:
    recording_id, sent = new_id(), some_events(3)
    elsewhere = Keys(api.daemon.data_dir)
    revoke: Callable[[], None]
    if kind == "key":
        key = api.daemon.key("ingest")
        socket = await api.socket(recording_id, key=key)
        revoke = lambda: elsewhere.revoke(key)  # noqa: E731
    else:
        signing = api.daemon.signing_key()
        query = sign(
            secret=signing.secret,
            key_id=signing.key_id,
            tenant="acme",
            method="POST",
            scope_path=f"/recordings/{recording_id}",
            expires_s=int(time.time()) + 60,
        )
        socket = await api.socket(recording_id, key="", **_pairs(query))
        revoke = lambda: elsewhere.revoke_signing_key(signing.key_id)  # noqa: E731
    bystander = await api.socket(new_id())
    await socket.send_text(*sent)
    await until(lambda: len(api.daemon.services.sockets) == 2, what="both sockets to be open")
    await api.stored(recording_id, len(sent))
    revoke()
    end = await socket.farewell()
    assert (end.code, end.reason) == (1008, "key revoked or expired")
    # What came before is stored, and the summary says so.
    assert end.last["final"] is True
    assert await api.events(recording_id) == sent[: end.last["successful_rows"]]
    assert (await bystander.finish()).code == 1000
