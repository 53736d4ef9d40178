"""Where settings come from: defaults, file, environment, command line; the later wins.

``RRD_FLUSH_AGE_MS=500`` in the environment is ``flush_age_ms = 500`` in the file; a list is written with
commas there.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from typing import Any

import msgspec

from rrd.config.credentials import resolved
from rrd.config.settings import Config
from rrd.errors import ConfigError


def load_config(
    *,
    file: str | None = None,
    environment: Mapping[str, str] = os.environ,
    flags: Mapping[str, object] | None = None,
) -> Config:
    """Build the settings from ``file`` (TOML), ``RRD_*`` variables and flags; the later wins.

    Raises ``ConfigError`` naming the key, where it was set, and what it may be.
    """
    merged: dict[str, object] = {}
    origin: dict[str, str] = {}
    for where, values in (
        (file or "", _from_file(file) if file else {}),
        ("the environment", _from_environment(environment)),
        ("the command line", {k: v for k, v in (flags or {}).items() if v is not None}),
    ):
        merged.update(values)
        origin.update(dict.fromkeys(values, where))
    try:
        # strict=False: the environment knows only strings.
        config = msgspec.convert(merged, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(error, origin)) from None
    for network in config.trusted_proxies:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ConfigError(f"trusted_proxies: {network!r} is not a network like 10.0.0.0/8") from None
    return resolved(config, environment)


def _from_file(path: str) -> dict[str, Any]:
    try:
        # Editors on Windows begin a file with a byte order mark.
        with open(path, encoding="utf-8-sig", newline="") as file:
            return tomllib.loads(file.read())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8, which TOML is: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    known = {field.name: field for field in msgspec.structs.fields(Config)}
    values: dict[str, object] = {}
    for name, text in environment.items():
        key = name.removeprefix("RRD_").lower()
        # RRD_CONFIG names the file itself; other unknown names are typos worth telling.
        if not name.startswith("RRD_") or name == "RRD_CONFIG":
            continue
        if key not in known:
            raise ConfigError(f"{name} in the environment: there is no setting {key!r}")
        is_list = isinstance(known[key].default, tuple)
        values[key] = [part.strip() for part in text.split(",") if part.strip()] if is_list else text
    return values


def _explain(error: msgspec.ValidationError, origin: Mapping[str, str]) -> str:
    message = str(error)
    if " - at `$." in message:
        what, _, path = message.partition(" - at `$.")
        key = path.rstrip("`").partition("[")[0]
        return f"{key} (set in {origin.get(key, 'the defaults')}): {what}"
    for key, where in origin.items():
        if f"`{key}`" in message:
            return f"there is no setting {key!r} (found in {where})"
    return message
