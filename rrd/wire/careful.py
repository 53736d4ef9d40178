"""Lines one by one → events, metadata, and what is refused, with the reason.

The way of the few lines that one parser call doesn't take: ``recording-meta``, packed events, documents on a
line, several values on one, lone surrogates, deep nesting, and all that is bad.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec import UNSET

from rrd.wire.documents import is_document, split_document
from rrd.wire.forms import BOM
from rrd.wire.limits import Limits
from rrd.wire.metadata import BadPair, read_metadata
from rrd.wire.packed import unpack
from rrd.wire.parse import CUSTOM, META, SNAPSHOT, Reason, Refusal, is_utf8, parse, tagged_data
from rrd.wire.turns import (
    BAD_BYTES_OF_VALUE,
    BAD_VALUE_COST,
    DOCUMENT_COST,
    METADATA_COST,
    QUICK_DOCUMENT_BYTES_MAX,
    QUICK_LINE_BYTES_MAX,
    QUICK_PACKED_BYTES_MAX,
    QUICK_TOGETHER_BYTES_MAX,
    QUICK_UNPACKED_BYTES_MAX,
    QUICK_VALUES_MAX,
    TakesLong,
)
from rrd.wire.values import skip_separator, skip_space, value_end

_BAD_EVENTS_MAX = 10_000
"""So many bad events of one document or line are set aside one by one; each takes a hundred bytes beside its
own. What comes behind is set aside in one piece."""

_METADATA_TAG = "recording-meta"
_CLOSE_TAG = "close-permanent"

_PAGE_TYPES = (SNAPSHOT, META)

_REASONS_OF_WRAPPERS = frozenset({"bad_type", "not_json", "too_deep", "invalid_utf8"})
"""What the parser may say of ``{"events":[…]}``."""


class Rejected(NamedTuple):
    """A line kept out of the events: its number in its body or socket (from 1), why, and its bytes."""

    line: int
    reason: Reason
    raw: bytes


class MetadataEvent(NamedTuple):
    """A ``recording-meta`` event: its line's number, the good pairs of it, its bytes, the bad pairs."""

    line: int
    values: dict[str, str]
    raw: bytes
    bad: tuple[BadPair, ...] = ()


class Careful:
    """Takes lines one by one, and sorts them into events, metadata and refused."""

    def __init__(self, limits: Limits, *, is_quick: bool) -> None:
        self._limits = limits
        self._is_quick = is_quick
        self._cost = 0
        """Values, or what costs as much."""
        self._metadata_bytes = 0
        self.kept: list[bytes] = []
        self.stamps: list[int | float] = []
        self.metadata: list[MetadataEvent] = []
        self.rejected: list[Rejected] = []
        self.types: set[int] = set()
        """Which of those that a page begins with there are among the events kept."""
        self.own_ids = False
        self.closes = False
        self.unpacked_bytes = 0
        self.document_bytes = 0
        """Bytes of lines that were taken apart as documents."""

    @property
    def is_enough(self) -> bool:
        """A batch should end here: it has grown far larger than its lines, or is full of bad ones."""
        size = self.unpacked_bytes + self.document_bytes
        return size >= self._limits.batch_bytes or len(self.rejected) >= _BAD_EVENTS_MAX

    def take(self, number: int, line: bytes) -> None:
        line = line.removeprefix(BOM)
        if not line or line.isspace():
            return
        if line.lstrip()[:1] == b"[" or b"\n" in line:
            self._take_document(number, line)
            return
        try:
            self._take_value(number, line)
        except Refusal as refusal:
            self._count(BAD_VALUE_COST + len(line) // BAD_BYTES_OF_VALUE)
            if refusal.reason in _REASONS_OF_WRAPPERS and is_document(line):
                self._take_document(number, line)
                return
            values = None
            if refusal.reason in {"not_json", "bad_packed_event"}:
                if self._is_quick and len(line) > QUICK_TOGETHER_BYTES_MAX:
                    raise TakesLong from None
                values = _separate(line)
            if values is None:
                self.rejected.append(Rejected(number, refusal.reason, line))
            else:
                self._take_values(number, line, values, refusal.reason)

    def _count(self, cost: int) -> None:
        self._cost += cost
        if self._is_quick and self._cost > QUICK_VALUES_MAX:
            raise TakesLong

    def _take_value(self, number: int, line: bytes) -> None:
        self._count(1)
        if self._is_quick and len(line) > QUICK_LINE_BYTES_MAX:
            raise TakesLong
        if len(line) > self._limits.event_bytes_max:
            raise Refusal("too_large")
        if line.lstrip()[:1] == b'"':
            line = self._unpack(line)
        is_text = is_utf8(line)
        try:
            event = parse(line, self._limits.nesting_max)
        except Refusal:
            if not is_text:
                raise Refusal("invalid_utf8") from None
            raise
        if event.type == CUSTOM:
            tagged = tagged_data(event)
            if tagged is not None and tagged.tag == _METADATA_TAG:
                self._take_metadata(number, line, bytes(tagged.payload))
                return
            self.closes = self.closes or (is_text and tagged is not None and tagged.tag == _CLOSE_TAG)
        if not is_text:
            raise Refusal("invalid_utf8")
        self.kept.append(line)
        self.stamps.append(event.timestamp)
        if event.type in _PAGE_TYPES:
            self.types.add(event.type)
        self.own_ids = self.own_ids or event.sequenceId is not UNSET or event.recordingId is not UNSET

    def _take_document(self, number: int, line: bytes) -> None:
        """Take the events of an array or wrapper."""
        self._count(DOCUMENT_COST)
        is_whole = value_end(line, skip_space(line, 0)) is not None
        self._take_values(number, line, _flat(line), None if is_whole else "not_json")

    def _take_values(self, number: int, line: bytes, values: Iterable[bytes], reason: Reason | None) -> None:
        """Take the events out of a line of many. It is refused as a whole if there are none but bad ones.

        ``reason``: why it is refused if it holds nothing at all; None: it isn't.
        """
        if self._is_quick and len(line) > QUICK_DOCUMENT_BYTES_MAX:
            raise TakesLong
        self.document_bytes += len(line)
        count = len(self.kept) + len(self.metadata)
        bad: list[Rejected] = []
        rest = bytearray()
        for value in values:
            if len(bad) >= _BAD_EVENTS_MAX:
                # Its source is refused for so many: looking on would only take the time of others.
                rest += value
                rest += b","
                continue
            try:
                self._take_value(number, value)
            except Refusal as refusal:
                self._count(BAD_VALUE_COST)
                bad.append(Rejected(number, refusal.reason, value))
        if len(self.kept) + len(self.metadata) == count:
            reason = bad[0].reason if bad else reason
            if reason is not None:
                self.rejected.append(Rejected(number, reason, line))
            return
        self.rejected += bad
        if rest:
            self.rejected.append(Rejected(number, "too_many_bad_events", b"[" + bytes(rest[:-1]) + b"]"))

    def _take_metadata(self, number: int, line: bytes, payload: bytes) -> None:
        self._count(METADATA_COST)
        self._metadata_bytes += len(payload)
        if self._is_quick and self._metadata_bytes > QUICK_DOCUMENT_BYTES_MAX:
            raise TakesLong
        # Bytes that are no UTF-8 lose the pair that they stand in, and no other.
        try:
            values, bad = read_metadata(payload, self._limits, flat=False)
        except ValueError:
            raise Refusal("bad_metadata") from None
        self.metadata.append(MetadataEvent(number, values, line, bad))

    def _unpack(self, line: bytes) -> bytes:
        if self.unpacked_bytes >= self._limits.event_bytes_max:
            raise Refusal("too_large")
        if self._is_quick and (
            len(line) > QUICK_PACKED_BYTES_MAX or self.unpacked_bytes > QUICK_UNPACKED_BYTES_MAX
        ):
            raise TakesLong
        unpacked = unpack(line, bytes_max=self._limits.event_bytes_max)
        if unpacked is None:
            raise Refusal("bad_packed_event")
        self.unpacked_bytes += len(unpacked)
        return unpacked


def _flat(line: bytes) -> Iterator[bytes]:
    """Yield what is in a document, and what is in the arrays in it."""
    for value in split_document(line):
        if value[:1] == b"[":
            yield from split_document(value)
        else:
            yield value


def _separate(line: bytes) -> Iterator[bytes] | None:
    """Return the values on a line that holds several, the last one possibly cut off, or has commas around.

    None if there is anything else, or no more than one value.
    """
    count = start = limit = 0
    for start, limit in _spans(line):  # noqa: B007  # the last ones are wanted
        count += 1
    is_one = count == 1 and line[start:limit].rstrip() == line.strip()
    if not count or is_one or skip_separator(line, limit) < len(line):
        return None
    # Looked through twice, so that a million of them are never held.
    return (line[start:limit].rstrip() for start, limit in _spans(line))


def _spans(line: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the objects and strings stand that a line begins with, up to one that does not end."""
    at = skip_separator(line, 0)
    while line[at : at + 1] in {b"{", b'"'}:
        limit = value_end(line, at)
        yield at, len(line) if limit is None else limit
        at = len(line) if limit is None else skip_separator(line, limit)
