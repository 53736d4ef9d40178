"""Events and notes of blocks, checked before anything of them is returned."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import zstandard

from rrd.disk.disk import NOW_BYTES_MAX, Readable, ReadableNow
from rrd.errors import CorruptSegment
from rrd.segment.format import (
    BlockHeader,
    MetadataNote,
    QuarantineNote,
    decode_notes,
    payload_crc,
    payload_is_intact,
)

_ROOM_STEP_BYTES = 64 << 10
"""So that a block a little longer than those before it does not want another room."""


class _Contexts(threading.local):
    """A context a thread: making one costs ten times as much as a small block takes."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def read_events(files: Readable, path: str, header: BlockHeader) -> bytes:
    """Return the events of a block: ``event_count`` lines, each ended by one LF; empty without events.

    Takes ``raw_size`` bytes of memory, and ``data_size`` for a moment. Raises ``CorruptSegment`` if
    checksum or sizes aren't what the header says, ``OSError`` if the block can't be read. The lines
    are not counted: that takes as long as decoding them, and the checksum vouches for what was written.
    """
    if header.data_size == 0:
        if header.event_count != 0:
            raise CorruptSegment("events without data in the block", path=path, offset=header.offset)
        return b""
    payload = _read_payload(files, path, header)
    return _inflate(payload[header.notes_size :], header.raw_size, path, header)


class DecodeBuffer:
    """Memory for a block's events, which those of the next may replace: it is as large as the largest.

    Memory that is fresh for each block costs a third of what decoding does (page faults).
    """

    def __init__(self) -> None:
        self.data = bytearray()

    def make(self, size: int) -> bytearray:
        """Return ``data``, or if it is shorter than ``size`` another in its place."""
        if len(self.data) < size:
            self.data = bytearray()  # Not to be kept until there is the new one.
            self.data = bytearray(-size // _ROOM_STEP_BYTES * -_ROOM_STEP_BYTES)
        return self.data


def read_events_into(files: Readable, path: str, header: BlockHeader, room: DecodeBuffer) -> None:
    """Put the events of a block at the start of ``room``. Raises like ``read_events``."""
    payload = _read_payload(files, path, header)
    buffer = room.make(header.raw_size)
    source = memoryview(payload)[header.notes_size :]
    try:
        # A frame that tells its size is decoded in one go if there is room for all of it.
        with memoryview(buffer) as view, _contexts.decompressor.stream_reader(source) as frame:
            size = frame.readinto(view[: header.raw_size])
            is_whole = size == header.raw_size and not frame.read(1)
    except zstandard.ZstdError:
        is_whole = False
    if not is_whole:
        raise _frame_error(path, header)


def read_data(files: Readable, path: str, headers: Sequence[BlockHeader]) -> list[bytes]:
    """Return the data of blocks as it stands in the file, a zstd frame each, out of one read.

    ``headers``: of blocks with events, in the order of the file; what lies between them is read, too. Raises
    like ``read_events``, before anything is returned, but for what only decoding would show.
    """
    return _frames(files.read(path, *_window(headers)), path, headers)


def read_data_now(files: ReadableNow, path: str, headers: Sequence[BlockHeader]) -> list[bytes] | None:
    """Return what ``read_data`` would, or None if it would take long, or raise. Only on the event loop."""
    start, size = _window(headers)
    window = files.read_now(path, start, size) if size <= NOW_BYTES_MAX else None
    if window is None:
        return None
    try:
        return _frames(window, path, headers)
    except CorruptSegment:
        return None


def _window(headers: Sequence[BlockHeader]) -> tuple[int, int]:
    """Return offset and size of what blocks cover, without the first one's header."""
    start = headers[0].notes_offset
    return start, headers[-1].limit_offset - start


def _frames(window: bytes, path: str, headers: Sequence[BlockHeader]) -> list[bytes]:
    start = headers[0].notes_offset
    found = []
    for header in headers:
        notes = window[header.notes_offset - start : header.data_offset - start]
        # All of the window, if it is one block without notes, and then no copy of it.
        data = window[header.data_offset - start : header.limit_offset - start]
        if len(data) != header.data_size or payload_crc(notes, data) != header.payload_crc:
            raise _checksum_error(path, header)
        found.append(data)
    return found


def read_notes(
    files: Readable, path: str, header: BlockHeader
) -> tuple[list[MetadataNote], list[QuarantineNote]]:
    """Return the notes of a block. Raises like ``read_events``."""
    if header.notes_size == 0:
        return [], []
    payload = _read_payload(files, path, header)
    raw = _inflate(payload[: header.notes_size], header.notes_raw_size, path, header)
    try:
        return decode_notes(raw)
    except (ValueError, RecursionError) as error:
        raise CorruptSegment("notes don't decode in the block", path=path, offset=header.offset) from error


def read_last_notes(files: Readable, path: str, headers: Sequence[BlockHeader]) -> bytes:
    """Return the notes of an object's last block as NDJSON, if it has notes and no events; else nothing.

    There a summary stands (``FORMAT.md``, *Summary*), unless the object is of before. Raises like
    ``read_events``.
    """
    if not headers or headers[-1].event_count or not headers[-1].notes_size:
        return b""
    return read_raw(files, path, headers[-1])[0]


def read_raw(files: Readable, path: str, header: BlockHeader) -> tuple[bytes, bytes]:
    """Return notes and events of a block as they stand there, decoded: NDJSON both.

    Raises like ``read_events``. Lines are counted, too; what they hold is for the caller to see.
    """
    payload = _read_payload(files, path, header)
    notes = raw = b""
    if header.notes_size:
        notes = _inflate(payload[: header.notes_size], header.notes_raw_size, path, header)
    if header.data_size:
        raw = _inflate(payload[header.notes_size :], header.raw_size, path, header)
    if raw.count(b"\n") != header.event_count or raw[-1:] != (b"\n" if header.event_count else b""):
        raise CorruptSegment("wrong number of lines in the block", path=path, offset=header.offset)
    return notes, raw


def _read_payload(files: Readable, path: str, header: BlockHeader) -> bytes:
    payload = files.read(path, header.notes_offset, header.notes_size + header.data_size)
    if not payload_is_intact(header, payload):
        raise _checksum_error(path, header)
    return payload


def _checksum_error(path: str, header: BlockHeader) -> CorruptSegment:
    return CorruptSegment("checksum doesn't match in the block", path=path, offset=header.offset)


def _inflate(data: bytes, raw_size: int, path: str, header: BlockHeader) -> bytes:
    try:
        # One frame and nothing behind it: ``zstd -dc`` would print more than we return.
        raw = _contexts.decompressor.decompress(data, max_output_size=raw_size, allow_extra_data=False)
    except zstandard.ZstdError:
        raw = b""
    if len(raw) != raw_size:
        raise _frame_error(path, header)
    return raw


def _frame_error(path: str, header: BlockHeader) -> CorruptSegment:
    return CorruptSegment("zstd frame doesn't decode in the block", path=path, offset=header.offset)
