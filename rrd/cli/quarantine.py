"""``rrd quarantine list|show``: lines that were kept out of the events, and why. Changes nothing."""

from __future__ import annotations

import argparse
import base64
import json
import os
from collections.abc import Iterator

from rrd import layout
from rrd.cli import common
from rrd.errors import CorruptSegment, NotFound
from rrd.index.rows import QuarantineRow
from rrd.layout import SegmentName


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

    for parser, action in ((family, None), (listing, _list), (show, _show)):
        parser.set_defaults(run=run, action=action)
        common.add_shared_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Print what was asked for, as the index finds it."""
    import asyncio  # noqa: PLC0415 - most commands start without it

    data_dir = common.settings(args).data_dir
    path = layout.index_path(data_dir)
    if not os.path.exists(path):
        raise NotFound(f"{path}: there is no index here. Check --data-dir; `rrd reindex` makes it again")
    rows = asyncio.run(_rows(path, args.tenant, args.recording))
    code: int = args.action(data_dir, rows, args)
    return code


async def _rows(path: str, tenant: str | None, recording: str | None) -> list[QuarantineRow]:
    from rrd.index.index import Index  # noqa: PLC0415 - aiosqlite; most commands start without it

    index = await Index.open(path)
    try:
        return await index.quarantine(tenant=tenant, recording=recording)
    finally:
        await index.close()


def _list(_: str, rows: list[QuarantineRow], __: argparse.Namespace) -> int:
    common.print_table(
        ("TENANT", "RECORDING", "SEGMENT", "STORED", "LINES"),
        [
            (
                row.tenant,
                row.recording,
                str(row.segment),
                common.show_time(row.stored_ms),
                str(row.line_count),
            )
            for row in rows
        ],
    )
    return 0


def _show(data_dir: str, rows: list[QuarantineRow], args: argparse.Namespace) -> int:
    if not rows:
        raise NotFound(f"nothing of {args.recording!r} is quarantined. `rrd quarantine list` shows what is")
    for row in rows:
        for line in _lines(data_dir, row):
            print(json.dumps(line))
    return 0


def _lines(data_dir: str, row: QuarantineRow) -> Iterator[dict[str, object]]:
    """Yield the lines that one block holds, with where and why."""
    from rrd.segment.disk import OsDisk  # noqa: PLC0415 - zstandard; most commands start without it
    from rrd.segment.reader import read_notes  # noqa: PLC0415
    from rrd.segment.scan import scan  # noqa: PLC0415

    name = SegmentName(row.tenant, row.recording, row.segment)
    paths = (layout.active_path(data_dir, name), layout.sealed_path(data_dir, name))
    # Asked of the disk, not of the row: the daemon may have sealed it since.
    path = next((path for path in paths if os.path.exists(path)), paths[row.state == "sealed"])
    disk = OsDisk()
    blocks = scan(disk, path, start=row.block_offset).blocks
    if not blocks or blocks[0].offset != row.block_offset:
        raise CorruptSegment("there should be a block", path=path, offset=row.block_offset)
    for note in read_notes(disk, path, blocks[0])[1]:
        yield {
            "tenant": row.tenant,
            "recording": row.recording,
            "segment": row.segment,
            "line": note.line,
            "reason": note.reason,
            "at_ms": note.at_ms,
            **_raw(note.raw),
        }


def _raw(raw: bytes) -> dict[str, object]:
    try:
        return {"raw": raw.decode()}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(raw).decode()}
