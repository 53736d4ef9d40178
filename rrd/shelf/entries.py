"""The entries of a data directory's folders: which are segments, and which should not be there.

An entry is a segment only if its name is just what ``layout`` makes of it, in its own place, and it is a
regular file (or a link to one). Everything else is *unexpected*: a stray file, a directory, a dangling link,
``lost+found``, a name that nearly fits. What is unexpected is reported, and neither read, moved nor removed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rrd import ids, layout
from rrd.disk.disk import Disk
from rrd.layout import SegmentName
from rrd.log import emit

NEXT_STEP = "move it elsewhere, or delete it by hand if it is not needed; rrd leaves it alone"

_PATHS_LOGGED_MAX = 5

logger = logging.getLogger(__name__)


class Unexpected(NamedTuple):
    """An entry that no part of rrd put there."""

    path: str
    what: str
    """What is wrong with it: a sentence without a full stop."""


Report = Callable[[Unexpected], None]


def ignore(_: Unexpected) -> None:
    """Pass over what is unexpected: ``rrd verify`` reports it."""


def log_unexpected(found: list[Unexpected]) -> None:
    """Log one line about all unexpected entries, if there are any."""
    if found:
        paths = ", ".join(entry.path for entry in found[:_PATHS_LOGGED_MAX])
        emit(
            logger, logging.WARNING, "unexpected_entries", count=len(found), paths=paths,
            next_step="they are left alone; rrd verify tells each",
        )  # fmt: skip


def names_in(disk: Disk, directory: str, report: Report = ignore) -> list[str]:
    """Return the sorted names in a directory; none if it is absent, or is something else.

    Raises ``OSError`` if a directory can't be listed.
    """
    try:
        return sorted(disk.list_dir(directory))
    except NotADirectoryError:
        report(Unexpected(directory, "it is not a directory, and there should be one"))
        return []


def suffixes_in(disk: Disk, root: str, report: Report = ignore) -> Iterator[tuple[str, str]]:
    """Yield the directories of segments below ``sealed/``, each with its tenant, in order. Blocking."""
    for tenant in names_in(disk, root, report):
        if not ids.is_tenant(tenant) or not disk.is_dir(f"{root}/{tenant}"):
            report(Unexpected(f"{root}/{tenant}", "it is not a tenant's directory"))
            continue
        for name in names_in(disk, f"{root}/{tenant}", report):
            directory = f"{root}/{tenant}/{name}"
            if _is_suffix(name) and disk.is_dir(directory):
                yield tenant, directory
            else:
                report(Unexpected(directory, "it is not a directory of segments"))


def sealed_in(disk: Disk, tenant: str, directory: str, report: Report = ignore) -> Iterator[SegmentName]:
    """Yield the names of the segments in one directory below ``sealed/``. Blocking."""
    suffix = directory.rpartition("/")[2]

    def parse(file_name: str) -> SegmentName | None:
        name = layout.parse_sealed(tenant, file_name)
        return name if name is not None and name.recording_id[-2:].lower() == suffix else None

    return segments_in(disk, directory, parse, report)


def segments_in(
    disk: Disk, directory: str, parse: Callable[[str], SegmentName | None], report: Report = ignore
) -> Iterator[SegmentName]:
    """Yield the names of the files in a directory that ``parse`` takes for segments. Blocking."""
    for file_name in names_in(disk, directory, report):
        path, name = f"{directory}/{file_name}", parse(file_name)
        if file_name == layout.PROBE_NAME:
            continue  # The daemon's; one that was killed may leave it behind.
        if name is None:
            report(Unexpected(path, "its name is not that of a segment that belongs here"))
        elif not disk.is_file(path):
            report(Unexpected(path, "it has a segment's name, and is not a regular file"))
        else:
            yield name


def _is_suffix(name: str) -> bool:
    is_lower = 1 <= len(name) <= 2 and name == name.lower()
    return is_lower and layout.parse_sealed("t", f"{name}.000001{layout.SUFFIX}") is not None
