"""What tests of the console use: a daemon that serves it, windows in which a person watches, recordings.

A test takes the fixtures of ``conftest.py``::

    def test_a_click_plays(console: ConsoleDaemon, open_window: OpenWindow) -> None:
        recording_id = console.post(console_page("one", "two"), meta={"userId": "u1"})
        window = open_window(console)             # signed in; open_window(console, key=None) is not
        window.goto(f"#/watch/t/{recording_id}")  # waits until the view is there
        window.wait_for_replay("one")             # what the replayed page says
        window.click('role=button[name="Play"]')  # selectors are playwright's
        window.wait("document.querySelector('#clock').textContent > '0:01'")
        window.check()                            # no error, no broken policy, no request to others

``console`` is one daemon for all tests that add recordings and change nothing else; ``own_console(name=…)``
starts one with settings for the test alone. Each window is a browser context of its own:
``open_window(console, colorScheme="dark", viewport=NARROW, reducedMotion="reduce")`` takes the options of
playwright's ``newContext`` (``forcedColors`` is another); ``flags=[…]`` starts a browser of its own with
Chromium's flags, and ``zoom=2`` is a person's zoom.

Expressions are JavaScript. ``where`` says in which document: ``"page"`` is the console, ``"stage"`` the frame
in which recordings play, ``"replay"`` the replayed page itself, as ``document`` (None while there is none).

The browser is that of ``tests/client``, its driver too; ``watching.mjs`` has the commands that are used here.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.client.client_lab import ROOT, Daemon, Driver
from tests.harness import Keys
from tests.samples import meta_event, ndjson, new_id

SHOTS = ROOT / "build" / "console"
"""Where screenshots go: artefacts to look at, which no test compares."""
COOKIE = "rrd_console"
TENANT = "t"
WIDE = {"width": 1280, "height": 800}
NARROW = {"width": 320, "height": 640}
HELD_BACK = ("csp", "net::ERR_BLOCKED_BY_CSP")
SETTLED = "document.querySelector('#main')?.childElementCount && !document.querySelector('#main > .loading')"
BLOCKING_IMPACTS = ("serious", "critical")


class ConsoleDaemon(Daemon):
    """A daemon with the console, and a key of tenant ``t`` with all rights (``key``)."""

    def __init__(self, directory: Path, **settings: object) -> None:
        super().__init__(
            directory, **{"console": "true", "disk_reserve_bytes": 0, "flush_age_ms": 20, **settings}
        )
        # Before the start, as all keys that count at once.
        self.erase_key = Keys(str(self.data_dir)).key("erase", tenant=TENANT)

    @property
    def page(self) -> str:
        """The console's address."""
        return f"{self.url}/console/"

    def post(
        self,
        lines: Iterable[bytes],
        *,
        recording_id: str = "",
        meta: dict[str, object] | None = None,
        is_over: bool = False,
    ) -> str:
        """Store events, and ``meta`` as metadata; return the recording's id once they are safe.

        With ``is_over`` the page says that it is over, so that the recording is no live one.
        """
        recording_id = recording_id or new_id()
        lines = list(lines)
        if meta:
            lines.append(meta_event(1, **meta))
        if is_over:
            last = max(json.loads(line)["timestamp"] for line in lines)
            lines.append(_line(5, last, {"tag": "close-permanent", "payload": {}}))
        answer = self.send(f"/recordings/{recording_id}/ingest", ndjson(lines), "application/x-ndjson")
        assert answer.get("quarantined", 0) == 0, answer
        return recording_id

    def send(self, path: str, body: bytes, kind: str = "application/json") -> Any:
        """POST a body with the key; return the JSON of the answer. ``HTTPError`` if it is refused."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": kind}
        request = urllib.request.Request(self.url + path, data=body, headers=headers, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def session_cookie(self, key: str) -> str:
        """Sign in with a key, as the page does; return the cookie's value."""
        request = urllib.request.Request(
            f"{self.page}session",
            data=json.dumps({"key": key}).encode(),
            headers={"Content-Type": "application/json", "Rrd-Console": "1"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = re.search(rf"{COOKIE}=([^;]+)", answer.headers["Set-Cookie"] or "")
        assert found, "the answer to a sign-in sets no cookie"
        return found[1]


@dataclass(frozen=True)
class Witnessed:
    """What the developer tools of a window show, of all its pages and frames."""

    console: list[dict[str, str]]
    """``{"type", "text", "url"}`` of each message."""
    errors: list[str]
    """Errors that nothing caught."""
    requests: list[dict[str, Any]]
    """``{"url", "method", "kind", "failure"}`` of each request, also of those that a policy held back."""
    answers: list[dict[str, Any]]
    """``{"url", "status"}`` of each answer."""
    dialogs: list[str]
    popups: int
    navigations: list[str]
    """The URL of each document that a frame went to."""
    downloads: list[str]
    """The suggested name of each download."""

    @property
    def hosts(self) -> set[str]:
        """Each ``host:port`` that was asked for something: a request that a policy held back never left."""
        sent = [one for one in self.requests if one["failure"] not in HELD_BACK]
        return {urlsplit(str(one["url"])).netloc for one in sent} - {""}

    def complaints(self, *expected: str) -> list[str]:
        """Return errors and console lines, broken policies among them, without the ``expected`` texts."""
        lines = [f"{message['type']}: {message['text']} ({message['url']})" for message in self.console]
        return [line for line in self.errors + lines if not any(text in line for text in expected)]


@dataclass
class ConsoleWindow:
    """A window in which a person uses the console of one daemon."""

    driver: Driver
    name: str
    daemon: ConsoleDaemon
    expected: list[str] = field(default_factory=list)
    """Texts of console lines that this test means to happen."""

    def do(self, command: str, **fields: object) -> Any:
        return self.driver.do(command, tab=self.name, **fields)

    def goto(self, route: str = "#/list", *, settled: bool = True) -> None:
        """Load the console anew at a route; with ``settled`` wait until its view has something to show."""
        self.do("visit", url=self.daemon.page + route)
        if settled:
            self.settle()

    def follow(self, route: str) -> None:
        """Change the fragment of the page that is open, as a link does."""
        self.evaluate(f"void (location.hash = {json.dumps(route)})")
        self.settle()

    def settle(self) -> None:
        """Wait until the view is there: nothing in ``main`` says any longer that it is being loaded."""
        self.wait(SETTLED)

    def evaluate(self, expression: str, *, where: str = "page") -> Any:
        return self.do("evaluateIn", expression=expression, where=where)

    def wait(self, expression: str, *, where: str = "page", deadline_s: float = 20.0) -> Any:
        """Wait until an expression is true; return it. ``RuntimeError`` tells what the page shows instead."""
        return self.do("waitIn", expression=expression, where=where, deadlineMs=deadline_s * 1000)

    def text(self, selector: str = "#main") -> str:
        """Return what a part of the console says."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def wait_for_text(self, text: str, selector: str = "body", *, deadline_s: float = 20.0) -> None:
        wanted = f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})"
        self.wait(wanted, deadline_s=deadline_s)

    def replayed_text(self) -> str | None:
        """Return what the replayed page says now; None while there is none."""
        found = self.evaluate("document.body.innerText", where="replay")
        return None if found is None else str(found)

    def wait_for_replay(self, text: str, *, deadline_s: float = 20.0) -> None:
        """Wait until the replayed page says a text."""
        self.wait(
            f"document.body.innerText.includes({json.dumps(text)})", where="replay", deadline_s=deadline_s
        )

    def at(self, route: str, time_ms: float) -> None:
        """Open a recording at a time, counted from its beginning, without playing."""
        self.goto(f"{route}{'&' if '?' in route else '?'}t={time_ms:g}")

    def click(self, selector: str) -> None:
        self.do("act", action="click", selector=selector, args=[])

    def fill(self, selector: str, text: str) -> None:
        self.do("act", action="fill", selector=selector, args=[text])

    def select(self, selector: str, value: str) -> None:
        self.do("act", action="selectOption", selector=selector, args=[value])

    def focus(self, selector: str) -> None:
        self.do("act", action="focus", selector=selector, args=[])

    def count(self, selector: str) -> int:
        return int(self.do("act", action="count", selector=selector, args=[]))

    def press(self, key: str) -> None:
        """Press a key as playwright names it: ``Space``, ``ArrowLeft``, ``Shift+Tab``."""
        self.do("press", key=key)

    def mouse(self, action: str, *args: object) -> None:
        """``move``, ``down``, ``up`` or ``click`` at places of the window."""
        self.do("mouse", action=action, args=args)

    def box(self, selector: str) -> dict[str, float] | None:
        """Return where something lies: ``x``, ``y``, ``width``, ``height``; None if it isn't drawn."""
        found: dict[str, float] | None = self.do("box", selector=selector)
        return found

    def focused(self) -> dict[str, Any] | None:
        """Return the element that has the focus, and how it looks; None if none has."""
        found: dict[str, Any] | None = self.do("focused")
        return found

    def reload(self) -> None:
        self.do("reload")
        self.settle()

    def intercept(
        self, pattern: str, *, status: int = 200, body: object = None, headers: dict[str, str] | None = None,
        abort: bool = False, hangs: bool = False, times: int | None = None,
    ) -> None:  # fmt: skip
        """Answer requests whose URL matches in the server's place.

        ``abort``: as one that is not there; ``hangs``: as one that never answers.
        """
        text = body if isinstance(body, str) else json.dumps(body or {})
        fields = {"pattern": pattern, "status": status, "body": text, "headers": headers, "abort": abort}
        self.do("intercept", **fields, hangs=hangs, times=times)

    def unintercept(self) -> None:
        self.do("unintercept")

    def downloaded(self, index: int = 0) -> tuple[str, str]:
        """Return name and text of a download, waiting for it."""
        found = self.do("downloaded", index=index)
        return found["name"], found["text"]

    def screenshot(self, name: str, *, full_page: bool = False) -> Path:
        """Keep a picture for people in ``build/console``."""
        path = SHOTS / f"{name}.png"
        self.do("screenshot", path=str(path), fullPage=full_page)
        return path

    def heap(self) -> dict[str, int]:
        """Return the bytes of JavaScript's heaps after a collection: ``page``, and ``stage`` if apart."""
        found = self.do("heap")
        return {name: int(size) for name, size in found.items() if size is not None}

    def axe(self) -> list[str]:
        """Return what axe finds serious or critical, in words."""
        return [
            f"{found['id']} ({found['impact']}): {found['help']}\n  " + "\n  ".join(found["nodes"])
            for found in self.do("axe")
            if found["impact"] in BLOCKING_IMPACTS
        ]

    def seen(self) -> Witnessed:
        return Witnessed(**self.do("seenIn"))

    def forget_seen(self) -> None:
        """Begin anew with what ``seen`` and ``check`` look at."""
        self.do("forgetSeen")

    def check(self, *expected: str) -> None:
        """Fail on what no test may leave behind: complaints, dialogs, popups, requests to others.

        ``expected`` are texts of console lines that are meant, beside those of the window's own ``expected``.
        """
        seen = self.seen()
        assert seen.complaints(*expected, *self.expected) == []
        assert (seen.dialogs, seen.popups) == ([], 0)
        assert {host for host in seen.hosts if host not in self.own_hosts} == set()

    @property
    def own_hosts(self) -> set[str]:
        return {f"{name}:{self.daemon.port}" for name in ("127.0.0.1", "localhost")}


OpenWindow = Callable[..., ConsoleWindow]
"""What the fixture ``open_window`` gives."""


@contextlib.contextmanager
def opened_window(
    driver: Driver,
    name: str,
    daemon: ConsoleDaemon,
    *,
    key: str | None = "",
    flags: list[str] | None = None,
    zoom: float = 1.0,
    permissions: Iterable[str] = (),
    has_profile: bool = False,
    **context: Any,
) -> Iterator[ConsoleWindow]:
    """A window while it is open, signed in with ``key`` ("": the daemon's own; None: not signed in).

    With ``has_profile`` its browser is its own, and no private one: it preconnects.
    """
    viewport = context.pop("viewport", WIDE)
    # What zoom does to a page: fewer CSS pixels, each larger.
    size = {side: round(length / zoom) for side, length in viewport.items()}
    options = {
        "viewport": size,
        "deviceScaleFactor": zoom,
        "acceptDownloads": True,
        "locale": "en-GB",
        **context,
    }
    cookies = []
    if key is not None:
        value = daemon.session_cookie(key or daemon.key)
        place = {"domain": "127.0.0.1", "path": "/console/", "httpOnly": True, "sameSite": "Strict"}
        cookies.append({"name": COOKIE, "value": value, **place})
    fields: dict[str, object] = {
        "context": options,
        "cookies": cookies,
        "flags": flags,
        "permissions": list(permissions),
    }
    fields["hasProfile"] = has_profile
    driver.do("openWindow", tab=name, **fields)
    try:
        yield ConsoleWindow(driver, name, daemon)
    finally:
        driver.do("forget", tab=name)


START_MS = 1_700_000_000_000


def console_page(
    *texts: str,
    start: int = START_MS,
    step_ms: int = 1000,
    url: str = "https://shop.example/cart",
    pages: int = 1,
) -> list[bytes]:
    """Return a recording: a page whose paragraph says ``texts`` one after the other, ``step_ms`` apart.

    With ``pages`` the same happens on so many page views, each begun by a snapshot.
    """
    lines = []
    now = start
    for page in range(pages):
        lines += [
            _line(4, now, {"href": f"{url}?page={page}" if page else url, "width": 800, "height": 600}),
            _line(
                2, now + 1, {"node": document(paragraph(texts[0])), "initialOffset": {"left": 0, "top": 0}}
            ),
        ]
        for text in texts[1:]:
            now += step_ms
            lines.append(_line(3, now - 50, {"source": 2, "type": 2, "id": BUTTON, "x": 20, "y": 80}))
            change = {"texts": [{"id": TEXT, "value": text}], "attributes": [], "removes": [], "adds": []}
            lines.append(_line(3, now, {"source": 0, **change}))
        now += step_ms
    return lines


TEXT, BUTTON = 7, 8


def paragraph(text: str) -> list[dict[str, Any]]:
    """Return a paragraph whose text is node ``TEXT``, and a button that is node ``BUTTON``."""
    return [
        element(6, "p", {"type": 3, "textContent": text, "id": TEXT}),
        element(BUTTON, "button", {"type": 3, "textContent": "Buy", "id": 9}),
    ]


def element(number: int, name: str, *children: dict[str, Any], **attributes: object) -> dict[str, Any]:
    """Return an element as rrweb writes it down."""
    return {"type": 2, "tagName": name, "attributes": attributes, "childNodes": list(children), "id": number}


def document(children: list[dict[str, Any]], *, head: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
    """Return a document with these nodes in its body; node numbers 1 to 5 are its own."""
    doctype = {"type": 1, "name": "html", "publicId": "", "systemId": "", "id": 2}
    root = element(3, "html", element(4, "head", *head), element(5, "body", *children))
    return {"type": 0, "childNodes": [doctype, root], "id": 1}


def _line(kind: int, timestamp: int, data: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "timestamp": timestamp, "data": data}).encode()


def tab_walk(window: ConsoleWindow, *, steps_max: int = 200) -> list[dict[str, Any]]:
    """Press Tab until the focus comes back to where it began; return each element that had it, in order.

    A node's property ``testNumber`` is its ``number`` there.
    """
    walked: list[dict[str, Any]] = []
    # From the top, wherever the focus is: a walk begins behind what had it last.
    window.evaluate(
        "document.body.tabIndex = -1, document.body.focus(), document.body.removeAttribute('tabindex')"
    )
    outside = 0
    for _ in range(steps_max):
        window.press("Tab")
        now = window.focused()
        # Behind the last one the browser's own controls come. In a dialog the walk began in its middle.
        outside += now is None
        if outside > 1 or (now and walked and now["html"] == walked[0]["html"]):
            break
        if now:
            walked.append(now)
    return walked


def eventually_true(look: Callable[[], bool], *, what: str, deadline_s: float = 20.0) -> None:
    """Look until it is so; ``TimeoutError`` says ``what``."""
    end = time.monotonic() + deadline_s
    while not look():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline_s} s in vain for {what}")
        time.sleep(0.02)
