"""How far it is, as one line on a terminal that is written over; nothing at all anywhere else.

Libraries for this bring threads, colours and nested bars. What is needed here is a line that is
redrawn some times a second and makes way for messages.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

_REDRAW_INTERVAL_S = 0.1
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Progress:
    """Use as a context manager. Its methods may be called from a worker thread, one at a time."""

    def __init__(self, *, quiet: bool = False, output: TextIO | None = None) -> None:
        """Write to ``output``, stderr by default, if that is a terminal and ``quiet`` doesn't forbid it."""
        self._output = output or sys.stderr
        self._is_shown = not quiet and self._output.isatty()
        self._drawn_at = float("-inf")
        self._total = 0
        self._done = 0
        self._what = ""
        self._is_drawn = False

    def begin(self, what: str, *, total: int = 0) -> None:
        """Begin something of ``total`` bytes; 0 if nobody knows."""
        self._what, self._total, self._done = what, total, 0
        self._drawn_at = float("-inf")
        self.add(0)

    def add(self, size: int) -> None:
        """``size`` more bytes are done."""
        self._done += size
        if self._is_due():
            self._draw(bar(self._what, self._done, self._total, width=_width()))

    def show(self, text: str) -> None:
        """Show ``text`` in the place of the bar."""
        if self._is_due():
            self._draw(text[: _width()])

    def tell(self, text: str) -> None:
        """Write a line for people, terminal or not."""
        self.clear()
        print(text, file=self._output, flush=True)

    def clear(self) -> None:
        """Take the bar away. It comes back with the next ``add``."""
        if self._is_drawn:
            self._output.write("\r\x1b[K")  # Erase to the end of the line (ECMA-48, 8.3.41).
            self._output.flush()
            self._is_drawn = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def _is_due(self) -> bool:
        now = time.monotonic()
        if not self._is_shown or now - self._drawn_at < _REDRAW_INTERVAL_S:
            return False
        self._drawn_at = now
        return True

    def _draw(self, line: str) -> None:
        self._output.write("\r\x1b[K" + line)
        self._output.flush()
        self._is_drawn = True


def bar(what: str, done: int, total: int, *, width: int) -> str:
    """Return the line for ``done`` of ``total`` bytes (0: unknown), at most ``width`` characters."""
    if total <= 0:
        return f"{what} {size_text(done)}"[:width]
    share = min(1.0, done / total)
    tail = f" {share:4.0%} of {size_text(total)}"
    room = width - len(tail) - 32
    cells = max(0, min(30, room))
    drawn = f" [{'#' * int(share * cells):{cells}}]" if cells >= 5 else ""
    return (what[: max(0, width - len(drawn) - len(tail))] + drawn + tail)[:width]


def size_text(size: int) -> str:
    """Return a size in bytes as people read it: ``17.2 MiB``."""
    amount = float(size)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def _width() -> int:
    try:
        # One less: a line that fills the last column makes some terminals begin the next.
        return os.get_terminal_size(sys.stderr.fileno()).columns - 1
    except (OSError, ValueError):
        return 79
