"""Text whose type says nothing: its first bytes tell whether it is a JSON document or NDJSON.

``sendBeacon`` of a string, ``curl -d`` and a socket without ``contentType`` send any of the forms under a
type that says nothing. An array, and an object with ``"events":[`` on its first line, are documents. So is a
value that goes on behind its first line break, as pretty-printers write it: no line of NDJSON ends in ``{``,
``[``, a colon or a comma.
Documents on one line need not be found here: ``events`` takes them as lines.
"""

from __future__ import annotations

from typing import Literal

from rrd.wire.values import members, plain_name, skip_space

Form = Literal["ndjson", "json"]

BOM = b"\xef\xbb\xbf"
"""A byte order mark in UTF-8. Some senders write one before a text."""

HEAD_BYTES = 4 << 10
"""So many bytes decide."""

_NUMBER_FIRST = {bytes([first]) for first in b"-0123456789"}
_GOES_ON = {b"{", b"[", b":", b","}


def form_of(head: bytes, *, is_whole: bool) -> Form | None:
    """Return the form of a text that begins with ``head``; None if more of it is needed.

    ``is_whole``: no more will come. From ``HEAD_BYTES`` on it always tells.
    """
    is_whole = is_whole or len(head) >= HEAD_BYTES
    head = head[:HEAD_BYTES]  # So that it doesn't depend on how much has come.
    if not is_whole and len(head) < len(BOM) and BOM.startswith(head):
        return None
    start = skip_space(head, len(BOM) if head.startswith(BOM) else 0)
    opening = head[start : start + 1]
    if opening == b"[":
        return "json"
    if opening == b"{":
        line, line_feed, _ = head[start:].partition(b"\n")
        if _begins_events(line) or (line_feed and line.rstrip()[-1:] in _GOES_ON):
            return "json"
        is_whole = is_whole or bool(line_feed)
    elif opening:
        return "ndjson"
    return "ndjson" if is_whole else None


def _begins_events(line: bytes) -> bool:
    """Tell whether an object has ``"events":[`` on its first line, and no number for its type before."""
    if b'"events"' not in line:
        return False
    for member in members(line, 0):
        name, first = plain_name(member.name), line[member.value : member.value + 1]
        if (name == b"events" and first == b"[") or (name == b"type" and first in _NUMBER_FIRST):
            return name == b"events"
    return False


def begins_document(message: bytes | bytearray) -> bool:
    """Tell whether a whole text is a JSON document that may stand on several lines."""
    return form_of(bytes(message[:HEAD_BYTES]), is_whole=True) == "json"
