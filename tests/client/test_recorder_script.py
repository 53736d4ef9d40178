"""``/record.js`` records pages of another origin, however they load it: as tags, by script, beside loaders.

Each page below loads the script in one way, and says how it starts. What the visitor does must arrive, over a
socket to the daemon that the script came from, and the page must find its own things as they were.
"""

from __future__ import annotations

import json

import pytest

from tests.assets.building import built_assets
from tests.client.client_checks import (
    EVENTS_DEADLINE_S,
    FULL_SNAPSHOT,
    INCREMENTAL_SNAPSHOT,
    META_EVENT,
)
from tests.client.client_lab import Daemon, Driver, Event, OpenTab, Tab, wait_for

pytestmark = pytest.mark.client

PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8"><title>A shop</title><link rel="icon" href="data:,">
    <script>
      const lab = { client: () => window.rrwebBrowserClient, id: () => lab.client().getRecordingId() };
    </script>
    {head}
  </head>
  <body><button id="add" onclick="document.body.append('one more')">Add</button></body>
</html>
"""
MOUSE_INTERACTION = 2
AMD = """<script>
  lab.defined = [];
  window.define = (...given) => lab.defined.push(given.length);
  window.define.amd = {};
</script>"""
COMMON_JS = (
    "<script>window.module = { exports: { mine: true } }; window.exports = window.module.exports;</script>"
)
INJECTED = """<script>
  const script = document.createElement('script');
  script.src = SCRIPT;
  script.onload = () => rrwebBrowserClient.start({ publicApiKey: KEY });
  document.head.append(script);
</script>"""
INJECTED_WITH_OPTIONS = """<script>
  const script = document.createElement('script');
  script.src = SCRIPT;
  script.setAttribute('autostart', '');
  script.textContent = JSON.stringify({ publicAPIkey: KEY });
  document.head.append(script);
</script>"""
EVALUATED = """<script>
  fetch(SCRIPT).then((answer) => answer.text()).then((text) => {
    const script = document.createElement('script');
    script.textContent = text;
    document.head.append(script);
    rrwebBrowserClient.start({ publicApiKey: KEY, serverUrl: SERVER });
  });
</script>"""
GUARDED = """<meta http-equiv="Content-Security-Policy" content="require-trusted-types-for 'script'">
<script src=SCRIPT autostart>{"publicAPIkey": KEY}</script>"""


def started(options: str) -> str:
    return f"<script src=SCRIPT></script><script>rrwebBrowserClient.start({options});</script>"


HEADS = {
    "the vendor's snippet": '<script src=SCRIPT autostart async>{"publicAPIkey": KEY}</script>',
    "the vendor's snippet, deferred": '<script src=SCRIPT autostart defer>{"publicAPIkey": KEY}</script>',
    "autostart in the options": '<script src=SCRIPT>{"autostart": true, "publicApiKey": KEY}</script>',
    "options with comments": '<script src=SCRIPT autostart="on">\n//\n{"public_api_key": KEY,}\n</script>',
    "under the bundle's own name": '<script src=UMD autostart>{"publicAPIkey": KEY}</script>',
    "a server that is named": '<script src=SCRIPT autostart>{"publicApiKey":KEY,"serverUrl":SERVER}</script>',
    "a path without an id": (
        '<script src=SCRIPT autostart>{"publicApiKey": KEY, "serverUrl": "/collect/ws"}</script>'
    ),
    "options in the tag, start() later": (
        '<script src=SCRIPT>{"publicAPIkey": KEY}</script><script>rrwebBrowserClient.start();</script>'
    ),
    "start()": started("{ publicApiKey: KEY, checkoutEveryNms: 300000 }"),
    "start(), the vendor's spelling": started("{ publicAPIkey: KEY }"),
    "start() with underscores": started("{ public_api_key: KEY }"),
    "default.start()": (
        "<script src=SCRIPT></script><script>rrwebBrowserClient.default.start({publicApiKey: KEY});</script>"
    ),
    "an AMD loader": AMD + '<script src=SCRIPT autostart>{"publicAPIkey": KEY}</script>',
    "an AMD loader, start()": AMD + started("{ publicApiKey: KEY }"),
    "globals of CommonJS": COMMON_JS + started("{ publicApiKey: KEY }"),
    "injected": INJECTED,
    "injected with options": INJECTED_WITH_OPTIONS,
    "injected beside an AMD loader": AMD + INJECTED,
    "evaluated": EVALUATED,
    "a page that guards its scripts": GUARDED,
}


def visit(daemon: Daemon, driver: Driver, tab: Tab, head: str) -> None:
    """Load a page with this in its head."""
    for name, value in (
        ("SCRIPT", f"{daemon.url}/record.js"),
        ("UMD", f"{daemon.url}/browser-client.umd.cjs"),
        ("SERVER", daemon.url + "/recordings/{recordingId}/events/ws"),
        ("KEY", daemon.key),
    ):
        head = head.replace(name, json.dumps(value))
    driver.do("serve", path="/shop/page.html", type="text/html", body=PAGE.replace("{head}", head))
    tab.visit("shop/page.html")


def click_of(daemon: Daemon, recording_id: str) -> list[Event] | None:
    stored = daemon.events(recording_id)
    clicked = [
        event
        for event in stored
        if event["type"] == INCREMENTAL_SNAPSHOT and event["data"]["source"] == MOUSE_INTERACTION
    ]
    return stored if clicked else None


@pytest.fixture(scope="module", autouse=True)
def _assets() -> None:
    built_assets()


@pytest.mark.table
@pytest.mark.parametrize("name", HEADS)
def test_events_arrive(daemon: Daemon, driver: Driver, open_tab: OpenTab, name: str) -> None:
    tab = open_tab(host="localhost")
    visit(daemon, driver, tab, HEADS[name])
    tab.wait("window.rrwebBrowserClient && sessionStorage.getItem('rrweb-browser-client-recording-id')")
    tab.do("click", selector="#add")
    recording_id = str(tab.call("id"))
    stored = wait_for(
        lambda: click_of(daemon, recording_id), deadline_s=EVENTS_DEADLINE_S, what="the visitor's click"
    )
    assert {META_EVENT, FULL_SNAPSHOT} <= {event["type"] for event in stored}

    seen = tab.seen()
    assert seen.complaints() == []
    assert [socket["url"].partition("?")[0].rpartition("/recordings")[0] for socket in seen.sockets] == (
        [f"ws://127.0.0.1:{daemon.port}"] if "without an id" not in name else [""]
    )
    # The page's own things are as they were.
    tab.wait("!Object.hasOwn(document, 'currentScript')")
    if "AMD" in name:
        tab.wait("lab.defined.length === 0 && define.amd")
    if "CommonJS" in name:
        tab.wait("module.exports.mine && exports.mine && Object.keys(exports).length === 1")


INLINE = """<script>
  fetch(SCRIPT).then((answer) => answer.text()).then((text) => {
    const script = document.createElement('script');
    script.textContent = text;
    WAY
    lab.done = true;
  });
</script>"""
WAYS = {
    "start(options)": "document.head.append(script); rrwebBrowserClient.start({ publicApiKey: KEY });",
    "start()": "(0, eval)(text); rrwebBrowserClient.start();",
    "autostart": "script.setAttribute('autostart', ''); document.head.append(script);",
}


@pytest.mark.table
@pytest.mark.parametrize("way", WAYS)
def test_a_script_that_knows_no_server_records_nothing_and_says_so(
    daemon: Daemon, driver: Driver, open_tab: OpenTab, way: str
) -> None:
    """The client by itself would send the visit to its vendor."""
    tab = open_tab()
    visit(daemon, driver, tab, INLINE.replace("WAY", WAYS[way]))
    tab.wait("lab.done")
    tab.do("click", selector="#add")
    seen = tab.seen()
    assert (seen.sockets, seen.posts) == ([], [])
    assert any("say serverUrl" in line for line in seen.complaints())


def test_options_that_are_no_json_are_told_and_nothing_goes_to_the_vendor(
    daemon: Daemon, driver: Driver, open_tab: OpenTab
) -> None:
    tab = open_tab()
    visit(daemon, driver, tab, "<script src=SCRIPT autostart>{publicApiKey: KEY}</script>")
    tab.wait("window.rrwebBrowserClient")
    seen = tab.seen()
    assert any("the options in the script tag are no JSON" in line for line in seen.complaints())
    hosts = {url["url"].split("/")[2] for url in (*seen.sockets, *seen.posts)}
    assert hosts <= {f"127.0.0.1:{daemon.port}"}
