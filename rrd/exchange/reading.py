"""Any file of rrweb events → batches of checked events, and which recording each belongs to.

A file is NDJSON, or JSON of any shape that ``documents`` can take apart; ``unpacking`` says how it may be
packed. What it is shows at its beginning. Lines of NDJSON that are no events get a second look: one may end
with a comma, be JSON text in a string, or hold events as a document does.

**Whose is an event?** The first of these that says something:

1. the recording that the caller chose;
2. what ``rrd export --with-ids`` added to the event, or the name of the array it stands in;
3. the file's name, if it is a UUID or ``rrd export`` wrote it;
4. a ``recordingId`` of the event's own, if that is a recording id, or a ``sessionId`` or the like that is one
   on purpose;
5. the event before it, of the same file;
6. what the document says around its events (``origins``);
7. the events themselves: their recording's id is made of them (``origins.ContentId``).

**One recording a window.** Exports of sessions hold the events of several windows, dealt out in turns. Each
window has a page of its own, and played as one they would change each other's: so each is a recording.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from rrd.config import Config
from rrd.errors import BrokenEncoding, WireError
from rrd.exchange.documents import Documents, Found, Place
from rrd.exchange.foreign import ForeignFile, explain, refuse_foreign
from rrd.exchange.origins import Origins
from rrd.exchange.owners import Ids, Owner, Owners, without_space
from rrd.exchange.shapes import holds_events, is_document
from rrd.exchange.spool import BATCH_BYTES
from rrd.exchange.unpacking import ZSTD_WINDOW_BYTES_MAX, peeked, text_windows
from rrd.wire.events import Batch, check_lines
from rrd.wire.limits import Limits, limits_of
from rrd.wire.lines import LineSplitter

__all__ = ["CHUNK_BYTES", "EventGroup", "Ids", "Input", "file_limits_of", "read_pieces"]

CHUNK_BYTES = 256 << 10
_HEAD_BYTES = 64 << 10
"""What is looked at to tell NDJSON from a document."""


class EventGroup(NamedTuple):
    """Some events of a file that stand together, and belong together."""

    owner: Owner
    batch: Batch

    @property
    def recording_id(self) -> str | None:
        """None: nothing near them says whose they are."""
        return self.owner.recording_id


class Input(NamedTuple):
    """How to read one file."""

    name: str
    """Its name, for its suffix alone."""
    parse_id: Callable[[str], str | None]
    """Returns the canonical form of a recording id, None of what is none."""
    recording_id: str | None = None
    """Where all its events go, whatever they say."""
    named: str | None = None
    """The recording that the file's name tells."""
    ids: Ids = "auto"


def read_pieces(chunks: Iterable[bytes], source: Input, limits: Limits) -> Iterator[EventGroup]:
    """Yield what a file holds. Line numbers in a batch count its lines, or the events of a document, from 1.

    Raises ``WireError`` where the file can't be read any further; what was yielded before is good.
    """
    windows = text_windows(chunks, source.name, zstd_window_bytes_max=limits.zstd_window_bytes_max)
    head, windows = peeked(_HEAD_BYTES, windows)
    refuse_foreign(head)
    reader = _Reader(source, limits)
    has_events = has_refused = False
    for piece in reader.documents(head, windows) if is_document(head) else reader.lines(head, windows):
        has_events = has_events or bool(piece.batch.event_count or piece.batch.metadata)
        has_refused = has_refused or bool(piece.batch.rejected)
        yield piece
    if has_refused and not has_events:
        raise ForeignFile(explain(head))


class _Reader:
    """Reads one file."""

    def __init__(self, source: Input, limits: Limits) -> None:
        self._origins = Origins(source.parse_id)
        self._owners = Owners(
            self._origins,
            recording_id=source.recording_id,
            named=source.named,
            ids=source.ids,
            bytes_max=limits.event_bytes_max,
        )
        self._limits = limits
        self._number = 1
        """Of the next line, or event of a document."""

    def documents(self, head: bytes, windows: Iterator[bytes]) -> Iterator[EventGroup]:
        """Read JSON documents."""
        documents = Documents(self._origins, self._limits)
        try:
            for window in itertools.chain((head,), windows):
                for found in documents.feed(window):
                    yield from self._pieces(found)
        except BrokenEncoding:
            for found in documents.whole():
                yield from self._pieces(found)
            raise
        for found in documents.finish():
            yield from self._pieces(found)

    def lines(self, head: bytes, windows: Iterator[bytes]) -> Iterator[EventGroup]:
        """Read NDJSON."""
        splitter = LineSplitter(line_bytes_max=self._limits.event_bytes_max)
        try:
            for window in itertools.chain((head,), windows):
                splitter.feed(window)
                if splitter.whole_bytes >= self._limits.batch_bytes:
                    yield from self._take(splitter)
        except WireError:
            # Damaged, or a line is too large: what came before is good.
            yield from self._take(splitter)
            raise
        splitter.end_line()
        yield from self._take(splitter)

    def _take(self, splitter: LineSplitter) -> Iterator[EventGroup]:
        if splitter.whole_bytes:
            lines = splitter.take().split(b"\n")[:-1]
            yield from self._pieces(Found(Place(self._origins.nothing), lines), looks_again=True)

    def _pieces(self, found: Found, *, looks_again: bool = False) -> Iterator[EventGroup]:
        for owner, lines in self._owners.assign(found):
            rest = lines
            while rest:
                batch = check_lines(rest, self._limits, first_line=self._number, may_end_early=True)
                taken, rest = rest[: batch.limit_line - self._number], rest[batch.limit_line - self._number :]
                if batch.rejected and looks_again:
                    yield from self._look_again(owner, taken, batch)
                else:
                    self._number = batch.limit_line
                    yield EventGroup(owner, _unpacked_alike(owner, taken, batch))

    def _look_again(self, owner: Owner, lines: list[bytes], batch: Batch) -> Iterator[EventGroup]:
        """Take lines apart that are no events as they stand, but may hold some; the others stay in place."""
        first, start = self._number, 0
        for number in sorted({bad.line - first for bad in batch.rejected}):
            found = self._events_in(lines[number])
            if found:
                yield from self._checked(owner, lines[start:number], first + start)
                for part in found:
                    self._number = first + number
                    yield from self._pieces(part)
                start = number + 1
        yield from self._checked(owner, lines[start:], first + start)
        self._number = first + len(lines)

    def _checked(self, owner: Owner, lines: list[bytes], first: int) -> Iterator[EventGroup]:
        if lines:
            self._number = first
            batch = check_lines(lines, self._limits, first_line=first)
            yield EventGroup(owner, batch)

    def _events_in(self, line: bytes) -> list[Found]:
        """Return the events in a line that is none; nothing if there are none either."""
        documents = Documents(self._origins, self._limits)
        try:
            found = [*documents.feed(line), *documents.finish()]
        except WireError:
            return []
        is_good = any(holds_events(text, 0) for part in found for text in part.lines)
        return found if is_good else []


def _unpacked_alike(owner: Owner, lines: Sequence[bytes], batch: Batch) -> Batch:
    """Return a batch without the white space in its packed events, if nothing names their recording.

    Of other events it is gone already (``owners``).
    """
    if owner.recording_id is not None or not any(line[:1] == b'"' for line in lines):
        return batch
    events = batch.payload.split(b"\n")[:-1]
    return batch._replace(payload=b"".join([without_space(event) + b"\n" for event in events]))


def file_limits_of(config: Config, *, batch_bytes: int = BATCH_BYTES) -> Limits:
    """Return the limits for a file of one's own: the settings', and none on what only a stranger's needs."""
    return limits_of(config)._replace(
        document_bytes_max=config.event_bytes_max,
        body_bytes_max=None,
        body_lines_max=None,
        inflate_ratio_max=None,
        zstd_window_bytes_max=ZSTD_WINDOW_BYTES_MAX,
        batch_bytes=batch_bytes,
    )
