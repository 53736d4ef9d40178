"""The bytes of segments and objects: identity and blocks, encoded and decoded.

Pure functions over bytes; ``FORMAT.md`` is the authority, field by field.
"""

from __future__ import annotations

import base64
import struct
from typing import Annotated, NamedTuple, Protocol

import google_crc32c
import msgspec

from rrd.extent import Extent
from rrd.layout import SegmentName

IDENTITY_MAGIC = 0x184D2A5E
BLOCK_MAGIC = 0x184D2A5F

_SKIPPABLE = struct.Struct("<II")
_IDENTITY = struct.Struct("<4sI")
_IDENTITY_MARKER = b"rrd1"
_IDENTITY_BYTES_MAX = 4096

IDENTITY_START = _SKIPPABLE.size + _IDENTITY.size
"""Bytes of the identity's frame before its JSON."""

HEADER_FIELDS = "IIQddQqQQIIIII"
"""The fields of a ``BlockHeader`` but its offset, as ``struct`` writes them."""

_HEADER = struct.Struct(f"<4sI{HEADER_FIELDS}I")
_START = struct.Struct("<II4sI")
"""Magic, size, marker and checksum."""
_COVERED = struct.Struct(f"<Q{HEADER_FIELDS}I")
"""What a header's checksum covers behind the salt: the block's offset, which stands nowhere, and the rest."""
_MARKER = b"rrdb"
_OFFSET = struct.Struct("<Q")

HEADER_SIZE = _HEADER.size
BLOCK_OVERHEAD = _SKIPPABLE.size + HEADER_SIZE
"""Bytes of a block before its notes and data: 104."""

BLOCK_START = _SKIPPABLE.pack(BLOCK_MAGIC, 0)[:4]
"""The bytes that every block begins with, for a search after damage."""

_COVERED_AT = _SKIPPABLE.size + 8

SUMMARY_NOTE = b'{"summary":'
"""How the note begins that says what happened in an object's events. It follows from them."""

FLAG_ORDERED = 1
FLAG_OWN_IDS = 2
FLAG_PAGE_VIEW = 4
FLAG_TYPES_KNOWN = 8
FLAG_SNAPSHOT = 16
FLAG_META = 32


class Identity(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"recording_id": "recording"}
):
    """Whose segment or object a file is. ``salt`` is 16 bytes in hex."""

    tenant: str
    recording_id: str
    number: Annotated[int, msgspec.Meta(ge=1)]
    salt: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    created_ms: int
    first_seq: Annotated[int, msgspec.Meta(ge=1)]
    previous_size: Annotated[int, msgspec.Meta(ge=0)]
    last_number: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Number of the last segment in an object; 0 in a segment."""

    @property
    def is_object(self) -> bool:
        return self.last_number != 0

    @property
    def name(self) -> SegmentName:
        return SegmentName(self.tenant, self.recording_id, self.number)


class MetadataNote(NamedTuple):
    """A metadata key set to a value, at the server's wall clock in ms.

    ``event`` is the digest of the ``recording-meta`` line that said so (16 hex digits), or empty.
    """

    key: str
    value: str
    at_ms: int
    event: str = ""


class QuarantineNote(NamedTuple):
    """A line kept out of the events: its number in its body or socket (from 1), why, when, and its bytes."""

    line: int
    reason: str
    at_ms: int
    raw: bytes


class FrameMaker(Protocol):
    """What makes one zstd frame of a block's notes, and one of its data."""

    def compress(self, data: bytes, /) -> bytes: ...


class BlockDraft(NamedTuple):
    """What a block is to hold, before it is encoded."""

    first_seq: int
    event_count: int
    payload: bytes
    """The events, each line ended by one LF; empty without events."""
    first_ts: float
    last_ts: float
    ordered: bool
    own_ids: bool
    source: int
    stored_ms: int
    duplicate_count: int = 0
    metadata: tuple[MetadataNote, ...] = ()
    quarantine: tuple[QuarantineNote, ...] = ()
    types_known: bool = False
    """The next two say what is so."""
    has_snapshot: bool = False
    """There is an event of type 2, a FullSnapshot."""
    has_meta: bool = False
    """There is an event of type 4, a Meta event."""

    @property
    def flags(self) -> int:
        return (
            (FLAG_ORDERED if self.ordered else 0)
            | (FLAG_OWN_IDS if self.own_ids else 0)
            | (FLAG_TYPES_KNOWN if self.types_known else 0)
            | (FLAG_SNAPSHOT if self.has_snapshot else 0)
            | (FLAG_META if self.has_meta else 0)
        )

    @property
    def extent(self) -> Extent:
        return Extent(
            self.first_seq,
            self.event_count,
            self.first_ts if self.event_count else None,
            self.last_ts if self.event_count else None,
            len(self.payload),
            self.stored_ms,
            self.duplicate_count,
            len(self.quarantine),
        )


class BlockHeader(NamedTuple):
    """A block's header as read from a file, with the block's ``offset`` in it."""

    offset: int
    payload_crc: int
    event_count: int
    first_seq: int
    first_ts: float
    last_ts: float
    source: int
    stored_ms: int
    data_size: int
    raw_size: int
    notes_size: int
    notes_raw_size: int
    duplicate_count: int
    quarantine_count: int
    flags: int

    @property
    def extent(self) -> Extent:
        return Extent(
            self.first_seq,
            self.event_count,
            self.first_ts if self.event_count else None,
            self.last_ts if self.event_count else None,
            self.raw_size,
            self.stored_ms,
            self.duplicate_count,
            self.quarantine_count,
        )

    @property
    def ordered(self) -> bool:
        return bool(self.flags & FLAG_ORDERED)

    @property
    def own_ids(self) -> bool:
        return bool(self.flags & FLAG_OWN_IDS)

    @property
    def page_view(self) -> bool:
        """The first event is a Meta event. Only objects say so."""
        return bool(self.flags & FLAG_PAGE_VIEW)

    @property
    def may_have_snapshot(self) -> bool:
        """An event may be a FullSnapshot: the header says so, or it is from before headers said it."""
        return self.flags & (FLAG_TYPES_KNOWN | FLAG_SNAPSHOT) != FLAG_TYPES_KNOWN

    @property
    def may_have_meta(self) -> bool:
        """An event may be a Meta event, as above."""
        return self.flags & (FLAG_TYPES_KNOWN | FLAG_META) != FLAG_TYPES_KNOWN

    @property
    def notes_offset(self) -> int:
        return self.offset + BLOCK_OVERHEAD

    @property
    def data_offset(self) -> int:
        return self.notes_offset + self.notes_size

    @property
    def limit_offset(self) -> int:
        """Offset of the first byte after the block."""
        # Not by ``data_offset``: each walk over headers asks for it once a block.
        return self.offset + BLOCK_OVERHEAD + self.notes_size + self.data_size

    @property
    def limit_seq(self) -> int:
        """sequenceId after the block's last event."""
        return self.first_seq + self.event_count


def encode_identity_json(identity: Identity) -> bytes:
    """Encode what stands in the identity, and once more in an object's table."""
    return msgspec.json.encode(identity)


def encode_identity(identity: Identity) -> bytes:
    """Encode the frame that a segment starts with."""
    body = encode_identity_json(identity)
    content = _IDENTITY.pack(_IDENTITY_MARKER, google_crc32c.value(body)) + body
    return _SKIPPABLE.pack(IDENTITY_MAGIC, len(content)) + content


def decode_identity(data: bytes) -> tuple[Identity, int] | None:
    """Read the identity at the start of ``data`` and its size in bytes; None if there is no valid one."""
    if len(data) < IDENTITY_START:
        return None
    magic, size = _SKIPPABLE.unpack_from(data)
    marker, crc = _IDENTITY.unpack_from(data, _SKIPPABLE.size)
    limit = _SKIPPABLE.size + size
    if magic != IDENTITY_MAGIC or marker != _IDENTITY_MARKER or not IDENTITY_START < limit <= len(data):
        return None
    body = data[IDENTITY_START:limit]
    if google_crc32c.value(body) != crc:
        return None
    identity = decode_identity_json(body)
    return (identity, limit) if identity is not None else None


def decode_identity_json(body: bytes) -> Identity | None:
    """Read an identity's JSON; None if it is not one's."""
    try:
        identity = msgspec.json.decode(body, type=Identity)
    except (ValueError, RecursionError):
        # msgspec's own errors are ValueErrors; text that isn't UTF-8 and endless nesting raise others.
        return None
    if identity.is_object and identity.last_number < identity.number:
        return None
    return identity


IDENTITY_READ_SIZE = _IDENTITY_BYTES_MAX
"""Reading so many bytes from the start of a file gets the whole identity."""


def encode_block(draft: BlockDraft, *, salt: bytes, offset: int, compressor: FrameMaker) -> bytes:
    """Encode one block to be written at ``offset`` of the segment that ``salt`` (16 bytes) belongs to."""
    (
        first_seq, event_count, payload, first_ts, last_ts, _, _, source, stored_ms,
        duplicate_count, metadata, quarantine, *_,
    ) = draft  # fmt: skip
    notes_raw = _encode_notes(draft) if metadata or quarantine else b""
    notes = compressor.compress(notes_raw) if notes_raw else b""
    data = compressor.compress(payload) if payload else b""
    # Not by a ``BlockHeader``: each small message becomes a block, and making one took a tenth of its cost.
    covered = _COVERED.pack(
        offset, payload_crc(notes, data), event_count, first_seq, first_ts, last_ts, source, stored_ms,
        len(data), len(payload), len(notes), len(notes_raw), duplicate_count, len(quarantine), draft.flags, 0,
    )  # fmt: skip
    return b"".join((_start(salt, covered, len(notes)), covered[_OFFSET.size :], notes, data))


def encode_header(header: BlockHeader, *, salt: bytes) -> bytes:
    """Encode the start of a block, ``BLOCK_OVERHEAD`` bytes: magic, size and header."""
    covered = _COVERED.pack(*header, 0)
    return _start(salt, covered, header.notes_size) + covered[_OFFSET.size :]


def _start(salt: bytes, covered: bytes, notes_size: int) -> bytes:
    return _START.pack(BLOCK_MAGIC, HEADER_SIZE + notes_size, _MARKER, google_crc32c.value(salt + covered))


def decode_header(data: bytes, *, salt: bytes, offset: int, at: int = 0) -> BlockHeader | None:
    """Read the block header that stands at ``data[at:]`` and at ``offset`` of its file.

    Returns None unless magic, marker, sizes and header checksum are all right. The payload's
    checksum is not looked at: see ``payload_is_intact``.
    """
    if len(data) - at < BLOCK_OVERHEAD:
        return None
    magic, content_size = _SKIPPABLE.unpack_from(data, at)
    if magic != BLOCK_MAGIC:
        return None
    header = decode_bare_header(data, salt=salt, offset=offset, at=at + _SKIPPABLE.size)
    if header is None or content_size != HEADER_SIZE + header.notes_size:
        return None
    return header


def decode_bare_header(data: bytes, *, salt: bytes, offset: int, at: int) -> BlockHeader | None:
    """Read the 96 bytes of a header at ``data[at:]``, for a block at ``offset`` of its file; None if wrong.

    So they stand in a block, behind the frame's magic and size, and in an object's table.
    """
    marker, header_crc, *fields, reserved = _HEADER.unpack_from(data, at)
    covered = data[at + _COVERED_AT - _SKIPPABLE.size : at + HEADER_SIZE]
    if (
        marker != _MARKER
        or reserved != 0
        or google_crc32c.value(salt + _OFFSET.pack(offset) + covered) != header_crc
    ):
        return None
    return BlockHeader(offset, *fields)


def payload_crc(notes: bytes, data: bytes) -> int:
    """Return the CRC-32C of notes and data as they are to stand in the file."""
    crc: int = (
        google_crc32c.value(data) if not notes else google_crc32c.extend(google_crc32c.value(notes), data)
    )
    return crc


def payload_is_intact(header: BlockHeader, payload: bytes) -> bool:
    """Tell whether ``payload`` (notes and data as they stand in the file) is what the header says."""
    return (
        len(payload) == header.notes_size + header.data_size
        and google_crc32c.value(payload) == header.payload_crc
    )


def _encode_notes(draft: BlockDraft) -> bytes:
    lines: list[dict[str, dict[str, object]]] = []
    for change in draft.metadata:
        said = {"key": change.key, "value": change.value, "at_ms": change.at_ms}
        lines.append({"metadata": said | ({"event": change.event} if change.event else {})})
    for note in draft.quarantine:
        fields = note._asdict() | {"raw": base64.b64encode(note.raw).decode()}
        lines.append({"quarantine": fields})
    return msgspec.json.Encoder().encode_lines(lines)


class _StoredQuarantine(msgspec.Struct):
    line: int
    reason: str
    at_ms: int
    raw: str


class _StoredNote(msgspec.Struct):
    metadata: _StoredMetadata | None = None
    quarantine: _StoredQuarantine | None = None


class _StoredMetadata(msgspec.Struct):
    key: str
    value: str
    at_ms: int
    event: str = ""


def decode_notes(raw: bytes) -> tuple[list[MetadataNote], list[QuarantineNote]]:
    """Read the decoded notes of a block. Notes of kinds not known to this version are passed over."""
    metadata: list[MetadataNote] = []
    quarantine: list[QuarantineNote] = []
    for note in msgspec.json.Decoder(_StoredNote).decode_lines(raw):
        if note.metadata is not None:
            said = note.metadata
            metadata.append(MetadataNote(said.key, said.value, said.at_ms, said.event))
        if note.quarantine is not None:
            found = note.quarantine
            quarantine.append(
                QuarantineNote(found.line, found.reason, found.at_ms, base64.b64decode(found.raw))
            )
    return metadata, quarantine
