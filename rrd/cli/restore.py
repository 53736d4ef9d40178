"""``rrd restore SOURCE``: a data directory out of a backup."""

from __future__ import annotations

import argparse

from rrd.cli import common


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "restore",
        help="make a data directory out of a backup (daemon stopped)",
        description="Checks everything against the backup's checksums before anything is put in place. What "
        "was erased after the backup comes back, unless --tombstones names a newer tombstones.sqlite.",
    )
    parser.add_argument("source", metavar="SOURCE", help="what `rrd backup` made")
    parser.add_argument(
        "--tombstones",
        metavar="FILE",
        help="a newer tombstones.sqlite, of the lost data directory or of a later backup",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    common.runs(parser, _restore)


def _restore(args: argparse.Namespace) -> int:
    from rrd.backup.restore import run_restore  # noqa: PLC0415 - all that reads segments
    from rrd.progress import Progress  # noqa: PLC0415

    config = common.settings(args)
    with Progress(quiet=args.quiet) as progress:
        restored = common.run_to_end(run_restore(config, args.source, progress, tombstones=args.tombstones))
    manifest = restored.manifest
    common.audit(args, "restored", recordings=manifest.recordings, of=common.show_time(manifest.started_ms))
    made = common.show_time(manifest.started_ms)
    print(f"{config.data_dir}: {manifest.recordings} recordings as of {made}")
    if restored.buried:
        print(f"{restored.buried} of them were erased since, and go when the daemon starts")
    if manifest.objects != "included":
        where = "nowhere in this backup" if manifest.objects == "left out" else f"in {manifest.objects}"
        common.hint(f"Objects are {where}: `rrd verify` tells whether all that the index knows are there.")
    if args.tombstones is None:
        common.hint("What was erased after the backup is back: erase it again, or restore with --tombstones.")
    return 0
