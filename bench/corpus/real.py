"""The recordings of real pages that lie beside this module, as lines."""

from __future__ import annotations

import lzma
from functools import cache
from pathlib import Path

NAMES = ("docs_search", "docs_browse", "code_editor", "data_grid")
"""In the order in which they were recorded: one after the other they are what a single visitor sends."""
SMALL_BYTES_MAX = 1000

_DIRECTORY = Path(__file__).parent


@cache
def lines_of(name: str) -> list[bytes]:
    """Return the events of one recording, each a line without its LF. Shared: don't change the list."""
    body = lzma.decompress((_DIRECTORY / f"{name}.ndjson.xz").read_bytes())
    return body.split(b"\n")[:-1]


@cache
def recordings() -> dict[str, list[bytes]]:
    """Return all recordings, name → lines. Shared: don't change it."""
    return {name: lines_of(name) for name in NAMES}


def small_events() -> list[bytes]:
    """Return every event of fewer than 1,000 bytes, in the order of recordings and lines.

    They are what most of a visitor's messages look like.
    """
    return [line for lines in recordings().values() for line in lines if len(line) < SMALL_BYTES_MAX]
