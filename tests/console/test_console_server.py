"""The server's figures in the console: what is wrong comes first; curves are read without a mouse."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.client.client_lab import Driver
from tests.console.conftest import OwnConsole
from tests.console.lab import NARROW, START_MS, ConsoleDaemon, OpenWindow, console_page
from tests.harness import Keys

pytestmark = pytest.mark.client

POINTS = 300
STEP_MS = 288_000


def made_up(**more: object) -> dict[str, Any]:
    """Return an answer about a server that has much to tell: a day, in which events came and went twice."""
    wave = [1 + math.sin(index / 25) + 0.3 * math.sin(index / 3) ** 2 for index in range(POINTS)]
    sizes = {
        "eventsPerS": 900, "receivedBytesPerS": 2e6, "openRecordings": 800, "storedBytes": 4e11,
        "backlogSegments": 60, "backlogBytes": 3e8, "backlogAgeS": 7000, "sockets": 700, "watchers": 30,
        "diskFreeBytes": 6e9, "memoryBytes": 5e8, "duplicatesPerS": 0.4, "quarantinedPerS": 0,
        "refusedPerS": 0.02,
    }  # fmt: skip
    series = {name: [round(size * value, 2) for value in wave] for name, size in sizes.items()}
    bounds = {
        "diskReserveBytes": 5e9, "memoryMaxBytes": 1.2e9, "socketsMax": 20_000, "watchersMax": 1000,
        "recordingsMax": 50_000, "refusedInHour": 71, "duplicates": 34_123, "quarantined": 0, "refused": 1204,
    }  # fmt: skip
    at = [START_MS + STEP_MS * index for index in range(POINTS)]
    return {
        "at": at[-1], "startedAt": at[0], "sentences": ["Retention is held back."],
        "now": {name: round(curve[-1]) for name, curve in series.items()} | bounds,
        "troubles": [{"code": "disk_low", "is_bad": True}, {"code": "refusals", "is_bad": False}],
        "series": {"at": at} | series,
        "refusals": [{"code": "unauthenticated", "status": 401, "count": 1200, "lastMs": at[-1] - 4000}],
        **more,
    }  # fmt: skip


LOOKS: dict[str, dict[str, object]] = {
    "light": {},
    "dark": {"colorScheme": "dark"},
    "narrow": {"viewport": NARROW},
    "forced": {"forcedColors": "active"},
}


@pytest.mark.parametrize("look", LOOKS)
def test_what_is_wrong_is_said_and_all_is_accessible(
    console: ConsoleDaemon, open_window: OpenWindow, look: str
) -> None:
    window = open_window(console, **LOOKS[look])
    window.intercept("/console/api/box$", body=made_up())
    window.goto("#/box")
    window.wait("document.querySelector('.figure b')?.textContent")
    told = window.text("[role=status]").split("\n\n")
    assert told[0] == "Retention is held back."
    assert "Below 5.0 GB new events are refused" in told[1]
    assert "71 requests with events refused within the last hour" in told[2]
    assert "unauthenticated (401): 1,200 times, last just now" in window.text()
    window.screenshot(f"server {look}", full_page=True)
    assert window.axe() == []
    assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")
    window.check()


def test_a_curve_is_read_by_keys_and_by_the_mouse(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    window = open_window(console, timezoneId="UTC")
    answer = made_up()
    values = answer["series"]["openRecordings"]
    window.intercept("/console/api/box$", body=answer)
    window.goto("#/box")
    window.wait("document.querySelector('.plot:not([hidden])')")
    plot = 'input[aria-label^="Open recordings"]'
    window.focus(plot)

    def said() -> str:
        return str(
            window.evaluate(f"document.querySelector({json.dumps(plot)}).getAttribute('aria-valuetext')")
        )

    def reading(index: int) -> str:
        minutes = (START_MS + STEP_MS * index) // 60_000 % 1440
        number = f"{round(values[index] * 10) / 10:,}".removesuffix(".0")
        return f"{minutes // 60:02}:{minutes % 60:02}: {number}"

    place = POINTS - 1
    assert said() == reading(place)
    last = POINTS - 1
    for key, place in (
        ("ArrowLeft", last - 1), ("ArrowLeft", last - 2), ("ArrowRight", last - 1), ("Home", 0),
        ("ArrowLeft", 0), ("End", last), ("ArrowRight", last),
    ):  # fmt: skip
        window.press(key)
        assert said() == reading(place), key
    box = window.box(plot)
    assert box is not None
    window.mouse("move", box["x"] + box["width"] * 100 / (POINTS - 1), box["y"] + 10)
    assert said() == reading(100)
    assert reading(100) in window.text()
    window.mouse("move", 1, 1)
    assert said() == reading(POINTS - 1)
    window.check()


def test_all_is_well_on_a_server_that_has_just_begun(
    own_console: OwnConsole, open_window: OpenWindow
) -> None:
    console = own_console()
    console.post(console_page("one", "two"))
    window = open_window(console)
    window.goto("#/box")
    window.wait_for_text("All is well.")
    assert "t: 1 recording, 1 of this month" in window.text()
    assert "NaN" not in window.text()
    assert "undefined" not in window.text()
    console.stop()
    window.wait_for_text("The server can’t be reached")
    console.start()
    window.wait_for_text("running since", deadline_s=60)
    window.check("ERR_CONNECTION_REFUSED")


def test_who_may_not_see_all_tenants_sees_his_own(
    driver: Driver, tmp_path_factory: pytest.TempPathFactory, open_window: OpenWindow
) -> None:
    console = ConsoleDaemon(tmp_path_factory.mktemp("two tenants"))
    Keys(str(console.data_dir)).key("ingest", tenant="other")
    console.start()
    try:
        console.post(console_page("one", "two"))
        window = open_window(console)
        window.goto("#/box")
        window.wait_for_text("add a key of each")
        assert "t: 1 recording" in window.text()
        assert "other" not in window.text()
        assert "Open sockets" not in window.text()
        assert window.axe() == []
        window.check("403")
    finally:
        console.stop()
