"""``rrd top``: what happens in the running daemon from second to second."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from typing import Any

from rrd.cli import common
from rrd.cli.asking import NoAnswer, ask
from rrd.cli.frame import frame
from rrd.config import Config

_INTERVAL_S = 1.0
_TRIES = 10
"""How often ``--once`` asks: a daemon with very many recordings looks at them every few seconds only."""

_STATUS_INTERVAL_S = 5.0
"""How often the daemon is asked what hurts: that tries its disk and its object store."""

_WAIT_S = 3.0
"""How long an answer is waited for: a key is not heard meanwhile."""

_SIZE = (80, 24)
"""Columns and lines, where there is no terminal."""

_ALTERNATE, _BACK = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
"""A screen of its own without a cursor, and back to what was there before."""

_HOME, _CLEAR_LINE, _CLEAR_REST = "\033[H", "\033[K", "\033[J"

_ENDS = frozenset("qQ\x03\x04\x1b")
"""Keys that end it: q, Ctrl-C and Ctrl-D (as characters, in raw mode), Escape."""


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "top",
        help="watch the running daemon: rates, latencies, what waits, the busiest recordings",
        description="Shows the running daemon, again each second: rates, latencies, what waits, and the"
        " recordings that are written to most, until q is pressed. As rrd's user, or as root. The daemon"
        " looks for what is busiest only while it is asked.",
        epilog="Exit codes: 0 it was ended · 3 no daemon answers, and stderr says why.",
    )
    parser.add_argument(
        "--once", action="store_true", help="print one page, of a second, and end; no terminal is needed"
    )
    common.runs(parser, _top)


def _top(args: argparse.Namespace) -> int:
    config = common.settings(args)
    try:
        if args.once or not (sys.stdin.isatty() and sys.stdout.isatty()):
            for line in _page(config):
                print(line)
        else:
            _watch(config)
    except NoAnswer as error:
        print(f"rrd: {error}{'' if str(error).endswith('.') else '.'}", file=sys.stderr)
        return 3
    return 0


class _Looks:
    """What the daemon says from look to look."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._before: dict[str, Any] = {}
        self._status: dict[str, Any] = {}
        self._asked_at = float("-inf")
        self.has_compared = False
        """Whether the last page tells which recordings have grown: the first one can't."""

    def next(self, columns: int, lines: int) -> list[str]:
        """Return the next page. Raises ``NoAnswer``."""
        if time.monotonic() - self._asked_at >= _STATUS_INTERVAL_S:
            self._status = ask(self._config, "/status", wait_s=2 * _WAIT_S)
            self._asked_at = time.monotonic()
        look = ask(self._config, "/top", wait_s=_WAIT_S)
        page = frame(self._status, self._before, look, columns=columns, lines=lines)
        self._before = look
        self.has_compared = look.get("over_s", 0) > 0
        return page


def _page(config: Config) -> list[str]:
    """Return one page. Raises ``NoAnswer``."""
    columns, lines = shutil.get_terminal_size(_SIZE)
    looks = _Looks(config)
    looks.next(columns, lines)
    for _ in range(_TRIES):
        time.sleep(_INTERVAL_S)
        page = looks.next(columns, lines)
        if looks.has_compared:
            break
    return page


def _watch(config: Config) -> None:
    """Show a page each second until a key ends it; the terminal is afterwards as it was before."""
    looks = _Looks(config)
    looks.next(*_SIZE)  # Before the screen changes, so that what is wrong is told on the usual one.
    with _screen() as show:
        while True:
            show(_latest(looks))
            if _is_ended(_INTERVAL_S):
                return


def _latest(looks: _Looks) -> list[str]:
    columns, lines = shutil.get_terminal_size(_SIZE)
    try:
        return looks.next(columns, lines)
    except NoAnswer as error:
        # It may be restarted just now: that is what one wants to watch.
        return [line[:columns] for line in ("no answer; q quits", "", *_wrapped(str(error), columns))][:lines]


def _wrapped(text: str, columns: int) -> Iterator[str]:
    for start in range(0, len(text), max(1, columns)):
        yield text[start : start + columns]


@contextlib.contextmanager
def _screen() -> Iterator[Callable[[list[str]], None]]:
    """Yield what shows a page on a screen of its own; keys come one by one meanwhile, and are not shown."""
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    # A terminal must not be left as it is now, whatever ends this.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))

    def show(page: list[str]) -> None:
        sys.stdout.write(_HOME + "\r\n".join(line + _CLEAR_LINE for line in page) + _CLEAR_REST)
        sys.stdout.flush()

    try:
        tty.setcbreak(handle)
        sys.stdout.write(_ALTERNATE)
        yield show
    finally:
        sys.stdout.write(_BACK)
        sys.stdout.flush()
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def _is_ended(wait_s: float) -> bool:
    """Wait for a key, and tell whether it ends the watching; so does a terminal that is gone."""
    until = time.monotonic() + wait_s
    while (left_s := until - time.monotonic()) > 0:
        ready, _, _ = select.select([sys.stdin], [], [], left_s)
        if ready:
            keys = os.read(sys.stdin.fileno(), 100)
            if not keys or _ENDS & set(keys.decode("latin-1")):
                return True
    return False
