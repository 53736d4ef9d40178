"""The reader returns what was written or raises ``CorruptSegment``; there is nothing in between."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.disk.disk import OsDisk, Readable
from rrd.errors import CorruptSegment
from rrd.segment.format import BlockHeader, decode_notes
from rrd.segment.reader import (
    DecodeBuffer,
    read_data,
    read_data_now,
    read_events,
    read_events_into,
    read_notes,
    read_raw,
)
from tests.segment.samples import (
    NOTES,
    PATH,
    Sample,
    any_samples,
    disk_with,
    event,
    events,
    read_back,
    sample,
    scanned,
)
from tests.simdisk import SimDisk

BOTH = sample(events(1, 2, 3)._replace(metadata=NOTES.metadata, quarantine=NOTES.quarantine))


def only_header(made: Sample) -> BlockHeader:
    [header] = scanned(made.data).blocks
    return header


def into_buffer(files: Readable, path: str, header: BlockHeader) -> bytes:
    """``read_events_into``, into room that held more before."""
    room = DecodeBuffer()
    room.make(10_000)[:10_000] = b"z" * 10_000
    read_events_into(files, path, header, room)
    return bytes(room.data[: header.raw_size])


@settings(deadline=None)
@given(any_samples)
def test_room_gets_what_is_read_and_grows_if_need_be(made: Sample) -> None:
    room = DecodeBuffer()
    for header in scanned(made.data).blocks:
        if header.event_count:
            read_events_into(disk_with(made.data), PATH, header, room)
            assert room.data[: header.raw_size] == read_events(disk_with(made.data), PATH, header)


@given(st.lists(st.integers(0, 3 << 20), min_size=1))
def test_room_is_as_large_as_need_be_and_little_more(sizes: list[int]) -> None:
    room = DecodeBuffer()
    for size in sizes:
        assert len(room.make(size)) >= size
    assert len(room.data) < max(sizes) + (64 << 10)


@settings(deadline=None)
@given(any_samples)
def test_real_files_read_like_simulated_ones(made: Sample) -> None:
    for header in scanned(made.data).blocks:
        assert read_back(disk_with(made.data), PATH, header) in made.drafts


def test_a_block_is_read_from_a_real_file(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.write_bytes(BOTH.data)
    assert [read_back(OsDisk(), str(path), only_header(BOTH))] == BOTH.drafts


def test_blocks_without_events_or_notes_read_as_nothing() -> None:
    made = sample(NOTES, events(5))
    notes_only, events_only = scanned(made.data).blocks
    assert read_events(disk_with(made.data), PATH, notes_only) == b""
    assert read_notes(disk_with(made.data), PATH, events_only) == ([], [])
    assert read_events(disk_with(made.data), PATH, events_only) == event(5)


@pytest.mark.parametrize(
    "data", [b"", BOTH.data[:-1], BOTH.data[:-1] + b"\0"], ids=["gone", "cut", "damaged"]
)
def test_a_file_that_changed_since_the_scan_is_refused(data: bytes) -> None:
    header = only_header(BOTH)
    for read in (read_events, into_buffer, read_notes):
        with pytest.raises(CorruptSegment) as caught:
            read(disk_with(data), PATH, header)
        assert (caught.value.path, caught.value.offset) == (PATH, header.offset)
        assert PATH in str(caught.value)


def test_an_absent_file_is_an_os_error() -> None:
    disk = disk_with(BOTH.data)
    disk.unlink(PATH)
    for read in (read_events, into_buffer, read_notes):
        with pytest.raises(FileNotFoundError):
            read(disk, PATH, only_header(BOTH))


@pytest.mark.parametrize("more", [1, -1])
def test_a_header_with_wrong_sizes_is_refused_though_its_checksums_are_right(more: int) -> None:
    header = only_header(BOTH)
    for read in (read_events, into_buffer):
        with pytest.raises(CorruptSegment):
            read(disk_with(BOTH.data), PATH, header._replace(raw_size=header.raw_size + more))
    with pytest.raises(CorruptSegment):
        read_notes(disk_with(BOTH.data), PATH, header._replace(notes_raw_size=header.notes_raw_size + more))


def test_events_that_are_said_to_be_there_but_have_no_data_are_refused() -> None:
    made = sample(NOTES)
    with pytest.raises(CorruptSegment):
        read_events(disk_with(made.data), PATH, only_header(made)._replace(event_count=1))


@settings(deadline=None)
@given(st.binary(max_size=50))
def test_notes_that_make_no_sense_are_refused_though_the_checksum_is_right(junk: bytes) -> None:
    made = sample(events(1)._replace(payload=junk + b"{", event_count=junk.count(b"\n")))
    header = only_header(made)
    as_notes = header._replace(
        notes_size=header.data_size, notes_raw_size=header.raw_size, data_size=0, raw_size=0
    )
    with pytest.raises(CorruptSegment):
        read_notes(disk_with(made.data), PATH, as_notes)


def test_a_second_frame_in_a_block_is_refused() -> None:
    """``zstd -dc`` would print it, and readers would not."""
    both = sample(events(1)._replace(metadata=NOTES.metadata))
    header = only_header(both)
    joined = header._replace(notes_size=0, data_size=header.notes_size + header.data_size)
    lied = joined._replace(raw_size=header.notes_raw_size)
    for read in (read_events, into_buffer):
        with pytest.raises(CorruptSegment):
            read(disk_with(both.data), PATH, lied)


@settings(deadline=None)
@given(any_samples)
def test_raw_notes_and_events_are_read_as_they_were_encoded(made: Sample) -> None:
    for header, draft in zip(scanned(made.data).blocks, made.drafts, strict=True):
        notes, raw = read_raw(disk_with(made.data), PATH, header)
        assert raw == draft.payload
        assert decode_notes(notes) == (list(draft.metadata), list(draft.quarantine))


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_block_of_other_lines_than_counted_is_not_read_raw(count: int) -> None:
    made = sample(events(1, 2, 3)._replace(event_count=count))
    with pytest.raises(CorruptSegment, match="wrong number of lines"):
        read_raw(disk_with(made.data), PATH, only_header(made))


def test_a_block_that_is_damaged_is_not_read_raw() -> None:
    header = only_header(BOTH)
    for at in range(header.notes_offset, header.limit_offset):
        data = BOTH.data[:at] + bytes([BOTH.data[at] ^ 1]) + BOTH.data[at + 1 :]
        with pytest.raises(CorruptSegment, match="checksum"):
            read_raw(disk_with(data), PATH, header)


THREE = sample(
    events(1, 2), NOTES, events(3)._replace(metadata=NOTES.metadata, quarantine=NOTES.quarantine), events(4)
)


def with_events(made: Sample) -> list[BlockHeader]:
    return [header for header in scanned(made.data).blocks if header.event_count]


def test_data_of_neighbouring_blocks_comes_as_it_stands_there_and_nothing_else() -> None:
    headers = with_events(THREE)
    frames = read_data(disk_with(THREE.data), PATH, headers)
    assert frames == [THREE.data[header.data_offset : header.limit_offset] for header in headers]
    assert [read_data(disk_with(THREE.data), PATH, [header])[0] for header in headers] == frames
    # Each is a frame of its own, and no other.
    decoded = [zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False) for frame in frames]
    assert decoded == [event(1) + event(2), event(3), event(4)]


def test_no_damaged_byte_of_data_or_notes_is_passed_on() -> None:
    headers = with_events(THREE)
    for header in headers:
        for offset in range(header.notes_offset, header.limit_offset):
            data = bytearray(THREE.data)
            data[offset] ^= 1
            with pytest.raises(CorruptSegment) as caught:
                read_data(disk_with(bytes(data)), PATH, headers)
            assert caught.value.offset == header.offset
            assert read_data_now(at_hand(bytes(data)), PATH, headers) is None
    for cut in (1, headers[-1].data_size, len(THREE.data)):
        with pytest.raises(CorruptSegment):
            read_data(disk_with(THREE.data[:-cut]), PATH, headers)
        assert read_data_now(at_hand(THREE.data[:-cut]), PATH, headers) is None


def test_data_at_hand_is_what_waiting_for_it_gives() -> None:
    headers = with_events(THREE)
    disk = at_hand(THREE.data)
    assert read_data_now(disk, PATH, headers) == read_data(disk, PATH, headers)
    # The simulated disk's next answer is that it would have to wait.
    assert read_data_now(disk, PATH, headers) is None


def at_hand(data: bytes) -> SimDisk:
    """Return a disk that will have what it is asked for next."""
    disk = disk_with(data)
    assert disk.read_now(PATH, 0, 1) is None
    return disk
