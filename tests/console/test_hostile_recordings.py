"""Hostile recordings, watched in the console: no script runs, nothing is reached, nobody is looked up.

They come in as they would from an attacker: posted with the public key that stands in each page's source.
The browser has a profile, as people's do, and writes down each look-up and each request; a listener counts
connections, which some hints open past any policy.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.assets.building import built_assets
from tests.client.client_lab import ROOT, RRD, Driver
from tests.client.listening import Listener
from tests.console.hostile import ELEMENTS, END, recording_of_elements
from tests.console.hostile_events import VECTORS, odd_recordings, recording_of_events
from tests.console.lab import (
    TENANT,
    ConsoleDaemon,
    ConsoleWindow,
    eventually_true,
    opened_window,
)

pytestmark = pytest.mark.client

PLACEMENTS = {"another origin": "127.0.0.1", "the same origin": "console.localhost"}
"""Names of the console: for the first the stage has the other name of this machine, then the same."""
UNKNOWN = "rrd-hostile.example"
GROUPS = 12
NAMES = itertools.count(1)
MARKS = """(() => {
  const windows = [window];
  for (const one of windows)
    for (const frame of one.document.querySelectorAll('iframe'))
      if (frame.contentDocument) windows.push(frame.contentWindow);
  return windows.some((one) => one.pwned !== undefined);
})()"""
CLICK_ALL = """(() => {
  const roots = [document];
  for (const root of roots) {
    for (const one of root.querySelectorAll('*')) {
      if (one.shadowRoot) roots.push(one.shadowRoot);
      if (one.contentDocument) roots.push(one.contentDocument);
      one.dispatchEvent(new MouseEvent('mouseover', { bubbles: true }));
      if (/^(a|area|button|input|summary|svg:a|text|mtext|p|details)$/i.test(one.tagName))
        one.dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true, view: window }));
    }
  }
  return roots.length;
})()"""
CONTROL = """<!doctype html><link rel="icon" href="data:,"><link rel="preconnect" href="HINTED">
<link rel="preconnect" href="http://control.rrd-hostile.example"><img src="FETCHED/x.png"><p>control</p>"""


class Attacked(ConsoleDaemon):
    """A daemon with a public key, which is all that an attacker has."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        command = [*RRD, "keys", "create", "--data-dir", str(self.data_dir), "--tenant", TENANT]
        done = subprocess.run(
            [*command, "--scope", "public"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        self.public_key = done.stdout.strip()

    def attack(self, events: Sequence[Any]) -> str:
        """Post a hostile recording; return its id."""
        own, self.key = self.key, self.public_key
        try:
            return self.post(json.dumps(event).encode() for event in events)
        finally:
            self.key = own


@pytest.fixture(scope="module")
def attacked(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    built_assets()
    daemon = Attacked(tmp_path_factory.mktemp("attacked"))
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


@contextlib.contextmanager
def suspicious_window(driver: Driver, daemon: Attacked, host: str, log: Path) -> Iterator[ConsoleWindow]:
    """A window of a browser that writes down what it looks up and asks for."""
    flags = [f"--log-net-log={log}", "--net-log-capture-mode=Everything"]
    name = f"suspicious {next(NAMES)}"
    with opened_window(driver, name, daemon, key=None, flags=flags, has_profile=True) as window:
        window.do("visit", url=f"http://{host}:{daemon.port}/console/#/sign-in")
        sign_in = f"""fetch('/console/session', {{
          method: 'POST',
          body: JSON.stringify({{ key: {json.dumps(daemon.key)} }}),
          headers: {{ 'Content-Type': 'application/json', 'Rrd-Console': '1' }},
        }}).then(({{ status }}) => status)"""
        assert window.evaluate(sign_in) == 200
        yield window


def watch(window: ConsoleWindow, host: str, recording_id: str) -> None:
    """Watch a recording from its beginning to its end, back and forth, and click on all there is."""
    window.do("visit", url=f"http://{host}:{window.daemon.port}/console/#/watch/{TENANT}/{recording_id}?t=0")
    window.wait_for_replay("still here")
    window.press("Space")
    window.wait_for_replay(END)
    window.wait("document.querySelector('.controls [aria-label^=Play]')")
    window.press("j")
    window.wait_for_replay("still here")
    window.press("l")
    window.wait_for_replay(END)
    assert window.evaluate(MARKS, where="replay") is False
    # Nobody can click on what is in the frame. If somebody could, nothing would come of it.
    assert window.evaluate(CLICK_ALL, where="replay") > 0
    for where in ("page", "stage"):
        assert window.evaluate(MARKS, where=where) is False, where
    window.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def check_quiet(window: ConsoleWindow, host: str) -> None:
    """Fail if a script has run, or a window went anywhere."""
    seen = window.seen()
    # What a script of a recording would say; the browser's own complaints quote their reason.
    assert [message for message in seen.console if message["text"] == "pwned"] == []
    assert (seen.dialogs, seen.popups, seen.downloads) == ([], 0, [])
    own = (
        f"http://{host}:{window.daemon.port}/console/",
        f"http://localhost:{window.daemon.port}/console/stage",
    )
    assert [url for url in seen.navigations if not url.startswith((*own, "about:"))] == []


def recordings(bad: Sequence[str]) -> dict[str, Callable[[], list[Any]]]:
    """Return what makes each hostile recording, by name."""
    return {
        **{name: functools.partial(recording_of_elements, [name], bad) for name in ELEMENTS},
        **{name: functools.partial(recording_of_events, name, bad[0]) for name in VECTORS},
        **{name: functools.partial(list, events) for name, events in odd_recordings(bad[0])},
    }


def names_of_group(group: int) -> list[str]:
    return sorted(recordings([""]))[group::GROUPS]


def check_recordings(
    driver: Driver,
    daemon: Attacked,
    listener: Listener,
    log: Path,
    host: str,
    made: dict[str, Callable[[], list[Any]]],
) -> None:
    with suspicious_window(driver, daemon, host, log) as window:
        for name, make in made.items():
            try:
                watch(window, host, daemon.attack(make()))
                check_quiet(window, host)
            except Exception as error:
                error.add_note(f"the recording is {name!r}")
                raise
        assert listener.connections == 0
        check_would_connect(driver, window)
    # The browser is closed; its log is whole.
    found = log.read_text(errors="replace")
    assert "control." + UNKNOWN in found
    assert [line for line in found.splitlines() if UNKNOWN in line and "control." not in line] == []


def check_would_connect(driver: Driver, window: ConsoleWindow) -> None:
    """Show that the same browser connects and looks up where it may, and has had the time to."""
    hinted, fetched = Listener(), Listener()
    body = CONTROL.replace("HINTED", f"http://127.0.0.1:{hinted.port}")
    driver.do(
        "serve",
        path="/control.html",
        type="text/html",
        body=body.replace("FETCHED", f"http://127.0.0.1:{fetched.port}"),
    )
    window.do("visit", url=f"http://127.0.0.1:{driver.page_port}/control.html")
    eventually_true(lambda: hinted.connections > 0 and fetched.connections > 0, what="two connections")
    hinted.close()
    fetched.close()


def bad_origins(listener: Listener) -> list[str]:
    return [f"http://127.0.0.1:{listener.port}", f"https://{UNKNOWN}"]


@pytest.mark.parametrize("host", PLACEMENTS.values(), ids=PLACEMENTS)
def test_vectors_side_by_side_get_nowhere(
    driver: Driver, attacked: Attacked, listener: Listener, tmp_path: Path, host: str
) -> None:
    names = list(ELEMENTS)
    bad = bad_origins(listener)
    parts = {f"part {at}": names[at : at + 45] for at in range(0, len(names), 45)}
    made: dict[str, Callable[[], list[Any]]] = {
        part: functools.partial(recording_of_elements, chosen, bad) for part, chosen in parts.items()
    }
    check_recordings(driver, attacked, listener, tmp_path / "net.json", host, made)


@pytest.mark.slow
@pytest.mark.parametrize("group", range(GROUPS))
def test_each_hostile_recording_gets_nowhere(
    driver: Driver, attacked: Attacked, listener: Listener, tmp_path: Path, group: int
) -> None:
    host = list(PLACEMENTS.values())[group % 2]
    made = recordings(bad_origins(listener))
    chosen = {name: made[name] for name in names_of_group(group)}
    check_recordings(driver, attacked, listener, tmp_path / "net.json", host, chosen)
