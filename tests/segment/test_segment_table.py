"""The table at the end of an object: whatever is wrong with it is noticed, and one read gets it."""

from __future__ import annotations

import struct

import msgspec
import pytest
from google_crc32c import value as crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.disk.disk import Readable
from rrd.errors import CorruptSegment
from rrd.segment.format import Identity
from rrd.segment.table import TABLE_READ_SIZE, encode_table, load_table, read_table
from tests.segment.samples import EMPTY, IDENTITY, NOTES, PATH, an_object, disk_with, events, sample

OBJECT = an_object(
    [events(1, 2), events(4, 3)], [NOTES, events(5, 6, 7, 8, 9, 10), EMPTY._replace(duplicate_count=3)]
)
TABLE_AT = load_table(disk_with(OBJECT), PATH, len(OBJECT)).offset


def flipped(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def table_of(data: bytes) -> object:
    return read_table(disk_with(data), PATH, len(data))


class Counting:
    """Reads of a ``Readable``, counted."""

    def __init__(self, files: Readable) -> None:
        self._files = files
        self.reads: list[tuple[int, int]] = []

    def size(self, path: str) -> int:
        raise AssertionError("a reader of the table knows the size")

    def read(self, path: str, offset: int, size: int) -> bytes:
        self.reads.append((offset, size))
        return self._files.read(path, offset, size)


def test_every_flipped_bit_of_a_table_is_noticed() -> None:
    for bit in range(TABLE_AT * 8, len(OBJECT) * 8):
        with pytest.raises(CorruptSegment):
            table_of(flipped(OBJECT, bit))


def test_what_stands_before_the_table_is_not_looked_at() -> None:
    assert table_of(bytes(TABLE_AT) + OBJECT[TABLE_AT:]) == table_of(OBJECT)


def test_an_object_cut_at_any_byte_has_no_table() -> None:
    for size in range(len(OBJECT)):
        with pytest.raises(CorruptSegment) as caught:
            table_of(OBJECT[:size])
        assert caught.value.path == PATH


@pytest.mark.parametrize("more", [b"\0", b"junk" * 9, OBJECT[TABLE_AT:], OBJECT])
def test_a_table_that_does_not_end_where_the_blocks_say_is_refused(more: bytes) -> None:
    with pytest.raises(CorruptSegment):
        table_of(OBJECT + more)


def test_an_object_of_another_size_than_the_reader_was_told_is_refused() -> None:
    for size in (len(OBJECT) - 1, len(OBJECT) + 1, 0):
        with pytest.raises(CorruptSegment):
            read_table(disk_with(OBJECT), PATH, size)


def test_a_segment_has_no_table() -> None:
    with pytest.raises(CorruptSegment, match="no table ends the object"):
        table_of(sample(events(1), events(2)).data)


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_junk_is_no_table(junk: bytes) -> None:
    for data in (junk, OBJECT[:TABLE_AT] + junk, junk + OBJECT[-16:]):
        with pytest.raises(CorruptSegment):
            table_of(data)


def test_one_read_gets_the_whole_table() -> None:
    files = Counting(disk_with(OBJECT))
    read_table(files, PATH, len(OBJECT))
    assert files.reads == [(0, len(OBJECT))]
    longer = bytes(TABLE_READ_SIZE) + OBJECT
    files = Counting(disk_with(longer))
    with pytest.raises(CorruptSegment):
        read_table(files, PATH, len(longer))
    assert files.reads == [(len(OBJECT), TABLE_READ_SIZE)]


def test_a_table_of_many_blocks_takes_a_second_read() -> None:
    data = an_object([events(at) for at in range(800)], block_bytes=1)
    files = Counting(disk_with(data))
    identity, headers = read_table(files, PATH, len(data))
    assert [header.first_seq for header in headers] == list(range(1, 801))
    assert identity.last_number == 1
    table = load_table(disk_with(data), PATH, len(data))
    assert files.reads == [
        (len(data) - TABLE_READ_SIZE, TABLE_READ_SIZE),
        (table.offset, len(data) - table.offset),
    ]


def test_a_file_that_shrinks_between_the_two_reads_is_refused() -> None:
    data = an_object([events(at) for at in range(800)], block_bytes=1)
    disk = disk_with(data)

    class Shrinking(Counting):
        def read(self, path: str, offset: int, size: int) -> bytes:
            found = super().read(path, offset, size)
            disk.put(PATH, b"")
            return found

    with pytest.raises(CorruptSegment, match="damaged"):
        read_table(Shrinking(disk), PATH, len(data))


def framed(body: bytes, headers: bytes = b"") -> bytes:
    """An object without blocks but in its table, whatever its identity; all checksums right."""
    identity = b"rrd1" + crc32c(body).to_bytes(4, "little") + body
    size = 16 + len(body) + len(headers) + 16
    rest = body + headers + struct.pack("<III4s", len(body), len(headers) // 96, size, b"rrdt")
    table = struct.pack("<II4sI", 0x184D2A5D, size - 8, b"rrdt", crc32c(rest)) + rest
    data: bytes = struct.pack("<II", 0x184D2A5E, len(identity)) + identity + table
    return data


def identity_of(**changed: int) -> Identity:
    return msgspec.structs.replace(IDENTITY, **{"last_number": 1, **changed})


def test_the_frame_of_a_table_is_what_the_page_says() -> None:
    identity = identity_of(last_number=3)
    body = msgspec.json.encode(identity)
    data = framed(body)
    assert data.endswith(encode_table(identity, b""))
    assert table_of(data) == (identity, [])


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"null", b"\xff", msgspec.json.encode(IDENTITY), msgspec.json.encode(identity_of(number=2))],
    ids=["nothing", "no members", "null", "not UTF-8", "a segment's", "last before first"],
)
def test_a_table_whose_identity_makes_no_sense_is_refused_though_its_checksum_is_right(body: bytes) -> None:
    with pytest.raises(CorruptSegment):
        table_of(framed(body))


def test_headers_that_do_not_fit_the_object_are_refused_though_all_checksums_are_right() -> None:
    identity, headers = read_table(disk_with(OBJECT), PATH, len(OBJECT))
    at = OBJECT.index(b"rrdb", TABLE_AT)
    encoded = [OBJECT[at + 96 * index :][:96] for index in range(len(headers))]
    assert OBJECT[TABLE_AT:] == encode_table(identity, b"".join(encoded))
    wrong = {
        "one missing at the end": encoded[:-1],
        "one missing at the start": encoded[1:],
        "one twice": [*encoded, encoded[-1]],
        "two exchanged": [encoded[1], encoded[0], *encoded[2:]],
        "none": [],
    }
    for name, chosen in wrong.items():
        data = OBJECT[:TABLE_AT] + encode_table(identity, b"".join(chosen))
        with pytest.raises(CorruptSegment):
            table_of(data)
        # And where the rest of the file would fit them, too.
        if chosen:
            with pytest.raises(CorruptSegment):
                table_of(framed(msgspec.json.encode(identity), b"".join(chosen)))
        assert name


def test_a_break_in_the_sequence_is_refused_though_all_checksums_are_right() -> None:
    identity, _ = read_table(disk_with(OBJECT), PATH, len(OBJECT))
    at = OBJECT.index(b"rrdb", TABLE_AT)
    later = msgspec.structs.replace(identity, first_seq=2)
    data = OBJECT[:TABLE_AT] + encode_table(later, OBJECT[at:-16])
    with pytest.raises(CorruptSegment):
        table_of(data)
