"""Salvage: exactly the blocks that damage has not touched, whatever else is lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.disk.disk import OsDisk
from rrd.segment.format import decode_identity
from rrd.segment.salvage import Patched, salvage
from tests.segment.samples import IDENTITY, PATH, Sample, an_object, any_samples, events, sample
from tests.simdisk import SimDisk
from tests.thoroughness import examples


def found_in(data: bytes, *, durable_size: int | None = None) -> list[int]:
    """Offsets of the blocks that are salvaged."""
    disk = SimDisk()
    disk.make_dirs("/active")
    disk.put(PATH, data)
    return [header.offset for header in salvage(disk, PATH, durable_size=durable_size).blocks]


def untouched(made: Sample, start: int, limit: int) -> list[int]:
    """Offsets of the blocks that have no byte from ``start`` to before ``limit``; all if there is none."""
    return [
        offset
        for offset, end in zip(made.offsets, made.offsets[1:], strict=False)
        if limit <= offset or end <= start or start == limit
    ]


def has_payload(made: Sample, offset: int) -> bool:
    draft = made.drafts[made.offsets.index(offset)]
    return bool(draft.payload or draft.metadata or draft.quarantine)


@settings(max_examples=examples(400), deadline=None)
@given(any_samples, st.data())
def test_just_the_untouched_blocks_are_salvaged(made: Sample, data: st.DataObject) -> None:
    size = len(made.data)
    start = data.draw(st.integers(0, size - 1))
    limit = data.draw(st.integers(start + 1, size))
    damage = data.draw(st.binary(min_size=limit - start, max_size=limit - start))
    damaged = made.data[:start] + damage + made.data[limit:]
    # Some of the bytes may be the old ones by chance.
    while start < limit and made.data[start] == damaged[start]:
        start += 1
    while limit > start and made.data[limit - 1] == damaged[limit - 1]:
        limit -= 1
    expected = untouched(made, start, limit)
    identity_is_lost = decode_identity(damaged) is None
    if identity_is_lost and not any(has_payload(made, offset) for offset in expected):
        # Nothing is left that vouches for a salt.
        assert set(found_in(damaged)) <= set(expected)
        return
    assert found_in(damaged) == expected


@settings(max_examples=examples(100), deadline=None)
@given(any_samples, st.data())
def test_just_the_blocks_before_the_end_of_a_file_cut_short(made: Sample, data: st.DataObject) -> None:
    size = data.draw(st.integers(made.offsets[0], len(made.data)))
    expected = [start for start, end in zip(made.offsets, made.offsets[1:], strict=False) if end <= size]
    assert found_in(made.data[:size]) == expected
    assert found_in(made.data[:size], durable_size=len(made.data)) == expected


def test_what_lies_beyond_the_durable_size_does_not_count() -> None:
    made = sample(events(1), events(2), events(3))
    assert found_in(made.data, durable_size=made.offsets[2]) == made.offsets[:2]


def test_a_file_without_its_identity_is_read_by_what_its_headers_agree_on() -> None:
    made = sample(events(1), events(2), events(3))
    for at in range(made.offsets[0]):
        damaged = made.data[:at] + bytes([made.data[at] ^ 1]) + made.data[at + 1 :]
        assert found_in(damaged) == made.offsets[:-1]
    # One header damaged as well: it is outvoted, and nothing of its block is given.
    at = made.offsets[0] + 20
    damaged = bytes(60) + made.data[60:at] + b"\xff" + made.data[at + 1 :]
    assert found_in(damaged) == made.offsets[1:-1]


def test_a_block_of_another_segment_is_not_taken() -> None:
    made = sample(events(1), events(2), events(3))
    other = sample(
        events(1), events(2), events(3), identity=msgspec.structs.replace(IDENTITY, salt="ff" * 16)
    )
    start, limit = made.offsets[1], made.offsets[2]
    mixed = made.data[:start] + other.data[start:limit] + made.data[limit:]
    assert found_in(mixed) == [made.offsets[0], made.offsets[2]]


def test_an_objects_header_that_is_damaged_in_its_place_is_taken_from_the_table() -> None:
    data = an_object([events(1, 2)], [events(3)], block_bytes=1)
    whole = found_in(data)
    for offset in whole:
        at = offset + 30
        assert found_in(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) == whole
    # Without the table the headers in their places do.
    assert found_in(data[:-20]) == whole


class BadDisk(OsDisk):
    """A disk on which some pages of 4 KiB can't be read."""

    def __init__(self, *pages: int, code: int = errno.EIO) -> None:
        super().__init__()
        self._pages = set(pages)
        self._code = code

    def read(self, path: str, offset: int, size: int) -> bytes:
        data = super().read(path, offset, size)
        last = offset + max(len(data), 1) - 1
        if self._pages & set(range(offset // 4096, last // 4096 + 1)):
            raise OSError(self._code, os.strerror(self._code))
        return data


@pytest.mark.parametrize("page", range(8))
def test_what_stands_around_a_page_that_can_not_be_read_is_salvaged(tmp_path: Path, page: int) -> None:
    drafts = [
        events(number)._replace(
            payload=b'{"type":3,"timestamp":%d,"data":"%s"}\n' % (number, os.urandom(1500).hex().encode())
        )
        for number in range(1, 21)
    ]
    made = sample(*drafts)
    assert len(made.data) > 8 * 4096
    path = tmp_path / "segment"
    path.write_bytes(made.data)
    expected = untouched(made, page * 4096, (page + 1) * 4096)
    if page == 0:
        assert made.offsets[0] not in expected
    found = salvage(BadDisk(page), str(path))
    assert [header.offset for header in found.blocks] == expected
    assert found.damaged_at
    assert len(Patched(BadDisk(page)).read(str(path), 0, len(made.data))) == len(made.data)


def test_missing_permission_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.write_bytes(sample(events(1)).data)
    with pytest.raises(PermissionError):
        salvage(BadDisk(0, code=errno.EACCES), str(path))
