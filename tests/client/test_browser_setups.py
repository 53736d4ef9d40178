"""The ways in which real pages record and send, each in Chromium and from two origins.

What the page emitted must be readable, equal in number, order and content, whichever client, transport,
body and headers the page uses. ``setups.mjs`` holds the page's side of each set-up, by the same names.
"""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.client.client_checks import (
    CUSTOM,
    EVENTS_DEADLINE_S,
    FULL_SNAPSHOT,
    META_EVENT,
    REFUSED_SOCKET,
    assert_metadata,
    use_pages,
)
from tests.client.client_lab import Daemon, Event, OpenTab, Tab, is_metadata, wait_for

pytestmark = pytest.mark.client

HOSTS = ("127.0.0.1", "localhost")
PLUGIN = 6
SAID = "said by the page"


def _nothing_more(events: list[Event]) -> bool:
    return True


@dataclass(frozen=True)
class Setup:
    """What is particular about one set-up, for what its page does and what must be stored."""

    flushes: tuple[object, object] | None = None
    """What the page must hear of its first and its last sending; None: the client sends by itself."""
    metadata: dict[str, str] = field(default_factory=dict)
    early_tags: tuple[str, ...] = ()
    """Tags of custom events that the client was given before it started, which it never emits."""
    shows: Callable[[list[Event]], bool] = _nothing_more
    """Whether the stored events show that the set-up was in effect."""


def _shows_plugins(events: list[Event]) -> bool:
    said = [event["data"]["payload"]["payload"] for event in events if event["type"] == PLUGIN]
    numbers = [event["_sid"] for event in events]
    return [json.dumps(SAID)] in said and numbers == sorted(numbers)


def _shows_checkouts(events: list[Event]) -> bool:
    types = [event["type"] for event in events]
    return min(types.count(FULL_SNAPSHOT), types.count(META_EVENT)) > 1


CLIENT = Setup(metadata={"shop": "s-1", "premium": "true"})
BEACON = Setup(flushes=(True, True))
POST = Setup(flushes=(200, 200))
SOCKET = Setup(flushes=("sent", 1000))
SETUPS = {
    "client, socket": CLIENT,
    "client, POST": CLIENT,
    "client, socket, packed": CLIENT,
    "client, POST, packed": CLIENT,
    "client, socket, plugins": Setup(metadata=CLIENT.metadata, shows=_shows_plugins),
    "client, POST, tracer": CLIENT,
    "client, socket, checkouts": Setup(metadata=CLIENT.metadata, shows=_shows_checkouts),
    "client, socket, queued before start": Setup(
        metadata=CLIENT.metadata | {"early": "queued"}, early_tags=("early",)
    ),
    "beacon, string, lines": BEACON,
    "beacon, string, array": BEACON,
    "beacon, string, wrapper": BEACON,
    "beacon, untyped Blob": BEACON,
    "beacon, Blob of application/json": BEACON,
    "beacon, Blob of application/x-ndjson": BEACON,
    "fetch, keepalive": POST,
    "fetch, credentials": POST,
    "fetch, tracer": POST,
    "fetch, gzip": POST,
    "fetch, gzip that no header tells": POST,
    "XMLHttpRequest, credentials, tracer": POST,
    "WebSocket, arrays": SOCKET,
    "WebSocket, arrays that no type tells": SOCKET,
}


def begin(daemon: Daemon, tab: Tab, name: str, page: str = "setups.html") -> str:
    """Load the page, start recording, and return the recording's id."""
    tab.visit(page)
    tab.wait("lab.isReady")
    options = {
        "url": daemon.url,
        "key": daemon.key,
        "recording": str(uuid.uuid4()),
        "meta": {"shop": "s-1", "premium": True},
    }
    return str(tab.call("begin", name, options))


def unpacked(event: Any) -> Event:
    """Return an event as it was before ``pack`` of ``@rrweb/packer``, which adds ``v``."""
    if not isinstance(event, str):
        return dict(event)
    found: Event = json.loads(zlib.decompress(event.encode("latin-1")))
    assert found.pop("v") == "v1"
    return found


def run(
    daemon: Daemon, open_tab: OpenTab, names: list[str], page: str = "setups.html", **opening: object
) -> None:
    """Record with each set-up from each origin, side by side; compare what was emitted and stored."""
    runs = [(SETUPS[name], open_tab(host=host, **opening), name) for name in names for host in HOSTS]
    recordings = [begin(daemon, tab, name, page) for _, tab, name in runs]
    flush(runs, which=0)
    for _, tab, _ in runs:
        tab.call("say", SAID)
    use_pages(*(tab for _, tab, _ in runs))
    flush(runs, which=1)
    for (setup, tab, name), recording_id in zip(runs, recordings, strict=True):
        print(name, tab.origin)  # pytest shows the last one if an assertion fails
        assert_stored_as_kept(daemon, setup, tab, recording_id)
        origin = {} if page == "sandboxed.html" else {"ingestOrigin": tab.origin}
        metadata = assert_metadata(daemon, recording_id, setup.metadata | origin)
        # An origin that is hidden is none, and there is nothing to tell of it.
        assert "null" not in metadata.values()
        assert tab.seen().complaints(REFUSED_SOCKET, SAID) == []


def flush(runs: list[tuple[Setup, Tab, str]], *, which: int) -> None:
    """Let pages with a transport of their own send what they gathered: 0 the first time, 1 the last."""
    for setup, tab, _ in runs:
        if setup.flushes is not None:
            assert tab.call("flush", which == 1) == setup.flushes[which]


def assert_stored_as_kept(daemon: Daemon, setup: Setup, tab: Tab, recording_id: str) -> None:
    """Wait until the recording holds what the page wrote down; compare it whole and in order."""
    kept = [unpacked(json.loads(text)) for text in tab.call("kept")]
    expected = [event for event in kept if not is_metadata(event)]
    early_count = len(setup.early_tags)

    def all_there() -> list[Event] | None:
        found = daemon.events(recording_id)
        return found if len(found) >= len(expected) + early_count else None

    try:
        stored = wait_for(all_there, deadline_s=EVENTS_DEADLINE_S, what="events")
    except TimeoutError:
        print(daemon.log)  # pytest shows it if an assertion fails
        stored = daemon.events(recording_id)
    early = [
        event for event in stored if event["type"] == CUSTOM and event["data"]["tag"] in setup.early_tags
    ]
    assert [event["data"]["tag"] for event in early] == list(setup.early_tags)
    stored = [event for event in stored if event not in early]
    # The times first: if they differ, they tell more shortly which events are missing.
    assert [event["timestamp"] for event in stored] == [event["timestamp"] for event in expected]
    assert stored == expected
    assert setup.shows(stored)


def test_the_page_has_the_same_set_ups(daemon: Daemon, open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.visit("setups.html")
    tab.wait("lab.isReady")
    assert tab.call("setups") == list(SETUPS)


# Side by side: most of what a page takes is waiting, five seconds until the client POSTs.
FAMILIES = ("client, socket", "client, POST", "beacon, string", "beacon", "fetch, gzip", "fetch", "")


def family(name: str) -> str:
    return next(start for start in FAMILIES if name.startswith(start))


@pytest.mark.parametrize(
    "start",
    [name if name.startswith("client") else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES],
)
def test_what_a_page_emits_is_stored_whole_from_every_origin(
    daemon: Daemon, open_tab: OpenTab, start: str
) -> None:
    run(daemon, open_tab, [name for name in SETUPS if family(name) == start])


@pytest.mark.parametrize(
    "name", ["fetch, credentials", "beacon, Blob of application/json", "WebSocket, arrays"]
)
def test_a_page_of_a_hidden_origin_is_stored_whole(daemon: Daemon, open_tab: OpenTab, name: str) -> None:
    """A sandboxed page sends ``Origin: null``. It has no storage, so the client won't start there."""
    run(daemon, open_tab, [name], "sandboxed.html")


@pytest.mark.parametrize("name", ["fetch, credentials", "client, socket"])
def test_a_page_of_the_public_internet_is_stored_whole_on_this_machine(
    daemon: Daemon, open_tab: OpenTab, name: str
) -> None:
    """What a site's developer does: the page is public, rrd runs on the developer's machine.

    Chromium 156 asks the visitor, and sends no ``Access-Control-Request-Private-Network``. Older ones do.
    """
    run(daemon, open_tab, [name], is_public=True)
