"""What ``rrd setup`` tells a person: one line a step, marked where a terminal shows marks."""

from __future__ import annotations

import os
import sys
from typing import TextIO


class StepReport:
    """Prints each line at once, so that what was done is told even if the next step fails."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.has_changed = False
        """Whether anything was changed so far."""
        self._is_marked = self._stream.isatty() and (self._stream.encoding or "").lower() == "utf-8"

    def done(self, text: str) -> None:
        """Tell that something was changed."""
        self.has_changed = True
        self._line("✓", "done: ", text)

    def same(self, text: str) -> None:
        """Tell that something is as it should be already."""
        self._line("✓", "same: ", text)

    def works(self, text: str) -> None:
        """Tell that something was tried, and works."""
        self._line("✓", "works: ", text)

    def note(self, text: str) -> None:
        """Tell what a person should look at."""
        self._line("!", "note: ", text)

    def page(self, text: str) -> None:
        """Print text as it is."""
        print(text, file=self._stream, flush=True)

    def _line(self, mark: str, word: str, text: str) -> None:
        print(f"{mark} {text}" if self._is_marked else f"{word}{text}", file=self._stream, flush=True)


def goes_into_journal(stream: TextIO) -> bool:
    """Tell whether a stream is the journal's, where no key belongs (systemd.exec(5), JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # A stream without a file.
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))
