"""The forms in which a record becomes a line: logfmt, the journal's, and JSON.

In each, a record is one line, however many its texts have; only a traceback takes more of them in logfmt.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from rrd.log.redaction import HIDDEN, cut, redact

VALUE_CHARS_MAX = 2_000
"""What one field may hold."""

LINE_CHARS_MAX = 8_000
"""What one line may hold, before control characters are escaped."""

# Control characters, line ends, lone surrogates, and marks that turn the direction of writing.
_UNPRINTABLE = "\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_BARE = re.compile(rf"""[^\s"=\\\xa0{_UNPRINTABLE}]+""")
_CONTROL = re.compile(f"[{_UNPRINTABLE}]")
_SECRET = frozenset({"token", "signature", "authorization"})
"""Fields whose values are never told, as ``redact`` does where they stand in a text."""

_OWN_KEYS = frozenset({"time", "level", "event", "trace"})

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class LineFormatter(logging.Formatter):
    """``time level message``; what doesn't come from rrd becomes an event called ``library``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, and indented below it the lines of its traceback."""
        return "\n".join(self.prefix(record) + line for line in self._lines(record))

    def prefix(self, record: logging.LogRecord) -> str:
        """Return what each of the record's lines begins with."""
        return f"{_time(record)} {record.levelname.lower()} "

    def failure(self, record: logging.LogRecord) -> str:
        """Return what stands for a record that can't be formatted: none of its arguments."""
        return f"log_failed logger={record.name} line={record.lineno}"

    def _lines(self, record: logging.LogRecord) -> list[str]:
        text = record.getMessage()
        if from_library(record):
            text = f"library logger={value_text(record.name)} message={value_text(text)}"
        more = [part for part in (record.exc_text, record.stack_info) if part]
        # Indented, so that a message with line ends in it can't pass for a line of its own.
        return [_escape(text), *(f"  {_escape(line)}" for part in more for line in part.splitlines())]


class JournalFormatter(LineFormatter):
    """``<N>message``: the journal adds the time, and makes each line an entry of its own."""

    def prefix(self, record: logging.LogRecord) -> str:
        """Return the record's level as a syslog priority."""
        return f"<{_PRIORITIES.get(record.levelno, 6)}>"


class JsonFormatter(LineFormatter):
    """One object a record: ``time``, ``level``, ``event``, then the fields as the event has them.

    Numbers and booleans stay what they are, all else is text. ``trace`` is a list of lines. All of it is
    ASCII, so no character of a text can end the line or play tricks with a terminal. To the journal, which
    knows the time, ``<N>`` stands in its place.
    """

    def __init__(self, *, to_journal: bool = False) -> None:
        super().__init__()
        self._to_journal = to_journal

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        name, fields = getattr(record, "told", None) or _told_by_library(record)
        room = _Room(LINE_CHARS_MAX)
        line = {**self._head(record), "event": name}
        line |= {_key(key): room.value(key, value) for key, value in fields.items() if value is not None}
        more = [part for part in (record.exc_text, record.stack_info) if part]
        if trace := [room.text(text) for part in more for text in part.splitlines()]:
            line["trace"] = trace
        return self._start(record) + json.dumps(line)

    def failure(self, record: logging.LogRecord) -> str:
        """Return what stands for a record that can't be formatted."""
        line = {**self._head(record), "event": "log_failed", "logger": record.name, "line": record.lineno}
        return self._start(record) + json.dumps(line)

    def _head(self, record: logging.LogRecord) -> dict[str, object]:
        level = record.levelname.lower()
        return {"level": level} if self._to_journal else {"time": _time(record), "level": level}

    def _start(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITIES.get(record.levelno, 6)}>" if self._to_journal else ""


class _Room:
    """How much text still fits into a line."""

    def __init__(self, chars: int) -> None:
        self._chars = chars

    def value(self, key: str, value: object) -> object:
        if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        return HIDDEN if key in _SECRET else self.text(str(value))

    def text(self, text: str) -> str:
        chars_max = max(0, min(VALUE_CHARS_MAX, self._chars))
        text = cut(redact(cut(text, chars_max)), chars_max)
        self._chars -= len(text)
        return text


def _key(key: str) -> str:
    """Return the name of a field, which must not hide one that each line has."""
    return f"{key}_" if key in _OWN_KEYS else key


def _told_by_library(record: logging.LogRecord) -> tuple[str, Mapping[str, object]]:
    if from_library(record):
        return "library", {"logger": record.name, "message": record.getMessage()}
    # A module of rrd that didn't use ``emit``: its first word is the event, as in logfmt.
    name, _, text = record.getMessage().partition(" ")
    return name, {"message": text or None}


def from_library(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] != "rrd"


def value_text(value: object) -> str:
    """Return ``value`` as it stands behind ``=``: bare, or as a JSON string; cut to ``VALUE_CHARS_MAX``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = cut(str(value), VALUE_CHARS_MAX)
    # By the standard library, as below: orjson refuses lone surrogates.
    return text if _BARE.fullmatch(text) else _escape(json.dumps(text, ensure_ascii=False))


def _escape(text: str) -> str:
    """Return ``text`` on one line, control characters and lone surrogates as JSON escapes them."""
    return _CONTROL.sub(lambda match: json.dumps(match[0])[1:-1], text)


def _time(record: logging.LogRecord) -> str:
    when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return f"{when.removesuffix('+00:00')}Z"
