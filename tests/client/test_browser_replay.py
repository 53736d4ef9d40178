"""The acceptance test of the client's authors, whole: two recordings of one session as one replay."""

from __future__ import annotations

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
from tests.client.client_lab import Daemon, Event, OpenTab, wait_for

pytestmark = pytest.mark.client


def test_both_recordings_of_a_session_are_one_replay(daemon: Daemon, open_tab: OpenTab) -> None:
    """Over the socket: by POST the client keeps its second recording until the page is hidden."""
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


def _as_sent(replay: list[Event]) -> list[Event]:
    """Return events of a replay as they were recorded."""
    added = {"sequenceId", "recordingId", "originalTimestamp"}
    return [
        {key: value for key, value in event.items() if key not in added}
        | {"timestamp": event["originalTimestamp"]}
        for event in replay
    ]
