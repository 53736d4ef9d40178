"""Any file of rrweb events → batches of checked events, and which recording each belongs to.

A file is NDJSON, a JSON array of events, ``{"events":[…]}``, an object of arrays by recording id, or events
run together; plain or compressed with gzip, brotli or zstd. What it is shows at its beginning, but for
brotli, which has no magic number, so its file is named ``.br``. Arrays are taken apart as they come in: no
more of a file is in memory than a window and the event that has not ended.

**Whose is an event?** The first of these that says something:

1. the recording that the caller chose;
2. what ``rrd export --with-ids`` added to the event, or the name of the array it stands in;
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
from rrd.errors import BrokenEncoding, TooLarge
from rrd.transfer.documents import BATCH_BYTES, Documents, is_document
from rrd.transfer.lines import IN_RECORDING, own_recording
from rrd.wire.events import Batch, check_lines
from rrd.wire.inflate import Encoding, inflater
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
_BOM = b"\xef\xbb\xbf"


class Piece(NamedTuple):
    """Some events of a file that stand together, and belong together."""

    recording: str | None
    """None: nothing says whose they are."""
    batch: Batch


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
    for hint, lines in _lines(chunks, source, limits):
        for recording, group in owners.assign(hint, lines):
            rest = group
            while rest:
                batch = check_lines(rest, limits, first_line=line_number, may_end_early=True)
                rest = rest[batch.limit_line - line_number :]
                line_number = batch.limit_line
                yield Piece(recording, batch)


def encoding_of(head: bytes, name: str) -> Encoding:
    """Return how a file is compressed, by its first bytes, else by its name."""
    if head[:2] == b"\x1f\x8b":  # RFC 1952, 2.3.1
        return "gzip"
    # RFC 8878, 3.1.1 and 3.1.2: a frame, or a skippable one, with which our own segments begin.
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return "zstd"
    return "br" if name.endswith(".br") else "identity"


def _lines(
    chunks: Iterable[bytes], source: Source, limits: Limits
) -> Iterator[tuple[str | None, list[bytes]]]:
    """Yield lines, each an event if all is well, with the name of the array that they stand in."""
    windows = _windows(iter(chunks), source.name, limits)
    head = b""
    for window in windows:
        head += window
        if len(head) >= _HEAD_BYTES:
            break
    head = head.removeprefix(_BOM)
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


def _windows(chunks: Iterator[bytes], name: str, limits: Limits) -> Iterator[bytes]:
    first = next(chunks, b"")
    while len(first) < 4 and (more := next(chunks, b"")):
        first += more
    stream = inflater(encoding_of(first, name), zstd_window_bytes_max=limits.zstd_window_bytes_max)
    yield from stream.windows(first)
    for chunk in chunks:
        yield from stream.windows(chunk)
    if not stream.at_boundary:
        raise BrokenEncoding("the file ends before its compressed stream does")


class _Lines:
    """NDJSON → its lines."""

    def __init__(self, *, event_bytes_max: int) -> None:
        self._splitter = LineSplitter(line_bytes_max=event_bytes_max)

    def feed(self, window: bytes) -> Iterator[tuple[None, list[bytes]]]:
        try:
            self._splitter.feed(window)
        except TooLarge:
            yield from self._take()
            raise
        if self._splitter.whole_bytes >= BATCH_BYTES:
            yield from self._take()

    def finish(self) -> Iterator[tuple[None, list[bytes]]]:
        self._splitter.end_line()
        yield from self._take()

    def _take(self) -> Iterator[tuple[None, list[bytes]]]:
        if self._splitter.whole_bytes:
            yield None, self._splitter.take().split(b"\n")[:-1]


class _Owners:
    """Tells whose each line of one file is, and takes off what an export added."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._added = {"auto": _MARKED, "strip": _AS_THE_API, "keep": None}[source.ids]
        self._last: str | None = None

    def assign(self, hint: str | None, lines: list[bytes]) -> Iterator[tuple[str | None, list[bytes]]]:
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

    def _owner(self, hint: str | None, line: bytes) -> tuple[str | None, bytes]:
        source, said = self._source, None
        if self._added is not None and (added := self._added.search(line[-_TAIL_BYTES:])) is not None:
            said = (added[1] or added[2] or b"").decode()
            start = max(0, len(line) - _TAIL_BYTES) + added.start()
            line = line[:start] + b"}" + added[3]
        owner = source.recording or (said and source.parse_id(said)) or hint or source.named
        if owner is None and b'"recordingId"' in line:
            said = own_recording(line)
            owner = source.parse_id(said) if said is not None else None
        return owner or self._last, line


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
