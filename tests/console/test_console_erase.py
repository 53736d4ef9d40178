"""Erasing in the console: by whom, what is said before, and that it is gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.client.client_lab import Driver
from tests.console.lab import TENANT, ConsoleDaemon, ConsoleWindow, OpenWindow, console_page
from tests.harness import Keys

pytestmark = pytest.mark.client


class Erasing(NamedTuple):
    daemon: ConsoleDaemon
    key: str
    """It may erase, and nothing else."""
    other_key: str
    """It may read another tenant."""


@pytest.fixture(scope="module")
def erasing(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Erasing]:
    daemon = ConsoleDaemon(tmp_path_factory.mktemp("erasing"))
    keys = Keys(str(daemon.data_dir))
    key, other_key = keys.key("erase", tenant=TENANT), keys.key("read", tenant="other")
    daemon.start()
    yield Erasing(daemon, key, other_key)
    daemon.stop()


def ask_to_erase(window: ConsoleWindow, recording_id: str) -> None:
    window.goto(f"#/watch/{TENANT}/{recording_id}")
    window.wait_for_replay("one")
    window.click("aside >> text=Erase")
    window.wait("document.querySelector('dialog input, dialog .danger')")


def add_key(window: ConsoleWindow, key: str) -> None:
    window.fill("dialog input[type=password]", key)
    window.click("dialog form button")


def test_a_recording_is_erased_with_a_key_that_may_and_a_receipt(
    erasing: Erasing, open_window: OpenWindow
) -> None:
    daemon = erasing.daemon
    recording_id = daemon.post(console_page("one", "two"), meta={"userId": "alone"})
    kept = daemon.post(console_page("one", "two"), meta={"userId": "someone else"})
    count = len(daemon.events(recording_id))
    window = open_window(daemon, permissions=["clipboard-read", "clipboard-write"])
    window.goto("#/list")
    ask_to_erase(window, recording_id)
    assert "--scope erase" in window.text("dialog")
    add_key(window, "no key at all")
    window.wait_for_text("no key of this server", "dialog")
    add_key(window, erasing.other_key)
    window.wait_for_text("may not erase here", "dialog")
    add_key(window, erasing.key)
    window.wait("document.querySelector('dialog .danger')")
    told = window.text("dialog")
    for said in (recording_id, "https://shop.example/cart", f"{count} events, "):
        assert said in told
    # The safe way is the one that Enter takes.
    assert window.evaluate("document.activeElement.textContent") == "Cancel"
    assert window.count("dialog option") == 1
    window.click("dialog .danger")
    receipt = str(window.wait("document.querySelector('dialog pre')?.textContent"))
    assert f"This recording ({recording_id})" in receipt
    assert f"1 recording, {count} events" in receipt
    assert daemon.get(f"/recordings/{recording_id}") is None
    window.click('dialog >> role=button[name="Copy"]')
    window.wait_for_text("Copied")
    assert window.evaluate("navigator.clipboard.readText()") == receipt
    window.click('dialog >> role=button[name="Done"]')
    window.wait("location.hash.startsWith('#/list')")
    window.wait(f"document.querySelector('a[href*=\"{kept}\"]')")
    assert window.count(f'a[href*="{recording_id}"]') == 0
    window.check("401", "404", "410")


def test_all_of_one_visitor_is_erased_at_once(erasing: Erasing, open_window: OpenWindow) -> None:
    daemon = erasing.daemon
    mine = [daemon.post(console_page("one", "two"), meta={"userId": "u 1&x=[]"}) for _ in range(3)]
    other = daemon.post(console_page("one", "two"), meta={"userId": "u2"})
    window = open_window(daemon)
    ask_to_erase(window, mine[1])
    add_key(window, erasing.key)
    window.wait_for_text("All 3 recordings with userId = u 1&x=[]", "dialog")
    window.select("dialog select", "1")
    window.click("dialog .danger")
    window.wait("document.querySelector('dialog pre')")
    receipt = window.text("dialog pre")
    assert "All 3 recordings with userId = u 1&x=[]" in receipt
    assert "\n3 recordings, " in receipt
    assert [daemon.get(f"/recordings/{recording_id}") for recording_id in mine] == [None] * 3
    assert daemon.get(f"/recordings/{other}") is not None
    window.check("401", "404", "410")


def test_who_cancels_erases_nothing(erasing: Erasing, open_window: OpenWindow) -> None:
    recording_id = erasing.daemon.post(console_page("one", "two"))
    window = open_window(erasing.daemon)
    ask_to_erase(window, recording_id)
    add_key(window, erasing.key)
    for way in ("Enter", "Escape"):
        window.wait("document.querySelector('dialog .danger')")
        window.press(way)
        window.wait("!document.querySelector('dialog')")
        window.click("aside >> text=Erase")
    assert erasing.daemon.get(f"/recordings/{recording_id}") is not None
    window.check("401")


def test_a_failure_leaves_the_choice_as_it_was(erasing: Erasing, open_window: OpenWindow) -> None:
    recording_id = erasing.daemon.post(console_page("one", "two"))
    window = open_window(erasing.daemon)
    ask_to_erase(window, recording_id)
    add_key(window, erasing.key)
    window.wait("document.querySelector('dialog .danger')")
    window.intercept(f"/api/{TENANT}/recordings/{recording_id}$", abort=True, times=1)
    window.click("dialog .danger")
    window.wait_for_text("can’t be reached", "dialog")
    window.click("dialog .danger")
    window.wait("document.querySelector('dialog pre')")
    assert erasing.daemon.get(f"/recordings/{recording_id}") is None
    window.check("401", "404", "410", "ERR_CONNECTION_REFUSED")
