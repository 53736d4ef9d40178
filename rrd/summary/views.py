"""Pieces as they are told: page views and checkpoints that can be replayed, and what stands before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from rrd.summary.activity import active_ms
from rrd.summary.pieces import Key, Piece


class View(NamedTuple):
    """A page view or a checkpoint: a piece with a snapshot, and those without one behind it."""

    start: Key
    """Of its first event, a Meta event if it has one."""
    until: float
    """Where the next one begins, or the last event lies; ms."""
    snapshot: float
    is_page: bool
    """Otherwise a checkpoint: a snapshot in the midst of a page view."""
    counted: Piece

    @property
    def active_ms(self) -> int:
        """Its seconds with user input, in ms."""
        return active_ms(self.counted.seconds)


class Views(NamedTuple):
    """All of a recording."""

    before: int
    """Events before the first one, which nothing shows; all events where there is no snapshot."""
    all: list[View]
    joined: int
    """Pages beyond those told apart; they count for the last one."""
    closed: bool
    """The page said that it is over, and none was begun since."""


def views_of(pieces: Sequence[Piece]) -> Views:
    """Return what is told of the pieces of a whole recording, which stay as they are.

    A Meta event begins a page view if its address differs from that of the piece before, or the page was
    loaded, left or named a page view in that piece; else it begins a checkpoint.
    """
    before = 0
    found: list[tuple[Piece, bool]] = []
    is_new, is_marked, url = True, False, ""
    for piece in pieces:
        if piece.is_meta:
            is_new |= is_marked or piece.url != url
            is_marked, url = False, piece.url
        if piece.start is not None and piece.snapshot is not None:
            named = msgspec.structs.replace(piece, url=url, seconds=dict(piece.seconds))
            found.append((named, is_new))
            is_new = False
        elif found:
            found[-1][0].absorb(piece)
        else:
            before += piece.events
        is_marked |= piece.is_marked
    last_ts = max((piece.last[0] for piece in pieces if piece.last is not None), default=0.0)
    views: list[View] = []
    for number, (piece, is_page) in enumerate(found):
        assert piece.start is not None
        assert piece.snapshot is not None
        following = found[number + 1][0].start if number + 1 < len(found) else None
        until = following[0] if following is not None else last_ts
        views.append(View(piece.start, until, piece.snapshot[0], is_page, piece))
    joined = sum(piece.joined for piece in pieces)
    return Views(before, views, joined, pieces[-1].closed)
