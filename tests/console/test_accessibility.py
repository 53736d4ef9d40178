"""Each state of the console can be seen, read out, and used by keyboard; in light, dark, small and zoomed."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from tests.console.lab import ConsoleDaemon, OpenWindow, tab_walk
from tests.console.states import EXPECTED, LOOKS, NOT_SIGNED_IN, STATES, Place, recordings_for_states

pytestmark = [pytest.mark.client, pytest.mark.table]

PLAIN_LOOKS = ("light", "dark")
OTHER_LOOKS = [name for name in LOOKS if name not in PLAIN_LOOKS]


@pytest.fixture(scope="session")
def to_look_at(console: ConsoleDaemon) -> tuple[str, str, str]:
    return recordings_for_states(console)


def look(
    console: ConsoleDaemon, open_window: OpenWindow, ids: tuple[str, str, str], state: str, name: str
) -> Place:
    """Bring a window into a state, look at it with axe, and keep a picture."""
    more: dict[str, Any] = dict(LOOKS[name])
    if state in NOT_SIGNED_IN:
        more["key"] = None
    window = open_window(console, **more)
    place = Place(window, *ids)
    STATES[state](place)
    picture = re.sub(r"[^a-z0-9]+", "-", f"{state} {name}".lower())
    window.screenshot(picture, full_page=name == "320 px")
    assert window.axe() == []
    # Nothing is cut off at the side: WCAG 1.4.10.
    assert window.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    window.check(*EXPECTED)
    return place


@pytest.mark.parametrize(("state", "name"), list(itertools.product(STATES, PLAIN_LOOKS)))
def test_a_state_has_no_serious_fault(
    state: str, name: str, console: ConsoleDaemon, open_window: OpenWindow, to_look_at: tuple[str, str, str]
) -> None:
    look(console, open_window, to_look_at, state, name)


@pytest.mark.table
@pytest.mark.parametrize(("state", "name"), list(itertools.product(STATES, OTHER_LOOKS)))
def test_a_state_has_no_serious_fault_for_a_person_who_changed_how_pages_look(
    state: str, name: str, console: ConsoleDaemon, open_window: OpenWindow, to_look_at: tuple[str, str, str]
) -> None:
    look(console, open_window, to_look_at, state, name)


REACHABLE = """(() => {
  const root = document.querySelector('dialog[open]') ?? document;
  const nodes = root.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]');
  return [...nodes].filter((node) => !node.disabled && node.tabIndex >= 0 && node.type !== 'hidden'
    && node.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true })
    && !node.closest('[inert], details:not([open]) > :not(summary)')
    && !(node.type === 'radio' && !node.checked && node.form?.elements[node.name]?.value)
  ).map((node, number) => ((node.testNumber = number), node.outerHTML.slice(0, 160)));
})()"""


@pytest.mark.parametrize("state", STATES)
def test_each_control_is_reached_by_keyboard_and_shows_that_it_is(
    state: str, console: ConsoleDaemon, open_window: OpenWindow, to_look_at: tuple[str, str, str]
) -> None:
    window = open_window(console, **({"key": None} if state in NOT_SIGNED_IN else {}))
    STATES[state](Place(window, *to_look_at))
    wanted = window.evaluate(REACHABLE)
    walked = tab_walk(window)
    reached = {one["number"] for one in walked}
    assert [html for number, html in enumerate(wanted) if number not in reached] == []
    unseen = [one["html"] for one in walked if not one["isSeen"]]
    assert unseen == []
