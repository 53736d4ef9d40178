"""NDJSON cut anywhere → runs of whole lines.

What has no line break yet is held as it came, in pieces, and joined once. Each byte is looked at once.
"""

from __future__ import annotations

from rrd.errors import TooLarge


class LineSplitter:
    """Gathers windows of text and gives whole lines back."""

    def __init__(self, *, line_bytes_max: int) -> None:
        self._line_bytes_max = line_bytes_max
        self._whole: list[bytes] = []
        self._partial: list[bytes] = []
        self.whole_bytes = 0
        """Bytes of whole lines that wait to be taken."""
        self.partial_bytes = 0
        """Bytes of the line that has not ended."""

    def feed(self, window: bytes) -> None:
        """Take text in. Raises ``TooLarge`` if a line has grown over its limit; whole lines stay good."""
        limit = window.rfind(b"\n") + 1
        if limit:
            whole = b"".join((*self._partial, window[:limit]))
            self._partial.clear()
            self.partial_bytes = 0
            window = window[limit:]
            if len(whole) > self._line_bytes_max:
                self._refuse_long_line(whole)
            self._whole.append(whole)
            self.whole_bytes += len(whole)
        if window:
            self._partial.append(window)
            self.partial_bytes += len(window)
            if self.partial_bytes > self._line_bytes_max:
                raise self._too_large()

    def _refuse_long_line(self, whole: bytes) -> None:
        start = 0
        for line in whole[:-1].split(b"\n"):
            if len(line) > self._line_bytes_max:
                self._whole.append(whole[:start])
                self.whole_bytes += start
                raise self._too_large()
            start += len(line) + 1

    def _too_large(self) -> TooLarge:
        return TooLarge(f"an event is larger than {self._line_bytes_max} bytes")

    def take(self) -> bytes:
        """Return all whole lines, each ended by LF."""
        whole = b"".join(self._whole) if len(self._whole) != 1 else self._whole[0]
        self._whole.clear()
        self.whole_bytes = 0
        return whole

    def partial(self) -> bytes:
        """Return the line that has not ended, without taking it."""
        if len(self._partial) > 1:
            self._partial = [b"".join(self._partial)]
        return self._partial[0] if self._partial else b""

    def end_line(self) -> None:
        """End the current line, if there is one."""
        if self._partial:
            self.feed(b"\n")

    def drop_partial(self) -> bytes:
        """Take the line that has not ended out, unfinished as it is."""
        partial = self.partial()
        self._partial.clear()
        self.partial_bytes = 0
        return partial
