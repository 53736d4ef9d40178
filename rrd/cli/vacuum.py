"""``rrd vacuum``: write the index anew, without what removals left in unused parts of it."""

from __future__ import annotations

import argparse

from rrd.cli import common
from rrd.config import Config
from rrd.index import home


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "vacuum",
        help="write the index anew without unused parts (daemon stopped)",
        description="Makes the index as small as it can be, and overwrites scraps of removed metadata "
        "that SQLite may have left in unused parts. Needs room for a copy of it; recordings are not touched.",
    )
    common.runs(parser, _vacuum)


def _vacuum(args: argparse.Namespace) -> int:
    from rrd.startup.recovery import lock_data_dir  # noqa: PLC0415 - all that reads segments

    config = common.settings(args)
    home.require(config.data_dir)
    with lock_data_dir(config.data_dir):
        before, after = common.run_to_end(_run(config))
    print(f"The index has {after:,} bytes now; it had {before:,}.")
    return 0


async def _run(config: Config) -> tuple[int, int]:
    async with home.opened(config.data_dir) as index:
        return await index.vacuum()
