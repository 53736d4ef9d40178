"""What every visitor sends: small events of the corpus as frames, the same ones in the same order for each.

A timestamp names an event in its recording, and no two are the same. With permessage-deflate the frames are
one stream with a window that goes on (RFC 7692, 7.1.1): each visitor begins it at its begin, so that one
compressor is enough for all of them.
"""

from __future__ import annotations

import os
import re

from bench.corpus import small_events
from bench.frames import Agreed, Deflater, frame

BYTES_MIN, BYTES_MAX = 150, 400
"""Of an event: mouse moves, scrolls, clicks, inputs, small mutations."""

_TIMESTAMP = re.compile(rb'(.*"timestamp":)\d{13}([,}].*)', re.DOTALL)


def events(count: int, *, rate: float, start_ms: int) -> list[bytes]:
    """Return a visitor's events, as many each second as its rate says."""
    lines = [line for line in small_events() if BYTES_MIN <= len(line) <= BYTES_MAX]
    step_ms = max(1.0, 1000 / rate if rate else 1.0)
    made = []
    for number in range(count):
        found = _TIMESTAMP.fullmatch(lines[number % len(lines)])
        assert found is not None, "events of the corpus have a timestamp in ms"
        made.append(b"%b%013d%b" % (found[1], start_ms + int(number * step_ms), found[2]))
    return made


class Stream:
    """The frames of a turn, made when the first socket is open: the server's answer says how."""

    def __init__(self, lines: list[bytes], *, deflate: bool) -> None:
        self._lines = lines
        self._deflate = deflate
        self._agreed: Agreed | None = None
        self.frames: list[bytes] = []

    def agree(self, agreed: Agreed | None) -> str:
        """Take what an answer says of permessage-deflate. Return what is wrong with it, or nothing."""
        if self._deflate != (agreed is not None):
            return "permessage-deflate was asked for and not had, or the reverse"
        if self.frames or not self._lines:
            return "" if agreed == self._agreed else "sockets were answered in different ways"
        if agreed is not None and not agreed.takeover:
            return "the server wants no context takeover"
        self._agreed = agreed
        try:
            deflate = Deflater(agreed) if agreed is not None else bytes
        except ValueError as error:
            return str(error)
        self.frames = [
            frame(deflate(line), is_deflated=self._deflate, mask=os.urandom(4)) for line in self._lines
        ]
        return ""
