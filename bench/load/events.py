"""What is sent: the corpus over and over, each event with a timestamp that no other of its recording has.

Event ``n`` of a recording is a function of (seed, the recording's number, n) and of when the run began, so
that nothing has to be remembered to check what was stored. The corpus is walked from a place of the
recording's own: *place* ``offset + n`` is event ``place % count`` of the corpus, in round ``place // count``.
Its timestamp, in ms, has the round in the upper nine digits, the *stamp*, and the place in the round in the
lower four::

    179539970 0123          event 123 of the corpus

So the events of a round are alike but for bytes that are known in advance: a run of them, however long, is
one ``bytes.join`` with the stamp between pieces that were made once. It costs some 50 ns an event, and is why
one process keeps a server busy that takes a million events a second.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Literal

from bench.corpus import recordings, small_events

ROUND_MS = 10_000
"""Between two rounds. The corpus has fewer events."""
STAMP_SIZE = 9

_TIMESTAMP = re.compile(rb'(.*"timestamp":)(\d{13})([,}].*)', re.DOTALL)
_GAP_MS_MAX = 1000
_OFFSET_STEP = (5**0.5 - 1) / 2
"""Neighbours begin this part of the corpus apart. So few recordings are spread over it as evenly as many
(Weyl, 1916), and a load is steady: its largest events come all the time, not all in the same minute."""


class Pieces:
    """Texts that are alike but for one stamp in each."""

    def __init__(self, heads: Sequence[bytes], tails: Sequence[bytes]) -> None:
        self._heads = heads
        self._tails = tails
        self._between = [tail + head for tail, head in zip(tails, heads[1:], strict=False)]

    def run(self, first: int, limit: int, stamp: bytes) -> bytes:
        """Return texts ``first`` to ``limit``, one behind the other."""
        if limit - first == 1:
            return self._heads[first] + stamp + self._tails[first]
        return stamp.join((self._heads[first], *self._between[first : limit - 1], self._tails[limit - 1]))


class Events:
    """The events of all recordings of a run."""

    def __init__(self, which: Literal["small", "all"], *, seed: int, start_ms: int) -> None:
        """``start_ms``: about when the first events happen, ms since the epoch."""
        lines = (
            small_events() if which == "small" else [line for each in recordings().values() for line in each]
        )
        if len(lines) > ROUND_MS:
            raise ValueError(f"the corpus has {len(lines)} events; timestamps have room for {ROUND_MS}")
        found = [_cut(line) for line in lines]
        times = [int(digits) for _, digits, _ in found]
        self.count = len(lines)
        """Of the corpus."""
        self.bytes_mean = sum(map(len, lines)) / len(lines)
        self.heads = [head for head, _, _ in found]
        """Each event up to its stamp, and what comes behind that."""
        self.tails = [b"%04d" % index + tail for index, (_, _, tail) in enumerate(found)]
        self._lines = Pieces(self.heads, [tail + b"\n" for tail in self.tails])
        self._gaps_s = [
            _gap_ms(before, at) / 1000 for before, at in zip(times[-1:] + times, times, strict=False)
        ]
        self._seed = seed
        self._first_stamp = start_ms // ROUND_MS

    def offset(self, number: int) -> int:
        """Return where in the corpus a recording begins."""
        return (self._seed + int(number * _OFFSET_STEP % 1 * self.count)) % self.count

    def stamp(self, turn: int) -> bytes:
        """Return the stamp of a round, counted from 0."""
        return b"%09d" % (self._first_stamp + turn)

    def runs(self, place: int, limit: int) -> list[tuple[int, int, int]]:
        """Return each round of places ``place`` to ``limit``, and from where to where it is in the corpus."""
        runs = []
        while place < limit:
            turn, index = divmod(place, self.count)
            end = min(index + limit - place, self.count)
            runs.append((turn, index, end))
            place += end - index
        return runs

    def ndjson(self, number: int, first: int, limit: int) -> bytes:
        """Return events ``first`` to ``limit`` of a recording, each a line."""
        offset = self.offset(number)
        runs = self.runs(offset + first, offset + limit)
        return b"".join([self._lines.run(begin, end, self.stamp(turn)) for turn, begin, end in runs])

    def event(self, number: int, n: int) -> bytes:
        """Return event ``n`` of a recording, without a line's end."""
        return self.ndjson(number, n, n + 1)[:-1]

    def find(self, number: int, timestamp: object) -> int | None:
        """Return which event of a recording has this timestamp; None if none has, however many were sent."""
        if not isinstance(timestamp, int):
            return None
        stamp, index = divmod(timestamp, ROUND_MS)
        n = (stamp - self._first_stamp) * self.count + index - self.offset(number)
        return n if index < self.count and n >= 0 else None

    def gap_s(self, number: int, n: int) -> float:
        """Return how long after the one before an event came when it was recorded, a second at most."""
        return self._gaps_s[(self.offset(number) + n) % self.count]


def numbered_id(run: str, number: int) -> str:
    """Return the id of a recording. ``run`` is a UUID of the run's own, so that no two runs meet."""
    return str(uuid.uuid5(uuid.UUID(run), str(number)))


def _cut(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Return an event up to its timestamp, that, and the rest. rrweb writes it behind ``data``."""
    found = _TIMESTAMP.fullmatch(line)
    if found is None:
        raise ValueError(f"an event of the corpus has no timestamp in ms: {line[:100]!r}")
    return found[1], found[2], found[3]


def _gap_ms(before_ms: int, at_ms: int) -> int:
    # Where one recording of the corpus ends and the next begins there is none.
    return at_ms - before_ms if 0 <= at_ms - before_ms <= _GAP_MS_MAX else 0
