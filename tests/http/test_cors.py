"""What a page of another origin may send and read: pages wrap ``fetch``, and beacons carry credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import running
from tests.http.api import Api, visiting
from tests.http.raw_client import Connection, Refused
from tests.http.test_framing import exchange
from tests.samples import an_event, ndjson, new_id, some_events

ORIGIN = "https://app.example"
ONE = "/recordings/0b9f6a1e-52f7-4b8e-9d57-1a2b3c4d5e6f"
NAMED = {"authorization", "content-type", "content-encoding"}


async def preflight(
    api: Api, headers: str, *, path: str = f"{ONE}/ingest", **more: str
) -> dict[str, set[str]]:
    """Ask whether these headers may be sent; return the reply's lists, in lower case."""
    sent = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": headers,
        **more,
    }
    reply = await api.request("OPTIONS", path, key="", headers=sent)
    assert (reply.status, reply.body) == (204, b"")
    assert int(reply.headers["Access-Control-Max-Age"]) >= 600
    return {
        name.lower(): {member.strip().lower() for member in value.split(",")}
        for name, value in reply.headers.items()
    }


@pytest.mark.parametrize(
    "asked",
    [
        "authorization,baggage,content-type,sentry-trace,traceparent",
        "authorization, content-type, x-requested-with, tracestate, newrelic, x-datadog-trace-id",
        "X-B3-TraceId,X_Under.score~!#$%&'*+^`|1",
        "",
    ],
)
async def test_headers_that_a_page_asks_for_are_allowed_beside_the_named_ones(api: Api, asked: str) -> None:
    lists = await preflight(api, asked)
    wanted = {name.strip().lower() for name in asked.split(",") if name.strip()}
    assert lists["access-control-allow-headers"] >= NAMED | wanted
    assert "*" not in lists["access-control-allow-headers"] - wanted
    assert lists["access-control-allow-methods"] >= {"get", "post"}
    assert lists["vary"] >= {"origin", "access-control-request-headers"}


@pytest.mark.parametrize(
    "asked", ["a b", "a\tb", 'a"b', "a(b)", "a;b", "a:b", "a/b", "<script>", "é", "a=b", "@", "{}", ", ,,"]
)
async def test_only_names_of_headers_are_echoed(api: Api, asked: str) -> None:
    lists = await preflight(api, f"x-good,{asked},x-better")
    assert lists["access-control-allow-headers"] >= {"x-good", "x-better", *NAMED}
    assert asked not in lists["access-control-allow-headers"]
    assert all(name.replace("-", "").isalnum() for name in lists["access-control-allow-headers"])


async def test_a_list_of_headers_may_come_in_several_lines(api: Api) -> None:
    connection = await Connection.open(api.daemon.url)
    lines = [b"OPTIONS /events HTTP/1.1", b"Host: x", b"Origin: https://app.example"]
    lines += [
        b"Access-Control-Request-Headers: " + name for name in (b"traceparent", b"baggage, x-a", b"x-b")
    ]
    connection.writer.write(b"\r\n".join([*lines, b"", b""]))
    allowed = (await connection.reply()).headers["access-control-allow-headers"].split(", ")
    assert {"traceparent", "baggage", "x-a", "x-b"} <= set(allowed)
    await connection.drop()


async def test_what_is_echoed_is_bounded(api: Api) -> None:
    lists = await preflight(api, ",".join(f"x-header-{number}" for number in range(2000)))
    assert sum(map(len, lists["access-control-allow-headers"])) < 5000
    assert lists["access-control-allow-headers"] >= NAMED


async def test_a_private_network_is_granted_when_it_is_asked_for(api: Api) -> None:
    granted = "access-control-allow-private-network"
    asked = {"Access-Control-Request-Private-Network": "true"}
    assert (await preflight(api, "", **asked))[granted] == {"true"}
    assert granted not in await preflight(api, "")
    assert granted not in await preflight(api, "", **{"Access-Control-Request-Private-Network": "false"})


@pytest.mark.parametrize("path", ["/", "/x", "/ws", "/-/ready", "/replay", "//recordings//", f"{ONE}/meta/"])
async def test_every_path_answers_a_preflight(api: Api, path: str) -> None:
    assert (await preflight(api, "authorization", path=path))["access-control-allow-origin"] == {ORIGIN}


async def test_the_server_as_a_whole_answers_options(api: Api) -> None:
    request = f"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: {ORIGIN}\r\n\r\n".encode()
    (reply,) = await exchange(api, [request])
    assert reply.status == 204
    assert reply.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("origin", [ORIGIN, "null", "chrome-extension://abcdef", "http://[::1]:8080", None])
async def test_every_reply_may_be_read_by_the_page_that_asked(api: Api, origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin}
    recording_id = new_id()
    # ``Api.request`` checks the headers of each reply against the origin that was sent.
    assert (await api.post(recording_id, ndjson(some_events(2)), headers=headers)).status == 200
    for method, path, status in (
        ("GET", f"/recordings/{recording_id}/events", 200),
        ("HEAD", f"/recordings/{recording_id}/events", 200),
        ("GET", "/recordings", 200),
        ("GET", f"/recordings/{new_id()}", 404),
        ("GET", "/nowhere", 404),
        ("PUT", f"/recordings/{recording_id}", 405),
        ("POST", f"/recordings/{recording_id}/ingest", 400),
        ("GET", f"/recordings/{recording_id}/ingest/ws", 400),
        ("POST", "/recordings/7/ingest", 400),
        ("DELETE", f"/recordings/{recording_id}", 403),
    ):
        body = b"junk" if method == "POST" else None
        reply = await api.request(method, path, headers=headers, body=body)
        assert reply.status == status, (method, path)
    reply = await api.get(f"/recordings/{recording_id}/events", headers=headers)
    assert {"Accept", "Accept-Encoding", "Origin"} <= {n.strip() for n in reply.headers["Vary"].split(",")}
    assert "etag" in reply.headers["Access-Control-Expose-Headers"].lower()


async def test_refused_sockets_can_be_read_too(tmp_path: Path) -> None:
    async with running(tmp_path, sockets_max=1) as daemon, visiting(daemon) as api:
        await api.socket(new_id())
        for key in ("wrong", None):
            with pytest.raises(Refused) as refused:
                await api.socket(new_id(), key=key, headers={"Origin": ORIGIN})
            assert refused.value.reply.status == (503 if key is None else 401)
            assert refused.value.reply.headers["access-control-allow-origin"] == ORIGIN
            assert refused.value.reply.json()["error"]["code"]


async def test_an_origin_that_is_none_is_not_echoed(api: Api) -> None:
    for origin in (b"https://a b", b"http://\xff", b"https://\xc3\xa9.example", b"x" * 5000):
        request = (
            b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: " + origin + b"\r\n\r\n"
        )
        (reply,) = await exchange(api, [request])
        assert reply.status == 200
        assert reply.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in reply.headers


async def test_cookies_mean_nothing(api: Api) -> None:
    recording_id = new_id()
    cookie = {"Cookie": f"token={api.key}; Authorization={api.key}", "Origin": ORIGIN}
    reply = await api.request(
        "POST", f"/recordings/{recording_id}/ingest", body=an_event(1), key="", headers=cookie
    )
    assert reply.status == 401
    reply = await api.post(recording_id, an_event(1), headers=cookie)
    assert reply.status == 200
    assert "Set-Cookie" not in reply.headers
