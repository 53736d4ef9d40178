"""Which files an import reads: paths, what is below directories, stdin. ``archives`` opens archives."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from rrd.exchange.sidecar import META_SUFFIX, Sidecar, read_sidecar
from rrd.wire.codings import CODINGS

STDIN = "-"
EVENT_SUFFIXES = (".ndjson", ".jsonl", ".json")
_PACKED_SUFFIXES = tuple(coding.suffix for coding in CODINGS)
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.zst")


class InputFile(NamedTuple):
    """One file to import."""

    path: str
    sidecar: Sidecar | None = None
    """What the export said about it."""
    in_archive: str = ""
    """What people know it by, if it was unpacked."""
    level: int = 0
    """How many archives it was in, one inside the other."""

    @property
    def stem(self) -> str:
        """Its own name, without directories and suffixes."""
        return os.path.basename(self.path).partition(".")[0]

    @property
    def told(self) -> str:
        """Its name for people."""
        return self.in_archive or (self.path if self.path != STDIN else "stdin")


def find_files(paths: Sequence[str]) -> Iterator[InputFile]:
    """Yield the files that ``paths`` name, those below directories in order. Raises ``BadRequest``,
    ``OSError``.

    Below a directory only what looks like events counts; a file that is named counts whatever it looks like.
    """
    for path in paths:
        if path == STDIN:
            yield InputFile(path)
        elif os.path.isdir(path):
            yield from _below(path)
        else:
            os.stat(path)
            yield InputFile(path, read_sidecar(path))


def _below(directory: str) -> Iterator[InputFile]:
    for place, directories, names in os.walk(directory):
        directories.sort()
        for name in sorted(names):
            if is_wanted(name):
                path = os.path.join(place, name)
                yield InputFile(path, read_sidecar(path))


def looks_like_events(path: str) -> bool:
    """Tell whether a file below a directory, or in an archive, is one of events, going by its name."""
    name = os.path.basename(path)
    stem = name.lower()
    while stem.endswith(_PACKED_SUFFIXES):
        stem = os.path.splitext(stem)[0]
    # What an export that was broken off left behind begins with a dot.
    return stem.endswith(EVENT_SUFFIXES) and not name.endswith(META_SUFFIX) and not name.startswith(".")


def is_wanted(path: str) -> bool:
    """Tell whether a file below a directory, or in an archive, is imported, going by its name."""
    name = os.path.basename(path)
    return looks_like_events(name) or (name.lower().endswith(ARCHIVE_SUFFIXES) and not name.startswith("."))


def is_visible(path: str) -> bool:
    """Tell whether a file is more than what a system leaves behind in archives (``.DS_Store``)."""
    return not any(part.startswith((".", "__MACOSX")) for part in path.split("/") if part not in {".", ".."})


def size_of(file: InputFile) -> int:
    """Return a file's size in bytes as it lies there; 0 if that isn't known."""
    return os.path.getsize(file.path) if file.path != STDIN else 0


def opened(path: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    """Open a file, or stdin, for reading."""
    return contextlib.nullcontext(sys.stdin.buffer) if path == STDIN else open(path, "rb")
