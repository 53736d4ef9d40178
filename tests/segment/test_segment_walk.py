"""A file through its last read says what the file says, in fewer reads and never beyond its limit."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrd.segment.format import BlockDraft, decode_identity
from rrd.segment.walk import HEADERS_BYTES, ReadAhead
from tests.segment.samples import EMPTY, Sample, any_samples, sample

DATA = bytes(range(256)) * 4

spans = st.lists(st.tuples(st.integers(0, 1100), st.integers(0, 600)), max_size=20)


class Counted:
    """Bytes that note what is read of them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []

    def __call__(self, offset: int, size: int) -> bytes:
        self.reads.append((offset, size))
        return self.data[offset : offset + size]


@given(spans, st.integers(0, len(DATA)), st.integers(0, 300))
def test_each_read_returns_what_stands_there_up_to_the_limit(
    spans: list[tuple[int, int]], limit: int, ahead: int
) -> None:
    read = Counted(DATA)
    file = ReadAhead(read, limit, ahead=ahead)
    for offset, size in spans:
        assert file.read("", offset, size) == file.take(offset, size) == DATA[:limit][offset : offset + size]
    assert all(size > 0 and offset + size <= limit for offset, size in read.reads)
    assert len(read.reads) <= len(spans)


def test_what_lies_within_the_last_read_is_not_read_again() -> None:
    read = Counted(DATA)
    file = ReadAhead(read, len(DATA), ahead=100)
    for offset, size in [(0, 10), (10, 90), (100, 400), (120, 5), (450, 50), (499, 2)]:
        file.take(offset, size)
    assert read.reads == [(0, 100), (100, 400), (499, 100)]


@given(any_samples, st.data())
def test_headers_are_those_of_the_blocks_up_to_the_first_that_is_not_whole(
    made: Sample, data: st.DataObject
) -> None:
    limit = data.draw(st.integers(made.offsets[0], len(made.data)))
    found = decode_identity(made.data)
    assert found is not None
    file = ReadAhead(Counted(made.data), limit, ahead=data.draw(st.sampled_from([0, 50, 4096])))
    *headers, last = [*file.headers(found[1], bytes.fromhex(found[0].salt)), None]
    if headers and headers[-1] is None:
        last = headers.pop()
    whole = [offset for offset in made.offsets if offset <= limit]
    assert [header.offset for header in headers if header is not None] == whole[:-1]
    assert len(headers) == len(whole) - 1
    assert last is None


@pytest.mark.parametrize(("pad", "reads_max", "share_max"), [(400, 12, 1.01), (60_000, 100, 0.55)])
def test_headers_close_together_take_few_reads_and_others_little_of_the_file(
    pad: int, reads_max: int, share_max: float
) -> None:
    chance = random.Random(1)
    count = 3000 if pad < 1000 else 100
    made = sample(*(padded(chance.randbytes(pad // 2).hex()) for _ in range(count)))
    found = decode_identity(made.data)
    assert found is not None
    read = Counted(made.data)
    file = ReadAhead(read, len(made.data), ahead=HEADERS_BYTES)
    headers = list(file.headers(found[1], bytes.fromhex(found[0].salt)))
    assert None not in headers
    assert len(headers) == count
    assert len(read.reads) <= reads_max
    assert sum(size for _, size in read.reads) <= share_max * len(made.data)
    assert max(size for _, size in read.reads) <= 256 << 10


def padded(text: str) -> BlockDraft:
    return EMPTY._replace(event_count=1, payload=b'{"type":3,"timestamp":0,"data":"%s"}\n' % text.encode())
