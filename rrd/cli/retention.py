"""``rrd retention``: what would go by now, and why; ``--confirm`` lets go what the daemon holds back.

A daemon may run meanwhile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rrd.cli import common
from rrd.clock import SystemClock
from rrd.config import Config
from rrd.index import home

if TYPE_CHECKING:
    from rrd.index.rows import TenantRow
    from rrd.lifecycle.retention import Expiry

_COUNT_MAX = 1_000_000


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "retention",
        help="say which recordings would go by now, and why",
        description="A dry run: the daemon removes these, oldest first, within a minute or so of their time.",
    )
    parser.add_argument("--list", action="store_true", help="name each recording")
    parser.add_argument(
        "--confirm",
        action="store_true",
        help="confirm what the daemon holds back: a jump of the clock, settings that remove much at once",
    )
    common.runs(parser, _retention)


def _retention(args: argparse.Namespace) -> int:
    from rrd.lifecycle.holds import Holds  # noqa: PLC0415 - msgspec's codecs

    config = common.settings(args)
    holds = Holds(config)
    if args.confirm:
        for hold in holds.confirm():
            print(f"confirmed: {hold.text()}")
            common.audit(args, "retention_confirmed", text=hold.text())
        print("The daemon goes on with it within seconds, or at its next start.")
        return 0
    for hold in holds.load().holds.values():
        print(f"held: {hold.text()}. If that is right: rrd retention --confirm", file=sys.stderr)
    goes, tenants = common.run_to_end(_look(config))
    if args.list:
        common.print_table(
            ("TENANT", "RECORDING", "LAST EVENT STORED", "EVENTS", "BYTES", "WHY"),
            [
                (
                    row.tenant,
                    row.recording_id,
                    common.show_time(row.last_stored_ms),
                    str(row.events),
                    str(row.stored_bytes),
                    why,
                )
                for row, why in goes
            ],
        )
        return 0
    common.print_table(
        ("TENANT", "HAS RECORDINGS", "BYTES", "WOULD LOSE", "BYTES", "WHY"), _sums(goes, tenants)
    )
    return 0


async def _look(config: Config) -> tuple[list[Expiry], list[TenantRow]]:
    from rrd.lifecycle.retention import limits_of, look  # noqa: PLC0415

    limits = limits_of(config)
    async with home.opened(config.data_dir) as index:
        goes = await look(index, limits, now_ms=SystemClock().now_ms(), count_max=_COUNT_MAX)
        return goes, await index.tenants()


def _sums(goes: Sequence[Expiry], tenants: Sequence[TenantRow]) -> list[Sequence[str]]:
    """Return a line for each tenant and reason; for a tenant that loses nothing, one that says so."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for row, why in goes:
        count, size = sums.get((row.tenant, why), (0, 0))
        sums[row.tenant, why] = (count + 1, size + row.stored_bytes)
    lines: list[Sequence[str]] = []
    for tenant in tenants:
        mine = [(why, *both) for (name, why), both in sums.items() if name == tenant.name] or [("", 0, 0)]
        lines += [
            (
                tenant.name,
                str(tenant.recordings),
                str(tenant.storage_bytes),
                str(count),
                str(size),
                why,
            )
            for why, count, size in mine
        ]
    return lines
