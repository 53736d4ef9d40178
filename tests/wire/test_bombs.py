"""Small bodies that decode to gigabytes stop at their limit, in flat memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rrd.wire.codings import Encoding
from rrd.wire.decoder import Decoder
from tests.wire import bombs
from tests.wire.bombs import CASES, MIB
from tests.wire.wire_lab import LIMITS

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")


LONG = ("blank-lines", "elements", "packed-many", "lines-gzip", "lines-br", "lines-zstd")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in CASES]
)
def test_bomb_stops_at_its_limit_in_flat_memory(name: str) -> None:
    case = CASES[name]
    run = subprocess.run(
        [sys.executable, "-m", "tests.wire.bombs", name], cwd=ROOT, check=True, capture_output=True, text=True
    )
    found = json.loads(run.stdout)
    print(f"{name}: {found['size']} bytes, {found['growth'] / MIB:.0f} MiB of memory")
    assert (found["error"], found["events"]) == (case.error, case.events)
    assert found["growth"] <= case.growth_bytes_max


STREAMS: dict[Encoding, Callable[[], bytes]] = {
    "gzip": lambda: bombs.gzip_member(bombs.SMALL_LINES, bombs.TWO_GIB),
    "br": lambda: bombs.brotli_stream(bombs.SMALL_LINES, bombs.TWO_GIB // 8),
    "zstd": lambda: bombs.zstd_stream(bombs.SMALL_LINES, bombs.TWO_GIB),
}


@pytest.mark.parametrize("encoding", STREAMS)
def test_events_do_not_pile_up_however_dense_they_are(encoding: Encoding) -> None:
    decoder = Decoder(kind="ndjson", encoding=encoding, limits=LIMITS)
    decoder.feed(STREAMS[encoding](), ends_message=True)
    for _ in range(20):
        batch = decoder.next_batch()
        assert batch is not None
        assert len(batch.payload) <= LIMITS.batch_bytes + MIB
        # The rest waits, undecoded, until it is asked for.
        assert decoder.waiting_bytes + decoder.unfinished_bytes <= MIB
