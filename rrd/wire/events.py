"""Lines → a batch of checked events.

An event is a JSON object with an integer ``type`` and a numeric ``timestamp``; nothing else of it is
built, and its bytes are passed on untouched. Almost all lines are *plain*: no custom event, no number of
their own. A batch of plain lines is checked by one parser call a line (``_Plain`` refuses whatever is not
plain); only where that fails does each line take the careful way, which knows ``recording-meta``, packed
events, lone surrogates and what to say about a bad line.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from rrd.nesting import is_too_deep, parser_takes
from rrd.wire.documents import is_document, split_document
from rrd.wire.forms import BOM, begins_document
from rrd.wire.limits import Limits
from rrd.wire.metadata import BadPair, read_metadata
from rrd.wire.packed import unpack
from rrd.wire.parse import CUSTOM, Reason, Refusal, Timestamp, check_utf8, is_utf8, parse, tagged_data
from rrd.wire.turns import (
    BAD_BYTES_OF_VALUE,
    BAD_VALUE_COST,
    DOCUMENT_COST,
    METADATA_COST,
    QUICK_DOCUMENT_BYTES_MAX,
    QUICK_LINE_BYTES_MAX,
    QUICK_LINES_MAX,
    QUICK_PACKED_BYTES_MAX,
    QUICK_TOGETHER_BYTES_MAX,
    QUICK_UNPACKED_BYTES_MAX,
    QUICK_VALUES_MAX,
    TakesLong,
)
from rrd.wire.values import skip_separator, skip_space, value_end

_Never = Annotated[int, Meta(ge=1, le=0)]


class _Plain(msgspec.Struct, gc=False):
    """An event that needs no second look. Custom events (type 5) may carry metadata."""

    type: Literal[0, 1, 2, 3, 4, 6, 7, 8]
    timestamp: Timestamp
    sequenceId: _Never | UnsetType = UNSET  # noqa: N815  # names of the API
    recordingId: _Never | UnsetType = UNSET  # noqa: N815


_plain = msgspec.json.Decoder(_Plain).decode
Line = bytes | bytearray | memoryview
"""An event's bytes, without the LF."""

_VIEWS_MAX = 1 << 14
"""A view takes 200 bytes, and junk may be lines of one."""

_LONG_MESSAGE_BYTES = 1 << 10
"""From this mean on it costs less to search messages one by one than to put them together first."""

_BAD_EVENTS_MAX = 10_000
"""So many bad events of one document or line are set aside one by one; each takes a hundred bytes beside its
own. What comes behind is set aside in one piece."""

_METADATA_TAG = "recording-meta"
_CLOSE_TAG = "close-permanent"


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


class Batch(NamedTuple):
    """Checked events of one sender, in the order in which they came."""

    payload: bytes
    """The events, each ended by one LF."""
    event_count: int
    first_ts: float
    """Least timestamp, ms; 0 without events."""
    last_ts: float
    ordered: bool
    """Timestamps never decrease."""
    own_ids: bool
    """At least one event may have a ``sequenceId`` or ``recordingId`` of its own."""
    metadata: tuple[MetadataEvent, ...]
    """``recording-meta`` events; they are not among the events."""
    rejected: tuple[Rejected, ...]
    limit_line: int
    """Number of the line after the last."""
    closes: bool = False
    """A ``close-permanent`` event is among the events: the page says that the recording is over."""


def check_messages(
    messages: Sequence[bytes], limits: Limits, *, first_line: int, is_quick: bool = False
) -> Batch:
    """Check WebSocket messages, each of which is one line or many; a message's end ends a line.

    All of it is held at once, some ten times over if it is junk: this is for messages gathered up to
    ``limits.batch_bytes``. A larger message is better fed to a ``Decoder``. A message may be a bytearray,
    too; what is returned holds bytes only. With ``is_quick`` it raises ``TakesLong`` rather
    than do more than a quick call may.
    """
    if is_quick and len(messages) > QUICK_LINES_MAX:
        raise TakesLong
    payload = b"\n".join((*messages, b""))
    if not _has_line_feed(messages, len(payload)):
        return check_lines(messages, limits, first_line=first_line, payload=payload, is_quick=is_quick)
    payload = b"".join([message if message[-1:] == b"\n" else message + b"\n" for message in messages])
    found = split_lines(payload, count_max=QUICK_LINES_MAX if is_quick else None)
    if found is None:
        raise TakesLong
    batch = check_lines(found, limits, first_line=first_line, payload=payload, is_quick=is_quick)
    # A document on several lines never gives good lines only, so others are not looked at.
    if batch.rejected and any(map(begins_document, messages)):
        lines: list[Line] = []
        for message in messages:
            if begins_document(message):
                lines.append(bytes(message).rstrip())
            else:
                lines += message.removesuffix(b"\n").split(b"\n")
        return _check_carefully(lines, limits, first_line, may_end_early=False, is_quick=is_quick)
    return batch


def _has_line_feed(messages: Sequence[bytes], size: int) -> bool:
    if size < _LONG_MESSAGE_BYTES * len(messages):
        return b"\n" in b"".join(messages)  # Copying and searching is faster than counting what is found.
    return any(b"\n" in message for message in messages)


def split_lines(payload: bytes, *, count_max: int | None = None) -> list[Line] | None:
    """Return the lines of ``payload``, each ended by LF, as views without it; None if there are too many.

    (``bytes.split`` looks at bytes one by one and copies them: on the corpus a third as fast.)
    """
    view, find = memoryview(payload), payload.find
    lines: list[Line] = []
    start = 0
    views_max = _VIEWS_MAX if count_max is None else min(count_max, _VIEWS_MAX)
    while (limit := find(b"\n", start)) >= 0:
        lines.append(view[start:limit])
        start = limit + 1
        if len(lines) > views_max:
            if count_max is not None and payload.count(b"\n") > count_max:
                return None
            return list(payload.split(b"\n")[:-1])
    return lines


def check_lines(
    lines: Sequence[Line],
    limits: Limits,
    *,
    first_line: int,
    payload: bytes | None = None,
    numbers: Sequence[int] | None = None,
    may_end_early: bool = False,
    is_quick: bool = False,
) -> Batch:
    """Check lines without their LFs. ``payload``, if given, is the same lines, each ended by LF.

    Packed events may make a batch far larger than its lines. Once ``limits.event_bytes_max`` was
    unpacked, more of them are refused as ``too_large``. With ``may_end_early`` the batch ends before that,
    at ``limits.batch_bytes``; its ``limit_line`` tells, and the other lines are left to the caller.
    ``numbers``: the lines' own, if they don't simply follow ``first_line``. With ``is_quick`` it raises
    ``TakesLong`` rather than do more than a quick call may.
    """

    def carefully() -> Batch:
        return _check_carefully(
            lines, limits, first_line, numbers=numbers, may_end_early=may_end_early, is_quick=is_quick
        )

    if payload is None:
        payload = b"\n".join(lines) + b"\n" if lines else b""
    if b"\r" in payload:
        # A carriage return before the line feed belongs to the line's end, and never makes another event.
        lines = [bytes(line).rstrip(b"\r") for line in lines]
        payload = b"\n".join((*lines, b""))
    try:
        check_utf8(payload)
        # A call a line: ``decode_lines`` is half as fast again, but to it a line's end is any white space.
        stamps = [event.timestamp for event in map(_plain, lines)]
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return carefully()
    line_bytes_max = max(map(len, lines), default=0)
    if line_bytes_max > limits.event_bytes_max or _has_deep_line(lines, limits.nesting_max, line_bytes_max):
        return carefully()
    limit_line = numbers[-1] + 1 if numbers else first_line + len(lines)
    return _batch(payload, stamps, limit_line=limit_line)


def _has_deep_line(lines: Sequence[Line], nesting_max: int, line_bytes_max: int) -> bool:
    """Tell whether a line that the parser took nests deeper than ``nesting_max``: never, if that is high."""
    if line_bytes_max <= 2 * nesting_max or not parser_takes(nesting_max):
        return False
    return any(len(line) > 2 * nesting_max and is_too_deep(bytes(line), nesting_max) for line in lines)


def _batch(
    payload: bytes,
    stamps: list[int | float],
    *,
    limit_line: int,
    own_ids: bool = False,
    metadata: tuple[MetadataEvent, ...] = (),
    rejected: tuple[Rejected, ...] = (),
    closes: bool = False,
) -> Batch:
    if not stamps:
        return Batch(b"", 0, 0.0, 0.0, True, False, metadata, rejected, limit_line)
    in_order = sorted(stamps)
    return Batch(
        payload,
        len(stamps),
        in_order[0],
        in_order[-1],
        in_order == stamps,
        own_ids,
        metadata,
        rejected,
        limit_line,
        closes,
    )


def _check_carefully(
    lines: Sequence[Line],
    limits: Limits,
    first_line: int,
    *,
    numbers: Sequence[int] | None = None,
    may_end_early: bool,
    is_quick: bool = False,
) -> Batch:
    careful = _Careful(limits, is_quick=is_quick)
    limit_line = first_line
    for number, line in zip(numbers or itertools.count(first_line), map(bytes, lines), strict=False):
        careful.take(number, line)
        limit_line = number + 1
        if may_end_early and careful.is_enough:
            break
    return _batch(
        b"\n".join(careful.kept) + b"\n" if careful.kept else b"",
        careful.stamps,
        limit_line=limit_line,
        own_ids=careful.own_ids,
        metadata=tuple(careful.metadata),
        rejected=tuple(careful.rejected),
        closes=careful.closes,
    )


class _Careful:
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
