"""Events as other tools keep them → events as rrweb makes them.

- The **rrweb web extension** exports ``{"session":{"id","name","tags",…},"events":[…]}``.
- **PostHog** compresses parts of an event: a string of the code points U+0000 to U+00FF, which are the bytes
  of a gzip stream of the part's JSON, and says so by ``"cv":"2024-10"`` at the top level.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

from rrd.wire.values import without_lone_surrogates

_COMPRESSED_MARK = re.compile(rb'"cv"\s*:\s*"2024-10"')
_COMPRESSED_PARTS = ("texts", "attributes", "removes", "adds")
_GZIP = "\x1f\x8b"
_PACKED = (b'"x\xc2\x9c', b'"x\\u009c')
"""How a packed event begins: a JSON string whose characters are the bytes of a zlib stream."""

_INCREMENTAL = 3
_GZIP_WBITS = 31


def is_packed(value: bytes) -> bool:
    """Tell whether a JSON string is a packed event (``@rrweb/packer``)."""
    return value.startswith(_PACKED)


def unquoted(value: bytes) -> str | None:
    """Return the text of a JSON string; None if it is none."""
    try:
        found = json.loads(without_lone_surrogates(value))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def session_event(value: bytes) -> tuple[str | None, bytes | None]:
    """Read what the web extension says of a session: its id, and its name and tags as ``recording-meta``."""
    try:
        session = json.loads(value)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(session, dict):
        return None, None
    found = {"sessionId": session.get("id"), "name": session.get("name"), "tags": session.get("tags")}
    payload = {key: content for key, content in found.items() if content not in (None, "", [])}
    if not payload:
        return None, None
    created = session.get("createTimestamp")
    event = {
        "type": 5,
        "timestamp": created if isinstance(created, int) else 0,
        "data": {"tag": "recording-meta", "payload": payload},
    }
    name = session.get("id")
    return (name if isinstance(name, str) else None), json.dumps(event).encode()


def decompressed(line: bytes, *, bytes_max: int) -> bytes:
    """Return an event whose parts PostHog compressed as rrweb made it; any other line as it is.

    A part that can't be read, or is larger than ``bytes_max`` when decoded, leaves the line as it is.
    """
    if b'"cv"' not in line or not _COMPRESSED_MARK.search(line):
        return line
    try:
        event = json.loads(line)
        if event.pop("cv", None) != "2024-10":
            return line
        data = event.get("data")
        if isinstance(data, dict) and event.get("type") == _INCREMENTAL:
            for name in _COMPRESSED_PARTS:
                if name in data:
                    data[name] = _part(data[name], bytes_max)
        else:
            event["data"] = _part(data, bytes_max)
    except (ValueError, AttributeError, RecursionError, zlib.error):
        return line
    return json.dumps(event, separators=(",", ":")).encode()


def _part(value: Any, bytes_max: int) -> Any:
    if not isinstance(value, str) or not value.startswith(_GZIP):
        return value
    stream = zlib.decompressobj(_GZIP_WBITS)
    text = stream.decompress(value.encode("latin-1"), bytes_max)
    if not stream.eof:
        raise ValueError("cut off, or too large")
    return json.loads(text)
