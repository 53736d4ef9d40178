"""Checks the opening handshake of a WebSocket (RFC 6455, 4.2.1), so that a refusal says what is missing.

aiohttp checks the same, and answers in plain text.
"""

from __future__ import annotations

import base64
import binascii

from aiohttp import HttpVersion11, hdrs, web

from rrd.errors import BadRequest, UpgradeRequired

_VERSIONS = ("13", "8", "7")
"""Versions that aiohttp speaks: the last two differ from 13 in no byte on the wire after the handshake."""

_KEY_BYTES = 16


def check_upgrade(request: web.Request) -> None:
    """Check that ``request`` opens a WebSocket. Raises ``BadRequest`` and ``UpgradeRequired`` (426)."""
    headers = request.headers
    if hdrs.UPGRADE not in headers:
        raise BadRequest(
            "this path takes WebSockets, and the request has no Upgrade: websocket; to send events by POST, "
            "leave the /ws out",
            code="not_a_websocket",
        )
    if headers[hdrs.UPGRADE].strip().lower() != "websocket":
        raise BadRequest("this path takes WebSockets: send Upgrade: websocket", code="not_a_websocket")
    if request.version < HttpVersion11:
        raise BadRequest("a WebSocket needs HTTP/1.1 (RFC 6455, 4.1)", code="not_a_websocket")
    tokens = ",".join(headers.getall(hdrs.CONNECTION, [])).split(",")
    if "upgrade" not in {token.strip().lower() for token in tokens}:
        raise BadRequest(
            "the request says Upgrade: websocket without Connection: Upgrade; a proxy has to pass both on",
            code="not_a_websocket",
        )
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


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key)) == _KEY_BYTES
    except (binascii.Error, ValueError):  # The latter if it isn't even ASCII.
        return False
