"""``rrd backup TARGET_DIR``: a consistent copy of the data directory, with a daemon on it or without."""

from __future__ import annotations

import argparse
import sys

from rrd.cli import common


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "backup",
        help="copy the data directory, consistent, while the daemon runs",
        description="Copies index, keys, tombstones, segments, and a local store's objects. Objects in a "
        "bucket stay there. The copy holds signing keys in clear, and what visitors did: keep it as "
        "safe as the data directory.",
    )
    parser.add_argument("target", metavar="TARGET_DIR", help="a new or empty directory")
    parser.add_argument("--without-objects", action="store_true", help="leave the local store's objects out")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    common.runs(parser, _backup)


def _backup(args: argparse.Namespace) -> int:
    from rrd.backup.backup import run_backup  # noqa: PLC0415 - all that reads segments
    from rrd.progress import Progress, size_text  # noqa: PLC0415

    config = common.settings(args)
    with Progress(quiet=args.quiet) as progress:
        manifest = common.run_to_end(
            run_backup(config, args.target, progress, with_objects=not args.without_objects)
        )
    print(
        f"{args.target}: {manifest.recordings} recordings, {manifest.files} files, {size_text(manifest.size)}"
        f"; objects: {manifest.objects}"
    )
    for path in manifest.missing:
        print(
            f"rrd: {path} is missing in the data directory, or can't be read. `rrd verify` tells more",
            file=sys.stderr,
        )
    return 1 if manifest.missing else 0
