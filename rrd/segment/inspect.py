"""A segment or object told to people: what it holds, whether it is whole, and what to do if it is not.

Everything is read and checked, payloads too. What visitors sent is shown escaped, so that nothing in
a file can play tricks with a terminal, and contents of events and quarantined lines are not shown at all.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from rrd.clock import time_text
from rrd.disk.disk import Disk, OsDisk
from rrd.errors import CorruptSegment, SegmentError
from rrd.segment.format import FLAG_SNAPSHOT, IDENTITY_MAGIC, SUMMARY_NOTE, BlockHeader, Identity
from rrd.segment.reader import read_events, read_last_notes, read_notes
from rrd.segment.salvage import Patched, salvage
from rrd.segment.scan import Scan, scan

_VALUE_CHARS_SHOWN = 80
_START = struct.pack("<I", IDENTITY_MAGIC)


class Known(NamedTuple):
    """What others say of a file: the index, its name, the segment after it."""

    durable_size: int = 0
    """What was acked, bytes; 0 if that is not known."""
    first_seq: int | None = None
    """sequenceId of its first event."""
    limit_seq: int | None = None
    """sequenceId after its last event."""
    told_by: str = ""
    """The source of ``durable_size``, for people."""


def describe(path: str, known: Known | None = None) -> Iterator[str]:
    """Say what a segment or object holds, line by line, and end with the verdict. Changes nothing.

    ``known``: damage to what others say was acked is never taken for an unfinished last write.
    Takes memory for one block. Raises ``SegmentError`` if the file is neither and never was
    one, or of a version not known here; ``OSError`` if it can't be read.
    """
    # Opening a pipe would wait for a writer; a directory has its own error.
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise SegmentError("not a regular file, so no segment begins", path=path, offset=0)
    known = known or Known()
    disk = OsDisk()
    start = disk.read(path, 0, 12)
    if len(start) == 12 and start[:4] == _START and start[8:] != b"rrd1" and start[8:11] == b"rrd":
        version = _escaped(start[11:].decode("latin-1"))
        raise SegmentError(f"a segment of version {version}, not known here, begins", path=path, offset=0)
    found = scan(Patched(disk), path, durable_size=known.durable_size, deep=True)
    if found.verdict == "corrupt":
        # Those that are found without the identity, or by a header that the table has once more.
        blocks = {header.offset: header for header in (*salvage(disk, path).blocks, *found.blocks)}
        found.blocks = [blocks[offset] for offset in sorted(blocks)]
    # Where only the first bytes are damaged, the blocks behind them still tell what the file was.
    if start[:4] != _START[: len(start)] and found.verdict != "corrupt":
        raise SegmentError("no segment begins", path=path, offset=0)
    return _lines(disk, path, found, known)


def _lines(disk: Disk, path: str, found: Scan, known: Known) -> Iterator[str]:
    yield f"file         {_escaped(path)}, {in_bytes(found.file_size)}"
    if found.identity is not None:
        yield from _identity(found.identity)
    first_seq = found.identity.first_seq if found.identity else known.first_seq
    if first_seq is None:
        first_seq = found.blocks[0].first_seq if found.blocks else 1
    blocks = _Blocks(disk, path, found, first_seq)
    yield from blocks.lines()
    if known.limit_seq is not None and known.limit_seq > blocks.limit_seq:
        yield blocks.gap(known.limit_seq)
    if blocks.missing:
        yield f"missing      {counted(blocks.missing, 'event')} that should be in this file"
    elif found.verdict == "corrupt" and known.limit_seq is None:
        yield "missing      not known from this file alone: `rrd doctor` of its recording counts"
    if found.table_offset is not None:
        yield _table(found, found.table_offset)
    if known.told_by and known.durable_size > 1:
        yield f"acked        up to byte {known.durable_size}, as {known.told_by} says"
    yield f"total        {_totals(found, blocks.events)}"
    yield f"verdict      {_verdict(found)}"
    if blocks.undecodable:
        yield (
            f"             {counted(blocks.undecodable, 'block')} with good checksums can't be decoded: they"
            " were written wrong. Next: keep this file and report it as a bug of rrd."
        )


class _Blocks:
    """The good blocks of a file, told one by one, and what lies between them."""

    def __init__(self, disk: Disk, path: str, found: Scan, first_seq: int) -> None:
        self._disk = disk
        self._path = path
        self._found = found
        self.limit_seq = first_seq
        """sequenceId after the last event so far."""
        self.events = self.undecodable = self.missing = 0

    def gap(self, first_seq: int) -> str:
        """Count what is missing before an event, and say so."""
        line = f"    missing: {_seqs(self.limit_seq, first_seq)}"
        self.missing += first_seq - self.limit_seq
        self.limit_seq = first_seq
        return line

    def lines(self) -> Iterator[str]:
        found, damages = self._found, list(self._found.damaged_at)
        for header in found.blocks:
            is_by_table = header.offset in damages
            damages = [offset for offset in damages if offset != header.offset]
            while damages and damages[0] < header.offset:
                yield f"at {damages.pop(0)}: DAMAGED, no valid block up to byte {header.offset}"
            if header.first_seq > self.limit_seq:
                yield self.gap(header.first_seq)
            self.limit_seq = header.limit_seq
            self.events += header.event_count
            yield _block(header)
            if is_by_table:
                yield "    DAMAGED header: the table has it once more"
            yield from self._contents(header)
        for offset in damages:
            if found.table_offset is not None:
                yield f"at {offset}: DAMAGED, no valid block up to the table at byte {found.table_offset}"
            else:
                table = " or table" if found.identity is not None and found.identity.is_object else ""
                yield f"at {offset}: no valid block{table} up to the end of the file, byte {found.file_size}"

    def _contents(self, header: BlockHeader) -> Iterator[str]:
        try:
            yield from _notes(self._disk, self._path, header)
            if read_events(self._disk, self._path, header).count(b"\n") != header.event_count:
                raise CorruptSegment(
                    "wrong number of lines in the block", path=self._path, offset=header.offset
                )
        except CorruptSegment as error:
            self.undecodable += 1
            yield f"    DAMAGED: {_escaped(str(error))}"


def _identity(identity: Identity) -> Iterator[str]:
    yield f"tenant       {_escaped(identity.tenant)}"
    yield f"recording    {_escaped(identity.recording_id)}, begun {time_text(identity.created_ms)}"
    if identity.is_object:
        segments = (
            f"segments {identity.number} to {identity.last_number}"
            if identity.last_number > identity.number
            else f"segment {identity.number}"
        )
        yield f"object       of {segments}, from sequenceId {identity.first_seq}"
        return
    before = (
        f"; segment {identity.number - 1} counts up to its byte {identity.previous_size}"
        if identity.number > 1
        else ""
    )
    yield f"segment      {identity.number}, from sequenceId {identity.first_seq}{before}"


def _block(header: BlockHeader) -> str:
    parts = [f"at {header.offset}: "]
    if header.event_count:
        parts[0] += f"{_seqs(header.first_seq, header.limit_seq)}, {counted(header.event_count, 'event')}"
        parts.append(f"{time_text(header.first_ts)} to {time_text(header.last_ts)}")
    else:
        parts[0] += f"no events, next sequenceId {header.first_seq}"
    if header.page_view:
        parts.append("page view")
    if header.flags & FLAG_SNAPSHOT:
        parts.append("snapshot")
    # A sender's number is random: 0 is the sign of several, of which only objects know.
    parts.append(f"source {header.source:016x}" if header.source else "several sources")
    parts.append(f"made {time_text(header.stored_ms)}")
    in_file = header.limit_offset - header.offset
    parts.append(f"{in_bytes(header.raw_size)} stored in {in_file:,}{_ratio(header.raw_size, in_file)}")
    if header.event_count:
        parts.append("ordered" if header.ordered else "not ordered")
    if header.own_ids:
        parts.append("own ids")
    if header.duplicate_count:
        parts.append(counted(header.duplicate_count, "duplicate"))
    if header.quarantine_count:
        parts.append(f"{header.quarantine_count:,} quarantined")
    return ", ".join(parts)


def _notes(disk: Disk, path: str, header: BlockHeader) -> Iterator[str]:
    metadata, quarantine = read_notes(disk, path, header)
    summary = read_last_notes(disk, path, [header])
    if summary.startswith(SUMMARY_NOTE):
        yield f"    summary of what happened in the events, {in_bytes(len(summary))}"
    for change in metadata:
        value = change.value[:_VALUE_CHARS_SHOWN]
        more = len(change.value) - len(value)
        cut = f" and {counted(more, 'character')} more" if more else ""
        yield f"    metadata {change.key!r} = {value!r}{cut}, {time_text(change.at_ms)}"
    for reason, count in sorted(Counter(note.reason for note in quarantine).items()):
        size = sum(len(note.raw) for note in quarantine if note.reason == reason)
        yield f"    quarantined for {_escaped(reason)}: {counted(count, 'line')}, {in_bytes(size)}"


def _table(found: Scan, offset: int) -> str:
    agrees = "which are as it says" if not found.damaged_at else "some of which are not as it says"
    return f"at {offset}: table of the blocks, {agrees}, {in_bytes(found.file_size - offset)}"


def _totals(found: Scan, events: int) -> str:
    raw = sum(header.raw_size for header in found.blocks)
    in_file = sum(header.limit_offset - header.offset for header in found.blocks)
    parts = [
        counted(len(found.blocks), "block"),
        counted(events, "event"),
        f"{in_bytes(raw)} stored in {in_file:,}{_ratio(raw, in_file)}",
        counted(sum(header.duplicate_count for header in found.blocks), "duplicate"),
        f"{sum(header.quarantine_count for header in found.blocks):,} quarantined",
    ]
    times = [
        time for header in found.blocks if header.event_count for time in (header.first_ts, header.last_ts)
    ]
    if times:
        parts.insert(2, f"{time_text(min(times))} to {time_text(max(times))}")
    return ", ".join(parts)


def _verdict(found: Scan) -> str:
    if found.verdict == "clean":
        table = " and the table agrees with them" if found.table_offset is not None else ""
        return f"clean: every block is whole{table}. Next: nothing."
    if found.verdict == "torn":
        size = in_bytes(found.file_size - found.good_size)
        if found.identity is None:
            told = f"torn: the first write was not finished; {size} without a whole identity, never acked"
        else:
            told = f"torn: from byte {found.good_size} on, {size} of an unfinished last write, never acked"
        return (
            f"{told}. A power cut does that. Next: nothing by hand; at its next start rrd keeps a copy in"
            " torn/ and cuts it off. (Judged by this file alone: if the index knows of more, it is damage.)"
        )
    where = ", ".join(str(offset) for offset in found.damaged_at)
    if found.identity is not None and found.identity.is_object:
        return (
            f"corrupt: damage at byte {where} of an object, which was whole when it was stored. The"
            f" {counted(len(found.blocks), 'good block')} above can still be read. rrd never changes an"
            " object. Next: keep this copy, and look for a good one: an older version in the bucket, its"
            " segments in sealed/, a backup."
        )
    kept = (
        f"The {counted(len(found.blocks), 'good block')} above can still be read, by `rrd export --salvage`"
    )
    if found.identity is None and not found.blocks:
        kept = "No block in it is whole"
    return (
        f"corrupt: damage at byte {where}, in what had been synced. A power cut doesn't do that; a failing"
        f" disk or another program does. {kept}. rrd never changes this file. Next: copy it to a safe place,"
        " check the disk and the kernel's log, and restore the file from a backup if there is one."
    )


def _seqs(first: int, limit: int) -> str:
    return f"seq {first}" if limit - first == 1 else f"seq {first}-{limit - 1}"


def counted(count: int, noun: str) -> str:
    """Return a number of things as people read it."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def in_bytes(size: int) -> str:
    """Return a size as people read it, to the byte."""
    return counted(size, "byte")


def _ratio(raw: int, stored: int) -> str:
    return f" ({raw / stored:.1f}:1)" if raw and stored else ""


def _escaped(text: str) -> str:
    """Leave what can be printed, whatever its script, and escape the rest."""
    return repr(text)[1:-1]
