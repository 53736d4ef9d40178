"""What ``describe`` tells people about whole, damaged and foreign files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rrd.errors import SegmentError
from rrd.segment.format import IDENTITY_MAGIC, MetadataNote
from rrd.segment.inspect import Known, describe
from tests.segment.samples import NOTES, Sample, an_object, any_samples, events, sample

GOLDEN = Path(__file__).parent / "golden"
SMALL = sample(events(1_700_000_000_000, 1_700_000_000_500), NOTES, events(3), events(4))


def told(tmp_path: Path, data: bytes) -> list[str]:
    path = tmp_path / "segment"
    path.write_bytes(data)
    lines = list(describe(str(path)))
    assert path.read_bytes() == data
    return lines


def verdict(lines: list[str]) -> str:
    [line] = [line for line in lines if line.startswith("verdict")]
    return line.split()[1].rstrip(":")


def test_a_whole_segment_is_told_block_by_block() -> None:
    path = str(GOLDEN / "v1-several-blocks.ndjson.zst")
    assert list(describe(path)) == [
        f"file         {path}, 1,607 bytes",
        "tenant       acme",
        "recording    V1StGXR8_Z5jdHi6B-myT, begun 2023-11-14T22:13:19.000Z",
        "segment      2, from sequenceId 4; segment 1 counts up to its byte 999",
        "at 183: seq 4-6, 3 events, 2023-11-14T22:13:21.000Z to 2023-11-14T22:13:23.000Z, "
        "source 0000000000000001, made 2023-11-14T22:13:25.000Z, 206 bytes stored in 240 (0.9:1), "
        "not ordered",
        "at 423: no events, next sequenceId 7, source 0000000000000001, made 2023-11-14T22:13:25.000Z, "
        "0 bytes stored in 576, 7 duplicates, 1 quarantined",
        "    metadata 'plan' = 'free', 2023-11-14T22:13:24.001Z",
        "    metadata 'name' = 'Jürgen 😀', 2023-11-14T22:13:24.002Z",
        "    quarantined for not_json: 1 line, 256 bytes",
        "at 999: seq 7-8, 2 events, 1969-12-31T23:59:59.995Z to 1970-01-01T00:00:01.000Z, "
        "source ffffffffffffffff, made 2023-11-14T22:13:26.000Z, 113 bytes stored in 201 (0.6:1), "
        "ordered, own ids",
        "at 1200: no events, next sequenceId 9, source 0000000000000001, made 2023-11-14T22:13:27.000Z, "
        "0 bytes stored in 104, 12 duplicates",
        "at 1304: seq 9, 1 event, 2023-11-14T22:13:24.000Z to 2023-11-14T22:13:24.000Z, "
        "source 0000000000000003, made 2023-11-14T22:13:28.000Z, 85 bytes stored in 303 (0.3:1), "
        "ordered, 2 quarantined",
        "    quarantined for no_type: 1 line, 15 bytes",
        "    quarantined for not_json: 1 line, 0 bytes",
        "total        5 blocks, 6 events, 1969-12-31T23:59:59.995Z to 2023-11-14T22:13:24.000Z, "
        "404 bytes stored in 1,424 (0.3:1), 19 duplicates, 3 quarantined",
        "verdict      clean: every block is whole. Next: nothing.",
    ]


def test_a_whole_object_is_told_with_its_page_views_and_its_table() -> None:
    path = str(GOLDEN / "v1-object.ndjson.zst")
    assert [line for line in describe(path) if not line.startswith("    ")] == [
        f"file         {path}, 2,538 bytes",
        "tenant       acme",
        "recording    V1StGXR8_Z5jdHi6B-myT, begun 2023-11-14T22:13:19.000Z",
        "object       of segments 2 to 3, from sequenceId 4",
        "at 197: seq 4-8, 5 events, 1969-12-31T23:59:59.995Z to 2023-11-14T22:13:23.000Z, "
        "several sources, made 2023-11-14T22:13:27.000Z, 319 bytes stored in 758 (0.4:1), "
        "not ordered, own ids, 19 duplicates, 1 quarantined",
        "at 955: seq 9, 1 event, 2023-11-14T22:13:24.000Z to 2023-11-14T22:13:24.000Z, "
        "source 0000000000000003, made 2023-11-14T22:13:28.000Z, 85 bytes stored in 301 (0.3:1), "
        "ordered, 2 quarantined",
        "at 1256: seq 10-12, 3 events, 2023-11-14T22:13:30.000Z to 2023-11-14T22:13:30.500Z, page view, "
        "several sources, made 2023-11-14T22:13:32.000Z, 282 bytes stored in 353 (0.8:1), "
        "ordered, 1 duplicate",
        "at 1609: seq 13-15, 3 events, 2023-11-14T22:13:32.500Z to 2023-11-14T22:13:40.500Z, "
        "several sources, made 2023-11-14T22:13:41.000Z, 217 bytes stored in 332 (0.7:1), "
        "ordered, 1 quarantined",
        "at 1941: table of the blocks, which are as it says, 597 bytes",
        "total        4 blocks, 12 events, 1969-12-31T23:59:59.995Z to 2023-11-14T22:13:40.500Z, "
        "903 bytes stored in 1,744 (0.5:1), 20 duplicates, 4 quarantined",
        "verdict      clean: every block is whole and the table agrees with them. Next: nothing.",
    ]


def test_a_damaged_object_is_told_with_what_can_be_read_and_where_to_look_for_another(
    tmp_path: Path,
) -> None:
    data = an_object([events(1, 2)], [events(3)], block_bytes=1)
    table_at = len(data) - int.from_bytes(data[-8:-4], "little")
    lines = told(tmp_path, data[: table_at - 1] + b"~" + data[table_at:])
    assert "object       of segments 1 to 2, from sequenceId 1" in lines
    [damage] = [line for line in lines if "DAMAGED" in line]
    assert damage.endswith(f"no valid block up to the table at byte {table_at}")
    assert "some of which are not as it says" in lines[-3]
    assert "The 2 good blocks above can still be read" in lines[-1]
    assert "look for a good one" in lines[-1]
    lines = told(tmp_path, data[:-1])
    at = f"at {table_at}: no valid block or table up to the end of the file, byte {len(data) - 1}"
    assert at in lines
    assert verdict(lines) == "corrupt"
    lines = told(tmp_path, b"~" + data[1:])
    assert verdict(lines) == "corrupt"
    assert sum(line.startswith("at ") for line in lines) == 5


def test_an_object_of_one_segment_says_so(tmp_path: Path) -> None:
    assert "object       of segment 1, from sequenceId 1" in told(tmp_path, an_object([events(1)]))


def test_a_torn_tail_is_told_with_where_it_begins_and_that_nothing_need_be_done(tmp_path: Path) -> None:
    lines = told(tmp_path, SMALL.data[:-1])
    begin = SMALL.offsets[3]
    assert f"at {begin}: no valid block up to the end of the file, byte {len(SMALL.data) - 1}" in lines
    assert lines[-1].startswith(f"verdict      torn: from byte {begin} on, ")
    assert "Next: nothing by hand" in lines[-1]
    assert sum(line.startswith("at ") for line in lines) == 4


def test_damage_is_told_with_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    first, limit = SMALL.offsets[0], SMALL.offsets[1]
    lines = told(tmp_path, SMALL.data[: first + 50] + b"~" + SMALL.data[first + 51 :])
    assert f"at {first}: DAMAGED, no valid block up to byte {limit}" in lines
    assert "    missing: seq 1-2" in lines
    assert f"verdict      corrupt: damage at byte {first}" in lines[-1]
    assert "The 3 good blocks above can still be read" in lines[-1]
    assert "Next: copy it to a safe place" in lines[-1]


def test_a_damaged_payload_in_the_middle_is_found_too(tmp_path: Path) -> None:
    at = SMALL.offsets[1] - 1
    lines = told(tmp_path, SMALL.data[:at] + b"~" + SMALL.data[at + 1 :])
    assert verdict(lines) == "corrupt"


def test_a_segment_without_its_identity_is_told_as_far_as_it_goes(tmp_path: Path) -> None:
    for first_bytes in (b"\0\0\0\0", SMALL.data[:4]):
        lines = told(tmp_path, first_bytes + bytes(50) + SMALL.data[54:])
        assert verdict(lines) == "corrupt"
        assert "The 4 good blocks above can still be read" in lines[-1]
    (tmp_path / "segment").write_bytes(SMALL.data[:4] + bytes(len(SMALL.data) - 4))
    lines = list(describe(str(tmp_path / "segment"), Known(len(SMALL.data), 1, 8, "the index")))
    assert "No block in it is whole" in lines[-1]
    assert "missing      7 events that should be in this file" in lines


def test_what_others_say_was_acked_is_damage_and_no_unfinished_write(tmp_path: Path) -> None:
    """A byte of the last block flipped, or some bytes short: by itself such a file looks torn."""
    last = SMALL.drafts[-1]
    for data in (SMALL.data[:-1], SMALL.data[:-1] + b"~"):
        assert verdict(told(tmp_path, data)) == "torn"
        path = str(tmp_path / "segment")
        known = Known(len(SMALL.data), 1, last.first_seq + last.event_count, "the index")
        lines = list(describe(path, known))
        assert verdict(lines) == "corrupt"
        assert "never acked" not in lines[-1]
        assert f"acked        up to byte {len(SMALL.data)}, as the index says" in lines


@pytest.mark.parametrize("size", [0, 3, 10, 30])
def test_a_first_write_that_was_cut_off_is_torn(tmp_path: Path, size: int) -> None:
    lines = told(tmp_path, SMALL.data[:size])
    assert verdict(lines) == "torn"
    assert "without a whole identity" in lines[-1]


FOREIGN = {
    "text": b"hello, world\n",
    "gzip": b"\x1f\x8b\x08\x00" + bytes(30),
    "plain zstd": b"\x28\xb5\x2f\xfd" + bytes(30),
    "SQLite": b"SQLite format 3\0" + bytes(90),
    "zeros": bytes(5000),
    "a block without a file": SMALL.block(0),
}


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(SegmentError, match="segment: no segment begins at byte 0"):
        told(tmp_path, data)


def test_a_later_version_is_refused_by_its_number(tmp_path: Path) -> None:
    data = IDENTITY_MAGIC.to_bytes(4, "little") + (99).to_bytes(4, "little") + b"rrd2" + bytes(99)
    with pytest.raises(SegmentError, match="a segment of version 2, not known here, begins"):
        told(tmp_path, data)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        describe(str(tmp_path / "absent"))
    with pytest.raises(IsADirectoryError):
        describe(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SegmentError, match="not a regular file"):
        describe(str(tmp_path / "pipe"))


def test_nothing_in_a_file_reaches_the_terminal_raw(tmp_path: Path) -> None:
    nasty = "\x1b[2J\r\n\x07\x9b\u202e"
    made = sample(NOTES._replace(metadata=(MetadataNote(nasty, nasty * 99, 1),)))
    lines = told(tmp_path, made.data)
    assert all(line.isprintable() for line in lines)
    assert "characters more" in "".join(lines)


@pytest.mark.parametrize("time", [float("inf"), float("-inf"), 1e300, -1e18, 9e15])
def test_times_that_are_no_dates_are_told_as_numbers(tmp_path: Path, time: float) -> None:
    lines = told(tmp_path, sample(events(1)._replace(first_ts=time, last_ts=time)).data)
    assert any(f"{time} ms to {time} ms" in line for line in lines)


def test_blocks_that_were_written_wrong_are_told_from_damage(tmp_path: Path) -> None:
    lines = told(tmp_path, sample(events(1)._replace(event_count=2), events(2)).data)
    assert sum("DAMAGED: " in line for line in lines) == 1
    assert "1 block with good checksums can't be decoded" in lines[-1]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_samples, st.integers(0, 2000), st.binary(max_size=50))
def test_any_segment_and_any_damage_can_be_told(tmp_path: Path, made: Sample, at: int, damage: bytes) -> None:
    lines = told(tmp_path, made.data)
    assert verdict(lines) == "clean"
    assert sum(line.startswith("at ") for line in lines) == len(made.drafts)
    data = made.data[:at] + damage + made.data[at + len(damage) :]
    try:
        lines = told(tmp_path, data)
    except SegmentError:
        assert at < 12
    else:
        assert verdict(lines) in ("clean", "torn", "corrupt")
        assert all(line.isprintable() for line in lines)
