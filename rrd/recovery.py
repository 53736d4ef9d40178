"""Making index and files agree: at start after a crash, and from nothing (``rrd reindex``).

Files are the truth. A block is in its file before the index hears of it, so the index can only be behind,
and only for segments in ``active/``: sealing syncs the index first. Start-up therefore looks at
those files alone, and only at what lies beyond the size that the index knows. A rebuild walks all.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from rrd import layout
from rrd.config import Config
from rrd.errors import ConfigError, CorruptSegment, IndexDamaged, RrdError
from rrd.index.index import Index
from rrd.index.rows import Commit, MetadataChange, RecordingRow, SegmentState
from rrd.layout import SegmentName
from rrd.log import event
from rrd.registry import move_to_sealed
from rrd.segment.disk import Disk, OsDisk
from rrd.segment.format import IDENTITY_READ_SIZE, BlockHeader, Identity, decode_identity
from rrd.segment.reader import read_notes
from rrd.segment.repair import cut_torn_tail
from rrd.segment.scan import Scan, scan

_APPLY_MAX = 2000
"""Blocks told to the index at a time."""

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


class _File(NamedTuple):
    """A segment file, and which of the two places it is in."""

    name: SegmentName
    state: SegmentState

    def path(self, data_dir: str) -> str:
        place = layout.active_path if self.state == "active" else layout.sealed_path
        return place(data_dir, self.name)


class _Block(NamedTuple):
    """A block that the index has not heard of."""

    number: int
    created_ms: int
    size_before: int
    header: BlockHeader
    metadata: tuple[MetadataChange, ...]


async def open_index(config: Config) -> tuple[Index, bool]:
    """Open the index; set one that is damaged aside. Also tell whether it must be rebuilt from the files.

    If so, that is noted beside it until ``recover`` is done: an index that a crash left half rebuilt
    is not empty any more, and is thrown away here.
    """
    path = layout.index_path(config.data_dir)
    _remove_half_rebuilt(path)
    try:
        index, rebuild = await _open(path)
    except IndexDamaged as error:
        set_index_aside(config, error)
        index, rebuild = await _open(path)
    if rebuild:
        os.close(os.open(_rebuild_note(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        OsDisk().sync_dir(os.path.dirname(path))
    return index, rebuild


def set_index_aside(config: Config, error: IndexDamaged) -> None:
    """Rename a damaged index out of the way, so that the next start makes it anew."""
    path = layout.index_path(config.data_dir)
    aside = f"{path}.damaged-{time.time_ns() // 1_000_000}"
    event(logger, logging.ERROR, "index_damaged", error=error, kept_as=aside)
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path + suffix, aside + suffix)


async def _open(path: str) -> tuple[Index, bool]:
    """Open an index, and tell whether it is empty. A damaged one is closed: its threads would live on."""
    index = await Index.open(path)
    try:
        return index, await index.is_empty()
    except BaseException:
        with contextlib.suppress(RrdError):
            await index.close()
        raise


def _rebuild_note(index_path: str) -> str:
    return f"{index_path}.rebuilding"


def _remove_half_rebuilt(index_path: str) -> None:
    if os.path.exists(_rebuild_note(index_path)):
        event(logger, logging.WARNING, "index_half_rebuilt", next_step="it is rebuilt once more")
        _remove_index(index_path)


async def recover(config: Config, disk: Disk, index: Index, *, rebuild: bool) -> Recovered:
    """Bring the index up to what the files hold, and cut off torn tails.

    With ``rebuild`` (the index is empty) sealed segments are walked, too. Safe to do again after a
    crash at any point. Raises ``OSError`` if the data directory can't be read.
    """
    worker = _Worker(config, disk)
    files = await asyncio.to_thread(worker.list_files, everything=rebuild)
    known = {
        SegmentName(tenant, recording, segment.number): segment.size
        for tenant, recording, _, segment in await index.active_segments()
    }
    suspects = await asyncio.to_thread(worker.not_as_known, files, known)
    commits: list[Commit] = []
    touched: list[list[_File]] = []
    for (tenant, recording), group in groupby(suspects, key=lambda file: file.name[:2]):
        segments = list(group)
        touched.append(segments)
        row = await index.recording(tenant, recording)
        blocks = await asyncio.to_thread(worker.find_blocks, segments, row)
        if blocks:
            row_id = row.row_id if row is not None else index.take_row_id()
            commits += [_commit(tenant, recording, row_id, row, block) for block in blocks]
            worker.result.recordings += 1
        if len(commits) >= _APPLY_MAX:
            await index.apply(commits)
            commits.clear()
    await index.apply(commits)
    for segments in touched:
        await _agree_on_states(worker, index, segments)
    await _find_missing(worker, index, known.keys() - {file.name for file in files})
    # What recovery would not find again, the sealed segments, the index has been told to keep on disk.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_rebuild_note(index.path))
    return worker.result


class _Worker:
    """The blocking part: everything that touches segment files."""

    def __init__(self, config: Config, disk: Disk) -> None:
        self._data_dir = config.data_dir
        self._disk = disk
        self.result = Recovered()
        self.corrupt: set[SegmentName] = set()

    def list_files(self, *, everything: bool) -> list[_File]:
        """List segment files, those of a recording together; ``everything``: the oldest recording first."""
        for directory in (layout.active_dir(self._data_dir), layout.sealed_root(self._data_dir)):
            self._disk.make_dirs(directory)
        # What a killed daemon wrote and did not sync is whole to look at, and would be taken for safe.
        self._disk.sync_all(layout.active_dir(self._data_dir))
        files = {name: _File(name, "active") for name in self._list_active()}
        if not everything:
            return sorted(files.values())
        for name in self._list_sealed():
            if name in files:
                # A power cut in the middle of a rename can leave a file in both places.
                self._disk.unlink(files[name].path(self._data_dir))
            files[name] = _File(name, "sealed")
        # One time for all segments of a recording, whatever became of some of them: they stay together.
        created: dict[tuple[str, str], int] = {}
        for file in files.values():
            identity = self._identity(file)
            if identity is not None:
                key = file.name[:2]
                created[key] = min(identity.created_ms, created.get(key, identity.created_ms))
        return sorted(files.values(), key=lambda file: (created.get(file.name[:2], 0), file))

    def _list_active(self) -> Iterator[SegmentName]:
        names = map(layout.parse_active, self._disk.list_dir(layout.active_dir(self._data_dir)))
        return filter(None, names)

    def _list_sealed(self) -> Iterator[SegmentName]:
        root = layout.sealed_root(self._data_dir)
        for tenant in self._disk.list_dir(root):
            for directory in self._disk.list_dir(f"{root}/{tenant}"):
                for file_name in self._disk.list_dir(f"{root}/{tenant}/{directory}"):
                    name = layout.parse_sealed(tenant, file_name)
                    if name is not None:
                        yield name

    def _identity(self, file: _File) -> Identity | None:
        found = decode_identity(self._disk.read(file.path(self._data_dir), 0, IDENTITY_READ_SIZE))
        return found[0] if found is not None else None

    def not_as_known(self, files: list[_File], known: dict[SegmentName, int]) -> list[_File]:
        """Return the files of each recording that has one which is not just as large as the index says."""
        suspects = {
            file.name[:2]
            for file in files
            if file.name not in known or self._disk.size(file.path(self._data_dir)) != known[file.name]
        }
        return [file for file in files if file.name[:2] in suspects]

    def find_blocks(self, files: list[_File], row: RecordingRow | None) -> list[_Block]:
        """Return the blocks of one recording that the index lacks, in order; repair torn tails."""
        sizes = {segment.number: segment.size for segment in row.segments} if row is not None else {}
        blocks: list[_Block] = []
        for index, file in enumerate(files):
            limit = None
            if index + 1 < len(files) and files[index + 1].name.number == file.name.number + 1:
                following = self._identity(files[index + 1])
                limit = following.previous_size if following is not None else None
            blocks += self._find_blocks(file, limit, sizes.get(file.name.number, 0))
        return blocks

    def _find_blocks(self, file: _File, limit: int | None, known_size: int) -> list[_Block]:
        path = file.path(self._data_dir)
        self.result.segments += 1
        if limit == 0 and not known_size:
            # Its first write failed, and the next segment was begun instead: nothing in it was ever acked.
            return []
        found = scan(self._disk, path, limit=limit, durable_size=known_size, start=known_size)
        may_change = file.state == "active" and limit is None
        if found.verdict == "torn" and may_change:
            self._cut(path, found)
        elif found.verdict != "clean":
            self.result.corrupt += 1
            self.corrupt.add(file.name)
            error = CorruptSegment("damage", path=path, offset=found.damaged_at[0])
            event(
                logger, logging.ERROR, "segment_corrupt", error=error, next_step=f"rrd inspect {path}",
                good_blocks=len(found.blocks),
            )  # fmt: skip
        if found.identity is None:
            return []
        if found.verdict != "corrupt" and may_change and not found.blocks and not known_size:
            # An identity alone: the segment was being made, and its number is still free.
            self._disk.unlink(path)
            self._disk.sync_dir(layout.active_dir(self._data_dir))
        blocks: list[_Block] = []
        size_before = known_size
        for header in found.blocks:
            changes = self._metadata_changes(file, header)
            blocks.append(_Block(file.name.number, found.identity.created_ms, size_before, header, changes))
            size_before = header.limit_offset
        self.result.blocks += len(blocks)
        return blocks

    def _metadata_changes(self, file: _File, header: BlockHeader) -> tuple[MetadataChange, ...]:
        if not header.notes_size:
            return ()
        try:
            notes, _ = read_notes(self._disk, file.path(self._data_dir), header)
        except CorruptSegment as error:
            # One damaged block must not keep everything else from being served.
            self.result.corrupt += 1
            self.corrupt.add(file.name)
            event(logger, logging.ERROR, "block_corrupt", error=error)
            return ()
        return tuple(MetadataChange(note.key, note.value, note.at_ms) for note in notes)

    def _cut(self, path: str, found: Scan) -> None:
        torn_dir = layout.torn_dir(self._data_dir)
        copy = cut_torn_tail(self._disk, path, found, torn_dir=torn_dir)
        self.result.torn += 1
        event(
            logger, logging.WARNING, "torn_tail_cut", path=path, offset=found.good_size,
            bytes=found.file_size - found.good_size, copy=copy,
        )  # fmt: skip

    def is_sealed(self, name: SegmentName) -> bool:
        try:
            self._disk.size(layout.sealed_path(self._data_dir, name))
        except FileNotFoundError:
            return False
        return True

    def move(self, names: list[SegmentName]) -> None:
        move_to_sealed(self._disk, self._data_dir, names)


def _commit(tenant: str, recording: str, row_id: int, row: RecordingRow | None, block: _Block) -> Commit:
    header = block.header
    return Commit(
        row_id=row_id,
        tenant=tenant,
        recording=recording,
        created_ms=row.created_ms if row is not None else block.created_ms,
        segment=block.number,
        segment_size=header.limit_offset,
        block_offset=header.offset,
        stored_ms=header.stored_ms,
        next_seq=header.limit_seq,
        event_count=header.event_count,
        first_ts=header.first_ts,
        last_ts=header.last_ts,
        raw_size=header.raw_size,
        block_size=header.limit_offset - block.size_before,
        duplicate_count=header.duplicate_count,
        quarantine_count=header.quarantine_count,
        metadata=block.metadata,
    )


async def _agree_on_states(worker: _Worker, index: Index, files: list[_File]) -> None:
    """Finish what sealing had begun; seal what is damaged, so that it is never appended to."""
    row = await index.recording(*files[0].name[:2])
    if row is None:
        return
    states = {segment.number: segment.state for segment in row.segments}
    to_seal = [
        file.name
        for file in files
        if states.get(file.name.number) == "active"
        and (file.state == "sealed" or file.name in worker.corrupt)
    ]
    await index.seal([(row.row_id, name.number) for name in to_seal])
    to_move = [
        file.name
        for file in files
        if file.state == "active" and (file.name in to_seal or states.get(file.name.number) == "sealed")
    ]
    if to_move:
        await asyncio.to_thread(worker.move, to_move)


async def _find_missing(worker: _Worker, index: Index, names: set[SegmentName]) -> None:
    """Segments that the index has as active, and ``active/`` doesn't hold."""
    for name in sorted(names):
        row = await index.recording(name.tenant, name.recording)
        if row is not None and await asyncio.to_thread(worker.is_sealed, name):
            await index.seal([(row.row_id, name.number)])
        else:
            worker.result.missing += 1
            event(
                logger, logging.ERROR, "segment_missing", recording=name.recording, segment=name.number,
                next_step="restore the file from a backup, or run rrd reindex to forget it",
            )  # fmt: skip


async def reindex(config: Config) -> int:
    """``rrd reindex``: build the index anew from the segment files, beside the old one, then swap.

    Prints a line with what was found. Returns the exit code. Raises ``ConfigError`` if a daemon
    serves the data directory.
    """
    path = layout.index_path(config.data_dir)
    with lock_data_dir(config.data_dir):
        fresh = f"{path}.new"
        _remove_index(fresh)
        index = await Index.open(fresh)
        try:
            result = await recover(config, OsDisk(), index, rebuild=True)
        finally:
            await index.close()
        _remove_index(path)
        os.rename(fresh, path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_rebuild_note(path))
    print(
        f"{path}: {result.recordings} recordings, {result.segments} segments, {result.blocks} blocks; "
        f"{result.torn} torn tails cut, {result.corrupt} segments damaged"
    )
    return 0


def _remove_index(path: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)


@contextlib.contextmanager
def lock_data_dir(data_dir: str) -> Iterator[None]:
    """Hold the data directory: two writers would spoil it. Raises ``ConfigError`` if it is held."""
    os.makedirs(data_dir, mode=0o700, exist_ok=True)
    handle = os.open(layout.lock_path(data_dir), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{data_dir} is served by a running rrd already. Stop that one, or choose another data_dir."
            ) from None
        yield
    finally:
        os.close(handle)
