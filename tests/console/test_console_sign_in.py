"""The way in, in a browser: keys, one-time addresses, and the first recording of a site."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from tests.assets.building import built_assets
from tests.client.client_lab import ROOT, RRD, Driver, OpenTab
from tests.client.conftest import open_tab as open_tab  # noqa: PLC0414 – a fixture that is the same here
from tests.console.conftest import OwnConsole
from tests.console.lab import ConsoleDaemon, OpenWindow, console_page

pytestmark = pytest.mark.client


@pytest.fixture
def empty(own_console: OwnConsole) -> ConsoleDaemon:
    return own_console()


def one_time_route(daemon: ConsoleDaemon) -> str:
    """Return the route that `rrd console` prints for an operator."""
    command = [*RRD, "console", "--data-dir", str(daemon.data_dir), "--port", str(daemon.port)]
    done = subprocess.run(
        command, cwd=ROOT, env=daemon.environment(), capture_output=True, text=True, check=False
    )
    found = re.search(r"#/sign-in/\S+", done.stdout)
    assert found, done.stdout + done.stderr
    return found[0]


def test_a_key_signs_in_and_is_kept_nowhere(console: ConsoleDaemon, open_window: OpenWindow) -> None:
    recording_id = console.post(console_page("one"))
    window = open_window(console, key=None)
    window.goto(f"#/list?meta[a]=b&cols={recording_id}")
    window.wait_for_text("Sign in to rrd")
    window.fill("#key", "nonsense")
    window.press("Enter")
    window.wait_for_text("no key of this server")
    assert window.evaluate("document.querySelector('#key').hasAttribute('aria-invalid')")
    window.fill("#key", console.key)
    window.press("Enter")
    window.wait_for_text("No recording matches")
    # It is what was asked for before.
    assert recording_id in window.evaluate("location.hash")
    kept = (
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, document.body.innerHTML])"
    )
    assert console.key not in window.evaluate(kept)
    window.click('role=button[name="Sign out"]')
    window.wait_for_text("Sign in to rrd")
    window.evaluate("history.back()")
    window.wait_for_text("Sign in to rrd")
    window.check("status of 401")


def test_a_key_that_may_not_read_and_too_many_tries_are_told(
    console: ConsoleDaemon, open_window: OpenWindow
) -> None:
    window = open_window(console, key=None)
    window.goto("#/sign-in")
    for status, told in ((403, "can write, and can’t read"), (503, "Try again in a moment")):
        error = {"error": {"code": "some", "message": "some"}}
        window.intercept("console/session$", status=status, body=error, times=1)
        window.fill("#key", "some")
        window.press("Enter")
        window.wait_for_text(told)
    window.intercept("console/session$", status=429, headers={"Retry-After": "2"}, body={}, times=1)
    window.fill("#key", "some")
    window.press("Enter")
    window.wait_for_text("Try again in 2 seconds")
    assert window.evaluate("document.querySelector('form button').disabled")
    window.wait_for_text("Try again in 1 second.")
    window.wait("!document.querySelector('form button').disabled")
    assert "Too many" not in window.text()
    window.check("status of")


def test_a_one_time_address_signs_in_once(empty: ConsoleDaemon, open_window: OpenWindow) -> None:
    route = one_time_route(empty)
    window = open_window(empty, key=None)
    window.goto(route)
    window.wait_for_text("Make your first recording")
    token = route.removeprefix("#/sign-in/")
    seen = window.seen()
    assert [request["url"] for request in seen.requests if token in str(request["url"])] == []
    window.evaluate("history.back()")
    window.wait("!location.hash.includes('sign-in/')")
    other = open_window(empty, key=None)
    other.goto(route)
    other.wait_for_text("This address no longer works")
    other.wait_for_text("rrd console")
    assert token not in other.evaluate("location.href")
    other.screenshot("sign-in-used")
    other.fill("#key", empty.key)
    other.press("Enter")
    other.wait_for_text("Make your first recording")
    window.check("status of 401")
    other.check("status of 401")


def test_the_first_recording_of_a_site_turns_the_check_green_and_opens(
    driver: Driver, empty: ConsoleDaemon, open_tab: OpenTab, open_window: OpenWindow
) -> None:
    built_assets()
    window = open_window(empty, key=None, permissions=["clipboard-read", "clipboard-write"])
    window.goto(one_time_route(empty))
    window.wait_for_text("Nothing has arrived yet")
    tab = open_tab()
    window.fill("#site", f"{tab.origin}/shop/cart")
    window.click('role=button[name="Make a key"]')
    window.wait_for_text("The key is in the text below")
    window.click("css=.guide input[type=checkbox] >> nth=0")
    window.click('role=button[name="Copy"]')
    window.wait_for_text("Copied")
    pasted = window.evaluate("navigator.clipboard.readText()")
    found = re.fullmatch(
        r"<script src=\"(.*)/record.js\" autostart async>\n(.*)\n</script>", pasted, re.DOTALL
    )
    assert found
    options = json.loads(found[2])
    assert found[1] == empty.url
    assert options.pop("publicApiKey").startswith("public_key_rr_")
    assert options == {"checkoutEveryNms": 300_000, "inlineImages": True}
    page = f'<!doctype html><link rel="icon" href="data:,">{pasted}<body>hello there</body>'
    driver.do("serve", path="/pasted.html", type="text/html", body=page)
    tab.visit("pasted.html")
    window.wait_for_text("It works")
    window.screenshot("welcome-found")
    window.wait("location.hash.startsWith('#/live/t/')")
    window.wait_for_replay("hello there")
    window.check("status of 401")
