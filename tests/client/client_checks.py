"""What the tests of the published recorder do and look for: use a page, compare what was stored."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.client.client_lab import Daemon, Event, Seen, Tab, wait_for

EVENTS_DEADLINE_S = 7.0
METADATA_DEADLINE_S = 8.0

SOCKET = "/recordings/{recordingId}/events/ws"
POST = "/recordings/{recordingId}/events"

DOM_CONTENT_LOADED, LOAD, FULL_SNAPSHOT, INCREMENTAL_SNAPSHOT, META_EVENT, CUSTOM = range(6)

# A body ends with the line that takes it over 65,000 units. If lines are 40,000 long, a larger body
# than this holds lines that were sent before, which is what a test of repeats must see.
BODY_UNITS_WITHOUT_REPEATS = 65_000 + 42_000

# What Chromium says of a socket that is refused. The POST variant can't do without.
REFUSED_SOCKET = "Error during WebSocket handshake: Unexpected response code: 4"


def options(daemon: Daemon, path: str, **more: object) -> dict[str, object]:
    """Return options for the client's ``start``."""
    return {"serverUrl": daemon.url + path, "publicApiKey": daemon.key, **more}


def use_pages(*tabs: Tab) -> None:
    """Click, type, scroll and change each page; return when all of that has been emitted.

    One of the changes adds a text that was cut in the middle of an emoji.
    """
    for tab in tabs:
        tab.do("click", selector="#add")
        tab.do("type", selector="#name", text="hello")
        tab.do("wheel", selector="#scroller", distance=100)
        tab.call("addHalfEmoji")
    for tab in tabs:
        tab.settle()


def wait_for_events(daemon: Daemon, recording_id: str, count: int) -> list[Event]:
    """Return a recording's events as soon as there are ``count`` of them; TimeoutError if too late."""

    def enough() -> list[Event] | None:
        stored = daemon.events(recording_id)
        return stored if len(stored) >= count else None

    return wait_for(enough, deadline_s=EVENTS_DEADLINE_S, what=f"{count} events")


def assert_stored(
    daemon: Daemon,
    recording_id: str,
    expected: list[Event],
    *,
    part: Callable[[list[Event]], list[Event]] = lambda events: events,
) -> None:
    """Wait until the recording holds exactly the ``expected`` events, in this order.

    With ``part`` only that part of both is compared.
    """
    expected = part(expected)

    def all_there() -> list[Event] | None:
        stored = part(daemon.events(recording_id))
        return stored if len(stored) >= len(expected) else None

    try:
        stored = wait_for(all_there, deadline_s=EVENTS_DEADLINE_S, what="events")
    except TimeoutError:
        print(daemon.log)  # pytest shows it if an assertion fails
        stored = part(daemon.events(recording_id))
    # The times first: if they differ, they tell more shortly which events are missing.
    assert [event["timestamp"] for event in stored] == [event["timestamp"] for event in expected]
    assert stored == expected


def assert_metadata(daemon: Daemon, recording_id: str, expected: dict[str, str]) -> dict[str, str]:
    """Wait until the metadata holds the ``expected`` values, and return all of it."""

    def all_there() -> dict[str, str] | None:
        found = daemon.metadata(recording_id)
        return found if expected.items() <= found.items() else None

    try:
        return wait_for(all_there, deadline_s=METADATA_DEADLINE_S, what="metadata")
    except TimeoutError:
        found = daemon.metadata(recording_id)
        assert {key: found.get(key) for key in expected} == expected
        raise


def largest_body(seen: Seen) -> int:
    """Return the size of the largest body that was POSTed, in UTF-16 units."""
    return max(int(post["size"]) for post in seen.posts)


def utf16_units(event: Event) -> int:
    """Return the length of an event's JSON as JavaScript counts it."""
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def until_hidden(events: list[Event]) -> list[Event]:
    """Return the events without those between a ``page-hidden`` and the start of the next page."""
    kept = []
    hidden = False
    for event in events:
        hidden = hidden and event["type"] not in (DOM_CONTENT_LOADED, LOAD, META_EVENT)
        if not hidden:
            kept.append(event)
            hidden = custom_tags([event]) == ["page-hidden"]
    return kept


def custom_tags(events: list[Event]) -> list[str]:
    """Return the tags of custom events, in order."""
    return [event["data"]["tag"] for event in events if event["type"] == CUSTOM]
