"""What every reply owes a page of another origin: CORS headers, and errors in JSON that tell no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.harness import running
from tests.http.api import JSON, VISITOR, VISITOR_ADDRESS, Api, visiting
from tests.http.raw_client import Connection
from tests.http.test_framing import exchange
from tests.samples import ndjson, new_id, some_events

RECORDING = "0b9f6a1e-52f7-4b8e-9d57-1a2b3c4d5e6f"
_ONE = f"/recordings/{RECORDING}"

# Method and path; a key or none; status and code. ``Api.request`` checks CORS and form of each.
ERRORS = {
    "no such path": ("GET", "/nowhere", True, 404, "no_such_path"),
    "below a path": ("GET", f"{_ONE}/events/7", True, 404, "no_such_path"),
    "wrong method": ("PUT", _ONE, True, 405, "method_not_allowed"),
    "put": ("PUT", f"{_ONE}/events", True, 405, "method_not_allowed"),
    "read by post": ("POST", "/statistics", True, 405, "method_not_allowed"),
    "no key": ("GET", "/recordings", False, 401, "unauthenticated"),
    "unknown": ("GET", f"{_ONE}/events", True, 404, "not_found"),
    "bad id": ("GET", "/recordings/7/events", True, 400, "bad_recording_id"),
    "bad id to write": ("POST", "/recordings/7/ingest", True, 400, "bad_recording_id"),
    "bad id in query": ("POST", "/events?recordingId=7", True, 400, "bad_recording_id"),
    "bad limit": ("GET", "/recordings?limit=0", True, 400, "bad_request"),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_errors_are_json_with_a_stable_code(api: Api, name: str) -> None:
    method, path, with_key, status, code = ERRORS[name]
    reply = await api.request(method, path, key=None if with_key else "")
    assert (reply.status, reply.error["code"]) == (status, code)


async def test_a_method_that_is_not_allowed_names_those_that_are(api: Api) -> None:
    reply = await api.request("DELETE", f"{_ONE}/events")
    assert set(reply.headers["Allow"].replace(" ", "").split(",")) >= {"GET", "POST"}


async def test_401_says_how_to_ask(api: Api) -> None:
    reply = await api.get("/recordings", key="")
    assert reply.headers["WWW-Authenticate"] == "Bearer"


async def test_damage_on_disk_is_an_error_without_a_trace(api: Api, logged: list[str]) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(100)))
    (segment,) = api.daemon.segments("active")
    data = bytearray(segment.read_bytes())
    data[:] = b"\0" * len(data)
    segment.write_bytes(data)
    reply = await api.get(f"/recordings/{recording_id}/events")
    assert reply.status == 500
    assert api.daemon.data_dir not in reply.body.decode()
    assert any("recording_damaged" in line and recording_id in line for line in logged)


_ANY_PATH = [f"{_ONE}/events", f"{_ONE}/ingest/ws", f"{_ONE}/meta", "/recordings", "/x", "//recordings//7/"]


@pytest.mark.parametrize("path", _ANY_PATH)
async def test_preflights_allow_what_the_client_sends(api: Api, path: str) -> None:
    asked = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    reply = await api.request("OPTIONS", path, key="", headers=asked)
    assert (reply.status, reply.body) == (204, b"")
    allowed = {name.strip() for name in reply.headers["Access-Control-Allow-Headers"].lower().split(",")}
    assert allowed >= {"authorization", "content-type", "content-encoding"}
    methods = {name.strip() for name in reply.headers["Access-Control-Allow-Methods"].split(",")}
    assert methods >= {"GET", "POST"}
    assert int(reply.headers["Access-Control-Max-Age"]) >= 600


async def test_every_good_reply_may_be_read_by_any_page(api: Api) -> None:
    recording_id = new_id()
    origin = {"Origin": "https://player.example"}
    # Api.request checks the header of each.
    assert (await api.post(recording_id, ndjson(some_events(2)), headers=origin)).status == 200
    for path in (
        "/recordings",
        "/statistics",
        f"/recordings/{recording_id}",
        f"/recordings/{recording_id}/events",
    ):
        reply = await api.get(path, headers=origin)
        assert reply.status == 200
        head = await api.request("HEAD", path, headers=origin)
        assert (head.status, head.body) == (200, b"")
    exposed = (await api.get(f"/recordings/{recording_id}/events")).headers["Access-Control-Expose-Headers"]
    assert "etag" in exposed.lower()
    for path in ("/-/healthy", "/-/ready"):
        assert (await api.get(path, key="")).status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /recordings?token=ak_secret HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        b"GET /recordings?token=ak_secret HTTP/1.1\r\nBad header ak_secret\r\n\r\n",
        b"GET /recordings?token=ak_secret\r\n\r\n",
        b"POST /events?token=ak_secret HTTP/1.1\r\nHost: x\r\nContent-Length: -7\r\n\r\n",
        b"\x16\x03\x01 this is TLS, or ak_secret",
    ],
)
async def test_what_is_no_http_is_refused_and_nobody_named_in_the_log(
    api: Api, logged: list[str], request_bytes: bytes
) -> None:
    connection = await Connection.open(api.daemon.url)
    connection.writer.write(request_bytes)
    reply = await connection.reply()
    await connection.hang_up()
    assert reply.status in {400, 431, 505}
    assert "ak_secret" not in reply.body.decode()
    log = "\n".join(logged)
    assert "127.0.0.1" not in log
    assert "ak_secret" not in log


async def test_refusals_are_logged_without_keys_and_callers(api: Api, logged: list[str]) -> None:
    recording_id = new_id()
    path = f"/recordings/{recording_id}/ingest"
    secrets = "token=wrong-key&signature=wrong-signature&expires=1&keyId=k"
    reply = await api.request("POST", f"{path}?{secrets}", body=b"x", key="another-wrong-key")
    assert reply.status == 401
    (line,) = [line for line in logged if "refused" in line]
    assert f"method=POST path={path} status=401 code=unauthenticated" in line
    assert not [line for line in logged for word in ("wrong", *VISITOR.values()) if word in line]


async def test_a_key_in_a_path_that_does_not_exist_is_not_repeated(api: Api) -> None:
    reply = await api.get("/nowhere?token=ak_secret", key="")
    assert b"ak_secret" not in reply.body


async def test_recording_ids_of_another_form_are_admitted_where_the_settings_say_so(tmp_path: Path) -> None:
    async with running(tmp_path, recording_ids="any") as daemon, visiting(daemon) as api:
        for recording_id in ("V1StGXR8_Z5jdHi6B-myT", new_id()):
            assert (await api.post(recording_id, ndjson(some_events(2)))).status == 200
            assert len(await api.events(recording_id)) == 2
        for recording_id in ("short", "x" * 65, "has.a.dot.in.it", "..%2F..%2Fetc%2Fpasswd"):
            reply = await api.post(recording_id, ndjson(some_events(2)))
            assert (reply.status, reply.error["code"]) == (400, "bad_recording_id")


async def test_errors_of_one_field_name_it(api: Api) -> None:
    reply = await api.get("/recordings/7")
    assert json.loads(reply.body)["error"]["parameter"] == "recordingId"
    assert reply.headers["Content-Type"] == JSON
    assert VISITOR_ADDRESS not in reply.body.decode()


# What is sent, and the status of the answer: each is made in another place.
ANSWERS = {
    "read": (b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
    "no key": (b"GET /recordings HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 401),
    "no path": (b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
    "preflight": (b"OPTIONS /ingest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 204),
    "expectation": (
        b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\nExpect: more\r\n\r\n",
        417,
    ),
    "no HTTP": (b"GET / HTTP/3.0\r\n\r\n", 505),
    "large head": (b"GET / HTTP/1.1\r\nCookie: " + b"x" * 40_000 + b"\r\n\r\n", 431),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_no_answer_names_the_libraries_of_the_server(api: Api, name: str) -> None:
    sent, status = ANSWERS[name]
    (reply,) = await exchange(api, [sent])
    assert (reply.status, reply.headers["server"]) == (status, "rrd")


async def test_neither_a_socket_nor_a_stream_of_events_names_the_libraries(api: Api) -> None:
    recording_id = new_id()
    await api.post(recording_id, ndjson(some_events(3)))
    assert (await api.get(f"/recordings/{recording_id}/events")).headers["Server"] == "rrd"
    socket = await api.socket(recording_id)
    assert socket.headers["server"] == "rrd"
    await socket.finish()


async def test_a_failure_inside_does_not_name_the_libraries(
    api: Api, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.daemon.services.gate, "authorize", None)
    reply = await api.get("/recordings")
    assert (reply.status, reply.headers["Server"]) == (500, "rrd")
    logged.clear()
