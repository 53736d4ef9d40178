"""What a file without any event looks like, for the message that refuses it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

HEAD_BYTES = 4096


class Kind(NamedTuple):
    """A format that is recognised, and can't be imported."""

    name: str
    advice: str
    matches: Callable[[bytes], object]


def _begins(pattern: bytes) -> Callable[[bytes], object]:
    return re.compile(pattern, re.DOTALL | re.IGNORECASE).match


def _json_with(*names: bytes) -> Callable[[bytes], object]:
    return _begins(rb"\s*[\[{].*" + rb".*".join(rb'"' + name + rb'"' for name in names))


KINDS = [
    Kind(
        "an HTML page",
        "save the recording itself, not the page that shows it",
        _begins(rb"\s*<(?:!doctype html|html)"),
    ),
    Kind("XML", "export as JSON", _begins(rb"\s*<\?xml")),
    Kind("a PDF", "export as JSON", _begins(rb"%PDF-")),
    Kind(
        "a video",
        "a video holds no events; look for the recording that it was made of",
        _begins(rb"\x1a\x45\xdf\xa3|....ftyp"),
    ),
    Kind("a picture", "export as JSON", _begins(rb"\x89PNG|\xff\xd8\xff|GIF8")),
    Kind("a tar archive", "unpack it, and import the directory", _begins(rb".{257}ustar")),
    Kind("a 7-Zip or RAR archive", "unpack it, and import the directory", _begins(rb"7z\xbc\xaf|Rar!")),
    Kind("a bzip2 or xz file", "unpack it first", _begins(rb"BZh|\xfd7zXZ")),
    Kind("a SQLite database", "import from the tool that wrote it", _begins(rb"SQLite format 3\0")),
    Kind("a Parquet file", "export as JSON", _begins(rb"PAR1")),
    Kind("a HAR file", "it holds network requests, not what a page showed", _json_with(b"log", b"entries")),
    Kind("a source map", "it holds no events", _json_with(b"version", b"mappings")),
    Kind("a Chrome trace", "it holds timings, not what a page showed", _json_with(b"traceEvents")),
    Kind("an OpenTelemetry export", "it holds spans, not what a page showed", _json_with(b"resourceSpans")),
    Kind(
        "a list of recordings, without their events",
        "fetch /recordings/{id}/events for each",
        _json_with(b"recordings", b"links"),
    ),
    Kind(
        "an error message",
        "the export failed; read it, and export again",
        _begins(rb'\s*\{\s*"(?:error|detail|message|code)"'),
    ),
    Kind("CSV", "export as JSON", _begins(rb"[^\n\[\]{}<>]+(?:[,;\t][^\n\[\]{}<>]*)+\r?\n")),
    Kind(
        "JSON without rrweb events",
        "rrweb events have a `type` and a `timestamp`, both numbers",
        _begins(rb"\s*[\[{]"),
    ),
]
"""The first that matches counts."""


def is_empty(head: bytes) -> bool:
    """Tell whether a file that begins with ``head`` is meant to hold nothing."""
    return re.sub(rb'[\s\[\]{}:]|"events"', b"", head) == b""


def description_of(head: bytes) -> str:
    """Return what a file that begins with ``head`` seems to be, and what helps: the end of a sentence."""
    for kind in KINDS:
        if kind.matches(head):
            return f"this looks like {kind.name}: {kind.advice}"
    return "its form is not known: NDJSON and JSON arrays of rrweb events are"
