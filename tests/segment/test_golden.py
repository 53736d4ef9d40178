"""Files made once, read for ever: by the tables of FORMAT.md alone, and by our own reader.

``decode`` below uses nothing of rrd: it takes the header's fields from the table in the page.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import msgspec
import pytest
import zstandard

import rrd.segment
from rrd.disk.disk import OsDisk
from rrd.segment.format import BlockDraft, Identity, MetadataNote, QuarantineNote
from rrd.segment.pack import PackInput, pack
from rrd.segment.reader import read_last_notes
from rrd.segment.scan import scan
from rrd.segment.table import read_table
from rrd.summary.packing import PackedSummary
from rrd.summary.summary import decode_note
from tests.segment.samples import chained, read_back, sample

PAGE = (Path(rrd.segment.__file__).parent / "FORMAT.md").read_text()
GOLDEN = Path(__file__).parent / "golden"


class Golden(NamedTuple):
    """What a golden file was made of."""

    identity: Identity
    drafts: list[BlockDraft]
    page_views: tuple[int, ...] = ()
    """Which of its blocks begin with a Meta event."""


EMPTY = BlockDraft(
    first_seq=0,
    event_count=0,
    payload=b"",
    first_ts=0.0,
    last_ts=0.0,
    ordered=True,
    own_ids=False,
    source=1,
    stored_ms=1_700_000_005_000,
)
FILES = {
    "v1-one-event.ndjson.zst": Golden(
        Identity(
            tenant="t",
            recording_id="00000000-0000-4000-8000-000000000001",
            number=1,
            salt="000102030405060708090a0b0c0d0e0f",
            created_ms=1_700_000_000_000,
            first_seq=1,
            previous_size=0,
        ),
        [
            EMPTY._replace(
                event_count=1,
                payload=b'{"type":4,"timestamp":1700000000123,"data":{"href":"https://example.org/",'
                b'"width":1280,"height":720}}\n',
                first_ts=1_700_000_000_123.0,
                last_ts=1_700_000_000_123.0,
                source=0x1122334455667788,
                stored_ms=1_700_000_001_000,
                metadata=(MetadataNote("userId", "user-123", 1_700_000_000_456),),
            )
        ],
    ),
    "v1-several-blocks.ndjson.zst": Golden(
        Identity(
            tenant="acme",
            recording_id="V1StGXR8_Z5jdHi6B-myT",
            number=2,
            salt="f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            created_ms=1_699_999_999_000,
            first_seq=4,
            previous_size=999,
        ),
        [
            EMPTY._replace(
                event_count=3,
                payload=(
                    '{"type":3,"timestamp":1700000002000.5,"data":{"source":1}}\n'
                    '{"timestamp":1700000001000.25,"type":3,"data":{"text":"\\ud83d","lone":"surrogate"}}\n'
                    '{"type":3,"timestamp":1700000003000,"data":{"text":"😀 ü"}}\n'
                ).encode(),
                first_ts=1_700_000_001_000.25,
                last_ts=1_700_000_003_000.0,
                ordered=False,
            ),
            EMPTY._replace(
                duplicate_count=7,
                metadata=(
                    MetadataNote("plan", "free", 1_700_000_004_001, "0123456789abcdef"),
                    MetadataNote("name", "Jürgen 😀", 1_700_000_004_002),
                ),
                quarantine=(QuarantineNote(5, "not_json", 1_700_000_004_003, bytes(range(256))),),
            ),
            EMPTY._replace(
                event_count=2,
                payload=b'{"type":99,"timestamp":-5,"data":null,"sequenceId":12}\n'
                b'{"type":6,"timestamp":1e3,"data":{},"recordingId":"mine"}\n',
                first_ts=-5.0,
                last_ts=1000.0,
                own_ids=True,
                source=2**64 - 1,
                stored_ms=1_700_000_006_000,
            ),
            EMPTY._replace(duplicate_count=12, stored_ms=1_700_000_007_000),
            EMPTY._replace(
                event_count=1,
                payload=b' {"type":5,"timestamp":1700000004000,'
                b'"data":{"tag":"close-permanent","payload":{}}} \n',
                first_ts=1_700_000_004_000.0,
                last_ts=1_700_000_004_000.0,
                source=3,
                stored_ms=1_700_000_008_000,
                quarantine=(
                    QuarantineNote(1, "not_json", 1_700_000_007_999, b""),
                    QuarantineNote(3, "no_type", 1_700_000_007_999, b'{"timestamp":1}'),
                ),
            ),
        ],
    ),
}
_SEVERAL = FILES["v1-several-blocks.ndjson.zst"]
FILES["v1-object.ndjson.zst"] = Golden(
    # The segment above and one more.
    msgspec.structs.replace(
        _SEVERAL.identity, salt="ee8358a50f676773d05aa4226c07fe79", previous_size=0, last_number=3
    ),
    [
        EMPTY._replace(
            event_count=5,
            payload=_SEVERAL.drafts[0].payload + _SEVERAL.drafts[2].payload,
            first_ts=-5.0,
            last_ts=1_700_000_003_000.0,
            ordered=False,
            own_ids=True,
            source=0,
            stored_ms=1_700_000_007_000,
            duplicate_count=19,
            metadata=_SEVERAL.drafts[1].metadata,
            quarantine=_SEVERAL.drafts[1].quarantine,
        ),
        _SEVERAL.drafts[4],
        EMPTY._replace(
            event_count=3,
            payload=b'{"type":4,"timestamp":1700000010000,"data":{"href":"https://example.org/a",'
            b'"width":1280,"height":720}}\n'
            b'{"type":2,"timestamp":1700000010001,"data":{"node":{"type":0,"childNodes":[],"id":1},'
            b'"initialOffset":{"left":0,"top":0}}}\n'
            b'{"type":3,"timestamp":1700000010500,"data":{"source":1}}\n',
            first_ts=1_700_000_010_000.0,
            last_ts=1_700_000_010_500.0,
            source=0,
            stored_ms=1_700_000_012_000,
            duplicate_count=1,
            metadata=(MetadataNote("plan", "paid", 1_700_000_012_000),),
        ),
        EMPTY._replace(
            event_count=3,
            payload=b'{"type":3,"timestamp":1700000012500,"data":{"source":2}}\n'
            b'{"type":4,"timestamp":1700000020000,"data":{"href":"https://example.org/b",'
            b'"width":1280,"height":720}}\n'
            b'{"type":3,"timestamp":1700000020500,"data":{"source":1}}\n',
            first_ts=1_700_000_012_500.0,
            last_ts=1_700_000_020_500.0,
            source=0,
            stored_ms=1_700_000_021_000,
            quarantine=(QuarantineNote(3, "no_timestamp", 1_700_000_021_000, b'{"type":3}'),),
        ),
    ],
    page_views=(2,),
)
FILES["v1-types.ndjson.zst"] = Golden(
    msgspec.structs.replace(
        FILES["v1-one-event.ndjson.zst"].identity, number=4, salt="a5" * 16, first_seq=20, previous_size=321
    ),
    [
        EMPTY._replace(
            event_count=2,
            payload=b'{"type":4,"timestamp":1700000010000,"data":{"href":"https://example.org/a",'
            b'"width":1280,"height":720}}\n'
            b'{"type":2,"timestamp":1700000010001,"data":{"node":{"type":0,"childNodes":[],"id":1},'
            b'"initialOffset":{"left":0,"top":0}}}\n',
            first_ts=1_700_000_010_000.0,
            last_ts=1_700_000_010_001.0,
            types_known=True,
            has_snapshot=True,
            has_meta=True,
        ),
        EMPTY._replace(
            event_count=1,
            payload=b'{"type":3,"timestamp":1700000012500,"data":{"source":2,"type":2}}\n',
            first_ts=1_700_000_012_500.0,
            last_ts=1_700_000_012_500.0,
            types_known=True,
        ),
        EMPTY._replace(
            event_count=1,
            payload=b'{"type":2,"timestamp":1700000013000,"data":{"node":{"type":0}}}\n',
            first_ts=1_700_000_013_000.0,
            last_ts=1_700_000_013_000.0,
            own_ids=True,
            types_known=True,
            has_snapshot=True,
        ),
        EMPTY._replace(
            event_count=1,
            payload=b'{"type":4,"timestamp":1700000013500,"data":{"href":"https://example.org/b"}}\n',
            first_ts=1_700_000_013_500.0,
            last_ts=1_700_000_013_500.0,
            types_known=True,
            has_meta=True,
        ),
        EMPTY._replace(duplicate_count=1, types_known=True),
    ],
)

_OBJECT = FILES["v1-object.ndjson.zst"]
FILES["v1-object-summary.ndjson.zst"] = _OBJECT._replace(
    # The same events, and a summary behind them.
    drafts=[*_OBJECT.drafts, EMPTY._replace(source=0, stored_ms=1_700_000_021_000)]
)
SUMMARY = {
    "totals": {
        "first_seq": 4,
        "limit_seq": 16,
        "urls": {
            "https://example.org/a": [1700000010000.0, 10],
            "https://example.org/b": [1700000020000.0, 14],
        },
        "chained_clicks": {},
        "chained_inputs": {"is_cut": True},
        "line": {
            "counts": {"1700000002": 1, "1700000010": 1, "1700000012": 1, "1700000020": 1},
            "first": 1700000002,
            "last": 1700000020,
        },
    },
    "pieces": [
        {
            "events": 6,
            "bytes": 404,
            "seconds": {"53125000": 4},
            "first": [-5.0, 7],
            "last": [1700000004000.0, 9],
            "is_marked": True,
            "closed": True,
        },
        {
            "start": [1700000010000.0, 10],
            "is_meta": True,
            "url": "https://example.org/a",
            "width": 1280.0,
            "height": 720.0,
            "snapshot": [1700000010001.0, 11],
            "events": 4,
            "bytes": 339,
            "seconds": {"53125000": 5120},
            "first": [1700000010000.0, 10],
            "last": [1700000012500.0, 13],
        },
        {
            "start": [1700000020000.0, 14],
            "is_meta": True,
            "url": "https://example.org/b",
            "width": 1280.0,
            "height": 720.0,
            "events": 2,
            "bytes": 160,
            "seconds": {"53125000": 1048576},
            "first": [1700000020000.0, 14],
            "last": [1700000020500.0, 15],
        },
    ],
}

_TYPES = {"4 bytes": "4s", "u32": "I", "u64": "Q", "i64": "q", "f64": "d"}
_FIELD = re.compile(r"^\| (\d+) \| (4 bytes|u32|u64|i64|f64) \| (\w+) \|", re.MULTILINE)


def header_fields(data: bytes, at: int) -> dict[str, Any]:
    """Read the header at ``at`` by the page's table."""
    return {
        name: struct.unpack_from("<" + _TYPES[kind], data, at + int(offset))[0]
        for offset, kind, name in _FIELD.findall(PAGE)
    }


def crc(data: bytes) -> int:
    return int(google_crc32c.value(data))


def lines(frame: bytes, size: int) -> bytes:
    raw = zstandard.ZstdDecompressor().decompress(frame) if frame else b""
    assert len(raw) == size
    return raw


def decode(data: bytes) -> Golden:
    """Read a segment by the page, and hold it to the page's rules."""
    magic, size = struct.unpack_from("<II", data)
    marker, checksum = struct.unpack_from("<4sI", data, 8)
    text = data[16 : 8 + size]
    assert (magic, marker, checksum) == (0x184D2A5E, b"rrd1", crc(text))
    members = json.loads(text)
    salt = bytes.fromhex(members["salt"])
    offset, seq, drafts = 8 + size, members["first_seq"], []
    limit_offset, headers, page_views = len(data), b"", []
    if members.get("last_number"):
        limit_offset, headers = decode_table(data, text)
    while offset < limit_offset:
        magic, size = struct.unpack_from("<II", data, offset)
        at = offset + 8
        field = header_fields(data, at)
        assert (magic, field["marker"], field["reserved"]) == (0x184D2A5F, b"rrdb", 0)
        assert size == 96 + field["notes_size"]
        assert field["header_crc"] == crc(salt + struct.pack("<Q", offset) + data[at + 8 : at + 96])
        notes_at = at + 96
        data_at = notes_at + field["notes_size"]
        limit = data_at + field["data_size"]
        assert field["payload_crc"] == crc(data[notes_at:limit])
        assert field["first_seq"] == seq
        events = lines(data[data_at:limit], field["raw_size"])
        for line in events.splitlines():
            event = json.loads(line)
            assert isinstance(event["type"], int)
            assert isinstance(event["timestamp"], int | float)
        notes = lines(data[notes_at:data_at], field["notes_raw_size"]).splitlines()
        metadata, quarantine = decode_notes([json.loads(note) for note in notes])
        assert events.count(b"\n") == field["event_count"]
        assert len(quarantine) == field["quarantine_count"]
        drafts.append(
            BlockDraft(
                first_seq=field["first_seq"],
                event_count=field["event_count"],
                payload=events,
                first_ts=field["first_ts"],
                last_ts=field["last_ts"],
                ordered=bool(field["flags"] & 1),
                own_ids=bool(field["flags"] & 2),
                source=field["source"],
                stored_ms=field["stored_ms"],
                duplicate_count=field["duplicate_count"],
                metadata=tuple(metadata),
                quarantine=tuple(quarantine),
                types_known=bool(field["flags"] & 8),
                has_snapshot=bool(field["flags"] & 16),
                has_meta=bool(field["flags"] & 32),
            )
        )
        assert field["flags"] & ~(63 if headers else 59) == 0
        if field["flags"] & 4:
            page_views.append(len(drafts) - 1)
            assert json.loads(events.splitlines()[0])["type"] == 4
        if headers:
            assert headers[:96] == data[at : at + 96]
            headers = headers[96:]
        offset, seq = limit, seq + field["event_count"]
    assert (offset, headers) == (limit_offset, b"")
    return Golden(Identity(recording_id=members.pop("recording"), **members), drafts, tuple(page_views))


def decode_table(data: bytes, text: bytes) -> tuple[int, bytes]:
    """Read the table that ends an object whose identity is ``text``: where it begins, and its headers."""
    json_size, block_count, table_size, marker = struct.unpack("<III4s", data[-16:])
    offset = len(data) - table_size
    magic, size, first_marker, checksum = struct.unpack_from("<II4sI", data, offset)
    assert (magic, size, first_marker, marker) == (0x184D2A5D, table_size - 8, b"rrdt", b"rrdt")
    assert checksum == crc(data[offset + 16 :])
    headers = data[offset + 16 + json_size : -16]
    assert data[offset + 16 : offset + 16 + json_size] == text
    assert len(headers) == 96 * block_count
    return offset, headers


def decode_notes(notes: list[dict[str, Any]]) -> tuple[list[MetadataNote], list[QuarantineNote]]:
    metadata, quarantine = [], []
    for note in notes:
        [(kind, said)] = note.items()
        if kind == "summary":
            continue  # Told apart in a test of its own.
        if kind == "metadata":
            metadata.append(MetadataNote(said["key"], said["value"], said["at_ms"], said.get("event", "")))
        else:
            assert kind == "quarantine"
            raw = base64.b64decode(said["raw"], validate=True)
            quarantine.append(QuarantineNote(said["line"], said["reason"], said["at_ms"], raw))
    return metadata, quarantine


def expected(name: str) -> Golden:
    identity, drafts, page_views = FILES[name]
    return Golden(identity, chained(drafts, first_seq=identity.first_seq), page_views)


def test_every_golden_file_is_tested() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(FILES)


def test_the_page_has_the_whole_header_in_its_table() -> None:
    sizes = {kind: struct.calcsize("<" + code) for kind, code in _TYPES.items()}
    offset = 0
    for at, kind, _ in _FIELD.findall(PAGE):
        assert int(at) == offset
        offset += sizes[kind]
    assert offset == 96


@pytest.mark.parametrize("name", FILES)
def test_golden_files_decode_by_the_tables_of_the_page(name: str) -> None:
    assert decode((GOLDEN / name).read_bytes()) == expected(name)


@pytest.mark.parametrize("name", FILES)
def test_golden_files_are_read_by_our_reader(name: str) -> None:
    path = str(GOLDEN / name)
    found = scan(OsDisk(), path, deep=True)
    assert found.verdict == "clean"
    drafts = [read_back(OsDisk(), path, header) for header in found.blocks]
    page_views = tuple(index for index, header in enumerate(found.blocks) if header.page_view)
    assert (found.identity, drafts, page_views) == expected(name)


@pytest.mark.parametrize("name", FILES)
def test_golden_files_print_their_events_with_any_zstd(name: str) -> None:
    with (
        (GOLDEN / name).open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader,
    ):
        assert reader.read() == b"".join(draft.payload for draft in FILES[name].drafts)


def test_the_worked_example_shows_the_golden_file() -> None:
    data = (GOLDEN / "v1-one-event.ndjson.zst").read_bytes()
    section = PAGE.partition("## Worked example")[2].partition("\n## ")[0]
    rows = re.findall(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} )+) *(.*)$", section, re.MULTILINE)
    limit = 0
    for offset, shown, _ in rows:
        assert bytes.fromhex(shown) == data[int(offset, 16) :][: len(bytes.fromhex(shown))]
        # All from the start to the end of the header; then the starts of both frames.
        assert int(offset, 16) == limit or limit >= 193 + 104
        limit = int(offset, 16) + len(bytes.fromhex(shown))
    fields = header_fields(data, 193 + 8)
    for _, _, note in rows:
        name, _, value = note.partition(" ")
        if name in fields and value.partition(":")[0].isdecimal():
            assert fields[name] == int(value.partition(":")[0]), note
    draft = FILES["v1-one-event.ndjson.zst"].drafts[0]
    assert f"`{draft.payload.decode().rstrip()}`" in section
    assert '"value":"user-123","at_ms":1700000000456' in section


def test_the_worked_example_of_a_table_shows_the_golden_object() -> None:
    data = (GOLDEN / "v1-object.ndjson.zst").read_bytes()
    section = PAGE.partition("## Worked example of a table")[2].partition("\n## ")[0]
    rows = re.findall(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} )+) *(.*)$", section, re.MULTILINE)
    for offset, shown, note in rows:
        at, told = int(offset, 16), bytes.fromhex(shown)
        assert told == data[at : at + len(told)]
        if same := re.search(r"(\d+) bytes: that at byte (\d+)", note):
            size, original = map(int, same.groups())
            assert data[at : at + size] == data[original : original + size]
        elif number := re.search(r"(\d+)$", note):
            assert int.from_bytes(told, "little") == int(number[1])
    table_size = int.from_bytes(data[-8:-4], "little")
    assert int(rows[0][0], 16) == len(data) - table_size
    assert f"Its last {table_size} bytes are the table" in section


def golden_segments(tmp_path: Path) -> list[PackInput]:
    """The segments that the golden objects were made of."""
    name = "v1-several-blocks.ndjson.zst"
    first = PackInput(str(GOLDEN / name), (GOLDEN / name).stat().st_size)
    blocks = expected("v1-object.ndjson.zst").drafts
    second_identity = msgspec.structs.replace(
        _SEVERAL.identity, number=3, salt="e0" * 16, first_seq=10, previous_size=first.size
    )
    line, rest = blocks[3].payload.split(b"\n", 1)
    made = sample(
        blocks[2]._replace(source=3, metadata=(), stored_ms=1_700_000_011_000),
        EMPTY._replace(source=4, stored_ms=1_700_000_012_000, metadata=blocks[2].metadata),
        blocks[3]._replace(source=3, event_count=1, payload=line + b"\n", quarantine=()),
        blocks[3]._replace(source=5, event_count=2, payload=rest),
        identity=second_identity,
    )
    (tmp_path / "second").write_bytes(made.data)
    return [first, PackInput(str(tmp_path / "second"), len(made.data))]


def test_the_golden_object_is_what_packing_makes_of_its_segments(tmp_path: Path) -> None:
    """But for the bytes of its zstd frames, which are another library's choice."""
    identity, blocks, _ = expected("v1-object.ndjson.zst")
    target = str(tmp_path / "object")
    packed = pack(OsDisk(), golden_segments(tmp_path), target, level=12, block_bytes=320)
    read, headers = read_table(OsDisk(), target, packed.size)
    assert (read, [read_back(OsDisk(), target, header) for header in headers]) == (identity, typed(blocks))
    golden = expected("v1-object.ndjson.zst")
    assert decode((tmp_path / "object").read_bytes()) == golden._replace(drafts=typed(golden.drafts))


def test_the_golden_summary_is_what_packing_makes_of_the_segments(tmp_path: Path) -> None:
    name = "v1-object-summary.ndjson.zst"
    target = str(tmp_path / "object")
    summary = PackedSummary()
    pack(OsDisk(), golden_segments(tmp_path), target, level=12, block_bytes=320, summary=summary)
    golden = expected(name)
    assert decode((tmp_path / "object").read_bytes()) == golden._replace(drafts=typed(golden.drafts))
    for path in (target, str(GOLDEN / name)):
        _, headers = read_table(OsDisk(), path, Path(path).stat().st_size)
        note = read_last_notes(OsDisk(), path, headers)
        assert json.loads(note) == {"summary": SUMMARY}
        assert note.count(b"\n") == 1
        assert decode_note(note) == summary.result


def test_objects_of_before_have_no_summary() -> None:
    path = str(GOLDEN / "v1-object.ndjson.zst")
    _, headers = read_table(OsDisk(), path, Path(path).stat().st_size)
    assert read_last_notes(OsDisk(), path, headers) == b""


def test_a_summary_that_is_not_known_here_counts_for_none() -> None:
    for note in (b'{"summary":{"pieces":7}}\n', b'{"other":1}\n', b"", b"\xff\n", b"[" * 5000 + b"\n"):
        assert decode_note(note) is None


def typed(drafts: list[BlockDraft]) -> list[BlockDraft]:
    """The same blocks, whose headers say which types there are."""
    found = [[json.loads(line)["type"] for line in draft.payload.splitlines()] for draft in drafts]
    return [
        draft._replace(types_known=True, has_snapshot=2 in types, has_meta=4 in types)
        for draft, types in zip(drafts, found, strict=True)
    ]
