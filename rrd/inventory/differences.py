"""What can be wrong with one recording, told in words: what, where, and which command mends it.

Plain functions over what was found; ``examine`` does the finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from rrd import layout
from rrd.index.rows import RecordingRow
from rrd.inventory.census import Entry
from rrd.playback.salvage import Missing
from rrd.shelf.holdings import Holdings
from rrd.shelf.shelf import Shelf

Mend = Literal["remove_file", "remove_object", "by_hand", "move"]
"""What ``rrd verify --mend`` does: unlink a file, delete an object, nothing, move a file to ``sealed/``."""

Evidence = Literal["", "removed", "held_elsewhere", "empty"]
"""Why a ``mend`` may remove something (``docs/removal.md``): a tombstone covers it, all its lines are proven
to stand in ``proofs``, or it was read and holds no block. A mend that removes nothing needs none."""

REINDEX = "rrd reindex (with the daemon stopped) makes the index anew from what is there"
MEND = "rrd verify --mend (with the daemon stopped) removes it"
MOVE = "rrd verify --mend, or the next start of the daemon, moves it"
RESTART = "restart rrd: its start takes it up"
LOST = (
    "put it back from a backup or an older version of the bucket; if there is none, `rrd erase` removes what"
    " is left of the recording"
)

LOST_BESIDE_OTHERS = (
    "put it back from a backup or an older version of the bucket. Do not erase the recording: that removes"
    " also the events that its other differences tell of, so take their next steps first"
)


class Difference(NamedTuple):
    """One thing that is not as it should be."""

    kind: str
    """A stable word for it."""
    tenant: str
    recording_id: str
    """Empty where it is not one recording's."""
    where: str
    """A path, an object's key, or ``index``."""
    what: str
    """A sentence without a full stop."""
    next_step: str
    mend: Mend = "by_hand"
    evidence: Evidence = ""
    proofs: tuple[str, ...] = ()
    """Objects' keys and files' paths that must together hold each line of ``where`` before it is removed."""

    def __str__(self) -> str:
        whose = f" ({self.tenant} {self.recording_id})" if self.recording_id else ""
        return f"{self.kind}: {self.where}{whose}: {self.what}. Next: {self.next_step}."


def in_index(row: RecordingRow) -> Iterator[Difference]:
    """Tell where the index contradicts itself."""
    holdings = Holdings.of(row)
    stored = sum(entry.size for entry in holdings.published) + sum(row.size for row in holdings.own())
    if stored != row.stored_bytes:
        yield _of_index(
            row, "counters-off", f"it counts {row.stored_bytes} bytes stored, and lists {stored}", REINDEX
        )
    if not row.objects and not row.segments:
        yield _of_index(row, "nothing-there", "the index knows it, but no file and no object of it", REINDEX)
    next_seq: int | None = 1
    for holding in holdings.in_order():
        entry = holding.object
        if entry is None:
            # How many events a segment has, its file alone says.
            next_seq = None
            continue
        if next_seq is not None and entry.first_seq > next_seq:
            yield gap(row, next_seq, entry.first_seq)
        next_seq = entry.first_seq + entry.event_count
    if next_seq is None or not (row.objects or row.segments):
        return
    if row.next_seq > next_seq:
        yield gap(row, next_seq, row.next_seq)
    if row.next_seq < next_seq:
        what = f"the next event would get sequenceId {row.next_seq}, which was given before"
        yield _of_index(row, "counters-off", what, REINDEX)


def gap(row: RecordingRow, first_seq: int, limit_seq: int) -> Difference:
    """Events that were acked, and of which nothing is there."""
    what = f"events {first_seq} to {limit_seq - 1} are neither in a file nor in an object"
    return _of_index(row, "events-missing", what, LOST)


LOSSES = frozenset(
    {
        "events-missing",
        "segment-missing",
        "segment-damaged",
        "object-missing",
        "object-size",
        "object-damaged",
    }
)
"""Kinds of differences that may mean that events are lost. Which ones, reading all of the recording tells."""


UNKNOWN = frozenset(
    {
        "object-of-another-life",
        "object-not-indexed",
        "object-unreadable",
        "segment-not-indexed",
        "segment-misplaced",
    }
)
"""Kinds of differences that tell of events which the index doesn't know, and an erasure would remove."""


def without_loss(found: list[Difference]) -> list[Difference]:
    """Return the differences of one recording; none advises an erasure that would take unknown events."""
    if not any(difference.kind in UNKNOWN for difference in found):
        return found
    return [
        difference._replace(next_step=difference.next_step.replace(LOST, LOST_BESIDE_OTHERS))
        for difference in found
    ]


def missing(row: RecordingRow, run: Missing, missing_events: int) -> Difference:
    """Events that no file gives back, as all files of the recording were read. ``missing_events``: in all."""
    intact = row.next_seq - 1 - missing_events
    next_step = LOST
    if intact:
        next_step = (
            "put the damaged or missing file back from a backup;"
            f" `rrd export --salvage {row.recording_id}` gives the other {intact:,} events"
        )
    return _of_index(row, "events-missing", f"{run} can't be read from any file or object", next_step)


def in_store(row: RecordingRow, sizes: Mapping[str, int]) -> Iterator[Difference]:
    """Tell which published objects are not in the store as they should be. ``sizes``: what it has, by key."""
    holdings = Holdings.of(row)
    for entry in holdings.published:
        key = holdings.key(entry)
        size = sizes.get(key)
        if size == entry.size:
            continue
        if size is None:
            kind, what = "object-missing", "the index has it, and the store doesn't"
        else:
            kind, what = "object-size", f"it has {size} bytes in the store, and {entry.size} in the index"
        next_step = LOST
        if holdings.is_all_here(entry):
            what += "; all its segments are still here"
            next_step = f"{REINDEX}; it is then rolled up again"
        yield Difference(kind, row.tenant, row.recording_id, key, what, next_step)


def unknown_keys(row: RecordingRow | None, sizes: Mapping[str, int]) -> list[str]:
    """Return which objects of the store the index doesn't know as published."""
    known: set[str] = set()
    if row is not None:
        holdings = Holdings.of(row)
        known.update(map(holdings.key, holdings.published))
    return [key for key in sizes if key not in known]


def unknown_object(
    row: RecordingRow | None, key: str, found: Entry | None, *, shelf: Shelf
) -> Difference | None:
    """Judge an object that the index doesn't know as published, and no tombstone covers.

    ``found``: what it says about itself; None if it can't be read. Returns None if it is being published.
    """
    name = layout.parse_object_key(key)
    assert name is not None
    if found is None:
        return _unreadable(key, name.tenant, name.recording_id)
    if row is None:
        kind, what = "object-not-indexed", "the index doesn't know its recording"
        return Difference(kind, name.tenant, name.recording_id, key, what, REINDEX)
    if found.created_ms != row.created_ms:
        return _of_another_life(row, key, found)
    run = (found.first_number, found.last_number)
    holdings = Holdings.of(row)
    if any(run == (entry.first_number, entry.last_number) for entry in holdings.planned):
        return None
    proofs: set[str] = set()
    here = {segment.number: segment for segment in row.segments}
    for number in range(found.first_number, found.last_number + 1):
        entry = holdings.covering(number)
        if entry is not None:
            proofs.add(holdings.key(entry))
        elif number in here:
            proofs.add(shelf.sealed(holdings.name(number)))
        else:
            what = "it holds what nothing else holds, and the index doesn't know it"
            return Difference("object-not-indexed", row.tenant, row.recording_id, key, what, REINDEX)
    what = "the index does not refer to it: what it holds is elsewhere, too"
    return Difference(
        "object-orphan", row.tenant, row.recording_id, key, what, MEND,
        "remove_object", "held_elsewhere", tuple(sorted(proofs)),
    )  # fmt: skip


def _of_another_life(row: RecordingRow, key: str, found: Entry) -> Difference:
    """An object of the recording as it began at another time, and no removal of that is recorded.

    So its events were acked and never removed: the index was lost while the store was away, say, and the
    recording began anew. A difference of times proves no removal.
    """
    what = (
        f"it holds {found.extent.event_count:,} events of this recording from before it began anew, and no"
        " removal of them is recorded"
    )
    next_step = (
        f"copy the object to a file, and"
        f" `rrd import --tenant {row.tenant} --recording {row.recording_id} FILE`"
        " adds its events to the recording again; then delete the object by hand"
    )
    return Difference("object-of-another-life", row.tenant, row.recording_id, key, what, next_step)


def places_of(holdings: Holdings, shelf: Shelf) -> tuple[str, ...]:
    """Return where all of a recording lies: keys of published objects, and paths of sealed segments."""
    sealed = [segment.number for segment in holdings.own() if segment.state == "sealed"]
    return (
        *map(holdings.key, holdings.published),
        *(shelf.sealed(holdings.name(number)) for number in sealed),
    )


def _unreadable(key: str, tenant: str, recording_id: str) -> Difference:
    what = "the index doesn't know it, and it can't be read: neither its table nor its first bytes are whole"
    return Difference(
        "object-unreadable", tenant, recording_id, key, what,
        "copy it away if it may be of use, then delete it from the store by hand",
    )  # fmt: skip


def _of_index(row: RecordingRow, kind: str, what: str, next_step: str) -> Difference:
    return Difference(kind, row.tenant, row.recording_id, "index", what, next_step)


def damaged_file(row: RecordingRow, path: str, number: int, what: str) -> Difference:
    """A local segment that is not what was acked."""
    holdings = Holdings.of(row)
    entry = holdings.covering(number)
    if entry is not None:
        return Difference(
            "copy-damaged", row.tenant, row.recording_id, path, f"{what}; the object has it, too", MEND,
            "remove_file", "held_elsewhere", (holdings.key(entry),),
        )  # fmt: skip
    next_step = f"rrd inspect {path} tells what can still be read; put the file back from a backup"
    return Difference("segment-damaged", row.tenant, row.recording_id, path, what, next_step)
