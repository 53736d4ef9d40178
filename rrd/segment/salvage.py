"""Every intact block of a damaged segment or object, whatever is wrong around it.

``scan`` finds the next good block after damage by its magic and its checksum. Here that is done where more is
lost as well:

- *The identity is damaged*, and with it the salt that each header's checksum begins with. A CRC is affine in
  what it covers (CRC(a ^ b) = CRC(a) ^ CRC(b) ^ CRC(0) for equal lengths), so the salt matters to it by 32
  bits alone. Each header gives the 32 bits under which it is right. Blocks whose payload's own checksum
  agrees vote for theirs, and all blocks of the file are checked with what most of them say.
- *Some bytes can't be read* (EIO). They are taken for zeros, page by page, so that they are damage like any
  other, and what stands around them is read.

A block counts only if its header, its payload's checksum, its frame and its number of lines are all right.
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import NamedTuple

import google_crc32c

from rrd.disk.disk import Readable
from rrd.errors import CorruptSegment, ObjectUnreadable
from rrd.segment.format import (
    BLOCK_OVERHEAD,
    IDENTITY_READ_SIZE,
    BlockHeader,
    Identity,
    decode_header,
    decode_identity,
    payload_is_intact,
)
from rrd.segment.reader import read_raw
from rrd.segment.scan import BLOCK_LOOKS, SEARCH_BYTES, find_block, read_ahead, scan
from rrd.segment.table import load_table
from rrd.segment.walk import ReadAhead

_PAGE_BYTES = 4096
_SALT_BYTES = 16
_COVERED_AT = 16
"""Of a header's bytes from the magic on: those from here on are under its checksum, with the offset."""
_LOOK_BYTES = 12


class Salvage(NamedTuple):
    """What can be had of one file. Nothing was changed."""

    identity: Identity | None
    """None if it is lost. An object's may come from its table."""
    blocks: list[BlockHeader]
    """Intact ones, in the order of the file."""
    damaged_at: list[int]
    """Offsets where something is not as it should be; empty: all of it is intact."""
    file_size: int


class Patched:
    """Files whose unreadable pages (EIO) read as zeros. Other errors are raised."""

    def __init__(self, files: Readable) -> None:
        self._files = files
        self.holes = 0
        """Reads of a page that failed."""

    def size(self, path: str) -> int:
        return self._files.size(path)

    def read(self, path: str, offset: int, size: int) -> bytes:
        try:
            return self._files.read(path, offset, size)
        except (OSError, ObjectUnreadable) as error:
            if error.errno != errno.EIO:
                raise
        size = min(size, max(0, self.size(path) - offset))
        parts: list[bytes] = []
        while size > 0:
            step = min(size, _PAGE_BYTES - offset % _PAGE_BYTES)
            parts.append(self._page(path, offset, step))
            offset, size = offset + step, size - step
        return b"".join(parts)

    def _page(self, path: str, offset: int, size: int) -> bytes:
        try:
            return self._files.read(path, offset, size)
        except (OSError, ObjectUnreadable) as error:
            if error.errno != errno.EIO:
                raise
            self.holes += 1
            return bytes(size)


def salvage(files: Readable, path: str, *, durable_size: int | None = None) -> Salvage:
    """Read all of a segment or object, and return what of it is intact. Blocking.

    ``durable_size``: nothing beyond counts, and nothing below may be missing; None: as the file has it.
    Memory: one block. Raises ``OSError`` and what ``files`` raises if it can't be read at all.
    """
    files = Patched(files)
    found = scan(files, path, limit=durable_size, durable_size=durable_size or 0, deep=True)
    headers, damaged_at = found.blocks, list(found.damaged_at)
    if found.table_offset is not None:
        # The table has each header once more: one that is damaged in its place is not missed.
        headers = load_table(files, path, found.file_size).headers
    elif found.identity is None:
        headers = _without_identity(files, path, found.file_size)
    intact: list[BlockHeader] = []
    for header in headers:
        try:
            read_raw(files, path, header)
        except CorruptSegment:
            damaged_at.append(header.offset)
        else:
            intact.append(header)
    return Salvage(found.identity, intact, sorted(set(damaged_at)), found.file_size)


def identity_of(files: Readable, path: str) -> Identity | None:
    """Return the identity that a file begins with; None if it is damaged. Raises ``OSError``."""
    found = decode_identity(Patched(files).read(path, 0, IDENTITY_READ_SIZE))
    return found[0] if found is not None else None


def _without_identity(files: Readable, path: str, file_size: int) -> list[BlockHeader]:
    """Return the blocks of a file whose salt is lost. Their payloads are intact."""
    window = read_ahead(files, path, file_size)
    salt = _find_salt(window, file_size)
    found: list[BlockHeader] = []
    offset = 0
    while salt is not None and (at := find_block(window, salt, offset, file_size)) is not None:
        header = window.header(at, salt)
        assert header is not None, "it was found by its header"
        found.append(header)
        offset = header.limit_offset
    return found


def _find_salt(window: ReadAhead, file_size: int) -> bytes | None:
    """Return the salt under which most blocks are whole; None if none is under any."""
    votes: Counter[bytes] = Counter()
    offset = 0
    while offset < file_size:
        stretch = window.take(offset, min(SEARCH_BYTES, file_size - offset))
        look = BLOCK_LOOKS.search(stretch)
        if look is None:
            # Stretches overlap by a byte less than what is looked for, so that none across an edge is missed.
            offset += max(len(stretch) - (_LOOK_BYTES - 1), 1)
            continue
        offset += look.start()
        head = window.take(offset, BLOCK_OVERHEAD)
        if len(head) < BLOCK_OVERHEAD:
            break
        salt = _salt_of(head, offset)
        header = decode_header(head, salt=salt, offset=offset)
        offset += 1
        if header is not None and header.limit_offset <= file_size:
            payload = window.take(header.notes_offset, header.notes_size + header.data_size)
            if payload and payload_is_intact(header, payload):
                votes[salt] += 1
                # What a sender put into an event is not taken for a block.
                offset = header.limit_offset
    return votes.most_common(1)[0][0] if votes else None


def _salt_of(head: bytes, offset: int) -> bytes:
    """Return a salt with which a header's checksum is right: not the one it had, but as good."""
    covered = offset.to_bytes(8, "little") + head[_COVERED_AT:]
    wanted = int.from_bytes(head[_COVERED_AT - 4 : _COVERED_AT], "little")
    difference = wanted ^ google_crc32c.value(bytes(_SALT_BYTES) + covered)
    bits = 0
    for pivot, value, combination in _basis(len(covered)):
        if difference >> pivot & 1:
            difference ^= value
            bits ^= combination
    return bytes(_SALT_BYTES - 4) + bits.to_bytes(4, "little")


def _basis(covered_size: int) -> list[tuple[int, int, int]]:
    """Return how each bit of a salt's last four bytes changes the checksum, reduced: Gauss over GF(2).

    Rows are (highest bit, change of the checksum, bits of the salt that make it), by falling bit.
    """
    nothing = google_crc32c.value(bytes(_SALT_BYTES + covered_size))
    rows: list[tuple[int, int, int]] = []
    for bit in range(32):
        salt = bytes(_SALT_BYTES - 4) + (1 << bit).to_bytes(4, "little")
        value, combination = google_crc32c.value(salt + bytes(covered_size)) ^ nothing, 1 << bit
        for pivot, row, bits in rows:
            if value >> pivot & 1:
                value, combination = value ^ row, combination ^ bits
        # Four bytes reach each of the 2**32 checksums, so no row vanishes.
        rows.append((value.bit_length() - 1, value, combination))
        rows.sort(reverse=True)
    return rows
