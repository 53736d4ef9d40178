"""What an object says of itself is what its events say, and everything else in it stays as it was."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rrd.segment.format import BlockDraft
from rrd.segment.pack import Packed, pack
from rrd.segment.reader import read_last_notes
from rrd.segment.scan import scan
from rrd.segment.table import read_table
from rrd.summary.packing import PackedSummary
from rrd.summary.summary import decode_note
from tests.segment.samples import OBJECT_PATH, honest, put_run, read_back, run_of
from tests.simdisk import SimDisk
from tests.summary.events import recordings
from tests.summary.reference import told
from tests.summary.test_gather import plain
from tests.thoroughness import examples


def packed(lines: list[bytes], sizes: list[int], *, summarised: bool) -> tuple[SimDisk, Packed]:
    """Pack lines that lie in several segments, in blocks of these sizes."""
    drafts: list[BlockDraft] = []
    at = 0
    while at < len(lines):
        part = lines[at : at + sizes[len(drafts) % len(sizes)]]
        drafts.append(honest([line + b"\n" for line in part], source=1 + len(drafts) % 2))
        at += len(part)
    half = len(drafts) // 2
    disk = SimDisk()
    sources = put_run(disk, run_of(drafts[:half], drafts[half:]))
    summary = PackedSummary() if summarised else None
    return disk, pack(disk, sources, OBJECT_PATH, level=1, block_bytes=2000, summary=summary)


@settings(deadline=None, max_examples=examples(200))
@given(recordings(), st.lists(st.integers(1, 7), min_size=1, max_size=4))
def test_an_object_says_what_its_events_say(lines: list[bytes], sizes: list[int]) -> None:
    disk, made = packed(lines, sizes, summarised=True)
    assert scan(disk, OBJECT_PATH, deep=True).verdict == "clean"
    _, headers = read_table(disk, OBJECT_PATH, made.size)
    summary = decode_note(read_last_notes(disk, OBJECT_PATH, headers))
    if not lines:
        assert summary is None
        return
    assert summary is not None
    assert not summary.tangled
    assert plain(summary) == told(lines)
    again, _ = packed(lines, sizes, summarised=True)
    assert again.files()[OBJECT_PATH] == disk.files()[OBJECT_PATH]
    without, bare = packed(lines, sizes, summarised=False)
    _, plain_headers = read_table(without, OBJECT_PATH, bare.size)
    assert headers[:-1] == plain_headers
    assert made.extent == bare.extent
    assert [read_back(disk, OBJECT_PATH, header) for header in headers[:-1]] == [
        read_back(without, OBJECT_PATH, header) for header in plain_headers
    ]
