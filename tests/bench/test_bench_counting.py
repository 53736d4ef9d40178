"""``bench.counting``: does it run, and does the daemon without counting count nothing? Nothing is timed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.harness import ROOT


def run(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=280, check=True
    ).stdout


def test_a_daemon_without_counting_counts_nothing() -> None:
    program = """
from rrd import metrics
from bench import counted
metrics.EVENTS_STORED.add(1)
counted.leave_out()
before = metrics.snapshot()
for metric in metrics._all.values():
    for way, value in (("add", 1), ("set", 1.0), ("observe", 1.0), ("observe_all", [1.0])):
        if hasattr(metric, way):
            getattr(metric, way)(*(["x"] if isinstance(metric, metrics.LabelledCounter) else []), value)
print(before == metrics.snapshot())
"""
    assert run("-c", program) == "True\n"


@pytest.mark.slow
def test_each_case_is_compared() -> None:
    *cases, scrape = run("-m", "bench.counting", "--smoke").splitlines()[1:]
    assert len(cases) == 4
    assert all(line.count("%") == 4 for line in cases)
    assert scrape.startswith("a scrape: ")
