"""Text whose type says nothing: its first bytes tell whether it is a JSON document or NDJSON.

``sendBeacon`` of a string, ``curl -d`` and a socket without ``contentType`` send any of the forms under a
type that says nothing. An array, and an object that begins with ``"events":[``, are documents. So is a value
that goes on behind its first line break, as pretty-printers write it: no line of NDJSON ends in ``{``, ``[``
or a comma.
Documents on one line need not be found here: ``events`` takes them as lines.
"""

from __future__ import annotations

import re
from typing import Literal

from rrd.wire.values import skip_space

Form = Literal["ndjson", "json"]

BOM = b"\xef\xbb\xbf"
"""A byte order mark in UTF-8. Some senders write one before a text."""

HEAD_BYTES = 4 << 10
"""So many bytes decide."""

_WRAPPER = re.compile(rb'\{\s*+"events"\s*+:\s*+\[')


def form_of(head: bytes, *, is_whole: bool) -> Form | None:
    """Return the form of a text that begins with ``head``; None if more of it is needed.

    ``is_whole``: no more will come. From ``HEAD_BYTES`` on it always tells.
    """
    is_whole = is_whole or len(head) >= HEAD_BYTES
    if not is_whole and len(head) < len(BOM) and BOM.startswith(head):
        return None
    start = skip_space(head, len(BOM) if head.startswith(BOM) else 0)
    opening = head[start : start + 1]
    if opening == b"[":
        return "json"
    if opening == b"{":
        if _WRAPPER.match(head, start):
            return "json"
        limit = head.find(b"\n", start)
        if limit >= 0:
            return "json" if head[start:limit].rstrip()[-1:] in {b"{", b"[", b","} else "ndjson"
    elif opening:
        return "ndjson"
    return "ndjson" if is_whole else None


def begins_document(message: bytes | bytearray) -> bool:
    """Tell whether a whole text is a JSON document that may stand on several lines."""
    return form_of(bytes(message[:HEAD_BYTES]), is_whole=True) == "json"
