"""Acceptance: what ``/record.js`` recorded on another origin is found in the list, and watched as it was."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from tests.assets.building import built_assets
from tests.client.client_lab import Driver, OpenTab, is_metadata, wait_for
from tests.client.conftest import open_tab as open_tab  # noqa: PLC0414 – a fixture that is the same here
from tests.console.lab import ConsoleDaemon, OpenWindow
from tests.console.reading import check_shown, played_through

pytestmark = pytest.mark.client

STORED_DEADLINE_S = 20.0


def test_a_visit_is_found_by_its_metadata_and_says_what_its_page_said(
    driver: Driver, console: ConsoleDaemon, open_tab: OpenTab, open_window: OpenWindow
) -> None:
    built_assets()
    user = f"user {uuid.uuid4()}"
    options = {
        "publicApiKey": console.key,
        "meta": {"userId": user},
        "emit": "keepEvent",
        "maskAllInputs": False,
    }
    tag = f'<script src="{console.url}/record.js" autostart>{json.dumps(options)}</script>'
    page = (Path(__file__).parent / "basket.html").read_text().replace("<!-- recorder -->", tag)
    driver.do("serve", path="/shop.html", type="text/html", body=page)
    tab = open_tab()
    tab.visit("shop.html")
    tab.wait("lab.emittedAt < Infinity")
    notes = played_through(tab)
    recording_id = tab.recording_id()
    emitted = [json.loads(text) for text in tab.call("events")]
    sent = [event for event in emitted if not is_metadata(event)]
    wait_for(
        lambda: len(console.events(recording_id)) >= len(sent) or None,
        deadline_s=STORED_DEADLINE_S,
        what="all that was recorded",
    )
    tab.do("close")

    window = open_window(console)
    window.goto("#/list")
    window.fill('[name="key"]', "userId")
    window.fill('[name="value"]', user)
    window.press("Enter")
    window.wait("document.querySelectorAll('[data-id]').length === 1")
    window.click(f'[data-id="{recording_id}"] a')
    window.wait(f"location.hash.includes({json.dumps(recording_id)})")
    window.wait_for_replay("drawn")
    check_shown(console, window, recording_id, notes)
    window.check()
