"""``rrd verify``: whether index, local files and objects agree, and which command mends it if not."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from rrd.cli import common
from rrd.config import Config
from rrd.errors import NotFound
from rrd.index import home
from rrd.progress import Progress

if TYPE_CHECKING:
    from rrd.care.examine import Examiner
    from rrd.care.verify import Verifier
    from rrd.inventory.differences import Difference


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "verify",
        help="tell whether index, local files and objects agree",
        description="Walks index, local files and objects, and prints a line for each difference: what, "
        "where, and which command mends it. A running daemon doesn't mind. Exit code 0: none is left; "
        "1: some.",
    )
    parser.add_argument("recordings", nargs="*", metavar="RECORDING", help="only these (all by default)")
    parser.add_argument(
        "--tenant", type=common.tenant, help="whose, where several tenants have such a recording"
    )
    parser.add_argument("--deep", action="store_true", help="read every byte and check it, objects too")
    parser.add_argument(
        "--mend",
        action="store_true",
        help="remove leftovers whose every event is elsewhere, too, and whole (daemon stopped)",
    )
    common.runs(parser, _verify)


def _verify(args: argparse.Namespace) -> int:
    from rrd.startup.recovery import is_held, lock_data_dir  # noqa: PLC0415 - all that reads segments

    config = common.settings(args)
    home.require(config.data_dir)
    if not args.mend:
        # Looking is no reason to keep a daemon from starting.
        return common.run_to_end(_run(config, args, is_served=is_held(config.data_dir)))
    with lock_data_dir(config.data_dir):
        return common.run_to_end(_run(config, args, is_served=False))


@contextlib.asynccontextmanager
async def examining(config: Config, *, is_served: bool) -> AsyncIterator[Examiner]:
    """Open everything that there is to look at."""
    from rrd.care.examine import Examiner  # noqa: PLC0415 - all that reads segments
    from rrd.disk.disk import OsDisk  # noqa: PLC0415
    from rrd.objects.choose import open_store  # noqa: PLC0415
    from rrd.readonly import open_index, open_tombstones  # noqa: PLC0415

    disk = OsDisk()
    async with open_index(config.data_dir) as index, open_store(config, disk) as store:
        await store.check_owner()
        with open_tombstones(config.data_dir) as tombstones:
            examiner = Examiner(config.data_dir, disk, index, store, tombstones, is_served=is_served)
            with contextlib.closing(examiner):
                yield examiner


async def _run(config: Config, args: argparse.Namespace, *, is_served: bool) -> int:
    import asyncio  # noqa: PLC0415

    from rrd.care.verify import Verifier  # noqa: PLC0415
    from rrd.startup.recovery import recover  # noqa: PLC0415

    count = left = 0
    async with examining(config, is_served=is_served) as examiner:
        if args.mend:
            # What the next start would do, so that what is left is not just on its way.
            await recover(
                config, examiner.disk, examiner.index, rebuild=False, tombstones=examiner.tombstones
            )
        progress = Progress()
        verifier = Verifier(
            examiner, deep=args.deep, told=lambda what, count: progress.show(f"{what}: {count:,}")
        )
        found = verifier.all()
        if args.recordings:
            found = verifier.some(await _keys(examiner, args.recordings, args.tenant))
        async for difference in found:
            progress.clear()
            count += 1
            left += not await _told(verifier, difference, mend=args.mend)
        progress.clear()
    looked_at = ", ".join(f"{number:,} {what}" for what, number in verifier.counts.items() if number)
    if args.mend and count > left:
        await asyncio.to_thread(common.audit, args, "mended", differences=count - left, left=left)
    mended = f"{count - left:,} mended, " if args.mend and count else ""
    print(f"{looked_at or 'nothing there'}: {mended}{left or 'no'} difference{'' if left == 1 else 's'}")
    return 1 if left else 0


async def _told(verifier: Verifier, difference: Difference, *, mend: bool) -> bool:
    """Print a difference, mended if that is wanted and can be done. Return whether it was."""
    done = await verifier.mend(difference) if mend else ""
    if done:
        print(f"{difference.kind}: {difference.where}: {done}, since {difference.what}")
        return True
    print(difference)
    if mend and difference.mend != "by_hand":
        print(f"  left alone: {', '.join(difference.proofs)} should hold the same, and can't be read whole")
    return False


async def _keys(examiner: Examiner, recordings: Sequence[str], tenant: str | None) -> list[tuple[str, str]]:
    """Return (tenant, recording) of each, in every tenant that knows it. Raises ``NotFound``."""
    keys: list[tuple[str, str]] = []
    for recording_id in recordings:
        tenants = await tenants_of(examiner, recording_id, tenant)
        if not tenants:
            raise NotFound(
                f"nothing is known of recording {recording_id!r}. `rrd doctor {recording_id}` says more"
            )
        keys += [(name, recording_id) for name in tenants]
    return keys


async def tenants_of(examiner: Examiner, recording_id: str, tenant: str | None) -> list[str]:
    """Return the tenants, or the one asked for, whose index or tombstones know a recording."""
    names = [tenant] if tenant else [row.name for row in await examiner.index.tenants()]
    return [
        name
        for name in names
        if await examiner.index.recording(name, recording_id) or examiner.tombstones.lives(name, recording_id)
    ]
