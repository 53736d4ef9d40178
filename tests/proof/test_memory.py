"""What rolling up and reading a recording of 500 MB takes in memory."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bench.corpus import recordings
from tests.harness import DaemonProcess, until
from tests.s3_servers import moto

MIB = 1 << 20
_SIZE = 500 * MIB
_LIMIT = 200 * MIB
_STEP_MS = 10**11
"""Far enough that no copy can hold a repeat of another, which would have to be looked up."""


def _peak(pid: int) -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5)


def _bodies() -> list[bytes]:
    """The corpus again and again, years later each time, in bodies of some 14 MB."""
    bodies: list[bytes] = []
    lines = [line for part in recordings().values() for line in part]
    size = turn = 0
    while size < _SIZE:
        turn += 1
        body = b"".join(_later(line, turn * _STEP_MS) + b"\n" for line in lines)
        bodies.append(body)
        size += len(body)
    return bodies


def _later(line: bytes, by_ms: int) -> bytes:
    return re.sub(rb'"timestamp":(\d+)', lambda match: b'"timestamp":%d' % (int(match[1]) + by_ms), line)


def _segments(data_dir: str) -> list[Path]:
    return [
        path for place in ("active", "sealed") for path in Path(data_dir, place).rglob("*") if path.is_file()
    ]


async def _peaks(folder: Path, settings: dict[str, Any]) -> dict[str, int]:
    settings = {"seal_idle_s": 2, "rollup_delay_s": 3600, "keep_local_s": 0} | settings
    recording_id = "00000000-0000-4000-8000-000000000500"
    daemon = DaemonProcess(folder, **settings)
    with daemon:
        headers = {"Authorization": f"Bearer {daemon.key()}", "Content-Type": "application/x-ndjson"}
        timeout = aiohttp.ClientTimeout(total=600)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            url = f"{daemon.url}/recordings/{recording_id}"
            count = size = 0
            for body in await asyncio.to_thread(_bodies):
                async with session.post(f"{url}/ingest", data=io.BytesIO(body)) as answer:
                    assert answer.status == 200, await answer.text()
                    told = await answer.json()
                count += told["successful_rows"]
                size += len(body)
            assert size >= _SIZE
            daemon.stop(timeout_s=60)
            daemon.settings = settings | {"rollup_delay_s": 0}
            daemon.start(deadline_s=60)
            _reset_peak(daemon.pid)
            await until(
                lambda: not _segments(daemon.data_dir), what="the recording to be rolled up", deadline_s=280
            )
            peaks = {"rolling up": _peak(daemon.pid)}
            _reset_peak(daemon.pid)
            digest, lines = hashlib.blake2b(), 0
            async with session.get(f"{url}/events", headers={"Accept": "application/x-ndjson"}) as answer:
                assert answer.status == 200, await answer.text()
                async for chunk in answer.content.iter_any():
                    digest.update(chunk)
                    lines += chunk.count(b"\n")
            assert lines == count
            peaks["reading"] = _peak(daemon.pid)
    return peaks


@pytest.mark.slow
@pytest.mark.usefixtures("as_installed")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["local", "moto"])
async def test_rolling_up_and_reading_500_mb_stays_below_200_mb(kind: str, tmp_path: Path) -> None:
    if kind == "local":
        peaks = await _peaks(tmp_path, {})
    else:
        async with moto() as server:
            await server.make_bucket("recordings")
            peaks = await _peaks(tmp_path, server.settings("recordings"))
    print(
        f"\npeak memory, {kind}: " + ", ".join(f"{what} {peak / MIB:.0f} MiB" for what, peak in peaks.items())
    )
    assert max(peaks.values()) < _LIMIT, peaks
