"""``rrd export``: recordings as files. A daemon may run meanwhile."""

from __future__ import annotations

import argparse
import os
import sys
from math import inf

from rrd import ids
from rrd.cli import common
from rrd.errors import BadRequest


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "export",
        help="write recordings to files, or to stdout",
        description="Events come line by line as their senders wrote them, in a replayer's order. Metadata "
        "comes along in the form `dir` alone, quarantined lines in none.",
    )
    parser.add_argument("recordings", nargs="*", metavar="RECORDING")
    parser.add_argument("--all", action="store_true", help="all recordings")
    common.add_meta_flag(parser)
    parser.add_argument("--tenant", type=common.tenant)
    parser.add_argument(
        "--format",
        choices=["ndjson", "json", "dir"],
        default="ndjson",
        help="lines (the default); an array, or an object of arrays by id; a directory with two files each",
    )
    parser.add_argument(
        "--html",
        dest="format",
        action="store_const",
        const="html",
        help="a page that replays one recording in any browser, without a network",
    )
    parser.add_argument("--output", default="-", metavar="PATH", help="file or directory; - is stdout")
    parser.add_argument(
        "--from", dest="start", type=_time, default=-inf, metavar="MS", help="events from then on"
    )
    parser.add_argument(
        "--to", dest="limit", type=_time, default=inf, metavar="MS", help="events before then"
    )
    parser.add_argument(
        "--with-ids",
        action="store_true",
        help="add sequenceId and recordingId to each event; always so where recordings share a stream",
    )
    parser.add_argument(
        "--resume", action="store_true", help="with `dir`: leave alone what is there and has not changed"
    )
    parser.add_argument(
        "--salvage",
        action="store_true",
        help="of a damaged recording export every intact event, and tell what is missing, rather than fail",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    common.runs(parser, _export)


def _export(args: argparse.Namespace) -> int:
    from rrd.exchange.export import Selection, run_export  # noqa: PLC0415
    from rrd.exchange.targets import DirectoryTarget, PageTarget, StreamTarget, Target  # noqa: PLC0415
    from rrd.playback.table import Between  # noqa: PLC0415
    from rrd.progress import Progress  # noqa: PLC0415

    config = common.settings(args)
    _check(args)
    wanted = Selection(
        tuple(dict.fromkeys(ids.check_recording_id(text, config.recording_ids) for text in args.recordings)),
        tuple(args.meta),
        args.tenant,
    )
    shares_stream = args.format == "ndjson" and not wanted.is_one
    with Progress(quiet=args.quiet or (args.output == "-" and sys.stdout.isatty())) as progress:
        target: Target
        if args.format == "dir":
            target = DirectoryTarget(args.output, progress, resume=args.resume)
        elif args.format == "html":
            target = PageTarget(args.output, progress)
        else:
            target = StreamTarget(args.output, progress, is_json=args.format == "json", is_one=wanted.is_one)
        outcome = common.run_to_end(
            run_export(
                config,
                wanted,
                target,
                progress,
                ids=args.with_ids or shares_stream,
                between=Between(args.start, args.limit),
                salvage=args.salvage,
            )
        )
    skipped = f", {outcome.skipped} were there already" if outcome.skipped else ""
    failed = f", {outcome.failed} could not be read" if outcome.failed else ""
    incomplete = f", {outcome.incomplete} of them incomplete" if outcome.incomplete else ""
    common.hint(f"{outcome.exported} recordings exported{incomplete}{skipped}{failed}")
    return 1 if outcome.failed else 0


def _check(args: argparse.Namespace) -> None:
    if sum((bool(args.recordings), args.all, bool(args.meta))) != 1:
        raise BadRequest("say which recordings: their ids, or --meta KEY=VALUE, or --all")
    if args.format == "html" and (len(args.recordings) != 1 or args.with_ids):
        raise BadRequest("a page replays one recording: use --html RECORDING, without --with-ids")
    if args.format == "dir" and args.output == "-":
        raise BadRequest("a directory can't go to stdout. Use --output DIR")
    if args.format != "dir" and os.path.isdir(args.output):
        raise BadRequest(f"{args.output} is a directory. Use --format dir, or name a file")
    if args.resume and args.format != "dir":
        raise BadRequest("--resume is for --format dir: a stream can only be written anew")


def _time(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: use milliseconds since the epoch") from None
