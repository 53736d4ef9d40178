"""What a page says, wherever in it: the same expression for the page that was recorded and for its replay."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.console.lab import ConsoleWindow

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
