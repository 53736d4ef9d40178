"""Decoding costs processor time and memory in proportion to what was sent, whatever its shape.

A row that is over its bounds is measured again, and its best figures count: so a busy machine
makes it slow, and never fail.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire.costs import CPU_LIMIT_S, SHAPES, WAYS, Cost, faults, least

ROOT = Path(__file__).parents[2]
KIB = 1 << 10
TRIES = 4

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")


class Lab:
    """``python -m tests.wire.costs``, for all rows of a test run."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def costs(self, way: str, shape: str, sizes: tuple[int, ...]) -> list[Cost]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([way, shape, sizes]), file=self._process.stdin, flush=True)
        found = json.loads(self._process.stdout.readline())
        assert None not in found, (
            f"{way} {shape}: {sizes[len(found) - 1]} bytes take more than {CPU_LIMIT_S} s"
        )
        return [Cost(*cost) for cost in found]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    command = [sys.executable, "-m", "tests.wire.costs"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        yield Lab(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0


def check(lab: Lab, way: str, shape: str, sizes: tuple[int, ...]) -> None:
    found = lab.costs(way, shape, sizes)
    for _ in range(TRIES - 1):
        if not faults(sizes, found):
            break
        found = list(map(least, found, lab.costs(way, shape, sizes)))
    print(way, shape, *found, sep="\n")
    assert faults(sizes, found) == []


SMALL = (32 * KIB, 64 * KIB, 128 * KIB)
LARGE = (128 * KIB, 256 * KIB, 512 * KIB)

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
"""Each kind of work once; more pairs are slow."""


@pytest.mark.parametrize(("way", "shape"), CHOSEN)
def test_cost_follows_the_input(lab: Lab, way: str, shape: str) -> None:
    check(lab, way, shape, SMALL)


PAIRS = list(itertools.product(WAYS, SHAPES))[::7]
"""A seventh of all, each way and each shape several times."""


def test_each_way_and_each_shape_is_among_the_pairs() -> None:
    assert {way for way, _ in PAIRS} == set(WAYS)
    assert {shape for _, shape in PAIRS} == set(SHAPES)


@pytest.mark.slow
@pytest.mark.parametrize(("way", "shape"), PAIRS)
def test_cost_follows_the_input_by_every_way_in(lab: Lab, way: str, shape: str) -> None:
    check(lab, way, shape, LARGE)
