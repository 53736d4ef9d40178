"""A run of sealed segments, read block by block, with everything that is in them checked.

What comes out of here is good to be packed into an object and then deleted; anything else raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from rrd.disk.disk import Disk
from rrd.errors import CorruptSegment
from rrd.segment.format import (
    IDENTITY_READ_SIZE,
    BlockHeader,
    Identity,
    decode_identity,
    decode_notes,
)
from rrd.segment.lines import StoredEvent, look_at_lines
from rrd.segment.reader import read_raw
from rrd.segment.walk import ReadAhead

_READ_AHEAD_BYTES = 256 << 10


class PackInput(NamedTuple):
    """A segment to be packed: its file, and its durable size in bytes."""

    path: str
    size: int


class CheckedBlock(NamedTuple):
    """A block of a segment, whole and decoded."""

    header: BlockHeader
    notes: bytes
    """NDJSON, as it stands there; empty without notes."""
    raw: bytes
    """The events, each line ended by one LF; empty without events."""
    events: Sequence[StoredEvent]
    """What there is to know of each line of ``raw``."""


Look = Callable[[bytes], Sequence[StoredEvent]]


def read_identities(disk: Disk, sources: Sequence[PackInput]) -> list[Identity]:
    """Return the identity of each segment of a run, in order.

    Raises ``CorruptSegment`` if they don't belong together, ``OSError`` if one can't be read.
    """
    identities = [_identity(disk, source)[0] for source in sources]
    for (before, first), (after, second) in pairwise(zip(sources, identities, strict=True)):
        # A number may be missing: that of a segment whose first write failed.
        follows = first.name[:2] == second.name[:2] and first.number < second.number
        if not follows or (second.number == first.number + 1 and second.previous_size != before.size):
            raise CorruptSegment(
                f"{before.path} of {before.size} bytes is not what should stand before the segment",
                path=after.path,
                offset=0,
            )
    return identities


def read_blocks(
    disk: Disk, sources: Sequence[PackInput], *, look: Look = look_at_lines
) -> Iterator[CheckedBlock]:
    """Yield all blocks of a run of segments. Takes memory for one block at a time.

    ``look`` says what there is to know of each line, and refuses what ``look_at_lines`` refuses.

    Raises ``CorruptSegment`` if a block is not whole, does not follow in sequence, or holds something else
    than its header counts; ``OSError`` if it can't be read.
    """
    next_seq = None
    for source in sources:
        identity, offset = _identity(disk, source)
        next_seq = next_seq or identity.first_seq
        if identity.first_seq != next_seq:
            raise CorruptSegment(f"not sequenceId {next_seq} in the segment", path=source.path, offset=0)
        file = ReadAhead(partial(disk.read, source.path), source.size, ahead=_READ_AHEAD_BYTES)
        for header in file.headers(offset, bytes.fromhex(identity.salt)):
            if header is None or header.first_seq != next_seq:
                raise CorruptSegment("no valid block", path=source.path, offset=offset)
            yield _check(header, *read_raw(file, source.path, header), source.path, look)
            offset, next_seq = header.limit_offset, header.limit_seq


def _identity(disk: Disk, source: PackInput) -> tuple[Identity, int]:
    found = decode_identity(disk.read(source.path, 0, min(IDENTITY_READ_SIZE, source.size)))
    if found is None or found[0].is_object:
        raise CorruptSegment("no segment begins", path=source.path, offset=0)
    return found


def _check(header: BlockHeader, notes: bytes, raw: bytes, path: str, look: Look) -> CheckedBlock:
    try:
        events = look(raw) if raw else []
        quarantined = len(decode_notes(notes)[1]) if notes else 0
    except (ValueError, RecursionError) as error:
        message = f"what is no event or note ({error}) stands in the block"
        raise CorruptSegment(message, path=path, offset=header.offset) from error
    if (len(events), quarantined) != (header.event_count, header.quarantine_count):
        raise CorruptSegment(
            "other events or notes than counted in the block", path=path, offset=header.offset
        )
    return CheckedBlock(header, notes, raw, events)
