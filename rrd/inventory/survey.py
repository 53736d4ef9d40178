"""Segment files as they lie on disk: which there are, which of their blocks the index lacks, what is torn.

The blocking part of start-up and rebuild, for a worker thread. It changes three things only: a torn tail is
cut off (a copy is kept), a file that holds nothing but an identity is unlinked, and one in ``active/`` that a
power cut left, if its bytes or lines are proven to stand in ``sealed/`` or in an object.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rrd.disk.disk import Disk, Readable
from rrd.errors import CorruptSegment, StoreAway
from rrd.index.rows import Commit, MetadataChange, SegmentRow, SegmentState
from rrd.inventory.proof import is_held_elsewhere
from rrd.layout import SegmentName
from rrd.log import emit
from rrd.segment.format import BlockHeader, Identity
from rrd.segment.reader import read_notes
from rrd.segment.repair import Torn, cut_torn_tails
from rrd.segment.salvage import Patched, identity_of, salvage
from rrd.segment.scan import Scan, scan
from rrd.shelf.entries import Unexpected, log_unexpected
from rrd.shelf.shelf import Shelf

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Recovered:
    """What recovery did, for the log and for ``rrd reindex``."""

    recordings: int = 0
    segments: int = 0
    blocks: int = 0
    torn: int = 0
    corrupt: int = 0
    missing: int = 0
    objects: int = 0
    """Taken from the store's tables."""
    buried: int = 0
    """Recordings left out because they were erased, or are about to be."""
    lacking: list[tuple[str, str]] = field(default_factory=list)
    """Recordings, as (tenant, recording), that a rebuild found damaged, or with something missing."""


class PlacedFile(NamedTuple):
    """A segment file, and which of the two places it is in."""

    name: SegmentName
    place: SegmentState


class Block(NamedTuple):
    """A block that the index has not heard of."""

    size_before: int
    """Durable size of its segment before it; 0 for the first, which the identity's bytes go with."""
    header: BlockHeader
    metadata: tuple[MetadataChange, ...]


class Surveyed(NamedTuple):
    """A segment file that was looked at."""

    file: PlacedFile
    identity: Identity | None
    """None if it is damaged, or if nothing in the file was ever acked."""
    blocks: list[Block]
    is_whole: bool
    """No damage was found."""
    durable_size: int = 0
    """As far as the file itself, or the next one, tells it was acked, bytes."""
    before: SegmentRow | None = None
    """The segment before it, if that is gone: as far as this one tells."""

    def commits(self, *, row_id: int, created_ms: int) -> Iterator[Commit]:
        """Yield what the index must be told about the blocks."""
        for block in self.blocks:
            header = block.header
            yield Commit(
                row_id=row_id,
                tenant=self.file.name.tenant,
                recording_id=self.file.name.recording_id,
                created_ms=created_ms,
                segment=self.file.name.number,
                segment_size=header.limit_offset,
                block_offset=header.offset,
                block_size=header.limit_offset - block.size_before,
                extent=header.extent,
                metadata=block.metadata,
            )


class _Mending(NamedTuple):
    """What is to be done about files that were looked at."""

    torn: list[Torn]
    empty: list[str]
    """Paths of those that hold nothing but an identity."""


class Survey:
    """Looks at the segment files of one data directory; ``result`` counts what it found."""

    def __init__(self, data_dir: str, disk: Disk) -> None:
        self.shelf = Shelf(disk, data_dir)
        self._disk = disk
        self.result = Recovered()

    def list_active(self) -> list[PlacedFile]:
        """Return the files in ``active/`` by name. What a killed daemon did not sync is synced first."""
        for directory in (self.shelf.active_dir, self.shelf.sealed_root):
            self._disk.make_dirs(directory)
        # What was written and not synced is whole to look at, and would be taken for safe.
        self._disk.sync_all(self.shelf.active_dir)
        strays: list[Unexpected] = []
        names = self.shelf.active_names(strays.append)
        log_unexpected(strays)
        return [PlacedFile(name, "active") for name in names]

    def list_all(self) -> dict[tuple[str, str], list[PlacedFile]]:
        """Return all segment files of each recording, by number."""
        files = {file.name: file for file in self.list_active()}
        strays: list[Unexpected] = []
        for name in self.shelf.sealed_names(strays.append):
            sealed = PlacedFile(name, "sealed")
            if name in files:
                active, path = self.shelf.path(*files[name]), self.shelf.path(*sealed)
                if not self.shelf.is_same(active, path):
                    # Two different files: none may go. The one counts whose own words agree with its name.
                    strays.append(Unexpected(path, f"{active} has the same name and other contents"))
                    if self.own_identity(sealed) is None:
                        continue
                else:
                    # A power cut in the middle of a rename can leave a file in both places.
                    self._disk.unlink(active)
            files[name] = sealed
        log_unexpected(strays)
        found: dict[tuple[str, str], list[PlacedFile]] = {}
        for file in sorted(files.values()):
            found.setdefault(file.name[:2], []).append(file)
        return found

    def own_identity(self, file: PlacedFile) -> Identity | None:
        """Return a file's identity; None if it is damaged, or is another segment's."""
        identity = self.identity(file)
        return identity if identity is not None and identity.name == file.name else None

    def identity(self, file: PlacedFile) -> Identity | None:
        """Return the identity that a file begins with; None if it is damaged."""
        return identity_of(self._disk, self.shelf.path(*file))

    def not_as_known(self, files: list[PlacedFile], known: dict[SegmentName, int]) -> list[PlacedFile]:
        """Return the files of each recording that has one which is not just as large as the index says."""
        suspects = {
            file.name[:2]
            for file in files
            if file.name not in known or self._disk.size(self.shelf.path(*file)) != known[file.name]
        }
        return [file for file in files if file.name[:2] in suspects]

    def look(self, files: Sequence[PlacedFile], known: Mapping[int, SegmentRow]) -> list[Surveyed]:
        """Look at all segments of one recording, in order, for a rebuild; repair torn tails.

        ``known``: by number, what the replaced index says. What lies below a size of it is no torn tail, and
        what lies beyond that of a sealed segment was never acked. Where a file's identity is damaged, its
        blocks are found all the same.
        """
        mending = _Mending([], [])
        found = self._look_at(files, {}, mending, known)
        self._mend(mending)
        return [self._salvaged(each) if each.identity is None else each for each in found]

    def _salvaged(self, found: Surveyed) -> Surveyed:
        """Return what is intact of a file without a valid identity, unless it is another segment's."""
        path = self.shelf.path(*found.file)
        if found.is_whole or identity_of(self._disk, path) is not None:
            return found
        blocks: list[Block] = []
        size_before = 0
        for header in salvage(self._disk, path, durable_size=found.durable_size or None).blocks:
            blocks.append(Block(size_before, header, self._metadata(path, header) or ()))
            size_before = header.limit_offset
        return found._replace(blocks=blocks)

    def look_at_all(
        self, recordings: Iterable[tuple[Sequence[PlacedFile], Mapping[int, int]]]
    ) -> list[list[Surveyed]]:
        """``look`` at several recordings. All torn tails are repaired together, which takes few syncs."""
        mending = _Mending([], [])
        found = [self._look_at(files, sizes, mending, {}) for files, sizes in recordings]
        self._mend(mending)
        return found

    def _look_at(
        self,
        files: Sequence[PlacedFile],
        sizes: Mapping[int, int],
        mending: _Mending,
        known: Mapping[int, SegmentRow],
    ) -> list[Surveyed]:
        found: list[Surveyed] = []
        for index, file in enumerate(files):
            row = known.get(file.name.number)
            limit = row.size if row is not None and row.state != "active" else None
            if index + 1 < len(files) and files[index + 1].name.number == file.name.number + 1:
                following = self.own_identity(files[index + 1])
                if following is not None:
                    limit = following.previous_size
            start = sizes.get(file.name.number, 0)
            surveyed = self._look(file, limit, start, mending, row.size if row is not None else start)
            before, identity = files[index - 1].name.number if index else 0, surveyed.identity
            if identity is not None and identity.previous_size and before != identity.number - 1:
                gone = SegmentRow(identity.number - 1, "sealed", identity.previous_size, None, None)
                surveyed = surveyed._replace(before=gone)
            found.append(surveyed)
        return found

    def _look(
        self, file: PlacedFile, limit: int | None, known_size: int, mending: _Mending, durable_size: int
    ) -> Surveyed:
        path = self.shelf.path(*file)
        self.result.segments += 1
        if limit == 0 and not known_size:
            # Its first write failed, and the next segment was begun instead: nothing in it was ever acked.
            return Surveyed(file, None, [], is_whole=True)
        files = Patched(self._disk)
        found = scan(files, path, limit=limit, durable_size=durable_size, start=known_size)
        if found.verdict == "torn" and files.holes:
            # What can't be read now may be whole, so it is not cut off.
            found.verdict = "corrupt"
        is_whole = found.verdict == "clean" and not files.holes
        may_change = file.place == "active" and limit is None
        if found.verdict == "torn" and may_change:
            mending.torn.append(Torn(path, found))
            is_whole = True
        elif not is_whole:
            self._count_corrupt(path, "damage", found.damaged_at[0] if found.damaged_at else 0, found)
        durable_size = max(limit or 0, durable_size)
        if found.identity is None:
            return Surveyed(file, None, [], is_whole, durable_size)
        if found.identity.name != file.name or found.identity.is_object:
            # Moved or copied here by hand. Its events are not this segment's.
            self._count_corrupt(path, f"segment {found.identity.number} of another name begins", 0, found)
            return Surveyed(file, None, [], is_whole=False, durable_size=durable_size)
        if is_whole and may_change and not found.blocks and not known_size:
            # An identity alone: the segment was being made, and its number is still free.
            mending.empty.append(path)
        blocks: list[Block] = []
        size_before = known_size
        for header in found.blocks:
            metadata = self._metadata(path, header)
            is_whole = is_whole and metadata is not None
            blocks.append(Block(size_before, header, metadata or ()))
            size_before = header.limit_offset
        self.result.blocks += len(blocks)
        return Surveyed(file, found.identity, blocks, is_whole, durable_size)

    def _count_corrupt(self, path: str, what: str, offset: int, found: Scan) -> None:
        self.result.corrupt += 1
        error = CorruptSegment(what, path=path, offset=offset)
        emit(
            logger, logging.ERROR, "segment_corrupt", error=error, next_step=f"rrd inspect {path}",
            good_blocks=len(found.blocks),
        )  # fmt: skip

    def _metadata(self, path: str, header: BlockHeader) -> tuple[MetadataChange, ...] | None:
        """Return what a block says about metadata; None if that is damaged."""
        if not header.notes_size:
            return ()
        try:
            notes, _ = read_notes(Patched(self._disk), path, header)
        except CorruptSegment as error:
            # One damaged block must not keep everything else from being served.
            self.result.corrupt += 1
            emit(logger, logging.ERROR, "block_corrupt", error=error)
            return None
        return tuple(MetadataChange(note.key, note.value, note.at_ms) for note in notes)

    def _mend(self, mending: _Mending) -> None:
        copies = cut_torn_tails(self._disk, mending.torn, torn_dir=self.shelf.torn_dir)
        for (path, found), copy in zip(mending.torn, copies, strict=True):
            self.result.torn += 1
            emit(
                logger, logging.WARNING, "torn_tail_cut", path=path, offset=found.good_size,
                bytes=found.file_size - found.good_size, copy=copy,
            )  # fmt: skip
        for path in mending.empty:
            self._disk.unlink(path)
        if mending.empty:
            self._disk.sync_dir(self.shelf.active_dir)

    def are_sealed(self, names: Iterable[SegmentName]) -> list[bool]:
        """Tell of each segment whether its file is below ``sealed/``."""
        return [self._disk.is_file(self.shelf.sealed(name)) for name in names]

    def is_copy(self, file: PlacedFile, key: str, objects: Readable | None) -> bool:
        """Tell whether all of a file in ``active/`` is in ``sealed/`` or in an object; if not, log it.

        ``objects``: None if there is no store to ask.
        """
        path, sealed = self.shelf.path(*file), self.shelf.sealed(file.name)
        if self._disk.is_file(sealed) and self.shelf.is_same(path, sealed):
            return True
        why = "what it holds is not all there"
        if scan(Patched(self._disk), path, deep=True).verdict != "clean":
            why = "it is damaged"
        elif objects is not None:
            try:
                if is_held_elsewhere(path, [key], disk=self._disk, objects=objects):
                    return True
            except StoreAway as error:
                why = str(error)
        emit(
            logger, logging.WARNING, "segment_copy_kept", path=path, object=key, why=why,
            next_step="the index has the object for it. rrd verify --mend (with the daemon stopped) removes"
            " the file if all of it is in the object; if it stays, rrd inspect tells what it holds",
        )  # fmt: skip
        return False
