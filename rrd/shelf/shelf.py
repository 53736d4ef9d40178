"""Segment files of one data directory: the one place that knows ``active/ sealed/ torn/ rolling/``. Blocking.

A segment is made in ``active/``, and moved to ``sealed/`` once. Nothing moves it back. So whoever looks for a
file looks into ``active/`` and then into ``sealed/``; or first where it was last, and then in that order.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from rrd import layout
from rrd.disk.disk import Disk
from rrd.index.rows import SegmentState
from rrd.layout import SegmentName
from rrd.log import emit
from rrd.segment.format import IDENTITY_READ_SIZE
from rrd.shelf.entries import Report, Unexpected, ignore, names_in, sealed_in, segments_in, suffixes_in

_DISPLACED = ".displaced"
_COMPARE_BYTES = 1 << 20

_T = TypeVar("_T")

logger = logging.getLogger(__name__)


class Files(NamedTuple):
    """Local files of one recording: paths by the number of the segment, of the first one for an object."""

    active: dict[int, str]
    sealed: dict[int, str]
    rolling: dict[int, str]
    torn: list[str]


class Shelf:
    """The segments of one data directory. Holds no state: it may be made wherever it is needed.

    All methods raise ``OSError``. They may be called from any thread that the disk may be called from.
    """

    __slots__ = ("active_dir", "data_dir", "disk", "rolling_dir", "sealed_root", "torn_dir")

    def __init__(self, disk: Disk, data_dir: str) -> None:
        self.disk = disk
        self.data_dir = data_dir
        self.active_dir = layout.active_dir(data_dir)
        self.sealed_root = layout.sealed_root(data_dir)
        self.torn_dir = layout.torn_dir(data_dir)
        self.rolling_dir = layout.rolling_dir(data_dir)

    # Where a file would be

    def active(self, name: SegmentName) -> str:
        """Return the path of a segment while it may grow."""
        return layout.active_path(self.data_dir, name)

    def sealed(self, name: SegmentName) -> str:
        """Return the path of a segment that never changes again."""
        return layout.sealed_path(self.data_dir, name)

    def path(self, name: SegmentName, place: SegmentState) -> str:
        """Return the path of a segment in this state."""
        return self.active(name) if place == "active" else self.sealed(name)

    def rolling(self, name: SegmentName) -> str:
        """Return where the object that begins with a segment is made."""
        return layout.rolling_path(self.data_dir, name)

    # Where a file is

    def at(self, name: SegmentName, do: Callable[[str], _T], *, first: SegmentState = "active") -> _T:
        """Return ``do(path)`` for the path at which a segment is, though it may be moved just now.

        ``first``: the state that it was in last, as far as is known. Raises ``FileNotFoundError``, with the
        path below ``sealed/``, if it is nowhere, and what ``do`` raises.
        """
        for path in (self.active(name),) if first == "active" else (self.sealed(name), self.active(name)):
            try:
                return do(path)
            except FileNotFoundError:
                continue
        return do(self.sealed(name))

    def find(self, name: SegmentName, *, first: SegmentState = "active") -> str:
        """Return the path at which a segment is. It may be moved meanwhile: see ``at``.

        Raises ``FileNotFoundError``.
        """
        return self.at(name, self._there, first=first)

    def _there(self, path: str) -> str:
        self.disk.size(path)
        return path

    def size_at(self, path: str) -> int | None:
        """Return a file's size; None if there is none, or something else in its place."""
        try:
            # A directory in a file's place has a size, too.
            return self.disk.size(path) if self.disk.is_file(path) else None
        except FileNotFoundError:
            return None

    def reader(self, name: SegmentName, *, first: SegmentState) -> LocalSegment:
        """Return something to read a segment with, wherever it lies at the moment."""
        return LocalSegment(self, name, first)

    # What there is

    def active_names(self, report: Report = ignore) -> list[SegmentName]:
        """Return the names of the segments in ``active/``, sorted."""
        return sorted(segments_in(self.disk, self.active_dir, layout.parse_active, report))

    def sealed_names(self, report: Report = ignore) -> Iterator[SegmentName]:
        """Yield the names of all segments below ``sealed/``, those of a recording together and by number.

        Raises ``OSError`` if a tenant's directory can't be listed: its segments must not be missed.
        """
        for tenant, directory in suffixes_in(self.disk, self.sealed_root, report):
            yield from sorted(sealed_in(self.disk, tenant, directory, report))

    def rolling_paths(self) -> list[str]:
        """Return the paths of unfinished objects."""
        names = [name for name in names_in(self.disk, self.rolling_dir) if layout.parse_rolling(name)]
        paths = [f"{self.rolling_dir}/{name}" for name in names]
        return [path for path in paths if self.disk.is_file(path)]

    def with_leftovers(self) -> list[tuple[str, str]]:
        """Return the recordings that have unfinished objects or copies of torn tails, sorted."""
        rolling = map(layout.parse_rolling, names_in(self.disk, self.rolling_dir))
        torn = map(layout.parse_torn, names_in(self.disk, self.torn_dir))
        return sorted({name[:2] for name in (*rolling, *torn) if name is not None})

    def of(self, tenant: str, recording_id: str) -> Files:
        """List the files of one recording."""
        found = Files({}, {}, {}, [])
        parts: dict[str, tuple[Callable[[str], SegmentName | None], dict[int, str]]] = {
            self.active_dir: (layout.parse_active, found.active),
            self.rolling_dir: (layout.parse_rolling, found.rolling),
        }
        for directory, file_names in self.entries_of(tenant, recording_id):
            paths = [f"{directory}/{file_name}" for file_name in file_names]
            if directory == self.torn_dir:
                found.torn.extend(paths)
                continue
            parse, by_number = parts.get(directory, (partial(layout.parse_sealed, tenant), found.sealed))
            for file_name, path in zip(file_names, paths, strict=True):
                name = parse(file_name)
                if name is not None and self.disk.is_file(path):
                    by_number[name.number] = path
        return found

    def entries_of(self, tenant: str, recording_id: str) -> Iterator[tuple[str, list[str]]]:
        """Yield each directory that may hold something of a recording, and the names there that are its own.

        Whatever has such a name is told, also what is no file, and each directory, also an empty one.
        """
        first = SegmentName(tenant, recording_id, 1)
        for directory, parse in (
            (self.active_dir, layout.parse_active),
            (layout.sealed_dir(self.data_dir, first), partial(layout.parse_sealed, tenant)),
        ):
            names = names_in(self.disk, directory)
            yield directory, [name for name in names if (found := parse(name)) and found[:2] == first[:2]]
        # Neither tenants nor ids have dots in them.
        beginning = f"{tenant}.{recording_id}."
        for directory in (self.torn_dir, self.rolling_dir):
            yield directory, [name for name in names_in(self.disk, directory) if name.startswith(beginning)]

    def unexpected(self) -> list[Unexpected]:
        """Return what should not be in the folders of segments and what belongs to them."""
        found: list[Unexpected] = []
        self.active_names(found.append)
        for _ in self.sealed_names(found.append):
            pass
        for directory, parse in (
            (self.rolling_dir, layout.parse_rolling),
            (self.torn_dir, layout.parse_torn),
        ):
            for _ in segments_in(self.disk, directory, parse, found.append):
                pass
        return found

    # Changing

    def move_to_sealed(self, names: Sequence[SegmentName]) -> None:
        """Move segments from ``active/`` to below ``sealed/``; on disk when this returns."""
        directories = {layout.sealed_dir(self.data_dir, name) for name in names}
        for directory in sorted(directories):
            self.disk.make_dirs(directory)
        for name in names:
            active, sealed = self.active(name), self.sealed(name)
            are_both_here = self.disk.is_file(sealed) and self.disk.is_file(active)
            if are_both_here and not _is_one_segment(self.disk, active, sealed):
                # Put there by hand, and no trace of a move that a power cut left: a rename would destroy it.
                self.disk.rename(sealed, f"{sealed}{_DISPLACED}")
                emit(
                    logger, logging.WARNING, "file_displaced", path=sealed, now=f"{sealed}{_DISPLACED}",
                    next_step="it had the place of a segment; move it elsewhere",
                )  # fmt: skip
            # Moved the last time, when something after it failed; it may be rolled up and gone by now.
            with contextlib.suppress(FileNotFoundError):
                self.disk.rename(active, sealed)
        # The new entries before the old directory: a crash between may leave a file in both, never in none.
        for directory in sorted(directories):
            self.disk.sync_dir(directory)
        if names:
            self.disk.sync_dir(self.active_dir)

    def sync_sealed(self, name: SegmentName) -> None:
        """Return when the move of a recording's segments is on disk, which may have been done by half."""
        self.disk.sync_dir(layout.sealed_dir(self.data_dir, name))
        self.disk.sync_dir(self.active_dir)

    def remove_active(self, names: Sequence[SegmentName]) -> None:
        """Unlink files in ``active/``; on disk when this returns."""
        for name in names:
            self.disk.unlink(self.active(name))
        if names:
            self.disk.sync_dir(self.active_dir)

    def remove_copies(self, names: Iterable[SegmentName]) -> None:
        """Unlink the copies of an object's segments, wherever they lie; on disk when this returns."""
        directories = set()
        for name in names:
            sealed, active = self.sealed(name), self.active(name)
            # In active/, too, where a crash in the middle of sealing may have left a second entry. One that
            # holds anything else is no copy of the object's; the next start compares it.
            if self.disk.is_file(active) and self.disk.is_file(sealed) and self.is_same(active, sealed):
                self.disk.unlink(active)
            with contextlib.suppress(FileNotFoundError):
                self.disk.unlink(sealed)
            directories |= {layout.sealed_dir(self.data_dir, name), self.active_dir}
        for directory in directories:
            with contextlib.suppress(FileNotFoundError):
                self.disk.sync_dir(directory)

    def is_same(self, one: str, other: str) -> bool:
        """Tell whether two files have the same bytes."""
        size = self.disk.size(one)
        return size == self.disk.size(other) and all(
            self.disk.read(one, offset, _COMPARE_BYTES) == self.disk.read(other, offset, _COMPARE_BYTES)
            for offset in range(0, size, _COMPARE_BYTES)
        )

    def place_of(self, path: str) -> SegmentName | None:
        """Return the name of the segment whose place a path is; None if it is no segment's."""
        directory, file_name = os.path.split(path)
        name = layout.parse_active(file_name)
        if name is not None and self.active(name) == path:
            return name
        name = layout.parse_sealed(os.path.basename(os.path.dirname(directory)), file_name)
        return name if name is not None and self.sealed(name) == path else None


class LocalSegment:
    """A ``Readable`` of one segment, wherever it lies: it may be sealed while it is read."""

    def __init__(self, shelf: Shelf, name: SegmentName, first: SegmentState) -> None:
        self._shelf = shelf
        self._name = name
        self._first: SegmentState = first

    def size(self, _: str) -> int:
        return self._shelf.at(self._name, self._shelf.disk.size, first=self._first)

    def read(self, _: str, offset: int, size: int) -> bytes:
        return self._shelf.at(
            self._name, lambda path: self._shelf.disk.read(path, offset, size), first=self._first
        )


def _is_one_segment(disk: Disk, one: str, other: str) -> bool:
    """Tell whether two files are one segment: each has a salt of its own in its first bytes."""
    head, other_head = (disk.read(path, 0, IDENTITY_READ_SIZE) for path in (one, other))
    return disk.size(one) == disk.size(other) and head == other_head
