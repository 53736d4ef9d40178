"""The list in a browser: what it shows in each state, filters and the address, rows while others arrive."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.console.conftest import OwnConsole
from tests.console.lab import NARROW, ConsoleDaemon, ConsoleWindow, OpenWindow, console_page, eventually_true
from tests.samples import dump

pytestmark = pytest.mark.client

ROWS = "[...document.querySelectorAll('[data-id]')].map((row) => row.dataset.id)"
SUMMARY_DEADLINE_S = 30.0
BAD_URL = "x" * 5000


@pytest.fixture(scope="module")
def filled(console: ConsoleDaemon) -> dict[str, str]:
    """Recordings of three visitors of this module's own; their ids by user."""
    run = uuid.uuid4().hex
    return {
        user: console.post(console_page("one", "two"), meta={"userId": f"{user} {run}", "run": run})
        for user in ("ann", "bob", "<i>eve</i>")
    } | {"run": run}


def shown(window: ConsoleWindow) -> list[str]:
    return list(window.evaluate(ROWS))


def wait_for_rows(window: ConsoleWindow, *ids: str) -> None:
    window.wait(f"JSON.stringify({ROWS}) === {json.dumps(json.dumps(list(ids), separators=(',', ':')))}")


def address(window: ConsoleWindow) -> str:
    return str(window.evaluate("decodeURIComponent(location.hash)"))


def test_a_filter_goes_into_the_address_and_back_takes_it_out(
    console: ConsoleDaemon, open_window: OpenWindow, filled: dict[str, str]
) -> None:
    window = open_window(console)
    run = filled["run"]
    window.goto(f"#/list?meta[run]={run}")
    wait_for_rows(window, filled["<i>eve</i>"], filled["bob"], filled["ann"])
    assert "<i>eve</i>" in window.text(".results")
    window.fill('[name="key"]', "userId")
    window.wait("document.querySelector('#known-key option[value=userId]')")
    window.fill('[name="value"]', f"bob {run}")
    window.wait(f"document.querySelector('#known-value option')?.value === 'bob {run}'")
    window.press("Enter")
    wait_for_rows(window, filled["bob"])
    assert address(window) == f"#/list?meta[run]={run}&meta[userId]=bob+{run}"
    window.fill('[name="cols"]', "userId")
    window.press("Enter")
    window.wait("document.querySelector('thead tr').lastChild.textContent === 'userId'")
    window.evaluate("history.go(-2)")
    wait_for_rows(window, filled["<i>eve</i>"], filled["bob"], filled["ann"])
    window.evaluate("history.go(1)")
    wait_for_rows(window, filled["bob"])
    window.click("role=button[name=/Remove “userId/]")
    wait_for_rows(window, filled["<i>eve</i>"], filled["bob"], filled["ann"])
    window.select('[name="since"]', "1h")
    window.wait("location.hash.includes('since=1h')")
    window.fill('[name="to"]', "2020-02-03T04:05")
    window.evaluate("document.activeElement.blur()")
    window.wait_for_text("No recording matches")
    assert "since" not in address(window)
    assert window.evaluate("document.querySelector('[name=to]').value") == "2020-02-03T04:05"
    window.click('role=button[name="Show all recordings"]')
    window.wait("document.querySelectorAll('[data-id]').length >= 3")
    assert address(window) == "#/list"
    window.check()


def test_each_row_is_one_link_and_says_what_is_not_known_yet(
    console: ConsoleDaemon, open_window: OpenWindow, filled: dict[str, str]
) -> None:
    window = open_window(console)
    window.goto(f"#/list?meta[run]={filled['run']}")
    wait_for_rows(window, filled["<i>eve</i>"], filled["bob"], filled["ann"])
    links = "[...document.querySelectorAll('tbody a')].map((link) => link.getAttribute('href'))"
    expected = [f"#/live/t/{filled[name]}" for name in ("<i>eve</i>", "bob", "ann")]
    assert window.evaluate(links) == expected
    assert window.evaluate("document.querySelector('td.clicks').textContent") == "…"
    assert "some minutes" in window.evaluate("document.querySelector('td.clicks span').title")
    row, link = window.box("tbody tr >> nth=0"), "document.elementFromPoint"
    assert row is not None
    middle = f"{link}({row['x'] + row['width'] - 20}, {row['y'] + row['height'] / 2})"
    assert window.evaluate(f"{middle}.closest('a').getAttribute('href')") == expected[0]
    window.wait_for_text("Live now", ".live-strip")
    assert f"#/live/t/{filled['ann']}" in window.evaluate(
        "[...document.querySelectorAll('.live-strip a')].map((link) => link.getAttribute('href'))"
    )
    window.check()


def test_what_happened_is_shown_sorted_and_filtered(own_console: OwnConsole, open_window: OpenWindow) -> None:
    daemon = own_console(seal_idle_s=1, rollup_delay_s=0)
    quiet = daemon.post(console_page("one"), meta={"userId": "quiet"})
    busy = console_page(*"abcdefgh", url="https://shop.example/a/b")
    error = {"plugin": "rrweb/console@1", "payload": {"level": "error", "payload": ["no"], "trace": []}}
    busy.append(dump({"type": 6, "timestamp": json.loads(busy[0])["timestamp"] + 5, "data": error}))
    loud = daemon.post(busy, meta={"userId": "loud"})

    def is_summed_up() -> bool:
        found = daemon.get("/recordings?summary=true")["recordings"]
        return len(found) == 2 and all(item["clicks"] is not None for item in found)

    eventually_true(is_summed_up, what="the summaries", deadline_s=SUMMARY_DEADLINE_S)
    window = open_window(daemon)
    window.goto("#/list")
    wait_for_rows(window, loud, quiet)
    cells = "[...document.querySelector('tbody tr').cells].map((cell) => cell.textContent)"
    assert window.evaluate(cells)[1:] == ["loud", "shop.example/a/b", "7 s", "7 s", "", "7", "1"]
    assert window.count(".spark") == 1
    window.select('[name="sort"]', "errors")
    window.wait("document.querySelector('th.errors[aria-sort=descending]')")
    window.click('role=checkbox[name="With errors"]')
    wait_for_rows(window, loud)
    window.wait_for_text("few minutes after it has ended")
    window.click('role=checkbox[name="With errors"]')
    wait_for_rows(window, loud, quiet)
    window.fill('[name="url"]', "https://shop.example/a/*?secret=1#x")
    window.press("Enter")
    wait_for_rows(window, loud)
    assert "secret" not in address(window)
    window.goto("#/list?minActive=5000")
    wait_for_rows(window, loud)
    window.check()


def test_a_filter_that_the_server_refuses_is_marked(
    console: ConsoleDaemon, open_window: OpenWindow, filled: dict[str, str]
) -> None:
    window = open_window(console)
    window.goto(f"#/list?url={BAD_URL}")
    window.wait("document.querySelector('[name=url]').hasAttribute('aria-invalid')")
    window.wait_for_text("4,096 characters")
    window.wait_for_text("marked filter")
    window.goto("#/list?minDuration=-1")
    window.wait("document.querySelector('[name=minDuration]').hasAttribute('aria-invalid')")
    window.click("css=.chip")
    window.wait("document.querySelectorAll('[data-id]').length > 0")
    assert window.count("css=.field [aria-invalid]") == 0
    window.check("status of 400")


def test_a_server_that_is_away_is_told_and_tried_again(
    console: ConsoleDaemon, open_window: OpenWindow, filled: dict[str, str]
) -> None:
    window = open_window(console)
    window.intercept(r"/recordings\?", abort=True)
    window.goto("#/list")
    window.wait_for_text("The server can’t be reached")
    window.screenshot("list-away")
    assert window.evaluate("document.querySelector('.fresh').hidden")
    window.unintercept()
    window.click('role=button[name="Try again"]')
    window.wait("document.querySelectorAll('[data-id]').length > 0")
    window.intercept(r"/recordings\?", status=401, body={"error": {"code": "unauthorized", "message": ""}})
    window.intercept("console/session$", status=401, body={"error": {"code": "unauthorized", "message": ""}})
    window.select('[name="sort"]', "bytes")
    window.wait_for_text("Sign in to rrd")
    window.check("ERR_", "status of 401")


def test_the_list_has_no_end_no_gap_and_no_repeat_while_recordings_arrive(
    console: ConsoleDaemon, open_window: OpenWindow
) -> None:
    run = uuid.uuid4().hex
    first = [console.post(console_page("x"), meta={"run": run}) for _ in range(120)]
    window = open_window(console)
    window.goto(f"#/list?meta[run]={run}")
    window.wait("document.querySelectorAll('[data-id]').length >= 50")
    later = [console.post(console_page("x"), meta={"run": run}) for _ in range(7)]
    for count in (50, 80, 110):
        window.wait(f"document.querySelectorAll('[data-id]').length >= {count}")
        window.evaluate("scrollTo(0, document.body.scrollHeight)")
    window.wait("document.querySelector('.below').textContent.includes('no more')")
    assert shown(window) == first[::-1]
    # Told of by itself; a button, so that nothing moves under the pointer.
    window.wait_for_text("Show 7 new recordings", deadline_s=30)
    window.click("css=.fresh")
    window.wait("document.querySelectorAll('[data-id]').length >= 50")
    window.wait(f"{ROWS}[0] === {json.dumps(later[-1])}")
    window.evaluate("scrollTo(0, 600)")
    window.evaluate("document.querySelectorAll('tbody a')[10].click()")
    window.wait("!location.hash.startsWith('#/list')")
    window.evaluate("history.back()")
    # What is live now may take a line more, or less, above the rows.
    near = "Math.abs(scrollY - 600) < innerHeight / 2"
    window.wait(f"{ROWS}[0] === {json.dumps(later[-1])} && {near}")
    asked = f"import('/console/list.js').then((list) => list.neighbours({json.dumps(later[-1])}))"
    assert window.evaluate(asked) == {"previous": None, "next": f"#/live/t/{later[-2]}"}


def test_two_tenants_are_told_apart(own_console: OwnConsole, open_window: OpenWindow) -> None:
    daemon = own_console()
    daemon.stop()
    key = daemon.create_key("other")
    daemon.start()
    own = daemon.post(console_page("one"))
    window = open_window(daemon)
    window.goto("#/list")
    wait_for_rows(window, own)
    assert window.count("css=.title select") == 0
    window.click('role=button[name="Add a key"]')
    window.fill("css=dialog input", key)
    window.press("Enter")
    window.wait_for_text("The key was added")
    window.wait("document.querySelectorAll('.title option').length === 2")
    window.select("css=.title select", "other")
    window.wait_for_text("Make your first recording")
    assert address(window) == "#/list?tenant=other"
    window.select("css=.title select", "t")
    wait_for_rows(window, own)
    window.check()


def test_on_a_small_screen_only_the_table_scrolls_sideways(
    console: ConsoleDaemon, open_window: OpenWindow, filled: dict[str, str]
) -> None:
    kinds: list[dict[str, Any]] = [{"viewport": NARROW}, {"zoom": 4}, {"colorScheme": "dark"}]
    for number, options in enumerate(kinds):
        window = open_window(console, **options)
        window.goto("#/list?cols=userId&cols=run&minActive=1")
        window.click("css=summary") if number < 2 else None
        window.goto("#/list?cols=userId&cols=run")
        window.wait("document.querySelectorAll('[data-id]').length > 0")
        assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")
        window.screenshot(f"list-{['narrow', 'zoomed', 'dark'][number]}")
        window.check()


def test_reading_goes_to_the_heading_of_a_new_view(
    console: ConsoleDaemon, open_window: OpenWindow, filled: dict[str, str]
) -> None:
    window = open_window(console)
    window.goto("#/list")
    assert window.evaluate("document.title") == "Recordings · rrd"
    window.click('role=link[name="Record another site"]')
    window.wait("document.activeElement.tagName === 'H1'")
    assert window.evaluate("[document.title, document.activeElement.textContent]") == [
        "Record a site · rrd",
        "Record another site",
    ]
    window.check()
