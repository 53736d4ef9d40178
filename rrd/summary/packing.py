"""A summary made while segments are packed into an object: what ``segment.pack`` asks for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import cast

from rrd.segment.run import CheckedBlock
from rrd.summary.gather import ERROR_TAGS, EventBlock, Gatherer
from rrd.summary.lines import TellingEvent, look_closely
from rrd.summary.summary import Summary, encode_note


class PackedSummary:
    """Sees the blocks of a run while they are packed. ``result`` is there once all are."""

    def __init__(self, *, error_tags: Collection[str] = ERROR_TAGS) -> None:
        self._error_tags = error_tags
        self._first_seq = 1
        self._gatherer = Gatherer(1, error_tags=error_tags)
        self.result: Summary | None = None

    def begin(self, first_seq: int) -> None:
        """Take in the sequenceId of the first event to come."""
        self._first_seq = first_seq
        self._gatherer = Gatherer(first_seq, error_tags=self._error_tags)

    def look(self, raw: bytes) -> Sequence[TellingEvent]:
        """Return what there is to know of each line."""
        return look_closely(raw)

    def add(self, block: CheckedBlock) -> None:
        """Take in the next block. ``events`` are what ``look`` returned."""
        if block.events:
            self._gatherer.add(_events_of(block))

    def notes(self, again: Callable[[], Iterator[CheckedBlock]]) -> bytes:
        """Return the line for the object's last block; nothing for no events."""
        gatherer = self._gatherer
        if gatherer.tangled:
            gatherer = Gatherer(self._first_seq, error_tags=self._error_tags, known=gatherer.beginnings)
            for block in _with_events(again()):
                gatherer.add(block)
        self.result = gatherer.result()
        return encode_note(self.result) if self.result.totals.limit_seq > self._first_seq else b""


def _with_events(blocks: Iterable[CheckedBlock]) -> Iterator[EventBlock]:
    for block in blocks:
        if block.events:
            yield _events_of(block)


def _events_of(block: CheckedBlock) -> EventBlock:
    header = block.header
    # What ``look`` of ours returned.
    events = cast("Sequence[TellingEvent]", block.events)
    return EventBlock(header.first_seq, header.first_ts, header.last_ts, block.raw, events)
