"""Where each file of a data directory is: the one place that joins path names.

::

    DATA/
      lock                                                   held by the daemon that serves DATA
      keys.sqlite                                            keys and signing keys (not a view: back it up)
      index.sqlite                                           the index, a view of the segments
      index.sqlite.rebuilding                                there while the index is made anew
      index.sqlite.damaged-{ms}                              an index that SQLite refused, kept aside
      active/{tenant}.{recordingId}.{number}.ndjson.zst      segments that may still grow
      sealed/{tenant}/{xx}/{recordingId}.{number}.ndjson.zst segments that never change again
      torn/{name}.{offset}.{crc}.torn                        copies of torn tails that repair cut off

``xx`` is the last two characters of the recording id, lower-cased: random both in UUIDs of
version 4 and of version 7, so directories stay small. ``number`` counts the segments of one
recording from 1, six digits at least.

Active segments lie in one flat directory of their own, so that start-up finds what a crash
may have touched by listing it, however many sealed segments there are.
"""

from __future__ import annotations

from typing import NamedTuple

SUFFIX = ".ndjson.zst"


class SegmentName(NamedTuple):
    """What a segment's file name says: whose it is, and which one."""

    tenant: str
    recording: str
    number: int


def lock_path(data_dir: str) -> str:
    return f"{data_dir}/lock"


def keys_path(data_dir: str) -> str:
    return f"{data_dir}/keys.sqlite"


def index_path(data_dir: str) -> str:
    return f"{data_dir}/index.sqlite"


def active_dir(data_dir: str) -> str:
    return f"{data_dir}/active"


def sealed_root(data_dir: str) -> str:
    return f"{data_dir}/sealed"


def torn_dir(data_dir: str) -> str:
    return f"{data_dir}/torn"


def active_path(data_dir: str, name: SegmentName) -> str:
    return f"{data_dir}/active/{name.tenant}.{name.recording}.{name.number:06d}{SUFFIX}"


def sealed_dir(data_dir: str, name: SegmentName) -> str:
    return f"{data_dir}/sealed/{name.tenant}/{name.recording[-2:].lower()}"


def sealed_path(data_dir: str, name: SegmentName) -> str:
    return f"{sealed_dir(data_dir, name)}/{name.recording}.{name.number:06d}{SUFFIX}"


def parse_active(file_name: str) -> SegmentName | None:
    """Read the name of a file in ``active/``; None if it is not a segment's."""
    parts = file_name.removesuffix(SUFFIX).split(".")
    if not file_name.endswith(SUFFIX) or len(parts) != 3 or not parts[2].isdecimal():
        return None
    return SegmentName(parts[0], parts[1], int(parts[2]))


def parse_sealed(tenant: str, file_name: str) -> SegmentName | None:
    """Read the name of a file below ``sealed/{tenant}/``; None if it is not a segment's."""
    parts = file_name.removesuffix(SUFFIX).split(".")
    if not file_name.endswith(SUFFIX) or len(parts) != 2 or not parts[1].isdecimal():
        return None
    return SegmentName(tenant, parts[0], int(parts[1]))
