"""Decoding costs processor time and memory in proportion to what was sent, whatever its shape.

Processor time is compared with itself at another size, from a floor on, and never with a clock.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.wire.costs import SHAPES, WAYS

ROOT = Path(__file__).parents[2]
KIB, MIB = 1 << 10, 1 << 20

CPU_FLOOR_S = 0.1
"""Below it a machine's noise decides."""
CPU_MARGIN = 2.0
QUICK_FLOOR_S = 0.05
MEMORY_FLOOR_BYTES = 48 * MIB
"""Batches, windows, and what the allocator keeps."""
MEMORY_FACTOR = 40
"""Bytes held for a decoded one, at most: views, small objects of the interpreter, copies."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")


def costs(way: str, shape: str, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.wire.costs", way, shape, *map(str, sizes)]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(run.stdout)
    return found


def check(way: str, shape: str, sizes: tuple[int, ...]) -> None:
    found = costs(way, shape, sizes)
    least = found[0]
    print(way, shape, found)
    for size, cost in zip(sizes, found, strict=True):
        factor = size / sizes[0]
        assert cost["cpu_s"] <= CPU_MARGIN * factor * max(least["cpu_s"], CPU_FLOOR_S / factor)
        assert cost["growth_bytes"] <= MEMORY_FLOOR_BYTES + MEMORY_FACTOR * size
        # What is done on the loop doesn't grow at all.
        assert cost["quick_s"] <= 2 * max(least["quick_s"], QUICK_FLOOR_S)


SMALL = (32 * KIB, 64 * KIB, 128 * KIB)
LARGE = (MIB, 2 * MIB, 4 * MIB)

CHOSEN = [
    ("post:ndjson:plain", "blank"),
    ("post:ndjson:plain", "endless-quotes"),
    ("post:ndjson:plain", "run-together"),
    ("post:ndjson:plain", "surrogates"),
    ("post:ndjson:plain", "packed"),
    ("post:json:plain", "brackets-of-objects"),
    ("post:json:zstd", "elements"),
    ("socket:ndjson:gzip-members", "blank"),
    ("socket:ndjson:zstd-frames", "empty-objects"),
    ("post:unstated:br", "blank"),
    ("text", "run-together"),
    ("text", "nested"),
    ("meta", "escaped-names"),
]
"""Each kind of work once; all pairs are slow."""


@pytest.mark.parametrize(("way", "shape"), CHOSEN)
def test_cost_follows_the_input(way: str, shape: str) -> None:
    check(way, shape, SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", WAYS)
def test_cost_follows_the_input_by_every_way_in(way: str, shape: str) -> None:
    check(way, shape, LARGE)
