"""A body that fails is let go at once, with buffers and windows: no collection of garbage is waited for."""

from __future__ import annotations

import gc
import gzip
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import zstandard

from rrd.wire.decoder import Decoder
from tests.harness import running, until
from tests.http.api import Api, visiting
from tests.samples import new_id

MIB = 1 << 20
EVENT = b'{"type":3,"timestamp":1}\n'


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running(tmp_path) as daemon, visiting(daemon) as visitor:
        yield visitor


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> int:
    return sum(type(thing) is Decoder for thing in gc.get_objects())


BODIES = {
    "too dense": ("zstd", zstandard.compress(b"\n" * 64 * MIB)),
    "damaged": ("gzip", gzip.compress(EVENT * 100)[:-8] + bytes(8)),
    "cut off": ("gzip", gzip.compress(EVENT * 100)[:-8]),
}


@pytest.mark.parametrize("body", BODIES)
async def test_a_body_that_fails(api: Api, body: str, no_collection: None) -> None:
    encoding, data = BODIES[body]
    before = alive()
    for _ in range(3):
        reply = await api.post(new_id(), data, encoding=encoding)
        assert reply.status >= 400
    await until(lambda: alive() <= before, what="all decoders to be let go")
