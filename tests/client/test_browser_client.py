"""``@rrweb/browser-client`` as published, in headless Chromium, records pages of another origin.

Most tests follow the client's own integration test: what it emitted must be readable within
seven seconds, equal in number, order and content, and its metadata within eight.

The client has two ways to send. A ``serverUrl`` that ends in ``/ws`` opens a socket and sends one
event a message. Any other is refused as a socket, upon which the client POSTs what it has
gathered: every five seconds, and when its page is hidden. Both must give the same recording.
"""

from __future__ import annotations

import json

import pytest

from tests.client.client_checks import (
    BODY_UNITS_WITHOUT_REPEATS,
    EVENTS_DEADLINE_S,
    FULL_SNAPSHOT,
    INCREMENTAL_SNAPSHOT,
    META_EVENT,
    POST,
    REFUSED_SOCKET,
    SOCKET,
    assert_metadata,
    assert_stored,
    custom_tags,
    largest_body,
    options,
    until_hidden,
    use_pages,
    utf16_units,
)
from tests.client.client_lab import Daemon, Event, OpenTab, wait_for

pytestmark = pytest.mark.client

# Without an id in the path the client adds ?recordingId=.
OTHER_SOCKETS = ["/recordings/{recordingId}/ingest/ws", "/events/ws", "/ingest/ws"]
OTHER_POSTS = ["/recordings/{recordingId}/ingest", "/events", "/ingest"]

# A string that ends with the first half of a surrogate pair, as JSON writes it.
HALF_EMOJI = '\\ud83d"'

META = {"sessionId": "s-1", "premium": True, "ratio": 1.5}
META_STORED = {"sessionId": "s-1", "premium": "true", "ratio": "1.5", "includePii": "false"}


@pytest.mark.parametrize(
    "path", [SOCKET, *(pytest.param(path, marks=pytest.mark.slow) for path in OTHER_SOCKETS)]
)
def test_recording_over_the_socket_comes_back_as_emitted(
    daemon: Daemon, open_tab: OpenTab, path: str
) -> None:
    tab = open_tab()
    tab.visit()
    tab.call("start", options(daemon, path, meta=META))
    recording_id = tab.recording_id()
    use_pages(tab)
    tab.call("addMeta", {"reality": "updated"})

    emitted = tab.emitted(recording_id)
    assert HALF_EMOJI in json.dumps(emitted)
    assert_stored(daemon, recording_id, emitted)
    assert_metadata(daemon, recording_id, {**META_STORED, "reality": "updated", "domain": "127.0.0.1"})

    seen = tab.seen()
    assert [len(socket["sent"]) for socket in seen.sockets] == [len(emitted) + 2]  # and two of metadata
    assert seen.posts == []
    # A message of the server would be a line here: the client logs each one.
    assert seen.complaints() == []


def test_recording_over_post_comes_back_as_emitted(daemon: Daemon, open_tab: OpenTab) -> None:
    """The three forms of URL at once, since each takes the five seconds that the client waits.

    Enough is recorded for several POSTs in a row, each of which holds all lines of those before.
    """
    tabs = {path: open_tab() for path in (POST, *OTHER_POSTS)}
    for path, tab in tabs.items():
        tab.visit()
        tab.call("start", options(daemon, path, meta=META))
        tab.call("addMeta", {"reality": "updated"})
        for _ in range(4):
            tab.call("addText", 40_000, "long text ")
    use_pages(*tabs.values())

    for tab in tabs.values():
        recording_id = tab.recording_id()
        emitted = tab.emitted(recording_id)
        assert HALF_EMOJI in json.dumps(emitted)
        assert_stored(daemon, recording_id, emitted)
        assert_metadata(daemon, recording_id, {**META_STORED, "reality": "updated", "domain": "127.0.0.1"})

        seen = tab.seen()
        assert [post["status"] for post in seen.posts if post["status"] != 200] == []
        assert largest_body(seen) > BODY_UNITS_WITHOUT_REPEATS
        assert sum(len(socket["sent"]) for socket in seen.sockets) == 0
        assert seen.complaints(REFUSED_SOCKET) == []


@pytest.mark.slow
def test_refusal_of_a_post_can_be_read_by_the_page(daemon: Daemon, open_tab: OpenTab) -> None:
    """An error without CORS headers, or one that isn't JSON, would be another error in the page."""
    tab = open_tab()
    tab.visit()
    tab.call("start", {**options(daemon, POST), "publicApiKey": "ak_wrong"})

    def posted() -> list[str] | None:
        return [text for text in tab.seen().complaints(REFUSED_SOCKET) if "POST" in text] or None

    (complaint,) = wait_for(posted, deadline_s=EVENTS_DEADLINE_S, what="the failure of the first POST")
    assert "Bad response from POST: 401" in complaint
    body = json.loads(complaint.partition("response body:")[2].splitlines()[0])
    assert body["error"]["code"] == "unauthenticated"
    assert daemon.events(tab.recording_id()) == []


def test_stop_for_good_adds_one_close_event_and_the_next_start_is_another_recording(
    daemon: Daemon, open_tab: OpenTab
) -> None:
    """Of the second recording only the start is compared.

    The first one's socket takes its time to close, and when it has, the client believes that the
    second one's is closed: it keeps what is emitted from then on, until the page is hidden.
    """
    tab = open_tab()
    tab.visit()
    tab.call("start", options(daemon, SOCKET, meta={"sessionId": "s-2"}))
    first = tab.recording_id()
    use_pages(tab)
    first_emitted = tab.emitted(first)
    tab.call("stop", True)
    tab.call("start", options(daemon, SOCKET, meta={"sessionId": "s-2"}))
    second = tab.recording_id()

    assert second != first
    assert_metadata(daemon, first, {"sessionId": "s-2"})
    assert_metadata(daemon, second, {"sessionId": "s-2"})
    *others, last = daemon.events(first)
    assert others == first_emitted
    assert custom_tags([last]) == ["close-permanent"]
    start = daemon.events(second)
    assert [event["type"] for event in start][:2] == [META_EVENT, FULL_SNAPSHOT]
    assert start == tab.emitted(second)[: len(start)]
    assert custom_tags(others + start) == []
    listed = daemon.get("/recordings?meta[sessionId]=s-2")["recordings"]
    assert {entry["recordingId"] for entry in listed} == {first, second}
    assert tab.seen().complaints() == []


@pytest.mark.slow
def test_stop_for_good_adds_one_close_event_over_post_too(daemon: Daemon, open_tab: OpenTab) -> None:
    """The recording is stored first, since the client throws away on stop what it hasn't sent."""
    tab = open_tab()
    tab.visit()
    tab.call("start", options(daemon, POST))
    recording_id = tab.recording_id()
    use_pages(tab)
    emitted = tab.emitted(recording_id)
    assert_stored(daemon, recording_id, emitted)
    tab.call("stop", True)

    def closed() -> list[Event] | None:
        stored = daemon.events(recording_id)
        return stored if custom_tags(stored) else None

    *others, last = wait_for(closed, deadline_s=EVENTS_DEADLINE_S, what="the close event")
    assert others == emitted
    assert custom_tags([last]) == ["close-permanent"]
    assert tab.recording_id() != recording_id
    assert tab.seen().complaints(REFUSED_SOCKET) == []


def test_event_too_large_for_a_message_is_posted_and_takes_its_place(
    daemon: Daemon, open_tab: OpenTab
) -> None:
    """Beyond 1,000,000 UTF-16 units the client POSTs an event by itself, socket or not.

    Twice here: the first full snapshot, before the socket is open, and a change while it is.
    """
    tab = open_tab()
    tab.visit()
    tab.call("addText", 1_050_000, "long text ")
    tab.call("start", options(daemon, SOCKET))
    recording_id = tab.recording_id()
    tab.wait("lab.drained()")
    tab.call("addText", 1_050_000, "длинный текст ")
    wait_for(lambda: tab.seen().posts[1:] or None, deadline_s=EVENTS_DEADLINE_S, what="the second POST")
    use_pages(tab)

    emitted = tab.emitted(recording_id)
    assert_stored(daemon, recording_id, emitted)

    large = [event["type"] for event in emitted if utf16_units(event) > 1_000_000]
    assert large == [FULL_SNAPSHOT, INCREMENTAL_SNAPSHOT]
    seen = tab.seen()
    assert [post["status"] for post in seen.posts] == [200, 200]
    assert [(len(socket["sent"]), socket["closed"]) for socket in seen.sockets] == [(len(emitted) - 1, False)]
    assert seen.complaints() == []


@pytest.mark.slow
@pytest.mark.parametrize("path", [SOCKET, POST])
def test_pages_in_a_row_of_one_tab_are_one_recording(daemon: Daemon, open_tab: OpenTab, path: str) -> None:
    """sessionStorage keeps the id; ``page-hidden`` is emitted and sent while each page unloads.

    Over POST the rest of a page goes out then as well, and relies on the answer to an earlier
    preflight. What is emitted even later, as when the focus is lost, the client doesn't send.
    """
    tab = open_tab()
    tab.visit(autostart=options(daemon, path, emit="keepEvent"))
    recording_id = tab.recording_id()
    use_pages(tab)
    assert_stored(daemon, recording_id, tab.emitted(recording_id))
    tab.do("click", selector="#add")
    tab.visit(autostart=options(daemon, path, emit="keepEvent"))
    assert tab.recording_id() == recording_id
    tab.wait("lab.emittedAt < Infinity")
    if path == SOCKET:
        tab.wait("lab.drained()")
    tab.do("click", selector="#add")
    tab.do("close")

    emitted = tab.emitted(recording_id)
    assert_stored(daemon, recording_id, emitted, part=until_hidden)
    assert [event["type"] for event in emitted].count(FULL_SNAPSHOT) == 2
    assert custom_tags(emitted) == ["page-hidden"] * 2
    assert_metadata(daemon, recording_id, {"jsEntrypoint": "script-tag"})
    assert tab.seen().complaints(REFUSED_SOCKET) == []
