"""What README says to paste into a page records that page."""

from __future__ import annotations

import re

import pytest

from tests.assets.building import built_assets
from tests.client.client_checks import (
    EVENTS_DEADLINE_S,
    FULL_SNAPSHOT,
    INCREMENTAL_SNAPSHOT,
    META_EVENT,
    assert_metadata,
)
from tests.client.client_lab import ROOT, Daemon, Driver, Event, OpenTab, wait_for

pytestmark = pytest.mark.client

PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8"><title>A shop</title><link rel="icon" href="data:,">
{snippet}
  </head>
  <body><button id="add" onclick="document.body.append('one more')">Add</button></body>
</html>
"""
ADDRESS, KEY = "http://127.0.0.1:8787", "public_key_rr_…"
MOUSE_INTERACTION = 2


def block(readme: str, language: str, *, holding: str) -> str:
    """Return the first code block of a language that holds a text."""
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    return next(text for text in found if holding in text)


def test_the_snippet_pasted_into_a_page_records_it(daemon: Daemon, driver: Driver, open_tab: OpenTab) -> None:
    """Only the key and the server's address are replaced."""
    built_assets()
    snippet = block((ROOT / "README.md").read_text(), "html", holding="<script")
    assert snippet.count(ADDRESS) == snippet.count(KEY) == 1
    assert '"checkoutEveryNms": 300000' in snippet
    page = PAGE.format(snippet=snippet.replace(ADDRESS, daemon.url).replace(KEY, daemon.key))
    driver.do("serve", path="/shop/index.html", type="text/html", body=page)

    for host in ("127.0.0.1", "localhost"):
        tab = open_tab(host=host)
        tab.visit("shop/index.html")
        tab.do("click", selector="#add")
        recording_id = recorded_from(daemon, tab.origin)

        def clicked(recording_id: str = recording_id) -> list[Event] | None:
            stored = daemon.events(recording_id)
            return stored if any(is_click(event) for event in stored) else None

        stored = wait_for(clicked, deadline_s=EVENTS_DEADLINE_S, what="the click")
        assert {META_EVENT, FULL_SNAPSHOT} <= {event["type"] for event in stored}
        assert_metadata(daemon, recording_id, {"userId": "user-123", "ingestOrigin": tab.origin})
        assert tab.seen().complaints() == []


def recorded_from(daemon: Daemon, origin: str) -> str:
    """Return the id of the one recording of README's user on a page of this origin, once there is one."""

    def listed() -> str | None:
        query = f"/recordings?meta[userId]=user-123&meta[ingestOrigin]={origin}"
        found = [row["recordingId"] for row in daemon.get(query)["recordings"]]
        assert len(found) <= 1
        return found[0] if found else None

    return wait_for(listed, deadline_s=EVENTS_DEADLINE_S, what="a recording from the page")


def is_click(event: Event) -> bool:
    return bool(event["type"] == INCREMENTAL_SNAPSHOT and event["data"]["source"] == MOUSE_INTERACTION)
