"""``rrd`` with its counting changed, for ``bench.counting`` alone: left out, or counted itself.

    python -m bench.counted without serve …
    BENCH_TALLY=FILE python -m bench.counted tally serve …

``tally`` writes how often each way to count was called to a file, as JSON, when the daemon has stopped.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rrd import metrics
from rrd.cli import main

WAYS: dict[type[metrics.Metric], tuple[str, ...]] = {
    metrics.Counter: ("add",),
    metrics.LoopCounter: ("add",),
    metrics.LabelledCounter: ("add",),
    metrics.Gauge: ("add", "set"),
    metrics.Histogram: ("observe", "observe_all"),
}
"""How stages count."""

DURATIONS = "durations of a group"
"""What ``observe_all`` is given, one by one."""


def leave_out() -> None:
    """Make each way to count one that does nothing. Call it before a daemon is made."""
    for kind, names in WAYS.items():
        for name in names:
            setattr(kind, name, _nothing)
    from rrd.daemon import assembly  # noqa: PLC0415 - it takes the names that are changed here

    vars(assembly)["watch_loop"] = _never


def tally() -> Counter[str]:
    """Count the calls of each way to count, and return where."""
    calls: Counter[str] = Counter()
    for kind, names in WAYS.items():
        for name in names:
            setattr(kind, name, _tallied(calls, f"{kind.__name__}.{name}", getattr(kind, name)))
    return calls


def _tallied(calls: Counter[str], name: str, count: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(count)
    def tallied(metric: metrics.Metric, *values: Any) -> None:
        calls[name] += 1
        if name.endswith(".observe_all"):
            values = ([*values[0]],)
            calls[DURATIONS] += len(values[0])
        count(metric, *values)

    return tallied


def _nothing(*_: object) -> None:
    pass


async def _never() -> None:
    await asyncio.Event().wait()


if __name__ == "__main__":
    how = sys.argv.pop(1)
    if how == "without":
        leave_out()
        sys.exit(main())
    found = tally()
    status = main()
    Path(os.environ["BENCH_TALLY"]).write_text(json.dumps(found), encoding="utf-8")
    sys.exit(status)
