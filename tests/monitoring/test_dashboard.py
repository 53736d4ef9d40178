"""The dashboard and the alerts against a real Prometheus that scrapes a daemon under load.

Method: a daemon on small file systems of its own gets events, repeats, bad lines, wrong keys, readers, an
erasure, and in the end more than fits. Then each query of the dashboard has an answer, which one about a name
that is not exported has not, and no alert fails to be looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rrd import metrics
from tests.harness import ROOT, DaemonProcess, eventually
from tests.ports import free_port
from tests.samples import ndjson, new_id, some_events

DASHBOARD = ROOT / "config" / "grafana" / "rrd.json"
RULES = ROOT / "config" / "prometheus" / "rrd.rules.yml"


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    """Makes directories on file systems of their own, of a name and a size like "48m"."""
    mounted: list[Path] = []

    def make(name: str, size: str) -> Path:
        place = tmp_path / name
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            if os.environ.get("TESTS_REQUIRE_TOOLS") == "1":
                pytest.fail(f"TESTS_REQUIRE_TOOLS=1, but a file system can't be mounted: {done.stderr}")
            pytest.skip(f"can't mount: {done.stderr}")
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


class Prometheus:
    """A real one, which scrapes each second. End it with ``stop``."""

    def __init__(self, directory: Path, target: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "rrd", "static_configs": [{"targets": [target]}]}],
        }
        config = directory / "prometheus.yml"
        config.write_text(json.dumps(settings))  # JSON is YAML.
        self._log = (directory / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}"),
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


class Load:
    """What visitors, readers and their mistakes do."""

    def __init__(self, http: aiohttp.ClientSession, daemon: DaemonProcess) -> None:
        """To be made before the daemon starts, which knows its keys then."""
        self._http, self._daemon = http, daemon
        self._write = {"Authorization": f"Bearer {daemon.key('ingest')}"}
        self._read = {"Authorization": f"Bearer {daemon.key('read')}"}
        self._erase = {"Authorization": f"Bearer {daemon.key('erase')}"}

    @property
    def _url(self) -> str:
        return self._daemon.url

    async def post(self, recording_id: str, body: bytes, **headers: str) -> int:
        path = f"{self._url}/recordings/{recording_id}/ingest"
        async with self._http.post(path, data=body, headers=self._write | headers) as answer:
            await answer.read()
            return answer.status

    async def get(self, path: str) -> int:
        async with self._http.get(self._url + path, headers=self._read) as answer:
            await answer.read()
            return answer.status

    async def follow(self, recording_id: str) -> None:
        """Watch for a moment, and leave."""
        path = f"{self._url}/recordings/{recording_id}/events?follow=true"
        async with self._http.get(path, headers=self._read) as answer:
            await answer.content.readany()

    async def visit(self) -> None:
        """Do all of it once."""
        recording_id, events = new_id(), ndjson(some_events(200))
        assert await self.post(recording_id, events) == 200
        assert await self.post(recording_id, events) == 200  # All repeats.
        assert await self.post(recording_id, b"no event\n") == 400
        assert await self.post(recording_id, events, Authorization="Bearer wrong") == 401
        socket_url = f"{self._url}/recordings/{recording_id}/ingest/ws"
        async with self._http.ws_connect(socket_url, headers=self._write) as socket:
            await socket.send_str('{"type":3,"timestamp":1,"data":{}}')
            await self.follow(recording_id)
        assert await self.get(f"/recordings/{recording_id}/events") == 200
        assert await self.get(f"/recordings/{new_id()}/events") == 404

    async def erase_one(self) -> None:
        recording_id = new_id()
        assert await self.post(recording_id, ndjson(some_events(5))) == 200
        path = f"{self._url}/recordings/{recording_id}"
        async with self._http.delete(path, headers=self._erase) as answer:
            assert answer.status == 200

    async def post_noise(self, recording_id: str) -> int:
        """Send an event that doesn't compress; return the status."""
        line = f'{{"type":3,"timestamp":1,"data":"{os.urandom(300_000).hex()}"}}\n'
        return await self.post(recording_id, line.encode())

    async def fill_up(self) -> None:
        """Send until the disk takes no more."""
        deadline, recording_id = time.monotonic() + 60, new_id()
        while time.monotonic() < deadline:
            if await self.post_noise(recording_id) >= 500:
                return
        raise AssertionError("the disk did not fill up")


async def ask(http: aiohttp.ClientSession, prometheus: Prometheus, path: str, **query: str) -> Any:
    async with http.get(f"{prometheus.url}/api/v1/{path}", params=query) as answer:
        told = await answer.json()
        assert told["status"] == "success", (query, told)
        return told["data"]


def queries() -> list[str]:
    """Return each query of the dashboard, with what Grafana puts into it."""
    found: list[str] = re.findall(r'"expr": "((?:[^"\\]|\\.)*)"', DASHBOARD.read_text())
    expressions = [str(json.loads(f'"{text}"')) for text in found]
    assert len(expressions) > 50
    return [text.replace("$instance", ".*").replace("$__rate_interval", "1m") for text in expressions]


def exported() -> set[str]:
    """Return the names that rrd exports by itself, as Prometheus knows them."""
    names: set[str] = set()
    for family in metrics.families():
        names |= {family.name} if family.kind != "histogram" else set()
        names |= {
            f"{family.name}_{part}" for part in ("bucket", "sum", "count") if family.kind == "histogram"
        }
    return names | {"rrd_build_info"}


def test_dashboard_and_alerts_name_what_is_exported_and_leave_nothing_out() -> None:
    text = RULES.read_text() + "\n".join(queries())
    named = set(re.findall(r"\brrd_[a-z_]+", text))
    assert named - exported() == set()
    unseen = {
        family.name
        for family in metrics.families()
        if not any(name.startswith(family.name) for name in named)
    }
    # Of tenants there is nothing unless a setting says so.
    assert unseen <= {"rrd_tenant_recordings", "rrd_tenant_kept_bytes"}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    shutil.which("prometheus") is None and os.environ.get("TESTS_REQUIRE_TOOLS") != "1",
    reason="prometheus is not installed (Debian: prometheus)",
)
async def test_each_query_has_an_answer(
    tmp_path: Path, mount: Callable[[str, str], Path], http: aiohttp.ClientSession
) -> None:
    target = f"127.0.0.1:{free_port()}"
    daemon = DaemonProcess(
        mount("data", "48m"),
        objects_dir=str(mount("objects", "1m")),
        metrics_listen=target,
        flush_age_ms=50,
        seal_idle_s=1,
        seal_closed_s=0,
        rollup_delay_s=0,
    )
    daemon.log_path = tmp_path / "rrd.log"
    load, too_large = Load(http, daemon), new_id()
    prometheus = Prometheus(tmp_path, target)
    try:
        with daemon:
            for _ in range(6):
                await load.post_noise(too_large)
            slow = ("rrd_published_objects_total", "rrd_failed_roll_ups_total")

            async def is_seen() -> bool:
                """Visit until Prometheus has seen what takes its time: a roll-up, and one that fails."""
                await load.visit()
                await load.erase_one()
                query = " and on () ".join(f"sum(increase({name}[1m])) > 0" for name in slow)
                return bool((await ask(http, prometheus, "query", query=query))["result"])

            await eventually(is_seen, what="a roll-up to be seen", deadline_s=90)
            daemon.stop()
            daemon.start()
            await load.visit()
            await load.fill_up()
            unanswered = set(queries())

            async def all_answered() -> bool:
                for text in sorted(unanswered):
                    if (await ask(http, prometheus, "query", query=text))["result"]:
                        unanswered.discard(text)
                return not unanswered

            with contextlib.suppress(TimeoutError):
                await eventually(all_answered, what="answers", deadline_s=60)
            assert unanswered == set()
            states: dict[str, str] = {}

            async def alerts_fire() -> bool:
                groups = (await ask(http, prometheus, "rules"))["groups"]
                rules = [rule for group in groups for rule in group["rules"]]
                assert {rule["health"] for rule in rules} == {"ok"}, rules
                states.update({rule["name"]: rule["state"] for rule in rules})
                return states["RrdBlocksFail"] == states["RrdErrorsLogged"] == "firing"

            await eventually(alerts_fire, what="alerts about what happened once")
    finally:
        prometheus.stop()
