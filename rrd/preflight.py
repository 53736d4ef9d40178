"""What must be right about the settings as a whole before the daemon starts.

``rrd serve`` and ``rrd check-config`` ask the same function, so that what the one accepts starts the other.
Bounds of single settings are ``config``'s.
"""

from __future__ import annotations

import os

from rrd.config import Config
from rrd.errors import ConfigError
from rrd.lifecycle.retention import limits_of
from rrd.objects.choose import check_s3


def check_settings(config: Config) -> None:
    """Raise ``ConfigError`` if the settings can't work together, or name what can't be used.

    Changes nothing, makes nothing, and asks nothing of the network.
    """
    limits_of(config)
    _check_directory("data_dir", config.data_dir)
    if config.object_store == "s3":
        check_s3(config)
    elif config.objects_dir:
        _check_directory("objects_dir", config.objects_dir)


def _check_directory(setting: str, path: str) -> None:
    """Raise ``ConfigError`` if ``path`` neither is a directory nor can become one."""
    if not path or "\0" in path:
        raise ConfigError(f"{setting}: {path!r} is not the path of a directory")
    there = os.path.abspath(path)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise ConfigError(f"{setting}: {path} can't be a directory: {there} is there, and isn't one")
