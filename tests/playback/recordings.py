"""Recordings to read back, and what reading them must give, said the slow and simple way.

Method. A ``Line`` is made from parts, so the model knows its timestamp and its own members without
parsing it, and adds what is missing by the letter of the rule. Times come from a small pool, so that
blocks overlap, touch and tie all the time. Objects are made as roll-up makes them, by packing segments.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator, Sequence
from math import inf
from typing import Literal, NamedTuple

import zstandard
from hypothesis import strategies as st

from rrd.index.rows import ObjectRow, SegmentRow, SegmentState
from rrd.layout import SegmentName, active_path, object_key, sealed_path
from rrd.objects.files import ObjectFiles
from rrd.playback.table import ALWAYS, Between
from rrd.segment.format import BlockDraft, Identity, MetadataNote, encode_block, encode_identity
from rrd.segment.pack import pack
from rrd.segment.run import PackInput
from rrd.shelf.holdings import Holdings
from tests.objects.file_lab import files_of
from tests.objects.memory_store import MemoryStore
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


@contextlib.contextmanager
def no_objects() -> Iterator[ObjectFiles]:
    """For recordings that are local: whoever asks the store fails."""
    store = MemoryStore()
    store.fail()
    with files_of(store) as files:
        yield files


def answer(segments: Sequence[Segment], between: Between = ALWAYS) -> list[bytes]:
    """Every event of a recording in a range of time as a reader must get it."""
    lines = [line for blocks in segments for block in blocks for line in block]
    numbered = sorted(enumerate(lines, 1), key=lambda item: (item[1].timestamp, item[0]))
    return [_spliced(line, seq) for seq, line in numbered if between.start <= line.timestamp < between.limit]


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


def encode(blocks: Segment, *, number: int, first_seq: int, previous_size: int = 0) -> bytes:
    """Return a segment file."""
    drafts = []
    seq = first_seq
    for block in blocks:
        drafts.append(draft(block, seq))
        seq += len(block)
    return encode_drafts(drafts, number=number, first_seq=first_seq, previous_size=previous_size)


def encode_drafts(drafts: list[BlockDraft], *, number: int, first_seq: int, previous_size: int = 0) -> bytes:
    identity = Identity(
        tenant=TENANT,
        recording_id=RECORDING,
        number=number,
        salt=f"{number:032x}",
        created_ms=0,
        first_seq=first_seq,
        previous_size=previous_size,
    )
    data = encode_identity(identity)
    for draft in drafts:
        salt = bytes.fromhex(identity.salt)
        data += encode_block(draft, salt=salt, offset=len(data), compressor=_COMPRESSOR)
    return data


def path_of(number: int, state: SegmentState) -> str:
    name = SegmentName(TENANT, RECORDING, number)
    return active_path(DATA, name) if state == "active" else sealed_path(DATA, name)


def put(disk: SimDisk, segments: Sequence[Segment]) -> Holdings:
    """Put a recording on a disk: the last segment is active, the others are sealed."""
    state: SegmentState
    for state in ("active", "sealed"):
        disk.make_dirs(posixpath.dirname(path_of(1, state)))
    rows: list[SegmentRow] = []
    first_seq, data = 1, b""
    for number, blocks in enumerate(segments, 1):
        data = encode(blocks, number=number, first_seq=first_seq, previous_size=len(data))
        state = "active" if number == len(segments) else "sealed"
        disk.put(path_of(number, state), data)
        rows.append(SegmentRow(number, state, len(data), None, None))
        first_seq += sum(map(len, blocks))
    return Holdings(TENANT, RECORDING, tuple(rows))


def seal(disk: SimDisk, number: int) -> None:
    """Move a segment as sealing does."""
    disk.rename(path_of(number, "active"), path_of(number, "sealed"))


Place = Literal["local", "planned", "rolled", "evicted", "half evicted"]
"""Where a run of segments is: in local files alone; there, and a promise to roll it up was made; in an object
and local files; in an object alone; and the same while the files are being removed, which the index doesn't
know yet."""


class Run(NamedTuple):
    """Segments next to each other, all but the active one, and where they are."""

    length: int
    place: Place


def roll_up(
    disk: SimDisk,
    store: MemoryStore,
    snapshot: Holdings,
    first: int,
    last: int,
    *,
    block_bytes: int = 2 << 20,
) -> Holdings:
    """Make an object of the segments from number ``first`` to ``last`` and publish it."""
    rows = snapshot.segments[first - 1 : last]
    sources = [PackInput(path_of(row.number, row.state), row.size) for row in rows]
    packed = pack(disk, sources, f"{DATA}/rolling/x", level=1, block_bytes=block_bytes)
    row = ObjectRow.published(
        first, last, packed.extent, last_segment_size=rows[-1].size, size=packed.size, crc32c=packed.crc32c,
        published_ms=1, has_local=True,
    )  # fmt: skip
    store.objects[key_of(row)] = disk.read(f"{DATA}/rolling/x", 0, packed.size)
    disk.unlink(f"{DATA}/rolling/x")
    segments = tuple(
        segment._replace(state="rolled") if first <= segment.number <= last else segment
        for segment in snapshot.segments
    )
    return snapshot._replace(segments=segments, objects=(*snapshot.objects, row))


def key_of(row: ObjectRow) -> str:
    name = SegmentName(TENANT, RECORDING, row.first_number)
    return object_key(name, created_ms=0, first_seq=row.first_seq, event_count=row.event_count)


def remove_files(disk: SimDisk, row: ObjectRow) -> None:
    """Remove the local copies of an object's segments, as the first half of evicting them."""
    for number in range(row.first_number, row.last_number + 1):
        with contextlib.suppress(FileNotFoundError):
            disk.unlink(path_of(number, "sealed"))


class VanishingDisk(SimDisk):
    """Removes the local copies of some objects right before the n-th read from now."""

    def __init__(self, moment: int) -> None:
        super().__init__()
        self.doomed: list[ObjectRow] | None = None
        self._moment = moment

    def read(self, path: str, offset: int, size: int) -> bytes:
        if self.doomed is not None:
            if self._moment == 0:
                doomed, self.doomed = self.doomed, None
                for row in doomed:
                    remove_files(self, row)
            self._moment -= 1
        return super().read(path, offset, size)


def evict(disk: SimDisk, snapshot: Holdings, row: ObjectRow) -> Holdings:
    """Remove the local copies of an object's segments, and have the index know."""
    remove_files(disk, row)
    kept = tuple(s for s in snapshot.segments if not row.first_number <= s.number <= row.last_number)
    objects = tuple(o._replace(has_local=False) if o == row else o for o in snapshot.objects)
    return snapshot._replace(segments=kept, objects=objects)


def spread(
    disk: SimDisk,
    store: MemoryStore,
    segments: Sequence[Segment],
    runs: Sequence[Run],
    *,
    block_bytes: int = 2 << 20,
) -> Holdings:
    """Put a recording on a disk and into a store. What ``runs`` don't reach is local."""
    snapshot = put(disk, segments)
    planned: list[ObjectRow] = []
    first, evicted = 1, []
    for run in runs:
        last = min(first + run.length, len(segments)) - 1
        if last < first:
            break
        if run.place == "planned":
            planned.append(ObjectRow(first, last, 0, 0, 0, 0, 0, 0, None, None, "planned", 0, True))
        elif run.place != "local":
            snapshot = roll_up(disk, store, snapshot, first, last, block_bytes=block_bytes)
            if run.place == "evicted":
                evicted.append(snapshot.objects[-1])
            if run.place == "half evicted":
                disk.unlink(path_of(last, "sealed"))
        first = last + 1
    for row in evicted:
        snapshot = evict(disk, snapshot, row)
    return snapshot._replace(objects=tuple(sorted((*snapshot.objects, *planned))))


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


def _in_order(block: Block) -> Block:
    return sorted(block, key=lambda line: line.timestamp)


@st.composite
def _blocks(draw: st.DrawFn) -> Block:
    lines = draw(st.lists(_lines(own=draw(st.booleans())), max_size=5))
    return _in_order(lines) if draw(st.booleans()) else lines


any_lines = st.lists(st.booleans().flatmap(lambda own: _lines(own=own)), min_size=1, max_size=40)
"""A block with events."""

plain_lines = st.lists(_lines(own=False), min_size=1, max_size=40).map(_in_order)
"""A block with events, in order, none with members of our names."""

any_recording = st.lists(st.lists(_blocks(), max_size=5), min_size=1, max_size=3)
"""Segments of blocks of lines; some blocks have no events, some recordings neither."""

longer_recording = st.lists(st.lists(_blocks(), max_size=3), min_size=1, max_size=6)

any_runs = st.lists(
    st.builds(
        Run,
        st.integers(1, 3),
        st.sampled_from(["local", "planned", "rolled", "evicted", "half evicted"]),
    ),
    max_size=5,
)

any_block_bytes = st.sampled_from([1, 100, 1000, 20_000])
"""Of objects: down to one event a block."""

any_range = st.builds(
    lambda one, other: Between(min(one, other), max(one, other)),
    *([st.one_of(st.sampled_from([-inf, inf]), st.integers(-1, 10), st.floats(-1, 10))] * 2),
)
