"""Proof that what a file or object holds is stored elsewhere, too: line for line, read to the last byte.

Nothing that holds events is removed by a start or by ``rrd verify --mend`` on less than this, or a recorded
removal (``docs/removal.md``). Blocking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from hashlib import blake2b

from rrd import layout
from rrd.disk.disk import Readable
from rrd.errors import CorruptSegment, ObjectMissing
from rrd.inventory.contents import READ_AHEAD_BYTES
from rrd.segment.format import SUMMARY_NOTE, BlockHeader, Identity
from rrd.segment.pack import object_identity
from rrd.segment.reader import read_raw
from rrd.segment.salvage import Patched, identity_of, salvage
from rrd.segment.scan import scan
from rrd.segment.walk import ReadAhead


def is_held_elsewhere(place: str, others: Collection[str], *, disk: Readable, objects: Readable) -> bool:
    """Tell whether each intact line at ``place`` stands in one of ``others``, as often as it stands there.

    Places are paths of segments and keys of objects. Lines are events, and the notes of metadata and of
    quarantined lines. ``others`` must be whole. What is damaged at ``place`` counts as held only if the file
    still says that it is of the same life of the same recording as ``others``, or if it is an unfinished
    object, on which no ack ever rested. Memory: some 150 bytes for each line at ``place``, and one block.
    Raises ``StoreAway``.
    """
    try:
        files = _files_of(place, disk, objects)
        looked = salvage(files, place)
        lines = Counter(_lines(files, place, looked.blocks))
        is_unfinished = layout.parse_rolling(place.rpartition("/")[2]) is not None
        is_damaged = bool(looked.damaged_at) and looked.file_size > 0 and not is_unfinished
        if not lines and not is_damaged:
            return True
        if not others:
            return False
        for other in others:
            files = _files_of(other, disk, objects)
            held = salvage(files, other)
            if held.identity is None or held.damaged_at:
                return False
            if is_damaged and not _is_same_life(looked.identity, held.identity):
                return False
            for line in _lines(files, other, held.blocks):
                if line in lines:
                    lines[line] -= 1
                    if not lines[line]:
                        del lines[line]
    except (CorruptSegment, ObjectMissing, OSError):
        return False
    return not lines


def is_made_of(unfinished: str, segments: Sequence[str], *, disk: Readable) -> bool:
    """Tell whether an unfinished object was made of just these segments, and they are whole.

    ``segments``: paths, by number. An object's identity follows from that of its first segment, which has
    random bytes in it, and its last number. Each segment is read to its last byte; no line is decoded, as
    there may be gigabytes. A file in which no block is intact, and no identity, was never finished: that
    counts, too. Raises ``OSError``.
    """
    identity = identity_of(disk, unfinished)
    if identity is None:
        return not salvage(disk, unfinished).blocks
    looked = [scan(Patched(disk), path, deep=True) for path in segments]
    numbers = [found.identity.number for found in looked if found.identity is not None]
    if numbers != list(range(identity.number, identity.last_number + 1)):
        return False
    first = looked[0].identity if looked else None
    return (
        first is not None
        and object_identity(first, identity.last_number) == identity
        and all(found.verdict == "clean" for found in looked)
    )


def _is_same_life(one: Identity | None, other: Identity) -> bool:
    return one is not None and (one.tenant, one.recording_id, one.created_ms) == (
        other.tenant, other.recording_id, other.created_ms,
    )  # fmt: skip


def _files_of(place: str, disk: Readable, objects: Readable) -> Readable:
    if layout.parse_object_key(place) is None:
        return disk
    return ReadAhead(partial(objects.read, place), objects.size(place), ahead=READ_AHEAD_BYTES)


def _lines(files: Readable, place: str, blocks: Iterable[BlockHeader]) -> Iterator[bytes]:
    """Yield a digest of each line of blocks, but for summaries, which follow from the events."""
    for header in blocks:
        notes, raw = read_raw(files, place, header)
        for line in _split(notes):
            if not line.startswith(SUMMARY_NOTE):
                yield blake2b(line, digest_size=16).digest()
        for line in _split(raw):
            yield blake2b(line, digest_size=16).digest()


def _split(raw: bytes) -> list[bytes]:
    return raw.removesuffix(b"\n").split(b"\n") if raw else []
