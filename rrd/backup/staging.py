"""Hard links of segment files, so that they stay while a backup is made.

The daemon moves, evicts and erases segments as it pleases. A link keeps a file's bytes whatever becomes of
its name: links are made first, then the index is copied, and what the copy knows is looked for here. They lie
in the data directory, since a link can't lead to another file system. Until they are gone, the bytes of what
is erased meanwhile are still on the disk: the backup removes them when it ends, and a backup that was killed
leaves them to the next one.
"""

from __future__ import annotations

import contextlib
import os

from rrd.disk import files
from rrd.disk.disk import OsDisk
from rrd.layout import SegmentName
from rrd.readonly import is_read_only
from rrd.shelf.shelf import Shelf

_PREFIX = "backing-up."


def remove_leftovers(data_dir: str) -> None:
    """Remove the links of backups that were killed: they would keep the bytes of what is erased."""
    for name in os.listdir(data_dir):
        path, pid = f"{data_dir}/{name}", name.removeprefix(_PREFIX)
        is_ours = name.startswith(_PREFIX) and pid.isascii() and pid.isdecimal()
        if is_ours and os.path.isdir(path) and not os.path.islink(path) and not _is_alive(pid):
            files.remove_tree(path)


class Staging:
    """Links to the segments of one data directory. Use as a context manager. Blocking."""

    def __init__(self, data_dir: str) -> None:
        self._data_dir = data_dir
        self._root = f"{data_dir}/{_PREFIX}{os.getpid()}"
        self._shelf = Shelf(OsDisk(), data_dir)
        self._found_active: set[SegmentName] = set()

    def __enter__(self) -> Staging:
        remove_leftovers(self._data_dir)
        files.make_dir(self._root)
        return self

    def __exit__(self, *_: object) -> None:
        files.remove_tree(self._root)

    def link_all(self) -> None:
        """Link every segment that is not linked yet."""
        # In this order: a file that is sealed meanwhile is met twice rather than never.
        for name in self._shelf.active_names():
            if self.link(name):
                self._found_active.add(name)
        for name in self._shelf.sealed_names():
            self.link(name)

    def link(self, name: SegmentName) -> bool:
        """Link one segment; return whether it is linked now."""
        target = self.path(name)
        if os.path.exists(target):
            return True
        try:
            return self._shelf.at(name, lambda source: _link(source, target))
        except FileNotFoundError:
            return False

    def drop(self, name: SegmentName) -> None:
        """Forget a link, if there is one."""
        files.remove(self.path(name))

    def left_active(self) -> list[SegmentName]:
        """Return the segments found in ``active/`` whose links are still here, in order."""
        return sorted(name for name in self._found_active if os.path.exists(self.path(name)))

    def path(self, name: SegmentName) -> str:
        """Return where a segment's link is, or would be."""
        directory = f"{self._root}/{name.tenant}/{name.recording_id[-2:].lower()}"
        return f"{directory}/{name.recording_id}.{name.number:06d}"


def _link(source: str, target: str) -> bool:
    """Give a file a second name, or copy it; return whether that worked. Raises ``FileNotFoundError``."""
    files.make_dirs(os.path.dirname(target))
    try:
        files.link(source, target)
    except FileExistsError:
        pass
    except PermissionError:
        # A file system without hard links (EPERM), or another user's file.
        try:
            files.copy(source, target)
        except OSError:
            files.remove(target)
            return False
    return True


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


class InPlace(Staging):
    """The segments of a data directory that can't be written to: no link is needed where nothing changes."""

    def __enter__(self) -> InPlace:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def link(self, name: SegmentName) -> bool:
        return os.path.exists(self.path(name))

    def drop(self, name: SegmentName) -> None:
        self._found_active.discard(name)

    def path(self, name: SegmentName) -> str:
        with contextlib.suppress(FileNotFoundError):
            return self._shelf.find(name)
        return self._shelf.sealed(name)


def staging_of(data_dir: str) -> Staging:
    """Return the staging that a data directory allows."""
    return InPlace(data_dir) if is_read_only(data_dir) else Staging(data_dir)
