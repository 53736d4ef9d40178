"""``rrd inspect FILE``: what a segment holds. Reads it, changes nothing."""

from __future__ import annotations

import argparse

from rrd.cli import common


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("inspect", help="tell what a segment file holds, and whether it is whole")
    parser.add_argument("file", metavar="FILE", help="a .ndjson.zst file in active/ or sealed/")
    parser.set_defaults(run=_inspect)
    common.add_shared_flags(parser)


def _inspect(args: argparse.Namespace) -> int:
    from rrd.segment.inspect import describe  # noqa: PLC0415 - zstandard takes a while to load

    for line in describe(args.file):
        print(line)
    return 0
