"""Sharing, downloading and erasing a recording, and the server's figures, as a person sees them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import pytest

from tests.client.client_lab import Driver
from tests.harness import Keys
from tests.console.lab import NARROW, ConsoleDaemon, ConsoleWindow, OpenWindow, console_page

pytestmark = pytest.mark.client


def open_dialog(window: ConsoleWindow, module: str, function: str, **options: object) -> None:
    """Open a dialog as the view of a recording does."""
    window.evaluate(
        f"Promise.all([import('/console/{module}.js'), import('/console/session.js')]).then(([made, {{session}}]) =>"
        f" made.{function}({{session, api: session.apiOf('t'), tenant: 't', ...{json.dumps(options)}}}))"
        ".then(() => true)"
    )


@pytest.fixture(scope="module")
def erasing(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ConsoleDaemon, str]]:
    """A daemon, and a key of it that erases."""
    daemon = ConsoleDaemon(tmp_path_factory.mktemp("erasing"))
    key = Keys(str(daemon.data_dir)).key("erase", tenant="t")
    daemon.start()
    yield daemon, key
    daemon.stop()


def made_up() -> dict[str, object]:
    """An answer of a box that has much to tell."""
    now_ms, points = 1_700_000_000_000, 300
    at = [now_ms - 86_400_000 * (points - index) // points for index in range(points)]
    wave = [1 + math.sin(index / 25) + 0.3 * math.sin(index / 3) ** 2 for index in range(points)]
    sizes = {
        "eventsPerS": 900, "receivedBytesPerS": 2e6, "openRecordings": 800, "storedBytes": 4e11,
        "backlogSegments": 60, "backlogBytes": 3e8, "backlogAgeS": 700, "sockets": 700, "watchers": 3,
        "diskFreeBytes": 6e9, "memoryBytes": 5e8, "duplicatesPerS": 0.4, "quarantinedPerS": 0, "refusedPerS": 0.02,
    }  # fmt: skip
    series = {name: [size * value for value in wave] for name, size in sizes.items()}
    bounds = {
        "diskReserveBytes": 5e9, "memoryMaxBytes": 1.2e9, "socketsMax": 20_000, "watchersMax": 1000,
        "recordingsMax": 50_000, "refusedInHour": 71, "duplicates": 34_123, "quarantined": 0, "refused": 1204,
    }  # fmt: skip
    return {
        "at": now_ms, "startedAt": now_ms - 86_400_000, "now": {name: curve[-1] for name, curve in series.items()} | bounds,
        "troubles": [{"code": "disk_low", "is_bad": True}, {"code": "refusals", "is_bad": False}],
        "series": {"at": at} | series, "sentences": [],
        "refusals": [{"code": "unauthenticated", "status": 401, "count": 1200, "lastMs": now_ms - 4000}],
    }  # fmt: skip


@pytest.mark.parametrize("look", [{}, {"colorScheme": "dark"}, {"viewport": NARROW}, {"forcedColors": "active"}])
def test_shots(erasing: tuple[ConsoleDaemon, str], open_window: OpenWindow, look: dict) -> None:
    console, erase_key = erasing
    name = "-".join(map(str, look.values())).replace("{", "").split(":")[0].strip("'") or "light"
    recording_id = console.post(console_page("one", "two"), meta={"userId": "u1", "visitor": "v1"})
    console.post(console_page("one", "two"), meta={"userId": "u1"})
    window = open_window(console, **look)
    window.intercept("/console/api/box$", body=made_up())
    window.goto("#/box")
    window.wait("document.querySelector('.figure b')?.textContent")
    window.screenshot(f"box-{name}", full_page=True)
    print(window.axe())
    for module, function in (("share", "openShare"), ("downloads", "openDownloads"), ("erase", "openErase")):
        open_dialog(window, module, function, id=recording_id, t=61000, first=1700000000000, last=1700000093500)
        window.wait("document.querySelector('dialog button')")
        if module == "share":
            window.click("text=Make a link")
            window.wait("document.querySelector('dialog input[readonly]')")
        if module == "erase":
            if look == {}: window.screenshot("erase-key")
            window.fill("dialog input", erase_key)
            window.click("dialog .key-form button")
            window.wait("document.querySelector('dialog .danger')")
        window.screenshot(f"{module}-{name}")
        print(window.axe())
        if module == "erase":
            window.click("dialog .danger")
            window.wait("document.querySelector('dialog pre')")
            window.screenshot(f"receipt-{name}")
            print(window.axe())
        window.evaluate("document.querySelector('dialog').close()")
    window.check()
