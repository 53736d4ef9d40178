"""Bad handshakes of sockets are refused at once, in JSON that says what is missing (RFC 6455, 4.2.1)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import tracemalloc
from collections.abc import Callable

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict, CIMultiDictProxy

from rrd.errors import UnsupportedType
from rrd.http.caller import client_address, encoding_of, kind_of
from rrd.http.framing import Framing
from rrd.http.upgrade import switching
from tests.harness import until
from tests.http.api import JSON, VISITOR, Api
from tests.http.raw_client import Connection, Socket
from tests.samples import new_id

GOOD = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}


def _with(**changes: str | None) -> dict[str, str]:
    changed = GOOD | {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in changed.items() if value is not None}


@pytest.mark.parametrize(
    ("headers", "status", "code", "says"),
    [
        (_with(Upgrade=None), 400, "not_a_websocket", "Upgrade: websocket"),
        (_with(Upgrade="h2c"), 400, "not_a_websocket", "Upgrade: websocket"),
        (_with(Connection=None), 400, "not_a_websocket", "Connection: Upgrade"),
        (_with(Connection="keep-alive"), 400, "not_a_websocket", "Connection: Upgrade"),
        (_with(Connection="close"), 400, "not_a_websocket", "Connection: Upgrade"),
        # The parser of heads goes by ASCII alone, and goes on to find requests behind these.
        (_with(Connection="Upgrade\u00a0"), 400, "not_a_websocket", "Connection: Upgrade"),
        (_with(Connection="keep-alive,\u2003Upgrade"), 400, "not_a_websocket", "Connection: Upgrade"),
        (_with(Upgrade="websoc\u212aet"), 400, "not_a_websocket", "Upgrade: websocket"),
        (_with(Upgrade="websocket\u00a0"), 400, "not_a_websocket", "Upgrade: websocket"),
        (_with(Content_Length="3"), 400, "not_a_websocket", "no body"),
        (_with(Transfer_Encoding="chunked"), 400, "not_a_websocket", "no body"),
        (_with(Sec_WebSocket_Key=None), 400, "bad_websocket_key", "no Sec-WebSocket-Key"),
        (_with(Sec_WebSocket_Key=""), 400, "bad_websocket_key", "16 bytes"),
        (_with(Sec_WebSocket_Key="abc"), 400, "bad_websocket_key", "16 bytes"),
        (_with(Sec_WebSocket_Key="dG9vIHNob3J0"), 400, "bad_websocket_key", "16 bytes"),
        (_with(Sec_WebSocket_Key="Schl\u00fcssel"), 400, "bad_websocket_key", "16 bytes"),
        (_with(Sec_WebSocket_Version=None), 426, "websocket_version", "version 13"),
        (_with(Sec_WebSocket_Version="12"), 426, "websocket_version", "version 13"),
        (_with(Sec_WebSocket_Version="0"), 426, "websocket_version", "version 13"),
        (_with(Sec_WebSocket_Version="thirteen"), 426, "websocket_version", "version 13"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", ["/recordings/{id}/ingest/ws", "/recordings/{id}/events/ws", "/ws"])
async def test_a_bad_handshake_is_told_what_is_wrong(
    api: Api, headers: dict[str, str], status: int, code: str, says: str, path: str
) -> None:
    connection = await Connection.open(api.daemon.url)
    connection.send_head(
        "GET", path.replace("{id}", new_id()), {"Authorization": f"Bearer {api.key}", **VISITOR, **headers}
    )
    reply = await connection.reply()
    await connection.hang_up()
    assert reply.status == status
    assert reply.headers["content-type"].startswith(JSON)
    assert reply.headers["access-control-allow-origin"] == "*"
    error = reply.json()["error"]
    assert error["code"] == code
    assert says in error["message"]
    if status == 426:
        assert reply.headers["sec-websocket-version"] == "13"
        assert reply.headers["upgrade"] == "websocket"
        assert reply.headers["connection"].lower() == "upgrade"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD"])
async def test_a_handshake_by_another_method_is_told_so(api: Api, method: str) -> None:
    connection = await Connection.open(api.daemon.url)
    connection.send_head(
        method, f"/recordings/{new_id()}/ingest/ws", {"Authorization": f"Bearer {api.key}", **VISITOR, **GOOD}
    )
    reply = await connection.reply(method=method)
    await connection.hang_up()
    assert reply.status == 405
    assert "GET" in reply.headers["allow"]
    if method != "HEAD":
        assert reply.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("behind", [b"", b"\x81\x80" + bytes(4)], ids=["alone", "with a frame behind"])
@pytest.mark.parametrize("cut", [None, 1, 100], ids=["whole", "cut early", "cut late"])
async def test_what_a_handshake_said_is_let_go_when_the_socket_is_open(
    api: Api, cut: int | None, behind: bytes
) -> None:
    marker = "let-go-" + new_id()
    socket = Socket(*await asyncio.open_connection("127.0.0.1", api.daemon.port))
    head = _head(api, {**GOOD, "X-Long": marker}) + behind
    if cut is not None:
        socket.writer.write(head[:cut])
        await asyncio.sleep(0.02)
    socket.writer.write(head[cut or 0 :])
    del head
    assert (await socket.reply()).status == 101
    await socket.send_text(b'{"type":3,"timestamp":1}')
    await until(
        lambda: not [each for each in gc.get_objects() if _holds(each, marker)],
        what="what the handshake said to be let go",
    )
    assert (await socket.finish()).code == 1000


def _head(api: Api, headers: dict[str, str]) -> bytes:
    fields = {"Host": "rrd.test", "Authorization": f"Bearer {api.key}", **VISITOR, **headers}
    lines = [f"GET /recordings/{new_id()}/ingest/ws HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def _holds(each: object, marker: str) -> bool:
    """Tell whether a text that ``each`` holds, itself or in a tuple, has ``marker`` in it."""
    if isinstance(each, CIMultiDict | CIMultiDictProxy):
        each = list(each.values())
    if isinstance(each, Framing):
        each = [getattr(each, name) for name in Framing.__slots__]
    if not isinstance(each, list | tuple):
        return False
    texts = [text for item in each for text in (item if isinstance(item, tuple) else [item])]
    return any(
        (isinstance(text, str) and text is not marker and marker in text)
        or (isinstance(text, bytes | bytearray) and marker.encode() in text)
        for text in texts
    )


async def test_a_connection_goes_on_after_a_refused_handshake(api: Api) -> None:
    connection = await Connection.open(api.daemon.url)
    for _ in range(2):
        connection.send_head(
            "GET",
            f"/recordings/{new_id()}/ingest/ws",
            {"Authorization": f"Bearer {api.key}", **VISITOR, **_with(Sec_WebSocket_Version="12")},
        )
    assert [(await connection.reply()).status for _ in range(2)] == [426, 426]
    await connection.hang_up()


@pytest.mark.parametrize(
    "offer", ["rrweb", "rrweb, token.ak_A_SECRET_IN_A_SUBPROTOCOL", "%s %r", "ak_A_SECRET_IN_A_SUBPROTOCOL"]
)
async def test_subprotocols_are_not_chosen_and_never_logged(api: Api, logged: list[str], offer: str) -> None:
    socket = await api.socket(new_id(), headers={"Sec-WebSocket-Protocol": offer})
    assert isinstance(socket, Socket)
    assert "sec-websocket-protocol" not in socket.headers
    assert (await socket.finish()).code == 1000
    log = "\n".join(logged)
    for secret in ("A_SECRET_IN_A_SUBPROTOCOL", "rrweb,", "127.0.0.1", *VISITOR.values()):
        assert secret not in log


@pytest.mark.parametrize(
    "read",
    [
        lambda text: switching(
            make_mocked_request("GET", "/", {"Origin": f"https://{text}", "Sec-WebSocket-Key": "x"}),
            extensions=None,
        ),
        lambda text: kind_of(f"application/json;{text}"),
        lambda text: kind_of(f"application/{text}+json"),
        lambda text: encoding_of(f"gzip{' ' * len(text)},identity{' ' * int(text[:9])}"),
        lambda text: client_address("127.0.0.1", [text], ("127.0.0.0/8",)),
    ],
    ids=["origin", "parameters of a content type", "content type", "content encoding", "addresses"],
)
def test_of_what_is_read_once_for_all_nothing_long_is_kept(read: Callable[[str], object]) -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(100):
            with contextlib.suppress(UnsupportedType):
                read(f"{number:09}" + "x" * 30_000)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 100_000
