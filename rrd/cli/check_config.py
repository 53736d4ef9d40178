"""``rrd check-config``: the effective settings, where each came from, and which don't go together."""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import sys
from collections.abc import Iterator, Mapping

import msgspec

from rrd.ceiling import DECODING_THREADS, changes, machine_bytes, plan
from rrd.cli import common
from rrd.config import Config
from rrd.handles import handles_allowed, share_out


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "check-config", help="print the effective settings, and what is odd about them"
    )
    parser.set_defaults(run=_check)
    common.add_shared_flags(parser)


def _check(args: argparse.Namespace) -> int:
    config = common.settings(args)
    for line in as_toml(
        config, flags=common.config_flags(args), environment=os.environ, file=common.config_file(args)
    ):
        print(line)
    from rrd.preflight import check_settings  # noqa: PLC0415 - most commands start without it

    check_settings(config)
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


def warnings(config: Config, *, handles_max: int | None) -> Iterator[str]:
    """Yield what is allowed but can hardly be meant.

    ``handles_max`` is how many files and sockets the system lets a process open; None: any number.
    """
    c = config
    order = (
        ("flush_bytes", "recording_buffer_bytes_max", "a recording's buffer is full before a block is due"),
        ("recording_buffer_bytes_max", "buffer_bytes_max", "one recording may not use more than all may"),
        ("message_bytes_max", "buffer_bytes_max", "one message can be larger than all buffers together"),
        ("event_bytes_max", "held_bytes_max", "the largest events can't come in at all"),
        ("flush_bytes", "segment_bytes_max", "each block gets a segment of its own"),
        ("event_bytes_max", "message_bytes_max", "the largest events can come in by POST only"),
        ("event_bytes_max", "body_bytes_max", "events that large can't come in at all"),
        ("sockets_max", "recordings_max", "not every socket can have a recording of its own"),
    )
    for small, large, outcome in order:
        if getattr(c, small) > getattr(c, large):
            yield f"{small} ({getattr(c, small)}) is over {large} ({getattr(c, large)}): {outcome}"
    ceiling = plan(c, machine_bytes=machine_bytes(), threads=DECODING_THREADS)
    if lowered := changes(c, ceiling.config):
        yield (
            f"memory_max ({ceiling.memory_max}) is less than the sum of all limits, so the server lowers "
            + ", ".join(f"{name} to {value}" for name, value in lowered.items())
        )
    shares = share_out(c, handles_max, in_use=8)
    if shares.sockets_max < c.sockets_max:
        yield (
            f"sockets_max ({c.sockets_max}) and open_segments_max ({c.open_segments_max}) are more than "
            f"the {handles_max} handles that the system allows: about {shares.sockets_max} sockets are left. "
            "Raise LimitNOFILE or lower them"
        )
    for network in c.trusted_proxies:
        if ipaddress.ip_network(network).prefixlen == 0:
            yield f"trusted_proxies holds {network}: anyone can forge the address that is taken for theirs"
    if c.public_url and not c.public_url.startswith(("http://", "https://")):
        yield f"public_url ({c.public_url}) should begin with http:// or https://: links are made from it"


def _toml_value(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(part) for part in value) + "]"
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _origin(key: str, flags: Mapping[str, object], environment: Mapping[str, str], file: str | None) -> str:
    """Return where a setting was set, by the precedence of ``load_config``."""
    if key in flags:
        return "the command line"
    if (name := f"RRD_{key.upper()}") in environment:
        return f"the environment, {name}"
    return repr(file)
