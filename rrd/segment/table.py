"""The table at the end of an object: where each block is, in one read.

A table repeats the identity and the headers of all blocks, so that the last few kilobytes of an object are
all that a reader needs before it fetches just the blocks that it wants. ``FORMAT.md``, *Objects*.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import google_crc32c

from rrd.disk.disk import Readable
from rrd.errors import CorruptSegment
from rrd.segment.format import (
    HEADER_SIZE,
    IDENTITY_READ_SIZE,
    IDENTITY_START,
    BlockHeader,
    Identity,
    decode_bare_header,
    decode_identity_json,
    encode_identity_json,
)

TABLE_MAGIC = 0x184D2A5D
TABLE_READ_SIZE = 64 << 10
"""Bytes at the end of an object that are read first: the whole table of up to some 670 blocks."""

_MARKER = b"rrdt"
_START = struct.Struct("<II4sI")
_TRAILER = struct.Struct("<III4s")
_CRC_COVERS_AT = _START.size


class BlockTable(NamedTuple):
    """What a table says, checked in itself: not yet against the blocks."""

    identity: Identity
    identity_json: bytes
    headers: list[BlockHeader]
    offset: int
    """Where the table begins, and the last block ends."""


def encode_table(identity: Identity, headers: bytes) -> bytes:
    """Encode the table of an object whose blocks have these headers, each of 96 bytes, joined."""
    body = encode_identity_json(identity)
    size = _START.size + len(body) + len(headers) + _TRAILER.size
    trailer = _TRAILER.pack(len(body), len(headers) // HEADER_SIZE, size, _MARKER)
    crc = google_crc32c.extend(google_crc32c.extend(google_crc32c.value(body), headers), trailer)
    return b"".join((_START.pack(TABLE_MAGIC, size - 8, _MARKER, crc), body, headers, trailer))


def read_table(files: Readable, path: str, size: int) -> tuple[Identity, list[BlockHeader]]:
    """Return the identity and all block headers of an object of ``size`` bytes.

    One read of ``TABLE_READ_SIZE`` bytes, and for many blocks a second of the whole table; memory for the
    headers, some 600 bytes each. The headers' checksums, offsets and sequence are checked; payloads, and the
    identity at the start of the object, are not looked at. Whose object it is, is for the caller to compare.
    Raises ``CorruptSegment`` if any of this is wrong, and what ``files`` raises.
    """
    table = load_table(files, path, size)
    return table.identity, table.headers


def load_table(files: Readable, path: str, size: int) -> BlockTable:
    """Like ``read_table``, with where the table stands."""
    tail = files.read(path, max(size - TABLE_READ_SIZE, 0), min(size, TABLE_READ_SIZE))
    if len(tail) != min(size, TABLE_READ_SIZE) or len(tail) < _START.size + _TRAILER.size:
        raise CorruptSegment(
            "the object is too short for its table, which is missing", path=path, offset=size
        )
    json_size, block_count, table_size, marker = _TRAILER.unpack_from(tail, len(tail) - _TRAILER.size)
    # Not believed before the checksum is; but sizes that add up can be read without harm.
    adds_up = table_size == _START.size + json_size + block_count * HEADER_SIZE + _TRAILER.size
    if marker != _MARKER or not adds_up or table_size > size or json_size > IDENTITY_READ_SIZE:
        raise CorruptSegment("no table ends the object", path=path, offset=size)
    offset = size - table_size
    if table_size > len(tail):
        tail = files.read(path, offset, table_size)
    # What was cut short since the first read is shorter than its trailer said.
    table = _decode(tail[-table_size:], json_size, offset) if len(tail) >= table_size else None
    if table is None:
        raise CorruptSegment("the table of the object is damaged", path=path, offset=offset)
    return table


def _decode(data: bytes, json_size: int, table_offset: int) -> BlockTable | None:
    """Read a whole table, which stands at ``table_offset``; None if anything in it is wrong."""
    magic, content_size, marker, crc = _START.unpack_from(data)
    if (magic, content_size, marker) != (TABLE_MAGIC, len(data) - 8, _MARKER):
        return None
    if google_crc32c.value(data[_CRC_COVERS_AT:]) != crc:
        return None
    at = _START.size + json_size
    identity_json = data[_START.size : at]
    identity = decode_identity_json(identity_json)
    if identity is None or not identity.is_object:
        return None
    salt = bytes.fromhex(identity.salt)
    headers: list[BlockHeader] = []
    offset, seq = IDENTITY_START + json_size, identity.first_seq
    for header_at in range(at, len(data) - _TRAILER.size, HEADER_SIZE):
        header = decode_bare_header(data, salt=salt, offset=offset, at=header_at)
        if header is None or header.first_seq != seq:
            return None
        headers.append(header)
        offset, seq = header.limit_offset, header.limit_seq
    return BlockTable(identity, identity_json, headers, table_offset) if offset == table_offset else None
