"""The list of events and the details beside the player, and a whole visit of several tabs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.console.lab import NARROW, START_MS, TENANT, ConsoleDaemon, OpenWindow, console_page
from tests.samples import meta_event, new_id

pytestmark = pytest.mark.client

ROWS = "[...document.querySelectorAll('.panel-rows li')].filter((row) => row.offsetHeight)"


def a_custom(offset: int, number: int) -> bytes:
    data: dict[str, Any] = {"tag": f"step {number}", "payload": {"number": number}}
    return json.dumps({"type": 5, "timestamp": START_MS + offset, "data": data}).encode()


def test_the_list_tells_what_happened_and_leads_there(
    console: ConsoleDaemon, open_window: OpenWindow
) -> None:
    lines = console_page("one", "two", "three", pages=2, step_ms=5000)
    recording_id = console.post([*lines, a_custom(12_000, 1)])
    window = open_window(console)
    window.at(f"#/watch/{TENANT}/{recording_id}", 0)
    window.wait(f"{ROWS}.length === 7")
    kinds = "[...document.querySelectorAll('.panel [data-kind]')].filter((one) => !one.hidden)"
    assert window.evaluate(f"{kinds}.map((one) => one.textContent)") == ["Page 2", "Click 4", "Custom 1"]
    # One that is pressed takes its kind away, and what is searched leaves only what has it.
    window.click("role=button[name=/^Click/]")
    window.wait(f"{ROWS}.length === 3")
    window.fill("role=searchbox", "STEP")
    window.wait(f"{ROWS}.length === 1")
    window.click("role=button[name=/step 1/]")
    window.wait("document.querySelector('.controls').innerText.includes('0:11')")
    window.fill("role=searchbox", "")
    window.wait("document.querySelector('[aria-current]')?.innerText.includes('step 1') === false")
    window.screenshot("panel")
    window.check()


def test_thousands_of_rows_are_few_in_the_document(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    count = 6000
    lines = console_page("one", "two", step_ms=count * 10)
    recording_id = console.post([*lines, *(a_custom(10 * number, number) for number in range(1, count))])
    window = open_window(console)
    window.at(f"#/watch/{TENANT}/{recording_id}", 0)
    window.wait(
        "[...document.querySelectorAll('[data-kind]')].some((one) => /Custom 4,?99/.test(one.innerText))"
    )
    assert 0 < window.count(".panel-rows li") <= 200
    # Far down the list there are rows, too, and the person who looks there is left alone.
    window.focus(".panel-rows")
    window.press("End")
    window.wait("document.querySelector('.panel-rows').innerText.includes('step 5999')")
    assert 0 < window.count(".panel-rows li") <= 200
    window.check()


def test_details_tell_what_is_known_and_lead_to_the_whole_visit(
    console: ConsoleDaemon, open_window: OpenWindow
) -> None:
    session = new_id()
    for number, name in enumerate(["first", "second"]):
        page = console_page(f"{name} begins", f"{name} ends", start=START_MS + 20_000 * number, step_ms=2000)
        recording_id = console.post([meta_event(START_MS, sessionId=session, plan="<b>gold</b>"), *page])
    window = open_window(console)
    window.at(f"#/watch/{TENANT}/{recording_id}", 0)
    window.wait_for_replay("second begins")
    window.evaluate("void document.querySelectorAll('details').forEach((one) => (one.open = true))")
    window.wait_for_text("<b>gold</b>", ".details")
    told = window.text(".details")
    assert all(words in told for words in [recording_id, session, "version 1", "Clicks\n1"])
    window.screenshot("details")
    window.click("text=Watch the whole session")
    window.wait("location.hash.startsWith('#/visit/')")
    window.settle()
    window.wait_for_replay("first")
    window.wait_for_text("Page 2", ".panel")
    window.screenshot("visit")
    window.focus("input[type=range]")
    window.press("End")
    window.wait_for_replay("second ends")
    window.check()


def test_a_visit_of_nothing_and_of_too_much_is_said_in_words(
    console: ConsoleDaemon, open_window: OpenWindow
) -> None:
    window = open_window(console)
    window.goto(f"#/visit/{TENANT}?meta[sessionId]=nobody")
    window.wait_for_text("There is no such recording")
    user = new_id()
    for _ in range(101):
        console.post([meta_event(START_MS, userId=user), *console_page("one")])
    window.goto(f"#/visit/{TENANT}?meta[userId]={user}")
    window.wait_for_text("Too many recordings belong to this")
    window.check("400 (Bad Request)", "101 recordings match", "error: Problem")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_panel_fits_a_narrow_window(console: ConsoleDaemon, open_window: OpenWindow, scheme: str) -> None:
    recording_id = console.post(console_page("one", "two", "three", pages=3))
    window = open_window(console, viewport=NARROW, colorScheme=scheme)
    window.at(f"#/watch/{TENANT}/{recording_id}", 0)
    window.wait(f"{ROWS}.length === 9")
    assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")
    window.screenshot(f"panel-narrow-{scheme}", full_page=True)
    assert window.axe() == []
