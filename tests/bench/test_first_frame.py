"""The row of replays that begin at 90 %: it runs, and compares what it says."""

from __future__ import annotations

import os

import pytest

from bench.floors import nginx
from bench.result import Options
from bench.rows import first_frame


@pytest.mark.slow
def test_replays_from_90_percent_are_compared_with_nginx() -> None:
    if nginx.find() is None:
        if os.environ.get("TESTS_REQUIRE_TOOLS") == "1":
            pytest.fail("TESTS_REQUIRE_TOOLS=1, but nginx isn't installed")
        pytest.skip("nginx isn't installed")
    row = first_frame.measure(Options("smoke"))
    with_bar = {check.what for check in row.checks if check.bar is not None}
    assert with_bar == {
        *(
            f"until the first byte: {amount} of {pages}, {place}"
            for amount in ("all", "1 MB", "/pages")
            for pages in ("1 page view", "24 page views")
            for place in ("segments", "an object")
        ),
        "memory at most, segments",
        "memory at most, an object",
    }
    assert {
        f"until the first byte: nginx, {what.partition(': ')[2]}" for what in with_bar if ":" in what
    } == {check.what for check in row.checks if check.bar is None}
    assert all(check.value > 0 for check in row.checks)


def test_without_nginx_there_is_nothing_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_frame, "find", lambda: None)
    assert first_frame.measure(Options("smoke")).checks == []
