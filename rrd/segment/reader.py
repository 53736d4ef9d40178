"""Events and notes of one block, checked before anything of them is returned."""

from __future__ import annotations

import zstandard

from rrd.errors import CorruptSegment
from rrd.segment.disk import Disk
from rrd.segment.format import BlockHeader, MetadataNote, QuarantineNote, decode_notes, payload_is_intact


def read_events(disk: Disk, path: str, header: BlockHeader) -> bytes:
    """Return the events of a block: ``event_count`` lines, each ended by one LF; empty without events.

    Takes ``raw_size`` bytes of memory, and ``data_size`` for a moment. Raises ``CorruptSegment`` if
    the block is not what its header says, ``OSError`` if it can't be read.
    """
    if header.data_size == 0:
        return b""
    payload = _read_payload(disk, path, header)
    return _inflate(payload[header.notes_size :], header.raw_size, path, header)


def read_notes(disk: Disk, path: str, header: BlockHeader) -> tuple[list[MetadataNote], list[QuarantineNote]]:
    """Return the notes of a block. Raises like ``read_events``."""
    if header.notes_size == 0:
        return [], []
    payload = _read_payload(disk, path, header)
    return decode_notes(_inflate(payload[: header.notes_size], header.notes_raw_size, path, header))


def _read_payload(disk: Disk, path: str, header: BlockHeader) -> bytes:
    payload = disk.read(path, header.notes_offset, header.notes_size + header.data_size)
    if not payload_is_intact(header, payload):
        raise CorruptSegment("checksum doesn't match in the block", path=path, offset=header.offset)
    return payload


def _inflate(data: bytes, raw_size: int, path: str, header: BlockHeader) -> bytes:
    try:
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=raw_size)
    except zstandard.ZstdError:
        raw = b""
    if len(raw) != raw_size:
        raise CorruptSegment("zstd frame doesn't decode in the block", path=path, offset=header.offset)
    return raw
