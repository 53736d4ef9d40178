"""Several recordings made one replay: cut into page views, put in order, moved on one time line. Pure.

A *group* is a page view: a contiguous run of one recording's playback order. It begins at a Meta event, or
at a FullSnapshot that has no Meta of its own. What a page says right before its Meta (``DomContentLoaded``,
``Load``, annotations, custom events) belongs to it; what a recording holds before its first group belongs to
that. ``Grouping`` finds groups in one pass over (time, sequenceId, kind) and keeps nothing of an event;
``compose`` orders the groups of all recordings, and says by how much each is moved.

Times. Two members of the same number are the same double, whatever their text, since order is by doubles. A
double counts as the shortest decimal that reads back as it, and from there on arithmetic is exact: within a
group no difference changes, and moved times never decrease.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Context, Decimal
from typing import NamedTuple

GAP_MIN_MS = 1
GAP_MAX_DEFAULT_MS = 1000

META, SNAPSHOT, LEADING, CHANGE, OTHER = b"m", b"s", b"l", b"c", b"o"
"""Kinds of events: a Meta; a FullSnapshot; what belongs to the Meta that it stands right before; what changes
or serves a page, and so means nothing without a snapshot; all others."""

_KINDS = {0: LEADING, 1: LEADING, 2: SNAPSHOT, 3: CHANGE, 4: META, 7: CHANGE, 8: LEADING}
"""By rrweb's ``EventType``. An asset (7) serves a page; an annotation (8) is about one."""

_CUSTOM = 5
_LASTING_TAGS = ("page-", "close-")
"""Custom events so tagged say what became of the page before."""

_EXACT = Context(prec=800)
"""A time has up to 16 digits before the point and 340 behind it."""

Exact = int | Decimal
Key = tuple[float, int]
"""Timestamp (ms) and sequenceId, which order the events of a recording."""


def kind_of(event_type: float, tag: str) -> bytes:
    """Return the kind of an event. ``tag``: a custom event's; empty for others."""
    if event_type == _CUSTOM:
        return OTHER if tag.startswith(_LASTING_TAGS) else LEADING
    return _KINDS.get(int(event_type), OTHER)


def is_lost_without_snapshot(kind: bytes) -> bool:
    """Tell whether a group without a FullSnapshot loses events of this kind."""
    return kind in {META, CHANGE}


class Group(NamedTuple):
    """A page view of one recording."""

    recording: int
    """Number of its recording among those composed, from 0."""
    first: Key
    last: Key
    """Of its first and last event, those that it loses included."""
    began: Key
    """Of its Meta, or else of its first event: what orders it among all groups."""
    has_snapshot: bool
    start_ts: float
    end_ts: float
    """Of the first and last event that it keeps, ms."""


class PlacedGroup(NamedTuple):
    """A group, and how many ms its times are moved."""

    group: Group
    shift: Exact


class Grouping:
    """One pass over the events of a recording in playback order."""

    def __init__(self, recording: int) -> None:
        self._recording = recording
        self._open: _Open | None = None
        self._leading: list[Key] = []
        """Of the run of leading events that ends here: the first and the last. Empty: there is no run."""
        self._has_begun = False
        """The open group has its Meta, or the FullSnapshot that stands for one."""
        self._awaits_snapshot = False
        """There was a Meta since the last FullSnapshot."""

    def take(self, key: Key, kind: bytes) -> Group | None:
        """Take the next event; return the group that ends before it, if anything of one is kept."""
        if kind == LEADING:
            self._leading = [*self._leading[:1], key] if self._leading else [key, key]
            return None
        ended = None
        begins = kind == META or (kind == SNAPSHOT and not self._awaits_snapshot)
        if kind == META and self._has_begun:
            ended = self._end()
            self._open = _Open()
        if self._leading:
            self._add_leading()
        if kind == SNAPSHOT and begins and self._has_begun:
            ended = self._end()
            self._open = _Open()
        self._open = self._open or _Open()
        self._open.add(key, kind)
        if kind == META:
            self._awaits_snapshot = True
        elif kind == SNAPSHOT:
            self._awaits_snapshot = False
        self._has_begun = self._has_begun or begins
        return ended

    def finish(self) -> Group | None:
        """Return the last group, if anything of it is kept."""
        if self._leading:
            self._add_leading()
        return self._end()

    def _add_leading(self) -> None:
        group = self._open = self._open or _Open()
        for key in self._leading:
            group.add(key, LEADING)
        self._leading = []

    def _end(self) -> Group | None:
        return None if self._open is None else self._open.group(self._recording)


class _Open:
    """A group that events are added to."""

    __slots__ = ("first", "has_snapshot", "kept", "last", "meta")

    def __init__(self) -> None:
        self.first: Key | None = None
        self.last: Key = (0.0, 0)
        self.meta: Key | None = None
        self.has_snapshot = False
        self.kept: tuple[float, float] | None = None
        """Times of the first and last event that are kept without a snapshot."""

    def add(self, key: Key, kind: bytes) -> None:
        self.first = self.first or key
        self.last = key
        if kind == META:
            self.meta = key
        elif kind == SNAPSHOT:
            self.has_snapshot = True
        if not is_lost_without_snapshot(kind):
            self.kept = (self.kept[0] if self.kept else key[0], key[0])

    def group(self, recording: int) -> Group | None:
        if self.first is None:
            return None
        kept = (self.first[0], self.last[0]) if self.has_snapshot else self.kept
        if kept is None:
            return None
        began = self.meta or self.first
        return Group(recording, self.first, self.last, began, self.has_snapshot, *kept)


def compose(
    groups: Sequence[Group], recording_ids: Sequence[str], *, gap_max_ms: int = GAP_MAX_DEFAULT_MS
) -> Iterator[PlacedGroup]:
    """Yield groups in the order in which they play, with their shifts. The first one starts at 0."""

    def order(group: Group) -> tuple[float, str, int]:
        return group.began[0], recording_ids[group.recording], group.began[1]

    before: Group | None = None
    moved_end: Exact = 0
    for group in sorted(groups, key=order):
        start = exact(group.start_ts)
        if before is None:
            moved_start: Exact = 0
        else:
            gap = difference(start, exact(before.end_ts))
            moved_start = total(moved_end, min(max(gap, GAP_MIN_MS), gap_max_ms))
        shift = difference(moved_start, start)
        yield PlacedGroup(group, shift)
        moved_end = total(exact(group.end_ts), shift)
        before = group


def exact(time: float) -> Exact:
    """Return a time as the shortest decimal that reads back as it."""
    return int(time) if time == int(time) else Decimal(repr(time))


def total(one: Exact, other: Exact) -> Exact:
    """Return the exact sum of two times."""
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return _EXACT.add(Decimal(one), Decimal(other))


def difference(one: Exact, other: Exact) -> Exact:
    """Return one time less another, exactly."""
    return total(one, -other if isinstance(other, int) else other.copy_negate())


def json_number(value: Exact) -> bytes:
    """Return a number as JSON writes it, without an exponent and without zeros that mean nothing."""
    if isinstance(value, int):
        return b"%d" % value
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return b"0" if text == "-0" else text.encode()
