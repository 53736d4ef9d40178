"""What must be right about the settings as a whole before the daemon starts.

``rrd serve`` and ``rrd check-config`` ask the same function, so that what the one accepts starts the other.
Bounds of single settings are ``config``'s.
"""

from __future__ import annotations

import os
import socket

from rrd import layout
from rrd.ceiling import MEMORY_MIN_BYTES
from rrd.config import Config
from rrd.errors import ConfigError
from rrd.lifecycle.retention import limits_of
from rrd.objects.choose import check_s3
from rrd.shares.limits import quota_limits_of


def check_settings(config: Config) -> None:
    """Raise ``ConfigError`` if the settings can't work together, or name what can't be used.

    Changes nothing, makes nothing, and asks nothing of the network but what ``host`` is, if it is a name.
    """
    limits_of(config)
    if 0 < config.memory_max < MEMORY_MIN_BYTES:
        raise ConfigError(
            f"memory_max ({config.memory_max}) must be at least {MEMORY_MIN_BYTES}, "
            "or 0 for what the machine has"
        )
    quota_limits_of(config)
    _check_host(config)
    _check_directory("data_dir", config.data_dir)
    if config.object_store == "s3":
        check_s3(config)
    elif config.objects_dir:
        _check_directory("objects_dir", config.objects_dir)
        _check_apart(config)


def _check_host(config: Config) -> None:
    """Raise ``ConfigError`` if ``host`` is no address of this machine. The port may be in use."""
    flags = socket.AI_PASSIVE | socket.AI_NUMERICSERV
    try:
        found = socket.getaddrinfo(config.host, 0, type=socket.SOCK_STREAM, flags=flags)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as trial:
                if family == socket.AF_INET6:
                    trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trial.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"host: can't listen on {config.host}: {reason}. "
            "Set it to an address of this machine: 127.0.0.1, 0.0.0.0 or ::"
        ) from None


def _check_apart(config: Config) -> None:
    """Raise ``ConfigError`` if objects would lie among the data directory's own files."""
    data_dir, objects_dir = os.path.realpath(config.data_dir), os.path.realpath(config.objects_dir)
    own = os.path.realpath(layout.objects_dir(config.data_dir))
    is_within = os.path.commonpath((data_dir, objects_dir)) == data_dir
    if is_within and os.path.commonpath((own, objects_dir)) != own:
        raise ConfigError(
            f"objects_dir: {config.objects_dir} is in data_dir, among files of other kinds. Use a directory "
            'elsewhere, or "" for `objects` in data_dir'
        )


def _check_directory(setting: str, path: str) -> None:
    """Raise ``ConfigError`` if ``path`` neither is a directory nor can become one."""
    if not path or "\0" in path:
        raise ConfigError(f"{setting}: {path!r} is not the path of a directory")
    there = os.path.abspath(path)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise ConfigError(f"{setting}: {path} can't be a directory: {there} is there, and isn't one")
