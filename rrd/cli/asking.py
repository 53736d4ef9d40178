"""A question to the running daemon over its control socket, and why there is no answer if there is none."""

from __future__ import annotations

import http.client
import os
import pwd
import socket
import struct
from typing import Any

import orjson

from rrd import layout
from rrd.config import Config
from rrd.disk.socket_file import connect_to
from rrd.errors import RrdError
from rrd.startup.recovery import is_held

WAIT_S = 6.0
"""How long an answer is waited for. The daemon gives one within four seconds, even where its disk hangs."""


_ANSWER_BYTES_MAX = 4 << 20


class NoAnswer(RrdError):
    """No daemon answers. The message says why, and what to do."""

    code = "no_answer"


def ask(config: Config, target: str, *, wait_s: float = WAIT_S) -> dict[str, Any]:
    """Return what the daemon of ``config.data_dir`` answers to ``GET target``. Raises ``NoAnswer``."""
    path = layout.control_path(config.data_dir)
    try:
        connection = connect_to(path, timeout_s=wait_s)
    except PermissionError:
        raise NoAnswer(_no_permission(config.data_dir)) from None
    except FileNotFoundError:
        raise NoAnswer(_nothing_listens(config.data_dir, is_left=False)) from None
    except ConnectionRefusedError:
        raise NoAnswer(_nothing_listens(config.data_dir, is_left=True)) from None
    except TimeoutError:
        raise NoAnswer(_hangs("the daemon", wait_s)) from None
    except OSError as error:
        raise NoAnswer(f"{path} can't be connected to: {error.strerror}. Is it rrd's own socket?") from None
    with connection:
        pid = _pid_of(connection)
        try:
            return _answer(connection, target)
        except TimeoutError:
            raise NoAnswer(_hangs(f"the daemon (process {pid})", wait_s)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            what = str(error) or type(error).__name__
            raise NoAnswer(
                f"the daemon (process {pid}) broke its answer off: {what}. It may just be stopping: try"
                " again, and see its log"
            ) from None


def _answer(connection: socket.socket, target: str) -> dict[str, Any]:
    channel = http.client.HTTPConnection("rrd")
    channel.sock = connection
    channel.request("GET", target, headers={"Connection": "close"})
    reply = channel.getresponse()
    text = reply.read(_ANSWER_BYTES_MAX)
    if reply.status == 404:
        raise NoAnswer(f"the daemon does not know {target}: it is of an older version, and wants a restart")
    if reply.status != 200:
        raise ValueError(f"status {reply.status}; its log says why (control_failed)")
    body: dict[str, Any] = _printable(orjson.loads(text))
    return body


def _printable(value: Any) -> Any:
    """Return a JSON value whose texts hold nothing that a terminal obeys.

    Root asks a daemon that is not root's. Even one that an attacker has taken over must not write to root's
    terminal what it likes.
    """
    if isinstance(value, str):
        return "".join(character if character.isprintable() else "\ufffd" for character in value)
    if isinstance(value, list):
        return [_printable(each) for each in value]
    if isinstance(value, dict):
        return {_printable(key): _printable(each) for key, each in value.items()}
    return value


def _nothing_listens(data_dir: str, *, is_left: bool) -> str:
    """Return why nothing listens. ``is_left``: there is a socket, which a daemon left behind."""
    if not os.path.isdir(data_dir):
        return f"{data_dir}: there is no data directory here. Check --data-dir, --config and the setting"
    if is_held(data_dir):
        return (
            f"{data_dir} is held by a command, or by a daemon that has no control socket: it only just"
            " starts, or its log says why (control_socket_failed), or it is of an older version and wants a"
            " restart"
        )
    more = "; the last one ended without a stop, as by kill -9" if is_left else ""
    return (
        f"no daemon runs on {data_dir}{more}. Start it (systemctl start rrd, or rrd serve), and see its log"
        " if it ends again: journalctl -u rrd -n 50"
    )


def _no_permission(data_dir: str) -> str:
    try:
        owner = _user(os.stat(data_dir).st_uid)
    except OSError:  # Not even that is for other users to see.
        owner = "root"
    return (
        f"{data_dir} is not for {_user(os.geteuid())}, as whom this runs. Run it as root, or as the user"
        f" that rrd runs as: sudo -u {owner} rrd status"
    )


def _hangs(who: str, wait_s: float) -> str:
    return (
        f"{who} gives no answer within {wait_s:g} s: it hangs, was suspended, or starves. See its log, and"
        " top; systemctl restart rrd if it stays so. Nothing acked is lost by that"
    )


def _pid_of(connection: socket.socket) -> int:
    """Return the process that listens (unix(7), SO_PEERCRED)."""
    size = struct.calcsize("3i")
    pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0]
    return pid


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
