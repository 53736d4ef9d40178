"""The summary of a run of events, joined with the next one, and as the line in an object's notes."""

from __future__ import annotations

import msgspec

from rrd.summary.activity import add_seconds
from rrd.summary.pieces import Piece, Pieces
from rrd.summary.totals import Totals


class Summary(msgspec.Struct, omit_defaults=True):
    """What happened in a run of one recording's events."""

    totals: Totals
    pieces: list[Piece]
    tangled: bool = False
    """Runs overlap in time, so that the numbers of pieces are not exact: count the events again."""

    def sum_seconds(self) -> None:
        """Let the totals know the seconds with user input of all pieces."""
        for piece in self.pieces:
            is_whole = add_seconds(self.totals.seconds, piece.seconds)
            self.totals.is_short |= piece.is_short or not is_whole

    def join(self, after: Summary) -> None:
        """Take in the summary of the run that arrived after this one, which must not be used any more.

        ``tangled`` afterwards if runs overlap in time so that the sum is not exact.
        """
        pieces = Pieces(self.pieces)
        pieces.tangled = self.tangled or after.tangled
        twice = self.totals.chained_inputs.last, after.totals.chained_inputs.first
        pieces.join(Pieces(after.pieces))
        if twice[1] is not None and twice[0] == twice[1].node:
            # It goes on with the last input of the run before.
            pieces.of((twice[1].timestamp, twice[1].seq)).inputs -= 1
        self.totals.join(after.totals)
        self.pieces, self.tangled = pieces.all, pieces.tangled


def nothing_yet(first_seq: int) -> Summary:
    """Return the summary of no events, with ``first_seq`` to come next."""
    return Summary(Totals(first_seq=first_seq, limit_seq=first_seq, seconds={}, urls={}), Pieces().all)


class _Note(msgspec.Struct, omit_defaults=True):
    summary: Summary | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Note)


def encode_note(summary: Summary) -> bytes:
    """Return the line that stands in the notes of an object's last block. Always the same for the same."""
    # The seconds stand in the pieces already.
    totals = msgspec.structs.replace(summary.totals, seconds={})
    return _encoder.encode(_Note(msgspec.structs.replace(summary, totals=totals))) + b"\n"


def decode_note(notes: bytes) -> Summary | None:
    """Return the summary in the notes of an object's last block; None if there is none that is known here."""
    try:
        for note in _decoder.decode_lines(notes):
            if note.summary is not None:
                note.summary.sum_seconds()
                return note.summary
    except (ValueError, RecursionError):
        # Of a later version: what it counts may mean something else.
        return None
    return None
