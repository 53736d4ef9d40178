"""``rrd reindex``: make the index again from segments and objects."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from rrd import log
from rrd.cli import common
from rrd.config import Config
from rrd.index import home

if TYPE_CHECKING:
    from rrd.startup.recovery import Reindexed


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "reindex",
        help="make the index again from segments and objects (daemon stopped)",
        description="Makes the index again from nothing but local segments and the objects in the store. The "
        "old one stays until the new one is whole. It fails if the store can't be reached: only the "
        "store tells which recordings it holds.",
    )
    common.runs(parser, _reindex)


def _reindex(args: argparse.Namespace) -> int:
    config = common.settings(args)
    common.require_files(config)
    log.setup(config)
    found, losses = common.run_to_end(_run(config))
    print(
        f"{home.index_path(config.data_dir)}: {found.recordings} recordings, {found.segments} segments, "
        f"{found.blocks} blocks, {found.objects} objects; {found.torn} torn tails cut, "
        f"{found.corrupt} segments damaged"
    )
    for line in losses:
        print(line)
    return 1 if losses else 0


async def _run(config: Config) -> Reindexed:
    from rrd.disk.disk import OsDisk  # noqa: PLC0415
    from rrd.objects.choose import open_store  # noqa: PLC0415 - aiobotocore, perhaps
    from rrd.startup.recovery import reindex  # noqa: PLC0415 - all that reads segments

    async with open_store(config, OsDisk()) as store:
        await store.check_owner()
        return await reindex(config, store)
