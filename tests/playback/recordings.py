"""Recordings to read back, and what reading them must give, said the slow and simple way.

Method. A ``Line`` is made from parts, so the model knows its timestamp and its own members without
parsing it, and adds what is missing by the letter of the rule. Times come from a small pool, so that
blocks overlap, touch and tie all the time.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import NamedTuple

import zstandard
from hypothesis import strategies as st

from rrd.index.rows import SegmentRow, SegmentState
from rrd.layout import SegmentName, active_path, sealed_path
from rrd.playback.table import Snapshot
from rrd.segment.format import BlockDraft, Identity, MetadataNote, encode_block, encode_identity
from tests.simdisk import SimDisk

DATA = "/data"
TENANT = "t"
RECORDING = "00000000-0000-4000-8000-0000000000ab"

_COMPRESSOR = zstandard.ZstdCompressor(level=1)


class Line(NamedTuple):
    """One event as it was sent, and what is known of it."""

    raw: bytes
    timestamp: float
    own_sequence: bool = False
    own_recording: bool = False


Block = list[Line]
Segment = list[Block]


def line(timestamp: float, *, pad: int = 0) -> Line:
    """A plain event; ``pad`` bytes make it longer."""
    return Line(b'{"type":3,"timestamp":%r,"data":"%s"}' % (timestamp, b"x" * pad), timestamp)


def block(*timestamps: float, pad: int = 0) -> Block:
    return [line(timestamp, pad=pad) for timestamp in timestamps]


def answer(segments: Sequence[Segment]) -> list[bytes]:
    """Every event of a recording as a reader must get it."""
    lines = [line for blocks in segments for block in blocks for line in block]
    numbered = sorted(enumerate(lines, 1), key=lambda item: (item[1].timestamp, item[0]))
    return [_spliced(line, seq) for seq, line in numbered]


def _spliced(line: Line, seq: int) -> bytes:
    added = b""
    if not line.own_sequence:
        added += b',"sequenceId":%d' % seq
    if not line.own_recording:
        added += b',"recordingId":"%s"' % RECORDING.encode()
    return line.raw.strip(b" \t\r")[:-1] + added + b"}"


def draft(block: Block, first_seq: int) -> BlockDraft:
    times = [line.timestamp for line in block]
    return BlockDraft(
        first_seq=first_seq,
        event_count=len(block),
        payload=b"".join(line.raw + b"\n" for line in block),
        first_ts=min(times, default=0.0),
        last_ts=max(times, default=0.0),
        ordered=times == sorted(times),
        own_ids=any(line.own_sequence or line.own_recording for line in block),
        source=1,
        stored_ms=0,
        metadata=() if block else (MetadataNote("k", "v", 0),),
    )


def encode(blocks: Segment, *, number: int, first_seq: int) -> bytes:
    """Return a segment file."""
    drafts = []
    seq = first_seq
    for block in blocks:
        drafts.append(draft(block, seq))
        seq += len(block)
    return encode_drafts(drafts, number=number, first_seq=first_seq)


def encode_drafts(drafts: list[BlockDraft], *, number: int, first_seq: int) -> bytes:
    identity = Identity(
        tenant=TENANT,
        recording=RECORDING,
        number=number,
        salt=f"{number:032x}",
        created_ms=0,
        first_seq=first_seq,
        previous_size=0,
    )
    data = encode_identity(identity)
    for draft in drafts:
        salt = bytes.fromhex(identity.salt)
        data += encode_block(draft, salt=salt, offset=len(data), compressor=_COMPRESSOR)
    return data


def path_of(number: int, state: SegmentState) -> str:
    name = SegmentName(TENANT, RECORDING, number)
    return active_path(DATA, name) if state == "active" else sealed_path(DATA, name)


def put(disk: SimDisk, segments: Sequence[Segment]) -> Snapshot:
    """Put a recording on a disk: the last segment is active, the others are sealed."""
    state: SegmentState
    for state in ("active", "sealed"):
        disk.make_dirs(posixpath.dirname(path_of(1, state)))
    rows: list[SegmentRow] = []
    first_seq = 1
    for number, blocks in enumerate(segments, 1):
        data = encode(blocks, number=number, first_seq=first_seq)
        state = "active" if number == len(segments) else "sealed"
        disk.put(path_of(number, state), data)
        rows.append(SegmentRow(number, state, len(data), None, None))
        first_seq += sum(map(len, blocks))
    return Snapshot(TENANT, RECORDING, tuple(rows))


def seal(disk: SimDisk, number: int) -> None:
    """Move a segment as sealing does."""
    disk.rename(path_of(number, "active"), path_of(number, "sealed"))


_TIMES = st.one_of(
    st.integers(0, 9).map(str),
    st.sampled_from(
        ["0.5", "3.0", "3e0", "0.30E1", "-0", "-0.25", "2.0000000000000004", "8.64e15", "-8640000000000000"]
    ),
)
_OTHERS = st.sampled_from(
    [
        b'"data":{"sequenceId":1,"recordingId":{"timestamp":-1}}',
        b'"delay": 1',
        b'"text":"lone \\ud83d, broken {}}"',
        b'"text":"\\ud83d","number":1' + b"0" * 5000,
        '"täxt":"😀"'.encode(),
        b'"long":"' + b"x" * 9000 + b'"',
    ]
)
_OWN_SEQUENCE = st.sampled_from([b'"sequenceId":3', b'"sequence\\u0049d":{"a":[1]}', b'"sequenceId": null'])
_OWN_RECORDING = st.sampled_from([b'"recordingId":"mine"', b'"recordingId" :7'])
_SPACE = st.sampled_from([b"", b"", b"", b" ", b"\t ", b"\r"])


@st.composite
def _lines(draw: st.DrawFn, *, own: bool) -> Line:
    time = draw(_TIMES)
    members = [b'"type":3', b'"timestamp":' + time.encode(), *draw(st.lists(_OTHERS, max_size=2))]
    own_sequence, own_recording = (draw(st.booleans()) if own else False for _ in range(2))
    if own_sequence:
        members.append(draw(_OWN_SEQUENCE))
    if own_recording:
        members.append(draw(_OWN_RECORDING))
    body = draw(st.sampled_from([b",", b" , "])).join(draw(st.permutations(members)))
    raw = draw(_SPACE) + b"{" + draw(_SPACE) + body + draw(_SPACE) + b"}" + draw(_SPACE)
    return Line(raw, float(time), own_sequence, own_recording)


@st.composite
def _blocks(draw: st.DrawFn) -> Block:
    own = draw(st.booleans())
    lines = draw(st.lists(_lines(own=own), max_size=5))
    if draw(st.booleans()):
        lines.sort(key=lambda line: line.timestamp)
    return lines


any_recording = st.lists(st.lists(_blocks(), max_size=5), min_size=1, max_size=3)
"""Segments of blocks of lines; some blocks have no events, some recordings neither."""
