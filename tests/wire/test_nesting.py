"""How deep an event may nest: as deep as any page does, and no deeper than can be read back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from rrd.playback.bodies import Events, take_apart
from rrd.segment.format import BlockHeader
from rrd.wire.events import check_lines
from tests.wire.wire_lab import LIMITS, NESTING_MAX

SHAPES = {"arrays": ("[", "]"), "objects": ('{"a":', "}")}


def event(levels: int, shape: str) -> bytes:
    opening, closing = SHAPES[shape]
    body = opening * (levels - 1) + "0" + closing * (levels - 1)
    return b'{"type":3,"timestamp":1,"data":' + body.encode() + b"}"


@pytest.mark.parametrize("shape", SHAPES)
def test_what_pages_need_is_taken_and_what_no_parser_bears_is_refused(shape: str) -> None:
    batch = check_lines([event(NESTING_MAX, shape), event(100_000, shape)], LIMITS, first_line=1)
    assert batch.payload == event(NESTING_MAX, shape) + b"\n"
    assert [(bad.line, bad.reason) for bad in batch.rejected] == [(2, "too_deep")]


@pytest.mark.parametrize("surrogate", [b"", b'"text":"\\ud83d",'])
@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_is_taken_can_be_read_back(shape: str, surrogate: bytes) -> None:
    # Checked with the least stack below, where most levels are let through; read back by a thread of a pool.
    with ThreadPoolExecutor(1) as pool:
        for levels in range(NESTING_MAX, 1100):
            line = event(levels, shape).replace(b'"data"', surrogate + b'"data"')
            batch = pool.submit(check_lines, [line], LIMITS, first_line=1).result()
            if not batch.event_count:
                assert batch.rejected[0].reason == "too_deep"
                continue
            fields = BlockHeader(0, 0, 1, 1, 1.0, 1.0, 1, 0, 0, len(batch.payload), 0, 0, 0, 0, 1)
            events = pool.submit(deep, 30, partial(take_apart, batch.payload, fields, timed=True))
            assert len(events.result().bodies) == 1


def deep(frames: int, call: Callable[[], Events]) -> Events:
    """Call from a stack as deep as any reader's."""
    return deep(frames - 1, call) if frames else call()
