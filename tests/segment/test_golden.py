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
import pytest
import zstandard

import rrd.segment
from rrd.segment.disk import OsDisk
from rrd.segment.format import BlockDraft, Identity, MetadataNote, QuarantineNote
from rrd.segment.scan import scan
from tests.segment.samples import chained, read_back

PAGE = (Path(rrd.segment.__file__).parent / "FORMAT.md").read_text()
GOLDEN = Path(__file__).parent / "golden"


class Golden(NamedTuple):
    """What a golden file was made of."""

    identity: Identity
    drafts: list[BlockDraft]


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
            recording="00000000-0000-4000-8000-000000000001",
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
            recording="V1StGXR8_Z5jdHi6B-myT",
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
    while offset < len(data):
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
            )
        )
        assert field["flags"] & ~3 == 0
        offset, seq = limit, seq + field["event_count"]
    return Golden(Identity(**members), drafts)


def decode_notes(notes: list[dict[str, Any]]) -> tuple[list[MetadataNote], list[QuarantineNote]]:
    metadata, quarantine = [], []
    for note in notes:
        [(kind, said)] = note.items()
        if kind == "metadata":
            metadata.append(MetadataNote(said["key"], said["value"], said["at_ms"], said.get("event", "")))
        else:
            assert kind == "quarantine"
            raw = base64.b64decode(said["raw"], validate=True)
            quarantine.append(QuarantineNote(said["line"], said["reason"], said["at_ms"], raw))
    return metadata, quarantine


def expected(name: str) -> Golden:
    identity, drafts = FILES[name]
    return Golden(identity, chained(drafts, first_seq=identity.first_seq))


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
    assert (found.identity, drafts) == expected(name)


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
