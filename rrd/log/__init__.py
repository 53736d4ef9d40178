"""The log: one line a happening on stderr, made for people and for ``grep``, and free of secrets.

A line is a constant word first, then ``key=value`` pairs with the unit in the key::

    2026-11-23T06:05:01.123Z info sealed recording=01J8… segment=7 took_ms=14

Under systemd, where the journal knows time and level itself, a line starts with ``<N>`` instead, its syslog
priority (sd-daemon(3)). With ``log_format = "json"`` it is a JSON object (``forms``).

All that a process logs goes through the one handler that ``setup`` installs, whatever logs it:

- rrd itself, from ``log_level`` on, each event as its code words it.
- Libraries, warnings and the event loop, from WARNING on at any ``log_level``: the constant part of what they
  say, and where. Their arguments, the texts of their exceptions and the ``repr`` of objects are left out: a
  visitor's address, key or bytes may stand there.
- All of it is cut (``LINE_CHARS_MAX``), freed of what looks like a secret (``redaction``), and limited by
  kind of line (``limit``). Tracebacks are short (``traces``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import IO, Any

from rrd import metrics
from rrd.config import Config
from rrd.log.forms import (
    LINE_CHARS_MAX,
    JournalFormatter,
    JsonFormatter,
    LineFormatter,
    from_library,
    value_text,
)
from rrd.log.limit import Kind, LineLimit
from rrd.log.redaction import cut, hide_callers, redact
from rrd.log.traces import trace_of

LIBRARY_CHARS_MAX = 300
"""What a library may say at once."""

_LIBRARY_LEVEL = logging.WARNING

_UNTOLD = frozenset({"aiohttp.access"})
"""Loggers of libraries that are not told at all: this one says who asked for what."""

_UNTOLD_WITH_ARGUMENTS = frozenset({"aiohttp.websocket"})
"""This one tells which subprotocols a client offers. None is spoken here, and the client sees that for itself
in the reply (RFC 6455, 4.2.2)."""

_REPR = re.compile(r"<.*")

_ours = logging.getLogger("rrd")


def emit(
    logger: logging.Logger,
    level: int,
    name: str,
    /,
    *,
    exc_info: bool | BaseException = False,
    **fields: object,
) -> None:
    """Log one line: its constant ``name``, then ``fields`` in the order given, those that are None left out.

    ``exc_info``, an exception or True for the one that is being handled, follows as a short traceback.
    Lines of one name, and of one ``code`` if they have that field, share a limit (``log_limit``).
    """
    if level >= logging.INFO:
        metrics.note_logged(name, level, fields)
    if logger.isEnabledFor(level):
        pairs = "".join(f" {key}={value_text(value)}" for key, value in fields.items() if value is not None)
        kind = Kind(logger.name, name, str(fields.get("code", "")))
        extra = {"kind": kind, "told": (name, fields)}
        logger.log(level, "%s", name + pairs, exc_info=exc_info, stacklevel=2, extra=extra)


def setup(
    config: Config, *, stream: IO[str] | None = None, environment: Mapping[str, str] = os.environ
) -> None:
    """Send all logging, and exceptions that nothing catches, to ``stream`` (stderr) from ``log_level`` on.

    Replaces the handlers that the root logger had.
    """
    stream = stream or sys.stderr
    handler = Handler(stream)
    logging.basicConfig(handlers=[handler], force=True)
    reconfigure(config, environment=environment)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_uncaught_in_thread


def reconfigure(config: Config, *, environment: Mapping[str, str] = os.environ) -> None:
    """Log in this ``log_format`` and from ``log_level`` on; libraries from ``_LIBRARY_LEVEL`` on."""
    level = logging.getLevelNamesMapping()[config.log_level.upper()]
    logging.getLogger().setLevel(max(level, _LIBRARY_LEVEL))
    _ours.setLevel(level)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Handler):
            to_journal = _is_journal(handler.stream, environment)
            handler.setFormatter(_formatter(config, to_journal=to_journal))


def _formatter(config: Config, *, to_journal: bool) -> LineFormatter:
    if config.log_format == "json":
        return JsonFormatter(to_journal=to_journal)
    return JournalFormatter() if to_journal and config.log_format == "auto" else LineFormatter()


@contextlib.contextmanager
def for_command() -> Iterator[None]:
    """Log warnings and errors to stderr in the block, as ``setup`` does: commands say the rest themselves.

    Afterwards logging is as before, so that a program can call commands. After an exception it stays: the
    exception ends the process, and has to be told.
    """
    root = logging.getLogger()
    handlers, levels = root.handlers[:], (root.level, _ours.level)
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    root.handlers.clear()  # ``setup`` would close them.
    setup(Config(log_level="warning"))
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    _ours.setLevel(levels[1])
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
    logging.captureWarnings(False)


def tell_left_out() -> None:
    """Log how many records were left out by the limit, where it is time to. To be called now and then."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Handler):
            handler.tell_left_out()


class Handler(logging.StreamHandler[IO[str]]):
    """Writes what the limit admits."""

    def __init__(self, stream: IO[str], limit: LineLimit | None = None) -> None:
        super().__init__(stream)
        self.addFilter(Redaction())
        self._limit = limit or LineLimit()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless its kind has used up its share."""
        kind = getattr(record, "kind", None) or Kind(record.name, _first_word(record))
        if self._limit.admits(kind):
            try:
                self._limit.charge(kind, self._write(record))
            except Exception:  # noqa: BLE001 - as logging does it: a log that fails must stop no work
                self.handleError(record)
        self._tell(self._limit.counts())

    def tell_left_out(self) -> None:
        """Write the counts that are due."""
        with self.lock or contextlib.nullcontext():
            self._tell(self._limit.counts())

    def close(self) -> None:
        """Write all counts."""
        with self.lock or contextlib.nullcontext():
            self._tell(self._limit.counts(due_only=False))
        super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Tell that a record could not be written; logging would write its arguments, too."""
        with contextlib.suppress(OSError, ValueError):  # The stream is full, or closed: nothing else is left.
            form = self.formatter if isinstance(self.formatter, LineFormatter) else LineFormatter()
            self.stream.write(form.failure(record) + self.terminator)

    def _tell(self, counts: list[tuple[Kind, int]]) -> None:
        for kind, count in counts:
            code = f" code={value_text(kind.code)}" if kind.code else ""
            text = f"lines_left_out of={value_text(kind.event)}{code} count={count}"
            told = ("lines_left_out", {"of": kind.event, "code": kind.code or None, "count": count})
            record = _ours.makeRecord(
                _ours.name, logging.WARNING, __file__, 0, text, (), None, extra={"told": told}
            )
            try:
                self._write(record)
            except Exception:  # noqa: BLE001 - see ``emit``
                self.handleError(record)

    def _write(self, record: logging.LogRecord) -> int:
        text = self.format(record) + self.terminator
        self.stream.write(text)
        self.flush()
        return len(text)


class Redaction(logging.Filter):
    """Makes a record's final text: what may be told of it, without secrets, and cut."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite ``record`` in place; False if nothing of it is to be told."""
        is_library = from_library(record)
        is_told = not (is_library and _is_untold(record))
        try:
            message = _library_words(record) if is_library else record.getMessage()
        except Exception as error:  # noqa: BLE001 - str() of an argument may raise anything; logging must not
            message = f"unprintable_record at={record.pathname}:{record.lineno} error={type(error).__name__}"
        record.msg, record.args = _safe(message, LINE_CHARS_MAX), None
        if record.exc_info and record.exc_info[1] is not None:
            lines = trace_of(record.exc_info[1], with_texts=not is_library)
            record.exc_text = "\n".join(hide_callers(_safe(line, LINE_CHARS_MAX)) for line in lines)
        if record.stack_info:
            record.stack_info = hide_callers(_safe(record.stack_info, LINE_CHARS_MAX))
        return is_told


def on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what an event loop caught; to be given to ``set_exception_handler``.

    The loop's own handler tells the ``repr`` of transports and tasks, with addresses and what was received.
    A connection that breaks while a library's own task writes to it is no failure of ours: who asked for the
    write hears of it by itself. So that is told without a trace.
    """
    task = context.get("task") or context.get("future")
    error = context.get("exception")
    if isinstance(error, ConnectionError):
        emit(_ours, logging.INFO, "connection_broke", error=type(error).__qualname__)
        return
    emit(
        _ours, logging.ERROR, "loop_error", message=_constant_part(str(context.get("message", ""))),
        task=task.get_name() if isinstance(task, asyncio.Task) else None, exc_info=error or False,
    )  # fmt: skip


def _is_untold(record: logging.LogRecord) -> bool:
    return (
        record.levelno < _LIBRARY_LEVEL
        or record.name in _UNTOLD
        or (record.name in _UNTOLD_WITH_ARGUMENTS and bool(record.args))
    )


def _library_words(record: logging.LogRecord) -> str:
    """Return the constant part of what a library logs: its text before the arguments are put in."""
    # ``warnings`` has its whole text as the argument.
    return _constant_part(record.getMessage() if record.name == "py.warnings" else str(record.msg))


def _constant_part(text: str) -> str:
    """Return the first line of ``text`` up to the ``repr`` of an object, which asyncio puts in by itself."""
    line = next(iter(text[: 4 * LIBRARY_CHARS_MAX].splitlines()), "")
    return cut(hide_callers(redact(_REPR.sub("<…>", line))), LIBRARY_CHARS_MAX)


def _first_word(record: logging.LogRecord) -> str:
    # What a library says may hold anything; its logger is a constant.
    return "library" if from_library(record) else str(record.msg).partition(" ")[0][:80]


def _safe(text: str, chars_max: int) -> str:
    """Return ``text`` redacted and cut: first, so that a long one costs no more than a short one."""
    return cut(redact(cut(text, chars_max)), chars_max)


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
    emit(_ours, logging.ERROR, "crashed", exc_info=error)


def _log_unraisable(args: sys.UnraisableHookArgs) -> None:
    """Log an exception in ``__del__`` or a callback of the collector, without the ``repr`` of its object."""
    where = getattr(args.object, "__qualname__", type(args.object).__qualname__)
    emit(_ours, logging.ERROR, "unraisable", object=where, exc_info=args.exc_value or False)


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    error = args.exc_value
    # A thread that asks to end itself is no failure.
    if error is not None and not isinstance(error, SystemExit):
        name = args.thread.name if args.thread else "?"
        emit(_ours, logging.ERROR, "thread_crashed", thread=name, exc_info=error)
