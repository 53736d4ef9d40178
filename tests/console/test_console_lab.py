"""The tests' own tools see what they say they see, on pages that have nothing of the console."""

from __future__ import annotations

import pytest

from tests.client.client_lab import Driver
from tests.console.lab import ConsoleDaemon, OpenWindow, tab_walk

pytestmark = pytest.mark.client

STAGE = """<!doctype html><link rel="icon" href="data:,">
<iframe srcdoc="<p>old</p>" style="visibility:hidden"></iframe>
<iframe sandbox="allow-same-origin" srcdoc="<p>what is shown</p>"></iframe>"""
FAULTY = """<!doctype html><html><link rel="icon" href="data:,"><title>t</title>
<style>a:focus { outline: none }</style>
<main id="main"><p>there</p><button></button><a href="#x">link</a><input aria-label="field"></main>
<iframe title="s" src="/console/stage" inert></iframe>
<script>console.warn('one'); fetch('http://127.0.0.1:1/').catch(() => {});</script></html>"""


@pytest.fixture
def stand_in(driver: Driver) -> ConsoleDaemon:
    """The driver's own server, with pages that look a little like the console's."""
    driver.do("serve", path="/console/", type="text/html", body=FAULTY)
    driver.do("serve", path="/console/stage", type="text/html", body=STAGE)
    daemon = ConsoleDaemon.__new__(ConsoleDaemon)
    daemon.port = driver.page_port
    return daemon


def test_the_frame_that_is_shown_is_read_and_faults_are_found(
    stand_in: ConsoleDaemon, open_window: OpenWindow
) -> None:
    window = open_window(stand_in, key=None, colorScheme="dark", zoom=2)
    window.goto("#/list")
    window.wait_for_replay("what is shown")
    assert window.replayed_text() == "what is shown"
    assert window.evaluate("document.querySelectorAll('iframe').length", where="stage") == 2
    assert window.evaluate("[matchMedia('(prefers-color-scheme: dark)').matches, innerWidth]") == [True, 640]
    assert any(found.startswith("button-name (critical)") for found in window.axe())
    walk = tab_walk(window)
    assert [one["tag"] for one in walk] == ["button", "a", "input"]
    assert [one["isSeen"] for one in walk] == [True, False, True]
    assert window.heap()["page"] > 0
    seen = window.seen()
    assert seen.hosts == {f"127.0.0.1:{stand_in.port}", "127.0.0.1:1"}
    assert any("one" in line for line in seen.complaints())
    with pytest.raises(AssertionError):
        window.check()
    assert window.screenshot("lab").stat().st_size > 0
