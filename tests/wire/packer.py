"""``@rrweb/packer`` in Python.

Method: its ``pack`` is ``strFromU8(zlibSync(strToU8(JSON.stringify({...event, v: "v1"}))), true)`` with
fflate's functions. ``strFromU8(…, true)`` makes each byte a character, and the sender's ``JSON.stringify``
makes a JSON string of that. Python's zlib may compress otherwise than fflate; the format is the same
(RFC 1950).
"""

from __future__ import annotations

import json
import zlib


def pack(event: bytes, *, level: int = 6) -> bytes:
    """Pack an event's JSON: ``v`` is added behind the last member."""
    return as_line(zlib.compress(event[:-1] + b',"v":"v1"}', level))


def as_line(stream: bytes) -> bytes:
    """The bytes as characters of a JSON string, escaped as ``JSON.stringify`` does."""
    return json.dumps(stream.decode("latin-1"), ensure_ascii=False).encode()
