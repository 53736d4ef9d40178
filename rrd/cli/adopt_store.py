"""``rrd adopt-store``: make the object store this data directory's, whatever it was before."""

from __future__ import annotations

import argparse

from rrd import layout
from rrd.cli import common
from rrd.config import Config
from rrd.disk import files


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "adopt-store",
        help="make the object store of the settings this data directory's",
        description="For a store that a start refuses as another's, or that was moved or made anew on "
        "purpose. Stop the daemon first. No object is changed or removed; run `rrd verify` afterwards.",
    )
    common.runs(parser, _adopt)


def _adopt(args: argparse.Namespace) -> int:
    from rrd.startup.recovery import lock_data_dir  # noqa: PLC0415 - all that reads segments

    config = common.settings(args)
    common.require_files(config)
    if config.object_store == "local":
        files.make_dirs(config.objects_dir or layout.objects_dir(config.data_dir))
    with lock_data_dir(config.data_dir):
        code = common.run_to_end(_run(config))
    common.audit(args, "store_adopted", store=config.object_store)
    return code


async def _run(config: Config) -> int:
    from rrd.disk.disk import OsDisk  # noqa: PLC0415
    from rrd.objects.choose import open_store  # noqa: PLC0415 - aiobotocore, perhaps

    async with open_store(config, OsDisk()) as store:
        before = await store.adopt()
        print(f"{store.name} is the store of {config.data_dir} from now on.")
        if before is not None:
            print(f"It was that of the data directory with the id {before.id}.")
    return 0
