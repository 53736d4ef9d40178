"""A page of another origin, in a browser that is signed in: it learns nothing and changes nothing."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.console.conftest import OwnConsole
from tests.console.lab import ConsoleDaemon, ConsoleWindow, OpenWindow, console_page

pytestmark = pytest.mark.client

# What a hostile page tries.
ATTACK = """
const told = {};
globalThis.told = told;
const json = { 'Rrd-Console': '1', 'Content-Type': 'application/json' };
const target = new URLSearchParams(location.search).get('target');
const recording = new URLSearchParams(location.search).get('recording');
const api = `${target}/console/api/t`;
const share = `${api}/recordings/${recording}/share`;
const trying = async (name, work) => {
  // A frame that is refused may never say so.
  const nothing = new Promise((resolve) => setTimeout(resolve, 5000, 'no answer'));
  told[name] = await Promise.race([work().catch((error) => `refused: ${error.name}`), nothing]);
};
const read = (path, options) => async () => {
  const answer = await fetch(path, { credentials: 'include', ...options });
  return answer.type === 'opaque' ? 'opaque' : await answer.text();
};
const submitted = (action, enctype, value) => () =>
  new Promise((resolve) => {
    const frame = document.createElement('iframe');
    frame.name = `f${Math.random()}`;
    document.body.append(frame);
    const form = document.body.appendChild(document.createElement('form'));
    Object.assign(form, { action, enctype, method: 'POST', target: frame.name });
    const field = form.appendChild(document.createElement('input'));
    field.name = value;
    frame.onload = () => resolve('sent');
    form.submit();
  });
const loaded = (tag, url) => () =>
  new Promise((resolve) => {
    const node = document.createElement(tag);
    node.onload = () => resolve('loaded');
    node.onerror = () => resolve('refused');
    node[tag === 'link' ? 'href' : 'src'] = url;
    if (tag === 'link') node.rel = 'stylesheet';
    document.body.append(node);
  });
const framed = (url) => () =>
  new Promise((resolve) => {
    const frame = document.createElement('iframe');
    frame.onload = () => {
      let inside = 'out of reach';
      try { inside = frame.contentDocument.body.innerText; } catch {}
      resolve(inside);
    };
    frame.src = url;
    document.body.append(frame);
  });
await Promise.all([
  trying('read session', read(`${target}/console/session`)),
  trying('read list', read(`${api}/recordings`)),
  trying('read events', read(`${api}/recordings/${recording}/events`)),
  trying('read blindly', read(`${api}/recordings`, { mode: 'no-cors' })),
  trying('erase', read(`${api}/recordings/${recording}`, { method: 'DELETE', headers: json })),
  trying('share', read(share, { method: 'POST', body: '{"expiresInS":3600}', headers: json })),
  trying('share simply', read(share, { method: 'POST', body: '{"expiresInS":3600}', mode: 'no-cors' })),
  trying('sign out', read(`${target}/console/session`, { method: 'DELETE', headers: json })),
  trying('form share', submitted(share, 'text/plain', '{"expiresInS":3600}')),
  trying('form sign in', submitted(`${target}/console/session`, 'text/plain', '{"key":"x"}')),
  trying('script', loaded('script', `${api}/recordings`)),
  trying('script of events', loaded('script', `${api}/recordings/${recording}/events?form=ndjson`)),
  trying('style', loaded('link', `${api}/recordings`)),
  trying('image', loaded('img', `${target}/console/main.js`)),
  trying('frame of the console', framed(`${target}/console/`)),
  trying('frame of the stage', framed(`${target}/console/stage`)),
  trying('frame of the api', framed(`${api}/recordings`)),
]);
globalThis.isDone = true;
"""


class _Evil(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        is_script = self.path.startswith("/attack.js")
        body = (
            ATTACK if is_script else '<!doctype html><body><script type="module" src="/attack.js"></script>'
        )
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if is_script else "text/html")
        self.end_headers()
        # The script finds its target in the page's own query.
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def evil_site() -> Iterator[int]:
    """A web site of strangers on another port of this machine; yields the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Evil)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def evil() -> Iterator[int]:
    with evil_site() as port:
        yield port


def attacked(window: ConsoleWindow, origin: str, daemon: ConsoleDaemon, recording_id: str) -> dict[str, Any]:
    """Open the hostile page in a window that is signed in; return what it got."""
    window.do("visit", url=f"{origin}/?target={daemon.url}&recording={recording_id}")
    told: dict[str, Any] = json.loads(window.wait("globalThis.isDone && JSON.stringify(globalThis.told)"))
    return told


# The first is of the console's own site, so that the browser sends the cookie along with all it asks.
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_gets_nothing(
    own_console: OwnConsole, open_window: OpenWindow, evil: int, host: str
) -> None:
    console = own_console()
    recording_id = console.post(console_page("secret words", "more words"), meta={"userId": "secret-user"})
    window = open_window(console)
    told = attacked(window, f"http://{host}:{evil}", console, recording_id)
    assert len(told) == 17
    assert "secret" not in json.dumps(told)
    for name in ("read session", "read list", "read events", "erase", "share", "sign out"):
        assert told[name].startswith("refused"), (name, told[name])
    for name in ("form share", "form sign in"):
        assert told[name] == "sent", name
    for name in ("script", "script of events", "style", "image"):
        assert told[name] == "refused", (name, told[name])
    seen = window.seen()
    assert {
        ("POST", f"{console.page}session"),
        ("POST", f"{console.page}api/t/recordings/{recording_id}/share"),
    } <= {(request["method"], request["url"]) for request in seen.requests}
    guarded = (f"{console.page}api/", f"{console.page}session")
    statuses = {answer["status"] for answer in seen.answers if answer["url"].startswith(guarded)}
    assert statuses <= {401, 403, 405, 415}
    # The person goes on as if nothing had been.
    window.goto("#/list")
    window.wait_for_text("secret-user")


def test_a_page_that_opens_the_console_reaches_nothing_of_it(
    own_console: OwnConsole, open_window: OpenWindow, evil: int
) -> None:
    """Cross-Origin-Opener-Policy: the two have nothing of each other."""
    console = own_console()
    console.post(console_page("secret words"), meta={"userId": "secret-user"})
    window = open_window(console)
    attacked(window, f"http://127.0.0.1:{evil}", console, "x")
    window.evaluate(f"void (globalThis.opened = open({json.dumps(console.page)}))")
    assert window.wait("globalThis.opened === null || globalThis.opened.closed") is True
