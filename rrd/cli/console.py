"""``rrd console``: print an address that signs its opener in to the console, once."""

from __future__ import annotations

import argparse

from rrd import layout
from rrd.cli import common
from rrd.config import Config
from rrd.config.checks import is_console_on
from rrd.console.sessions import SessionStore
from rrd.console.sign_in_url import sign_in_url
from rrd.errors import ConfigError


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "console", help="print an address that opens the console, for 15 minutes and once"
    )
    parser.add_argument("--port", type=int, metavar="P", help="port that the daemon listens on")
    common.runs(parser, _console)


def _console(args: argparse.Namespace) -> int:
    config = common.settings(args)
    common.require_data_dir(config)
    _check_on(config, is_service=common.config_file(args) == common.SYSTEM_CONFIG)
    if not config.port and not config.public_url:
        raise ConfigError("port = 0 is any port: name the one that rrd logged when it started, with --port")
    with SessionStore(layout.console_path(config.data_dir)) as sessions:
        print(sign_in_url(config, config.port, sessions.new_sign_in()))
    common.audit(args, "console_address_made")
    common.hint("It reads and erases all recordings. Who opens it first is signed in; it works once.")
    return 0


def _check_on(config: Config, *, is_service: bool) -> None:
    if is_console_on(config, person_looks_on=not is_service):
        return
    if config.console is False:
        why = "console = false"
    else:
        why = 'console = "auto": on where rrd is started by hand, and listens on this machine alone'
    raise ConfigError(f"the console is off ({why}). Set console = true, and restart rrd")
