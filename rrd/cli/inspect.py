"""``rrd inspect FILE``: what a segment or an object holds. Reads it, changes nothing."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

from rrd import layout
from rrd.cli import common
from rrd.config import Config
from rrd.errors import RrdError

if TYPE_CHECKING:
    from rrd.segment.inspect import Known

_READ_BYTES = 8 << 20


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "inspect", help="tell what a segment or object holds, and whether it is whole"
    )
    parser.add_argument(
        "file", metavar="FILE", help="a .ndjson.zst file, or the key of an object, which is fetched"
    )
    common.runs(parser, _inspect)


def _inspect(args: argparse.Namespace) -> int:
    if os.path.exists(args.file) or layout.parse_object_key(args.file) is None:
        _describe(args.file, common.run_to_end(_known(args.file)))
        return 0
    with tempfile.TemporaryDirectory(prefix="rrd-inspect-") as directory:
        path = f"{directory}/object{layout.SUFFIX}"
        common.run_to_end(_fetch(common.settings(args), args.file, path))
        print(f"object       {args.file}, fetched into a temporary file")
        from rrd.care.surroundings import of_object  # noqa: PLC0415 - all that reads segments

        _describe(path, of_object(args.file))
    return 0


def _describe(path: str, known: Known) -> None:
    from rrd.segment.inspect import describe  # noqa: PLC0415 - zstandard takes a while to load

    for line in describe(path, known):
        print(line)


async def _known(path: str) -> Known:
    """Return what the data directory that a file lies in says of it, its index if that can be read."""
    from rrd.care.surroundings import of_object, of_segment, place_of  # noqa: PLC0415 - reads segments
    from rrd.disk.disk import OsDisk  # noqa: PLC0415
    from rrd.readonly import open_index  # noqa: PLC0415 - aiosqlite

    place = place_of(path)
    if place is None:
        return of_object(path)
    data_dir, name = place
    row = None
    with contextlib.suppress(RrdError, OSError):
        # Without an index the file and its neighbours are all there is to ask.
        async with open_index(data_dir) as index:
            row = await index.recording(name.tenant, name.recording_id)
    return of_segment(OsDisk(), data_dir, name, row)


async def _fetch(config: Config, key: str, path: str) -> None:
    """Copy an object of the store into a file, piece by piece. Raises ``ObjectMissing``, ``StoreAway``."""
    from rrd.disk import files  # noqa: PLC0415
    from rrd.disk.disk import OsDisk  # noqa: PLC0415
    from rrd.objects.choose import open_store  # noqa: PLC0415 - aiobotocore, perhaps

    async with open_store(config, OsDisk()) as store:
        size = await store.size(key)
        with files.overwrite(path) as file:
            for offset in range(0, size, _READ_BYTES):
                part = await store.read(key, offset, min(_READ_BYTES, size - offset))
                file.write(part)
