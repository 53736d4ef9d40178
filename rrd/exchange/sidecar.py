"""``{recordingId}.meta.json``: what an export says about a recording, beside the file of its events.

It is written after that file, so a recording whose sidecar is there is whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TypedDict

import msgspec

from rrd.exchange.origins import metadata_line
from rrd.index.rows import MetadataRow

FORMAT = "rrd-export-1"
EVENTS_SUFFIX = ".ndjson.zst"
META_SUFFIX = ".meta.json"
SIDECAR_BYTES_MAX = 16 << 20
"""A recording may have a hundred values of metadata, each of some kilobytes, or more by its settings."""


class MetadataValue(TypedDict):
    key: str
    value: str
    version: int
    timestamp: int


class Sidecar(msgspec.Struct, frozen=True, kw_only=True, rename={"recording_id": "recording"}):
    """One exported recording."""

    tenant: str
    recording_id: str
    created_ms: int
    stored_events: int
    """Events that the recording had."""
    events: int
    """Those in the file: fewer with ``between``."""
    raw_bytes: int
    """Their lines, decoded."""
    size: int
    """The file's."""
    between: tuple[float | None, float | None]
    """The range of timestamps (ms, half-open) that was asked for."""
    metadata: list[MetadataValue]
    missing_events: int = 0
    """Damaged or lost ones, left out by ``--salvage``."""


def metadata_of(rows: list[MetadataRow]) -> list[MetadataValue]:
    return [
        MetadataValue(key=row.key, value=row.value, version=row.version, timestamp=row.at_ms) for row in rows
    ]


def encode_sidecar(sidecar: Sidecar) -> bytes:
    """Return the file's content."""
    # Not msgspec: visitors' text may hold lone surrogates, which only escapes can write.
    text = json.dumps({"format": FORMAT, **msgspec.to_builtins(sidecar)}, indent=1)
    return text.encode() + b"\n"


def sidecar_path(events_path: str) -> str:
    return events_path.removesuffix(EVENTS_SUFFIX) + META_SUFFIX


def read_sidecar(events_path: str) -> Sidecar | None:
    """Return what is said about a file of events; None if nothing is, or it is not this file any more."""
    sidecar = _read(events_path)
    return sidecar if sidecar is not None and os.path.getsize(events_path) == sidecar.size else None


def exported_recording(events_path: str) -> str | None:
    """Return the recording that a file of an export is of, even if it has been cut off since."""
    sidecar = _read(events_path)
    return sidecar.recording_id if sidecar is not None else None


def _read(events_path: str) -> Sidecar | None:
    if not events_path.endswith(EVENTS_SUFFIX):
        return None
    try:
        with open(sidecar_path(events_path), "rb") as reader:
            found = json.loads(reader.read(SIDECAR_BYTES_MAX))
        if found.pop("format") != FORMAT:
            return None
        return msgspec.convert(found, Sidecar)
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, AttributeError):
        return None


def metadata_events(sidecar: Sidecar) -> Iterator[bytes]:
    """Yield a recording's metadata as ``recording-meta`` lines: the same ones each time.

    ``includePii`` goes first: a daemon that takes it for a permission adds what it knows of this sender, and
    what was known of the visitor is then put over it.
    """
    values = {row["key"]: row["value"] for row in sidecar.metadata}
    first = {key: values.pop(key) for key in ("includePii",) if key in values}
    for payload in (first, values):
        if payload:
            yield metadata_line(payload, sidecar.created_ms)
