"""The acceptance test of the client's authors, whole: two recordings of one session as one replay."""

from __future__ import annotations

import json
import urllib.parse
import uuid

import pytest

from tests.client.client_checks import (
    EVENTS_DEADLINE_S,
    FULL_SNAPSHOT,
    META_EVENT,
    SOCKET,
    assert_metadata,
    assert_stored,
    custom_tags,
    options,
    use_pages,
)
from tests.client.client_lab import Daemon, Driver, Event, OpenTab, Tab, wait_for

pytestmark = pytest.mark.client


def test_both_recordings_of_a_session_are_one_replay(daemon: Daemon, open_tab: OpenTab) -> None:
    """Over the socket. By POST the client keeps one list and two timers: that of the first recording goes on,
    and sends under its id what the second one says.
    """
    tab = open_tab()
    tab.visit()
    session_id = str(uuid.uuid4())
    start = options(daemon, SOCKET, meta={"sessionId": session_id})
    tab.call("start", start)
    first = tab.recording_id()
    use_pages(tab)
    tab.call("addMeta", {"reality": "updated"})
    emitted = tab.emitted(first)
    assert_stored(daemon, first, emitted)
    assert_metadata(daemon, first, {"sessionId": session_id, "reality": "updated"})

    tab.call("stop", True)
    tab.call("start", start)
    second = tab.recording_id()
    query = urllib.parse.quote(f"meta[sessionId]={session_id}", safe="=")

    def composed() -> list[Event] | None:
        found: list[Event] = daemon.get(f"/replay?{query}")
        ids = {event["recordingId"] for event in found}
        return found if len(ids) == 2 and custom_tags(found) else None

    replay = wait_for(composed, deadline_s=EVENTS_DEADLINE_S, what="both recordings and the close event")

    assert {event["recordingId"] for event in replay} == {first, second}
    assert custom_tags(replay) == ["close-permanent"]
    ids = [event["recordingId"] for event in replay]
    assert ids == sorted(ids, key=[first, second].index)
    times = [event["timestamp"] for event in replay]
    assert times[0] == 0
    assert times == sorted(times)
    assert _as_sent(replay[: len(emitted)]) == emitted
    of_second = [event for event in replay if event["recordingId"] == second]
    assert [event["type"] for event in of_second][:2] == [META_EVENT, FULL_SNAPSHOT]
    assert tab.seen().complaints() == []


PLAYER = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body><script type="module">
import { Replayer } from '/modules/@rrweb/replay/dist/replay.js';
const events = await (await fetch('/replay.json')).json();
const replayer = new Replayer(events, { root: document.body, mouseTail: false });
window.lab = {
  at(time) {
    replayer.pause(time);
    return replayer.iframe.contentDocument.body.innerText;
  },
};
</script>"""


def test_a_replay_shows_what_each_page_showed(daemon: Daemon, driver: Driver, open_tab: OpenTab) -> None:
    """Two tabs in turn, one of which goes to a second page, played by rrweb's own replayer."""
    session_id = str(uuid.uuid4())
    start = options(daemon, SOCKET, emit="keepEvent", meta={"sessionId": session_id})
    tabs = [open_tab(), open_tab()]
    notes: list[tuple[str, float, str]] = []

    def note(tab: Tab, text: str) -> None:
        tab.call("addText", len(text), text)
        tab.settle()
        tab.wait("lab.drained()")
        shown_at, shown = tab.call("shown")
        assert text in shown
        notes.append((tab.recording_id(), shown_at, shown))

    for number, tab in enumerate(tabs):
        tab.visit(autostart=start)
        tab.wait("lab.emittedAt < Infinity")
        note(tab, f"first line of tab {number}")
    note(tabs[0], "second line of tab 0")
    tabs[0].visit(autostart=start)
    tabs[0].wait("lab.emittedAt < Infinity")
    note(tabs[0], "another page of tab 0")
    note(tabs[1], "second line of tab 1")

    query = urllib.parse.quote(f"meta[sessionId]={session_id}", safe="=")
    counts = {tab.recording_id(): len(tab.emitted(tab.recording_id())) for tab in tabs}

    def composed() -> list[Event] | None:
        found: list[Event] = daemon.get(f"/replay?{query}")
        return found if len(found) >= sum(counts.values()) else None

    replay = wait_for(composed, deadline_s=EVENTS_DEADLINE_S, what="all that was recorded")
    driver.do("serve", path="/replay.json", type="application/json", body=json.dumps(replay))
    driver.do("serve", path="/player.html", type="text/html", body=PLAYER)
    player = open_tab()
    player.visit("player.html")
    player.wait("window.lab !== undefined")
    for recording_id, shown_at, shown in notes:
        time = max(
            event["timestamp"]
            for event in replay
            if event["recordingId"] == recording_id and event["originalTimestamp"] <= shown_at
        )
        _until_shown(player, time + 0.5, shown)


def _until_shown(player: Tab, time: float, text: str) -> None:
    """Wait until the replayer shows a text at a time; it draws a little later than it is told."""

    def shows() -> bool | None:
        return player.call("at", time) == text or None

    wait_for(shows, deadline_s=EVENTS_DEADLINE_S, what=f"the replayer to show {text!r} at {time}")


def _as_sent(replay: list[Event]) -> list[Event]:
    """Return events of a replay as they were recorded."""
    added = {"sequenceId", "recordingId", "originalTimestamp"}
    return [
        {key: value for key, value in event.items() if key not in added}
        | {"timestamp": event["originalTimestamp"]}
        for event in replay
    ]
