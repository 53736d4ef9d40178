"""The log: one line an event on stderr, made for people and for ``grep``, and free of secrets.

A line is a constant word first, then ``key=value`` pairs with the unit in the key::

    2026-11-23T06:05:01.123Z info sealed recording=01J8… segment=7 took_ms=14

Under systemd, where the journal knows time and level itself, a line starts with ``<N>`` instead, its syslog
priority (sd-daemon(3)).

Callers keep secrets out of what they log. ``Redaction`` is the last line of defence, for the exception
or the library that quotes a URL or a header after all.

``Bounds`` is the one place that decides what libraries may say, in any ``log_level``: warnings and worse,
short, without addresses and queries, and at a limited rate, to which tracebacks are held as well. So no
sender makes the log grow by what it makes a library complain about. Refusals, which rrd logs itself, have
limits in ``care.refusals``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import IO

from rrd.config import Config

HIDDEN = "***"
FRAMES_MAX = 8  # Of a traceback: where it happened and how it came there; the rest is asyncio's.

LIBRARY_CHARS_MAX = 500
"""How much of a library's message is kept."""

LINES_MAX, INTERVAL_S = 10, 60.0
"""Lines of one library, and tracebacks of rrd's own, in one interval; the others are counted."""

_TRACE_CHARS_MAX = 8_000
_SOURCES_MAX = 50
"""Libraries that have a count of their own; the others share one."""

_BARE = re.compile(r"""[^\s"=\\\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff]+""")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# Between a name and its value: in a query (percent-encoded, too), a header, JSON, a Python dict, or a
# list of pairs; with backslashes before the quotes where it was quoted once more.
_SEPARATOR = r"""(?:\\*["']?\s*(?:=|:|%3D)|\\*["']\s*,)\s*b?"""
_QUOTED = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""
_SECRETS = (
    re.compile(rf"""((?:token|signature){_SEPARATOR})({_QUOTED}|\\*["']?[^\s&"<>\\]+)""", re.IGNORECASE),
    re.compile(rf"""(authorization{_SEPARATOR})({_QUOTED}|\\*["']?[^\r\n"']+)""", re.IGNORECASE),
    re.compile(r"""(\bbearer(?:\s|%20|\+)+)([^\s"'<>\\]+)""", re.IGNORECASE),
    # The forms that `rrd keys create` mints. The short prefix counts where a word begins, or before
    # as many characters as a minted key has.
    re.compile(r"((?:public|secret|erase)_key_rr_|(?<![A-Za-z])ak_(?=[\w-]{16})|ak_(?=[\w-]{43}))([\w-]+)"),
)

_PLACES = (
    re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])"),
    # IPv6, whole or shortened (RFC 4291, 2.2). A time of day is hidden as well, and no loss.
    re.compile(r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])", re.IGNORECASE),
    re.compile(r"""(?<=\?)[^\s"'<>]+"""),
)
"""What tells who asked for what: addresses, and the query of a URL."""

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def event(
    logger: logging.Logger,
    level: int,
    name: str,
    /,
    *,
    exc_info: bool | BaseException = False,
    **fields: object,
) -> None:
    """Log one event: its constant ``name``, then ``fields`` in the order given, those that are None left out.

    ``exc_info``, an exception or True for the one that is being handled, follows as a short traceback.
    """
    if logger.isEnabledFor(level):
        pairs = "".join(f" {key}={_value(value)}" for key, value in fields.items() if value is not None)
        logger.log(level, "%s", name + pairs, exc_info=exc_info, stacklevel=2)


def redact(text: str) -> str:
    """Return ``text`` with keys, tokens, signatures and ``Authorization`` values replaced by ``***``."""
    for pattern in _SECRETS:
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return text


def setup(
    config: Config, *, stream: IO[str] | None = None, environment: Mapping[str, str] = os.environ
) -> None:
    """Send all logging, and exceptions that nobody catches, to ``stream`` (stderr) from ``log_level`` on.

    Replaces the handlers that the root logger had.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JournalFormatter() if _is_journal(stream, environment) else LineFormatter())
    handler.addFilter(Bounds())
    handler.addFilter(Redaction())
    logging.basicConfig(level=config.log_level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_uncaught_in_thread


class Bounds(logging.Filter):
    """Drops what libraries may not say and what comes too often; cuts and cleans what is left of theirs."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._counts: dict[str, _Count] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether ``record`` is logged; rewrite it in place if it is a library's."""
        source = record.name.partition(".")[0]
        is_library = source != "rrd"
        if is_library and record.levelno < logging.WARNING:
            return False
        if not is_library and not record.exc_info:
            return True
        if source not in self._counts and len(self._counts) >= _SOURCES_MAX:
            source = ""
        count, now = self._counts.setdefault(source, _Count()), self._now()
        if now - count.started_at >= INTERVAL_S:
            count.started_at, count.logged = now, 0
        if count.logged >= LINES_MAX:
            count.untold += 1
            return False
        count.logged += 1
        if is_library:
            text = unplaced(_message(record))
            record.msg, record.args = text[:LIBRARY_CHARS_MAX], None
            if record.stack_info:
                record.stack_info = unplaced(record.stack_info)[:_TRACE_CHARS_MAX]
        if record.exc_info:
            record.exc_text = unplaced(_short_traceback(record.exc_info))[:_TRACE_CHARS_MAX]
        if count.untold:
            record.msg, record.args = f"{_message(record)} (not logged before it: {count.untold})", None
            count.untold = 0
        return True


class _Count:
    """What one source has logged in this interval. ``untold``: lines dropped since the last one logged."""

    def __init__(self) -> None:
        self.started_at = -INTERVAL_S
        self.logged = self.untold = 0


def unplaced(text: str) -> str:
    """Return ``text`` with addresses and queries replaced by ``***``."""
    for pattern in _PLACES:
        text = pattern.sub(HIDDEN, text)
    return text


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - str() of an argument may raise anything; logging must not
        return f"unprintable_record at={record.pathname}:{record.lineno} error={type(error).__name__}"


class Redaction(logging.Filter):
    """Redacts a record's final text: its message with arguments, its traceback, its stack."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite ``record`` in place. Always True: nothing is kept out of the log."""
        record.msg, record.args = redact(_message(record)), None
        if record.exc_info:
            record.exc_text = redact(record.exc_text or _short_traceback(record.exc_info))
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


class LineFormatter(logging.Formatter):
    """``time level message``; what doesn't come from rrd becomes an event called ``library``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, and indented below it the lines of its traceback."""
        return "\n".join(self.prefix(record) + line for line in self._lines(record))

    def prefix(self, record: logging.LogRecord) -> str:
        """Return what each of the record's lines begins with."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return f"{when.removesuffix('+00:00')}Z {record.levelname.lower()} "

    def _lines(self, record: logging.LogRecord) -> list[str]:
        text = record.getMessage()
        if record.name.partition(".")[0] != "rrd":
            text = f"library logger={_value(record.name)} message={_value(text)}"
        more = [record.exc_text] if record.exc_text else []
        if record.exc_info and not record.exc_text:
            more.append(_short_traceback(record.exc_info))
        if record.stack_info:
            more.append(record.stack_info)
        # Indented, so that a message with line ends in it can't pass for a line of its own.
        return [_escape(text), *(f"  {_escape(line)}" for part in more for line in part.splitlines())]


class JournalFormatter(LineFormatter):
    """``<N>message``: the journal adds the time, and makes each line an entry of its own."""

    def prefix(self, record: logging.LogRecord) -> str:
        """Return the record's level as a syslog priority."""
        return f"<{_PRIORITIES.get(record.levelno, 6)}>"


def _value(value: object) -> str:
    """Return ``value`` as it stands behind ``=``: bare, or as a JSON string."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return text if _BARE.fullmatch(text) else _escape(json.dumps(text, ensure_ascii=False))


def _escape(text: str) -> str:
    """Return ``text`` on one line, control characters and lone surrogates as JSON escapes them."""
    return _CONTROL.sub(lambda match: json.dumps(match[0])[1:-1], text)


def _short_traceback(exc_info: object) -> str:
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if not isinstance(error, BaseException):
        return ""
    return "".join(traceback.format_exception(error, limit=-FRAMES_MAX)).rstrip("\n")


def _is_journal(stream: IO[str], environment: Mapping[str, str]) -> bool:
    """Tell whether ``stream`` itself goes to the journal.

    The variable alone doesn't say: a shell started from a service inherits it (systemd.exec(5)).
    """
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # Not a file.
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("rrd").error("crashed", exc_info=(kind, error, trace))


def _log_unraisable(args: sys.UnraisableHookArgs) -> None:
    # What it was raised in is not told: its text may hold anything.
    error = args.exc_value
    if error is not None:
        logging.getLogger("rrd").error("unraisable", exc_info=(type(error), error, error.__traceback__))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    error = args.exc_value
    # A thread that asks to end itself is no failure.
    if error is not None and not isinstance(error, SystemExit):
        where = f"thread_crashed thread={_value(args.thread.name if args.thread else '?')}"
        logging.getLogger("rrd").error("%s", where, exc_info=(type(error), error, error.__traceback__))
