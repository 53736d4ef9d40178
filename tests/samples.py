"""Events, metadata and bodies that tests send: one place, so that all mean the same by an ordinary event."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable

from rrd.wire.events import Batch, check_lines
from rrd.wire.limits import Limits

LIMITS = Limits(1 << 20, 1 << 20, None, 1 << 20, 100, 256, 4096, 1 << 16)
"""Small ones: 1 MiB for an event, a document and a window; 64 KiB a batch."""


def new_id() -> str:
    """Return the id of a recording that there has never been."""
    return str(uuid.uuid4())


def dump(value: object) -> bytes:
    """Return JSON as a client writes it: without spaces, in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def an_event(timestamp: float, **data: object) -> bytes:
    """Return an incremental event, as one line without its end."""
    return dump({"type": 3, "timestamp": timestamp, "data": data})


def event(number: int, *, pad: int = 0) -> bytes:
    """Return an event with its number as its timestamp. ``pad``: so many bytes more, which compress well."""
    return an_event(number, n=number, **({"pad": "x" * pad} if pad else {}))


def tied_event(number: int, *, pad: int = 0) -> bytes:
    """Return an event that shares its timestamp with the two beside it."""
    return an_event(1000 + number // 3, n=number, **({"pad": "x" * pad} if pad else {}))


def some_events(count: int, *, start: int = 1_700_000_000_000, **data: object) -> list[bytes]:
    """Return events a millisecond apart, numbered from 0."""
    return [an_event(start + number, n=number, **data) for number in range(count)]


def meta_event(timestamp: float, **payload: object) -> bytes:
    """Return an event that sets metadata."""
    return dump({"type": 5, "timestamp": timestamp, "data": {"tag": "recording-meta", "payload": payload}})


def metadata(key: str, value: str) -> bytes:
    """Return an event that sets one key of the metadata."""
    return meta_event(1, **{key: value})


def batch(*lines: bytes) -> Batch:
    """Return lines as the decoder hands them over."""
    return check_lines(lines, LIMITS, first_line=1)


def ndjson(lines: Iterable[bytes]) -> bytes:
    """Return a body of lines, each with its end."""
    return b"".join(line + b"\n" for line in lines)


def by_time(lines: Iterable[bytes]) -> list[bytes]:
    """Return lines in a replayer's order: by timestamp, ties as they came."""
    return sorted(lines, key=lambda line: float(json.loads(line)["timestamp"]))
