"""A recording that harms nobody looks the same with all of the console's defence as in a bare replayer.

Each element's box and style are compared, in shadow roots and frames too. The page has what a policy or a
sanitizer could take away by mistake: style sheets of all kinds, pictures that are data, a canvas, SVG.
"""

from __future__ import annotations

import time
import urllib.parse

import pytest

from tests.client.client_lab import Driver, OpenTab, install_packages
from tests.client.conftest import open_tab as open_tab  # noqa: PLC0414 – a fixture that is the same here
from tests.console.lab import TENANT, ConsoleDaemon, ConsoleWindow, OpenWindow
from tests.console.reading import SHOWN_DEADLINE_S, played_through
from tests.console.test_foreign_recordings import HERE, PLAYER, RECORDERS

pytestmark = [pytest.mark.client, pytest.mark.table]

LOOKS = """(() => {
  const named = ['color', 'background-color', 'background-image', 'font-size', 'font-family', 'font-weight',
    'display', 'visibility', 'border-top-color', 'border-top-width', 'margin-top', 'padding-left', 'fill',
    'text-transform', 'content'];
  const looks = (root) => [...root.querySelectorAll('*')].flatMap((node) => {
    const { x, y, width, height } = node.getBoundingClientRect();
    const view = node.ownerDocument.defaultView;
    const box = [x, y, width, height].map((length) => Math.round(length * 10) / 10);
    const style = view.getComputedStyle(node);
    // Scripts and hints, which nobody sees, get a name that does nothing.
    const name = /^(rrd-dropped|noscript|link)$/.test(node.localName) ? 'unseen' : node.localName;
    const own = [name, ...box, ...named.map((name) => style.getPropertyValue(name)),
      view.getComputedStyle(node, '::before').content, node.naturalWidth ?? ''].join(' | ');
    const frame = node.localName === 'iframe' && node.contentDocument;
    return [own, ...(node.shadowRoot ? looks(node.shadowRoot) : []), ...(frame ? looks(frame) : [])];
  });
  return looks(document);
})()"""

DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAA"
    "BJRU5ErkJggg=="
)
MORE = f"""<svg width="40" height="20">
<defs><linearGradient id="shade"><stop offset="1" stop-color="teal"/></linearGradient></defs>
<rect width="40" height="20" fill="url(#shade)"/><use href="#dot"/><circle id="dot" r="4" fill="red"/></svg>
<img id="picture" alt="a picture" src="{DOT}" width="30">
<canvas id="canvas" width="60" height="20"></canvas>
<p class="tagged" style="background: url({DOT}) teal; padding-left: 7px">Tagged</p>
<script>
  document.querySelector('#canvas').getContext('2d').fillRect(4, 4, 20, 10);
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`.tagged::before {{ content: "tag: "; color: crimson }}
    .tagged {{ font-size: 22px }}`);
  document.adoptedStyleSheets = [sheet];
</script>
<style>@media (min-width: 1px) {{ #picture {{ border: 3px solid purple; margin-top: 9px }} }}</style>"""


def _shown(window: ConsoleWindow, expected: list[str]) -> object:
    """Return the looks of the replayed page: the expected ones if they come, else the last ones."""
    end = time.monotonic() + SHOWN_DEADLINE_S
    while True:
        try:
            found = window.evaluate(LOOKS, where="replay")
        except RuntimeError as error:  # The stage is not there yet.
            found = str(error)
        if found == expected or time.monotonic() > end:
            return found
        time.sleep(0.05)


def test_a_harmless_recording_looks_as_in_a_bare_replayer(
    driver: Driver, console: ConsoleDaemon, open_tab: OpenTab, open_window: OpenWindow
) -> None:
    install_packages(RECORDERS)
    script = RECORDERS / "node_modules/rrweb/dist/rrweb.umd.min.cjs"
    driver.do("serve", path="/foreign.js", type="text/javascript", body=script.read_text())
    page = (HERE / "basket.html").read_text().replace("</form>", f"</form>{MORE}")
    page = page.replace("<!-- recorder -->", "<script src='/foreign.js'></script>")
    driver.do("serve", path="/basket.html", type="text/html", body=page)
    tab = open_tab()
    tab.visit("basket.html")
    options = "{ recordCanvas: false, inlineStylesheet: true, maskAllInputs: false }"
    tab.do("evaluate", expression=f"void lab.start(rrweb.record, {options})")
    tab.wait("lab.emittedAt < Infinity")
    times = [when for when, _ in played_through(tab)]
    lines = [text.encode() for text in tab.call("events")]
    driver.do(
        "serve", path="/events.json", type="application/json", body=(b"[" + b",".join(lines) + b"]").decode()
    )
    driver.do("serve", path="/bare.html", type="text/html", body=PLAYER % LOOKS)
    tab.visit("bare.html")
    tab.wait("window.lab !== undefined")
    recording_id = console.post(lines, meta={"recorder": "rrweb"})
    first = console.get(f"/recordings/{recording_id}/pages")["first"]
    window = open_window(console)
    for number, when in enumerate(times):
        expected = list(tab.call("at", when))
        assert len(expected) > 30
        assert any("tag: " in look and "22px" in look for look in expected)
        route = f"#/watch/{TENANT}/{urllib.parse.quote(recording_id)}?t={when - first:g}"
        (window.follow if number else window.goto)(route)

        assert _shown(window, expected) == expected
    window.check()
