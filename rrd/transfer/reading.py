"""Any file of rrweb events → batches of checked events, and which recording each belongs to.

A file is NDJSON or one of the forms in ``documents``, in any of the encodings in ``text``. Arrays are taken
apart as they come in: no more of a file is in memory than a window and the event that has not ended.

**Whose is an event?** The first of these that says something:

1. the recording that the caller chose;
2. what ``rrd export --with-ids`` added to the event, or what the document around it says;
3. the file's name;
4. a ``recordingId`` of the event's own, if that is a recording id;
5. the event before it.

**Added members come off again.** An event that was stored without ``sequenceId`` and ``recordingId`` must
come back without them, or it would be another event; one whose sender numbered it must keep its own. So an
export marks what it adds by a tab in front, which JSON allows (RFC 8259, section 2) and no serialiser
writes::

    {"type":3,"timestamp":1,"data":{}<TAB>,"sequenceId":7,"recordingId":"0b1c…"}

Bytes that the API answered with have no such mark: with ``ids="strip"`` the same members at an event's end
are taken off without it, with ``ids="keep"`` nothing is taken off at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from rrd.config import Config
from rrd.errors import TooLarge
from rrd.transfer.documents import BATCH_BYTES, Documents, Owner, is_document
from rrd.transfer.foreign import decompressed
from rrd.transfer.lines import IN_RECORDING, own_recording, own_window
from rrd.transfer.text import text_windows
from rrd.wire.events import Batch, check_lines
from rrd.wire.limits import Limits
from rrd.wire.lines import LineSplitter

Ids = Literal["auto", "keep", "strip"]

CHUNK_BYTES = 256 << 10
_HEAD_BYTES = 64 << 10
"""What is looked at to tell NDJSON from a document."""

_TAIL_BYTES = 256
"""An event's end, long enough for what an export adds: a number, an id of 64 characters, and some space."""

_ID = rb'"([A-Za-z0-9_-]{8,64})"'
_NAMES = rb',"(?:recordingId|' + IN_RECORDING + rb')":'
_ADDED = rb'(?:,"sequenceId":[0-9]{1,20}(?:' + _NAMES + _ID + rb")?|" + _NAMES + _ID + rb")\}([ \t\r]*)\Z"
_MARKED = re.compile(rb"\t" + _ADDED)
_AS_THE_API = re.compile(rb"\t?" + _ADDED)


_LINE_ENDS = (b"}", b'"', b"")
"""Nearly all lines end so; at the end of any other a comma may stand."""


class Piece(NamedTuple):
    """Some events of a file that stand together, and belong together."""

    recording: str | None
    """None: nothing says whose they are."""
    batch: Batch
    window: str | None = None
    """The browser window that the file says they come from."""


class Source(NamedTuple):
    """How to read one file."""

    name: str
    """Its name, for its suffix alone."""
    parse_id: Callable[[str], str | None]
    """Returns the canonical form of a recording id, None of what is none."""
    recording: str | None = None
    """Where all its events go, whatever they say."""
    named: str | None = None
    """The recording that the file's name tells."""
    ids: Ids = "auto"


def read_pieces(chunks: Iterable[bytes], source: Source, limits: Limits) -> Iterator[Piece]:
    """Yield what a file holds. Line numbers in a batch count its lines, or the events of a document, from 1.

    Raises ``WireError`` where the file can't be read any further; what was yielded before is good.
    """
    owners = _Owners(source)
    line_number = 1
    for owner, lines in _lines(chunks, source, limits):
        lines = [decompressed(line, bytes_max=limits.event_bytes_max) for line in lines]  # noqa: PLW2901
        for (recording, window), group in owners.assign(owner, lines):
            rest = group
            while rest:
                batch = check_lines(rest, limits, first_line=line_number, may_end_early=True)
                rest = rest[batch.limit_line - line_number :]
                line_number = batch.limit_line
                yield Piece(recording, batch, window)


def _lines(chunks: Iterable[bytes], source: Source, limits: Limits) -> Iterator[tuple[Owner, list[bytes]]]:
    """Yield lines, each an event if all is well, with what the document around them says of their owner."""
    windows = text_windows(iter(chunks), source.name, limits)
    head = b""
    for window in windows:
        head += window
        if len(head) >= _HEAD_BYTES:
            break
    splitter: Documents | _Lines
    if is_document(head, source.parse_id):
        splitter = Documents(source.parse_id, event_bytes_max=limits.event_bytes_max)
    else:
        splitter = _Lines(event_bytes_max=limits.event_bytes_max)
    yield from splitter.feed(head)
    del head
    for window in windows:
        yield from splitter.feed(window)
    yield from splitter.finish()


class _Lines:
    """NDJSON → its lines. Of an array that lost its brackets each line but the last ends with a comma."""

    def __init__(self, *, event_bytes_max: int) -> None:
        self._splitter = LineSplitter(line_bytes_max=event_bytes_max)

    def feed(self, window: bytes) -> Iterator[tuple[Owner, list[bytes]]]:
        try:
            self._splitter.feed(window)
        except TooLarge:
            yield from self._take()
            raise
        if self._splitter.whole_bytes >= BATCH_BYTES:
            yield from self._take()

    def finish(self) -> Iterator[tuple[Owner, list[bytes]]]:
        self._splitter.end_line()
        yield from self._take()

    def _take(self) -> Iterator[tuple[Owner, list[bytes]]]:
        if self._splitter.whole_bytes:
            lines = self._splitter.take().split(b"\n")[:-1]
            yield Owner(), [line if line[-1:] in _LINE_ENDS else _without_comma(line) for line in lines]


def _without_comma(line: bytes) -> bytes:
    whole = line.rstrip(b" \t\r")
    return whole[:-1] if whole[-1:] == b"," else line


class _Owners:
    """Tells whose each line of one file is, and takes off what an export added."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._added = {"auto": _MARKED, "strip": _AS_THE_API, "keep": None}[source.ids]
        self._last = Owner()

    def assign(self, hint: Owner, lines: list[bytes]) -> Iterator[tuple[Owner, list[bytes]]]:
        """Yield lines that stand together and belong together. A blank line belongs to those before it."""
        group: list[bytes] = []
        for line in lines:
            owner, event = self._owner(hint, line)
            if owner != self._last and group:
                yield self._last, group
                group = []
            self._last = owner
            group.append(event)
        if group:
            yield self._last, group

    def _owner(self, hint: Owner, line: bytes) -> tuple[Owner, bytes]:
        source, said = self._source, None
        if self._added is not None and (added := self._added.search(line[-_TAIL_BYTES:])) is not None:
            said = (added[1] or added[2] or b"").decode()
            start = max(0, len(line) - _TAIL_BYTES) + added.start()
            line = line[:start] + b"}" + added[3]
        owner = source.recording or (said and source.parse_id(said)) or hint.recording or source.named
        if owner is None and b'"recordingId"' in line:
            said = own_recording(line)
            owner = source.parse_id(said) if said is not None else None
        window = hint.window
        if window is None and b'"windowId"' in line:
            window = own_window(line)
        return Owner(owner or self._last.recording, window or self._last.window), line


def limits_of(config: Config) -> Limits:
    """Return the limits for a file of one's own: the settings', and none on what only a stranger's needs."""
    return Limits(
        event_bytes_max=config.event_bytes_max,
        document_bytes_max=config.event_bytes_max,
        body_bytes_max=None,
        zstd_window_bytes_max=128 << 20,  # What `zstd --long` asks for, and one reader can have.
        nesting_max=config.nesting_max,
        metadata_keys_max=config.metadata_keys_max,
        metadata_key_bytes_max=config.metadata_key_bytes_max,
        metadata_value_bytes_max=config.metadata_value_bytes_max,
        metadata_value_too_long=config.metadata_value_too_long,
        batch_bytes=BATCH_BYTES,
    )
