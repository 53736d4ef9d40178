"""A live view in a browser: the watcher sees what the visitor's page says, and hears how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.assets.building import built_assets
from tests.client.client_lab import Driver, OpenTab, wait_for
from tests.client.conftest import open_tab as open_tab  # noqa: PLC0414 – a fixture that is the same here
from tests.console.conftest import OwnConsole
from tests.console.lab import TENANT, TEXT, ConsoleDaemon, ConsoleWindow, OpenWindow, console_page
from tests.harness import Keys
from tests.proxies.served import KINDS, make_proxy

pytestmark = pytest.mark.client

# A page that says what time it is, ten times a second.
CLOCK = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>clock</title>
<p id="now">0</p><script>
  setInterval(() => (document.querySelector('#now').textContent = Date.now()), 100);
</script>%s"""
BEHIND = "Date.now() - Number(document.querySelector('#now').innerText)"
BEHIND_MAX_MS = 2000


def now_ms() -> int:
    return int(time.time() * 1000)


def an_event(kind: int, **data: Any) -> bytes:
    return json.dumps({"type": kind, "timestamp": now_ms(), "data": data}).encode()


def a_text(words: str) -> bytes:
    """Return the change of the page's text, as of now."""
    change = {"texts": [{"id": TEXT, "value": words}], "attributes": [], "removes": [], "adds": []}
    return an_event(3, source=0, **change)


def watched(console: ConsoleDaemon, open_window: OpenWindow) -> tuple[ConsoleWindow, Callable[..., str]]:
    """Open the live view of a new recording; return how to store more of it, too."""
    recording_id = console.post(console_page("begin", start=now_ms()))
    window = open_window(console)
    window.goto(f"#/live/{TENANT}/{recording_id}")
    window.wait_for_replay("begin")

    def store(*lines: bytes) -> str:
        return console.post(lines, recording_id=recording_id)

    return window, store


@contextlib.contextmanager
def behind(kind: str, console: ConsoleDaemon, directory: Path) -> Iterator[None]:
    """Have all that a daemon is asked go through a proxy of this kind, the console and the recorder too."""
    proxy = make_proxy(kind, directory, console.port, speaks_tls=False)
    with asyncio.Runner() as runner:
        running = proxy.running()
        runner.run(running.__aenter__())
        try:
            console.port = proxy.port
            yield
        finally:
            console.port = proxy.upstream_port
            runner.run(running.__aexit__(None, None, None))


@pytest.mark.parametrize("kind", ["no proxy", *KINDS])
def test_a_real_page_is_seen_within_two_seconds(
    driver: Driver,
    own_console: OwnConsole,
    open_tab: OpenTab,
    open_window: OpenWindow,
    tmp_path: Path,
    kind: str,
) -> None:
    """With the settings that a daemon has by default, and while the visitor goes on for a while."""
    built_assets()
    console = own_console(flush_age_ms=1000)
    with contextlib.nullcontext() if kind == "no proxy" else behind(kind, console, tmp_path):
        see_within_two_seconds(driver, console, open_tab, open_window)


def see_within_two_seconds(
    driver: Driver, console: ConsoleDaemon, open_tab: OpenTab, open_window: OpenWindow
) -> None:
    options = json.dumps({"publicApiKey": console.key})
    tag = f'<script src="{console.url}/record.js" autostart>{options}</script>'
    driver.do("serve", path="/clock.html", type="text/html", body=CLOCK % tag)
    tab = open_tab()
    tab.visit("clock.html")
    tab.wait("window.rrwebBrowserClient?.getRecordingId()")
    recording_id = str(tab.do("evaluate", expression="rrwebBrowserClient.getRecordingId()"))
    wait_for(lambda: console.events(recording_id) or None, deadline_s=20, what="the first events")
    window = open_window(console)
    window.goto(f"#/live/{TENANT}/{recording_id}")
    for _ in range(5):
        window.wait(f"{BEHIND} < {BEHIND_MAX_MS}", where="replay")
    window.check()


def test_each_page_of_the_visitor_follows_the_other(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    window, store = watched(console, open_window)
    for number in range(3):
        store(a_text(f"step {number}"))
        window.wait_for_replay(f"step {number}")
    store(*console_page("another", start=now_ms(), url="https://shop.example/b"))
    window.wait_for_replay("another")
    window.wait_for_text("Page 2", ".panel")
    store(a_text("and on"))
    window.wait_for_replay("and on")
    window.screenshot("live")
    window.check()


def test_a_restart_of_the_daemon_is_told_and_got_over(
    own_console: OwnConsole, open_window: OpenWindow
) -> None:
    console = own_console()
    window, store = watched(console, open_window)
    console.stop()
    window.wait_for_text("The server is away, trying again", ".notes")
    window.screenshot("live-away")
    console.start()
    store(a_text("after the restart"))
    window.wait_for_replay("after the restart")
    window.wait("!document.querySelector('.notes').innerText.includes('away')")
    window.check("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "503")


def test_who_pauses_leaves_the_live_view_and_may_come_back(
    console: ConsoleDaemon, open_window: OpenWindow
) -> None:
    window, store = watched(console, open_window)
    for words in ["before", "after"]:  # Its clock is told ten times a second.
        store(a_text(words))
        window.wait_for_replay(words)
    window.press("Space")
    window.wait("location.hash.startsWith('#/watch/') && location.hash.includes('t=')")
    window.wait("/before|after/.test(document.body.innerText)", where="replay")
    store(a_text("meanwhile"))
    window.click("role=button[name='Live']")
    window.wait("location.hash.startsWith('#/live/')")
    window.wait_for_replay("meanwhile")
    window.check()


def test_the_end_of_a_visit_is_told(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    window, store = watched(console, open_window)
    store(a_text("goodbye"), an_event(5, tag="close-permanent", payload={}))
    window.wait_for_text("The visit is over.", ".notes")
    window.wait_for_replay("goodbye")
    window.check()


def test_what_is_erased_is_seen_no_longer(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    window, store = watched(console, open_window)
    headers = {"Authorization": f"Bearer {Keys(str(console.data_dir)).key('erase', tenant=TENANT)}"}
    target = f"{console.url}/recordings/{store(a_text('secret'))}"

    def is_erased() -> bool | None:
        asked = urllib.request.Request(target, headers=headers, method="DELETE")
        try:
            with urllib.request.urlopen(asked) as answer:
                return bool(answer.status < 300)
        except urllib.error.HTTPError as error:
            with error:
                return None if error.code == 401 else False  # The key is new.

    assert wait_for(is_erased, deadline_s=20, what="the key to count")
    window.wait_for_text("This recording was erased.", ".notes")
    window.wait("getComputedStyle(document.querySelector('iframe.stage')).display === 'none'")
    window.check()


def test_a_page_without_a_snapshot_is_waited_for(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    recording_id = console.post([an_event(3, source=3, id=1, x=0, y=0)])
    window = open_window(console)
    window.goto(f"#/live/{TENANT}/{recording_id}")
    window.wait_for_text("Waiting for the next full snapshot", ".notes")
    window.screenshot("live-waiting")
    console.post(console_page("here it is", start=now_ms()), recording_id=recording_id)
    window.wait_for_replay("here it is")
    window.check()
