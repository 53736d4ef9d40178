"""``rrd import``: files of events into a running daemon."""

from __future__ import annotations

import argparse

from rrd.cli import common

_DESCRIPTION = """Takes what `rrd export` writes, and files of rrweb events as other tools have them: NDJSON,
arrays in any object, exports of the rrweb web extension, PostHog and Sentry; UTF-8 or UTF-16; plain, gzip,
zlib, brotli, zstd, zip or tar. Done again, or continued after it was broken off, it stores nothing twice."""

_EPILOG = """A recording's id comes from --recording, the export, a file's name that is a UUID, or an id that
the file states. Where nothing says it, it is made of the events: the same events give the same id. Events of
several browser windows go to a recording each. Events keep their bytes and their order by time. Numbers of
arrival (sequenceId), versions and times of metadata are new: `rrd backup` and `rrd restore` keep those."""


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "import",
        help="send files of events to a running daemon",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument("paths", nargs="+", metavar="FILE|DIR", help="- is stdin")
    parser.add_argument(
        "--tenant",
        type=common.tenant,
        help="whose they are, whatever an export says; not needed where there is one tenant alone",
    )
    parser.add_argument("--recording", metavar="ID", help="where all events go, whatever else says")
    parser.add_argument(
        "--ids",
        choices=["auto", "keep", "strip"],
        default="auto",
        help="sequenceId and recordingId at an event's end: take off what `rrd export --with-ids` added "
        "(auto), keep all, or strip them as well where the API added them",
    )
    parser.add_argument("--url", default="", help="the daemon; by default the one that the settings tell")
    parser.add_argument("--key", default="", help="a key that may write; by default one is made and revoked")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, and totals alone")
    common.runs(parser, _import)


def _import(args: argparse.Namespace) -> int:
    from rrd.exchange.files import find_files  # noqa: PLC0415
    from rrd.exchange.intake import Choice, check_choice, run_import  # noqa: PLC0415 - aiohttp
    from rrd.progress import Progress  # noqa: PLC0415

    config = common.settings(args)
    choice = check_choice(Choice(args.tenant, args.recording, args.ids, args.url, args.key), config)
    with Progress(quiet=args.quiet) as progress:
        outcome = common.run_to_end(run_import(config, list(find_files(args.paths)), choice, progress))
    if not args.quiet:
        for (tenant, recording_id), answer in outcome.answers.items():
            of = f"{tenant}/{recording_id}" if tenant else recording_id
            print(f"{of}: {_counts(answer.stored, answer.repeated, answer.quarantined)}")
    totals = [sum(column) for column in zip(*outcome.answers.values(), strict=True)] or [0, 0, 0]
    refused = f", {outcome.refused} refused" if outcome.refused else ""
    print(f"{len(outcome.answers)} recordings: {_counts(*totals)}{refused}")
    return 1 if outcome.failed or outcome.refused or totals[2] else 0


def _counts(stored: int, repeated: int, quarantined: int) -> str:
    more = f", {quarantined} quarantined" if quarantined else ""
    return f"{stored} stored, {repeated} repeated{more}"
