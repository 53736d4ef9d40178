"""Packed events: what ``packFn: pack`` of ``@rrweb/packer`` makes of an event.

A JSON string whose characters U+0000–U+00FF are the bytes of a zlib stream (RFC 1950) of the event's
JSON, with a member ``"v":"v1"`` added.
"""

from __future__ import annotations

import msgspec
from isal import isal_zlib

from rrd.wire.inflate import ISAL_ERRORS
from rrd.wire.values import members, one_line

_MARK = b'"v":"v1"'
_string = msgspec.json.Decoder(str)


def unpack(line: bytes, *, bytes_max: int) -> bytes | None:
    """Return the event's JSON inside a packed line, without its ``v``; None if it is not one.

    Nothing larger than ``bytes_max`` is unpacked. Like any other line's, the event's bytes are still
    to be checked; only line feeds are taken out.
    """
    try:
        stream = isal_zlib.decompressobj()
        event: bytes = stream.decompress(_string.decode(line).encode("latin-1"), bytes_max + 1)
    except (msgspec.DecodeError, UnicodeError, *ISAL_ERRORS):
        return None
    if not stream.eof or stream.unused_data or len(event) > bytes_max or event[:1] != b"{":
        return None
    unmarked = _without_mark(event)
    return one_line(unmarked) if unmarked is not None else None


def _without_mark(event: bytes) -> bytes | None:
    # The packer adds the mark last.
    if event.endswith(b"," + _MARK + b"}"):
        return event[: -len(_MARK) - 2] + b"}"
    for member in members(event, 0):
        if member.name == b"v" and event[member.value : member.limit] == b'"v1"':
            before, behind = event[: member.start], event[member.limit :]
            # A member brings its comma along, but the first has none.
            return before + (behind.lstrip().removeprefix(b",") if before == b"{" else behind)
    return None
