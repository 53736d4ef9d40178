"""A read-only verdict on a segment or object: which blocks are good, and what is the matter if not all are.

A scan hops from header to header. In a segment the payload of the last block is always checked, since
that block alone may be unfinished; ``deep`` checks them all. In an object the table says where the blocks
are; it is held against each of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from rrd.disk.disk import Readable
from rrd.errors import CorruptSegment
from rrd.segment.format import (
    BLOCK_OVERHEAD,
    BLOCK_START,
    IDENTITY_READ_SIZE,
    IDENTITY_START,
    BlockHeader,
    Identity,
    decode_header,
    decode_identity,
    payload_is_intact,
)
from rrd.segment.table import BlockTable, load_table
from rrd.segment.walk import HEADERS_BYTES, ReadAhead

Verdict = Literal["clean", "torn", "corrupt"]

SEARCH_BYTES = 1 << 20
BLOCK_LOOKS = re.compile(re.escape(BLOCK_START) + rb".{4}rrdb", re.DOTALL)


@dataclass(slots=True)
class Scan:
    """What was found. Nothing was changed."""

    identity: Identity | None
    """None if the file does not start with a valid one."""
    verdict: Verdict
    blocks: list[BlockHeader] = field(default_factory=list)
    """Good blocks in order; after damage, those that follow it too."""
    good_size: int = 0
    """Bytes from the start of the file up to the first that is not valid."""
    file_size: int = 0
    damaged_at: list[int] = field(default_factory=list)
    """Offsets where no valid block, identity or table stands though one should."""
    table_offset: int | None = None
    """Where the table of an object begins, if it is good."""


def scan(
    files: Readable,
    path: str,
    *,
    limit: int | None = None,
    durable_size: int = 0,
    start: int = 0,
    deep: bool = False,
) -> Scan:
    """Look at a segment or an object.

    ``limit``: pretend that the file ends there (bytes). ``durable_size``: what is known to have been synced;
    damage below it is corruption even at the end. ``start``: offset of a block to begin at, known
    to be good from there back, so that blocks before it are not listed. Raises ``OSError``.
    """
    file_size = files.size(path)
    if limit is not None:
        file_size = min(file_size, limit)
    durable_size = max(durable_size, start)
    window = read_ahead(files, path, file_size)
    head = window.take(0, IDENTITY_READ_SIZE)
    found = decode_identity(head)
    table = _find_table(files, path, file_size) if found is None or found[0].is_object else None
    if table is not None and (found is None or table.identity_json == head[IDENTITY_START : found[1]]):
        result = Scan(table.identity, "clean", file_size=file_size, damaged_at=[] if found else [0])
        if _walk_by_table(window, result, table, start, deep=deep):
            return _judge_object(result, durable_size)
    if found is None:
        # Nothing in the file can be trusted without its salt.
        synced = durable_size > 0 or _has_two_block_starts(files, path, file_size)
        return Scan(None, "corrupt" if synced else "torn", file_size=file_size, damaged_at=[0])
    identity, offset = found
    result = Scan(identity, "clean", file_size=file_size)
    first_seq = identity.first_seq if start <= offset else None
    in_sequence = _walk(window, result, identity, max(offset, start), deep=deep, first_seq=first_seq)
    if identity.is_object:
        # It has no good table, which should follow at the latest where all blocks are whole.
        result.damaged_at = result.damaged_at or [result.good_size]
        return _judge_object(result, durable_size)
    if result.damaged_at:
        followed = bool(result.blocks) and result.blocks[-1].offset > result.damaged_at[0]
        synced = followed or not in_sequence or result.damaged_at[0] < durable_size
        result.verdict = "corrupt" if synced else "torn"
    elif file_size < durable_size:
        result.verdict = "corrupt"
        result.damaged_at.append(file_size)
    return result


def _judge_object(result: Scan, durable_size: int) -> Scan:
    """An object was whole before anybody was told of it, so it is never torn."""
    if not result.damaged_at and result.file_size < durable_size:
        result.damaged_at.append(result.file_size)
    result.verdict = "corrupt" if result.damaged_at else "clean"
    return result


def _find_table(files: Readable, path: str, file_size: int) -> BlockTable | None:
    try:
        return load_table(files, path, file_size)
    except CorruptSegment:
        return None


def _walk_by_table(window: ReadAhead, result: Scan, table: BlockTable, start: int, *, deep: bool) -> bool:
    """Hold each block from ``start`` on against the table. Return False if it is not these blocks' table."""
    salt = bytes.fromhex(table.identity.salt)
    result.table_offset = table.offset
    for header in table.headers:
        if header.offset < start:
            continue
        found = window.header(header.offset, salt)
        if found is not None and found != header:
            return False
        if found is None or (deep and not _payload_is_good(window, header)):
            result.damaged_at.append(header.offset)
        else:
            result.blocks.append(header)
    result.good_size = result.damaged_at[0] if result.damaged_at else result.file_size
    return True


def _walk(
    window: ReadAhead,
    result: Scan,
    identity: Identity,
    offset: int,
    *,
    deep: bool,
    first_seq: int | None,
) -> bool:
    """Go through the blocks from ``offset`` on. Return False if a whole header contradicts the sequence."""
    salt = bytes.fromhex(identity.salt)
    expected_seq = first_seq
    in_sequence = True
    result.good_size = min(offset, result.file_size)
    while offset < result.file_size:
        header = window.header(offset, salt)
        if header is not None and header.limit_offset > result.file_size:
            header = None
        # Only the last block can be unfinished, so only its payload needs a look.
        look = header is not None and (deep or header.limit_offset == result.file_size)
        if (
            header is not None
            and expected_seq in (None, header.first_seq)
            and (not look or _payload_is_good(window, header))
        ):
            result.blocks.append(header)
            offset = header.limit_offset
            expected_seq = header.limit_seq
            if not result.damaged_at:
                result.good_size = offset
            continue
        result.damaged_at.append(offset)
        if header is not None and expected_seq not in (None, header.first_seq):
            # No power cut makes a header with a good checksum and a wrong number.
            in_sequence = False
        # A header that checks out tells where the next block begins though its payload is damaged.
        following = find_block(window, salt, header.limit_offset if header else offset + 1, result.file_size)
        if following is None:
            break
        offset = following
        expected_seq = None
    return in_sequence


def read_ahead(files: Readable, path: str, limit: int) -> ReadAhead:
    """Return a file up to ``limit`` as it is looked at here: mostly for its headers."""
    return ReadAhead(partial(files.read, path), limit, ahead=HEADERS_BYTES)


def _payload_is_good(window: ReadAhead, header: BlockHeader) -> bool:
    return payload_is_intact(header, window.take(header.notes_offset, header.notes_size + header.data_size))


def find_block(window: ReadAhead, salt: bytes, offset: int, limit: int) -> int | None:
    """Search for the next whole and valid block at or after ``offset``."""
    while offset < limit:
        # Stretches overlap by a header, so that one across the edge is found.
        stretch = window.take(offset, min(SEARCH_BYTES, limit - offset))
        at = stretch.find(BLOCK_START)
        while at >= 0:
            header = decode_header(stretch, salt=salt, offset=offset + at, at=at)
            if header is None and at + BLOCK_OVERHEAD > len(stretch):
                break
            if header is not None and header.limit_offset <= limit and _payload_is_good(window, header):
                return offset + at
            at = stretch.find(BLOCK_START, at + 1)
        step = len(stretch) - (BLOCK_OVERHEAD - 1)
        if step <= 0:
            return None
        offset += step
    return None


def _has_two_block_starts(files: Readable, path: str, limit: int) -> bool:
    """Tell whether more than one write seems to have reached a file whose checksums can't be tried."""
    count = offset = 0
    while offset < limit and count < 2:
        window = files.read(path, offset, min(SEARCH_BYTES, limit - offset))
        count += len(BLOCK_LOOKS.findall(window))
        # Windows overlap by a byte less than what is looked for, so that nothing is counted twice.
        offset += max(len(window) - 11, 1)
    return count > 1
