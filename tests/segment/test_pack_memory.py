"""Packing takes the same memory for a long recording as for a short one: seen in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from bench.corpus import lines_of
from rrd.segment.format import encode_block, encode_identity
from tests.segment.samples import COMPRESSOR, IDENTITY, events

MIB = 1 << 20
PEAK_MIB_MAX = 110
"""What ``pack`` promises at level 12 (42 MB for zstd, 20 MB), and 25 MB for Python."""

PACK = """
import sys
from rrd.disk.disk import OsDisk
from rrd.segment.pack import PackInput, pack
from rrd.summary.packing import PackedSummary
source, target = sys.argv[1:]
disk = OsDisk()
sources, summary = [PackInput(source, disk.size(source))], PackedSummary()
made = pack(disk, sources, target, level=12, block_bytes=4 << 20, summary=summary)
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(made.extent.raw_size, int(peak) >> 10)
"""


def long_lines(size: int) -> Iterator[bytes]:
    """Lines of real recordings, no two of them equal, up to ``size`` bytes."""
    lines = [*lines_of("code_editor"), *lines_of("data_grid")]
    for number in count():
        line = b'%s,"number":%d}\n' % (lines[number % len(lines)][:-1], number)
        yield line
        size -= len(line)
        if size <= 0:
            return


def write_segment(path: Path, lines: Iterator[bytes]) -> int:
    """Write a segment with blocks of some 4 MiB; return how many bytes of events went in."""
    seq, total, offset = 1, 0, 0
    salt = bytes.fromhex(IDENTITY.salt)
    with path.open("wb") as file:
        offset = file.write(encode_identity(IDENTITY))
        parts: list[bytes] = []
        size = 0
        for line in lines:
            parts.append(line)
            size += len(line)
            if size < 4 * MIB:
                continue
            draft = events(0)._replace(first_seq=seq, event_count=len(parts), payload=b"".join(parts))
            offset += file.write(encode_block(draft, salt=salt, offset=offset, compressor=COMPRESSOR))
            seq += len(parts)
            total += size
            parts, size = [], 0
    return total


@pytest.mark.slow
def test_packing_half_a_gigabyte_takes_no_more_memory_than_promised(tmp_path: Path) -> None:
    raw_size = write_segment(tmp_path / "segment", long_lines(500 * MIB))
    command = [sys.executable, "-c", PACK, str(tmp_path / "segment"), str(tmp_path / "object")]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    packed_size, peak_mib = map(int, done.stdout.split())
    assert packed_size == raw_size > 490 * MIB
    assert peak_mib < PEAK_MIB_MAX
