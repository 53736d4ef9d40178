"""``rrd serve``: run the daemon until it is told to stop."""

from __future__ import annotations

import argparse
import functools
import os
import signal

from rrd import log
from rrd.cli import common


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("serve", help="take recordings in and serve them")
    parser.add_argument("--host", metavar="H", help="address to listen on")
    parser.add_argument("--port", type=int, metavar="P", help="port to listen on; 0: any that is free")
    common.runs(parser, _serve)


def _serve(args: argparse.Namespace) -> int:
    # It waits until the daemon takes it: by default it ends a process, and here it asks for a reload.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    read = functools.partial(common.settings, args, checked=True)
    config = read()
    log.setup(config)
    from rrd.daemon.run import run  # noqa: PLC0415 - aiohttp and all; the other commands start without it

    # Keys are minted and shown where a person looks on; a service's output goes into a log,
    # where a key doesn't belong.
    by_systemd = "INVOCATION_ID" in os.environ or "JOURNAL_STREAM" in os.environ
    code: int = run(config, read_again=read, person_looks_on=not by_systemd)
    return code
