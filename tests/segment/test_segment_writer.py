"""One segment appended to: where its blocks go, and what is left after each kind of failure."""

from __future__ import annotations

import errno

import pytest
import zstandard

from rrd.segment.format import Identity
from rrd.segment.scan import scan
from rrd.segment.writer import BlockCompressor, SegmentWriter
from tests.segment.samples import COMPRESSOR, IDENTITY, NOTES, PATH, chained, events, read_back, sample
from tests.simdisk import SimDisk

DRAFTS = chained([events(1), NOTES, events(2, 3)])
WHOLE = sample(*DRAFTS)


def new_disk() -> SimDisk:
    disk = SimDisk()
    disk.make_dirs("/active")
    return disk


def a_writer(disk: SimDisk, *, size: int = 0, identity: Identity = IDENTITY) -> SegmentWriter:
    return SegmentWriter(disk, PATH, identity, size=size, compressor=COMPRESSOR)


def append(writer: SegmentWriter, index: int) -> int:
    offset = writer.write(DRAFTS[index])
    writer.sync()
    writer.synced()
    return offset


def a_writer_of_two_blocks(disk: SimDisk) -> SegmentWriter:
    writer = a_writer(disk)
    append(writer, 0)
    append(writer, 1)
    return writer


def is_whole(disk: SimDisk) -> bool:
    """Tell whether the file holds all three blocks and nothing else."""
    found = scan(disk, PATH, deep=True)
    return found.verdict == "clean" and [read_back(disk, PATH, header) for header in found.blocks] == DRAFTS


def test_blocks_follow_each_other_and_the_identity_comes_first() -> None:
    disk = new_disk()
    writer = a_writer(disk)
    assert (writer.size, writer.is_new, writer.is_open) == (0, True, False)
    assert append(writer, 0) == WHOLE.offsets[0]
    assert (writer.size, writer.is_new, writer.is_open) == (WHOLE.offsets[1], False, True)
    assert append(writer, 1) == WHOLE.offsets[1]
    assert append(writer, 2) == WHOLE.offsets[2]
    assert disk.files() == {PATH: WHOLE.data}
    assert writer.directory == "/active"


def test_a_block_counts_only_once_it_is_synced() -> None:
    writer = a_writer(new_disk())
    writer.write(DRAFTS[0])
    assert writer.size == 0
    writer.sync()
    assert writer.size == 0
    writer.synced()
    assert writer.size == WHOLE.offsets[1]


def test_a_second_block_before_the_sync_of_the_first_is_a_bug() -> None:
    writer = a_writer(new_disk())
    writer.write(DRAFTS[0])
    with pytest.raises(AssertionError):
        writer.write(DRAFTS[1])


def test_a_segment_is_taken_up_where_it_ended() -> None:
    disk = new_disk()
    a_writer_of_two_blocks(disk).close()
    writer = a_writer(disk, size=WHOLE.offsets[2])
    assert not writer.is_new
    assert append(writer, 2) == WHOLE.offsets[2]
    assert is_whole(disk)


def test_a_closed_writer_opens_its_file_again() -> None:
    disk = new_disk()
    writer = a_writer_of_two_blocks(disk)
    writer.close()
    writer.close()
    assert (writer.is_open, disk.open_handles) == (False, 0)
    append(writer, 2)
    assert is_whole(disk)


@pytest.mark.parametrize("blocks", [0, 2])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failed_write_is_undone_and_the_next_one_succeeds(blocks: int, code: int) -> None:
    disk = new_disk()
    writer = a_writer_of_two_blocks(disk) if blocks else a_writer(disk)
    before = disk.files()
    disk.fail_at(disk.operations + (0 if blocks else 1), code)
    with pytest.raises(OSError, match=r"write \d+"):
        writer.write(DRAFTS[blocks])
    writer.undo(after_sync=False)
    assert disk.files() == before
    assert (writer.usable, writer.is_new, disk.open_handles) == (True, blocks == 0, 0)
    for index in range(blocks, 3):
        append(writer, index)
    assert is_whole(disk)


@pytest.mark.parametrize("blocks", [0, 2])
def test_a_failed_open_changes_nothing(blocks: int) -> None:
    disk = new_disk()
    writer = a_writer_of_two_blocks(disk) if blocks else a_writer(disk)
    writer.close()
    before = disk.files()
    disk.fail_at(disk.operations, errno.EMFILE)
    with pytest.raises(OSError, match="Too many open files"):
        writer.write(DRAFTS[blocks])
    writer.undo(after_sync=False)
    assert disk.files() == before
    assert writer.usable
    for index in range(blocks, 3):
        append(writer, index)
    assert is_whole(disk)


@pytest.mark.parametrize("blocks", [0, 2])
def test_a_failed_sync_ends_the_segment_at_its_durable_size(blocks: int) -> None:
    disk = new_disk()
    writer = a_writer_of_two_blocks(disk) if blocks else a_writer(disk)
    before = disk.files()
    writer.write(DRAFTS[blocks])
    disk.fail_at(disk.operations)
    with pytest.raises(OSError, match="sync"):
        writer.sync()
    writer.undo(after_sync=True)
    assert disk.files() == before
    assert writer.size == (WHOLE.offsets[2] if blocks else 0)
    assert (writer.usable, disk.open_handles) == (False, 0)
    with pytest.raises(AssertionError):
        writer.write(DRAFTS[blocks])


@pytest.mark.parametrize("blocks", [0, 2])
def test_a_write_that_can_not_be_undone_ends_the_segment(blocks: int) -> None:
    disk = new_disk()
    writer = a_writer_of_two_blocks(disk) if blocks else a_writer(disk)
    writing = disk.operations + (0 if blocks else 1)
    disk.fail_at(writing, errno.ENOSPC)
    disk.fail_at(writing + 1, errno.EIO)
    with pytest.raises(OSError, match="write"):
        writer.write(DRAFTS[blocks])
    writer.undo(after_sync=False)
    assert not writer.usable
    assert writer.size == (WHOLE.offsets[2] if blocks else 0)


def test_a_file_that_is_already_there_is_left_alone() -> None:
    disk = new_disk()
    disk.put(PATH, WHOLE.data)
    writer = a_writer(disk)
    with pytest.raises(FileExistsError):
        writer.write(DRAFTS[0])
    writer.undo(after_sync=False)
    assert disk.files() == {PATH: WHOLE.data}
    assert not writer.usable


def test_a_failed_open_never_removes_what_is_there() -> None:
    disk = new_disk()
    disk.put(PATH, WHOLE.data)
    writer = a_writer(disk)
    disk.fail_at(disk.operations, errno.EMFILE)
    with pytest.raises(OSError, match="Too many open files"):
        writer.write(DRAFTS[0])
    writer.undo(after_sync=False)
    assert disk.files() == {PATH: WHOLE.data}


def test_a_segment_whose_file_vanished_is_not_used_again() -> None:
    """Else every later block of the recording would fail, and nobody would begin a new segment."""
    disk = new_disk()
    writer = a_writer_of_two_blocks(disk)
    writer.close()
    disk.unlink(PATH)
    with pytest.raises(FileNotFoundError):
        writer.write(DRAFTS[2])
    writer.undo(after_sync=False)
    assert not writer.usable


def test_a_handle_that_does_not_close_well_does_not_hinder_the_undoing() -> None:
    class BadlyClosing(SimDisk):
        def close(self, handle: int) -> None:
            super().close(handle)
            raise OSError(errno.EIO, "close failed")

    disk = BadlyClosing()
    disk.make_dirs("/active")
    writer = a_writer_of_two_blocks(disk)
    before = disk.files()
    disk.fail_at(disk.operations, errno.ENOSPC)
    with pytest.raises(OSError, match="write"):
        writer.write(DRAFTS[2])
    writer.undo(after_sync=False)
    assert disk.files() == before
    assert not writer.is_open


@pytest.mark.parametrize("size", [1, 512, 513, 100_000])
@pytest.mark.parametrize("level", [1, 19])
def test_parts_of_all_sizes_become_frames_that_any_zstd_reads(size: int, level: int) -> None:
    compressor = BlockCompressor(level)
    part = (b'{"type":3,"timestamp":1700000000123}\n' * size)[:size]
    for _ in range(2):
        frame = compressor.compress(part)
        assert zstandard.frame_content_size(frame) == size
        assert zstandard.ZstdDecompressor().decompress(frame) == part


def test_the_level_counts_for_parts_that_are_not_small() -> None:
    part = b"".join(b'{"type":3,"timestamp":%d,"x":%d}\n' % (at, at * at % 977) for at in range(3000))
    assert len(BlockCompressor(19).compress(part)) < len(BlockCompressor(1).compress(part))
    assert BlockCompressor(19).compress(part[:512]) == BlockCompressor(1).compress(part[:512])
