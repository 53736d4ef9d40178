"""A recording is watched: played, stopped, gone through by bar and keys, and what stands in the way is said."""

from __future__ import annotations

import pytest

from tests.console.conftest import OpenWindow
from tests.console.lab import ConsoleDaemon, console_page

pytestmark = pytest.mark.client


def test_a_recording_plays_to_its_end(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    recording_id = console.post(console_page("one", "two", "three", pages=2))
    window = open_window(console)
    window.goto(f"#/watch/t/{recording_id}?t=0")
    window.wait_for_replay("one")
    window.press("Space")
    window.wait_for_replay("three")
    window.wait("document.querySelector('.seek').value >= 5000")
    window.wait("document.querySelector('.controls [aria-label^=Play]')")
    window.check()
    window.screenshot("player-wide")
