"""Files that systemd hands to the service alone: ``credential:NAME`` in a setting that names a file.

``LoadCredential=NAME:/path`` in the unit has systemd read a file as root, and show it to the service in a
directory in memory, ``$CREDENTIALS_DIRECTORY`` (systemd.exec(5)). So secrets need not be readable for rrd's
user on disk. The directory stays while the service is active, and root may read it: commands that root types
find it at its usual place.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rrd.config.settings import Config
from rrd.errors import ConfigError

PREFIX = "credential:"

SERVICE_DIR = "/run/credentials/rrd.service"
"""Where the credentials of ``rrd.service`` are. Only the service has the variable that says so."""


def resolved(config: Config, environment: Mapping[str, str]) -> Config:
    """Return the settings with a path in place of each ``credential:NAME``.

    Looks at no file: what can't be read is told where it is read. Raises ``ConfigError`` for a name that is
    none.
    """
    directory = environment.get("CREDENTIALS_DIRECTORY") or SERVICE_DIR
    changes = {
        field.name: _path(directory, field.name, value.removeprefix(PREFIX))
        for field in msgspec.structs.fields(Config)
        if field.name.endswith("_file")
        and isinstance(value := getattr(config, field.name), str)
        and value.startswith(PREFIX)
    }
    return msgspec.structs.replace(config, **changes)


def next_step(path: str) -> str:
    """Return what to do about a credential that can't be read, after a full stop; "" for any other path."""
    directory, _, name = path.rpartition("/")
    if not directory.startswith("/run/credentials/"):
        return ""
    return f". Next: LoadCredential={name}:/path/to/its/file in rrd.service, and restart it (docs/systemd.md)"


def _path(directory: str, setting: str, name: str) -> str:
    if not name or "/" in name or name in {".", ".."} or "\0" in name:
        raise ConfigError(f"{setting}: {PREFIX}{name} should be {PREFIX}NAME, as in LoadCredential=NAME:PATH")
    return f"{directory}/{name}"
