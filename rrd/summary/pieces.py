"""Page views and checkpoints of a run: where each begins in time, and what is counted in it.

A *piece* begins at each Meta event, and at a full snapshot where the piece around it has one already, or no
piece has begun. So a piece can be replayed from its start if it has a snapshot. An event belongs to the last
piece that begins before it by (timestamp, sequenceId), a replayer's order; the *head* holds those before the
first piece.

What is counted in a piece adds up, whatever arrives when. Only a piece that begins in the midst of what was
counted already can't be told apart from it any more: then pieces are *tangled*, and the run must be counted
again, with all beginnings known (``gather``).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from math import inf
from typing import NamedTuple

import msgspec

from rrd.summary.activity import Seconds, add_seconds

PIECES_MAX = 1_000
"""Pieces told apart. What begins later counts for the last one, and how many did is told."""

URL_CHARS_MAX = 2_048
"""Of an address as it is kept."""

BEGINNINGS_MAX = 4_096
"""Meta events and snapshots held, the first ones in time: more than ``PIECES_MAX`` pieces, since two of them
make one at least."""

Key = tuple[float, int]
"""Timestamp and sequenceId: a replayer's order."""


class Beginning(NamedTuple):
    """A Meta event or a full snapshot."""

    key: Key
    is_meta: bool
    url: str = ""
    width: float = 0.0
    height: float = 0.0


class Piece(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One piece, or the head. ``first`` and ``last`` are bounds of the keys of its events."""

    start: Key | None = None
    """None for the head."""
    is_meta: bool = False
    """It begins with a Meta event, which ``url``, ``width`` and ``height`` are from."""
    url: str = ""
    width: float = 0.0
    height: float = 0.0
    snapshot: Key | None = None
    events: int = 0
    bytes: int = 0
    clicks: int = 0
    inputs: int = 0
    errors: int = 0
    seconds: Seconds = {}
    first: Key | None = None
    last: Key | None = None
    is_marked: bool = False
    """The page said in it that it was loaded, or left: the next Meta event begins a page view."""
    closed: bool = False
    """It holds a ``close-permanent`` event."""
    is_end: bool = False
    """There were more than ``PIECES_MAX`` pieces, and those after this one count here."""
    joined: int = 0
    """Meta events of those."""
    is_short: bool = False
    """Seconds with user input are missing: there were too many for the set."""

    @property
    def key(self) -> Key:
        return self.start if self.start is not None else (-inf, 0)

    def widen(self, first: Key, last: Key) -> None:
        """Take in that it holds events from ``first`` to ``last``."""
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    def absorb(self, other: Piece) -> None:
        """Count what another piece has counted."""
        self.events += other.events
        self.bytes += other.bytes
        self.clicks += other.clicks
        self.inputs += other.inputs
        self.errors += other.errors
        self.add_seconds(other.seconds)
        if other.first is not None and other.last is not None:
            self.widen(other.first, other.last)
        self.is_marked |= other.is_marked
        self.closed |= other.closed
        self.is_end |= other.is_end
        self.joined += other.joined
        self.is_short |= other.is_short

    def add_seconds(self, seconds: Seconds) -> None:
        """Count seconds with user input."""
        if not add_seconds(self.seconds, seconds):
            self.is_short = True


class Pieces:
    """The pieces of a run, the head first, by key."""

    def __init__(self, pieces: list[Piece] | None = None) -> None:
        self.all = pieces or [Piece()]
        self.keys = [piece.key for piece in self.all]
        self.tangled = False
        """A piece began in the midst of what was counted already: numbers of pieces are not exact."""

    def of(self, key: Key) -> Piece:
        """Return the piece that an event belongs to."""
        return self.all[bisect_right(self.keys, key) - 1]

    @property
    def last(self) -> Piece:
        return self.all[-1]

    def begin(self, beginning: Beginning) -> None:
        """Take in a Meta event or a snapshot, before it and what comes with it is counted."""
        key = beginning.key
        at = bisect_right(self.keys, key)
        around, after = self.all[at - 1], self.all[at : at + 1]
        if around.is_end:
            around.joined += beginning.is_meta
            # It may be the snapshot that this piece waits for, or one of a piece that counts here.
            self.tangled |= not beginning.is_meta and around.snapshot is None
            return
        takes_snapshot = bool(after) and not after[0].is_meta
        if not beginning.is_meta and around.start is not None:
            if around.snapshot is None:
                # The next snapshot would have been this one's, and did not wait for a piece of its own.
                self.tangled |= takes_snapshot
                around.snapshot = key
                return
            self.tangled |= key < around.snapshot
        self.tangled |= around.last is not None and around.last > key
        self.tangled |= beginning.is_meta and takes_snapshot
        self._insert(at, beginning)

    def _insert(self, at: int, beginning: Beginning) -> None:
        made = Piece(start=beginning.key)
        if beginning.is_meta:
            made.is_meta, made.url = True, beginning.url[:URL_CHARS_MAX]
            made.width, made.height = beginning.width, beginning.height
        else:
            made.snapshot = beginning.key
        self.all.insert(at, made)
        self.keys.insert(at, made.key)
        self._trim()

    def _trim(self) -> None:
        while len(self.all) > PIECES_MAX + 1:
            self.keys.pop()
            self._join_end(self.all.pop())

    def _join_end(self, beyond: Piece) -> None:
        self.last.absorb(beyond)
        self.last.is_end = True
        self.last.joined += beyond.is_meta

    def join(self, other: Pieces) -> None:
        """Take in the pieces of the run that arrived after this one; its pieces must not be used any more."""
        self.tangled |= other.tangled
        mine, theirs = _bounds(self.all), _bounds(other.all)
        if theirs is None:
            return
        if mine is None or mine[1] < theirs[0]:
            self._append(other)
        elif theirs[1] < mine[0]:
            self.all, other.all = other.all, self.all
            self.keys = [piece.key for piece in self.all]
            self._append(other)
        else:
            # Late events alone fit in if they belong to one piece.
            head = other.all[0]
            assert head.first is None or head.last is not None
            piece = self.of(theirs[0])
            self.tangled |= len(other.all) > 1 or piece is not self.of(theirs[1])
            for each in other.all:
                piece.absorb(each)

    def _append(self, other: Pieces) -> None:
        head, *rest = other.all
        self.last.absorb(head)
        end = self.last
        if rest and not rest[0].is_meta and end.is_meta and end.snapshot is None and not end.is_end:
            # The snapshot of a Meta event that the cut stood behind.
            begun = rest.pop(0)
            end.absorb(begun)
            end.snapshot = begun.snapshot
        if end.is_end:
            for piece in rest:
                self._join_end(piece)
            return
        self.all += rest
        self.keys += [piece.key for piece in rest]
        self._trim()


def _bounds(pieces: list[Piece]) -> tuple[Key, Key] | None:
    firsts = [piece.first for piece in pieces if piece.first is not None]
    lasts = [piece.last for piece in pieces if piece.last is not None]
    return (min(firsts), max(lasts)) if firsts and lasts else None


class Beginnings:
    """Meta events and snapshots of a run by key; the first ``BEGINNINGS_MAX`` in time."""

    def __init__(self) -> None:
        self._found: list[Beginning] = []

    def add(self, beginning: Beginning) -> None:
        """Take one in."""
        if len(self._found) >= BEGINNINGS_MAX:
            if beginning > self._found[-1]:
                return
            self._found.pop()
        insort(self._found, beginning)

    def pieces(self) -> Pieces:
        """Return empty pieces for all of them. What lies beyond ``PIECES_MAX`` counts for the last one."""
        made = Pieces()
        for beginning in self._found:
            made.begin(beginning)
        return made
