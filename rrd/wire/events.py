"""Lines → a batch of checked events.

An event is a JSON object with an integer ``type`` and a numeric ``timestamp``; nothing else of it is
built, and its bytes are passed on untouched. Almost all lines are *plain*: no custom event, no number of
their own. A batch of plain lines is checked by one parser call a line (``_Plain`` refuses whatever is not
plain); only where that fails does each line take the careful way (``careful``).
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from rrd.nesting import is_too_deep, parser_takes
from rrd.wire.careful import Careful, MetadataEvent, Rejected
from rrd.wire.documents import split_document
from rrd.wire.forms import begins_document
from rrd.wire.limits import Limits
from rrd.wire.lines import numbered_lines
from rrd.wire.parse import META, SNAPSHOT, Timestamp, check_utf8
from rrd.wire.turns import QUICK_DOCUMENT_BYTES_MAX, QUICK_LINES_MAX, TakesLong

_Never = Annotated[int, Meta(ge=1, le=0)]


class _Plain(msgspec.Struct, gc=False):
    """An event that needs no second look. Custom events (type 5) may carry metadata.

    Those that a page begins with (2, 4) are told of in a block's header. Few are, so that it is cheaper to
    refuse them than to look at the type of each.
    """

    type: Literal[0, 1, 3, 6, 7, 8]
    timestamp: Timestamp
    sequenceId: _Never | UnsetType = UNSET  # noqa: N815  # names of the API
    recordingId: _Never | UnsetType = UNSET  # noqa: N815


class _PlainOrPage(_Plain, gc=False):
    """The same, or one that a page begins with."""

    type: Literal[0, 1, 2, 3, 4, 6, 7, 8]  # type: ignore[assignment]


_plain = msgspec.json.Decoder(_Plain).decode
_plain_or_page = msgspec.json.Decoder(_PlainOrPage).decode

_RUN_LINES_MAX = 128
"""So many lines are parsed once more if there is a page's beginning among them."""

Line = bytes | bytearray | memoryview
"""An event's bytes, without the LF."""

_VIEWS_MAX = 1 << 14
"""A view takes 200 bytes, and junk may be lines of one."""

_LONG_MESSAGE_BYTES = 1 << 10
"""From this mean on it costs less to search messages one by one than to put them together first."""

_LINES_MAX = 1 << 14
"""Lines in a batch, at most. Events are so long that their bytes decide; lines of junk may be
one byte long, and each takes a microsecond and a hundred bytes to set aside."""

_SAMPLE_BYTES = 4 << 10
_SAMPLE_LINES_MAX = 256
"""No event is so short as the lines of a payload that begins with more of them in ``_SAMPLE_BYTES``."""


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
    has_snapshot: bool = False
    """A FullSnapshot (type 2) is among the events."""
    has_meta: bool = False
    """A Meta event (type 4) is among the events."""


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


def check_documents(
    messages: Sequence[bytes], limits: Limits, *, first_line: int, is_quick: bool = False
) -> Batch:
    """Check WebSocket messages, each of which is a JSON document. Raises as ``check_messages`` does."""
    if is_quick and sum(map(len, messages)) > QUICK_DOCUMENT_BYTES_MAX:
        raise TakesLong
    found = (line for message in messages for line in split_document(bytes(message)))
    lines = list(itertools.islice(found, QUICK_LINES_MAX + 1 if is_quick else None))
    if is_quick and len(lines) > QUICK_LINES_MAX:
        raise TakesLong
    return check_lines(lines, limits, first_line=first_line, is_quick=is_quick)


def _has_line_feed(messages: Sequence[bytes], size: int) -> bool:
    if len(messages) == 1:
        return b"\n" in messages[0]
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


def check_text(
    payload: bytes, start: int, limits: Limits, *, first_line: int, is_quick: bool
) -> tuple[Batch, int]:
    """Check the lines of ``payload`` from ``start`` on, each ended by LF, or as many as go into a batch.

    Return the batch, and the offset of the first line behind it. With ``is_quick`` it raises ``TakesLong``
    rather than do more than a quick call may.
    """
    lines_max = QUICK_LINES_MAX if is_quick else _LINES_MAX
    is_dense = start or payload.count(b"\n", 0, _SAMPLE_BYTES) > _SAMPLE_LINES_MAX
    if not is_dense and (lines := split_lines(payload, count_max=lines_max)) is not None:
        batch = check_lines(
            lines, limits, first_line=first_line, payload=payload, may_end_early=True, is_quick=is_quick
        )
        taken = batch.limit_line - first_line
        return batch, len(payload) if taken == len(lines) else sum(map(len, lines[:taken])) + taken
    found = numbered_lines(payload, start, first_line, count_max=lines_max)
    batch = check_lines(
        found.lines,
        limits,
        first_line=first_line,
        numbers=found.numbers,
        may_end_early=True,
        is_quick=is_quick,
    )
    taken = bisect_left(found.numbers, batch.limit_line)
    if taken == len(found.lines):
        return batch._replace(limit_line=found.limit_number), found.limit
    return batch, found.ends[taken - 1]


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
    if payload is None:
        payload = b"\n".join(lines) + b"\n" if lines else b""
    if b"\r" in payload:
        # A carriage return before the line feed belongs to the line's end, and never makes another event.
        lines = [bytes(line).rstrip(b"\r") for line in lines]
        payload = b"\n".join((*lines, b""))
    stamps: list[int | float] | None = None
    types: Collection[int] = ()
    try:
        if not payload.isascii():
            check_utf8(payload)
        if len(lines) > _RUN_LINES_MAX:
            stamps, types = _in_runs(lines)
        else:
            try:
                # A call a line: ``decode_lines`` is half as fast again, but to it a line's end is any space.
                stamps = [event.timestamp for event in map(_plain, lines)]
            except msgspec.ValidationError:
                stamps, types = _in_runs(lines)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        stamps = None
    if stamps is None or _has_unfit_line(lines, limits, len(payload)):
        return _check_carefully(
            lines, limits, first_line, numbers=numbers, may_end_early=may_end_early, is_quick=is_quick
        )
    limit_line = numbers[-1] + 1 if numbers else first_line + len(lines)
    batch = batch_of(payload, stamps, limit_line=limit_line)
    if types:
        return batch._replace(has_snapshot=SNAPSHOT in types, has_meta=META in types)
    return batch


def _in_runs(lines: Sequence[Line]) -> tuple[list[int | float], set[int]]:
    """Return the timestamps of plain events, and the types of those in runs where a page begins.

    Raises ``msgspec.DecodeError`` if an event is not plain, and ``RecursionError``.
    """
    stamps: list[int | float] = []
    types: set[int] = set()
    for start in range(0, len(lines), _RUN_LINES_MAX):
        run = lines[start : start + _RUN_LINES_MAX]
        try:
            stamps += [event.timestamp for event in map(_plain, run)]
        except msgspec.ValidationError:
            found = list(map(_plain_or_page, run))
            stamps += [event.timestamp for event in found]
            types.update([event.type for event in found])
    return stamps, types


def _has_unfit_line(lines: Sequence[Line], limits: Limits, size: int) -> bool:
    """Tell whether a line that the parser took is too long or nests too deep; ``size``: all lines' bytes."""
    if size <= limits.event_bytes_max and size <= 2 * limits.nesting_max:
        return False  # No line of it is so long that it could: one small event, as a rule.
    line_bytes_max = max(map(len, lines), default=0)
    return line_bytes_max > limits.event_bytes_max or _has_deep_line(
        lines, limits.nesting_max, line_bytes_max
    )


def _has_deep_line(lines: Sequence[Line], nesting_max: int, line_bytes_max: int) -> bool:
    """Tell whether a line that the parser took nests deeper than ``nesting_max``: never, if that is high."""
    if line_bytes_max <= 2 * nesting_max or not parser_takes(nesting_max):
        return False
    return any(len(line) > 2 * nesting_max and is_too_deep(bytes(line), nesting_max) for line in lines)


def batch_of(
    payload: bytes,
    stamps: list[int | float],
    *,
    limit_line: int,
    own_ids: bool = False,
    metadata: tuple[MetadataEvent, ...] = (),
    rejected: tuple[Rejected, ...] = (),
    closes: bool = False,
) -> Batch:
    """Return a batch of the events in ``payload``, whose timestamps are ``stamps``."""
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
    careful = Careful(limits, is_quick=is_quick)
    limit_line = first_line
    for number, line in zip(numbers or itertools.count(first_line), map(bytes, lines), strict=False):
        careful.take(number, line)
        limit_line = number + 1
        if may_end_early and careful.is_enough:
            break
    batch = batch_of(
        b"\n".join(careful.kept) + b"\n" if careful.kept else b"",
        careful.stamps,
        limit_line=limit_line,
        own_ids=careful.own_ids,
        metadata=tuple(careful.metadata),
        rejected=tuple(careful.rejected),
        closes=careful.closes,
    )
    return batch._replace(has_snapshot=SNAPSHOT in careful.types, has_meta=META in careful.types)
