"""What a composed replay of 200 recordings of 5 MB takes in memory."""

from __future__ import annotations

import asyncio
import io
import random
import re
from pathlib import Path

import aiohttp
import pytest

from tests.harness import DaemonProcess
from tests.samples import dump, meta_event, ndjson

MIB = 1 << 20
_RECORDINGS = 200
_BYTES = 5_000_000
_PAGES = 10
_LIMIT = 96 * MIB


def _memory(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5)


def _body(number: int) -> bytes:
    """A visit of ten page views a minute apart, so that the page views of all visits take turns."""
    chance = random.Random(number)
    pool = chance.randbytes(100_000).hex()

    def event(event_type: int, timestamp: int, size: int) -> bytes:
        at = chance.randrange(len(pool) - size)
        return dump({"type": event_type, "data": {"text": pool[at : at + size]}, "timestamp": timestamp})

    lines = [meta_event(1, user="u")]
    for page in range(_PAGES):
        start = 60_000 * page + 200 * number
        lines += [event(4, start, 50), event(2, start, 100_000)]
        lines += [event(3, start + 100 * step, 2_000) for step in range(200)]
    return ndjson(lines)


@pytest.mark.slow
@pytest.mark.usefixtures("as_installed")
@pytest.mark.timeout(900)
async def test_a_replay_of_many_recordings_takes_little_memory(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, replay_recordings_max=_RECORDINGS, bytes_per_s_address_max=0)
    headers = {"Authorization": f"Bearer {daemon.key()}", "Content-Type": "application/x-ndjson"}
    with daemon:
        timeout = aiohttp.ClientTimeout(total=600)
        sent = 0
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            for number in range(_RECORDINGS):
                body = await asyncio.to_thread(_body, number)
                sent += len(body)
                url = f"{daemon.url}/recordings/00000000-0000-4000-8000-{number:012}/ingest"
                async with session.post(url, data=io.BytesIO(body)) as answer:
                    assert answer.status == 200, await answer.text()
            assert sent > _RECORDINGS * _BYTES
            daemon.stop(timeout_s=60)
            daemon.start(deadline_s=60)
            async with session.get(f"{daemon.url}/replay?meta[user]=nobody") as answer:
                assert await answer.read() == b"[]"
            before = _memory(daemon.pid, "VmRSS")
            _forget_peak(daemon.pid)
            began = asyncio.get_running_loop().time()
            first_at: float | None = None
            size = lines = 0
            url = f"{daemon.url}/replay?meta[user]=u"
            async with session.get(url, headers={"Accept": "application/x-ndjson"}) as answer:
                assert answer.status == 200, await answer.text()
                async for chunk in answer.content.iter_any():
                    first_at = first_at or asyncio.get_running_loop().time()
                    size += len(chunk)
                    lines += chunk.count(b"\n")
            took = asyncio.get_running_loop().time() - began
            growth = _memory(daemon.pid, "VmHWM") - before
        assert first_at is not None
        print(f"{size / 1e6:.0f} MB: {growth / MIB:.1f} MiB more than {before / MIB:.1f}, {took:.1f} s,"
              f" the first byte after {first_at - began:.1f} s")  # fmt: skip
        assert lines == _RECORDINGS * _PAGES * 202
        assert growth < _LIMIT
