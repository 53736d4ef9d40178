"""``rrd doctor``: the story of one recording, or of what senders were refused. Changes nothing."""

from __future__ import annotations

import argparse

from rrd import ids
from rrd.cli import common, verify
from rrd.config import Config


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "doctor",
        help="tell the story of one recording, or what senders were refused",
        description="Tells when a recording began, what was stored, repeated, quarantined and refused, where "
        "each range of it lives, what is damaged, and why something is missing. Without RECORDING: what the "
        "daemon refused to take, from any sender.",
    )
    parser.add_argument("recording", metavar="RECORDING", nargs="?")
    parser.add_argument("--tenant", type=common.tenant, help="whose (by default, those of all tenants)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="look for damage by sizes and counters alone, rather than read every byte of the recording",
    )
    common.runs(parser, _doctor)


def _doctor(args: argparse.Namespace) -> int:
    config = common.settings(args)
    if args.recording is None:
        common.require_data_dir(config)
        from rrd.care.doctor import refused_by_all  # noqa: PLC0415
        from rrd.lifecycle.holds import Holds  # noqa: PLC0415

        for hold in Holds(config).load().holds.values():
            print(f"held         {hold.text()}")
            print("             rrd retention shows what would go; rrd retention --confirm if that is right")
        for line in refused_by_all(config.data_dir, tenant=args.tenant):
            print(line)
        return 0
    return common.run_to_end(_run(config, args))


async def _run(config: Config, args: argparse.Namespace) -> int:
    from rrd.care.doctor import refused, story  # noqa: PLC0415 - all that reads segments
    from rrd.startup.recovery import is_held  # noqa: PLC0415

    recording = ids.parse_recording_id(args.recording, "any") or args.recording
    is_served = is_held(config.data_dir)
    async with verify.examining(config, is_served=is_served) as examiner:
        tenants = await verify.tenants_of(examiner, recording, args.tenant)
        others = await verify.tenants_of(examiner, recording, None) if not tenants else []
        if not tenants and not args.tenant:
            print(f"recording    {recording}: never seen, by no tenant; is the id right?")
            for line in refused(config.data_dir, recording):
                print(line)
            if ids.parse_recording_id(recording, config.recording_ids) is None:
                print("             it is not an id that `recording_ids` admits, so it would be refused")
            return 1
        for number, tenant in enumerate(tenants or [args.tenant]):
            if number:
                print()
            async for line in story(examiner, tenant, recording, deep=not args.quick):
                print(line)
        if others:
            print(f"             tenant {', '.join(others)} has a recording of this id")
    return 0 if tenants else 1
