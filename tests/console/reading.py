"""What a page says, wherever in it: the same expression for the page that was recorded and for its replay."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from tests.client.client_lab import Tab
from tests.console.lab import TENANT, ConsoleDaemon, ConsoleWindow

SAID = """(() => {
  const said = (root) => {
    const parts = [root.body?.innerText ?? [...root.children].map((child) => child.innerText).join('\\n')];
    for (const node of root.querySelectorAll('*')) {
      if (node.shadowRoot) parts.push(...said(node.shadowRoot));
      if (node.tagName === 'IFRAME' && node.contentDocument?.body) parts.push(...said(node.contentDocument));
      if (node.matches('[type=checkbox]')) parts.push(String(node.checked));
      else if (node.matches('input, textarea, select')) parts.push(node.value);
    }
    return parts.map((part) => part.trim());
  };
  return said(document);
})()"""
"""Text, then that of shadow roots and frames, and the values of fields, in the order of the document."""

SHOWN_DEADLINE_S = 20.0
STEPS = 5
"""How often ``basket.html`` changes."""
SETTLE_MS = 700

Notes = list[tuple[int, list[str]]]
"""Times by the visitor's clock, with what the page said then."""


def played_through(tab: Tab) -> Notes:
    """Be a visitor of ``basket.html``; return what it said after each step."""
    notes = []
    for number in range(STEPS):
        tab.call("step", number)
        if number == 2:
            tab.do("type", selector="#name", text="Ada")
            tab.do("click", selector="#gift")
            tab.do("type", selector="#wish", text="a bow, ")
            tab.do("evaluate", expression="lab.choose('large')")
        # Mouse moves come half a second late; what is shown then has been emitted.
        tab.wait(f"Date.now() - lab.emittedAt > {SETTLE_MS}")
        notes.append((int(tab.call("now")), list(tab.do("evaluate", expression=SAID))))
    return notes


def replayed(window: ConsoleWindow) -> list[str] | None:
    """Return ``SAID`` of the replayed page; None while there is none."""
    found: list[str] | None = window.evaluate(SAID, where="replay")
    return found


def wait_until_shown(window: ConsoleWindow, expected: list[str], *, what: str) -> None:
    """Wait until the replayed page says what is expected; a failed assertion shows the difference."""
    found = _last(lambda: replayed(window), expected)
    assert found == expected, f"{what}; the console says:\n{window.text()}"


def _last(look: Callable[[], Any], expected: Any) -> Any:
    end = time.monotonic() + SHOWN_DEADLINE_S
    while True:
        try:
            found = look()
        except RuntimeError as error:  # The stage is not there yet.
            found = str(error)
        if found == expected or time.monotonic() > end:
            return found
        time.sleep(0.05)


def check_shown(console: ConsoleDaemon, window: ConsoleWindow, recording_id: str, notes: Notes) -> None:
    """Open the recording at each time, and compare what it says."""
    first = console.get(f"/recordings/{recording_id}/pages")["first"]
    for number, (when, said) in enumerate(notes):
        route = f"#/watch/{TENANT}/{urllib.parse.quote(recording_id)}?t={when - first:g}"
        # A link is opened; from there a person goes to another moment.
        (window.follow if number else window.goto)(route)
        wait_until_shown(window, said, what=f"{when - first} ms from its beginning")
