"""The page about the API: reached from the console, read out well, and usable by keyboard, in each look."""

from __future__ import annotations

from typing import Any

import pytest

from tests.console.lab import ConsoleDaemon, OpenWindow, tab_walk
from tests.console.states import LOOKS

pytestmark = pytest.mark.client


@pytest.mark.parametrize("look", LOOKS)
def test_the_page_about_the_api_has_no_serious_fault(
    console: ConsoleDaemon, open_window: OpenWindow, look: str
) -> None:
    more: dict[str, Any] = dict(LOOKS[look])
    window = open_window(console, **more)
    window.goto()
    window.click("#header a[href='/console/api']")
    window.wait("document.title.startsWith('The API of rrd') && document.querySelector('details')")
    # All of it, with what is folded.
    window.evaluate("void document.querySelectorAll('details').forEach((each) => (each.open = true))")
    window.screenshot(f"api {look}".replace(" ", "-"))
    assert window.axe() == []
    assert window.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    window.check()


def test_the_keyboard_reaches_its_links_and_folds(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    window = open_window(console)
    window.do("visit", url=f"{console.url}/console/api")
    window.wait("document.querySelector('details')")
    walked = tab_walk(window, steps_max=12)
    names = [str(step) for step in walked]
    assert any("Skip to content" in name for name in names)
    assert any("/console/" in name or "rrd" in name for name in names)
    window.focus("summary >> nth=0")
    window.press("Enter")
    window.wait("document.querySelector('details').open")
    window.check()
