"""The daemon's encoded blocks appended to a file, each synced before the next: what the disk alone costs."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import zstandard

from bench.payloads import grouped, joined, lines
from bench.stage import Turn
from rrd.config import Config
from rrd.segment.format import BlockDraft, encode_block

_config = Config()


class Blocks(NamedTuple):
    """The corpus as the blocks of a segment."""

    encoded: list[bytes]
    raw_bytes: int
    """Of the events in them, line feeds included."""


@cache
def blocks(events_max: int | None = None) -> Blocks:
    """Return the corpus as blocks, encoded by the daemon's own code with its settings."""
    payloads = [joined(group) for group in grouped(lines("all", events_max), _config.flush_bytes)]
    return Blocks(list(_encoded(payloads)), sum(map(len, payloads)))


def blocks_raw_bytes(events_max: int | None = None) -> int:
    """Return how many bytes of events the blocks hold, decoded."""
    return blocks(events_max).raw_bytes


def _encoded(payloads: list[bytes]) -> Iterator[bytes]:
    compressor = zstandard.ZstdCompressor(level=_config.compression_level)
    offset, seq = 0, 1
    for payload in payloads:
        count = payload.count(b"\n")
        draft = BlockDraft(
            first_seq=seq, event_count=count, payload=payload, first_ts=0.0, last_ts=0.0, ordered=True,
            own_ids=False, source=0, stored_ms=0,
        )  # fmt: skip
        block = encode_block(draft, salt=bytes(16), offset=offset, compressor=compressor)
        yield block
        offset += len(block)
        seq += count


def append(times: int = 1, events_max: int | None = None) -> Turn:
    """Append the blocks ``times`` times to a new file, an ``fdatasync`` after each. The file goes again."""
    encoded = blocks(events_max).encoded
    with tempfile.TemporaryDirectory(prefix="rrd-bench-") as directory:
        handle = os.open(f"{directory}/segment", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            started = time.perf_counter()
            for _ in range(times):
                for block in encoded:
                    os.write(handle, block)
                    os.fdatasync(handle)
            return Turn(time.perf_counter() - started)
        finally:
            os.close(handle)
