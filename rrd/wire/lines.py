"""NDJSON cut anywhere → runs of whole lines.

What has no line break yet is gathered in one buffer, so that a line in a million pieces costs no more than
its bytes. Each byte is looked at once.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rrd.errors import TooLarge
from rrd.wire.values import leading_values

_SPACE = re.compile(rb"\s*+")


class Numbered(NamedTuple):
    """Some lines of a payload, without the blank ones."""

    lines: list[bytes]
    """Without their LFs."""
    numbers: list[int]
    ends: list[int]
    """For each line the offset behind its LF."""
    limit: int
    """Offset of the first line that was not looked at."""
    limit_number: int


def numbered_lines(payload: bytes, start: int, number: int, *, count_max: int) -> Numbered:
    """Return up to ``count_max`` lines of ``payload`` from ``start`` on; the first one has ``number``.

    For payloads of very short lines. Each line ends with LF. A run of blank lines costs what a scan costs.
    """
    lines: list[bytes] = []
    numbers: list[int] = []
    ends: list[int] = []
    find, skip = payload.find, _SPACE.match
    at = start
    while at < len(payload) and len(lines) < count_max:
        # The run may reach into a line that begins with space: that line begins behind the last LF.
        space = skip(payload, at)
        assert space is not None
        blank_limit = payload.rfind(b"\n", at, space.end()) + 1
        if blank_limit:
            number += payload.count(b"\n", at, blank_limit)
            at = blank_limit
            continue
        limit = find(b"\n", at) + 1
        lines.append(payload[at : limit - 1])
        numbers.append(number)
        ends.append(limit)
        number += 1
        at = limit
    return Numbered(lines, numbers, ends, at, number)


class LineSplitter:
    """Gathers windows of text and gives whole lines back."""

    def __init__(self, *, line_bytes_max: int) -> None:
        self._line_bytes_max = line_bytes_max
        self._whole: list[bytes | bytearray | memoryview] = []
        self._partial = bytearray()
        self.whole_bytes = 0
        """Bytes of whole lines that wait to be taken."""

    @property
    def partial_bytes(self) -> int:
        """Bytes of the line that has not ended."""
        return len(self._partial)

    def feed(self, window: bytes) -> None:
        """Take text in. Raises ``TooLarge`` if a line has grown over its limit; whole lines stay good.

        What ends lines is not copied before ``take``.
        """
        limit = window.rfind(b"\n") + 1
        if limit:
            if len(self._partial) + limit > self._line_bytes_max:
                self._refuse_long_line(b"".join((self._partial, window[:limit])))
            if self._partial:
                self._add(self._partial)
                self._partial = bytearray()
            if limit == len(window):
                self._add(window)
                return
            view = memoryview(window)
            self._add(view[:limit])
            self._partial += view[limit:]
        else:
            self._partial += window
        if len(self._partial) > self._line_bytes_max:
            raise self._too_large()

    def _add(self, piece: bytes | bytearray | memoryview) -> None:
        self._whole.append(piece)
        self.whole_bytes += len(piece)

    def _refuse_long_line(self, whole: bytes) -> None:
        start = 0
        for line in whole[:-1].split(b"\n"):
            if len(line) > self._line_bytes_max:
                self._partial.clear()
                self._add(whole[:start])
                raise self._too_large()
            start += len(line) + 1

    def _too_large(self) -> TooLarge:
        return TooLarge(f"an event is larger than {self._line_bytes_max} bytes")

    def take(self) -> bytes:
        """Return all whole lines, each ended by LF."""
        first = self._whole[0] if len(self._whole) == 1 else None
        whole = first if isinstance(first, bytes) else b"".join(self._whole)
        self._whole.clear()
        self.whole_bytes = 0
        return whole

    def add_line(self, line: bytes) -> None:
        """Put a line in that is known to be one, however long."""
        self._add(line)
        self._add(b"\n")

    def end_line(self) -> None:
        """End the current line, if there is one."""
        if self._partial:
            self.feed(b"\n")

    def end_values(self) -> None:
        """End a line behind each whole object or string that the current line begins with.

        They show where they end; of a number or of junk nobody knows whether more of it comes.
        """
        limit = 0
        lines = bytearray()  # In one piece: of millions of values, each as an object would take gigabytes.
        for start, limit in leading_values(self._partial, b'{"'):
            lines += self._partial[start:limit]
            lines += b"\n"
        if lines:
            self._add(lines)
            del self._partial[:limit]

    def drop_partial(self) -> bytes:
        """Take the line that has not ended out, unfinished as it is."""
        partial = bytes(self._partial)
        self._partial.clear()
        return partial
