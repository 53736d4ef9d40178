"""What a recording's files hold already, as far as finding repeats needs to know.

A ``History`` is loaded when the first event comes that could be a repeat, by hopping over block
headers, and kept up to date until the recording is let go. Blocking: used in worker threads.

It reads segments and objects alike, and remembers where they lie. When one has moved, sealed or rolled up
meanwhile, it says so with ``StaleHistory``: then another is to be loaded from a fresh row of the index.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from typing import NamedTuple, TypeVar

from rrd.disk.disk import Disk, Readable
from rrd.errors import CorruptSegment, ObjectMissing, RrdError
from rrd.index.rows import RecordingRow
from rrd.log import emit
from rrd.recordings.repeats import find_new
from rrd.recordings.source import Work
from rrd.segment.format import (
    BLOCK_OVERHEAD,
    IDENTITY_READ_SIZE,
    BlockHeader,
    QuarantineNote,
    decode_header,
    decode_identity,
)
from rrd.segment.reader import read_events, read_notes
from rrd.segment.scan import scan
from rrd.segment.table import read_table
from rrd.shelf.holdings import Holdings
from rrd.shelf.shelf import Shelf
from rrd.wire.careful import MetadataEvent
from rrd.wire.events import check_lines
from rrd.wire.limits import Limits
from rrd.wire.metadata import Metadata

_Note = TypeVar("_Note", MetadataEvent, Metadata)

logger = logging.getLogger(__name__)

LINE_KEYS_BYTES_MAX = 64 << 20
"""Memory for the keys of lines in blocks that were looked up lately, over all recordings."""

_METADATA_DIGESTS_MAX = 10_000
_QUARANTINE_DIGESTS_MAX = 10_000


class StaleHistory(RrdError):
    """A file that the history knows of is where it was no more."""

    code = "stale_history"


def line_keys(lines: Sequence[bytes]) -> list[int]:
    """Return a 64-bit key for each line, the same for equal lines for as long as the process lives."""
    return list(map(hash, lines))


def metadata_digest(line: bytes) -> str:
    """Return the digest of a ``recording-meta`` line that its notes carry (FORMAT.md)."""
    return blake2b(line, digest_size=8).hexdigest()


def quarantine_digest(reason: str, raw: bytes) -> bytes:
    """Return a digest of what quarantine keeps: the same for the same bytes refused for the same reason."""
    return blake2b(raw, digest_size=8, key=reason.encode()).digest()


class BlockKeys(NamedTuple):
    """Who sent a block, and the keys of its lines."""

    source: int
    keys: array[int]


class LineKeys:
    """Least-recently-used cache of blocks' line keys, bounded in bytes. Threads may share it."""

    def __init__(self, *, bytes_max: int = LINE_KEYS_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        # By salt, not by path: a file moves, and after a recording was removed another one may have its name.
        self._blocks: OrderedDict[tuple[bytes, int], BlockKeys] = OrderedDict()
        self._lock = threading.Lock()
        self.held_bytes = 0

    def get(self, files: Readable, path: str, salt: bytes, offset: int) -> BlockKeys:
        """Return what is known of the block at ``offset``, from memory or from its file.

        Raises ``CorruptSegment``, and what ``files`` raises.
        """
        place = (salt, offset)
        with self._lock:
            found = self._blocks.get(place)
            if found is not None:
                self._blocks.move_to_end(place)
                return found
        header = decode_header(files.read(path, offset, BLOCK_OVERHEAD), salt=salt, offset=offset)
        if header is None:
            raise CorruptSegment("no valid block", path=path, offset=offset)
        events = read_events(files, path, header)
        if b"\r" in events:  # Stored by a version that took it for part of the line.
            events = events.replace(b"\r\n", b"\n")
        keys = array("q", line_keys(events[:-1].split(b"\n")))
        found = BlockKeys(header.source, keys)
        with self._lock:
            if _size(found) <= self._bytes_max and place not in self._blocks:
                self._blocks[place] = found
                self.held_bytes += _size(found)
            while self.held_bytes > self._bytes_max:
                _, dropped = self._blocks.popitem(last=False)
                self.held_bytes -= _size(dropped)
        return found


def _size(block: BlockKeys) -> int:
    return block.keys.itemsize * len(block.keys)


class _File(NamedTuple):
    """A segment or an object."""

    files: Readable
    path: str
    salt: bytes


class History:
    """The blocks of one recording: 32 bytes of memory each."""

    def __init__(self, disk: Disk, cache: LineKeys) -> None:
        self._disk = disk
        self._cache = cache
        self._first_ts = array("d")
        self._last_ts = array("d")
        self._offsets = array("Q")
        self._segments = array("Q")
        self._files: list[_File] = []
        self.metadata_digests: OrderedDict[str, None] = OrderedDict()
        """Digests of the ``recording-meta`` lines that were applied, the latest 10,000."""
        self._quarantined: OrderedDict[bytes, int] = OrderedDict()
        """What is in quarantine, the latest 10,000: each digest with the sender."""

    def load_recording(self, shelf: Shelf, files: Readable | None, row: RecordingRow) -> None:
        """Take up all blocks of a recording. ``files``: objects. Raises ``StoreAway``, ``OSError``."""
        holdings = Holdings.of(row)
        for holding in holdings.in_order():
            if holding.object is not None and not holding.is_local:
                assert files is not None, "objects, and nothing to read them with"
                self.load_object(files, holdings.key(holding.object), holding.object.size)
                continue
            for segment in holding.segments:
                name = holdings.name(segment.number)
                try:
                    shelf.at(name, partial(self.load, size=segment.size))
                except FileNotFoundError:
                    # As for objects below.
                    emit(logger, logging.ERROR, "segment_missing", path=shelf.sealed(name))

    def load(self, path: str, size: int) -> None:
        """Take up all blocks of a segment up to its durable size. Raises ``OSError``."""
        try:
            found = scan(self._disk, path, limit=size)
        except IsADirectoryError as error:
            # As for objects below.
            emit(logger, logging.ERROR, "segment_damaged", path=path, error=error)
            return
        if found.identity is not None:
            self._load(_File(self._disk, path, bytes.fromhex(found.identity.salt)), found.blocks)

    def load_object(self, files: Readable, key: str, size: int) -> None:
        """Take up all blocks of an object of ``size`` bytes. Raises ``StoreAway``."""
        try:
            identity, headers = read_table(files, key, size)
        except (CorruptSegment, ObjectMissing) as error:
            # What is gone can't be compared. Readers are told, and new events are welcome all the same.
            emit(logger, logging.ERROR, "object_damaged", key=key, error=error)
        else:
            self._load(_File(files, key, bytes.fromhex(identity.salt)), headers)

    def _load(self, file: _File, headers: Iterable[BlockHeader]) -> None:
        for header in headers:
            if header.event_count:
                self._add(file, header)
            if header.notes_size:
                # As for lines: what can't be read can't be compared.
                with contextlib.suppress(CorruptSegment, ObjectMissing):
                    metadata, quarantine = read_notes(file.files, file.path, header)
                    for note in metadata:
                        self.add_digest(note.event)
                    self.add_quarantine(quarantine, header.source)

    def _add(self, file: _File, header: BlockHeader) -> None:
        """Take up a block that has events."""
        if not self._files or self._files[-1].path != file.path:
            self._files.append(file)
        self._first_ts.append(header.first_ts)
        self._last_ts.append(header.last_ts)
        self._offsets.append(header.offset)
        self._segments.append(len(self._files) - 1)

    def add_stored(self, path: str, offset: int) -> None:
        """Take up a block that was just written at ``offset``, by reading its header."""
        head = self._disk.read(path, 0, IDENTITY_READ_SIZE)
        found = decode_identity(head)
        assert found is not None
        salt = bytes.fromhex(found[0].salt)
        header = decode_header(self._disk.read(path, offset, BLOCK_OVERHEAD), salt=salt, offset=offset)
        assert header is not None
        if header.event_count:
            self._add(_File(self._disk, path, salt), header)

    def add_digest(self, digest: str) -> None:
        """Remember a ``recording-meta`` line that was applied."""
        if digest:
            self.metadata_digests[digest] = None
            if len(self.metadata_digests) > _METADATA_DIGESTS_MAX:
                self.metadata_digests.popitem(last=False)

    def add_quarantine(self, notes: Iterable[QuarantineNote], source: int) -> None:
        """Remember what a block of ``source`` has put in quarantine."""
        for note in notes:
            self._quarantined[quarantine_digest(note.reason, note.raw)] = source
            if len(self._quarantined) > _QUARANTINE_DIGESTS_MAX:
                self._quarantined.popitem(last=False)

    def has_quarantined(self, reason: str, raw: bytes, *, besides: int | None = None) -> bool:
        """Tell whether quarantine holds ``raw`` for ``reason``, sent by another than ``besides`` if given."""
        if not self._quarantined:
            return False
        sender = self._quarantined.get(quarantine_digest(reason, raw), besides)
        return sender != besides

    def blocks_between(self, first_ts: float, last_ts: float) -> Iterator[tuple[int, Sequence[int]]]:
        """Yield sender and line keys of each block whose time range meets ``[first_ts, last_ts]``.

        Raises ``StaleHistory``, after which this history is of no more use, ``StoreAway``, ``OSError``.
        """
        for index in range(len(self._offsets)):
            if self._first_ts[index] <= last_ts and self._last_ts[index] >= first_ts:
                file = self._files[self._segments[index]]
                try:
                    yield self._cache.get(file.files, file.path, file.salt, self._offsets[index])
                except FileNotFoundError:
                    raise StaleHistory(f"{file.path} was moved or removed") from None
                except (CorruptSegment, ObjectMissing):
                    # What can't be read can't be compared. Readers of the recording are told.
                    continue

    def without_repeats(self, work: Work, limits: Limits) -> Work:
        """Return ``work`` without the lines that others have stored, and what quarantine holds already.

        Raises as ``blocks_between``.
        """
        batch = work.batch
        applied = self.metadata_digests
        metadata = tuple(event for event in batch.metadata if metadata_digest(event.raw) not in applied)
        duplicates = len(batch.metadata) - len(metadata)
        batch = batch._replace(metadata=metadata)
        if batch.event_count:
            lines = batch.payload[:-1].split(b"\n")
            blocks = self.blocks_between(batch.first_ts, batch.last_ts)
            verdicts = find_new(
                line_keys(lines), blocks, source=work.source.id, recognised=work.source.recognised
            )
            if not all(verdicts):
                kept = [line for line, is_new in zip(lines, verdicts, strict=True) if is_new]
                duplicates += len(lines) - len(kept)
                # Checked before, and split from a good payload: only the sums are made anew.
                again = check_lines(kept, limits, first_line=1)
                batch = again._replace(metadata=batch.metadata, rejected=batch.rejected)
        return self._without_known_bad(work._replace(batch=batch, duplicates=duplicates))

    def _without_known_bad(self, work: Work) -> Work:
        """Return ``work`` without the lines and pairs of it that quarantine holds already."""
        batch = work.batch
        # As for events: equal lines of one sender are no repeats of each other. Metadata said again is.
        rejected = tuple(
            bad
            for bad in batch.rejected
            if not self.has_quarantined(bad.reason, bad.raw, besides=work.source.id)
        )
        known = len(batch.rejected) - len(rejected)

        def without_known(notes: tuple[_Note, ...]) -> tuple[_Note, ...]:
            nonlocal known
            kept = []
            for note in notes:
                bad = tuple(pair for pair in note.bad if not self.has_quarantined(pair.reason, pair.raw))
                known += len(note.bad) - len(bad)
                # Metadata without a good pair leaves no digest, so it is known by its bad pairs.
                if note.values or bad or not note.bad:
                    kept.append(note._replace(bad=bad))
            return tuple(kept)

        batch = batch._replace(rejected=rejected, metadata=without_known(batch.metadata))
        others = without_known(work.metadata)
        return work._replace(batch=batch, metadata=others, quarantined_before=known)
