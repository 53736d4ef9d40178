"""The user that a service runs as, and the directory that is its own. Both need root."""

from __future__ import annotations

import os
import pwd

from rrd import layout
from rrd.disk.shared_files import give_dir, make_dir_of
from rrd.setup.report import StepReport
from rrd.setup.tools import SetupFailed, run_tool

USER = "rrd"
"""The unit's User= and Group=."""

HOME = "/var/lib/rrd"
"""The unit's StateDirectory=, and so the ``data_dir`` of a service."""

_USERADD_TIMEOUT_S = 60.0


def ensure_user(report: StepReport) -> pwd.struct_passwd:
    """Return the service's user, made if it is missing."""
    if (known := _user()) is not None:
        report.same(f"user {USER}")
        return known
    flags = (
        "--system",
        "--user-group",
        "--home-dir",
        HOME,
        "--no-create-home",
        "--shell",
        "/usr/sbin/nologin",
    )
    done = run_tool("useradd", *flags, USER, timeout_s=_USERADD_TIMEOUT_S)
    if (made := _user()) is None:
        raise SetupFailed(f"user {USER} could not be made: useradd: {done.last_line}")
    report.done(f"user {USER} made")
    return made


def ensure_data_dir(path: str, owner: pwd.struct_passwd | None, report: StepReport) -> None:
    """Make the data directory if it is missing; give root's to ``owner``.

    Without ``owner`` it belongs to the user who runs this. Raises ``SetupFailed``, ``OSError``.
    """
    uid, gid = (owner.pw_uid, owner.pw_gid) if owner else (os.geteuid(), os.getegid())
    if not os.path.isdir(path):
        make_dir_of(path, uid, gid)
        report.done(f"data directory {path} made")
        return
    found = os.stat(path).st_uid
    if owner is None or found == uid:
        report.same(f"data directory {path}")
    elif found == 0:
        _refuse_strangers(path, owner.pw_name)
        # What is in it is handed over by ``ownership`` when this is done.
        give_dir(path, uid, gid)
        report.done(f"data directory {path} given to {owner.pw_name}")
    else:
        raise SetupFailed(
            f"{path} belongs to user {found}, and rrd runs as {owner.pw_name}. Another service may use it: "
            f"choose another data_dir. If it is rrd's: chown -R {owner.pw_name}: {path}"
        )


def _refuse_strangers(path: str, user: str) -> None:
    """Raise ``SetupFailed`` for a directory of root's that is neither empty nor a data directory, like /srv.

    All that is root's in it would be handed over.
    """
    names = [name for name in os.listdir(path) if name != "lost+found"]
    own = (layout.lock_path, layout.keys_path, layout.identity_path)
    if names and not any(os.path.exists(place(path)) for place in own):
        raise SetupFailed(
            f"{path} belongs to root, and holds {min(names)}, so it is no data directory. Choose a data_dir "
            f"of rrd's own. If all in it is meant for {user}: chown -R {user}: {path}"
        )


def _user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        return None
