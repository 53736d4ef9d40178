"""Segments and objects to test with: identities, drafts, whole files, and reading them back as drafts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import zstandard
from hypothesis import strategies as st

from rrd.disk.disk import Readable
from rrd.segment.format import (
    BLOCK_OVERHEAD,
    FLAG_META,
    FLAG_SNAPSHOT,
    FLAG_TYPES_KNOWN,
    BlockDraft,
    BlockHeader,
    Identity,
    MetadataNote,
    QuarantineNote,
    decode_header,
    encode_block,
    encode_header,
    encode_identity,
    payload_crc,
)
from rrd.segment.pack import PackInput, pack
from rrd.segment.reader import read_events, read_notes
from rrd.segment.scan import Scan, scan
from tests.simdisk import SimDisk

PATH = "/active/t.r.000001.ndjson.zst"
COMPRESSOR = zstandard.ZstdCompressor(level=1)

IDENTITY = Identity(
    tenant="t",
    recording_id="00000000-0000-4000-8000-000000000001",
    number=1,
    salt="000102030405060708090a0b0c0d0e0f",
    created_ms=1_700_000_000_000,
    first_seq=1,
    previous_size=0,
)


def event(timestamp: float) -> bytes:
    return b'{"type":3,"timestamp":%d,"data":{"source":1}}\n' % timestamp


EMPTY = BlockDraft(
    first_seq=0,
    event_count=0,
    payload=b"",
    first_ts=0.0,
    last_ts=0.0,
    ordered=True,
    own_ids=False,
    source=7,
    stored_ms=1_700_000_001_000,
)


def events(*timestamps: float) -> BlockDraft:
    """A draft of events at these times, ms."""
    return EMPTY._replace(
        event_count=len(timestamps),
        payload=b"".join(map(event, timestamps)),
        first_ts=min(timestamps),
        last_ts=max(timestamps),
        ordered=list(timestamps) == sorted(timestamps),
    )


NOTES = EMPTY._replace(
    duplicate_count=3,
    metadata=(MetadataNote("user", "u-1", 1_700_000_000_500), MetadataNote("plan", "free", 5, "ab" * 8)),
    quarantine=(QuarantineNote(2, "not_json", 1_700_000_000_600, b"\x00\xff{broken"),),
)


class Sample(NamedTuple):
    """A whole segment file: what it was made of and where its blocks are."""

    identity: Identity
    drafts: list[BlockDraft]
    data: bytes
    offsets: list[int]
    """Where each block begins, and where the last one ends."""

    def block(self, index: int) -> bytes:
        return self.data[self.offsets[index] : self.offsets[index + 1]]


def chained(drafts: Iterable[BlockDraft], *, first_seq: int = 1) -> list[BlockDraft]:
    """Number the drafts' events one after the other."""
    numbered = []
    for draft in drafts:
        numbered.append(draft._replace(first_seq=first_seq))
        first_seq += draft.event_count
    return numbered


def sample(*drafts: BlockDraft, identity: Identity = IDENTITY) -> Sample:
    numbered = chained(drafts, first_seq=identity.first_seq)
    data = encode_identity(identity)
    offsets = [len(data)]
    for draft in numbered:
        salt = bytes.fromhex(identity.salt)
        data += encode_block(draft, salt=salt, offset=len(data), compressor=COMPRESSOR)
        offsets.append(len(data))
    return Sample(identity, numbered, data, offsets)


def with_raw_notes(notes: bytes, draft: BlockDraft, *, quarantine_count: int = 0) -> Sample:
    """A segment of one block, whose notes are any bytes: those of a later version, or of one with a bug."""
    salt = bytes.fromhex(IDENTITY.salt)
    data = encode_identity(IDENTITY)
    plain = encode_block(
        draft._replace(first_seq=1, metadata=(), quarantine=()),
        salt=salt,
        offset=len(data),
        compressor=COMPRESSOR,
    )
    header = decode_header(plain, salt=salt, offset=len(data))
    assert header is not None
    frame, events_frame = COMPRESSOR.compress(notes), plain[BLOCK_OVERHEAD:]
    header = header._replace(
        payload_crc=payload_crc(frame, events_frame),
        notes_size=len(frame),
        notes_raw_size=len(notes),
        quarantine_count=quarantine_count,
    )
    offsets = [len(data), header.limit_offset]
    return Sample(IDENTITY, [draft], data + encode_header(header, salt=salt) + frame + events_frame, offsets)


def honest(lines: Sequence[bytes], **fields: Any) -> BlockDraft:
    """A draft of these events (each line with its LF) that says of them what is true."""
    found = [json.loads(line, parse_int=float) for line in lines]
    times = [float(event["timestamp"]) for event in found]
    return EMPTY._replace(
        event_count=len(lines),
        payload=b"".join(lines),
        first_ts=min(times, default=0.0),
        last_ts=max(times, default=0.0),
        ordered=times == sorted(times),
        own_ids=any(event.keys() & {"sequenceId", "recordingId"} for event in found),
        **fields,
    )


def run_of(*segments: Sequence[BlockDraft], number: int = 1, first_seq: int = 1) -> list[Sample]:
    """The segments of one recording, one after the other."""
    made: list[Sample] = []
    for drafts in segments:
        identity = msgspec.structs.replace(
            IDENTITY,
            number=number + len(made),
            salt=f"{number + len(made):032x}",
            first_seq=first_seq,
            previous_size=len(made[-1].data) if made else 0,
        )
        made.append(sample(*drafts, identity=identity))
        first_seq += sum(draft.event_count for draft in drafts)
    return made


def put_run(disk: SimDisk, made: Sequence[Sample]) -> list[PackInput]:
    """Put segments on a disk, where they are to be packed from."""
    disk.make_dirs("/sealed")
    sources = [PackInput(f"/sealed/{index}", len(segment.data)) for index, segment in enumerate(made)]
    for source, segment in zip(sources, made, strict=True):
        disk.put(source.path, segment.data)
    return sources


OBJECT_PATH = "/rolling/t.r.000001.object"


def an_object(*segments: Sequence[BlockDraft], block_bytes: int = 200) -> bytes:
    """The bytes of the object made of these segments."""
    disk = SimDisk()
    pack(disk, put_run(disk, run_of(*segments)), OBJECT_PATH, level=1, block_bytes=block_bytes)
    return disk.files()[OBJECT_PATH]


def disk_with(data: bytes) -> SimDisk:
    """A disk that holds one segment, at ``PATH``."""
    disk = SimDisk()
    disk.make_dirs("/active")
    disk.put(PATH, data)
    return disk


def scanned(data: bytes, *, durable_size: int = 0, deep: bool = False) -> Scan:
    return scan(disk_with(data), PATH, durable_size=durable_size, deep=deep)


def read_back(disk: Readable, path: str, header: BlockHeader) -> BlockDraft:
    """Return what a block holds as the draft that it was made of."""
    metadata, quarantine = read_notes(disk, path, header)
    return BlockDraft(
        first_seq=header.first_seq,
        event_count=header.event_count,
        payload=read_events(disk, path, header),
        first_ts=header.first_ts,
        last_ts=header.last_ts,
        ordered=header.ordered,
        own_ids=header.own_ids,
        source=header.source,
        stored_ms=header.stored_ms,
        duplicate_count=header.duplicate_count,
        metadata=tuple(metadata),
        quarantine=tuple(quarantine),
        types_known=bool(header.flags & FLAG_TYPES_KNOWN),
        has_snapshot=bool(header.flags & FLAG_SNAPSHOT),
        has_meta=bool(header.flags & FLAG_META),
    )


_TIMES = st.floats(allow_nan=False, width=64)
_MILLISECONDS = st.integers(-(2**63), 2**63 - 1)
_U32 = st.integers(0, 2**32 - 1)
_U64 = st.integers(0, 2**64 - 1)
_LINES = st.one_of(
    st.binary(max_size=60).map(lambda line: line.replace(b"\n", b" ") + b"\n"),
    st.integers(0, 9).map(event),
)


@st.composite
def any_drafts(draw: st.DrawFn) -> BlockDraft:
    """Any block that can be written, with ``first_seq`` left to ``chained``."""
    lines = draw(st.lists(_LINES, max_size=6))
    return BlockDraft(
        first_seq=0,
        event_count=len(lines),
        payload=b"".join(lines),
        first_ts=draw(_TIMES),
        last_ts=draw(_TIMES),
        ordered=draw(st.booleans()),
        own_ids=draw(st.booleans()),
        source=draw(_U64),
        stored_ms=draw(_MILLISECONDS),
        duplicate_count=draw(_U32),
        metadata=tuple(draw(st.lists(_METADATA, max_size=3))),
        quarantine=tuple(draw(st.lists(_QUARANTINE, max_size=3))),
    )


_METADATA = st.builds(
    MetadataNote, key=st.text(), value=st.text(), at_ms=_MILLISECONDS, event=st.sampled_from(["", "0a" * 8])
)
_QUARANTINE = st.builds(
    QuarantineNote,
    line=st.integers(1, 2**40),
    reason=st.sampled_from(["not_json", "no_type"]),
    at_ms=_MILLISECONDS,
    raw=st.binary(max_size=60),
)

any_samples = st.lists(any_drafts(), max_size=5).map(lambda drafts: sample(*drafts))
