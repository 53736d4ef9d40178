"""``rrd``, the command line. One small module a command family; heavy imports wait until they are needed.

Exit codes: 0 done · 1 it could not be done, and stderr says why and what to do next · 2 wrong usage.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from rrd import __version__, log
from rrd.cli import (
    adopt_store,
    backup,
    check_config,
    common,
    console,
    doctor,
    erase,
    export,
    import_,
    inspect,
    keys,
    quarantine,
    reindex,
    restore,
    retention,
    serve,
    setup,
    signing,
    status,
    top,
    vacuum,
    verify,
)
from rrd.errors import RrdError
from rrd.ownership import handing_over

_MAKING_NOTHING = {
    module.__name__ for module in (keys, signing, console, check_config, inspect, setup, status, top)
}
"""Commands that leave nothing in the data directory to be handed over: new files of keys are so already, and
setup does it itself, once there are settings."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    try:
        args = make_parser().parse_args(argv)
    except SystemExit as stop:  # argparse has said what it had to say.
        return stop.code if isinstance(stop.code, int) else 2
    try:
        run: common.Run = args.run
        os.umask(0o077)  # Recordings show what visitors did: nobody else on the machine reads them.
        with contextlib.ExitStack() as stack:
            stack.enter_context(log.for_command())
            if run.__module__ not in _MAKING_NOTHING:
                stack.enter_context(handing_over(common.settings(args)))
            code = run(args)
        # Here, where a reader that has gone (`rrd inspect FILE | head`) still raises something to catch.
        sys.stdout.flush()
    except RrdError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # What is left in the buffer goes nowhere, rather than into a traceback at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        what = ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
        return _fail(what, "Check the path, and that the files are yours to read and write")
    except KeyboardInterrupt:
        return 130
    return code


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands: what help, man pages and completion are made of."""
    parser = argparse.ArgumentParser(
        prog="rrd",
        description="Self-hosted ingest server for rrweb session recordings.",
        epilog="Settings: flags beat RRD_* variables, which beat the file of --config.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"rrd {__version__}")
    common.add_shared_flags(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    families = (
        *(setup, serve, status, top, console, keys, signing, check_config),
        *(export, import_, backup, restore, erase, retention),
        *(doctor, verify, reindex, vacuum, inspect, quarantine, adopt_store),
    )
    for family in families:
        family.register(commands)
    return parser


def _fail(*sentences: str) -> int:
    text = " ".join(sentence if sentence.endswith(".") else f"{sentence}." for sentence in sentences)
    print(f"rrd: {text}", file=sys.stderr)
    return 1
