"""Totals of a recording as a row of the index, and back."""

from __future__ import annotations

import msgspec

from rrd.index.rows import SummaryRow
from rrd.summary.activity import active_ms
from rrd.summary.totals import Totals

SPARKLINE_LEVELS_MAX = 64

_encode = msgspec.msgpack.encode
_decoder = msgspec.msgpack.Decoder(Totals)


def row_of(totals: Totals) -> SummaryRow:
    """Return what the index keeps of a recording; ``totals_of`` takes it back."""
    urls = tuple(sorted(totals.urls, key=totals.urls.__getitem__))
    return SummaryRow(
        active_ms=active_ms(totals.seconds),
        clicks=totals.clicks,
        inputs=totals.inputs,
        errors=totals.errors,
        rage_bursts=totals.chained_clicks.bursts,
        first_url=urls[0] if urls else None,
        urls=urls,
        activity=totals.line.sparkline(SPARKLINE_LEVELS_MAX),
        state=_encode(totals),
    )


def totals_of(row: SummaryRow) -> Totals | None:
    """Return the totals that an index kept; None if they are of a version that is not known here."""
    try:
        return _decoder.decode(row.state)
    except ValueError:
        return None
