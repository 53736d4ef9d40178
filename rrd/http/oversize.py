"""How a message begins that is refused before it is received: found in the bytes that were just read.

A frame says its size before its payload (RFC 6455, 5.2), so a message that is too large is refused there, and
its payload is never gathered. What has come of it with its head is enough to see later what it was.
"""

from __future__ import annotations

from itertools import cycle

HEAD_BYTES_KEPT = 4096
"""How much of what can't be decoded is kept in quarantine."""

_MASK_BYTES = 4


def beginning_of_oversize(data: bytes, *, message_bytes_max: int) -> bytes:
    """Return the first bytes, unmasked, of the first message in ``data`` of ``message_bytes_max`` or more.

    ``data``: frames of a client from the beginning of one. Empty if there is no such message, or ``data``
    begins in the middle of a frame.
    """
    start = 0
    while start + 2 <= len(data):
        opcode, flag = data[start] & 0x0F, data[start + 1]
        if data[start] & 0x30 or opcode not in {0, 1, 2, 8, 9, 10} or not flag & 0x80:
            return b""
        size, start = flag & 0x7F, start + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(data[start : start + width], "big"), start + width
        mask, start = data[start : start + _MASK_BYTES], start + _MASK_BYTES
        if size >= message_bytes_max:
            payload = data[start : start + min(size, HEAD_BYTES_KEPT)]
            return bytes(byte ^ key for byte, key in zip(payload, cycle(mask), strict=False))
        start += size
    return b""
