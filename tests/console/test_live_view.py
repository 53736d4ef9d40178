"""A live view in a browser: what the visitor's page says is what the watcher sees, and how it ends."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.console.lab import TENANT, TEXT, ConsoleDaemon, ConsoleWindow, OpenWindow, console_page
from tests.samples import new_id

pytestmark = pytest.mark.client


def now_ms() -> int:
    return int(time.time() * 1000)


def a_text(words: str) -> bytes:
    """Return the change of the page's text, as of now."""
    data = {"source": 0, "texts": [{"id": TEXT, "value": words}], "attributes": [], "removes": [], "adds": []}
    return an_event(3, data)


def an_event(kind: int, data: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "timestamp": now_ms(), "data": data}).encode()


def watched(console: ConsoleDaemon, open_window: OpenWindow) -> tuple[ConsoleWindow, str]:
    """Open the live view of a new recording."""
    recording_id = console.post(console_page("begin", start=now_ms()))
    window = open_window(console)
    window.goto(f"#/live/{TENANT}/{recording_id}")
    window.wait_for_replay("begin")
    return window, recording_id


def test_what_happens_is_seen_while_it_happens(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    window, recording_id = watched(console, open_window)
    for number in range(5):
        console.post([a_text(f"step {number}")], recording_id=recording_id)
        window.wait_for_replay(f"step {number}")
    # The visitor goes to another page.
    console.post(
        console_page("another", start=now_ms(), url="https://shop.example/b"), recording_id=recording_id
    )
    window.wait_for_replay("another")
    window.screenshot("live")
    window.check()
