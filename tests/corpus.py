"""The recordings in ``tests/data``, as lines."""

from __future__ import annotations

import lzma
from functools import cache
from pathlib import Path

DIRECTORY = Path(__file__).parent / "data"
NAMES = ("code_editor", "data_grid", "docs_browse", "docs_search")


@cache
def lines_of(name: str) -> list[bytes]:
    """Return the events of one recording, each a line without its LF. Shared: don't change the list."""
    body = lzma.decompress((DIRECTORY / f"{name}.ndjson.xz").read_bytes())
    return body.split(b"\n")[:-1]


@cache
def recordings() -> dict[str, list[bytes]]:
    """Return all recordings, name → lines. Shared: don't change it."""
    return {name: lines_of(name) for name in NAMES}
