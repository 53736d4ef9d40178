"""Whose the files of a data directory are: its owner's, and the daemon must be able to write them all.

Commands are often run as root, the daemon hardly ever. What root makes here, the daemon couldn't write, and
would learn that at the first event: so commands hand over what they made, and a start looks first.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import stat
from collections.abc import Iterator

from rrd import layout
from rrd.config import Config
from rrd.errors import ConfigError
from rrd.log import emit

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def handing_over(config: Config) -> Iterator[None]:
    """Give what root makes in the block, in ``data_dir`` and ``objects_dir``, to the owner of ``data_dir``.

    Does nothing for other users, or where the owner is root. Happens however the block ends.
    """
    if os.geteuid() != 0 or not os.path.isdir(config.data_dir):
        yield
        return
    owner = os.stat(config.data_dir)
    new_roots = [root for root in _roots(config) if not os.path.exists(root)]
    try:
        yield
    finally:
        if owner.st_uid != 0 and not os.statvfs(config.data_dir).f_flag & os.ST_RDONLY:
            try:
                for root in filter(os.path.isdir, new_roots):
                    os.chown(root, owner.st_uid, owner.st_gid, follow_symlinks=False)
                for root in _roots(config):
                    _hand_over(root, owner.st_uid, owner.st_gid)
            except OSError as error:
                emit(
                    logger, logging.WARNING, "not_handed_over", error=error,
                    next_step=f"chown -R {_user(owner.st_uid)}: {config.data_dir}",
                )  # fmt: skip


def _hand_over(root: str, uid: int, gid: int) -> None:
    # By handles of directories, not by paths: the owner may put a link to /etc in the place of one meanwhile.
    for _, directories, names, handle in os.fwalk(os.path.realpath(root)):
        for name in (*directories, *names):
            # A daemon that runs may have removed it just now.
            with contextlib.suppress(FileNotFoundError):
                _give(name, handle, uid, gid)


def _give(name: str, directory: int, uid: int, gid: int) -> None:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    is_dir = stat.S_ISDIR(status.st_mode)
    # A file with a second name may be another's, linked here by the owner to be given it.
    is_single = is_dir or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1)
    if status.st_uid == 0 and is_single:
        os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)


def why_absent(path: str, otherwise: str) -> str:
    """Return why a file that a command needs isn't found: it may not be looked for, or else ``otherwise``."""
    try:
        os.stat(path)
    except PermissionError:
        above = os.path.dirname(os.path.abspath(path))
        while not os.path.exists(above):
            above = os.path.dirname(above)
        owner = _user(os.stat(above).st_uid)
        return (
            f"{path}: {_user(os.geteuid())}, as whom this runs, may not look into {above}. Run it as root"
            f" (sudo), or as {owner}, whose directory it is"
        )
    except OSError:
        pass
    return otherwise


_HIDDEN = ("/home/", "/root/", "/run/user/")
"""What ``ProtectHome=yes`` hides (systemd.exec(5))."""


def check_writable(config: Config) -> None:
    """Raise ``ConfigError`` if there is a place that the daemon couldn't write, with what to do about it.

    Looks at directories that files are made in, and at files that are written again: a system call each.
    Sealed segments and objects, which are many, are never written again, and not looked at.
    """
    for root in _roots(config):
        for path in _written(root, config):
            if not os.access(path, os.W_OK | (os.X_OK if os.path.isdir(path) else os.R_OK)):
                raise ConfigError(_explain(path, root))


def _roots(config: Config) -> list[str]:
    """Return the directories that are rrd's own."""
    elsewhere = config.object_store == "local" and config.objects_dir
    return [config.data_dir, config.objects_dir] if elsewhere else [config.data_dir]


def _written(root: str, config: Config) -> Iterator[str]:
    if not os.path.isdir(root):
        # It is to be made: in the nearest directory above that is there.
        above = os.path.abspath(root)
        while not os.path.lexists(above):
            above = os.path.dirname(above)
        yield above
        return
    yield root
    if root != config.data_dir:
        yield from _directories(root, depth=2)
        return
    with os.scandir(root) as entries:
        files = [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
    yield from files
    yield from _directories(root, depth=3)
    with (
        contextlib.suppress(FileNotFoundError, PermissionError),
        os.scandir(layout.active_dir(root)) as entries,
    ):
        yield from (entry.path for entry in entries if entry.is_file(follow_symlinks=False))


def _directories(root: str, *, depth: int) -> Iterator[str]:
    """Yield the directories below ``root``, ``depth`` levels deep; none below one that can't be read."""
    with contextlib.suppress(FileNotFoundError, PermissionError), os.scandir(root) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield entry.path
                if depth > 1:
                    yield from _directories(entry.path, depth=depth - 1)


def _explain(path: str, root: str) -> str:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        told = f"{path} can't be written: its file system is mounted read-only. Mount it for writing"
        return f"{told}{sandbox_hint(root)}"
    status = os.stat(path)
    me = _user(os.geteuid())
    if hint := sandbox_hint(root, hidden_only=True):
        return f"{root} can't be reached{hint}"
    if status.st_uid == os.geteuid():
        return f"{path} can't be written by its owner {me}: see its mode. Next: chmod -R u+rwX {root}"
    if path != root and not path.startswith(f"{root}/"):
        return (
            f"{root} is not there, and {me}, as whom rrd runs, can't make it: {path} belongs to "
            f"{_user(status.st_uid)}. Next, as root: install -d -m 700 -o {me} {root}"
        )
    return (
        f"{path} belongs to {_user(status.st_uid)}, and rrd runs as {me}, who can't write it. "
        f"Next, as root: chown -R {me}: {root}"
    )


def sandbox_hint(path: str, *, hidden_only: bool = False) -> str:
    """Return how the unit keeps a service from ``path``, and what to change, after a sentence; "" elsewhere.

    ``hidden_only``: speak only of what the unit hides, not of what it lets rrd read.
    """
    if "INVOCATION_ID" not in os.environ:
        return ""
    absolute = os.path.abspath(path)
    if absolute.startswith(_HIDDEN):
        return (
            ". The unit hides /home, /root and /run/user (ProtectHome=yes): use a directory elsewhere, like"
            " /var/lib/rrd (docs/systemd.md)"
        )
    if hidden_only:
        return ""
    return (
        f". The unit lets rrd write its own directories alone (ProtectSystem=strict): systemctl edit rrd, add"
        f" ReadWritePaths={absolute} below [Service], and restart rrd (docs/systemd.md)"
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
