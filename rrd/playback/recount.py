"""What happened in a whole recording: from its objects' summaries, and counted anew where there are none.

Segments have no summary, and neither have objects of before; their events are counted here. Where runs
overlap in time so that the numbers of pages can't be added up, all events are. What was counted last is kept,
so that a recording that grows costs only what is new each time that it is asked for.

Plain functions that block, and a cache; memory for one block at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import msgspec

from rrd.errors import CorruptSegment, StoreAway
from rrd.playback.sources import ObjectFile
from rrd.playback.table import PlaybackTable
from rrd.summary.gather import EventBlock, summary_of
from rrd.summary.lines import look_closely
from rrd.summary.summary import Summary, decode_note, nothing_yet

CACHE_BYTES_MAX = 8 << 20
"""Summaries kept for those who ask again. Most take a kilobyte."""

EVENT_BYTES = 320
"""What counting takes in memory for each event of a block, beside its bytes."""

_decoder = msgspec.msgpack.Decoder(Summary)

encode = msgspec.msgpack.encode
"""Summary → bytes to be kept."""


def decode(kept: bytes) -> Summary:
    """Return what was kept."""
    return _decoder.decode(kept)


class KeptSummary(NamedTuple):
    """What was counted of a recording, up to before ``limit_seq``. ``decode`` takes ``encoded``."""

    limit_seq: int
    encoded: bytes


class SummaryCache:
    """Summaries by recording, as of its last event. The least recently used go. For one thread."""

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._kept: OrderedDict[tuple[int, int], KeptSummary] = OrderedDict()
        self.held_bytes = 0

    def get(self, row_id: int, created_ms: int) -> KeptSummary | None:
        """Return what was counted last of a recording; None if it is not kept."""
        kept = self._kept.get((row_id, created_ms))
        if kept is not None:
            self._kept.move_to_end((row_id, created_ms))
        return kept

    def put(self, row_id: int, created_ms: int, counted: KeptSummary) -> None:
        """Keep what was counted of a recording, unless more of it was counted meanwhile."""
        key = (row_id, created_ms)
        before = self._kept.get(key)
        if before is not None and before.limit_seq > counted.limit_seq:
            return
        self.held_bytes += len(counted.encoded) - (len(before.encoded) if before is not None else 0)
        self._kept[key] = counted
        self._kept.move_to_end(key)
        while self.held_bytes > self._bytes_max:
            self.held_bytes -= len(self._kept.popitem(last=False)[1].encoded)


def count(
    table: PlaybackTable, objects: Sequence[ObjectFile], known: Summary | None, *, error_tags: Collection[str]
) -> Summary:
    """Return the summary of all events in a table of a whole recording. Blocking.

    ``objects``: published ones in order. ``known``: of the first events, counted before, which is changed.
    Raises ``CorruptSegment``, ``OSError`` and ``StoreAway`` where events are needed that can't be read.
    """
    limit_seq = _limit_of(table)
    summary = known if known is not None and known.totals.limit_seq <= limit_seq else nothing_yet(1)
    for each in objects:
        row = each.row
        if row.first_seq != summary.totals.limit_seq or not row.event_count:
            continue
        told = _told_by(each)
        run = row.first_seq, row.first_seq + row.event_count
        if told is None or (told.totals.first_seq, told.totals.limit_seq) != run:
            told = _counted(table, *run, error_tags)
        summary.join(told)
    if summary.totals.limit_seq < limit_seq:
        summary.join(_counted(table, summary.totals.limit_seq, limit_seq, error_tags))
    if summary.tangled or summary.totals.limit_seq != limit_seq:
        return count_all(table, error_tags=error_tags)
    return summary


def count_all(table: PlaybackTable, *, error_tags: Collection[str]) -> Summary:
    """Count each event of a table, in which some may be missing. Blocking. Raises like ``count``."""
    return _counted(table, 1, _limit_of(table), error_tags)


def bytes_needed(table: PlaybackTable) -> int:
    """Return how much memory counting takes at most."""
    headers = (table.block(number)[1] for number in range(len(table)))
    return max((2 * header.raw_size + EVENT_BYTES * header.event_count for header in headers), default=0)


def _limit_of(table: PlaybackTable) -> int:
    return table.block(len(table) - 1)[1].limit_seq if len(table) else 1


def _told_by(each: ObjectFile) -> Summary | None:
    try:
        return decode_note(each.last_notes())
    except (CorruptSegment, OSError, StoreAway):
        # Its events may be here all the same, in local copies.
        return None


def _counted(table: PlaybackTable, first_seq: int, limit_seq: int, error_tags: Collection[str]) -> Summary:
    return summary_of(first_seq, lambda: _blocks(table, first_seq, limit_seq), error_tags=error_tags)


def _blocks(table: PlaybackTable, first_seq: int, limit_seq: int) -> Iterator[EventBlock]:
    for number in range(len(table)):
        source, header = table.block(number)
        if first_seq <= header.first_seq < limit_seq:
            raw = source.events(header)
            try:
                events = look_closely(raw)
            except ValueError as error:
                message = f"what is no event ({error}) stands in the block"
                raise CorruptSegment(message, path=source.path, offset=header.offset) from error
            yield EventBlock(header.first_seq, header.first_ts, header.last_ts, raw, events)
            del raw, events
