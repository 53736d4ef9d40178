"""Where a listener beside the API's listens: ``HOST:PORT`` or ``unix:PATH``. Pure."""

from __future__ import annotations

import os
from typing import NamedTuple

from rrd.errors import ConfigError


class Address(NamedTuple):
    """``path`` of a Unix socket, or ``host`` and ``port``."""

    host: str
    port: int
    path: str


def parse_listen(setting: str, text: str) -> Address | None:
    """Return the address; None for an empty text. Raises ``ConfigError`` with the setting's name."""
    if not text:
        return None
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not os.path.isabs(path) or "\0" in path:
            raise ConfigError(
                f"{setting} = {text!r}: a Unix socket needs an absolute path: unix:/run/rrd/name"
            )
        return Address("", 0, path)
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if not (colon and host and is_port) or (":" in host and not text.startswith("[")):
        raise ConfigError(
            f'{setting} = {text!r} is no address. Write "127.0.0.1:9788", "[::1]:9788", "unix:/run/rrd/name",'
            ' or "" for none'
        )
    return Address(host, int(port), "")
