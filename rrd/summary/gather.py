"""Blocks of events, in order of arrival, made into a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from rrd.summary.activity import words_of
from rrd.summary.lines import (
    CUSTOM,
    DOM_CONTENT_LOADED,
    FULL_SNAPSHOT,
    INCREMENTAL,
    LOAD,
    META,
    PLUGIN,
    EventData,
    TellingEvent,
    details_of,
    level_of,
    look_closely,
)
from rrd.summary.pieces import Beginning, Beginnings, Piece, Pieces
from rrd.summary.summary import Summary, nothing_yet

ERROR_TAGS = ("error", "$exception")
"""Tags of custom events that are errors, where no setting says others."""

_MOUSE_INTERACTION, _INPUT = 2, 5
_BY_USER = frozenset({1, 2, 3, 4, 5, 6, 12})
"""``IncrementalSource`` of rrweb: moves of mouse and touch, clicks, scrolling, resizing, input, drag."""

_CLICK, _CLICKS = 2, (2, 4)
"""``MouseInteractions``: clicks, and double clicks, which come after two of them and are no burst."""

_CONSOLE = "rrweb/console@1"
_LOOKED_AT = frozenset({_MOUSE_INTERACTION, _INPUT})
_CLOSED = "close-permanent"
_MARKS = frozenset({"pageview-meta", _CLOSED, "close-temporary"})
"""Tags after which the next Meta event is that of a new page view."""


class EventBlock(NamedTuple):
    """Events that follow one another by arrival. Between blocks some may be missing, lost to damage."""

    first_seq: int
    first_ts: float
    """Least timestamp, ms."""
    last_ts: float
    raw: bytes
    """The events, each line ended by one LF."""
    events: Sequence[TellingEvent] | None = None
    """What ``look_closely`` says of ``raw``, if that is at hand."""


class Gatherer:
    """The summary of a run, block by block. Memory: some MiB at most, whatever is in the events."""

    def __init__(
        self, first_seq: int, *, error_tags: Collection[str] = ERROR_TAGS, known: Beginnings | None = None
    ) -> None:
        """``known``: all Meta events and snapshots of the run, so that pieces can't be tangled."""
        self._summary = nothing_yet(first_seq)
        self._totals = self._summary.totals
        self._pieces = known.pieces() if known is not None else Pieces(self._summary.pieces)
        self._pieces.tangled = False
        self._is_known = known is not None
        self._error_tags = frozenset(error_tags)
        self.beginnings = known or Beginnings()
        """Meta events and snapshots so far."""

    @property
    def tangled(self) -> bool:
        """The numbers of pieces are not exact: gather once more, with ``beginnings`` known."""
        return self._pieces.tangled

    def result(self) -> Summary:
        """Return the summary of what was added. To be called once."""
        self._summary.pieces, self._summary.tangled = self._pieces.all, self._pieces.tangled
        self._summary.sum_seconds()
        return self._summary

    def add(self, block: EventBlock) -> None:
        """Take in the next block, which has one event at least. Raises ``ValueError`` as ``look_closely``."""
        events = block.events if block.events is not None else look_closely(block.raw)
        # Two passes that build next to nothing: most events are in the first one alone, or in neither.
        by_user, alone = _BY_USER, _LOOKED_AT
        used = [
            event
            for event in events
            if event.type == INCREMENTAL and (data := event.data) is not None and data.source in by_user
        ]
        special = [
            index
            for index, event in enumerate(events)
            if event.type != INCREMENTAL or ((data := event.data) is not None and data.source in alone)
        ]
        first_seq = block.first_seq
        details = _details_of(block.raw, events, special, first_seq)
        is_cut = self._begin(events, details, first_seq)
        if is_cut or (block.first_ts, first_seq) < self._pieces.keys[-1]:
            piece = None
            self._add_to_several(block, events, used)
        else:
            piece = self._pieces.last
            piece.events += len(events)
            piece.bytes += len(block.raw)
            piece.widen((block.first_ts, first_seq), (block.last_ts, first_seq + len(events) - 1))
        if used:
            counts = Counter([event.timestamp // 1000 for event in used])
            seconds = {int(second): count for second, count in counts.items()}
            self._totals.line.add(seconds)
            if piece is not None:
                piece.add_seconds(words_of(seconds))
        for index in special:
            event, seq = events[index], first_seq + index
            if event.type == INCREMENTAL:
                self._tell_interaction(event, seq, piece, details)
            else:
                self._tell_other(event, seq, piece, details)
        self._totals.limit_seq = first_seq + len(events)

    def _begin(
        self, events: Sequence[TellingEvent], details: Mapping[int, EventData], first_seq: int
    ) -> bool:
        """Begin the pieces that begin in a block; tell whether there are any."""
        found = []
        for seq, data in details.items():
            event = events[seq - first_seq]
            key = (event.timestamp, seq)
            if event.type == META:
                found.append(Beginning(key, True, data.href, data.width, data.height))
                self._totals.add_url(data.href, key)
            elif event.type == FULL_SNAPSHOT:
                found.append(Beginning(key, False))
        if not self._is_known:
            for beginning in sorted(found):
                self.beginnings.add(beginning)
                self._pieces.begin(beginning)
        return bool(found)

    def _add_to_several(
        self, block: EventBlock, events: Sequence[TellingEvent], used: Sequence[TellingEvent]
    ) -> None:
        """Count a block whose events may belong to several pieces, or to earlier ones."""
        of, raw, start = self._pieces.of, block.raw, 0
        with_input = set(map(id, used))
        for seq, event in enumerate(events, block.first_seq):
            limit = raw.find(b"\n", start) + 1
            key = (event.timestamp, seq)
            piece = of(key)
            piece.events += 1
            piece.bytes += limit - start
            piece.widen(key, key)
            if id(event) in with_input:
                piece.add_seconds(words_of((int(event.timestamp // 1000),)))
            start = limit

    def _tell_interaction(
        self, event: TellingEvent, seq: int, only: Piece | None, details: Mapping[int, EventData]
    ) -> None:
        """Count an input or a click."""
        totals, data, timestamp = self._totals, event.data, event.timestamp
        assert data is not None
        if data.source == _INPUT:
            if totals.chained_inputs.add(data.id, timestamp, seq):
                totals.inputs += 1
                (only or self._pieces.of((timestamp, seq))).inputs += 1
        elif data.type in _CLICKS:
            totals.clicks += 1
            (only or self._pieces.of((timestamp, seq))).clicks += 1
            if data.type == _CLICK:
                where = details[seq]
                totals.chained_clicks.add((timestamp, where.x, where.y))

    def _tell_other(
        self, event: TellingEvent, seq: int, only: Piece | None, details: Mapping[int, EventData]
    ) -> None:
        """Count an event that is not an incremental one."""
        kind = event.type
        piece = only or self._pieces.of((event.timestamp, seq))
        data = details.get(seq)
        is_error = False
        if kind == META:
            self._totals.chained_inputs.cut()
        elif kind in (DOM_CONTENT_LOADED, LOAD):
            piece.is_marked = True
        elif data is not None and kind == CUSTOM:
            piece.is_marked |= data.tag in _MARKS
            piece.closed |= data.tag == _CLOSED
            is_error = data.tag in self._error_tags
        elif data is not None and kind == PLUGIN and data.plugin == _CONSOLE:
            is_error = level_of(data.payload) == "error"
        if is_error:
            self._totals.errors += 1
            piece.errors += 1


_WITH_DETAILS = frozenset({META, CUSTOM, PLUGIN})
_NO_DETAILS = EventData()


def _details_of(
    raw: bytes, events: Sequence[TellingEvent], special: Sequence[int], first_seq: int
) -> dict[int, EventData]:
    """Return what counts of the data of each special event that needs a second look, by its sequenceId."""
    found: dict[int, EventData] = {}
    lines: list[bytes] = []
    for index in special:
        event = events[index]
        if event.type == FULL_SNAPSHOT:
            found[first_seq + index] = _NO_DETAILS
        elif event.type in _WITH_DETAILS or (
            event.type == INCREMENTAL
            and event.data is not None
            and event.data.source == _MOUSE_INTERACTION
            and event.data.type == _CLICK
        ):
            lines = lines or raw.split(b"\n")
            found[first_seq + index] = details_of(lines[index])
    return found


def summary_of(
    first_seq: int, blocks: Callable[[], Iterable[EventBlock]], *, error_tags: Collection[str] = ERROR_TAGS
) -> Summary:
    """Return the summary of a run. ``blocks()`` begins to read it, a second time where that is needed."""
    gatherer = Gatherer(first_seq, error_tags=error_tags)
    for block in blocks():
        gatherer.add(block)
    if gatherer.tangled:
        gatherer = Gatherer(first_seq, error_tags=error_tags, known=gatherer.beginnings)
        for block in blocks():
            gatherer.add(block)
    return gatherer.result()
