"""The list among a hundred thousand recordings: each filter and order brings the rows that the API names."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlencode

import pytest

from bench.daemon import TENANT as BENCH_TENANT
from bench.lists import URLS, add_summaries, url
from bench.rows import many_recordings
from tests.console.lab import ConsoleDaemon, OpenWindow

pytestmark = [pytest.mark.client, pytest.mark.slow]

COUNT = 100_000
BEGAN_MS = many_recordings.START_MS
SPAN_MS = COUNT * many_recordings.APART_MS
QUESTIONS: list[dict[str, object]] = [
    {},
    {"meta[environment]": "production"},
    {"meta[userId]": "user-00000007"},
    {"from": BEGAN_MS + SPAN_MS // 10, "to": BEGAN_MS + SPAN_MS // 5},
    {"from": BEGAN_MS + SPAN_MS // 2},
    {"hasErrors": "true"},
    {"hasErrors": "true", "sort": "active", "meta[environment]": "production"},
    {"minActive": 500_000},
    {"minDuration": 1000, "sort": "errors"},
    {"url": url(0)},
    {"url": url(URLS - 1), "sort": "duration"},
    {"url": "https://shop.example/3/*", "sort": "active"},
    {"sort": "duration"},
    {"sort": "active"},
    {"sort": "errors"},
    {"sort": "bytes"},
]
# As soon as the answer to this question is drawn.
DRAWN = """new Promise((done) => {
  const results = document.querySelector('.results');
  const seen = new MutationObserver(() => {
    if (results.hasAttribute('aria-busy')) return;
    seen.disconnect();
    done([...document.querySelectorAll('[data-id]')].slice(0, 50).map((row) => row.dataset.id));
  });
  seen.observe(results, { attributes: true });
  location.hash = %s;
})"""


@pytest.fixture
def crowded(tmp_path: Path) -> ConsoleDaemon:
    """A daemon, not started yet, with an index of very many recordings."""
    daemon = ConsoleDaemon(tmp_path)
    many_recordings.build(str(daemon.data_dir), COUNT)
    add_summaries(str(daemon.data_dir), COUNT)
    daemon.key = daemon.create_key(BENCH_TENANT)
    return daemon


def test_the_right_rows_come(crowded: ConsoleDaemon, open_window: OpenWindow) -> None:
    crowded.start()
    try:
        window = open_window(crowded)
        window.goto("#/list?meta[userId]=nobody")
        # From here on one question is under way at a time.
        window.wait_for_text("No recording matches")
        for question in QUESTIONS:
            query = urlencode(question)
            expected = crowded.get(f"/recordings?summary=true&limit=50&{query}")["recordings"]
            shown = window.evaluate(DRAWN % json.dumps(f"#/list?{query}"))
            assert shown == [item["recordingId"] for item in expected], question
            assert len(shown) > 1, question
        window.check()
    finally:
        crowded.stop()
