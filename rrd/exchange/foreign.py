"""Files that hold no events, by their first bytes: what they are, and what would help."""

from __future__ import annotations

import re
from typing import NamedTuple

from rrd.errors import WireError

_NO_EVENTS = "it holds no rrweb events"
_OWN_FORMAT = "its recorder has a format of its own, which no rrweb player reads"
_UNPACK = "unpack it, and import what is in it"
_CONVERT = "export its rows of events as JSON, and import that"


class ForeignFile(WireError):
    """A file of a format that holds no events."""

    code = "foreign_format"


class _Known(NamedTuple):
    pattern: bytes
    text: str
    """What it is, and what to do."""
    is_sure: bool = True
    """Nothing that holds events begins so. Otherwise the file is read, and only then explained."""


_KNOWN = (
    _Known(
        rb'\s*\{\s*"log"\s*:\s*\{\s*"(?:version|creator|browser|pages|entries)"',
        f"a HAR file, a log of HTTP requests: {_NO_EVENTS}. Save the body of the request that loaded the "
        "recording, and import that",
    ),
    _Known(rb'\s*\{\s*"traceEvents"\s*:', f"a performance trace of Chrome: {_NO_EVENTS}"),
    _Known(
        rb'\s*\{\s*"sources"\s*:\s*\[',
        "PostHog's list of a recording's snapshots: download what it names, and import that",
        is_sure=False,
    ),
    _Known(
        rb'\s*\{[^\n]*"(?:event_id|sent_at|dsn)"[^\n]*\n\{[^\n]*"type"\s*:\s*"replay_',
        "an envelope of Sentry's SDK: download the recording's segments from Sentry's API "
        "(recording-segments/?download), and import these",
        is_sure=False,
    ),
    _Known(
        rb'.{0,4096}"(?:tp"\s*:\s*"[A-Z]|sessionID"\s*:.{0,4096}"projectID")',
        f"a session of OpenReplay: {_OWN_FORMAT}",
        is_sure=False,
    ),
    _Known(rb'.{0,4096}"(?:lr\.|recordingID"\s*:)', f"a session of LogRocket: {_OWN_FORMAT}", is_sure=False),
    _Known(rb'\s*\{\s*"(?:envelope|e)"\s*:\s*\[', f"data of Microsoft Clarity: {_OWN_FORMAT}", is_sure=False),
    _Known(
        rb'.{0,4096}"(?:H4sI|eJ[wyxz]|eN[oqrp])[A-Za-z0-9+/]{8}',
        "JSON with text in it that is packed and in base64: decode it, and import what comes out",
        is_sure=False,
    ),
    _Known(
        rb"\s*(?:H4sI|eJ[wyxz]|eN[oqrp]|KLUv/)[A-Za-z0-9+/=]{8}",
        "packed text in base64: decode it (base64 -d), and import what comes out",
        is_sure=False,
    ),
    _Known(
        rb'\s*\{\s*"(?:detail|error|errors|message|status)"\s*:',
        "an error that an API answered with: check the key and the address that it was downloaded with",
        is_sure=False,
    ),
    _Known(rb'\s*\{\s*"resourceSpans"\s*:', f"an OpenTelemetry export: {_NO_EVENTS}"),
    _Known(rb'\s*\{[^{}]*"mappings"\s*:\s*"', f"a source map: {_NO_EVENTS}", is_sure=False),
    _Known(
        rb'\s*\{\s*"recordings"\s*:\s*\[\s*\{\s*"recordingId"',
        "a list of recordings, without their events: fetch /recordings/{id}/events for each",
    ),
    _Known(
        rb"\s*<(?:!doctype|!--|html|\?xml|svg|head|body)",
        f"a page (HTML or XML): {_NO_EVENTS}. Save the file that a player's page loads instead",
    ),
    _Known(
        rb"PK\x03\x04|.{257}ustar", "an archive inside another one, or on stdin: unpack it, or name the file"
    ),
    _Known(rb"%PDF-", f"a PDF: {_NO_EVENTS}"),
    _Known(
        rb"....ftyp|\x1a\x45\xdf\xa3|OggS|RIFF....AVI ", f"a video: {_NO_EVENTS}, and none can be made of it"
    ),
    _Known(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP", f"an image: {_NO_EVENTS}"),
    _Known(rb"SQLite format 3\x00", f"an SQLite database: {_CONVERT}"),
    _Known(rb"PAR1", f"a Parquet file: {_CONVERT}"),
    _Known(rb"Obj\x01", f"an Avro file: {_CONVERT}"),
    _Known(rb"\xff\x06\x00\x00sNaPpY", "packed with Snappy: unpack it, and import what is in it"),
    _Known(rb"BZh[1-9]", f"packed with bzip2: {_UNPACK}"),
    _Known(rb"\xfd7zXZ\x00", f"packed with xz: {_UNPACK}"),
    _Known(rb"7z\xbc\xaf\x27\x1c", f"a 7z archive: {_UNPACK}"),
    _Known(rb"Rar!", f"a RAR archive: {_UNPACK}"),
    _Known(rb"\x7fELF|MZ.{6,}PE", f"a program: {_NO_EVENTS}"),
    _Known(
        rb"\s*(?:import|export|const|let|var|window\.|module\.)\W",
        "JavaScript: save the array in it as JSON, and import that",
        is_sure=False,
    ),
    _Known(rb"\"?[A-Za-z_][\w \"]*(?:[,;\t][\w \"]+)+\r?\n", f"a table (CSV): {_CONVERT}", is_sure=False),
    _Known(rb"\s*---\s*\n|[A-Za-z_]\w*:\s", "YAML: convert it to JSON, and import that", is_sure=False),
)
_PATTERNS = tuple((re.compile(known.pattern, re.IGNORECASE | re.DOTALL), known) for known in _KNOWN)


def refuse_foreign(head: bytes) -> None:
    """Raise ``ForeignFile`` if a file that begins so can't hold any events."""
    for pattern, known in _PATTERNS:
        if known.is_sure and pattern.match(head):
            raise ForeignFile(f"this looks like {known.text}")


def explain(head: bytes) -> str:
    """Return what a file looks like in which no event was found, and what to do."""
    for pattern, known in _PATTERNS:
        if pattern.match(head):
            return f"this looks like {known.text}"
    start = head.lstrip()[:1]
    if start in {b"{", b"["}:
        return (
            "this looks like JSON without rrweb events: an event is an object with a number `type` and a "
            "number `timestamp`, alone on a line, or in an array at any depth"
        )
    if head and sum(byte < 9 or 13 < byte < 32 for byte in head[:512]) > len(head[:512]) // 20:
        return "this looks like a binary file of no format that is known here: export the recording as JSON"
    return "this looks like text that is no JSON: export the recording as JSON or NDJSON, and import that"
