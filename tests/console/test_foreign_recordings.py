"""Acceptance: recordings that others made are watched, and say at five times what their pages said.

Recorders of others run in Chromium on ``basket.html``, which changes in all the ways that pages do: text,
lists, fields, shadow roots, frames, classes, style rules. Its own words are the measure. Five recordings
were found ready-made, one in a package of npm and four in ``bench/corpus``; there the words of rrweb's own
replayer in a bare page are the measure.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from pathlib import Path

import pytest

from bench.corpus import NAMES, lines_of
from tests.client.client_lab import Driver, OpenTab, Tab, install_packages
from tests.client.conftest import open_tab as open_tab  # noqa: PLC0414 – a fixture that is the same here
from tests.console.lab import ConsoleDaemon, OpenWindow
from tests.console.reading import SAID, STEPS, check_shown, played_through

pytestmark = [pytest.mark.client, pytest.mark.table]

HERE = Path(__file__).parent
RECORDERS = HERE / "recorders"
# Name → its script, and where `record` is found in the page once that has run.
FOREIGN = {
    "rrweb 1.1.3": ("rrweb-1/dist/rrweb-all.min.js", "rrweb.record"),
    "rrweb 1.1.3, packed": ("rrweb-1/dist/rrweb-all.min.js", "rrweb.record"),
    "rrweb 2.2.2": ("rrweb/dist/rrweb.umd.min.cjs", "rrweb.record"),
    "PostHog": ("@posthog/rrweb/dist/rrweb.umd.min.cjs", "rrweb.record"),
    "Sentry": ("@sentry-internal/rrweb/dist/rrweb.umd.min.cjs", "rrweb.record"),
    "Amplitude": ("@amplitude/rrweb/dist/rrweb.umd.min.cjs", "rrweb.record"),
    "Mixpanel": ("@mixpanel/rrweb/dist/rrweb.umd.min.cjs", "rrweb.record"),
    "New Relic": ("@newrelic/rrweb/dist/rrweb.umd.min.cjs", "rrweb.record"),
}
# What PostHog's and Sentry's forks leave out unless they are told not to.
PLAIN = "maskAllInputs: false, maskAllText: false, maskInputOptions: { password: true }"
PLAYER = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body><script type="module">
import { Replayer } from '/modules/@rrweb/replay/dist/replay.js';
const events = await (await fetch('/events.json')).json();
const replayer = new Replayer(events, { root: document.body, mouseTail: false });
window.lab = {
  // Of the document that is shown; scripts of recordings never run.
  at(time) {
    replayer.pause(time - events[0].timestamp);
    const document = replayer.iframe.contentDocument;
    return (%s);
  },
};
</script>"""


def recorded(driver: Driver, tab: Tab, name: str) -> tuple[list[bytes], list[tuple[int, list[str]]]]:
    """Have ``basket.html`` recorded; return the events, and five times with what was said."""
    script, record = FOREIGN[name]
    driver.do(
        "serve",
        path="/foreign.js",
        type="text/javascript",
        body=(RECORDERS / "node_modules" / script).read_text(),
    )
    start = "<script src='/foreign.js'></script>"
    page = (HERE / "basket.html").read_text().replace("<!-- recorder -->", start)
    driver.do("serve", path="/basket.html", type="text/html", body=page)
    tab.visit("basket.html")
    packed = ", packFn: rrweb.pack" if "packed" in name else ""
    tab.do("evaluate", expression=f"void lab.start({record}, {{ {PLAIN}{packed} }})")
    tab.wait("lab.emittedAt < Infinity")
    notes = played_through(tab)
    return [text.encode() for text in tab.call("events")], notes


@pytest.mark.parametrize("name", FOREIGN)
def test_what_a_foreign_recorder_recorded_says_what_its_page_said(
    name: str, driver: Driver, console: ConsoleDaemon, open_tab: OpenTab, open_window: OpenWindow
) -> None:
    install_packages(RECORDERS)
    lines, notes = recorded(driver, open_tab(), name)
    assert len({json.dumps(said) for _, said in notes}) == STEPS
    recording_id = console.post(lines, meta={"recorder": name})
    window = open_window(console)
    check_shown(console, window, recording_id, notes)
    # What a recording refers to elsewhere is held back, and the browser says so.
    window.check("Content Security Policy")


@functools.cache
def shipped() -> list[bytes]:
    """Return the events that rrweb's own player ships to show itself, made by a recorder of 2018."""
    install_packages(RECORDERS)
    text = (RECORDERS / "node_modules/rrweb-player/dist/events.js").read_text()
    found = re.search(r"const events = (\[.*\]);?\s*(?:export|$)", text, re.DOTALL)
    assert found
    return [json.dumps(event).encode() for event in json.loads(found[1])]


def quiet_moment(lines: list[bytes], part: float) -> int:
    """Return the middle of the longest silence in the fifth of a recording that is about ``part`` of it."""
    times: list[int] = sorted(json.loads(line)["timestamp"] for line in lines)
    middle, reach = times[0] + (times[-1] - times[0]) * part, (times[-1] - times[0]) / 10
    gaps = [pair for pair in itertools.pairwise(times) if middle - reach <= sum(pair) / 2 <= middle + reach]
    before, after = max(gaps, key=lambda pair: pair[1] - pair[0])
    return round((before + after) / 2)


@pytest.mark.parametrize("name", ["rrweb-player's own", *NAMES])
def test_a_ready_made_recording_says_what_a_bare_replayer_says(
    name: str, driver: Driver, console: ConsoleDaemon, open_tab: OpenTab, open_window: OpenWindow
) -> None:
    lines = lines_of(name) if name in NAMES else shipped()
    driver.do(
        "serve", path="/events.json", type="application/json", body=(b"[" + b",".join(lines) + b"]").decode()
    )
    driver.do("serve", path="/bare.html", type="text/html", body=PLAYER % SAID)
    tab = open_tab()
    tab.visit("bare.html")
    tab.wait("window.lab !== undefined")
    times = [quiet_moment(lines, part) for part in (0.1, 0.3, 0.5, 0.7, 0.9)]
    notes = [(time, list(tab.call("at", time))) for time in times]
    recording_id = console.post(lines, meta={"recorder": name})
    window = open_window(console)
    check_shown(console, window, recording_id, notes)
    # What a recording refers to elsewhere is held back, and the browser says so.
    window.check("Content Security Policy")
