"""Every state in which a person sees the console: how a window gets there, for tests that look at each.

A state is a function that takes a window which is signed in, and leaves it there, settled. ``STATES`` has
them by name; ``NOT_SIGNED_IN`` names those that need a window without a session.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.client.client_lab import wait_for
from tests.console.lab import TENANT, ConsoleDaemon, ConsoleWindow, console_page, opened_window

State = Callable[["Place"], None]
TOLD = """[...document.querySelectorAll('#main .notes, #main .problem, #main .cover:not([hidden])')]
  .some((node) => node.innerText.length > 10)"""
USER = "ada@example.org"
LONG_TEXTS = tuple(f"step {number}" for number in range(40))


@dataclass
class Place:
    """A window, and recordings of its daemon that states show."""

    window: ConsoleWindow
    played: str
    """A recording with pages, clicks, and metadata."""
    bare: str
    """A recording without a snapshot."""

    running: str
    """One that goes on."""

    def watch(self, recording_id: str = "", query: str = "", *, settled: bool = True) -> None:
        self.window.goto(f"#/watch/{TENANT}/{recording_id or self.played}{query}", settled=settled)


def recordings_for_states(console: ConsoleDaemon) -> tuple[str, str, str]:
    """Store what ``Place`` names; return the ids once the list knows what happened in them."""
    meta: dict[str, object] = {
        "userId": USER,
        "plan": "pro",
        "note": "a rather long value that has to be cut somewhere " * 3,
    }
    lines = console_page(*LONG_TEXTS, pages=3)
    error = {"tag": "error", "payload": {"message": "no price for figs"}}
    at = json.loads(lines[-1])["timestamp"]
    lines.append(json.dumps({"type": 5, "timestamp": at, "data": error}).encode())
    played = console.post(lines, meta=meta, is_over=True)
    # More than a page of the list, of other pages and visitors.
    for number in range(30):
        url = f"https://shop.example/{'very/' * (number % 9)}long/path/{number}"
        texts = [f"text {step}" for step in range(2 + number % 7)]
        lines = console_page(*texts, url=url, step_ms=1000 + 977 * number)
        running = console.post(lines, meta={"userId": f"visitor {number}"}, is_over=number < 28)
    bare = [line for line in console_page("one", "two") if json.loads(line)["type"] != 2]
    ids = played, console.post(bare, is_over=True), running

    def is_counted() -> bool | None:
        found = console.get("/recordings?summary=true&limit=100")["recordings"]
        return all(one["clicks"] is not None for one in found if not one["live"]) or None

    wait_for(is_counted, deadline_s=30, what="the list to know what happened in each recording")
    return ids


def sign_in_empty(place: Place) -> None:
    place.window.goto("#/sign-in")
    place.window.wait("document.querySelector('input[type=password]')")


def sign_in_wrong_key(place: Place) -> None:
    sign_in_empty(place)
    place.window.fill("input[type=password]", "private_key_rr_no_such_key")
    place.window.press("Enter")
    place.window.wait("document.querySelector('[role=alert]:not([hidden])')?.innerText.length > 10")


def sign_in_used_up(place: Place) -> None:
    place.window.goto("#/sign-in/no-such-token", settled=False)
    place.window.wait("document.querySelector('[role=alert]:not([hidden])')?.innerText.length > 10")


def list_full(place: Place) -> None:
    place.window.goto("#/list")
    place.window.wait("document.querySelectorAll('[data-id]').length > 20")


def list_filtered(place: Place) -> None:
    place.window.goto(f"#/list?meta[userId]={USER}&minDuration=5000&cols=userId&cols=plan&sort=active")
    place.window.wait("document.querySelectorAll('.chip').length >= 2")
    place.window.wait("document.activeElement.tagName === 'H1'")  # Once the answer is drawn.


def list_nothing_found(place: Place) -> None:
    place.window.goto("#/list?meta[userId]=nobody")
    place.window.wait_for_text("No", "#main")


def list_error(place: Place) -> None:
    place.window.intercept(r"/console/api/.*/recordings\?", status=503, body={"error": {"code": "starting"}})
    place.window.goto("#/list", settled=False)
    place.window.wait("document.querySelector('#main .problem')", deadline_s=30)


def list_unreachable(place: Place) -> None:
    place.window.intercept(r"/console/api/.*/recordings\?", abort=True)
    place.window.goto("#/list", settled=False)
    place.window.wait("document.querySelector('#main .problem')", deadline_s=30)


def welcome(place: Place) -> None:
    place.window.goto(f"#/welcome/{TENANT}")
    place.window.wait("document.querySelector('.guide')")


def welcome_key_help(place: Place) -> None:
    sign_in_empty(place)
    place.window.click("summary")


def player_paused(place: Place) -> None:
    place.watch(query="?t=5500")
    place.window.wait_for_replay("step 5")


def player_playing(place: Place) -> None:
    place.watch()
    place.window.wait_for_replay("step 0")
    place.window.press("Space")


def player_loading(place: Place) -> None:
    place.window.intercept(r"/recordings/[^/]+/events", body="", hangs=True)
    place.watch(query="?t=5500")
    place.window.wait("document.querySelector('#main input[type=range]')")


def player_no_snapshot(place: Place) -> None:
    place.watch(place.bare)
    place.window.wait(TOLD)


def player_damaged(place: Place) -> None:
    body = {"error": {"code": "recording_damaged", "message": "blocks 3 to 5 can't be read"}}
    place.window.intercept(r"/recordings/[^/]+/events", status=500, body=body)
    place.watch(settled=False)
    place.window.wait(TOLD)


def player_not_there(place: Place) -> None:
    place.watch("00000000-0000-4000-8000-000000000000", settled=False)
    place.window.wait(TOLD)


def player_details(place: Place) -> None:
    player_paused(place)
    place.window.click("#main details summary")
    place.window.wait_for_text(USER, "#main")


def keys_help(place: Place) -> None:
    player_paused(place)
    place.window.press("?")
    place.window.wait("document.querySelector('dialog[open]')")


def live(place: Place) -> None:
    place.window.goto(f"#/live/{TENANT}/{place.running}", settled=False)
    place.window.wait_for_replay("text")


def share_dialog(place: Place) -> None:
    player_paused(place)
    place.window.click('role=button[name="Share"]')
    place.window.click("dialog .primary")
    place.window.wait("document.querySelector('dialog input[readonly]')?.value.includes('#/shared/')")


def download_dialog(place: Place) -> None:
    player_paused(place)
    place.window.click('role=button[name="Download"]')
    place.window.wait("document.querySelector('dialog[open] a[download]')")


def erase_without_right(place: Place) -> None:
    player_paused(place)
    place.window.click('role=button[name="Erase"]')
    place.window.wait("document.querySelector('dialog[open] input[type=password]')")


def erase_dialog(place: Place) -> None:
    erase_without_right(place)
    place.window.fill("dialog input[type=password]", place.window.daemon.erase_key)
    place.window.press("Enter")
    place.window.wait("document.querySelector('dialog[open] .danger:enabled')")


def erase_receipt(place: Place) -> None:
    another = place.window.daemon.post(console_page("two", "step 5"), is_over=True)
    erase_dialog(replace(place, played=another))
    place.window.click("dialog .danger")
    place.window.wait(
        "!document.querySelector('dialog .danger') && document.querySelector('dialog[open] button')"
    )


def shared_link(place: Place) -> None:
    share_dialog(place)
    link = place.window.evaluate("document.querySelector('dialog input[readonly]').value")
    place.window.goto(f"#{link.split('#', 1)[1]}", settled=False)
    place.window.wait_for_replay("step")


def shared_link_expired(place: Place) -> None:
    query = "signature=x&expires=1000000000&keyId=none"
    place.window.goto(f"#/shared/{place.played}?{query}", settled=False)
    place.window.wait(TOLD)


def box(place: Place) -> None:
    place.window.goto("#/box")
    place.window.wait("[...document.querySelectorAll('.figure b')].every((one) => one.textContent)")


STATES: dict[str, State] = {
    "sign-in, empty": sign_in_empty,
    "sign-in, wrong key": sign_in_wrong_key,
    "sign-in, address used up": sign_in_used_up,
    "list, full": list_full,
    "list, filtered": list_filtered,
    "list, nothing found": list_nothing_found,
    "list, server busy": list_error,
    "list, server away": list_unreachable,
    "welcome": welcome,
    "sign-in, where a key is": welcome_key_help,
    "player, paused": player_paused,
    "player, playing": player_playing,
    "player, loading": player_loading,
    "player, no snapshot": player_no_snapshot,
    "player, damaged": player_damaged,
    "player, not there": player_not_there,
    "player, details": player_details,
    "player, keys": keys_help,
    "live": live,
    "share": share_dialog,
    "download": download_dialog,
    "erase, without the right": erase_without_right,
    "erase": erase_dialog,
    "erase, receipt": erase_receipt,
    "shared link": shared_link,
    "shared link, expired": shared_link_expired,
    "server": box,
}
NOT_SIGNED_IN = {name for name in STATES if name.startswith("sign-in")}
# What the browser's own console says of answers that a state is about.
EXPECTED = ("Failed to load resource", "net::ERR_CONNECTION_REFUSED", "Problem", "Content Security Policy")

LOOKS: dict[str, dict[str, object]] = {
    "light": {"colorScheme": "light"},
    "dark": {"colorScheme": "dark"},
    "forced colours": {"colorScheme": "dark", "forcedColors": "active"},
    "320 px": {"viewport": {"width": 320, "height": 640}},
    "zoomed": {"zoom": 2, "colorScheme": "dark", "reducedMotion": "reduce"},
}
"""In what a person may see it."""

__all__ = ["EXPECTED", "LOOKS", "NOT_SIGNED_IN", "STATES", "Place", "opened_window", "recordings_for_states"]
