"""``rrd reindex``: make the index again from the segments alone."""

from __future__ import annotations

import argparse

from rrd import log
from rrd.cli import common


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "reindex", help="make the index again from the segment files (daemon stopped)"
    )
    parser.set_defaults(run=_reindex)
    common.add_shared_flags(parser)


def _reindex(args: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415 - most commands start without it

    config = common.settings(args)
    log.setup(config)
    from rrd.recovery import reindex  # noqa: PLC0415 - all that reads segments

    return asyncio.run(reindex(config))
