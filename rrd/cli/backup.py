"""``rrd backup TARGET_DIR``: a consistent copy of the data directory, with a daemon on it or without."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from rrd.cli import common

if TYPE_CHECKING:
    from rrd.backup.manifest import Manifest


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "backup",
        help="copy the data directory, consistent, while the daemon runs",
        description="Copies index, keys, tombstones, segments, and a local store's objects. Objects in a "
        "bucket stay there. The copy holds signing keys in clear, and what visitors did: keep it as "
        "safe as the data directory.",
    )
    parser.add_argument(
        "target",
        metavar="TARGET_DIR",
        help="a new or empty directory; with --keep, the one that holds the backups",
    )
    parser.add_argument(
        "--keep",
        type=_count,
        metavar="N",
        help="back up into a dated directory in TARGET_DIR, then remove older backups of this data directory "
        "there, so that N stay",
    )
    parser.add_argument("--without-objects", action="store_true", help="leave the local store's objects out")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    common.runs(parser, _backup)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: use a number from 1 on")
    return int(text)


def _backup(args: argparse.Namespace) -> int:
    from rrd.backup.backup import run_backup  # noqa: PLC0415 - all that reads segments
    from rrd.backup.rotation import run_rotation  # noqa: PLC0415
    from rrd.progress import Progress  # noqa: PLC0415

    config = common.settings(args)
    with_objects = not args.without_objects
    with Progress(quiet=args.quiet) as progress:
        if args.keep is None:
            backup = run_backup(config, args.target, progress, with_objects=with_objects)
            return _told(args.target, common.run_to_end(backup))
        rotation = common.run_to_end(
            run_rotation(config, args.target, progress, with_objects=with_objects, keep=args.keep)
        )
    for path in rotation.removed:
        print(f"{path}: removed (--keep {args.keep})")
    return _told(rotation.path, rotation.manifest)


def _told(target: str, manifest: Manifest) -> int:
    """Print what a backup came to, and return the exit code."""
    from rrd.progress import size_text  # noqa: PLC0415

    print(
        f"{target}: {manifest.recordings} recordings, {manifest.files} files, {size_text(manifest.size)}"
        f"; objects: {manifest.objects}"
    )
    for path in manifest.missing:
        print(
            f"rrd: {path} is missing in the data directory, or can't be read. `rrd verify` tells more",
            file=sys.stderr,
        )
    return 1 if manifest.missing else 0
