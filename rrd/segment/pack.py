"""Packing: a run of sealed segments made into one object, a file to be put into the object store.

Events are taken from the segments' blocks, in their order, and poured into larger ones, which are compressed
harder and cut where page views begin (``FORMAT.md``, *Objects*). Everything read is checked first, and
everything compressed is decoded again: once the object is stored, the segments go.

The same segments, settings and zstd library make the same bytes, so a roll-up that was cut off can be done
again.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol

import google_crc32c
import msgspec
import zstandard
from msgspec import UNSET

from rrd.disk.disk import Disk
from rrd.extent import Extent, nothing
from rrd.segment.format import (
    FLAG_META,
    FLAG_ORDERED,
    FLAG_OWN_IDS,
    FLAG_PAGE_VIEW,
    FLAG_SNAPSHOT,
    FLAG_TYPES_KNOWN,
    HEADER_SIZE,
    BlockHeader,
    Identity,
    encode_header,
    encode_identity,
    payload_crc,
)
from rrd.segment.lines import META_TYPE, SNAPSHOT_TYPE, StoredEvent, look_at_lines
from rrd.segment.run import CheckedBlock, PackInput, read_blocks, read_identities
from rrd.segment.table import encode_table

__all__ = ["PackInput", "Packed", "object_identity", "pack"]

_PAGE_VIEW_SHARE = 4
"""A Meta event begins a new block if the one before is full to this part. Page views have much in common, so
a cut before each costs space (corpus, level 12: 5 % if 64 KiB are enough for one, in blocks of 4 MiB)."""

_COUNT_MAX = 2**32 - 1
_SEVERAL_SOURCES = 0


class Packed(NamedTuple):
    """What was made, as the index wants to know it."""

    size: int
    """Of the object, bytes."""
    crc32c: int
    """CRC-32C of the whole object."""
    extent: Extent
    """Of all events in it; ``stored_ms`` 0 if there is no block."""
    quarantine: tuple[tuple[int, int, int], ...]
    """Each block with quarantined lines: offset, stored_ms, how many."""
    block_count: int


class Summarises(Protocol):
    """What sees each block that is packed, and says what the notes of the object's last one are."""

    def begin(self, first_seq: int) -> None:
        """Take in the sequenceId of the first event to come."""
        ...

    def look(self, raw: bytes) -> Sequence[StoredEvent]:
        """Return what there is to know of each line, as ``look_at_lines`` does, and perhaps more."""
        ...

    def add(self, block: CheckedBlock) -> None:
        """Take in the next block, which may have no events. ``events`` are what ``look`` returned."""
        ...

    def notes(self, again: Callable[[], Iterator[CheckedBlock]]) -> bytes:
        """Return NDJSON to be stored, nothing for no block. ``again()`` reads all blocks once more."""
        ...


def pack(
    disk: Disk,
    sources: Sequence[PackInput],
    target: str,
    *,
    level: int,
    block_bytes: int,
    keep_sources: Collection[int] = (),
    summary: Summarises | None = None,
) -> Packed:
    """Make an object of segments in order and write it to the file ``target``; synced when this returns.

    ``level`` is zstd's, 1 to 19: higher ones would want more window than every reader has. ``block_bytes`` of
    events, decoded, go into a block; an event that is larger has one to itself. Blocks of the senders in
    ``keep_sources``, who may still send, are not joined with those of others. ``summary`` sees each block,
    and what it says becomes the last block. Missing directories are made; a file ``target`` is replaced.

    Blocking. Memory, whatever the size of the segments: zstd's tables (42 MB at level 12 and 4 MiB, 85 MB at
    most), 20 MB, and thrice what the largest block, decoded, has beyond 4 MiB. (So large is a block of a
    segment only with one event that is, and a block of an object only if ``block_bytes`` says so.)

    Raises ``CorruptSegment`` if anything in the segments is not as it should be, ``OSError`` if a file can't
    be read or written. After an error there is no file ``target``; the segments are never touched.
    """
    assert sources, "nothing to pack"
    identities = read_identities(disk, sources)
    identity = object_identity(identities[0], identities[-1].number)
    with _new_file(disk, target) as output:
        packer = _Packer(output, identity, level, block_bytes)
        if summary is not None:
            summary.begin(identity.first_seq)

        def read() -> Iterator[CheckedBlock]:
            return read_blocks(disk, sources, look=summary.look if summary is not None else look_at_lines)

        for block in read():
            if summary is not None:
                summary.add(block)
            group = block.header.source if block.header.source in keep_sources else None
            packer.add(block, group)
            del block  # Blocks can be large: not two at a time.
        return packer.finish(summary.notes(read) if summary is not None else b"")


def object_identity(first: Identity, last_number: int) -> Identity:
    """Return the identity of the object made of the segments ``first`` to number ``last_number``."""
    salt = blake2b(bytes.fromhex(first.salt) + last_number.to_bytes(8, "little"), digest_size=16).hexdigest()
    return msgspec.structs.replace(first, salt=salt, previous_size=0, last_number=last_number)


class _Draft:
    """A block of the object while it is filled."""

    __slots__ = (
        "duplicate_count", "event_count", "first_seq", "first_ts", "group", "has_meta", "has_snapshot",
        "last_ts", "newest_ts", "notes", "notes_size", "ordered", "own_ids", "page_view", "pieces",
        "quarantine_count", "raw_size", "source", "stored_ms",
    )  # fmt: skip

    def __init__(self, header: BlockHeader, first_seq: int, group: int | None) -> None:
        self.group = group
        self.source = header.source
        self.stored_ms = header.stored_ms
        self.first_seq = first_seq
        self.event_count = self.raw_size = self.notes_size = 0
        self.duplicate_count = self.quarantine_count = 0
        self.first_ts, self.last_ts, self.newest_ts = math.inf, -math.inf, -math.inf
        self.ordered = True
        self.own_ids = self.page_view = self.has_meta = self.has_snapshot = False
        self.pieces: list[bytes] = []
        self.notes: list[bytes] = []

    def join(self, header: BlockHeader, notes: bytes) -> None:
        """Take in what a block of a segment holds beside its events."""
        if header.source != self.source:
            self.source = _SEVERAL_SOURCES
        self.stored_ms = max(self.stored_ms, header.stored_ms)
        self.duplicate_count += header.duplicate_count
        self.quarantine_count += header.quarantine_count
        if notes:
            # As they stand, so that kinds of notes not known here are not lost.
            self.notes.append(notes if notes.endswith(b"\n") else notes + b"\n")
            self.notes_size += len(notes)

    def count(self, event: StoredEvent, size: int) -> None:
        """Take in one event of ``size`` bytes; its bytes come later, with ``pieces``."""
        timestamp = event.timestamp
        if event.type == META_TYPE:
            self.has_meta = True
            self.page_view = self.page_view or self.event_count == 0
        elif event.type == SNAPSHOT_TYPE:
            self.has_snapshot = True
        self.event_count += 1
        self.raw_size += size
        self.first_ts = min(self.first_ts, timestamp)
        self.last_ts = max(self.last_ts, timestamp)
        self.ordered = self.ordered and timestamp >= self.newest_ts
        self.newest_ts = timestamp
        self.own_ids = self.own_ids or event.own_ids

    def count_all(self, events: Sequence[StoredEvent], size: int) -> None:
        """Take in events of ``size`` bytes together, none of them a Meta event."""
        times = [event.timestamp for event in events]
        self.event_count += len(times)
        self.raw_size += size
        self.first_ts = min(self.first_ts, *times)
        self.last_ts = max(self.last_ts, *times)
        self.ordered = self.ordered and times[0] >= self.newest_ts and times == sorted(times)
        self.newest_ts = times[-1]
        self.has_snapshot = self.has_snapshot or SNAPSHOT_TYPE in [event.type for event in events]
        self.own_ids = self.own_ids or bool(
            [1 for event in events if event.sequence_id is not UNSET or event.recording_id is not UNSET]
        )

    def flags(self) -> int:
        return (
            FLAG_ORDERED * self.ordered
            + FLAG_OWN_IDS * self.own_ids
            + FLAG_PAGE_VIEW * self.page_view
            + FLAG_TYPES_KNOWN
            + FLAG_SNAPSHOT * self.has_snapshot
            + FLAG_META * self.has_meta
        )


class _Packer:
    """Pours blocks of segments into blocks of an object."""

    def __init__(self, output: _Output, identity: Identity, level: int, block_bytes: int) -> None:
        self._output = output
        self._identity = identity
        self._salt = bytes.fromhex(identity.salt)
        self._block_bytes = block_bytes
        self._compressor = zstandard.ZstdCompressor(level=level)
        self._headers = bytearray()
        self._draft: _Draft | None = None
        self._extent = nothing(identity.first_seq)
        self._block_count = 0
        self._quarantine: list[tuple[int, int, int]] = []
        self.next_seq = identity.first_seq
        output.write(encode_identity(identity))

    def add(self, block: CheckedBlock, group: int | None) -> None:
        """Take in one block of a segment. Blocks of different groups are not joined."""
        header, notes, raw, events = block
        draft = self._draft
        if draft is not None and not self._can_join(draft, block, group):
            self._end_block(draft)
            draft = None
        if draft is None:
            draft = self._draft = _Draft(header, self.next_seq, group)
        draft.join(header, notes)
        if draft.raw_size + len(raw) <= self._block_bytes and META_TYPE not in [
            event.type for event in events
        ]:
            # As nearly always: all of it fits, and nothing asks for a cut. The same as below, in one go.
            if events:
                draft.count_all(events, len(raw))
                draft.pieces.append(raw)
                self.next_seq += len(events)
            self._end_if_full(draft)
            return
        start = line = 0
        for event in events:
            limit = raw.find(b"\n", line) + 1
            if self._must_cut(draft, event, limit - line):
                draft.pieces.append(raw[start:line])
                self._end_block(draft)
                draft = self._draft = _Draft(header, self.next_seq, group)
                start = line
            draft.count(event, limit - line)
            self.next_seq += 1
            line = limit
        draft.pieces.append(raw[start:])
        self._end_if_full(draft)

    def _end_if_full(self, draft: _Draft) -> None:
        if draft.raw_size >= self._block_bytes:
            # Nothing more fits in, and there may be one huge event in it: out before the next is read.
            self._end_block(draft)
            self._draft = None

    def _can_join(self, draft: _Draft, block: CheckedBlock, group: int | None) -> bool:
        """Tell whether at least the notes and the first event of a block may go into ``draft``."""
        header, notes, raw, events = block
        return (
            draft.group == group
            and draft.duplicate_count + header.duplicate_count <= _COUNT_MAX
            # Notes are bounded like events, but for those of one block, which stay together.
            and not (draft.notes and notes and draft.notes_size + len(notes) > self._block_bytes)
            and not (events and self._must_cut(draft, events[0], raw.find(b"\n") + 1))
        )

    def _must_cut(self, draft: _Draft, event: StoredEvent, size: int) -> bool:
        if draft.event_count == 0:
            return False
        begins_page_view = event.type == META_TYPE
        return draft.raw_size + size > self._block_bytes or (
            begins_page_view and draft.raw_size >= self._block_bytes // _PAGE_VIEW_SHARE
        )

    def _end_block(self, draft: _Draft) -> None:
        notes_raw, raw = b"".join(draft.notes), b"".join(draft.pieces)
        draft.notes.clear()
        draft.pieces.clear()
        notes, data = self._compress(notes_raw), self._compress(raw)
        self._write_block(
            BlockHeader(
                self._output.size, payload_crc(notes, data), draft.event_count, draft.first_seq,
                draft.first_ts if draft.event_count else 0.0, draft.last_ts if draft.event_count else 0.0,
                draft.source, draft.stored_ms, len(data), len(raw), len(notes), len(notes_raw),
                draft.duplicate_count, draft.quarantine_count, draft.flags(),
            ),
            notes,
            data,
        )  # fmt: skip

    def _write_block(self, header: BlockHeader, notes: bytes, data: bytes) -> None:
        head = encode_header(header, salt=self._salt)
        for part in (head, notes, data):
            self._output.write(part)
        self._headers += head[-HEADER_SIZE:]
        if header.quarantine_count:
            self._quarantine.append((header.offset, header.stored_ms, header.quarantine_count))
        self._extent += header.extent
        self._block_count += 1

    def _compress(self, raw: bytes) -> bytes:
        if not raw:
            return b""
        frame = self._compressor.compress(raw)
        # A bit that flips in memory here would be found when the segments are gone. Decoding takes some
        # 4 % of the time that compressing does, and goes piece by piece so that it takes no memory.
        at = 0
        for piece in zstandard.ZstdDecompressor().read_to_iter(frame):
            if raw[at : at + len(piece)] != piece:
                break
            at += len(piece)
        if at != len(raw):
            raise OSError(errno.EIO, "what was compressed doesn't decode to what it was made of")
        return frame

    def _write_summary(self, notes_raw: bytes) -> None:
        notes = self._compress(notes_raw)
        self._write_block(
            BlockHeader(
                self._output.size, payload_crc(notes, b""), 0, self.next_seq, 0.0, 0.0, _SEVERAL_SOURCES,
                self._extent.stored_ms, 0, 0, len(notes), len(notes_raw), 0, 0,
                FLAG_ORDERED | FLAG_TYPES_KNOWN,
            ),
            notes,
            b"",
        )  # fmt: skip

    def finish(self, summary: bytes) -> Packed:
        """Write what is left, the summary if there is one, and the table."""
        if self._draft is not None:
            self._end_block(self._draft)
        if summary:
            self._write_summary(summary)
        self._output.write(encode_table(self._identity, bytes(self._headers)))
        return Packed(
            self._output.size, self._output.crc, self._extent, tuple(self._quarantine), self._block_count
        )


class _Output:
    """The file that is written: its size and its checksum so far."""

    def __init__(self, disk: Disk, handle: int) -> None:
        self._disk = disk
        self._handle = handle
        self.size = 0
        self.crc = 0

    def write(self, data: bytes) -> None:
        if data:
            self._disk.write(self._handle, data)
            self.size += len(data)
            self.crc = google_crc32c.extend(self.crc, data)


@contextlib.contextmanager
def _new_file(disk: Disk, path: str) -> Iterator[_Output]:
    """Make a file, synced at the end of the body; none is there if anything fails."""
    directory = os.path.dirname(path)
    disk.make_dirs(directory)
    with contextlib.suppress(FileNotFoundError):
        disk.unlink(path)
    handle = disk.open_append(path, create=True)
    try:
        try:
            yield _Output(disk, handle)
            disk.sync(handle)
        finally:
            disk.close(handle)
        disk.sync_dir(directory)
    except BaseException:
        with contextlib.suppress(OSError):
            disk.unlink(path)
        raise
