"""``rrd setup``: one step from an installed rrd to a first event that is stored and read back."""

from __future__ import annotations

import argparse
import os
import re

from rrd.access.origins import parse_origin
from rrd.cli import common
from rrd.errors import BadRequest

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NAME_CHARS_MAX = 253


def register(commands: common.Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "setup",
        help="from nothing to working: user, settings, first keys, service, a first event",
        description="Makes what is missing and leaves what is there: the service's user, its settings and "
        "data directory, two keys, the service itself. Then it stores an event, reads it back and erases it, "
        "and prints what to put into pages. A second run changes nothing. Root sets up the service; with "
        "--data-dir any user sets up a directory to try rrd in.",
    )
    parser.add_argument(
        "--name",
        type=host_name,
        default="",
        help="the host name that the world calls this server, with TLS in front: sets public_url and "
        "console, and prints what nginx or Caddy needs",
    )
    parser.add_argument(
        "--origin",
        action="append",
        default=[],
        type=_origin,
        metavar="URL",
        help="bind the key for pages to pages of this origin, like https://shop.example (repeatable)",
    )
    parser.add_argument(
        "--tenant", type=common.tenant, default="default", help="whose keys (default: default)"
    )
    parser.add_argument(
        "--proxy",
        choices=("nginx", "caddy"),
        help="print the proxy's configuration for --name, and do nothing else",
    )
    common.runs(parser, _setup)


def host_name(text: str) -> str:
    """Return a host name in its ASCII form, for argparse; "" for none."""
    if not text:
        return ""
    try:
        name = text.strip().lower().rstrip(".").encode("idna").decode()
    except UnicodeError:
        name = ""
    if not _NAME.fullmatch(name) or len(name) > _NAME_CHARS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}: use a host name alone, like rrd.example.com")
    return name


def _origin(text: str) -> str:
    try:
        return parse_origin(text)
    except BadRequest as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _setup(args: argparse.Namespace) -> int:
    from rrd.setup.report import StepReport  # noqa: PLC0415 - other commands start without all of it
    from rrd.setup.steps import SetupPlan, proxy_for, set_up  # noqa: PLC0415

    if args.proxy:
        if not args.name:
            raise BadRequest("--proxy needs --name: the host name that the world calls this server")
        print(proxy_for(args.proxy, args.name, common.settings(args)), end="")
        return 0
    file, is_service = _file(args)
    given = getattr(args, "data_dir", None)
    flags = (
        *(("--config", os.path.abspath(file)) if file else ()),
        *(("--data-dir", os.path.abspath(given)) if given else ()),
    )
    set_up(
        SetupPlan(
            tenant=args.tenant,
            origins=tuple(dict.fromkeys(args.origin)),
            name=args.name,
            config_file=file,
            is_service=is_service,
            flags=flags,
            load=lambda: common.settings(args),
            data_dir=_data_dir(given, file, is_service=is_service),
        ),
        StepReport(),
    )
    return 0


def _file(args: argparse.Namespace) -> tuple[str, bool]:
    """Return the settings file to make or to edit ("" for none), and whether it is the service's."""
    named = getattr(args, "config", None)
    if named is None:
        named = os.environ.get("RRD_CONFIG")
    if named:
        return named, False
    if getattr(args, "data_dir", None):
        if args.name:
            raise BadRequest(
                "--name is kept in a settings file. Say which one, or which to make: --config FILE"
            )
        return "", False
    if os.geteuid() != 0:
        raise BadRequest(
            "only root sets up the service: sudo rrd setup. To try rrd in a directory: rrd setup --data-dir "
            "DIR"
        )
    return common.SYSTEM_CONFIG, True


def _data_dir(given: str | None, file: str, *, is_service: bool) -> str:
    from rrd.setup.account import HOME  # noqa: PLC0415

    if given:
        return os.path.abspath(given)
    return HOME if is_service else os.path.join(os.path.dirname(os.path.abspath(file)), "data")
