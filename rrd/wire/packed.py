"""Packed events: what ``packFn: pack`` of ``@rrweb/packer`` makes of an event.

A JSON string whose characters U+0000–U+00FF are the bytes of a zlib stream (RFC 1950) of the event's
JSON, with a member ``"v":"v1"`` added.
"""

from __future__ import annotations

import json
import zlib

import msgspec
from isal import isal_zlib

_MARK = b'"v":"v1"'
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def unpack(line: bytes, *, bytes_max: int) -> bytes | None:
    """Return the event's JSON inside a packed line, without its ``v``; None if it is not one.

    Nothing larger than ``bytes_max`` is unpacked.
    """
    try:
        text = json.loads(line)
        stream = isal_zlib.decompressobj()
        event = stream.decompress(text.encode("latin-1"), bytes_max + 1)
    except (ValueError, AttributeError, zlib.error):
        return None
    if not stream.eof or len(event) > bytes_max or event[:1] != b"{":
        return None
    # The packer adds the mark last, so the event's own bytes need not be touched.
    if event.endswith(b"," + _MARK + b"}"):
        return event[: -len(_MARK) - 2] + b"}"
    try:
        members = _members.decode(event)
    except (msgspec.DecodeError, RecursionError):
        return None
    if members.pop("v", None) is None:
        return None
    return (
        b"{" + b",".join(msgspec.json.encode(key) + b":" + bytes(raw) for key, raw in members.items()) + b"}"
    )
