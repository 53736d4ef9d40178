"""What a run of the table leaves behind: every row as measured, and what it was measured on.

A JSON file, from which the report can be drawn again. JSON has no numbers that are none (NaN, infinities),
so they stand in it as strings.
"""

from __future__ import annotations

import json
import math
from typing import Any, Literal

import msgspec

from bench.result import Row, Scale

Status = Literal["met", "NOT MET", "stated", "not measured", "failed"]


class Environment(msgspec.Struct, frozen=True):
    """The machine and the software. Neither its name nor its address: reports are shown around."""

    machine: str
    """Short, fit for a file name, like ``2-core-AMD-EPYC``."""
    cores: int
    """Those that this process may run on."""
    cpu: str
    memory_bytes: int
    kernel: str
    python: str
    versions: dict[str, str]
    """Of the libraries that the daemon's speed hangs on, by name; ``rrd`` too."""
    revision: str | None
    """Git's, of the code that was measured; None outside a clone."""
    is_dirty: bool = False
    """The code differs from that revision."""


class Attempt(msgspec.Struct, frozen=True):
    """One row, measured or failed."""

    number: int
    title: str
    load_average: float
    """Of the last minute, before the row began: who else was busy?"""
    took_s: float
    row: Row | None = None
    failure: str = ""
    """Last words of a row that could not be measured."""

    @property
    def status(self) -> Status:
        """``met`` if each bar is, ``stated`` if there is none, ``not measured`` if one could not be."""
        if self.row is None:
            return "failed"
        with_bars = [check for check in self.row.checks if check.bar is not None]
        if any(check.is_met is False for check in with_bars):
            return "NOT MET"
        if not all(check.is_measured for check in self.row.checks):
            return "not measured"
        return "met" if with_bars else "stated"


class Document(msgspec.Struct, frozen=True):
    """One run."""

    started: str
    """ISO 8601, UTC, to the second."""
    scale: Scale
    environment: Environment
    attempts: list[Attempt]
    missing: list[str] = []
    """What was not installed, and so was not compared with."""


def write(path: str, document: Document) -> None:
    """Write a document, indented, so that two of them can be compared by eye."""
    with open(path, "w") as file:
        file.write(encode(document))


def read(path: str) -> Document:
    """Read what ``write`` wrote. Raises ``OSError``, ``ValueError`` (``msgspec.ValidationError`` is one)."""
    with open(path) as file:
        return decode(file.read())


def write_row(path: str, row: Row) -> None:
    with open(path, "w") as file:
        json.dump(_to_json(msgspec.to_builtins(row)), file)


def read_row(path: str) -> Row:
    """Read what ``write_row`` wrote. Raises ``OSError``, ``ValueError``."""
    with open(path) as file:
        return msgspec.convert(json.load(file), Row, strict=False)


def encode(document: Document) -> str:
    return json.dumps(_to_json(msgspec.to_builtins(document)), indent=1) + "\n"


def decode(text: str) -> Document:
    """Raises ``ValueError`` for what is no document."""
    # Not strict, so that "nan" is taken for a number where one belongs.
    return msgspec.convert(json.loads(text), Document, strict=False)


def _to_json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _to_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(entry) for entry in value]
    return value
