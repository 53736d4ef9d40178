"""``rrd quarantine list|show``: lines that were kept out of the events, and why. Changes nothing."""

from __future__ import annotations

import argparse
import base64
import json
from typing import TYPE_CHECKING

from rrd.cli import common
from rrd.config import Config
from rrd.errors import NotFound
from rrd.index.rows import QuarantineRow

if TYPE_CHECKING:
    from rrd.index.contract import Index


def register(commands: common.Commands) -> None:
    """Add the command family to the parser."""
    family = commands.add_parser("quarantine", help="show lines that were kept out of the events, and why")
    actions = family.add_subparsers(required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="show which recordings have such lines, and how many")
    listing.add_argument("--tenant", type=common.tenant)
    listing.add_argument("--recording", metavar="ID")
    show = actions.add_parser("show", help="print such lines of a recording, each as a JSON object on a line")
    show.add_argument("--tenant", type=common.tenant)
    show.add_argument("recording", metavar="ID")

    for parser, action in ((family, None), (listing, "list"), (show, "show")):
        parser.set_defaults(run=run, action=action)
        common.add_shared_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Print what was asked for, as the index finds it."""
    config = common.settings(args)
    return common.run_to_end(_run(config, args))


async def _run(config: Config, args: argparse.Namespace) -> int:
    from rrd.readonly import open_index  # noqa: PLC0415 - aiosqlite; most commands start without it

    async with open_index(config.data_dir) as index:
        rows = await index.quarantine(tenant=args.tenant, recording_id=args.recording)
        if args.action == "list":
            _list(rows)
        else:
            await _show(config, index, rows, args.recording)
    return 0


def _list(rows: list[QuarantineRow]) -> None:
    common.print_table(
        ("TENANT", "RECORDING", "SEGMENT", "STORED", "LINES"),
        [
            (
                row.tenant,
                row.recording_id,
                str(row.segment),
                common.show_time(row.stored_ms),
                str(row.line_count),
            )
            for row in rows
        ],
    )


async def _show(config: Config, index: Index, rows: list[QuarantineRow], recording_id: str) -> None:
    import asyncio  # noqa: PLC0415

    from rrd.care.kept_aside import notes_of  # noqa: PLC0415
    from rrd.disk.disk import OsDisk  # noqa: PLC0415
    from rrd.inventory.census import StoreFiles  # noqa: PLC0415 - all that reads segments and objects
    from rrd.objects.choose import open_store  # noqa: PLC0415
    from rrd.shelf.shelf import Shelf  # noqa: PLC0415 - all that reads segments

    if not rows:
        raise NotFound(f"nothing of {recording_id!r} is quarantined. `rrd quarantine list` shows what is")
    disk = OsDisk()
    async with open_store(config, disk) as store:
        objects = StoreFiles(store, asyncio.get_running_loop())
        for row in rows:
            known = await index.recording(row.tenant, row.recording_id)
            notes = await asyncio.to_thread(
                notes_of,
                row,
                shelf=Shelf(disk, config.data_dir),
                objects=objects,
                created_ms=known.created_ms if known is not None else 0,
            )
            for note in notes:
                where = {"tenant": row.tenant, "recording": row.recording_id, "segment": row.segment}
                what = {"line": note.line, "reason": note.reason, "at_ms": note.at_ms}
                # Not orjson: ASCII alone plays no tricks with a terminal.
                print(json.dumps(where | what | _raw(note.raw)))


def _raw(raw: bytes) -> dict[str, object]:
    try:
        return {"raw": raw.decode()}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(raw).decode()}
