"""A recording of 500 MB starts at once, can be gone through, and never fills the memory of the browser."""

from __future__ import annotations

import random
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.console.conftest import OwnConsole
from tests.console.lab import START_MS, TEXT, ConsoleDaemon, ConsoleWindow, OpenWindow, document, paragraph
from tests.samples import dump, ndjson, new_id

pytestmark = [pytest.mark.client, pytest.mark.slow, pytest.mark.timeout(900)]

MB = 1 << 20
BODY_BYTES = 4 * MB
HEAP_MAX = 150 * MB
PAGE_MS = 20_000
EVENT_BYTES = 1_400


def long_recording(pages: int, page_bytes: int, *, page_ms: int = PAGE_MS) -> Iterator[bytes]:
    """Yield the lines of a recording. Each event says which of which page it is."""
    chance = random.Random(7)
    words = [f"{chance.getrandbits(48):x}" for _ in range(4_000)]
    for page in range(pages):
        start = START_MS + page * page_ms
        href = f"https://shop.example/long/{page}"
        yield dump({"type": 4, "timestamp": start, "data": {"href": href, "width": 800, "height": 600}})
        node = document(paragraph(f"page {page} begins"))
        yield dump(
            {
                "type": 2,
                "timestamp": start + 20,
                "data": {"node": node, "initialOffset": {"left": 0, "top": 0}},
            }
        )
        count = page_bytes // EVENT_BYTES
        for number in range(count):
            filler = " ".join(chance.choices(words, k=(EVENT_BYTES - 150) // 13))
            texts = [{"id": TEXT, "value": f"page {page} event {number} of {count} {filler}"}]
            data = {"source": 0, "texts": texts, "attributes": [], "removes": [], "adds": []}
            yield dump({"type": 3, "timestamp": start + 30 + number * (page_ms - 40) // count, "data": data})


def store(daemon: ConsoleDaemon, lines: Iterator[bytes]) -> str:
    """Send a long recording in bodies of some MB."""
    recording_id = new_id()
    body: list[bytes] = []
    size = 0
    for line in lines:
        body.append(line)
        size += len(line)
        if size >= BODY_BYTES:
            daemon.send(f"/recordings/{recording_id}/ingest", ndjson(body), "application/x-ndjson")
            body, size = [], 0
    daemon.send(f"/recordings/{recording_id}/ingest", ndjson(body), "application/x-ndjson")
    return recording_id


def asked(window: ConsoleWindow) -> list[dict[str, str]]:
    """Return the parameters of each request for events."""
    urls = [urlsplit(str(request["url"])) for request in window.seen().requests]
    return [
        {name: values[0] for name, values in parse_qs(url.query).items()}
        for url in urls
        if url.path.endswith("/events")
    ]


def test_500_mb_over_many_pages(own_console: OwnConsole, open_window: OpenWindow) -> None:
    pages = 50
    daemon = own_console()
    recording_id = store(daemon, long_recording(pages, 10 * MB))
    window = open_window(daemon)
    window.goto(f"#/watch/t/{recording_id}?t=0")
    window.wait_for_replay("page 0")
    window.wait("!document.querySelector('.waiting').textContent")
    # Stopped at its beginning, it holds what is played in half a minute, and no more.
    assert len(asked(window)) <= 16
    heaps = [window.heap()]
    # Far ahead, what lies between is not fetched.
    window.forget_seen()
    window.follow(f"#/watch/t/{recording_id}?t={PAGE_MS * 45 + 1_000}")
    window.wait_for_replay("page 45 event")
    pages_asked = {(float(query["from"]) - START_MS) / PAGE_MS for query in asked(window)}
    assert pages_asked <= {0, 1, 45, 46}
    heaps.append(window.heap())
    # From the beginning to the end, eight times as fast.
    window.follow(f"#/watch/t/{recording_id}?t=0")
    window.wait_for_replay("page 0")
    window.select(".controls select[aria-label=Speed]", "8")
    window.press("Space")
    for page in range(4, pages, 5):
        window.wait_for_replay(f"page {page} event", deadline_s=120)
        heaps.append(window.heap())
    window.wait("document.querySelector('.controls [aria-label^=Play]')", deadline_s=120)
    assert max(sum(heap.values()) for heap in heaps) <= HEAP_MAX, heaps
    window.check()


def test_one_page_of_80_mb_without_a_snapshot_between(
    own_console: OwnConsole, open_window: OpenWindow
) -> None:
    daemon = own_console()
    recording_id = store(daemon, long_recording(1, 80 * MB, page_ms=600_000))
    window = open_window(daemon)
    window.goto(f"#/watch/t/{recording_id}?t=0")
    window.wait_for_replay("page 0")
    window.wait("!document.querySelector('.waiting').textContent")
    assert len(asked(window)) <= 8
    window.follow(f"#/watch/t/{recording_id}?t=540000")
    window.wait_for_replay("page 0 event 53", deadline_s=120)
    assert {float(query["from"]) for query in asked(window)} == {float(START_MS)}
    assert sum(window.heap().values()) <= 256 * MB
    window.check()
