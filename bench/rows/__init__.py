"""The rows of the table, a module for each scene: it sets up what it needs, measures, and returns a ``Row``.

``ROWS`` names them all; ``bench.run`` goes through it. ``python -m bench.rows 3`` measures one of them, and
so does ``python -m bench.rows.compressed``: each module ends in ``run_alone``.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from typing import NamedTuple, cast

import msgspec

from bench.report import print_row
from bench.result import Options, Row, Scale

Measure = Callable[[Options], Row]


class Entry(NamedTuple):
    """Where a row of the table is measured."""

    number: int
    title: str
    """What to call it while it isn't measured, or failed; the row has a title of its own."""
    module: str
    function: str = "measure"
    is_late: bool = False
    """Run it after the others: it deletes thousands of files, and for a while ext4 makes new ones slowly."""


ROWS = (
    Entry(1, "one socket, small events", "bench.rows.one_socket", "measure_small"),
    Entry(2, "one socket, all events", "bench.rows.one_socket", "measure_all"),
    Entry(3, "one socket, compressed messages", "bench.rows.compressed"),
    Entry(4, "POST bodies", "bench.rows.posts"),
    Entry(5, "what syncing costs", "bench.rows.durability", "measure_sync"),
    Entry(6, "ack latency", "bench.rows.durability", "measure_latency"),
    Entry(7, "many sockets", "bench.rows.many_sockets", is_late=True),
    Entry(8, "many sockets, compressed", "bench.rows.many_sockets", "measure_deflate", is_late=True),
    Entry(9, "reads", "bench.rows.reads"),
    Entry(10, "list of a million recordings", "bench.rows.listing"),
    Entry(11, "start after kill -9", "bench.rows.start", is_late=True),
    Entry(12, "one very large event", "bench.rows.large_event"),
    Entry(13, "steady load", "bench.rows.steady"),
    Entry(14, "an honest sender beside attacks", "bench.rows.neighbours"),
    Entry(15, "sockets that idle after a large event", "bench.rows.idle_sockets", is_late=True),
    Entry(16, "recordings that are watched live", "bench.rows.follow"),
    Entry(17, "a replay that begins at 90 %", "bench.rows.first_frame", is_late=True),
    Entry(18, "paced visitors", "bench.rows.paced_visitors", is_late=True),
    Entry(19, "how many visitors", "bench.rows.paced_visitors", "measure_most", is_late=True),
    Entry(20, "ten thousand at once", "bench.rows.paced_visitors", "measure_storm", is_late=True),
)


def find(number: int) -> Entry:
    """Return the row's entry. Raises ``ValueError`` if there is none."""
    for entry in ROWS:
        if entry.number == number:
            return entry
    raise ValueError(f"there is no row {number}; they are {ROWS[0].number} to {ROWS[-1].number}")


def measure(entry: Entry, options: Options) -> Row:
    """Measure a row in this process, and note how long it took.

    Raises ``ImportError`` or ``AttributeError`` where it isn't written yet, and whatever the row raises.
    """
    function = cast(Measure, getattr(importlib.import_module(entry.module), entry.function))
    return timed(function, options)


def timed(function: Measure, options: Options) -> Row:
    """Call ``function`` and fill in the row's ``took_s``."""
    started = time.monotonic()
    row = function(options)
    return msgspec.structs.replace(row, took_s=time.monotonic() - started)


def add_scale(parser: argparse.ArgumentParser) -> None:
    """Add ``--quick`` and ``--smoke``; ``scale`` is what comes out."""
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument(
        "--quick", dest="scale", action="store_const", const="quick", help="less of all, and more noise"
    )
    scale.add_argument(
        "--smoke",
        dest="scale",
        action="store_const",
        const="smoke",
        help="does it run at all? Figures mean nothing",
    )
    parser.set_defaults(scale="full")


def run_alone(*functions: Measure) -> None:
    """Be the main program of a row's module: measure what it measures, and print it."""
    parser = argparse.ArgumentParser(description="Measure this row of the table, and print it.")
    add_scale(parser)
    scale: Scale = parser.parse_args().scale
    for function in functions:
        print_row(timed(function, Options(scale)))
