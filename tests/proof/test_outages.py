"""A minute of load while the bucket fails in every way it can: none refused, nothing lost, all drained."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from pathlib import Path

import aiohttp
import pytest

from tests.harness import DaemonProcess, until
from tests.objects.proxy import Answer, Drop, Proxy, proxy
from tests.s3_servers import S3Server, ceph

_PHASE_S = 10.0


class _Load:
    """Visitors that each send a few bodies and leave, until told to stop."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.sent: dict[str, list[bytes]] = {}
        self.problems: list[str] = []
        self.is_over = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as visitors:
            for number in itertools.count():
                if self.is_over:
                    return
                visitors.create_task(self._visit(number))
                await asyncio.sleep(0.05)

    async def _visit(self, number: int) -> None:
        recording_id = str(uuid.uuid4())
        lines = self.sent.setdefault(recording_id, [])
        for turn in range(3):
            body = [
                b'{"type":3,"timestamp":%d,"data":{"visit":%d,"text":"%s"}}'
                % (1_700_000_000_000 + 100 * turn + step, number, uuid.uuid4().hex.encode())
                for step in range(20)
            ]
            async with self._session.post(
                f"{self._url}/recordings/{recording_id}/ingest", data=b"\n".join(body)
            ) as answer:
                if answer.status == 200:
                    lines += body
                else:
                    self.problems.append(f"{answer.status} {await answer.text()}")
            await asyncio.sleep(0.3)


async def _phases(server: S3Server, between: Proxy) -> None:
    for fault in (Answer(500, "InternalError"), Answer(503, "SlowDown"), Drop(is_up=True, after=300)):
        between.fault = fault
        await asyncio.sleep(_PHASE_S)
    between.fault = None
    server.stop()
    await asyncio.sleep(_PHASE_S)
    server.cont()
    await asyncio.sleep(_PHASE_S)
    server.kill()
    await asyncio.sleep(_PHASE_S)
    await server.start()


def _local(data_dir: str) -> list[Path]:
    return [path for place in ("active", "sealed") for path in Path(data_dir, place).rglob("*.zst")]


async def _read(session: aiohttp.ClientSession, url: str, recording_id: str) -> list[bytes]:
    headers = {"Accept": "application/x-ndjson"}
    async with session.get(f"{url}/recordings/{recording_id}/events", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        body = await answer.read()
    return [line.partition(b',"sequenceId":')[0] + b"}" for line in body.splitlines()]


@pytest.mark.slow
@pytest.mark.s3
@pytest.mark.timeout(900)
async def test_a_minute_of_outages_under_load_costs_nothing(tmp_path: Path) -> None:
    async with ceph() as server:
        await server.make_bucket("recordings")
        async with proxy(int(server.endpoint.rpartition(":")[2])) as between:
            settings = server.settings("recordings", s3_timeout_s=3, keep_local_s=0) | {
                "s3_endpoint": between.endpoint
            }
            daemon = DaemonProcess(tmp_path, flush_age_ms=50, seal_idle_s=1, rollup_delay_s=0, **settings)
            headers = {"Authorization": f"Bearer {daemon.key()}"}
            # In a thread, since it asks the bucket at its first start, through the proxy that lives here.
            await asyncio.to_thread(daemon.start)
            with daemon:
                async with aiohttp.ClientSession(headers=headers) as session:
                    load = _Load(session, daemon.url)
                    running = asyncio.create_task(load.run())
                    await _phases(server, between)
                    load.is_over = True
                    await running
                    assert not load.problems
                    assert len(load.sent) > 200
                    waited = len(_local(daemon.data_dir))
                    await until(
                        lambda: not _local(daemon.data_dir), what="the backlog to drain", deadline_s=400
                    )
                    for recording_id, lines in load.sent.items():
                        assert await _read(session, daemon.url, recording_id) == lines
                log = daemon.log()
    assert "Traceback" not in log
    print(
        f"\noutages: {len(load.sent)} recordings, all drained and read back; {waited} files waited at the end"
    )
