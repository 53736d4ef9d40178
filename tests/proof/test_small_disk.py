"""A small file system, filled under load: refused early, nothing lost, and room made without a restart."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.harness import DaemonProcess, Keys, eventually

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system of 64 MiB of its own."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if os.environ.get("TESTS_REQUIRE_TOOLS") == "1":
            pytest.fail(f"TESTS_REQUIRE_TOOLS=1, but a file system can't be mounted: {done.stderr}")
        pytest.skip(f"can't mount: {done.stderr}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def _body(rng: random.Random, start: int) -> bytes:
    """Some 100 KB that don't compress."""
    return b"".join(
        b'{"type":3,"timestamp":%d,"data":{"noise":"%s"}}\n'
        % (start + number, rng.randbytes(500).hex().encode())
        for number in range(100)
    )


async def _events(session: aiohttp.ClientSession, url: str, recording_id: str) -> list[bytes] | None:
    """Return a recording's events as they were sent; None if there is no such recording any more."""
    headers = {"Accept": "application/x-ndjson"}
    async with session.get(f"{url}/recordings/{recording_id}/events", headers=headers) as answer:
        if answer.status == 404:
            return None
        assert answer.status == 200, await answer.text()
        body = await answer.read()
    return [line.partition(b',"sequenceId":')[0] + b"}\n" for line in body.splitlines()]


class _Load:
    """Posts to recordings in turn and remembers what was acked."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._rng = random.Random(1)
        self._start = 0
        self.acked: dict[str, bytes] = {}
        self.problems: list[str] = []

    async def post(self, recording_id: str) -> int:
        body = _body(self._rng, self._start)
        self._start += 100
        async with self._session.post(f"{self._url}/recordings/{recording_id}/ingest", data=body) as answer:
            told = await answer.json()
            if answer.status == 200:
                self.acked[recording_id] = self.acked.get(recording_id, b"") + body
            elif answer.status == 507:
                assert told["error"]["code"] == "disk_full", told
            else:
                self.problems.append(f"{answer.status} {told}")
            return answer.status

    async def until_refused(self) -> None:
        for _ in range(2000):
            if 507 in await asyncio.gather(*(self.post(str(uuid.uuid4())) for _ in range(4))):
                return
        raise AssertionError("64 MiB took more than that")


async def _fill_and_free(small_disk: Path, folder: Path, *, by_retention: bool) -> None:
    daemon = DaemonProcess(
        folder, flush_age_ms=20, seal_idle_s=1, rollup_delay_s=0, disk_reserve_bytes=12 * MIB,
        **({"retention_bytes_max": 20 * MIB} if by_retention else {}),
    )  # fmt: skip
    daemon.data_dir = str(small_disk / "data")
    os.makedirs(daemon.data_dir, mode=0o700)
    keys = Keys(daemon.data_dir)
    key, eraser = keys.key("all"), keys.key("erase")
    with daemon:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
            load = _Load(session, daemon.url)
            await load.until_refused()
            assert not load.problems
            free = os.statvfs(small_disk)
            assert free.f_bavail * free.f_frsize > 2 * MIB, "refused early, with room left to work in"
            for recording_id, body in list(load.acked.items())[:5]:
                assert b"".join(await _events(session, daemon.url, recording_id) or ()) == body
            if not by_retention:
                for recording_id in list(load.acked)[::2]:
                    headers = {"Authorization": f"Bearer {eraser}"}
                    url = f"{daemon.url}/recordings/{recording_id}"
                    async with session.delete(url, headers=headers) as answer:
                        assert answer.status == 200, await answer.text()
                        assert (await answer.json())["events"] > 0
                    del load.acked[recording_id]
            taken: list[str] = []

            async def takes() -> bool:
                taken.append(str(uuid.uuid4()))
                return await load.post(taken[-1]) == 200

            await eventually(takes, what="events to be taken again", deadline_s=150)
            assert not load.problems
            # Retention takes the oldest; what is listed must be whole, and the newest must be there.
            kept = 0
            for recording_id, body in load.acked.items():
                found = await _events(session, daemon.url, recording_id)
                if found is None:
                    assert by_retention
                    continue
                kept += 1
                assert b"".join(found) == body
            assert kept > 10
            assert taken[-1] in load.acked
    assert "Traceback" not in daemon.log()


@pytest.mark.slow
async def test_a_full_disk_refuses_early_and_erasure_frees_it(small_disk: Path, tmp_path: Path) -> None:
    await _fill_and_free(small_disk, tmp_path, by_retention=False)


@pytest.mark.slow
async def test_a_full_disk_refuses_early_and_retention_frees_it(small_disk: Path, tmp_path: Path) -> None:
    await _fill_and_free(small_disk, tmp_path, by_retention=True)
