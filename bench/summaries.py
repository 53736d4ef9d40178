"""What does the summary of a recording cost at roll-up, and how large is it?

Packs the same sealed segments into an object with a summary and without one, in turn, for several rounds, and
compares processor time round by round. The recordings are those of ``bench/corpus``, and two that are harder:
small events (mouse moves, inputs, small mutations), each of which is looked at, and small blocks of them.

    python -m bench.summaries [--rounds 7] [--smoke]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

import zstandard

from bench.corpus import recordings
from rrd.config import Config
from rrd.disk.disk import OsDisk
from rrd.segment.format import BlockDraft, Identity, encode_block, encode_identity
from rrd.segment.pack import PackInput, pack
from rrd.summary.packing import PackedSummary

SALT = "000102030405060708090a0b0c0d0e0f"
BLOCK_BYTES = 256 << 10
SMALL_BLOCK_BYTES = 4 << 10
_START = 1_700_000_000_000


class Case(NamedTuple):
    """A recording, and the size of the blocks that it arrived in."""

    name: str
    lines: list[bytes]
    block_bytes: int


def small_events(count: int) -> list[bytes]:
    """Return what a busy page sends: moves, inputs, clicks, and mutations of some hundred bytes."""
    data: list[dict[str, object]] = [
        {"source": 1, "positions": [{"x": n, "y": 2 * n, "id": 77, "timeOffset": -n} for n in range(5)]},
        {"source": 0, "texts": [{"id": 5, "value": "12:00:01"}], "attributes": [], "removes": [], "adds": []},
        {"source": 5, "text": "hello", "isChecked": False, "id": 31},
        {"source": 3, "id": 1, "x": 0, "y": 800},
        {"source": 2, "type": 2, "id": 9, "x": 100, "y": 70, "pointerType": 0},
        {"source": 0, "texts": [], "attributes": [{"id": 8, "attributes": {"style": {"top": "3px"}}}],
         "removes": [], "adds": []},
    ]  # fmt: skip
    return [
        json.dumps(
            {
                "type": 3,
                "data": data[4 if n % 100 == 0 else n * 7 % 6 - (n * 7 % 6 == 4)] | {"n": n * n % 9973},
                "timestamp": _START + n * 50,
            }
        ).encode()
        for n in range(count)
    ]


def write_segment(path: str, lines: Sequence[bytes], block_bytes: int) -> int:
    """Write lines as one sealed segment; return its size."""
    data = bytearray(
        encode_identity(
            Identity(tenant="bench", recording_id="00000000-0000-4000-8000-000000000001", number=1, salt=SALT,
                     created_ms=_START, first_seq=1, previous_size=0)
        )
    )  # fmt: skip
    compressor = zstandard.ZstdCompressor(level=1)
    at = 0
    while at < len(lines):
        limit, size = at, 0
        while limit < len(lines) and (not size or size + len(lines[limit]) < block_bytes):
            size += len(lines[limit])
            limit += 1
        times = [float(json.loads(line)["timestamp"]) for line in lines[at:limit]]
        draft = BlockDraft(
            at + 1, limit - at, b"".join(line + b"\n" for line in lines[at:limit]), min(times), max(times),
            times == sorted(times), False, 1, _START,
        )  # fmt: skip
        data += encode_block(draft, salt=bytes.fromhex(SALT), offset=len(data), compressor=compressor)
        at = limit
    with open(path, "wb") as file:
        file.write(data)
    return len(data)


def pack_once(directory: str, size: int, *, summarised: bool) -> tuple[float, int]:
    """Return the processor time of packing, seconds, and the size of the object."""
    config = Config(data_dir=directory)
    sources = [PackInput(f"{directory}/segment", size)]
    began = time.process_time()
    made = pack(
        OsDisk(), sources, f"{directory}/object", level=config.rollup_level,
        block_bytes=config.rollup_block_bytes, summary=PackedSummary() if summarised else None,
    )  # fmt: skip
    return time.process_time() - began, made.size


def measure(case: Case, rounds: int) -> None:
    raw = sum(len(line) + 1 for line in case.lines)
    with tempfile.TemporaryDirectory() as directory:
        size = write_segment(f"{directory}/segment", case.lines, case.block_bytes)
        ratios, plain_s, sizes = [], [], (0, 0)
        for number in range(rounds + 1):
            took: dict[bool, float] = {}
            made: dict[bool, int] = {}
            for summarised in (False, True) if number % 2 else (True, False):
                took[summarised], made[summarised] = pack_once(directory, size, summarised=summarised)
            if number:  # The first round warms up.
                ratios.append(took[True] / took[False])
                plain_s.append(took[False])
                sizes = made[False], made[True]
        os.unlink(f"{directory}/object")
    print(
        f"{case.name:28}{len(case.lines):9,}{raw / 1e6:8.1f}{raw / statistics.median(plain_s) / 1e6:9.1f}"
        f"{statistics.median(ratios) - 1:+9.1%}{min(ratios) - 1:+9.1%}{max(ratios) - 1:+9.1%}"
        f"{sizes[1] - sizes[0]:10,}"
    )


def cases(smoke: bool) -> list[Case]:
    count = 2_000 if smoke else 60_000
    found = [
        Case(name, lines, BLOCK_BYTES)
        for name, lines in recordings().items()
        if not smoke or name == "code_editor"
    ]
    small = small_events(count)
    return [
        *found,
        Case("small events", small, BLOCK_BYTES),
        Case("small events, small blocks", small, SMALL_BLOCK_BYTES),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The cost of summaries at roll-up.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--smoke", action="store_true", help="one short round, to see that it works")
    options = parser.parse_args(arguments)
    print(
        f"{'':28}{'events':>9}{'MB':>8}{'MB/s':>9}{'median':>9}{'least':>9}{'most':>9}{'bytes':>10}\n"
        f"{'':28}{'':9}{'':8}{'without':>9}{'processor time with a summary':>27}{'of it':>10}"
    )
    for case in cases(options.smoke):
        measure(case, 1 if options.smoke else options.rounds)


if __name__ == "__main__":
    main()
