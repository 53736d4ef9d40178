"""A page that was exported replays its recording from a disk, and a hostile recording gets nowhere in it."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.assets.building import built_assets
from tests.client.client_checks import EVENTS_DEADLINE_S, FULL_SNAPSHOT, META_EVENT
from tests.client.client_lab import ROOT, RRD, Daemon, Driver, Event, OpenTab, Tab, wait_for
from tests.client.hostile_page import hostile_recording
from tests.client.listening import Listener

pytestmark = pytest.mark.client

SHOP = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8"><title>A shop</title><link rel="icon" href="data:,">
    <style>.secret { display: none } th::after { content: " :" }</style>
    <script src="SCRIPT" autostart>{"publicApiKey": "KEY"}</script>
  </head>
  <body>
    <h1>A shop &lt;/script&gt; with <em>odd</em> texts</h1>
    <noscript>No script</noscript>
    <p class="secret">Not shown</p>
    <table><tr><th>Bread</th><td id="count">0</td></tr></table>
    <ul id="list"></ul>
    <div id="host"></div>
    <button id="add">Add</button>
    <script>
      document.querySelector('#host').attachShadow({ mode: 'open' }).innerHTML = '<b>in the shade</b>';
      let count = 0;
      document.querySelector('#add').onclick = () => {
        document.querySelector('#count').textContent = ++count;
        const line = document.createElement('li');
        line.textContent = `line ${count} <${'/'}script><!${'--'} \\u{1F642}`;
        document.querySelector('#list').prepend(line);
        if (count === 2) document.querySelector('.secret').className = '';
        if (count === 3) document.querySelector('h1').remove();
      };
    </script>
  </body>
</html>
"""
FRAME = "document.querySelector('#stage iframe').contentDocument"


@pytest.fixture(scope="module", autouse=True)
def _assets() -> None:
    built_assets()


def exported(daemon: Daemon, recording_id: str, path: Path) -> Path:
    """Export a recording with the command, to a file."""
    command = ["export", "--data-dir", str(daemon.data_dir), "--html", recording_id, "--output", str(path)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RRD_")}
    done = subprocess.run([*RRD, *command], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return path


def open_page(tab: Tab, path: Path) -> str:
    """Open an exported page from the disk, and return its state once it has read its events."""
    tab.do("goto", url=path.as_uri())

    def state() -> str | None:
        found: str | None = tab.do("evaluate", expression="document.body.dataset.state")
        return found

    return wait_for(state, deadline_s=EVENTS_DEADLINE_S, what="the page to be read")


def text_at(tab: Tab, ms: float) -> str:
    """Move the page's slider to a time, and return the text that a person reads then."""
    tab.do(
        "evaluate",
        expression=f"seek.value = {ms}; seek.dispatchEvent(new Event('input'));",
    )
    return str(tab.do("evaluate", expression=f"{FRAME}.body.innerText"))


def test_the_text_is_the_pages_own_at_each_time(
    daemon: Daemon, driver: Driver, open_tab: OpenTab, tmp_path: Path
) -> None:
    head = SHOP.replace("SCRIPT", f"{daemon.url}/record.js").replace("KEY", daemon.key)
    driver.do("serve", path="/shop/export.html", type="text/html", body=head)
    tab = open_tab()
    tab.visit("shop/export.html")
    recording_id = str(tab.do("evaluate", expression="rrwebBrowserClient.getRecordingId()"))
    seen: list[tuple[int, str]] = []

    def look() -> None:
        # After all that was drawn is recorded: the recorder hears of a change in a microtask.
        now = "setTimeout(() => done([Date.now(), document.body.innerText]), 20)"
        at_ms, text = tab.do("evaluate", expression=f"new Promise((done) => {now})")
        seen.append((at_ms, text))

    look()
    for _ in range(4):
        tab.do("click", selector="#add")
        look()
    assert len({text for _, text in seen}) == 5

    def all_there() -> list[Event] | None:
        events = daemon.events(recording_id)
        # A change that is the last one seen has been stored.
        return events if any("line 4" in json.dumps(event) for event in events) else None

    events = wait_for(all_there, deadline_s=EVENTS_DEADLINE_S, what="the last change")
    first = next(index for index, event in enumerate(events) if event["type"] == FULL_SNAPSHOT)
    while first and events[first - 1]["type"] in (0, 1, META_EVENT):
        first -= 1
    start_ms = events[first]["timestamp"]

    page = open_tab()
    assert open_page(page, exported(daemon, recording_id, tmp_path / "visit.html")) == "ready"
    for number in (2, 0, 4, 1, 3):
        at_ms, text = seen[number]
        assert text_at(page, at_ms - start_ms) == text, f"at look {number}"

    # It plays, too: from its beginning to its end, where it stops.
    text_at(page, 0)
    page.do("evaluate", expression="speed.value = 8; speed.dispatchEvent(new Event('change')); play.click();")

    def over() -> bool | None:
        return page.do("evaluate", expression="play.textContent === 'Play'") or None

    wait_for(over, deadline_s=EVENTS_DEADLINE_S, what="the end")
    assert page.do("evaluate", expression=f"{FRAME}.body.innerText") == seen[-1][1]
    seen_there = page.seen()
    assert (seen_there.posts, seen_there.sockets, seen_there.errors) == ([], [], [])


@pytest.fixture
def listen() -> Iterator[Callable[[], Listener]]:
    made: list[Listener] = []

    def one() -> Listener:
        made.append(Listener())
        return made[-1]

    yield one
    for listener in made:
        listener.close()


def post(daemon: Daemon, events: list[Any]) -> str:
    recording_id = str(uuid.uuid4())
    request = urllib.request.Request(
        f"{daemon.url}/recordings/{recording_id}/ingest",
        data=json.dumps(events).encode(),
        headers={"Authorization": f"Bearer {daemon.key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["successful_rows"] == len(events)
    return recording_id


CONTROL = """<!doctype html><link rel="icon" href="data:,"><link rel="preconnect" href="HINTED">
<img src="FETCHED/x.png"><p>control</p>"""


def test_a_hostile_recording_runs_no_script_and_connects_to_nothing(
    daemon: Daemon, driver: Driver, open_tab: OpenTab, tmp_path: Path, listen: Callable[[], Listener]
) -> None:
    listener, hinted, fetched = listen(), listen(), listen()
    recording_id = post(daemon, hostile_recording(f"http://127.0.0.1:{listener.port}"))
    tab = open_tab(has_profile=True)
    path = exported(daemon, recording_id, tmp_path / "hostile.html")
    assert open_page(tab, path) == "ready"
    end_ms = float(tab.do("evaluate", expression="seek.max"))
    for at_ms in (0.0, end_ms / 2, end_ms):
        assert "still here" in text_at(tab, at_ms)
    tab.do("evaluate", expression="play.click();")
    frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    tab.do("evaluate", expression=frames)
    assert "still here" in text_at(tab, end_ms)
    marks = "[globalThis, document.querySelector('#stage iframe').contentWindow].some((one) => one.pwned)"
    assert tab.do("evaluate", expression=marks) is False
    # A person can't click on what is in the frame. If it could be, nothing would come of it.
    click_all = f"for (const one of {FRAME}.querySelectorAll('a, button, input')) one.click?.();"
    tab.do("evaluate", expression=click_all)
    tab.do("evaluate", expression=frames)

    assert tab.do("evaluate", expression="[location.protocol, globalThis.pwned === undefined]") == [
        "file:",
        True,
    ]

    # The same browser shows that it would connect, and has had the time to.
    body = CONTROL
    for name, control in (("HINTED", hinted), ("FETCHED", fetched)):
        body = body.replace(name, f"http://127.0.0.1:{control.port}")
    driver.do("serve", path="/control.html", type="text/html", body=body)
    tab.visit("control.html")

    def both() -> bool | None:
        return (hinted.connections > 0 and fetched.connections > 0) or None

    wait_for(both, deadline_s=EVENTS_DEADLINE_S, what="two connections")
    assert listener.connections == 0

    assert [line for line in tab.seen().complaints() if "pwned" in line] == []


@pytest.mark.parametrize("cut", [0.4, 0.9, 0.999])
def test_a_file_that_was_cut_short_says_so(
    daemon: Daemon, open_tab: OpenTab, tmp_path: Path, cut: float
) -> None:
    noise = os.urandom(300_000).hex()
    snapshot = hostile_recording("http://127.0.0.1:1")[:2]
    late = {"type": 5, "timestamp": snapshot[-1]["timestamp"] + 9, "data": {"tag": "noise", "payload": noise}}
    recording_id = post(daemon, [*snapshot, late])
    path = exported(daemon, recording_id, tmp_path / "whole.html")
    whole = path.read_bytes()
    start = whole.index(b'<script type="application/gzip">')
    path.write_bytes(whole[: start + int((len(whole) - start) * cut)])
    tab = open_tab()
    assert open_page(tab, path) in {"ready", "empty"}
    status = str(tab.do("evaluate", expression="document.querySelector('#status').textContent"))
    assert "ends too early" in status


def test_a_part_without_a_snapshot_says_what_to_do(daemon: Daemon, open_tab: OpenTab, tmp_path: Path) -> None:
    recording_id = post(daemon, [{"type": 3, "timestamp": 5, "data": {"source": 3, "id": 1, "x": 0, "y": 1}}])
    tab = open_tab()
    assert open_page(tab, exported(daemon, recording_id, tmp_path / "part.html")) == "empty"
    status = str(tab.do("evaluate", expression="document.querySelector('#status').textContent"))
    assert "no full snapshot" in status
    assert "`from`" in status
