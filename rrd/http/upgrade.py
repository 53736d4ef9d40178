"""The opening handshake of a WebSocket (RFC 6455, 4.2): checked, so that a refusal says what is missing, and
answered.

aiohttp checks the same, and answers in plain text. Its way to a response of 101 costs several times what the
checks do.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.helpers import rfc822_formatted_time
from multidict import CIMultiDict

from rrd.errors import BadRequest, UpgradeRequired
from rrd.http.cors import ORIGIN_CHARS_MAX
from rrd.http.problems import add_owed_headers

_VERSIONS = ("13", "8", "7")
"""Versions that aiohttp speaks: the last two differ from 13 in no byte on the wire after the handshake."""

_KEY_BYTES = 16
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""Shows that the server has understood the handshake (RFC 6455, 1.3)."""


def check_upgrade(request: web.Request) -> None:
    """Check that ``request`` opens a WebSocket. Raises ``BadRequest`` and ``UpgradeRequired`` (426)."""
    headers = request.headers
    if hdrs.UPGRADE not in headers:
        raise BadRequest(
            "this path takes WebSockets, and the request has no Upgrade: websocket; to send events by POST, "
            "leave the /ws out",
            code="not_a_websocket",
        )
    upgrade = headers[hdrs.UPGRADE]
    if upgrade.lower() != "websocket" or not upgrade.isascii():  # U+212A is a k in lower case.
        raise BadRequest("this path takes WebSockets: send Upgrade: websocket", code="not_a_websocket")
    if request.version < HttpVersion11:
        raise BadRequest("a WebSocket needs HTTP/1.1 (RFC 6455, 4.1)", code="not_a_websocket")
    if not request._message.upgrade:  # As the parser has read ``Connection``: only then it stops behind it.
        raise BadRequest(
            "the request says Upgrade: websocket without Connection: Upgrade; a proxy has to pass both on",
            code="not_a_websocket",
        )
    if request.body_exists:  # It would be taken for frames, or kept as long as the socket.
        raise BadRequest("a request that opens a WebSocket has no body", code="not_a_websocket")
    version = headers.get(hdrs.SEC_WEBSOCKET_VERSION, "").strip()
    if version not in _VERSIONS:
        has = "another Sec-WebSocket-Version" if version else "no Sec-WebSocket-Version"
        raise UpgradeRequired(f"the request has {has}; this server speaks version 13")
    keys = headers.getall(hdrs.SEC_WEBSOCKET_KEY, [])
    if not keys:
        raise BadRequest("the request has no Sec-WebSocket-Key", code="bad_websocket_key")
    if len(keys) > 1 or not _is_key(keys[0]):
        raise BadRequest(
            f"Sec-WebSocket-Key must be there once, and be {_KEY_BYTES} bytes in Base64",
            code="bad_websocket_key",
        )


def switching(request: web.BaseRequest, *, extensions: str | None) -> bytes:
    """Return the head of the response that opens a socket (RFC 6455, 4.2.2), to a request that was checked.

    ``extensions``: those that are agreed on, if any.
    """
    accept = hashlib.sha1(request.headers[hdrs.SEC_WEBSOCKET_KEY].encode() + _GUID, usedforsecurity=False)
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        f"Sec-WebSocket-Accept: {base64.b64encode(accept.digest()).decode()}\r\n"
        f"Date: {rfc822_formatted_time()}\r\n"
    )
    if extensions is not None:
        head += f"Sec-WebSocket-Extensions: {extensions}\r\n"
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and len(origin) > ORIGIN_CHARS_MAX:
        origin = None  # It is answered so, and must not be kept.
    return b"%b%b\r\n" % (head.encode(), _owed(origin))


def forget_head(request: web.Request) -> None:
    """Let go of the header fields of a handshake that is answered, which ``framing`` has made mutable.

    The request stays as long as its socket, and they take 3 KiB.
    """
    if isinstance(request.headers, CIMultiDict):
        request.headers.clear()


@functools.lru_cache(64)  # Of up to 4 KiB each.
def _owed(origin: str | None) -> bytes:
    response = web.StreamResponse()
    add_owed_headers(response, origin)
    return "".join([f"{name}: {value}\r\n" for name, value in response.headers.items()]).encode()


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key)) == _KEY_BYTES
    except (binascii.Error, ValueError):  # The latter if it isn't even ASCII.
        return False
