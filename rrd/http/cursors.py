"""The cursor of a walk over a recording's events: where the page before ended, and what belongs to the walk.

It is opaque to clients, and good for as long as the recording is there: it names no file, so events may be
sealed, rolled up and evicted meanwhile. What it says is in nobody's way but the caller's, who may read all of
the recording; its digest tells a damaged one, and one of another recording.
"""

from __future__ import annotations

import base64
import math
import struct
from hashlib import blake2b
from typing import NamedTuple

from rrd.errors import BadRequest
from rrd.index.rows import RecordingRow
from rrd.playback.table import Between

_VERSION = 1
_FIELDS = struct.Struct("<BQdQddd")
_DIGEST_BYTES = 8
_TEXT_BYTES = (_FIELDS.size + _DIGEST_BYTES) // 3 * 4


class Cursor(NamedTuple):
    """A place in playback order, and the walk that it is of. Times in ms."""

    as_of: int
    """Number of the last event that there was when the walk began: later ones are not in it."""
    timestamp: float
    seq: int
    """Timestamp and number of the event behind which it goes on."""
    start: float
    limit: float
    """``from`` and ``to`` of the walk."""
    at: float | None
    """``at`` of the walk."""

    @property
    def rest(self) -> Between:
        """What is left of the walk."""
        return Between(self.timestamp, self.limit, self.seq + 1, 0, self.as_of + 1)


def encode_cursor(cursor: Cursor, row: RecordingRow) -> str:
    """Return a cursor of a recording as text: letters, digits, ``-`` and ``_``."""
    at = math.nan if cursor.at is None else cursor.at
    data = _FIELDS.pack(_VERSION, *cursor[:-1], at)
    return base64.urlsafe_b64encode(data + _digest(data, row)).decode()


def decode_cursor(text: str, row: RecordingRow) -> Cursor:
    """Read what ``encode_cursor`` made. Raises ``BadRequest`` if it is not of this recording and version."""
    try:
        data = base64.urlsafe_b64decode(text) if text.isascii() and len(text) == _TEXT_BYTES else b""
    except ValueError:
        data = b""
    fields, digest = data[: _FIELDS.size], data[_FIELDS.size :]
    if not data or data[0] != _VERSION or digest != _digest(fields, row):
        raise BadRequest(
            "cursor is damaged, or another recording's: take it from the Link header of the page before",
            parameter="cursor",
        )
    _, as_of, timestamp, seq, start, limit, at = _FIELDS.unpack(fields)
    return Cursor(as_of, timestamp, seq, start, limit, None if math.isnan(at) else at)


def _digest(data: bytes, row: RecordingRow) -> bytes:
    # Not the row's number, which is another one once the index was rebuilt.
    whose = "\n".join((row.tenant, row.recording_id, str(row.created_ms)))
    return blake2b(data + whose.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
