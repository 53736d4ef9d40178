"""Requests that are no HTTP, or break off: what is answered, that it comes at once, and what is kept.

No test here waits for a timeout of the daemon: ``body_idle_timeout_s`` is far beyond the deadline by which
each answer must be there.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser
from aiohttp.web_protocol import RequestHandler, _ErrInfo
from hypothesis import given
from hypothesis import strategies as st

from rrd.http.framing import Framing, HeadRefused
from tests.harness import DEADLINE_S, running, until
from tests.http.api import Api, check_cors, one_stream, visiting
from tests.http.raw_client import Connection, RawReply
from tests.samples import an_event, ndjson, new_id, some_events

pytestmark = pytest.mark.table

ORIGIN = "https://app.example"
HEAD_BYTES_MAX = 32 << 10


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running(tmp_path, body_idle_timeout_s=3600) as daemon, visiting(daemon) as visitor:
        yield visitor


def post(api: Api, recording_id: str, *headers: str, body: bytes = b"", length: int | None = None) -> bytes:
    """A POST of events. ``length``: of the body, if it is to be told."""
    lines = [
        f"POST /recordings/{recording_id}/ingest HTTP/1.1",
        "Host: rrd.test",
        f"Authorization: Bearer {api.key}",
        f"Origin: {ORIGIN}",
        *([] if length is None else [f"Content-Length: {length}"]),
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def exchange(api: Api, parts: Sequence[bytes], *, ends: bool = False) -> list[RawReply]:
    """Send ``parts``, each by itself, and return every reply until the server ends the connection."""
    connection = await Connection.open(api.daemon.url)
    for part in parts:
        connection.writer.write(part)
        await asyncio.sleep(0)  # The server, on this loop too, reads before the next.
    if ends:
        connection.writer.write_eof()
    replies = []
    while True:
        try:
            replies.append(await connection.reply())
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            break
    await connection.hang_up()
    return replies


def check_error(reply: RawReply, status: int, code: str, *, origin: str | None = ORIGIN) -> dict[str, Any]:
    assert reply.headers["content-type"].startswith("application/json")
    error: dict[str, Any] = json.loads(reply.body)["error"]
    assert (reply.status, error["code"]) == (status, code)
    assert error["message"]
    check_cors({name.title(): value for name, value in reply.headers.items()}, origin)
    assert reply.headers["connection"] == "close"
    return error


def _request(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([line, b"Host: x", b"Origin: " + ORIGIN.encode(), *headers, b"", b""]) + body


_POST = b"POST /recordings/0b9f6a1e-52f7-4b8e-9d57-1a2b3c4d5e6f/ingest HTTP/1.1"
_EVENT = an_event(1)

# Heads after which nothing more can be made out: what is sent, status and code.
BAD_HEADS = {
    "long field": (_request(_POST, b"Cookie: c=" + b"x" * HEAD_BYTES_MAX), 431, "head_too_large"),
    "many fields": (_request(_POST, *[b"A: b"] * 200), 431, "head_too_large"),
    "long fields": (_request(_POST, *[b"A: " + b"b" * 4000] * 20), 431, "head_too_large"),
    "long name": (_request(_POST, b"A" * HEAD_BYTES_MAX + b": b"), 431, "head_too_large"),
    "long line": (_request(b"GET /" + b"x" * HEAD_BYTES_MAX + b" HTTP/1.1"), 431, "head_too_large"),
    "long line, no end": (b"GET /" + b"x" * 2 * HEAD_BYTES_MAX, 431, "head_too_large"),
    "fields without end": (_request(_POST)[:-2] + b"A: b\r\n" * 20_000, 431, "head_too_large"),
    "no such method": (_request(b"FETCH / HTTP/1.1"), 501, "unsupported_method"),
    "longer method": (_request(b"POSTED / HTTP/1.1"), 501, "unsupported_method"),
    "connect": (_request(b"CONNECT x:443 HTTP/1.1"), 501, "unsupported_method"),
    "small method": (_request(b"get / HTTP/1.1"), 400, "bad_http"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "unsupported_version"),
    "HTTP/2.0": (_request(b"GET / HTTP/2.0"), 505, "unsupported_version"),
    "HTTP/1.2": (_request(b"GET / HTTP/1.2"), 505, "unsupported_version"),
    "HTTP/9.9": (_request(b"GET / HTTP/9.9"), 505, "unsupported_version"),
    "HTTP/0.9": (b"GET /recordings\r\n", 505, "unsupported_version"),
    "HTTP/0.9 by name": (b"GET /recordings HTTP/0.9\r\n\r\n", 505, "unsupported_version"),
    "no HTTP": (_request(b"GET / HTTX/1.1"), 400, "bad_http"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad_http"),
    "JSON": (b'{"type":3,"timestamp":1,"data":{}}\n', 400, "bad_http"),
    "LF alone": (_request(_POST).replace(b"\r\n", b"\n"), 400, "bad_http"),
    "no host": (_POST + b"\r\n\r\n", 400, "bad_http"),
    "two hosts": (_request(_POST, b"Host: y"), 400, "bad_http"),
    "target": (_request(b"GET recordings HTTP/1.1"), 400, "bad_http"),
    "target bytes": (_request(b"GET /\xff HTTP/1.1"), 400, "bad_http"),
    "target port": (_request(b"GET http://x:99999/ HTTP/1.1"), 400, "bad_http"),
    "name with space": (_request(_POST, b"A b: c"), 400, "bad_http"),
    "no name": (_request(_POST, b": c"), 400, "bad_http"),
    "no colon": (_request(_POST, b"abc"), 400, "bad_http"),
    "NUL": (_request(_POST, b"A: b\x00c"), 400, "bad_http"),
    "folded": (_request(_POST, b"A: b", b" c"), 400, "bad_http"),
    "negative length": (_request(_POST, b"Content-Length: -7"), 400, "bad_http"),
    "signed length": (_request(_POST, b"Content-Length: +7"), 400, "bad_http"),
    "hex length": (_request(_POST, b"Content-Length: 0x7"), 400, "bad_http"),
    "list of lengths": (_request(_POST, b"Content-Length: 7, 7"), 400, "bad_http"),
    "two lengths": (_request(_POST, b"Content-Length: 7", b"Content-Length: 8"), 400, "bad_http"),
    "no length": (_request(_POST, b"Content-Length:"), 400, "bad_http"),
    "huge length": (_request(_POST, b"Content-Length: 99999999999999999999999"), 400, "bad_http"),
    "largest length": (_request(_POST, b"Content-Length: 18446744073709551615"), 400, "bad_http"),
    "length, then coding": (
        _request(_POST, b"Content-Length: 7", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        400,
        "bad_http",
    ),
    "coding, then length": (
        _request(_POST, b"Transfer-Encoding: chunked", b"Content-Length: 7", body=b"0\r\n\r\n"),
        400,
        "bad_http",
    ),
    **{
        f"coded {codings}": (
            _request(_POST, *[b"Transfer-Encoding: " + coding for coding in codings], body=chunk(_EVENT)),
            501,
            "unsupported_transfer_coding",
        )
        for codings in (
            [b"gzip, chunked"],
            [b"gzip,chunked"],
            [b"GZip , Chunked"],
            [b"gzip", b"chunked"],
            [b"gzip"],
            [b"identity"],
            [b"br, chunked"],
            [b"xchunked"],
            [b"chunked, gzip"],
            [b"chunked, chunked"],
        )
    },
}


def _cuts(data: bytes) -> dict[str, list[bytes]]:
    head_end = data.find(b"\r\n\r\n") + 4
    return {
        "at once": [data],
        "in two": [data[: len(data) // 2], data[len(data) // 2 :]],
        "at the head's end": [data[:head_end], data[head_end:]],
        "by bytes": [bytes([byte]) for byte in data] if len(data) < 1000 else [data],
    }


ODD_TARGETS = [
    "/%FF",
    "/%00",
    "/%zz",
    "/%",
    "/%2",
    "/recordings/%FF/ingest",
    "/recordings/%00/events",
    "/recordings/%2e%2e/ingest",
    "/recordings/../recordings",
    "/./recordings",
    "/recordings/;a=b/ingest",
    "/recordings?%FF=%FF",
    "/recordings?meta[%FF]=%00",
    "/recordings?limit=%zz",
    "/recordings?" + "a=b&" * 2000,
    "/ingest?recordingId=%FF",
    "/ingest?recordingId=",
    "/ingest?recordingId",
    "/ingest?token=%FF",
    "/?",
    "/??",
    "/#",
    "/recordings#x",
    "/@",
    "//",
    "//@",
    "//x:99999/",
    "/" * 5000,
    "http://x//",
    "http://x",
    "http://x?y",
    "http://[::1]/recordings//",
    "ftp://x/recordings",
    "http://user:word@x/recordings",
    "/:",
    "/a:b",
    "//a:b@c:d/",
]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND"])
async def test_odd_targets_are_answered_like_any_other(api: Api, method: str) -> None:
    for target in ODD_TARGETS:
        lines = [f"{method} {target} HTTP/1.1", "Host: x", f"Origin: {ORIGIN}", "Connection: close"]
        connection = await Connection.open(api.daemon.url)
        connection.writer.write("\r\n".join([*lines, "", ""]).encode())
        reply = await connection.reply(method=method)
        assert await connection.reader.read() == b""
        await connection.hang_up()
        assert reply.status in {200, 204, 400, 401, 404, 405, 501}, target
        check_cors({name.title(): value for name, value in reply.headers.items()}, ORIGIN)
        if reply.status >= 400 and method != "HEAD":
            assert reply.json()["error"]["code"]


@pytest.mark.parametrize("name", BAD_HEADS)
async def test_a_bad_head_is_answered_at_once_and_as_json_wherever_it_is_cut(api: Api, name: str) -> None:
    data, status, code = BAD_HEADS[name]
    for cut in _cuts(data).values():
        (reply,) = await exchange(api, cut)
        known = reply.headers["access-control-allow-origin"] != "*"
        check_error(reply, status, code, origin=ORIGIN if known else None)


@pytest.mark.table
@pytest.mark.parametrize("name", BAD_HEADS)
async def test_a_bad_head_takes_nothing_from_the_request_before_it(api: Api, name: str) -> None:
    data, status, code = BAD_HEADS[name]
    events = some_events(3)
    body = ndjson(events)
    for is_chunked in (False, True):
        recording_id = new_id()
        first = (
            post(api, recording_id, "Transfer-Encoding: chunked", body=chunk(body) + b"0\r\n\r\n")
            if is_chunked
            else post(api, recording_id, body=body, length=len(body))
        )
        good, bad = await exchange(api, [first + data])
        assert (good.status, good.json()["successful_rows"]) == (200, 3)
        check_error(
            bad, status, code, origin=ORIGIN if "access-control-allow-credentials" in bad.headers else None
        )
        assert await api.events(recording_id) == events


async def test_a_page_is_told_by_name_wherever_its_origin_stands(api: Api) -> None:
    (reply,) = await exchange(api, [post(api, new_id(), "A b: c", length=0)])
    check_error(reply, 400, "bad_http")
    (reply,) = await exchange(api, [b"POST / HTTP/1.1\r\nA b: c\r\nORIGIN:  null \r\n\r\n"])
    check_error(reply, 400, "bad_http", origin="null")


async def test_heads_up_to_the_limit_are_taken(api: Api) -> None:
    recording_id = new_id()
    empty = post(api, recording_id, "Connection: close", "Cookie: ", length=len(_EVENT))
    room = HEAD_BYTES_MAX - len(empty)
    for more, status in ((room, 200), (room + 1, 431)):
        head = post(api, recording_id, "Connection: close", f"Cookie: {'x' * more}", length=len(_EVENT))
        (reply,) = await exchange(api, [head + _EVENT])
        assert reply.status == status
    socket = await api.socket(recording_id, headers={"Cookie": "x" * 30_000})
    await socket.send_text(an_event(2))
    assert (await socket.finish()).code == 1000
    assert (await api.get(f"/recordings?meta[note]={'%D1%8F' * 2048}")).status == 200


async def test_the_limit_of_heads_is_a_setting(tmp_path: Path) -> None:
    async with running(tmp_path, head_bytes_max=8192) as daemon, visiting(daemon) as api:
        assert (await api.get("/recordings", headers={"Cookie": "x" * 7000})).status == 200
        assert (await api.get("/recordings", headers={"Cookie": "x" * 8192})).status == 431


# Bodies that break off inside their framing, behind three good lines.
BAD_CHUNKS = {
    "no size": b"zz\r\n",
    "no size at all": b"\r\n\r\n",
    "negative size": b"-5\r\nabcde\r\n",
    "huge size": b"fffffffffffffffff\r\n",
    "longer than said": b"5\r\nabcdeXX\r\n",
    "LF alone": b"5\nabcde\n",
    "bad trailer": b"0\r\nA b: c\r\n\r\n",
    "many trailers": b"0\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    "long trailer": b"0\r\nA: " + b"b" * HEAD_BYTES_MAX + b"\r\n\r\n",
    "NUL": b"\0\0\0\0",
    "a head": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
async def test_lines_before_a_bad_chunk_are_stored_and_counted(api: Api, name: str) -> None:
    events = some_events(3)
    body = chunk(ndjson(events[:2])) + chunk(ndjson(events[2:])) + BAD_CHUNKS[name]
    for cut in ("at once", "in two", "at the head's end", "by bytes"):
        recording_id = new_id()
        request = post(api, recording_id, "Transfer-Encoding: chunked", body=body)
        (reply,) = await exchange(api, _cuts(request)[cut])
        error = check_error(reply, 400, "bad_framing")
        assert error["successful_rows"] == 3
        assert await api.events(recording_id) == events


def _stream(encoding: str, lines: list[bytes]) -> list[bytes]:
    return lines if encoding == "identity" else one_stream(encoding, lines)


@pytest.mark.parametrize("encoding", ["identity", "gzip", "br", "zstd"])
async def test_much_before_a_bad_chunk_is_stored_too(api: Api, encoding: str) -> None:
    """More than the reader takes at once, so that the connection is paused in between."""
    events = some_events(60, text="x" * 100_000)
    body = b"".join(map(chunk, _stream(encoding, [event + b"\n" for event in events])))
    recording_id = new_id()
    head = post(api, recording_id, "Transfer-Encoding: chunked", f"Content-Encoding: {encoding}")
    (reply,) = await exchange(api, [head + body + b"zz\r\n"])
    error = check_error(reply, 400, "bad_framing")
    assert error["successful_rows"] == len(events)
    assert await api.events(recording_id) == events


async def test_much_before_a_bad_head_is_stored_too(api: Api) -> None:
    events = some_events(60, text="x" * 100_000)
    body = ndjson(events)
    recording_id = new_id()
    good, bad = await exchange(api, [post(api, recording_id, length=len(body), body=body + b'"}}\n')])
    assert (good.status, good.json()["successful_rows"]) == (200, len(events))
    check_error(bad, 400, "bad_http", origin=None)
    assert await api.events(recording_id) == events


async def test_trailers_and_extensions_of_chunks_are_passed_over(api: Api) -> None:
    body = b"%x;name=value\r\n%s\r\n0;last\r\nX-Checksum: 1\r\n\r\n" % (len(_EVENT), _EVENT)
    for cut in ("at once", "in two", "by bytes"):
        recording_id = new_id()
        request = post(api, recording_id, "Transfer-Encoding: chunked", "Connection: close", body=body)
        (reply,) = await exchange(api, _cuts(request)[cut])
        assert (reply.status, reply.json()["successful_rows"]) == (200, 1)
        assert await api.events(recording_id) == [_EVENT]


async def test_a_bad_chunk_of_metadata_is_told(api: Api) -> None:
    request = post(api, new_id(), "Transfer-Encoding: chunked", body=b"zz\r\n").replace(
        b"/ingest ", b"/meta "
    )
    (reply,) = await exchange(api, [request])
    check_error(reply, 400, "bad_framing")


async def test_a_bad_chunk_behind_a_complete_request_takes_nothing_from_it(api: Api) -> None:
    first, second = new_id(), new_id()
    requests = post(api, first, body=_EVENT, length=len(_EVENT)) + post(
        api, second, "Transfer-Encoding: chunked", body=chunk(_EVENT + b"\n") + b"zz\r\n"
    )
    for cut in ([requests], [requests[:-3], requests[-3:]]):
        good, bad = await exchange(api, cut)
        assert good.status == 200
        assert check_error(bad, 400, "bad_framing")["successful_rows"] + check_duplicates(bad) == 1
    for recording_id in (first, second):
        assert _EVENT in await api.events(recording_id)


def check_duplicates(reply: RawReply) -> int:
    count: int = reply.json()["error"]["duplicate_rows"]
    return count


async def test_a_refused_sender_with_a_bad_chunk_gets_one_answer(api: Api) -> None:
    request = post(api, new_id(), "Transfer-Encoding: chunked", body=chunk(b"x" * 100) + b"zz\r\n")
    request = request.replace(api.key.encode(), b"wrong")
    for cut in _cuts(request).values():
        replies = await exchange(api, cut)
        assert [reply.status for reply in replies] == [401]


async def test_a_length_that_counts_characters_costs_no_event_before_the_last(api: Api) -> None:
    events = some_events(3, text="пример")
    body = ndjson(events)
    length = len(body.decode())
    assert length < len(body)
    for cut in ("at once", "in two", "at the head's end", "by bytes"):
        recording_id = new_id()
        request = post(api, recording_id, length=length, body=body)
        first, garbage = await exchange(api, _cuts(request)[cut])
        assert first.status == 200
        whole = body[:length].count(b"\n")
        assert whole >= 1
        assert first.json()["successful_rows"] == whole
        check_error(garbage, 400, "bad_http", origin=None)
        assert await api.events(recording_id) == events[:whole]


async def test_what_comes_behind_the_last_request_costs_no_answer(api: Api) -> None:
    """A body may be longer than its length says, and the rest come when the answer is on its way."""
    for more, status in (([], 200), (["Content-Encoding: lzma"], 415)):
        connection = await Connection.open(api.daemon.url)
        request = post(api, new_id(), "Connection: close", *more, length=len(_EVENT), body=_EVENT)
        connection.writer.write(request)
        received = connection.reader._buffer.__len__  # type: ignore[attr-defined]
        await until(received, what="the answer")
        connection.writer.write(b'{"the":"rest"}\n' * 1000)
        await connection.writer.drain()
        connection.writer.write_eof()
        assert (await connection.reply()).status == status
        assert await connection.reader.read() == b""
        await connection.hang_up()


@pytest.mark.parametrize("expect", ["200-ok", "100-continue, more", "100-continued"])
async def test_an_expectation_that_is_not_met_is_told(api: Api, expect: str) -> None:
    for path in (f"/recordings/{new_id()}/ingest", "/nowhere"):
        reply = await api.request("POST", path, body=_EVENT, headers={"Expect": expect, "Origin": ORIGIN})
        assert (reply.status, reply.error["code"]) == (417, "unmet_expectation")


async def test_an_expectation_of_100_is_met(api: Api) -> None:
    recording_id = new_id()
    reply = await api.post(recording_id, _EVENT, headers={"Expect": "100-continue"})
    assert reply.status == 200
    assert await api.events(recording_id) == [_EVENT]


async def test_a_client_that_closes_its_side_is_answered(api: Api) -> None:
    recording_id = new_id()
    whole = post(api, recording_id, length=len(_EVENT), body=_EVENT)
    (reply,) = await exchange(api, [whole], ends=True)
    assert (reply.status, reply.json()["successful_rows"]) == (200, 1)
    two = whole + post(api, new_id(), length=len(_EVENT), body=_EVENT)
    assert [reply.status for reply in await exchange(api, [two], ends=True)] == [200, 200]
    body = ndjson(some_events(3))
    (reply,) = await exchange(api, [post(api, new_id(), length=1000, body=body)], ends=True)
    assert reply.json()["error"]["successful_rows"] == 3 if reply.status == 400 else reply.status == 200


async def test_a_connection_that_says_nothing_is_let_go(api: Api) -> None:
    assert await exchange(api, [], ends=True) == []
    assert await exchange(api, [b"\r\n\r\n"], ends=True) == []


async def test_an_answer_arrives_though_the_sender_goes_on_sending(api: Api) -> None:
    """A plain close would reset the connection, and a reset takes the answer along."""
    address = ("127.0.0.1", api.daemon.port)

    def send_much() -> bytes:
        with socket.create_connection(address) as client:
            client.settimeout(20)
            client.sendall(post(api, new_id(), "Transfer-Encoding: chunked", body=b"zz\r\n"))
            for _ in range(64):
                client.sendall(b"x" * 65536)
            received = b""
            while more := client.recv(65536):
                received += more
            return received

    assert (await asyncio.to_thread(send_much)).startswith(b"HTTP/1.1 400 ")


async def test_requests_that_are_pipelined_are_all_answered(api: Api) -> None:
    recording_id = new_id()
    events = some_events(300)
    data = b"".join(post(api, recording_id, length=len(event), body=event) for event in events)
    data += b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for cut in ([data], [data[start : start + 997] for start in range(0, len(data), 997)]):
        replies = await exchange(api, cut, ends=True)
        assert [reply.status for reply in replies] == [200] * 301
    assert await api.events(recording_id) == events


@pytest.mark.parametrize("declines", [False, True], ids=["a socket", "no socket"])
async def test_an_end_right_behind_an_upgrade_loses_nothing(api: Api, declines: bool) -> None:
    """All that a client sends, its end too, may arrive before the upgrade is handled."""
    recording_id = new_id()
    fields = [b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"]
    if not declines:
        fields.append(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
    upgrade = _request(f"GET /recordings/{recording_id}/ingest/ws?token={api.key} HTTP/1.1".encode(), *fields)
    events = some_events(3)
    if declines:
        rest = b"".join(post(api, recording_id, length=len(event), body=event) for event in events)
        rest += post(api, recording_id, length=100, body=b"cut off")
    else:
        # Frames with a mask of zeros (RFC 6455, 5.3); the last one is cut off.
        rest = b"".join(bytes([0x81, 0x80 | len(event), 0, 0, 0, 0]) + event for event in events) + b"\x81"
    for cut in ([upgrade + rest], [upgrade, rest], [upgrade[:-1], upgrade[-1:] + rest[:5], rest[5:]]):
        if declines:
            statuses = [reply.status for reply in await exchange(api, cut, ends=True)]
            assert statuses[:4] == [400, 200, 200, 200]
        else:
            connection = await Connection.open(api.daemon.url)
            connection.writer.write(b"".join(cut))
            connection.writer.write_eof()
            assert (await connection.reply()).status == 101
            said = await asyncio.wait_for(connection.reader.read(), DEADLINE_S)
            assert b'"final":true' in said
            await connection.drop()
        assert len(await api.events(recording_id)) == len(events)


async def test_a_socket_may_follow_many_requests_on_one_connection(api: Api) -> None:
    recording_id = new_id()
    connection = await Connection.open(api.daemon.url)
    for event in some_events(40):
        head = post(api, recording_id, length=len(event))
        connection.writer.write(head)
        await asyncio.sleep(0.001)
        connection.writer.write(event)
        assert (await connection.reply()).status == 200
    upgrade = f"GET /recordings/{recording_id}/ingest/ws?token={api.key} HTTP/1.1"
    connection.writer.write(
        _request(
            upgrade.encode(), b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
    )  # fmt: skip
    assert (await connection.reply()).status == 101
    await connection.drop()


# The layer by itself: what comes out must not depend on where TCP cuts.


class _Outcome(NamedTuple):
    requests: list[tuple[str, bytes, str]]
    """Target, what came of the body, and how it ended."""
    refused: tuple[int, str] | None


def _outcome(data: bytes, cuts: Sequence[int], loop: asyncio.AbstractEventLoop) -> _Outcome:
    protocol = BaseProtocol(loop)
    parser = HttpRequestParser(
        protocol, loop, 1 << 20, payload_exception=ValueError, max_line_size=2048, max_field_size=2048
    )
    framing = Framing(parser, head_bytes_max=2048, queue_max=1000)
    protocol._parser = framing  # type: ignore[assignment]
    found: list[Any] = []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, limit in itertools.pairwise(edges):
        found += framing.feed_data(data[start:limit])[0]
    requests, refused = [], None
    for message, body in found:
        if isinstance(message, _ErrInfo):
            assert isinstance(message.exc, HeadRefused)
            refused = message.exc.status, message.exc.code
        else:
            error = body.exception()
            end = type(error).__name__ if error else "whole" if body.is_eof() else "under way"
            requests.append((message.path, body._read_nowait(-1) if body.total_bytes else b"", end))
    return _Outcome(requests, refused)


_PIECES = (
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab\r\n\r",
    b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n1\r\nz\r\n0\r\n\r\n",
    b"GET /c HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"GET /d HTTP/1.0\r\n\r\n",
    b"POST /e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nyy\r\nzz\r\n\r\n",
    b"POST /f HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n",
    b"GET /g HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 2100 + b"\r\n\r\n",
    b"GET /h\r\n",
    b'","data":{}}\n',
    b"PATCHY / HTTP/1.1\r\n\r\n",
    b"POST /i HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
)


@given(
    st.lists(st.sampled_from(_PIECES), max_size=6).map(b"".join),
    st.lists(st.integers(0, 1 << 16), max_size=8),
)
def test_what_comes_out_does_not_depend_on_the_cuts(data: bytes, cuts: list[int]) -> None:
    loop = asyncio.new_event_loop()
    try:
        at_once = _outcome(data, [], loop)
        assert _outcome(data, cuts, loop) == at_once
        assert _outcome(data, range(len(data)), loop) == at_once
    finally:
        loop.close()


def test_the_private_surface_of_aiohttp_is_there() -> None:
    """``Framing`` and ``Connection`` stand on these; with another aiohttp, read both again."""
    for name in (
        "_waiter",
        "_messages",
        "_upgraded",
        "_force_close",
        "_request_count",
        "_read_bufsize",
        "_parser",
    ):
        assert hasattr(RequestHandler, name), name
    for name in ("finish_response", "handle_error", "log_exception", "_make_error_handler", "eof_received"):
        assert callable(getattr(RequestHandler, name))
    assert set(_ErrInfo.__slots__) >= {"status", "exc", "message"}


@pytest.mark.parametrize("name", ["Host", "Content-Type"])
async def test_a_header_that_came_twice_is_named(api: Api, name: str) -> None:
    field = f"{name}: secret-of-the-sender".encode()
    (reply,) = await exchange(api, [_request(_POST, field, field)])
    error = check_error(reply, 400, "bad_http")
    assert (name in error["message"], "secret" in error["message"]) == (True, False)


@pytest.mark.parametrize("path", ["ingest", "meta"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_a_body_without_an_end_is_refused_and_not_taken_for_empty(
    api: Api, path: str, version: bytes
) -> None:
    recording_id = new_id()
    request = post(api, recording_id, "Connection: close", body=b'{"userId":"u1"}\n')
    request = request.replace(b"/ingest", b"/" + path.encode()).replace(b"HTTP/1.1", b"HTTP/" + version)
    replies = await exchange(api, [request], ends=True)
    assert (replies[0].status, replies[0].json()["error"]["code"]) == (411, "length_required")


async def test_a_piece_that_is_taken_of_a_body_costs_no_call_of_the_parser(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of one byte: a turn that took as many reads as pieces kept the loop for up to 70 ms."""
    fed = 0
    plain = Framing.feed_data

    def feed_data(self: Framing, data: bytes) -> Any:
        nonlocal fed
        fed += 1
        return plain(self, data)

    monkeypatch.setattr(Framing, "feed_data", feed_data)
    connection = await Connection.open(api.daemon.url)
    head = {
        "Authorization": f"Bearer {api.daemon.key()}",
        "Content-Type": "application/x-ndjson",
        "Transfer-Encoding": "chunked",
    }
    connection.send_head("POST", f"/recordings/{new_id()}/ingest", head)
    body = b"\n" * 10_000 + an_event(1)
    for at in range(0, len(body), 1000):
        connection.writer.write(b"".join(b"1\r\n%c\r\n" % byte for byte in body[at : at + 1000]))
        await connection.writer.drain()
    connection.writer.write(b"0\r\n\r\n")
    reply = await connection.reply(method="POST")
    await connection.hang_up()
    assert (reply.status, reply.json()["successful_rows"]) == (200, 1)
    assert fed < len(body) // 10
