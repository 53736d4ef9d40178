"""A scrape of a daemon under load: all that the page promises, in scrapers' formats, and no names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from rrd.daemon.metrics_listener import listen_for_scrapes
from rrd.http.scrapes import CONNECTIONS_MAX
from rrd.http.services import Bounds
from tests.harness import ROOT, DaemonProcess, LocalDaemon, eventually, running
from tests.http.watchers import watching
from tests.ports import free_port
from tests.samples import meta_event, ndjson, new_id, some_events

PAGE = (ROOT / "docs/metrics.md").read_text("utf-8")
QUIET = {
    # What only trouble moves: ``test_standing`` and the tests of the stages do.
    *("rrd_paused_connections", "rrd_waiting_readers", "rrd_running_commit_seconds", "rrd_open_readers"),
    *("rrd_failed_blocks_total", "rrd_failed_roll_ups_total", "rrd_set_aside_recordings"),
    *("rrd_object_store_away", "rrd_backlog_segments", "rrd_backlog_bytes", "rrd_backlog_age_seconds"),
    *("rrd_measured_age_seconds", "rrd_logged_problems_total", "python_gc_objects_uncollectable_total"),
    # What only a busy event loop moves: ``test_beat`` does.
    *("rrd_beat_seconds", "rrd_beat_sockets"),
}
SECRET = "s3cretmark"
NOTHING_THERE = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"


class Loaded(NamedTuple):
    """What a daemon told that has done some of everything."""

    text: str
    openmetrics: str
    secrets: list[str]


def address_of(daemon: DaemonProcess) -> str:
    found = re.search(r" metrics_listening address=(\S+)", daemon.log())
    assert found
    return found[1]


def scrape(address: str, *, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://{address}{path}", headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def families(text: str) -> dict[str, Metric]:
    """Return the families by the names that a query has."""
    return {
        f"{found.name}_total" if found.type == "counter" else found.name: found for found in parse_text(text)
    }


def sum_of(metric: Metric) -> float:
    if metric.type == "histogram":
        return sum(sample.value for sample in metric.samples if sample.name.endswith("_count"))
    return sum(sample.value for sample in metric.samples)


async def load(daemon: DaemonProcess, key: str, *, erase_key: str) -> str:
    """Have the daemon do some of everything; return what it tells then, with a socket and a watcher open."""
    address = address_of(daemon)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    hostile = {"Origin": f"https://{SECRET}.example", "User-Agent": SECRET, "X-Forwarded-For": "203.0.113.77"}
    recording_id, erased = f"{SECRET}-{new_id()}", new_id()
    body = ndjson([*some_events(30), meta_event(2, **{SECRET: SECRET, "includePii": "true"}), b"no event"])
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(daemon.url))
        for target in (recording_id, recording_id, erased):
            reply = await session.post(f"/recordings/{target}/ingest", data=body, headers=headers | hostile)
            assert reply.status in {200, 207}, await reply.text()
        for path in (f"/recordings/{SECRET}/events?q={SECRET}", f"/{SECRET}"):
            reply = await session.get(path, headers=hostile | {"Authorization": f"Bearer {SECRET}"})
            assert reply.status >= 400
        reply = await session.post(f"/recordings/{recording_id}/ingest", data=body, headers=hostile)
        assert reply.status in {400, 401, 415}
        reply = await session.get(f"/recordings/{recording_id}/events", headers=headers)
        assert len((await reply.read()).splitlines()) == 30
        await stack.enter_async_context(watching(daemon.url, recording_id, key))
        async with watching(daemon.url, recording_id, key):
            pass
        reply = await session.delete(
            f"/recordings/{erased}", headers={"Authorization": f"Bearer {erase_key}"}
        )
        assert reply.status == 200
        ingest = f"/recordings/{recording_id}/ingest/ws"
        sender = await stack.enter_async_context(session.ws_connect(ingest, headers=headers | hostile))
        await sender.send_bytes(ndjson(some_events(10, start=1_800_000_000_000)))

        async def has_all() -> str | None:
            _, text = await asyncio.to_thread(scrape, address)
            found = families(text)
            moved = {name for name in found if sum_of(found[name])}
            return text if moved >= names_of_page() - QUIET else None

        try:
            return await eventually(has_all, what="each figure to move", deadline_s=40)
        except TimeoutError:
            found = families(scrape(address)[1])
            still = {name for name in names_of_page() - QUIET if name not in found or not sum_of(found[name])}
            raise AssertionError(f"these figures don't move: {still}") from None


def rows_of_page() -> dict[str, tuple[str, set[str]]]:
    """Return what the page says: name → type and labels."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*)\|", PAGE, re.MULTILINE)
    return {name: (kind, set(re.findall(r"\w+", labels))) for name, kind, labels in rows}


def names_of_page() -> set[str]:
    return set(rows_of_page())


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    with ExitStack() as stack:
        daemon = DaemonProcess(
            tmp_path_factory.mktemp("scrapes"), metrics_listen="127.0.0.1:0", metrics_tenants="true",
            recording_ids="any", flush_age_ms=20, seal_idle_s=1, rollup_delay_s=0, keep_local_s=0,
            memory_max=1 << 30, disk_reserve_bytes=1,
        )  # fmt: skip
        key, erase_key = daemon.key("all"), daemon.key("erase")
        daemon.start()
        stack.callback(daemon.kill)
        text = asyncio.run(load(daemon, key, erase_key=erase_key))
        openmetrics = "application/openmetrics-text;version=1.0.0"
        yield Loaded(text, scrape(address_of(daemon), Accept=openmetrics)[1], daemon.secrets)
        assert daemon.stop() == 0


def test_what_is_told_is_what_the_page_says(loaded: Loaded) -> None:
    told = {
        name: (metric.type, {label for sample in metric.samples for label in sample.labels} - {"le"})
        for name, metric in families(loaded.text).items()
    }
    page = rows_of_page()
    assert told.keys() == page.keys()
    for name, (kind, labels) in told.items():
        assert kind == page[name][0], name
        assert labels == page[name][1] or not families(loaded.text)[name].samples, name


def test_help_ends_without_a_period_and_names_no_other_type(loaded: Loaded) -> None:
    for name, metric in families(loaded.text).items():
        assert metric.documentation, name
        assert name.startswith("rrd_") is not name.startswith(("process_", "python_")), name


def test_openmetrics_tells_the_same_names(loaded: Loaded) -> None:
    parsed = parse_openmetrics(loaded.openmetrics)  # type: ignore[no-untyped-call]
    told = {found.name for found in parsed}
    text = {name.removesuffix("_total").removesuffix("_info") for name in families(loaded.text)}
    assert {name.removesuffix("_info") for name in told} == text


def test_promtool_finds_nothing_wrong(loaded: Loaded) -> None:
    if shutil.which("promtool") is None:
        assert os.environ.get("TESTS_REQUIRE_TOOLS") != "1", "promtool is missing: Debian package prometheus"
        pytest.skip("promtool is not installed")
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=loaded.text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_no_name_that_an_outsider_chose_is_told(loaded: Loaded) -> None:
    for text in (loaded.text, loaded.openmetrics):
        assert SECRET not in text
        assert "203.0.113.77" not in text
        assert "127.0.0.1" not in text
        assert not any(secret in text for secret in loaded.secrets)


def test_tenants_are_told_only_where_a_setting_says_so(loaded: Loaded) -> None:
    """With the setting only in the two families that are for it; ``test_standing`` has it off."""
    lines = [line for line in loaded.text.splitlines() if "acme" in line]
    assert {line.partition("{")[0] for line in lines} == {"rrd_tenant_recordings", "rrd_tenant_kept_bytes"}


async def scraped(port: int) -> dict[str, Metric]:
    """Return what a daemon on this loop tells."""
    _, text = await asyncio.to_thread(scrape, f"127.0.0.1:{port}")
    return families(text)


async def said(port: int, request: bytes) -> bytes:
    """Return all that the listener says to ``request`` until it ends the connection."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            while part := await reader.read(1 << 16):
                answer += part
        finally:
            writer.transport.abort()
            await writer.wait_closed()
    return answer


async def test_a_start_can_be_watched(tmp_path: Path) -> None:
    port, ready = free_port(), {}
    async with AsyncExitStack() as stack:

        async def look(daemon: LocalDaemon) -> None:
            await listen_for_scrapes(daemon.config, daemon.services, stack)
            ready["before"] = sum_of((await scraped(port))["rrd_ready"])

        async with running(tmp_path, before_recovery=look, metrics_listen=f"127.0.0.1:{port}"):
            ready["after"] = sum_of((await scraped(port))["rrd_ready"])
            await stack.aclose()
    assert ready == {"before": 0, "after": 1}


@contextlib.asynccontextmanager
async def listening(tmp_path: Path, *, scrape_s: float = 15.0) -> AsyncIterator[int]:
    """Yield the port of the metrics of a daemon on this loop."""
    port = free_port()
    async with (
        running(tmp_path, bounds=Bounds(scrape_s=scrape_s), metrics_listen=f"127.0.0.1:{port}") as daemon,
        AsyncExitStack() as stack,
    ):
        await listen_for_scrapes(daemon.config, daemon.services, stack)
        yield port


async def test_only_one_path_is_served_and_only_to_be_read(tmp_path: Path) -> None:
    async with listening(tmp_path) as port:

        async def status(method: str, path: str) -> int:
            found, _ = await asyncio.to_thread(scrape, f"127.0.0.1:{port}", path=path, method=method)
            return found

        assert await status("GET", "/metrics") == 200
        for path in ("/", "/metrics/", "/recordings", "/-/ready", "/statistics"):
            assert await status("GET", path) == 404
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert await status(method, "/metrics") == 405
        head, _, _ = (await said(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")).partition(b"\r\n\r\n")
        assert b"access-control" not in head.lower()
        assert b"connection: close" in head.lower()


async def test_connections_are_few(tmp_path: Path) -> None:
    async with listening(tmp_path) as port, AsyncExitStack() as stack:
        for _ in range(CONNECTIONS_MAX):
            idle = stack.enter_context(socket.socket())
            idle.setblocking(False)
            await asyncio.get_running_loop().sock_connect(idle, ("127.0.0.1", port))
        # They are accepted in their order, so this one comes behind all of them.
        assert await said(port, NOTHING_THERE) == b""
        await stack.aclose()

        async def answers() -> bool:
            return b" 404 " in await said(port, NOTHING_THERE)

        await eventually(answers, what="a place to be free again")


async def test_each_connection_ends(tmp_path: Path) -> None:
    async with listening(tmp_path, scrape_s=0.2) as port:
        requests = (b"", b"GET /metrics HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\n1")
        for request in requests:
            assert b"rrd_ready" not in await said(port, request)


async def test_bodies_and_long_heads_do_no_harm_and_are_no_errors_of_the_daemon(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(tmp_path, scrape_s=2.0) as port:
        for junk in (
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"\0\r\n\r\n",
        ):
            assert b" 500 " not in await said(port, junk)
        assert sum_of((await scraped(port))["rrd_ready"]) == 1
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
