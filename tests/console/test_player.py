"""A recording is watched: played, stopped, gone through by bar and keys. What stands in the way is said."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.console.lab import (
    NARROW,
    START_MS,
    TEXT,
    ConsoleDaemon,
    ConsoleWindow,
    OpenWindow,
    console_page,
    document,
    eventually_true,
    paragraph,
)
from tests.samples import dump

pytestmark = pytest.mark.client

PLAYING = "!!document.querySelector('.controls [aria-label^=Pause]')"
PAUSED = "!!document.querySelector('.controls [aria-label^=Play]')"
CALM = "document.querySelector('.waiting').textContent === ''"


def position(window: ConsoleWindow) -> float:
    """Return where the bar stands, in ms since the beginning."""
    return float(window.evaluate("document.querySelector('.seek').value"))


def wait_at(window: ConsoleWindow, low: float, high: float) -> None:
    place = "Number(document.querySelector('.seek').value)"
    window.wait(f"{low} <= {place} && {place} <= {high}")


def fetches(window: ConsoleWindow) -> int:
    """Return how many times events were asked for."""
    return sum(urlsplit(str(request["url"])).path.endswith("/events") for request in window.seen().requests)


def a_click(at: int) -> bytes:
    return dump({"type": 3, "timestamp": at, "data": {"source": 2, "type": 2, "id": 8, "x": 20, "y": 80}})


def a_change(at: int, text: str, pad: int = 0) -> bytes:
    texts = [{"id": TEXT, "value": text + " " + "padding " * (pad // 8)}]
    data = {"source": 0, "texts": texts, "attributes": [], "removes": [], "adds": []}
    return dump({"type": 3, "timestamp": at, "data": data})


def a_page(at: int, text: str, *, width: int = 800, height: int = 600, late_ms: int = 1) -> list[bytes]:
    href = f"https://shop.example/{text}"
    node = document(paragraph(text))
    return [
        dump({"type": 4, "timestamp": at, "data": {"href": href, "width": width, "height": height}}),
        dump(
            {
                "type": 2,
                "timestamp": at + late_ms,
                "data": {"node": node, "initialOffset": {"left": 0, "top": 0}},
            }
        ),
    ]


def test_a_recording_plays_by_itself_to_its_end(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    recording_id = console.post(console_page("one", "two", "three", pages=2))
    window = open_window(console)
    window.goto(f"#/watch/t/{recording_id}")
    window.wait_for_replay("one")
    window.wait_for_replay("three")
    wait_at(window, 5000, 5000)
    window.wait(PAUSED)
    # Once more from the beginning.
    window.press("Space")
    window.wait(PLAYING)
    window.wait_for_replay("two")
    window.check()


def test_who_wants_no_motion_is_not_played_to(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    recording_id = console.post(console_page("one", "two"))
    window = open_window(console, reducedMotion="reduce")
    window.goto(f"#/watch/t/{recording_id}")
    window.wait_for_replay("one")
    window.wait(PAUSED)
    assert position(window) < 50


@pytest.mark.parametrize("ms", [0, 1_700, 4_000, 6_999])
def test_a_link_to_a_moment_leads_there(console: ConsoleDaemon, open_window: OpenWindow, ms: int) -> None:
    texts = ("zero", "one", "two", "three", "four", "five", "six", "seven")
    recording_id = console.post(console_page(*texts))
    window = open_window(console)
    window.at(f"#/watch/-/{recording_id}", ms)
    window.wait_for_replay(texts[ms // 1000])
    window.wait(PAUSED)
    assert abs(position(window) - ms) <= 1
    window.check()


def test_keys_play_and_go_even_after_a_click_into_the_page(
    console: ConsoleDaemon, open_window: OpenWindow
) -> None:
    lines = [line for page in range(6) for line in a_page(START_MS + 20_000 * page, f"page{page}")]
    recording_id = console.post([*lines, a_change(START_MS + 120_000, "end")])
    window = open_window(console)
    window.at(f"#/watch/t/{recording_id}", 50_000)
    window.wait_for_replay("page2")
    window.mouse("click", 300, 300)
    for key, place in [
        ("ArrowRight", 55_000),
        ("ArrowLeft", 50_000),
        ("l", 60_001),
        ("j", 50_001),
        ("Shift+ArrowRight", 60_001),
        ("Shift+ArrowRight", 80_001),
        ("Shift+ArrowLeft", 60_001),
    ]:
        window.press(key)
        wait_at(window, place - 2, place + 2)
    window.wait_for_replay("page3")
    window.focus(".seek")
    window.press("ArrowRight")
    wait_at(window, 65_000, 65_002)
    window.press("Shift+>")
    window.wait("document.querySelector('.controls [aria-label=Speed]').value === '2'")
    window.press("k")
    window.wait(PLAYING)
    window.press("k")
    window.wait(PAUSED)
    window.press("?")
    window.wait("!!document.querySelector('dialog[open]')")
    window.press("Escape")
    window.wait("!document.querySelector('dialog')")
    # What is typed into a field is text.
    window.focus("input[type=search]")
    window.press("k")
    assert window.evaluate("document.activeElement.value") == "k"
    assert window.evaluate(PAUSED)
    window.check()


def test_the_bar_says_where_it_is_and_goes_where_it_is_put(
    console: ConsoleDaemon, open_window: OpenWindow
) -> None:
    lines = [line for page in range(3) for line in a_page(START_MS + 20_000 * page, f"page{page}")]
    recording_id = console.post([*lines, a_change(START_MS + 60_000, "end")])
    window = open_window(console)
    window.at(f"#/watch/t/{recording_id}", 0)
    window.wait_for_replay("page0")
    said = "document.querySelector('.seek').getAttribute('aria-valuetext')"
    window.wait(f"{said} === '0 s of 1 min, page /page0'")
    window.fill(".seek", "25000")
    window.wait_for_replay("page1")
    window.wait(f"{said} === '25 s of 1 min, page /page1'")
    window.select(".controls [aria-label=Page]", str(START_MS + 40_000))
    window.wait_for_replay("page2")
    window.check()


def test_a_stopped_one_loads_no_more_than_it_needs(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    # The snapshot lies 36 ms behind the beginning, and a page of 10 minutes has 10 MB.
    lines = a_page(START_MS, "start", late_ms=36)
    lines += [a_change(START_MS + 100 * n, f"change {n}", 1600) for n in range(1, 6_001)]
    recording_id = console.post(lines)
    window = open_window(console)
    window.at(f"#/watch/t/{recording_id}", 0)
    window.wait_for_replay("start")
    window.wait(CALM)
    # It knows at once how long it is.
    assert "/ 10:00" in window.text(".controls")
    assert fetches(window) == 1
    # Further on in the same page all between is needed, and then half a minute more.
    window.press("Space")
    window.fill(".seek", "300000")
    window.wait_for_replay("change 30")
    window.wait(CALM)
    assert fetches(window) <= 4
    window.check()


def test_playing_waits_at_the_end_of_what_is_loaded_and_goes_on(
    console: ConsoleDaemon, open_window: OpenWindow
) -> None:
    lines = [line for page in range(2) for line in a_page(START_MS + 2_000 * page, f"page{page}")]
    recording_id = console.post([*lines, a_change(START_MS + 6_000, "end")])
    window = open_window(console)
    window.intercept(f"/events.from={START_MS + 2_000}", abort=True)
    window.goto(f"#/watch/t/{recording_id}")
    window.wait_for_replay("page0")
    window.wait_for_text("can’t be reached")
    failed = fetches(window)
    assert failed <= 1 + 3 + 3
    # Nothing asks again by itself.
    window.press("ArrowLeft")
    window.wait_for_replay("page0")
    assert fetches(window) == failed
    window.unintercept()
    window.click('role=button[name="Try again"]')
    window.wait_for_replay("page1")
    window.wait_for_replay("end")
    window.wait(PAUSED)


def test_what_comes_before_the_first_snapshot_is_passed_over(
    console: ConsoleDaemon, open_window: OpenWindow
) -> None:
    early = [a_change(START_MS + 1_000 * n, "never seen") for n in range(5)]
    recording_id = console.post(
        [*early, *a_page(START_MS + 5_000, "first"), a_change(START_MS + 7_000, "end")]
    )
    window = open_window(console)
    window.goto(f"#/watch/t/{recording_id}")
    window.wait_for_replay("first")
    window.wait_for_text("Nothing can be shown before the first full snapshot, 5 s after the beginning.")
    window.wait_for_replay("end")
    window.check()


def test_a_page_that_cannot_be_shown_is_passed_over(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    broken = dump({"type": 2, "timestamp": START_MS + 2_001, "data": {"node": 5}})
    page = [a_page(START_MS + 2_000 * number, f"page{number}") for number in range(3)]
    recording_id = console.post([*page[0], page[1][0], broken, *page[2], a_change(START_MS + 5_000, "end")])
    window = open_window(console)
    window.goto(f"#/watch/t/{recording_id}")
    window.wait_for_replay("page0")
    window.wait_for_replay("end")


def test_without_any_snapshot_the_events_are_listed(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    recording_id = console.post([a_click(START_MS + 1_000 * n) for n in range(5)])
    window = open_window(console)
    window.goto(f"#/watch/t/{recording_id}")
    window.wait_for_text("no full snapshot yet")
    window.wait_for_text("Click", ".side")
    window.wait(CALM)
    window.check()


def test_stretches_without_input_are_skipped_unless_one_goes_there(
    console: ConsoleDaemon, open_window: OpenWindow
) -> None:
    clicks = [a_click(START_MS + second * 1_000) for second in (0, 1, 62, 63)]
    changes = [a_change(START_MS + second * 1_000, f"second {second}") for second in range(1, 64)]
    recording_id = console.post(
        [*a_page(START_MS, "start"), *sorted(clicks + changes, key=lambda line: b"start" in line)]
    )
    window = open_window(console)
    window.goto(f"#/watch/t/{recording_id}")
    window.wait_for_text("Skipped 59 s without input")
    window.wait_for_replay("second 63")
    window.wait(PAUSED)
    # A moment that someone asked for is shown.
    window.follow(f"#/watch/t/{recording_id}?t=30000")
    window.wait_for_replay("second 30")
    window.press("Space")
    window.wait_for_replay("second 32")
    assert position(window) < 40_000
    window.check()


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 800}, NARROW])
def test_a_tall_page_fits_into_the_window(
    console: ConsoleDaemon, open_window: OpenWindow, viewport: dict[str, int]
) -> None:
    recording_id = console.post(
        [*a_page(START_MS, "tall", width=390, height=2_400), a_change(START_MS + 900, "end")]
    )
    window = open_window(console, viewport=viewport)
    window.at(f"#/watch/t/{recording_id}", 0)
    window.wait_for_replay("tall")
    inside = """(() => { const box = document.querySelector('.screen iframe').getBoundingClientRect();
      return box.height > 50 && box.top >= -1 && box.bottom <= innerHeight + 1 && box.left >= -1; })()"""
    window.wait(inside, where="stage")
    room, bar = window.box(".room"), window.box(".bar")
    assert room is not None and bar is not None
    assert room["y"] + room["height"] <= bar["y"] + 1
    assert bar["y"] + bar["height"] <= viewport["height"]


DAMAGED = {"error": {"code": "recording_damaged", "message": "block 3 of segment 1 is damaged"}}
PROBLEMS = [
    (500, DAMAGED, "damaged", "Show what is intact"),
    (
        404,
        {"error": {"code": "not_found", "message": "no such recording"}},
        "There is no such recording",
        None,
    ),
    (401, {"error": {"code": "unauthorized", "message": "no session"}}, "not signed in", "Sign in"),
    (507, {"error": {"code": "disk_full", "message": "no room"}}, "disk is full", "Try again"),
]


@pytest.mark.parametrize(("status", "body", "told", "way"), PROBLEMS, ids=lambda value: str(value)[:12])
def test_what_fails_while_one_watches_is_said(
    console: ConsoleDaemon, open_window: OpenWindow, status: int, body: object, told: str, way: str | None
) -> None:
    lines = [line for page in range(2) for line in a_page(START_MS + 60_000 * page, f"page{page}")]
    recording_id = console.post([*lines, a_change(START_MS + 90_000, "end")])
    window = open_window(console)
    window.intercept(f"/events.from={START_MS + 60_000}", status=status, body=body)
    window.at(f"#/watch/t/{recording_id}", 0)
    window.wait_for_replay("page0")
    window.fill(".seek", "61000")
    window.wait_for_text(told, ".cover")
    assert window.evaluate(
        "[...document.querySelectorAll('.cover .actions > *')].map((way) => way.textContent)"
    ) == ([way] if way else [])
    shown = window.evaluate("getComputedStyle(document.querySelector('iframe')).display")
    assert (shown == "none") == (status == 404)
    window.screenshot(f"player-problem-{status}")


def test_a_damaged_recording_is_shown_as_far_as_it_is_intact(
    console: ConsoleDaemon, open_window: OpenWindow
) -> None:
    recording_id = console.post(console_page("one", "two"))
    window = open_window(console)
    window.intercept("/pages$", status=500, body=DAMAGED)
    window.goto(f"#/watch/t/{recording_id}?t=0")
    window.click("text=Show what is intact")
    window.wait_for_replay("one")
    window.wait_for_text("You see what is intact of it.")
    assert all(
        "salvage=true" in str(request["url"])
        for request in window.seen().requests
        if "/events" in str(request["url"])
    )


def test_a_recording_that_goes_on_gets_longer(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    recording_id = console.post(console_page("one", "two"))
    window = open_window(console)
    window.goto(f"#/watch/t/{recording_id}")
    window.wait_for_replay("two")
    window.wait(PAUSED)
    console.post([a_change(START_MS + 4_000, "three")], recording_id=recording_id)
    console.post(a_page(START_MS + 5_000, "four"), recording_id=recording_id)
    window.wait_for_text("/ 0:05", ".controls", deadline_s=30)
    window.press("Space")
    window.wait_for_replay("three")
    window.wait_for_replay("four")
    window.check()


def test_from_live_to_stored_and_back(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    recording_id = console.post(console_page("one", "two"))
    window = open_window(console)
    window.at(f"#/watch/t/{recording_id}", 0)
    window.wait_for_replay("one")
    window.click(".controls >> text=Live")
    window.wait("location.hash.startsWith('#/live/')")
    window.wait_for_replay("two")
    console.post([a_change(START_MS + 3_000, "three")], recording_id=recording_id)
    window.wait_for_replay("three")
    window.press("Space")
    window.wait("location.hash.startsWith('#/watch/')")
    window.wait(PAUSED)
    eventually_true(lambda: position(window) > 0, what="the place where live was left")
    window.check()
