"""The client's half of RFC 6455, as little of it as a load generator needs.

Plain bytes, since a client library would be busier than the server it is to load.
"""

from __future__ import annotations

import base64
import os
import zlib

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA


_RSV1 = 0x40
_EMPTY_BLOCK = b"\x00\x00\xff\xff"


def handshake(host: str, path: str, *, deflate: bool = False) -> bytes:
    """Return the request that opens a socket (section 4.1). The answer's accept key is not checked.

    ``deflate`` offers permessage-deflate as browsers do, but asks the server to compress each message by
    itself, so that no state is needed here to read them (RFC 7692, 7.1.1.1).
    """
    key = base64.b64encode(os.urandom(16)).decode()
    offer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n" if deflate else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    ).encode()


def frame(payload: bytes, *, opcode: int = TEXT, deflate: bool = False) -> bytes:
    """Return one whole message, masked at random (section 5.2), compressed by itself with ``deflate``.

    Real masks matter: some receivers skip the work for a mask of zeros.
    """
    if deflate:
        compressor = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)
        payload = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        payload = payload.removesuffix(_EMPTY_BLOCK)
        opcode |= _RSV1
    mask = os.urandom(4)
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    # As one large number, since Python has no faster way to XOR bytes.
    pattern = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")
    return head + mask + masked.to_bytes(size, "big")


class FrameReader:
    """Bytes from a server → its messages. A server's frames bear no mask; ours are never in fragments."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the whole messages so far, as (opcode, payload)."""
        data = self._rest + data if self._rest else data
        messages: list[tuple[int, bytes]] = []
        start = 0
        while len(data) - start >= 2:
            size, head = data[start + 1] & 0x7F, 2
            if size == 126:
                size, head = int.from_bytes(data[start + 2 : start + 4], "big"), 4
            elif size == 127:
                size, head = int.from_bytes(data[start + 2 : start + 10], "big"), 10
            limit = start + head + size
            if len(data) < limit or len(data) < start + head:
                break
            payload = data[start + head : limit]
            if data[start] & _RSV1:
                payload = zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(payload + _EMPTY_BLOCK)
            messages.append((data[start] & 0x0F, payload))
            start = limit
        self._rest = data[start:]
        return messages
