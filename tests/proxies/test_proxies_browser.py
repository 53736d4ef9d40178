"""Pages and the console in a real browser, behind the shipped proxies, by TLS."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.client.client_checks import (
    POST,
    REFUSED_SOCKET,
    SOCKET,
    assert_metadata,
    assert_stored,
    options,
    use_pages,
)
from tests.client.client_lab import RRD, Driver, OpenTab, Tab
from tests.console.lab import ConsoleDaemon, opened_window
from tests.harness import DEADLINE_S, ROOT
from tests.ports import free_port
from tests.proxies.proxy_lab import Proxy, certificate, visiting_proxy
from tests.proxies.served import KINDS, make_proxy
from tests.samples import new_id

pytestmark = pytest.mark.client

PING_INTERVAL_S = 1
IDLE_MS = 2_400
"""As the shipped 60 s are to the 25 s after which rrd pings."""


@contextlib.contextmanager
def _behind(proxy: Proxy, runner: asyncio.Runner, console: ConsoleDaemon) -> Iterator[None]:
    """Have all that the daemon is asked go through the proxy."""
    running = proxy.running()
    runner.run(running.__aenter__())
    try:
        console.scheme, console.port = "https", proxy.port
        yield
    finally:
        console.scheme, console.port = "http", proxy.upstream_port
        runner.run(running.__aexit__(None, None, None))


@pytest.fixture(params=KINDS)
def secure(
    request: pytest.FixtureRequest, driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ConsoleDaemon, asyncio.Runner, Proxy]]:
    """A daemon with the console, behind each proxy in turn: its ``url`` is the proxy's."""
    upstream_port = free_port()
    proxy = make_proxy(request.param, tmp_path, upstream_port)
    proxy.idle_ms = IDLE_MS
    console = ConsoleDaemon(tmp_path, public_url=proxy.url, ping_interval_s=PING_INTERVAL_S)
    console.port = upstream_port
    # What the tests themselves read goes through the proxy as well.
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate().path))
    monkeypatch.setattr(urllib.request, "_opener", None)
    with asyncio.Runner() as runner:
        console.start()
        try:
            with _behind(proxy, runner, console):
                yield console, runner, proxy
        finally:
            console.stop()


async def _stay_silent(proxy: Proxy, console: ConsoleDaemon) -> None:
    """Return when a socket of our own has heard so many pings that three idle cuts have passed."""
    url = f"{proxy.url}/recordings/{new_id()}/ingest/ws?token={console.key}"
    async with visiting_proxy() as visitor, visitor.ws_connect(url, autoping=False) as socket:
        for _ in range(3 * IDLE_MS // (1000 * PING_INTERVAL_S) + 1):
            message = await socket.receive(timeout=DEADLINE_S)
            assert message.type == aiohttp.WSMsgType.PING
            await socket.pong(message.data)


def _started(console: ConsoleDaemon, open_tab: OpenTab, path: str) -> Tab:
    tab = open_tab(flags=certificate().flags)
    tab.visit()
    tab.call("start", options(console, path, meta={"sessionId": "s-1"}))
    return tab


def test_pages_are_recorded_and_watched_by_tls_and_sockets_outlive_the_idle_cut(
    secure: tuple[ConsoleDaemon, asyncio.Runner, Proxy], driver: Driver, open_tab: OpenTab
) -> None:
    console, runner, proxy = secure
    by_socket, by_post = (_started(console, open_tab, path) for path in (SOCKET, POST))
    use_pages(by_socket, by_post)
    for tab in (by_socket, by_post):
        assert_stored(console, tab.recording_id(), tab.emitted(tab.recording_id()))
        assert_metadata(console, tab.recording_id(), {"sessionId": "s-1"})

    runner.run(_stay_silent(proxy, console))
    by_socket.call("addText", 40, "after the silence ")
    by_socket.settle()
    assert_stored(console, by_socket.recording_id(), by_socket.emitted(by_socket.recording_id()))
    seen = by_socket.seen()
    assert [(socket["url"].split(":")[0], socket["closed"]) for socket in seen.sockets] == [("wss", False)]
    assert (seen.posts, seen.complaints()) == ([], [])
    seen = by_post.seen()
    assert {post["status"] for post in seen.posts} == {200}
    assert seen.complaints(REFUSED_SOCKET) == []

    signing_in = subprocess.run(
        [*RRD, "console", "--data-dir", str(console.data_dir)],
        cwd=ROOT, env=console.environment(), capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert signing_in.startswith(f"{proxy.url}/console/#")
    with opened_window(driver, "tls", console, key=None, flags=certificate().flags) as window:
        window.do("visit", url=signing_in)
        window.wait("location.hash.startsWith('#/list')")
        window.goto(f"#/live/t/{by_socket.recording_id()}")
        window.wait_for_replay("after the silence")
        by_socket.call("addText", 40, "seen while it happens ")
        window.wait_for_replay("seen while it happens")
        # Before the sign-in there is no session; and one name is both the console's and the stage's.
        window.check("the server responded with a status of 401", "can escape its sandboxing")
    for log in proxy.directory.glob("*.log"):
        text = log.read_text(errors="replace")
        assert [
            trace for trace in (console.key, "token=", by_socket.recording_id()) if trace in text
        ] == [], log
