"""``rrd`` with all counting left out, to hold against rrd as it ships: for ``bench.counting`` alone.

python -m bench.uncounted serve …
"""

from __future__ import annotations

import asyncio
import sys

from rrd import metrics
from rrd.cli import main


def leave_out() -> None:
    """Make each way to count one that does nothing. Call it before a daemon is made."""
    ways = {
        metrics.Counter: ("add",),
        metrics.LoopCounter: ("add",),
        metrics.LabelledCounter: ("add",),
        metrics.Gauge: ("add", "set"),
        metrics.Histogram: ("observe", "observe_all"),
    }
    for kind, names in ways.items():
        for name in names:
            setattr(kind, name, _nothing)
    from rrd.daemon import assembly  # noqa: PLC0415 - it takes the names that are changed here

    assembly.watch_loop = _never


def _nothing(*_: object) -> None:
    pass


async def _never() -> None:
    await asyncio.Event().wait()


if __name__ == "__main__":
    leave_out()
    sys.exit(main())
