"""Events as frames of a stream that goes on and on: server-sent events, or lines of JSON.

A frame is a piece that its reader takes in as one: of server-sent events one message
(https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.5), each of whose ``data`` lines is an
event. Its ``id`` is the number up to which the reader has all events once it has the frame, so that what
comes after that number is all that it still needs. A frame after which it lacks an earlier one has no ``id``;
that happens while history is told in a replayer's order, where this is not the order of arrival.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from math import inf
from typing import NamedTuple

import msgspec

from rrd.errors import CorruptSegment
from rrd.playback.blocks import Blocks
from rrd.playback.bodies import Events, as_arrived
from rrd.playback.order import Merge
from rrd.playback.splice import NDJSON, Form, Splicer
from rrd.playback.table import ALWAYS, PlaybackTable
from rrd.segment.format import BlockDraft, BlockHeader

FRAME_BYTES = 64 << 10
"""A frame is no larger, unless a single event is."""

_HOP_BYTES = 512 << 10
"""So much is read in one visit to a thread, or a block if that is more."""

_CLOSE = b'"close-permanent"'


class FrameForm(NamedTuple):
    """How frames look."""

    name: str
    form: Form
    """Of the events in one."""
    has_ids: bool
    ping: bytes
    """What says nothing, and keeps the connection open."""


SERVER_SENT = FrameForm("sse", Form(b"data: ", b"\ndata: ", b"\n", b""), True, b": ping\n\n")
LINES = FrameForm("lines", NDJSON, False, b"\n")


class StreamFrame(NamedTuple):
    """Events in order of arrival."""

    limit_seq: int
    """sequenceId after the last of them."""
    data: bytes


class Framer:
    """Makes frames of one recording's events."""

    def __init__(self, recording_id: str, frame_form: FrameForm) -> None:
        self.form = frame_form
        self._splicer = Splicer(recording_id, frame_form.form)

    def text(self, events: Events) -> bytes:
        """Return events as they stand in a frame, each with what follows one."""
        return b"".join(self._splicer.splice(events.bodies, events.seqs, events.own))

    def frame(self, texts: Sequence[bytes], complete_to: int | None) -> bytes:
        """Return a frame. ``complete_to``: up to which event its reader has all, None if it lacks one."""
        text = texts[0] if len(texts) == 1 else b"".join(texts)
        if not self.form.has_ids:
            return text
        # Outside of strings JSON takes a CR for a space, and inside there is none; here it would end a line.
        if b"\r" in text:
            text = text.replace(b"\r", b" ")
        form = self.form.form
        mark = b"" if complete_to is None else b"id: %d\n" % complete_to
        return b"".join((form.opening, text.removesuffix(form.between), form.closing, mark, b"\n"))

    def mark(self, complete_to: int) -> bytes:
        """Return a frame without events. It is not told to a page, whose browser keeps its ``id`` though."""
        return b"id: %d\n\n" % complete_to if self.form.has_ids else b""

    def cut(self, events: Events) -> Iterator[Events]:
        """Cut events into runs, each as many as fit into a frame, and one at least."""
        tail_size = self._splicer.tail_size
        start = size = 0
        for at, body in enumerate(events.bodies):
            more = len(body) + tail_size
            if at > start and size + more > FRAME_BYTES:
                yield events.slice(start, at)
                start, size = at, 0
            size += more
        if start < len(events.bodies):
            yield events.slice(start, len(events.bodies)) if start else events

    def arrived(self, raw: bytes, header: BlockHeader | BlockDraft, *, next_seq: int) -> list[StreamFrame]:
        """Return frames of a block's events from ``next_seq`` on, in order of arrival.

        ``raw``: the block's lines. Raises ``ValueError`` if they are not as many as ``header`` says.
        """
        events = as_arrived(raw, header)
        if next_seq > header.first_seq:
            events = events.slice(next_seq - header.first_seq, header.event_count)
        return [
            StreamFrame(part.seqs[-1] + 1, self.frame([self.text(part)], part.seqs[-1]))
            for part in self.cut(events)
        ]


def frames_in_order(
    table: PlaybackTable, framer: Framer, *, complete_to: int, bytes_max: int
) -> Generator[bytes, None, None]:
    """Yield the events of a table in a replayer's order as frames, and then that this is all of them.

    ``complete_to``: the last event of the recording as of this table. ``bytes_max``: budget for decoded
    blocks (``order``). Blocking; raises as ``stream.read_in_order`` does.
    """
    blocks = Blocks(table)
    merge = Merge(
        table.first_ts, table.last_ts, load=blocks.load, cost_of=blocks.cost_of, bytes_max=bytes_max
    )
    is_all = table.between == ALWAYS
    count = greatest = size = 0
    texts: list[bytes] = []

    def known() -> int | None:
        # Numbers begin at 1 and have no gap: so many events, none beyond that number, are all up to it.
        return greatest if is_all and count == greatest else None

    for run in merge.runs():
        for part in framer.cut(run):
            text = framer.text(part)
            if texts and size + len(text) > FRAME_BYTES:
                yield framer.frame(texts, known())
                texts, size = [], 0
            texts.append(text)
            size += len(text)
            count += len(part.bodies)
            greatest = max(greatest, *part.seqs[-1:], *(() if isinstance(part.seqs, range) else part.seqs))
        # Not to be kept alive while the next block is decoded.
        del run
    if texts:
        yield framer.frame(texts, known())
    if known() != complete_to:
        yield framer.mark(complete_to)


class Arrived(NamedTuple):
    """Some blocks' events in order of arrival."""

    frames: list[StreamFrame]
    limit_block: int
    """Number of the next block in the table."""
    limit_seq: int
    last_ts: float
    """Greatest timestamp, ms; -inf without events."""
    closes_ts: float
    """Of ``close-permanent``, as ``closes_at``."""


def read_arrived(table: PlaybackTable, block: int, next_seq: int, framer: Framer) -> Arrived:
    """Read blocks of a table from number ``block`` on: events from ``next_seq`` on, some of them. Blocking.

    Memory: about four times the largest block. Raises ``CorruptSegment``, ``OSError``, ``StoreAway``.
    """
    frames: list[StreamFrame] = []
    last_ts = closes_ts = -inf
    size = 0
    while block < len(table) and size < _HOP_BYTES:
        source, header = table.block(block)
        if header.limit_seq > next_seq:
            if frames and size + header.raw_size > _HOP_BYTES:
                break
            raw = source.events(header)
            try:
                frames += framer.arrived(raw, header, next_seq=next_seq)
            except ValueError as error:
                raise CorruptSegment(
                    f"{error}, in the block", path=source.path, offset=header.offset
                ) from error
            size += header.raw_size
            next_seq = header.limit_seq
            last_ts = max(last_ts, header.last_ts)
            closes_ts = max(closes_ts, closes_at(raw))
        block += 1
    return Arrived(frames, block, next_seq, last_ts, closes_ts)


class _ClosingData(msgspec.Struct, gc=False):
    tag: str


class _Closing(msgspec.Struct, gc=False):
    type: float
    timestamp: float
    data: _ClosingData


_closing = msgspec.json.Decoder(_Closing)


def closes_at(raw: bytes) -> float:
    """Return when a page said that the recording is over, ms; -inf if no event of a block does.

    It looks for ``close-permanent``, as ``wire`` does; an escaped spelling of that, which no client writes,
    is not found.
    """
    found, at = -inf, raw.find(_CLOSE)
    while at >= 0:
        start, limit = raw.rfind(b"\n", 0, at) + 1, raw.find(b"\n", at)
        limit = limit if limit >= 0 else len(raw)
        try:
            event = _closing.decode(raw[start:limit])
        except (msgspec.DecodeError, RecursionError):
            event = None
        if event is not None and event.type == 5 and event.data.tag == "close-permanent":
            found = max(found, event.timestamp)
        at = raw.find(_CLOSE, limit)
    return found


def closes_in(table: PlaybackTable) -> tuple[float, float]:
    """Return the greatest timestamp of a table, and when the page said that all is over, if it did so then.

    Blocking, as it reads the one block that has this timestamp. Both are -inf without events.
    """
    if not len(table):
        return -inf, -inf
    last_ts = max(table.last_ts)
    number = len(table) - 1 - table.last_ts[::-1].index(last_ts)
    source, header = table.block(number)
    return last_ts, closes_at(source.events(header))
