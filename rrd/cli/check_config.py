"""``rrd check-config``: the effective settings, where each came from, and which don't go together."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping

import msgspec

from rrd.access.signing_file import read_signing_keys
from rrd.cli import common
from rrd.config import Config
from rrd.config.checks import warnings
from rrd.handles import handles_allowed


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "check-config", help="print the effective settings, and what is odd about them"
    )
    common.runs(parser, _check)


def _check(args: argparse.Namespace) -> int:
    config = common.settings(args)
    for line in as_toml(
        config, flags=common.config_flags(args), environment=os.environ, file=common.config_file(args)
    ):
        print(line)
    common.settings(args, checked=True)
    read_signing_keys(config.signing_keys_file)
    for warning in warnings(config, handles_max=handles_allowed()):
        print(f"rrd: warning: {warning}", file=sys.stderr)
    return 0


def as_toml(
    config: Config, *, flags: Mapping[str, object], environment: Mapping[str, str], file: str | None
) -> Iterator[str]:
    """Yield the settings as lines of TOML; one that isn't the default says where it was set."""
    for field in msgspec.structs.fields(Config):
        value = getattr(config, field.name)
        line = f"{field.name} = {_toml_value(value)}"
        if value != field.default:
            line += f"  # from {_origin(field.name, flags, environment, file)}"
        yield line


def _toml_value(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(part) for part in value) + "]"
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped. (Not by orjson: what comes
    # from the environment may hold lone surrogates.)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _origin(key: str, flags: Mapping[str, object], environment: Mapping[str, str], file: str | None) -> str:
    """Return where a setting was set, by the precedence of ``load_config``."""
    if key in flags:
        return "the command line"
    if (name := f"RRD_{key.upper()}") in environment:
        return f"the environment, {name}"
    return repr(file)
