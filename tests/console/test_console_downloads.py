"""Files that the console hands out are there, named, and hold what was asked for."""

from __future__ import annotations

import json
import time

import pytest

from tests.console.conftest import OwnConsole
from tests.console.lab import START_MS, TENANT, ConsoleDaemon, ConsoleWindow, OpenWindow, console_page
from tests.console.test_console_share import FIELD

pytestmark = pytest.mark.client

TEXTS = [f"text {number}" for number in range(20)]
DIALOG = "document.querySelector('dialog')"


def open_downloads(window: ConsoleWindow) -> None:
    window.wait("document.querySelector('aside button')")
    window.click("aside >> text=Download")
    window.wait(DIALOG)


def stamps(text: str) -> list[int]:
    """Return the timestamps in a file of either form."""
    events = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    return [event["timestamp"] for event in events]


@pytest.mark.parametrize("is_shared", [False, True], ids=["signed in", "by a link"])
def test_events_come_whole_and_in_part(
    console: ConsoleDaemon, open_window: OpenWindow, is_shared: bool
) -> None:
    recording_id = console.post(console_page(*TEXTS))
    window = open_window(console)
    window.goto(f"#/watch/{TENANT}/{recording_id}")
    if is_shared:
        window.click("aside >> text=Share")
        window.click('dialog >> role=button[name="Make a link"]')
        link = window.wait(FIELD)
        window = open_window(console, key=None)
        window.do("visit", url=link)
        window.settle()
    sent = sorted(event["timestamp"] for event in console.events(recording_id))
    open_downloads(window)
    window.click("dialog >> text=NDJSON")
    assert window.downloaded(0)[0] == f"recording-{recording_id}.ndjson"
    assert stamps(window.downloaded(0)[1]) == sent
    window.click("dialog >> text=JSON, one array")
    assert window.downloaded(1)[0] == f"recording-{recording_id}.json"
    assert stamps(window.downloaded(1)[1]) == sent
    window.fill('dialog >> role=textbox[name="From"]', "0:03")
    window.fill('dialog >> role=textbox[name="to"]', "0:05")
    window.click("dialog >> text=NDJSON")
    part = [stamp for stamp in sent if START_MS + 3000 <= stamp < START_MS + 6000]
    assert stamps(window.downloaded(2)[1]) == part
    window.click('dialog >> role=button[name="Page that replays (HTML)"]')
    name, page = window.downloaded(3)
    assert name == f"recording-{recording_id}.html"
    assert page.startswith("<!")
    window.wait_for_text("with your downloads", "dialog")
    window.check("401")


@pytest.mark.parametrize(
    ("begin", "end"),
    [("", "0:05"), ("5", "0:07"), ("0:05", "0:03"), ("0:61", "2:00"), ("x", "y"), ("-1:00", "1:00")],
)
def test_a_part_that_is_none_is_no_link(
    console: ConsoleDaemon, open_window: OpenWindow, begin: str, end: str
) -> None:
    window = open_window(console)
    window.goto(f"#/watch/{TENANT}/{console.post(console_page(*TEXTS))}")
    open_downloads(window)
    window.fill('dialog >> role=textbox[name="From"]', begin)
    window.fill('dialog >> role=textbox[name="to"]', end)
    assert "like 3:12" in window.text("dialog")
    assert window.count("dialog a[href]") == 0
    assert window.count("dialog button:disabled") == 1
    window.fill('dialog >> role=textbox[name="From"]', "0:01")
    window.fill('dialog >> role=textbox[name="to"]', " 0:05 ")
    assert window.count("dialog a[href]") == 2
    window.check()


def test_what_fits_no_page_has_a_way_out(own_console: OwnConsole, open_window: OpenWindow) -> None:
    console = own_console(html_export_bytes_max=1 << 20)
    # Twenty minutes, of which ten fit.
    pages = [
        line
        for page in range(4)
        for line in console_page(
            *(f"{page} {'x' * 60_000}" for _ in range(5)), start=START_MS + page * 400_000
        )
    ]
    recording_id = console.post(pages)
    window = open_window(console)
    window.goto(f"#/watch/{TENANT}/{recording_id}?t=0")
    open_downloads(window)
    page = 'dialog >> role=button[name="Page that replays (HTML)"]'
    window.click(page)
    window.wait_for_text("more than fits one page", "dialog")
    assert window.evaluate("[...document.querySelectorAll('dialog input')].map(({value}) => value)") == [
        "0:00",
        "5:00",
    ]
    window.click(page)
    name, text = window.downloaded(0)
    assert name == f"recording-{recording_id}.html"
    assert len(text) > 1000
    window.check("400")


def test_a_page_is_saved_once_the_server_is_back(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    recording_id = console.post(console_page(*TEXTS))
    window = open_window(console)
    window.goto(f"#/watch/{TENANT}/{recording_id}")
    open_downloads(window)
    page = 'dialog >> role=button[name="Page that replays (HTML)"]'
    window.intercept("export.html", abort=True)
    window.click(page)
    window.wait_for_text("can’t be reached", "dialog")
    window.unintercept()
    window.click(page)
    assert window.downloaded(0)[0] == f"recording-{recording_id}.html"
    window.check("ERR_CONNECTION_REFUSED")


def test_an_exported_page_replays_by_itself(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    recording_id = console.post(console_page("one", "two"))
    window = open_window(console)
    window.goto(f"#/watch/{TENANT}/{recording_id}")
    open_downloads(window)
    window.click('dialog >> role=button[name="Page that replays (HTML)"]')
    _, text = window.downloaded(0)
    target = console.data_dir.parent / f"{time.monotonic_ns()}.html"
    target.write_text(text)
    window.do("visit", url=target.as_uri())
    frames = "[...document.querySelectorAll('iframe')]"
    window.wait(f"{frames}.some((frame) => frame.contentDocument?.body?.innerText.includes('one'))")
