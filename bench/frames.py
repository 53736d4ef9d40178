"""The client's half of RFC 6455, as little of it as a load generator needs.

Plain bytes, since a client library would be busier than the server it is to load.
"""

from __future__ import annotations

import base64
import os
import re
import zlib
from typing import Any, NamedTuple

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

OFFER_AS_CHROMIUM = "permessage-deflate; client_max_window_bits"
"""Both sides keep their window from message to message (RFC 7692, 7.1)."""
OFFER_NO_TAKEOVER = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
"""Each message stands by itself: worse compressed, and no window has to be kept for a silent socket."""

_RSV1 = 0x40
_EMPTY_BLOCK = b"\x00\x00\xff\xff"

_EXTENSIONS = re.compile(rb"\r\nsec-websocket-extensions:\s*permessage-deflate([^\r\n]*)", re.IGNORECASE)
_WINDOW_BITS = re.compile(rb"client_max_window_bits=\"?(\d+)", re.IGNORECASE)


def handshake(host: str, path: str, *, offer: str = "", headers: str = "") -> bytes:
    """Return the request that opens a socket (section 4.1). The answer's accept key is not checked.

    ``offer`` is one of the ``OFFER_…``, or empty. ``headers`` are further lines, each ending in CRLF.
    """
    key = base64.b64encode(os.urandom(16)).decode()
    extensions = f"Sec-WebSocket-Extensions: {offer}\r\n" if offer else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{extensions}{headers}\r\n"
    ).encode()


def frame(payload: bytes, *, opcode: int = TEXT, is_deflated: bool = False, mask: bytes = b"") -> bytes:
    """Return one whole message, masked (section 5.2), at random unless ``mask`` gives the four bytes.

    Real masks matter: some receivers skip the work for a mask of zeros. ``is_deflated`` marks what a
    ``Deflater`` gave.
    """
    mask = mask or os.urandom(4)
    first = 0x80 | opcode | (_RSV1 if is_deflated else 0)
    return frame_head(first, len(payload)) + mask + masked(payload, mask)


def frame_head(first: int, size: int) -> bytes:
    """Return the head of a masked frame, without its mask; ``size`` is that of its payload."""
    if size < 126:
        return bytes((first, 0x80 | size))
    if size < 1 << 16:
        return bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    return bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")


def masked(data: bytes, mask: bytes) -> bytes:
    """Return ``data`` with the four bytes of ``mask`` laid over it, again and again."""
    size = len(data)
    pattern = (mask * (size // 4 + 1))[:size]
    # As one large number, since Python has no faster way to XOR bytes.
    return (int.from_bytes(data, "big") ^ int.from_bytes(pattern, "big")).to_bytes(size, "big")


class Agreed(NamedTuple):
    """What the server made of an offer of permessage-deflate."""

    takeover: bool
    """Whether our window goes on from message to message."""
    window_bits: int

    @classmethod
    def in_head(cls, head: bytes) -> Agreed | None:
        """Read the head of the answer to a handshake; None if the server would not have it."""
        found = _EXTENSIONS.search(head)
        if found is None:
            return None
        bits = _WINDOW_BITS.search(found[1])
        return cls(b"client_no_context_takeover" not in found[1].lower(), int(bits[1]) if bits else 15)


class Deflater:
    """Compresses messages as browsers do (RFC 7692, 7.2.1): zlib's default level, an empty block cut off."""

    def __init__(self, agreed: Agreed) -> None:
        if agreed.window_bits < 9:
            raise ValueError("the server wants a window of 8 bits, and zlib compresses with 9 at least")
        self._agreed = agreed
        self._stream = self._new()

    def __call__(self, payload: bytes) -> bytes:
        """Return what one message's payload compresses to."""
        data: bytes = self._stream.compress(payload) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        if not self._agreed.takeover:
            self._stream = self._new()
        return data.removesuffix(_EMPTY_BLOCK)

    def _new(self) -> Any:  # zlib doesn't name its classes.
        return zlib.compressobj(wbits=-self._agreed.window_bits)


class FrameReader:
    """Bytes from a server → its messages. A server's frames bear no mask; ours are never in fragments."""

    def __init__(self) -> None:
        self._rest = b""
        self._inflater: Any = None

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
                payload = self._inflated(payload)
            messages.append((data[start] & 0x0F, payload))
            start = limit
        self._rest = data[start:]
        return messages

    def _inflated(self, payload: bytes) -> bytes:
        # One window for all: a server that keeps none never looks back beyond a message's begin.
        if self._inflater is None:
            self._inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        inflated: bytes = self._inflater.decompress(payload + _EMPTY_BLOCK)
        return inflated
